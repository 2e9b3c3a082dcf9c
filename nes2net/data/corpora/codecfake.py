"""Codecfake: speech resynthesised by neural codecs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial

_CODECS = tuple(f"C{n}" for n in range(1, 8))
_CONDITIONS = (*_CODECS, "A1", "A2", "A3")

_TABLE = Columns(
    file="file",
    fields={"attack": "codec number"},
    labels={"real": BONAFIDE, "fake": SPOOF},
    names="file, label, codec number",
    words={"attack": {"0": None, **{str(n): f"F{n:02}" for n in range(1, 100)}}},
)


def _folders(name: str) -> tuple[str, ...]:
    if name in ("train", "dev"):
        return (name,)
    return (f"test/{name}", name, f"test/{name}_fake", f"{name}_fake")


def _read_trials(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    """In the evaluation, the name of a list is the condition: ``source`` and start of the ids."""
    name = path.stem
    if name in ("train", "dev"):
        yield from _TABLE(path, name, audio)
        return
    for trial in _TABLE(path, "eval", audio):
        yield replace(trial, id=f"{name}/{trial.id}", source=name)


def _files(*lists: str) -> Files:
    return Files(
        protocols=[f"{name}.txt" for name in lists],
        folders=("label", "."),
        together=True,
        audio=(".",),
        holds=list(chain.from_iterable(map(_folders, lists))),
    )


CORPUS = ListedCorpus(
    title="Codecfake",
    notes="""
    Xie et al., "The Codecfake Dataset and Countermeasures for the Universally Detection of Deepfake
    Audio", 2024. CodecFake of Wu et al. (Interspeech 2024) and its successor CodecFake+ are other
    corpora, with another layout.

    The layout follows the authors' page. The lists are
    <root>/label/{train,dev,C1,…,C7,A1,A2,A3}.txt, with three fields a line: file, real or fake, and
    the number of the codec (0 for real). The files of training and development are in the folders
    train and dev. The evaluation has ten conditions, with files in test/C1 (or only C1) and so on;
    in the archive, A3 is A3_fake. C1 to C6 are the codecs of the training set, C7 is an unseen
    codec, and A1 to A3 are systems with audio language models. The source of an evaluation trial is
    its condition. An attack is F01 and so on, as in the file names.

    Several conditions have the same bona fide recordings, so the id of an evaluation trial begins
    with its condition (C1/F01_SSB13650058). Figures are published for each condition, not for all
    conditions together. The HTML page of an evaluation has your figures for each condition. To
    evaluate only some conditions, give a folder with their lists as protocols. Two editions of the
    archives exist, of May and September 2024. Benchmarks use the first edition.
    """,
    rows=_read_trials,
    folders_of=lambda name: (*_folders(name), _folders(name)[0]),
    parts={
        "train": _files("train"),
        "dev": _files("dev"),
        "eval": _files(*_CONDITIONS),
    },
    counts={
        "train": Counts(740747),
        "dev": Counts(92596),
        "eval": Counts(
            421157,
            by={
                "source": {
                    **dict.fromkeys(_CODECS[:6], 26456),
                    **{"C7": 145505, "A1": 8902, "A2": 8902, "A3": 99112},
                }
            },
        ),
    },
    counts_from="the authors' page",
    obtain={
        "audio": "the six Zenodo records linked from https://github.com/xieyuankun/Codecfake; train and "
        "dev are split archives: join them with `zip -s 0 train_split.zip -O train.zip`",
        "protocol": "label.zip from https://zenodo.org/records/13838106",
    },
    downloads=(
        Download("https://zenodo.org/records/13838106/files/label.zip", "all lists"),
        *(
            Download(f"https://zenodo.org/records/13838823/files/{name}.zip", f"evaluation, condition {name}")
            for name in _CONDITIONS
            if name != "C7"
        ),
        Download("https://zenodo.org/records/11125029/files/C7.zip", "evaluation, condition C7"),
    ),
    licence="CC BY-NC-ND 4.0",
    source="https://arxiv.org/abs/2405.04880",
)
