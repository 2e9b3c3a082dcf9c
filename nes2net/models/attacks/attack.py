"""The contract of an attack, and its text form."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor

from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import Share, Size
from nes2net.models.attacks.batch import AttackedBatch
from nes2net.models.registry import attacks


class Attack:
    """Perturbs a batch within a budget.

    Args:
        budget: ``"40"`` for a signal-to-noise ratio of at least 40 dB over the samples that the
            detector hears, ``"0.001fs"`` for an amplitude of at most 0.001 of full scale.
        steps: None for :attr:`usual_steps`.
        step: size of a step, up to 1, in parts of ε or the radius; None or 0 for :attr:`usual_step`, or for
            1 / ``steps`` if that is 0.

    Raises:
        InputError: if an argument does not fit.
    """

    usual_steps: ClassVar[int] = 10
    usual_step: ClassVar[float] = 0.25
    keep: ClassVar[str] = "best"
    """``"last"`` keeps the last iterate, although the clean recording may be worse."""
    unit: str = "dB"
    """Unit of the budget: ``dB``, ``fs`` for parts of full scale, or ``taps``."""
    budgets: ClassVar[str] = r"(\d+(?:\.\d+)?)(fs)?"
    """Pattern of ``budget``: its number, and perhaps its unit."""
    budget_advice: ClassVar[str] = "a ratio in dB, such as pgd:40, or an amplitude, such as pgd:0.001fs"

    def __init__(self, budget: str, steps: Size | None = None, step: Share | None = None) -> None:
        self.steps = steps or self.usual_steps
        self.step = step or self.usual_step or 1 / self.steps
        match = re.fullmatch(self.budgets, budget)
        if match is None:
            raise InputError(f"budget '{budget}': write {self.budget_advice}")
        self.size = float(match[1])
        if match.lastindex == 2:
            self.unit = match[2]

    def iterates(self, batch: AttackedBatch) -> Iterator[Tensor]:
        """Yield perturbed waveforms B×N within the budget, float64, step by step."""
        raise NotImplementedError

    def epsilon(self, batch: AttackedBatch) -> Tensor:
        """Compute the largest amplitude B×1; 0 for silence and a ratio in dB."""
        if self.unit == "fs":
            return batch.clean.new_full((len(batch.clean), 1), self.size)
        return batch.levels(self.size)


def create_attack(text: str, **settings: Any) -> Attack:
    """Build the attack ``NAME:BUDGET``, such as ``"pgd:40"``.

    Raises:
        InputError: if the name is unknown, or an argument does not fit.
    """
    name, _, budget = text.partition(":")
    return attacks.create(name, budget=budget, **settings)  # type: ignore[no-any-return]
