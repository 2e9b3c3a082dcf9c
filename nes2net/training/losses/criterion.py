"""A loss as the quotient of two sums, so that a batch may come in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.errors import InputError, counted

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
ClassWeights = Annotated[Sequence[Positive], Field(min_length=2, max_length=2)]


class Criterion(nn.Module):
    """A loss that is the quotient of two sums over the batch.

    A batch in parts has the loss of the whole batch: numerators and denominators are summed before
    the division. The denominator is known before any forward pass.

    A loss is a subclass in a file of its own that is registered by name (docs/extending.md). The
    arguments of its constructor are its options in a recipe. The arguments ``head`` and
    ``feature_dim`` are the last layer of the back-end and the size of an embedding, for a loss with
    :attr:`needs_head`.
    """

    #: whether the loss takes the back-end's embeddings instead of its logits
    takes_embeddings: ClassVar[bool] = False
    #: name of the head (:data:`nes2net.models.backends.heads.HEADS`) that the back-end needs; None for any
    needs_head: ClassVar[str | None] = None
    #: number of logits that the back-end needs
    num_logits: ClassVar[int] = 2

    def __init__(self) -> None:  # without it, a subclass would take the options of any name
        super().__init__()

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
            targets: (B,) with 1 for bona fide, or B×2, each class's share in a mixed sample. In a
                loss of logits (of utterances or frames), a sample without a share, (0, 0), counts
                nothing.
            step: optimisation step from 0, for annealing; None is the end of the annealing.
            durations: (B,) in seconds, for a margin by duration.

        Raises:
            InputError: if the number of logits is not the number that the loss takes.
        """
        if not self.takes_embeddings:
            self.check_logits(outputs.shape[-1])
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        numerator = self.numerator(outputs, targets, step, durations)
        return numerator, self.weight_of(targets).to(numerator.dtype)

    @classmethod
    def check_logits(cls, number: int) -> None:
        """Raise :class:`InputError` if a back-end with this ``number`` of logits does not fit the loss."""
        if number != cls.num_logits:
            raise InputError(
                f"the loss needs {counted(cls.num_logits, 'logit')}, the back-end gives {number}: set "
                f"num_logits={cls.num_logits}"
            )

    def logits(self, outputs: Tensor) -> Tensor:
        """Turn the back-end's outputs, logits or embeddings, into logits."""
        return outputs

    def weight_of(self, targets: Tensor) -> Tensor:
        """Compute the denominator, the weight of a batch with these targets, in float64."""
        raise NotImplementedError

    def size_of(self, targets: np.ndarray) -> int:
        """Count the trials of a batch that the loss is about, by their ``targets`` (B,); by default all of them."""
        return len(targets)

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        """Compute the numerator, with the arguments of :meth:`parts`; ``outputs`` are at least float32."""
        raise NotImplementedError


def number_of(targets: Tensor) -> Tensor:
    """Count the samples with a share of a class, on the device of ``targets``, without waiting for it."""
    if targets.ndim == 1:
        return targets.new_full((), len(targets), dtype=torch.float64)
    return (targets.sum(1) > 0).sum(dtype=torch.float64)


class ClassWeighted(Criterion):
    """Weighs each sample by its class: Σ_i Σ_c w_c·q_ic of the classes' shares q."""

    def __init__(self, class_weights: ClassWeights = (0.1, 0.9)) -> None:
        super().__init__()
        self.weight = torch.tensor(class_weights, dtype=torch.float64, device="cpu")  # which weighs targets there

    def weight_of(self, targets: Tensor) -> Tensor:
        weight = self.weight.to(targets.device, non_blocking=True)
        return weight[targets].sum() if targets.ndim == 1 else (weight * targets).sum()


class MeanOfSamples(Criterion):
    """Divides by the number of samples."""

    def weight_of(self, targets: Tensor) -> Tensor:
        return number_of(targets)


def shares_of(targets: Tensor) -> Tensor:
    """Each class's share in a sample, B×2, from class numbers (B,) or from such shares."""
    return F.one_hot(targets, 2) if targets.ndim == 1 else targets
