"""Conditions as augmentation: one of several by chance, or all of them in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.conditions.base import Condition


class OneOf:
    """One of the ``conditions``, all equally likely, or none of them.

    Args:
        probability: that an utterance meets one.
    """

    def __init__(self, conditions: Sequence[Condition], probability: float = 0.5) -> None:
        self.conditions, self.probability = conditions, probability

    def __call__(self, x: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
        """Change ``x`` (N,) to (M,) float32, or return ``x`` itself; all draws come from ``rng``."""
        if rng.random() >= self.probability:
            return x
        return self.conditions[int(rng.integers(len(self.conditions)))](x.astype(np.float32), rng)

    @property
    def recordings(self) -> list[Path]:
        """The recordings that the conditions mix in, each once."""
        return list(dict.fromkeys(path for condition in self.conditions for path in condition.recordings))


class InOrder(OneOf):
    """All ``conditions``, one after the other."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        super().__init__(conditions, 1.0)

    def __call__(self, x: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.floating]:
        x = x.astype(np.float32)
        for condition in self.conditions:
            x = condition(x, rng)
        return x
