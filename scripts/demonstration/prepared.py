"""Prepared human speech: a window of each recording without pauses, from which every clip is made."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from . import channel, layout
from .plan import Sizes, round_robin
from .recordings import Recording, read
from .synthesis import EVALUATION_PARTS

_SHORTEST = int(1.2 * channel.RATE)
_LONGEST = int(5.5 * channel.RATE)
_SPARE = 1.25  # prepared recordings for each clip, because some are too short without their pauses


def _path(work: Path, recording: Recording) -> Path:
    return work / f"{hashlib.sha1(recording.key.encode()).hexdigest()[:16]}.npy"


def prepare(recording: Recording, work: Path, seed: int) -> int:
    """Cut a recording to a window of speech without pauses, and store it in ``work``.

    Returns:
        The number of samples; 0 if the recording is too short.
    """
    path = _path(work, recording)
    if not path.is_file():
        x = channel.speech_only(read(recording.path, recording.start, recording.stop))
        rng = channel.generator(seed, "window", recording.key)
        samples = min(int(len(x) * rng.uniform(0.88, 0.97)), _LONGEST)
        x = channel.window(x, samples, rng) if samples >= _SHORTEST else np.zeros(0)
        layout.replace_file(path.with_suffix(".npy"), lambda temporary: _save(temporary, x))
    return len(np.load(path, mmap_mode="r"))


def load(recording: Recording, work: Path) -> np.ndarray:
    """Load the prepared speech of a recording."""
    return np.load(_path(work, recording)).astype(np.float64)


def _save(path: Path, x: np.ndarray) -> None:
    """Write samples as float32."""
    with open(path, "wb") as file:
        np.save(file, x.astype(np.float32))


def candidates(recordings: list[Recording], sizes: Sizes, seed: int) -> list[Recording]:
    """Choose as many recordings of each role as the corpus may need."""
    ordered = round_robin(recordings, seed)
    evaluation = len(EVALUATION_PARTS) * sizes.evaluation + 32
    num_by_role = {"train": sizes.train + sizes.dev, "eval": evaluation, "any": sizes.train + sizes.dev + evaluation}
    chosen_recordings = [
        r for role, count in num_by_role.items() for r in [r for r in ordered if r.role == role][: int(count * _SPARE)]
    ]
    return sorted(chosen_recordings, key=lambda r: (str(r.path), r.start))
