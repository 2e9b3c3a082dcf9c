"""MLAAD, with M-AILABS as its bona fide part.

Müller et al., "MLAAD: The Multi-Language Audio Anti-Spoofing Dataset", IJCNN 2024.

Layout: ``<root>/fake/LANGUAGE/MODEL/*.wav`` and in each of these folders ``meta.csv``, its fields
separated by ``|``: ``path`` (below the root), ``original_file`` (a recording of M-AILABS, below
its folder), ``language``, ``model_name``, ``architecture`` and others. The bona fide trials are
the recordings of M-AILABS that the lists name, each once. Their folder is ``real``, ``M-AILABS`` or
``m-ailabs``, beside ``fake``, and holds ``en_US/by_book/…``; without it all trials are spoofed. An
``attack`` is a model, and its ``attack_type`` is the architecture. The language of a bona fide trial
is the name of its folder, such as ``en_US``.

The corpus has no parts; everything is ``eval``. It grows with each edition, so no numbers are given
here, and a figure on it should be reported with its edition. Protocols for source tracing that
others publish are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Download
from nes2net.data.corpora.layout import Files, ListedCorpus, Table
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial

_BONAFIDE = ("real", "M-AILABS", "m-ailabs")
_REMEDY = "give `root` the folder that holds fake"
# The path of the original is read as the speaker first, because a trial has no field for it.
_TABLE = Table(
    "path",
    {"speaker": "original_file", "language": "language", "attack": "model_name", "attack_type": "architecture"},
    delimiter="|",
)


def _rows(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    """The trials of one ``meta.csv``, all spoofed, or of every ``meta.csv`` below the folder ``path`` (``fake``)."""
    lists = [path]
    bonafide_folders: list[Path] = []
    if not path.is_file():
        lists = sorted(path.glob("*/*/meta.csv"))
        bonafide_folders = [path.parent / name for name in _BONAFIDE if (path.parent / name).is_dir()]
    if not lists:
        raise files.NotFound(f"{path}: holds no LANGUAGE/MODEL/meta.csv; {_REMEDY}", [path])
    originals: dict[str, None] = {}
    for file in lists:
        for line, trial in enumerate(_TABLE(file, "eval", audio), start=2):
            if trial.speaker is not None:
                files.checked_path(trial.speaker, file, line)
                originals[trial.speaker] = None
            yield replace(trial, label=SPOOF, speaker=None)
    if bonafide_folders:
        for original in originals:
            levels = PurePosixPath(original).parts  # en_US/by_book/female/SPEAKER/BOOK/wavs/NAME.wav
            speaker = levels[3] if len(levels) > 4 else None
            recording = None
            if audio is not None:
                recording = bonafide_folders[0].joinpath(*levels)
            yield Trial(
                files.id_of(PurePosixPath("real", *levels)),
                recording,
                BONAFIDE,
                speaker,
                language=levels[0],
                phase="eval",
            )


CORPUS = ListedCorpus(
    title="MLAAD",
    rows=_rows,
    # The folder fake stands for the lists in it.
    parts={"eval": Files(["fake"], (".", "MLAAD"), (".", "MLAAD"), _REMEDY, holds=["fake"])},
    obtain={
        "audio": "https://huggingface.co/datasets/mueller91/MLAAD; M-AILABS, unpacked into the folder real beside fake, from "
        "https://github.com/i-celeste-aurora/m-ailabs-dataset",
        "protocol": "meta.csv in each folder of the audio, https://huggingface.co/datasets/mueller91/MLAAD",
    },
    downloads=(Download(url="hub:mueller91/MLAAD", what="the spoofed recordings and their lists"),),
    licence="CC BY-NC 4.0; M-AILABS has terms of its own, which allow any use",
    source="https://arxiv.org/abs/2401.09512",
)
