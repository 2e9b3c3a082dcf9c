"""Attacks that follow the gradient (FGSM, PGD, PGD in L2, MI-FGSM), and noise as their control."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from nes2net.models.attacks.attack import Attack
from nes2net.models.attacks.batch import AttackedBatch


class ProjectedGradient(Attack):
    """``pgd``: projected gradient ascent from a random start (Madry et al., ICLR 2018)."""

    random_start: ClassVar[bool] = True
    momentum: ClassVar[float] = 0.0

    def iterates(self, batch: AttackedBatch) -> Iterator[Tensor]:
        size = self.epsilon(batch)
        waveforms = batch.clean
        if self.random_start or batch.start is not None:
            waveforms = batch.limited(self.inside(size * self.start(batch), size))
        direction = torch.zeros_like(waveforms)
        for _ in range(self.steps):
            direction = self.momentum * direction + unit(self.ascent(batch, waveforms), 1)
            delta = waveforms - batch.clean + self.step * size * self.steepest(direction)
            waveforms = batch.limited(self.inside(delta, size))
            yield waveforms

    def start(self, batch: AttackedBatch) -> Tensor:
        """Return where to start, B×N in parts of ε or the radius."""
        return batch.uniform() if batch.start is None else batch.start

    def ascent(self, batch: AttackedBatch, waveforms: Tensor) -> Tensor:
        """Return the gradient B×N, or an estimate up to a factor."""
        return batch.gradient(waveforms)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the direction of length 1 in which the objective rises most; 0 for a gradient 0."""
        return gradient.sign()

    def inside(self, delta: Tensor, radius: Tensor) -> Tensor:
        """Project a perturbation B×N into the ball."""
        return delta.clamp(-radius, radius)


class FastGradient(Attack):
    """``fgsm``: one step from the clean recording to the border (Goodfellow et al., ICLR 2015)."""

    usual_steps = 1

    def iterates(self, batch: AttackedBatch) -> Iterator[Tensor]:
        yield batch.limited(self.epsilon(batch) * batch.gradient(batch.clean).sign())


class MomentumGradient(ProjectedGradient):
    """``mi_fgsm``: steps along a sum of gradients of L1 norm 1 (Dong et al., CVPR 2018)."""

    random_start = False
    usual_step = 0.0
    momentum = 1.0


class EnergyGradient(ProjectedGradient):
    """``pgd_l2``: :class:`ProjectedGradient` in the L2 ball: first into the ball, then into the range.

    An amplitude as the budget is the root mean square of the perturbation.
    """

    def epsilon(self, batch: AttackedBatch) -> Tensor:
        """Compute the radius B×1."""
        return super().epsilon(batch) * batch.clean.shape[1] ** 0.5

    def start(self, batch: AttackedBatch) -> Tensor:
        normal = batch.uniform().erfinv() if batch.start is None else batch.start
        return 0.1 * unit(normal, 2)

    def steepest(self, gradient: Tensor) -> Tensor:
        return unit(gradient, 2)

    def inside(self, delta: Tensor, radius: Tensor) -> Tensor:
        return unit(delta, 2) * delta.norm(dim=1, keepdim=True).minimum(radius)


class RandomSigns(Attack):
    """``noise``: ±ε with random signs."""

    usual_steps = 1
    keep = "last"

    def iterates(self, batch: AttackedBatch) -> Iterator[Tensor]:
        yield batch.limited(self.epsilon(batch) * batch.uniform().sign())


def unit(vectors: Tensor, order: float) -> Tensor:
    """Divide each row by its norm of this order; a row of zeros stays."""
    norm = vectors.norm(order, dim=1, keepdim=True)
    return vectors / torch.where(norm > 0, norm, 1)
