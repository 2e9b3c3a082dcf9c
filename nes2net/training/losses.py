"""Losses of the published recipes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nes2net.errors import InputError


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy over two logits, averaged with the weights of the classes: Σ w_y·ℓ / Σ w_y over the batch.

    Args:
        class_weights: weight of spoof, weight of bona fide; 0.1 and 0.9 in the ASVspoof recipes.

    >>> WeightedCrossEntropy((0.1, 0.9))(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])).item()  # doctest: +ELLIPSIS
    0.693147...
    """

    def __init__(self, class_weights: Sequence[float] = (0.1, 0.9)) -> None:
        super().__init__()
        if len(class_weights) != 2 or min(class_weights) < 0 or max(class_weights) == 0:
            raise InputError(f"class_weights are two numbers ≥ 0 (spoof, bona fide), not {list(class_weights)}")
        self.register_buffer("weight", torch.tensor(class_weights, dtype=torch.float32), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of ``logits`` B×2 against ``targets`` (B,), 1 for bona fide."""
        if logits.shape[1] != 2:
            raise InputError(
                f"weighted cross-entropy needs 2 logits, the back-end gives {logits.shape[1]}: set num_logits=2"
            )
        return nn.functional.cross_entropy(logits.float(), targets, weight=self.weight)
