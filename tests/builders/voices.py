"""A voice for tests: it has pitch, breath and pauses, and is made in a moment."""

import numpy as np


def voice(seed=0, seconds=1.0):
    """Syllables of a buzz at 120 Hz with harmonics and breath, and pauses between them; the peak is 0.5."""
    time = np.arange(round(seconds * 16000)) / 16000
    buzz = sum(np.sin(2 * np.pi * 120 * k * time + seed * k) / k for k in range(1, 50))
    breath = np.random.default_rng(seed).standard_normal(len(time))
    x = (buzz + 0.1 * breath) * np.maximum(np.sin(2 * np.pi * 3 * time + seed), 0)
    return (0.5 * x / np.abs(x).max()).astype(np.float32)
