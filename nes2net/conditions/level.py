"""Conditions of the level: gain and clipping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nes2net.conditions.base import Condition


class Gain(Condition):
    """All samples louder or softer."""

    unit = "dB"
    strengths = (-10.0, -20.0, -30.0)
    limits = (-100.0, 40.0)

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        return x * np.float32(10 ** (self.strength / 20))


class Clip(Condition):
    """Clipping: the loudest samples, this share of all, are cut to the level of the softest of them."""

    unit = "%"
    strengths = (1.0, 5.0, 10.0)
    limits = (0.0, 99.0)

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        limit = np.quantile(np.abs(x), 1 - self.strength / 100).astype(np.float32)
        return np.clip(x, -limit, limit) if limit else x.copy()  # mostly digital silence stays
