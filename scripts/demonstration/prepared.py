"""Prepared human speech: a window of each recording without pauses, from which every clip is made."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from nes2net.lib.storage.files import replacing

from . import channel
from .plan import Sizes, round_robin
from .recordings import Recording, read
from .synthesis import EVALUATION_PARTS

_MIN_SAMPLES = int(1.2 * channel.RATE)
_MAX_SAMPLES = int(5.5 * channel.RATE)
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
        share = rng.uniform(0.88, 0.97)
        samples = min(int(len(x) * share), _MAX_SAMPLES)
        x = channel.window(x, samples, rng) if samples >= _MIN_SAMPLES else np.zeros(0)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.save(file, x.astype(np.float32))
    return len(np.load(path, mmap_mode="r"))


def load(recording: Recording, work: Path) -> np.ndarray:
    """Load the prepared speech of a recording."""
    return np.load(_path(work, recording)).astype(np.float64)


def candidates(recordings: list[Recording], sizes: Sizes, seed: int) -> list[Recording]:
    """Choose as many recordings of each role as the corpus may need."""
    ordered = round_robin(recordings, seed)
    evaluation = len(EVALUATION_PARTS) * sizes.evaluation + 32
    training = sizes.train + sizes.dev
    chosen_recordings = []
    for role, count in {"train": training, "eval": evaluation, "any": training + evaluation}.items():
        recordings_of_role = [recording for recording in ordered if recording.role == role]
        chosen_recordings += recordings_of_role[: int(count * _SPARE)]
    return sorted(chosen_recordings, key=lambda r: (str(r.path), r.start))
