"""Voices whose files are of successive days."""

import os
from datetime import datetime, timezone

import numpy as np
import soundfile

from builders.voices import voice

MONDAY = datetime(2026, 3, 2, 12, tzinfo=timezone.utc).timestamp()
DAY = 86400


def write_voices(folder, seed, number, change=lambda samples: samples):
    """Voices of about a second at levels that differ by some dB, one a day."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for n in range(number):
        level = 10 ** (rng.normal(-10, 3) / 20)
        samples = change(level * voice(seed=int(rng.integers(1 << 30)), seconds=rng.uniform(0.7, 1)))
        soundfile.write(folder / f"{n}.wav", samples, 16000, subtype="FLOAT")
        os.utime(folder / f"{n}.wav", (MONDAY + n % 10 * DAY,) * 2)
    return folder
