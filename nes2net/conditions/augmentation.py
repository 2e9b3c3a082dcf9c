"""Conditions as augmentation: one of several by chance, or all of them in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.conditions.base import Condition
from nes2net.errors import InputError


class OneOf:
    """One of the ``conditions``, all equally likely, or none of them.

    Args:
        probability: that an utterance meets one.

    Raises:
        InputError: if there are no conditions, or ``probability`` is not from 0 to 1.
    """

    def __init__(self, conditions: Sequence[Condition], probability: float = 0.5) -> None:
        if not conditions:
            raise InputError("`augment.conditions` is empty: name a condition, such as mp3:16")
        if not 0 <= probability <= 1:
            raise InputError(f"`augment.condition_probability` is a number from 0 to 1, not {probability}")
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
