"""Attacks that only ask for scores."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

import torch
from torch import Tensor

from nes2net.models.attacks.attack import Attack
from nes2net.models.attacks.batch import AttackedBatch
from nes2net.models.attacks.gradients import ProjectedGradient


class Spsa(ProjectedGradient):
    """``spsa``: :class:`ProjectedGradient` whose gradient is estimated (Uesato et al., ICML 2018)."""

    usual_steps = 100
    random_start = False
    directions: ClassVar[int] = 32

    def ascent(self, batch: AttackedBatch, waveforms: Tensor) -> Tensor:
        probes = (self.epsilon(batch) * batch.uniform().sign() for _ in range(self.directions))
        delta = waveforms - batch.clean
        return estimate_gradient(lambda probed: batch.mean_values(batch.limited(probed)), delta, probes)


def estimate_gradient(values_of: Callable[[Tensor], Tensor], inputs: Tensor, probes: Iterable[Tensor]) -> Tensor:
    """Estimate the gradient B×N, up to a factor, from changes of the values (B,) along ``probes`` of ±h."""
    total = torch.zeros_like(inputs)
    for probe in probes:
        change = values_of(inputs + probe) - values_of(inputs - probe)
        total += change[:, None] * probe
    return total


class Square(Attack):
    """``square``: random stretches at ±ε, kept if the objective rises, in one dimension.

    Andriushchenko et al., ECCV 2020. ``steps`` are questions; ``step`` has no effect.
    """

    usual_steps = 1000
    share: ClassVar[float] = 0.8
    """Part of the recording that the first stretches cover."""
    halvings: ClassVar[tuple[int, ...]] = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
    """10,000ths of the questions after which stretches become half as long."""

    def iterates(self, batch: AttackedBatch) -> Iterator[Tensor]:
        size = self.epsilon(batch)
        num_samples = batch.clean.shape[1]
        samples = torch.arange(num_samples, device=batch.clean.device)
        signs = batch.uniform().sign()
        values = batch.mean_values(batch.limited(size * signs))
        for query in range(self.steps):
            halved = bisect_left(self.halvings, 10_000 * query // self.steps)
            width = max(1, round(self.share / 2**halved * num_samples))
            begin = ((batch.uniform(1) + 1) / 2 * (num_samples - width + 1)).floor()
            is_inside = (samples >= begin) & (samples < begin + width)
            changed = torch.where(is_inside, batch.uniform(1).sign(), signs)
            is_same = (changed == signs).all(1, keepdim=True)
            changed = torch.where(is_inside & is_same, -signs, changed)
            changed_values = batch.mean_values(batch.limited(size * changed))
            signs = torch.where((changed_values > values)[:, None], changed, signs)
            values = values.maximum(changed_values)
        yield batch.limited(size * signs)
