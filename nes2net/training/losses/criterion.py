"""The base class of losses: a quotient of two sums, so that a batch may be computed in parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.parts.contracts import Extension, check_rows
from nes2net.lib.parts.options import Options, Takes

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
ClassWeights = Annotated[
    Sequence[Positive], Field(min_length=2, max_length=1000), Takes("a list of a number above 0 for each class")
]


class Criterion(Extension, nn.Module):
    """A loss that is the quotient of two sums over the batch.

    A batch may be computed in parts: their numerators and denominators are summed before the
    division. The denominators are known before any forward pass.

    A recipe sets the arguments of the constructor as options (docs/extending.md), but for
    ``num_classes`` and, if :attr:`needs_head` names a head, ``head``, the back-end's last layer,
    and ``feature_dim``, the size of an embedding. Without ``num_classes``, a loss has 2 classes.

    Args:
        num_classes: K; if bona fide is a class, it is the last.
    """

    #: whether the loss takes the back-end's embeddings instead of its logits
    takes_embeddings: bool = False
    #: name of the head (``nes2net.models.registry.heads``) that the back-end needs; None if the loss takes any head
    needs_head: str | None = None
    #: number of logits that the back-end must give; None for the number of classes
    num_logits: int | None = None
    #: whether the loss depends on the number of the optimisation step (the argument ``step`` of :meth:`numerator`)
    changes_with_steps: bool = False
    #: pattern of the names of parameters that no gradient reaches
    untrained: str = ""
    num_classes: int

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.num_classes = num_classes

    @classmethod
    def head_options(cls, num_classes: int, options: Options) -> Options:
        """Return options of the head that follow from ``options`` of the loss, such as the scale."""
        return {}

    def forward(
        self, outputs: Tensor, targets: Tensor, step: int | None = None, durations: Tensor | None = None
    ) -> Tensor:
        """Compute the loss of a batch; 0 without a sample that counts. The arguments are as for :meth:`checked_numerator`."""
        numerator = self.checked_numerator(outputs, targets, step, durations)
        denominator = self.weight_of(targets).to(numerator.dtype)
        is_counted = denominator > 0
        # The gradient of 0 / 0 would be NaN.
        return (numerator / denominator.where(is_counted, 1.0)).where(is_counted, 0.0)

    def checked_numerator(
        self, outputs: Tensor, targets: Tensor, step: int | None = None, durations: Tensor | None = None
    ) -> Tensor:
        """Compute the numerator of the loss of a batch in at least float32.

        Args:
            outputs: B×n, logits or embeddings.
            targets: (B,), class numbers (of two classes, bona fide is 1), or B×K, the shares of the
                classes in a mixed sample. A loss of logits ignores an utterance or frame whose
                shares are all 0.
            step: optimisation step from 0, for a margin that changes in training; None for the
                final one.
            durations: (B,) in seconds, for a margin that depends on them.

        Raises:
            InputError: if the loss does not take the number of logits in ``outputs``.
        """
        needed = self.num_logits or self.num_classes
        number = outputs.shape[-1]
        if not self.takes_embeddings and number != needed:
            raise InputError(
                f"the loss needs {pluralise(needed, 'logit')}, the back-end gives {number}: set `model.backend.num_logits={needed}`"
            )
        check_rows(outputs, len(targets))
        return self.numerator(at_least_float32(outputs), targets, step, durations)

    def logits(self, outputs: Tensor) -> Tensor:
        """Compute the logits from ``outputs``; a loss of embeddings overrides this method."""
        return outputs

    def weight_of(self, targets: Tensor) -> Tensor:
        """Compute the denominator in float64: the weight of a batch with these ``targets``."""
        raise NotImplementedError

    def size_of(self, targets: np.ndarray) -> int:
        """Count the trials that the loss uses, given their classes ``targets`` (B,)."""
        return len(targets)

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        """Compute the numerator; ``outputs`` are at least float32."""
        raise NotImplementedError


def count_samples(targets: Tensor) -> Tensor:
    """Count the samples with a share above 0, as a tensor, so that the CPU does not wait for the device."""
    if targets.ndim == 1:  # classes; else shares B×K
        return targets.new_full((), len(targets), dtype=torch.float64)
    return (targets.sum(1) > 0).sum(dtype=torch.float64)


class ClassWeighted(Criterion):
    """A loss with a weight w_c for each class c.

    The denominator is Σ_i Σ_c w_c·q_ic, where q_ic is the share of class c in sample i.

    Args:
        class_weights: K weights; None for equal weights.

    Raises:
        InputError: if the number of weights is not the number of classes.
    """

    weight: Tensor

    def __init__(self, class_weights: ClassWeights | None = None, num_classes: int = 2) -> None:
        super().__init__(num_classes)
        weights = [1.0] * num_classes if class_weights is None else class_weights
        if len(weights) != num_classes:
            raise InputError(
                f"class_weights must have a weight for each of {num_classes} classes, not {len(weights)} weights: give as many, "
                "or null for the default"
            )
        self.class_weights = torch.tensor(weights, dtype=torch.float64, device="cpu")
        self.register_buffer("weight", self.class_weights.clone(), persistent=False)  # moves to the device of the loss

    def weight_of(self, targets: Tensor) -> Tensor:
        weight = self.weight  # (K,)
        if targets.device.type == "cpu":  # a copy from the device would wait for the device
            weight = self.class_weights
        return weight[targets].sum() if targets.ndim == 1 else (weight * targets).sum()  # classes (B,) or shares B×K


class MeanOfSamples(Criterion):
    """A loss whose denominator is the number of samples."""

    def weight_of(self, targets: Tensor) -> Tensor:
        return count_samples(targets)


def shares_of(targets: Tensor, num_classes: int) -> Tensor:
    """Convert class numbers (B,) to shares B×K; shares are returned unchanged."""
    return F.one_hot(targets, num_classes) if targets.ndim == 1 else targets
