"""Condition of RawBoost, the augmentation that many detectors were trained with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nes2net.augment.rawboost import rawboost
from nes2net.conditions.base import Condition


class RawBoost(Condition):
    """RawBoost with its published parameters: the number of the algorithm."""

    strengths = choices = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)

    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        return rawboost(x, int(self.strength), rng).astype(np.float32)
