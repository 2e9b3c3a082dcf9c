"""MLAAD, with M-AILABS as its bona fide part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.lib.errors import pluralise
from nes2net.lib.output.terminal import print_note

_BONAFIDE_FOLDERS = ("real", "M-AILABS", "m-ailabs")
_TRACING_PROTOCOLS = {"train": "train.csv", "dev": "dev.csv", "eval": "eval.csv"}
_TRACING_TABLE = Columns(file="path", fields={"attack": "model_name"})
# Words in the names of the files of ``fine`` → values of the fields ``language_seen`` and ``model_seen``.
_YES_NO = {"lang_seen": "yes", "lang_not_seen": "no", "model_seen": "yes", "model_not_seen": "no"}
# The path of the original is first read into the field speaker, because a trial has no field for this path.
_META_TABLE = Columns(
    file="path",
    fields={"speaker": "original_file", "language": "language", "attack": "model_name", "attack_type": "architecture"},
    delimiter="|",
)


def _read_trials(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    """Read a protocol, a list, or the folder ``fake``, which also gives a bona fide trial for each original."""
    if path.name in _TRACING_PROTOCOLS.values():
        yield from _read_tracing_protocol(path, phase, audio)
        return
    lists = [path]
    bonafide_folders: list[Path] = []
    if not path.is_file():
        lists = sorted(path.glob("*/*/meta.csv"))
        bonafide_folders = [path.parent / name for name in _BONAFIDE_FOLDERS if (path.parent / name).is_dir()]
    if not lists:
        raise files.NotFound(
            f"{path}: holds no LANGUAGE/MODEL/meta.csv; give `root` the folder that contains the folder fake", [path]
        )
    originals: dict[str, None] = {}
    for file in lists:
        for line, trial in enumerate(_META_TABLE(file, "eval", audio), start=2):
            if trial.speaker is not None:
                files.check_path(trial.speaker, file, line)
                originals[trial.speaker] = None
            yield replace(trial, label=SPOOF, speaker=None)
    if bonafide_folders:
        for original in originals:
            levels = PurePosixPath(original).parts  # en_US/by_book/female/SPEAKER/BOOK/wavs/NAME.wav
            speaker = levels[3] if len(levels) > 4 else None
            recording = bonafide_folders[0].joinpath(*levels) if audio is not None else None
            yield Trial(
                files.id_of(PurePosixPath("real", *levels)),
                recording,
                BONAFIDE,
                speaker,
                language=levels[0],
                phase="eval",
            )


def _read_tracing_protocol(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    """Yield the trials, all spoofed; note and skip repeated rows.

    A list in the folder ``fine`` beside it states in its name whether language and model were seen
    in training: two extra fields.
    """
    # Find for each trial in the folder ``fine`` whether its language and its model were seen in training.
    seen_by_id = {}
    for file in path.parent.glob(f"fine/{path.stem}___*___*.csv"):
        language, _, model = file.stem.removeprefix(f"{path.stem}___").partition("___")
        seen = (("language_seen", _YES_NO.get(language, language)), ("model_seen", _YES_NO.get(model, model)))
        for trial in _TRACING_TABLE(file, phase, audio):
            seen_by_id[trial.id] = seen
    ids: set[str] = set()
    num_repeated = 0
    for trial in _TRACING_TABLE(path, phase, audio):
        if trial.id in ids:
            num_repeated += 1
            continue
        ids.add(trial.id)
        yield replace(trial, label=SPOOF, extra=seen_by_id.get(trial.id, ()))
    if num_repeated:
        verb = "counts" if num_repeated == 1 else "count"
        print_note(f"{path}: {pluralise(num_repeated, 'row')} repeated, which {verb} once")


CORPUS = ListedCorpus(
    title="MLAAD",
    notes="""
    Müller et al., "MLAAD: The Multi-Language Audio Anti-Spoofing Dataset", IJCNN 2024.

    Layout: <root>/fake/LANGUAGE/MODEL/*.wav, and in each of these folders a list meta.csv, whose
    fields are separated by |. Its columns are path (below the root), original_file (a recording of
    M-AILABS, below the folder of M-AILABS), language, model_name, architecture and others. The
    attack of a trial is the model, and its attack_type is the architecture.

    The bona fide trials are the recordings of M-AILABS in the column original_file; a recording in
    several lists is one trial. The folder of M-AILABS is real, M-AILABS or m-ailabs, beside fake,
    and holds en_US/by_book/…. Without this folder, all trials are spoofed. The language of a bona
    fide trial is the name of its folder, such as en_US.

    The corpus has no parts: all trials are eval. The corpus grows with each edition, so its numbers
    of trials are not given here, and a published figure should name the edition.

    The protocols for source tracing (https://deepfake-total.com/sourcetracing) are train.csv,
    dev.csv and eval.csv in the folder protocols. Their columns are path and model_name, separated
    by commas. All trials in these protocols are spoofed. A repeated row is read once, and a note is
    printed. The folder fine beside the protocols holds files such as
    eval___lang_not_seen___model_seen.csv. If this folder exists, the trials of dev and eval have
    two further fields, language_seen and model_seen, with the values yes and no. Evaluation gives
    figures for each value of these fields, but ignores the fields when it decides which models are
    known.
    """,
    rows=_read_trials,
    # The protocol of eval is eval.csv or, if this file is missing, the folder fake, which holds the lists.
    parts={
        split: Files([name, *(["fake"] if split == "eval" else [])], (".", "MLAAD"), (".", "MLAAD"), holds=["fake"])
        for split, name in _TRACING_PROTOCOLS.items()
    },
    # The numbers of trials in the protocols for source tracing; the corpus itself grows.
    counts={"train": Counts(11000, 0, 11000), "dev": Counts(12000, 0, 12000)},
    counts_from="the page of the protocols",
    obtain={
        "audio": "https://huggingface.co/datasets/mueller91/MLAAD; M-AILABS, unpacked into the folder real beside fake, from "
        "https://github.com/i-celeste-aurora/m-ailabs-dataset",
        "protocol": "meta.csv in each folder of the audio, https://huggingface.co/datasets/mueller91/MLAAD; for source tracing "
        "mlaad4sourcetracing.zip from https://deepfake-total.com/sourcetracing",
    },
    downloads=(Download("hub:mueller91/MLAAD", "the spoofed recordings and their lists"),),
    licence="CC BY-NC 4.0; M-AILABS (bona fide recordings): any use allowed",
    source="https://arxiv.org/abs/2401.09512",
)
