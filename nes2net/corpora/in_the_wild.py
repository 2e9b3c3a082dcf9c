"""In-the-Wild.

Müller et al., "Does Audio Deepfake Detection Generalize?", Interspeech 2022.

Layout: ``release_in_the_wild/*.wav`` and, in the same folder, ``meta.csv`` (``file,speaker,label``
with label ``bona-fide`` or ``spoof``). 31,779 trials, 19,963 of them bona fide. A trial's id is its
file name without suffix.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nes2net.audio.crop import IN_THE_WILD_SAMPLES
from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Corpus, Counts, Download
from nes2net.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.errors import InputError, shown

_FOLDER = "release_in_the_wild"
_LABELS = {"bona-fide": BONAFIDE, "spoof": SPOOF}


def trials(root: str | Path, split: str = "eval", *, protocols: str | Path | None = None) -> list[Trial]:
    """One trial per ``.wav`` file, sorted by file name.

    Trials have label and speaker if there is ``meta.csv``. No audio file is opened.

    Args:
        root: ``release_in_the_wild`` or the folder that holds it.
        split: ``"eval"``, the only one.
        protocols: ``meta.csv`` or its folder, if it is not beside the audio.

    Raises:
        InputError: if the split is unknown, there is no audio, or a line of ``meta.csv`` is
            malformed.
    """
    files.check_split(split, CORPUS.splits, CORPUS.title)
    audio = find_audio(root, split)
    # Archives made on a Mac hold beside 1.wav a file ._1.wav of its attributes.
    names = sorted(name for name in os.listdir(audio) if name.endswith(".wav") and not name.startswith("._"))
    if not names:
        raise InputError(f"{audio}: holds no .wav files; give `root` the folder {_FOLDER}")
    try:
        labelled = {trial.id: trial for trial in keys(audio if protocols is None else protocols)}
    except files.NotFound:
        if protocols is not None:
            raise
        labelled = {}
    ids = [name.removesuffix(".wav") for name in names]
    return [replace(labelled.get(id, Trial(id)), path=audio / f"{id}.wav") for id in ids]


def keys(path: str | Path, phase: str | None = None) -> list[Trial]:
    """The labelled trials without audio from ``meta.csv``, for evaluation.

    Args:
        path: ``meta.csv``, its folder, or the folder that holds ``release_in_the_wild``.
        phase: ``"eval"`` or None: the corpus has no phases.

    Raises:
        InputError: if there is no ``meta.csv`` (the message names every path tried) or a line is
            malformed.
    """
    if phase not in (None, "eval"):
        raise InputError(f"In-the-Wild has no phase '{phase}'; it has only 'eval'")
    path = Path(path)
    return read_protocol(path if path.is_file() else find_protocol(path))


def find_protocol(root: str | Path, split: str = "eval", protocols: str | Path | None = None) -> Path:
    """``meta.csv``, or :class:`~nes2net.corpora.protocol.NotFound`."""
    own = [] if protocols is None else [Path(protocols)]
    return files.first_file(
        [
            *(place for place in own if place.suffix == ".csv"),
            *(folder / inner / "meta.csv" for folder in [*own, Path(root)] for inner in (".", _FOLDER)),
        ],
        what="key of In-the-Wild",
        remedy=f"give the path of meta.csv, which comes with the audio in {_FOLDER}",
    )


def find_audio(root: str | Path, split: str = "eval") -> Path:
    """The folder of the audio, or :class:`~nes2net.corpora.protocol.NotFound`."""
    return files.first_folder(
        [Path(root) / _FOLDER, Path(root)],
        what="audio of In-the-Wild",
        remedy=f"give `root` the folder {_FOLDER}",
    )


def read_protocol(path: Path, split: str | None = "eval", audio: Path | None = None) -> list[Trial]:
    """The trials of ``meta.csv``. :class:`InputError` names the file and line that is malformed."""
    return files.checked_trials(_read_meta(path, audio), path)


def _read_meta(path: Path, audio: Path | None) -> Iterator[Trial]:
    rows = files.read_csv(path)
    line, header = next(rows, (1, []))
    missing = {"file", "speaker", "label"} - set(header)
    if missing:
        raise InputError(
            f"{path}, line {line}: expected the columns file,speaker,label, found {shown(','.join(header))}"
        )
    file, speaker, label = (header.index(name) for name in ("file", "speaker", "label"))
    for line, row in rows:
        id = files.checked_id(row[file], path, line).removesuffix(".wav")
        yield Trial(
            id=id,
            path=files.audio_path(audio, id, ".wav"),
            label=files.checked_word(row[label], _LABELS, "label", path, line),
            speaker=files.or_none(row[speaker], ""),
        )


CORPUS = Corpus(
    title="In-the-Wild",
    splits=("eval",),
    trials=trials,
    keys=keys,
    find_protocol=find_protocol,
    find_audio=find_audio,
    read_protocol=read_protocol,
    test_samples=IN_THE_WILD_SAMPLES,
    eer_method="interpolated",  # as in the published script, and so in the published figures
    counts={"eval": Counts(31779, 19963, 11816)},
    # Of meta.csv as published.
    key_digests={"eval": "a07ce3031068bda01f17cd682b290218c50545b335c645bd446f16e691dd3a1b"},
    licence="CC BY-SA 4.0 (the card on the Hugging Face hub)",
    source="https://arxiv.org/abs/2203.16263",
    downloads=(
        Download(
            url="https://huggingface.co/datasets/mueller91/In-The-Wild/resolve/main/release_in_the_wild.zip",
            what="audio and meta.csv",
            unpack=".",
        ),
    ),
    obtain={
        "audio": "https://deepfake-total.com/in_the_wild",
        "protocol": "meta.csv in the archive of the audio, https://deepfake-total.com/in_the_wild",
    },
)
