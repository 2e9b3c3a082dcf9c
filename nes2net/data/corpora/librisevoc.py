"""LibriSeVoc: recordings of LibriTTS, resynthesised by six vocoders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Counts, Download
from nes2net.data.corpora.layout import Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.lib.storage.text_files import read_rows

_VOCODERS = ("diffwave", "melgan", "parallel_wave_gan", "wavegrad", "wavenet", "wavernn")

_REPOSITORY = "https://github.com/csun22/Synthetic-Voice-Detection-Vocoder-Artifacts"
_RAW = "https://raw.githubusercontent.com/csun22/Synthetic-Voice-Detection-Vocoder-Artifacts"
_COMMIT = "ede7d073aca8b7612ccd08d8d5103d9c3c66a063"  # the commit that added the lists


def _read_trials(path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
    for line, (file,) in read_rows(path, 1, "file"):
        name = files.check_id(file, path, line).removesuffix(".wav")
        speaker = name.partition("_")[0]
        for folder in ("gt", *_VOCODERS):
            id = f"{folder}/{name}_gen"
            label = SPOOF
            attack: str | None = folder
            if folder == "gt":
                id = f"{folder}/{name}"
                label = BONAFIDE
                attack = None
            recording = audio / f"{id}.wav" if audio is not None else None
            yield Trial(id, recording, label, speaker, attack=attack, phase=phase)


def _files(protocol: str) -> Files:
    return Files(
        protocols=[protocol],
        folders=(".", "LibriSeVoc", "lists"),
        audio=(".", "LibriSeVoc"),
        holds=["gt"],
    )


def _counts(originals: int) -> Counts:
    spoofed = len(_VOCODERS) * originals
    return Counts(originals + spoofed, originals, spoofed, {"attack": dict.fromkeys(_VOCODERS, originals)})


CORPUS = ListedCorpus(
    title="LibriSeVoc",
    notes="""
    Sun et al., "AI-Synthesized Voice Detection Using Neural Vocoder Artifacts", CVPR Workshops
    2023.

    Layout of the archive: <root>/gt/27_123349_000006_000000.wav and, for each vocoder, files such
    as <root>/diffwave/27_123349_000006_000000_gen.wav. The authors' repository has the lists
    train.txt, dev.txt and test.txt. A line of a list is the file name of a recording in gt. Each of
    these recordings gives seven trials: itself and its six vocoded copies. The authors' program
    does not use these lists. For training, it takes the first 7,920 files of each folder, in the
    order of the file system, which cannot be reproduced. The parts that the authors' program makes
    have as many files as the lists. The set of the Speech Anti-Spoofing Arena has 18,487 trials, as
    many as eval here. Benchmarks that report 92,407 trials take all parts together.

    The id of a trial is the path of its file below the root, without suffix. The attack is the
    vocoder, and the speaker is the first field of a name. The sampling rate is 24 kHz.
    """,
    rows=_read_trials,
    parts={"train": _files("train.txt"), "dev": _files("dev.txt"), "eval": _files("test.txt")},
    counts={"train": _counts(7920), "dev": _counts(2640), "eval": _counts(2641)},
    counts_from="the authors' program",
    obtain={
        "audio": "https://zenodo.org/records/15127251",
        "protocol": f"train.txt, dev.txt and test.txt from {_REPOSITORY}",
    },
    downloads=(
        Download("https://zenodo.org/records/15127251", "audio"),
        Download(f"{_RAW}/{_COMMIT}/train.txt", "list"),
        Download(f"{_RAW}/{_COMMIT}/dev.txt", "list"),
        Download(f"{_RAW}/{_COMMIT}/test.txt", "list"),
    ),
    licence="CC BY-SA 4.0 (stated on the Hugging Face hub)",
    source="https://arxiv.org/abs/2304.13085",
)
