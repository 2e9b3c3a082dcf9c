"""Speed perturbation: play an utterance faster or slower, so that pitch and formants move.

T. Ko, V. Peddinti, D. Povey, S. Khudanpur, "Audio augmentation for speech recognition", Interspeech
2015. There the speeds are 0.9, 1 and 1.1; here they are drawn from a range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def change_speed(x: np.ndarray, speed: float) -> np.ndarray:
    """Play ``x`` (N,) at ``speed``: all frequencies times ``speed``, and about N / ``speed`` samples.

    Below speed 1 the highest frequencies are empty afterwards, above 1 they are cut off.

    >>> change_speed(np.zeros(16000, np.float32), 1.25).shape
    (12800,)
    """
    import soxr  # start-up: `nes2net.augment` is imported for --help

    return soxr.resample(x, speed, 1.0) if speed != 1 else x


def draw_speed(limits: Sequence[float], rng: np.random.Generator) -> float:
    """Draw a speed between the two ``limits``, equally likely on a logarithmic scale."""
    low, high = limits
    return math.exp(rng.uniform(math.log(low), math.log(high)))
