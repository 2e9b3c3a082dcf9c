"""A voice for tests: its pitch moves, it has breath and pauses, and is made in a moment."""

import numpy as np


def voice(seed=0, seconds=1.0, pauses=True, breath=0.1):
    """Syllables of a buzz near 120 Hz with harmonics and ``breath``, the level of noise; the peak is 0.5."""
    time = np.arange(round(seconds * 16000)) / 16000
    phase = 2 * np.pi * 120 * (time - 0.02 * np.cos(2 * np.pi * 1.1 * time + seed))  # the pitch moves by 14 %
    buzz = sum(np.sin(k * phase + seed * k) / k for k in range(1, 50))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    syllables = np.sin(2 * np.pi * 3 * time + seed)
    loudness = np.maximum(syllables, 0) if pauses else 1 + 0.4 * syllables
    samples = loudness * (buzz + breath * noise)
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)
