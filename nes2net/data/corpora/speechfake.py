"""SpeechFake: deepfakes of thirty public generators in 46 languages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, Trial

_TABLE = Columns(
    file="file", fields={"label": "label", "attack": "model", "attack_type": "generator", "language": "language"}
)


def _read_trials(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    """Give bona fide trials neither ``attack`` nor ``attack_type``."""
    for trial in _TABLE(path, phase, audio):
        if trial.label == BONAFIDE:
            trial = replace(trial, attack=None, attack_type=None)
        yield trial


def _files(name: str) -> Files:
    return Files(
        protocols=(f"{name}_all.csv",),
        # The archive metadata.zip, unpacked into a folder of its name, gives "metadata" twice.
        folders=("metadata/experiments/baseline", "metadata/metadata/experiments/baseline", "."),
        audio=(".",),
        holds=("Real", "BD", "MD"),
    )


CORPUS = ListedCorpus(
    title="SpeechFake",
    notes="""
    Huang et al., "SpeechFake: A Large-Scale Multilingual Speech Deepfake Dataset Incorporating
    Cutting-Edge Generation Methods", ACL 2025.

    Layout: the recordings are below <root>/BD (English and Chinese), <root>/MD (46 languages) and
    <root>/Real (bona fide, from other corpora). The lists are
    <root>/metadata/experiments/baseline/{train,dev,test}_all.csv. Their columns are file (below
    <root>), label (bonafide or spoof), generator (TTS, VC or NV), model and language, and others,
    which are not read. The attack of a spoofed trial is its model, and its attack_type is its
    generator.

    There are further lists, of experiments by generator, language and speaker. To use one of these
    lists, give the list as protocols. The layout was inferred from other people's programs, not
    from the corpus. One of these programs removes the recordings of the development list from the
    training list. If the lists share recordings, evaluate with the list of one part, such as
    test_all.csv, as key.
    """,
    rows=_read_trials,
    parts={"train": _files("train"), "dev": _files("dev"), "eval": _files("test")},
    obtain={
        "audio": "the archives of inclusionAI/SPEECHFAKE on modelscope.cn, unpacked into one folder",
        "protocol": "metadata.zip in the same place",
    },
    licence="CC BY 4.0; its sources: Common Voice CC0, AISHELL Apache-2.0",
    source="https://arxiv.org/abs/2507.21463",
)
