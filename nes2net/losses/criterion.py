"""A loss as the quotient of two sums, so that a batch may come in parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Criterion(nn.Module):
    """A loss that is the quotient of two sums over the batch.

    A batch in parts has the loss of the whole batch: numerators and denominators are summed before
    the division. The denominator is known before any forward pass.
    """

    #: Whether the loss takes the back-end's embeddings instead of its logits.
    takes_embeddings = False

    def forward(
        self, outputs: Tensor, targets: Tensor, step: int | None = None, durations: Tensor | None = None
    ) -> Tensor:
        """Compute the loss of a batch: numerator over denominator of :meth:`parts`."""
        numerator, denominator = self.parts(outputs, targets, step, durations)
        return numerator / denominator

    def parts(
        self, outputs: Tensor, targets: Tensor, step: int | None = None, durations: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute numerator and denominator, in the type of the loss.

        Args:
            outputs: B×n, logits or embeddings.
            targets: (B,) with 1 for bona fide, or B×2, each class's share in a mixed sample.
            step: optimisation step from 0, for annealing; None is the end of the annealing.
            durations: (B,) in seconds, for a margin by duration.
        """
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        numerator = self._numerator(outputs, targets, step, durations)
        return numerator, self.weight_of(targets).to(numerator.dtype)

    def logits(self, outputs: Tensor) -> Tensor:
        """Turn the back-end's outputs, logits or embeddings, into logits."""
        return outputs

    def weight_of(self, targets: Tensor) -> Tensor:
        """Compute the denominator, the weight of a batch with these targets, in float64."""
        raise NotImplementedError

    def size_of(self, targets: np.ndarray) -> int:
        """Count the trials of a batch that its loss is about, by their ``targets`` (B,): all of them."""
        return len(targets)

    def _numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        raise NotImplementedError


def number_of(targets: Tensor) -> Tensor:
    return targets.new_full((), len(targets), dtype=torch.float64)  # made on the device, which nothing waits for


class ClassWeighted(Criterion):
    """Weighs each sample by its class: Σ_i Σ_c w_c·q_ic of the classes' shares q."""

    def __init__(self, class_weights: Sequence[float] = (0.1, 0.9)) -> None:
        super().__init__()
        self.weight = torch.tensor(class_weights, dtype=torch.float64, device="cpu")  # which weighs targets there

    def weight_of(self, targets: Tensor) -> Tensor:
        weight = self.weight.to(targets.device)
        return weight[targets].sum() if targets.ndim == 1 else (weight * targets).sum()


class MeanOfSamples(Criterion):
    """Divides by the number of samples."""

    def weight_of(self, targets: Tensor) -> Tensor:
        return number_of(targets)


def shares_of(targets: Tensor) -> Tensor:
    """Each class's share in a sample, B×2, of class numbers (B,) or such shares."""
    return F.one_hot(targets, 2) if targets.ndim == 1 else targets
