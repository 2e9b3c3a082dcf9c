"""Conditions of the level: gain and clipping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nes2net.conditions.base import Condition


class Gain(Condition):
    """All samples louder or softer."""

    unit = "dB"
    strengths = (-10.0, -20.0, -30.0)

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        assert self.strength is not None
        return x * np.float32(10 ** (self.strength / 20))
