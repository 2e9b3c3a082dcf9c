"""Losses of the published recipes, against class numbers and against mixed labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.errors import InputError


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy over two logits, averaged with the weights of the classes: Σ w_y·ℓ / Σ w_y over the batch.

    Against distributions q over the classes (mixed labels) it is Σ_i Σ_c w_c·q_ic·(−log p_ic) / Σ_i Σ_c w_c·q_ic, which is the same
    where every q_i is one class: a mixed sample counts as its two parts. (PyTorch's own divides by the size of the batch there.)

    Args:
        class_weights: weight of spoof, weight of bona fide; 0.1 and 0.9 in the ASVspoof recipes.

    >>> criterion = WeightedCrossEntropy((0.1, 0.9))
    >>> criterion(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])).item()  # doctest: +ELLIPSIS
    0.693147...
    >>> criterion(torch.zeros(1, 2), torch.tensor([[0.3, 0.7]])).item()  # doctest: +ELLIPSIS
    0.693147...
    """

    takes_embeddings = False

    def __init__(self, class_weights: Sequence[float] = (0.1, 0.9)) -> None:
        super().__init__()
        self.register_buffer("weight", _class_weights(class_weights), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor, step: int | None = None) -> Tensor:
        """Loss of ``logits`` B×2 against ``targets``, (B,) with 1 for bona fide or B×2; ``step`` changes nothing."""
        if logits.shape[1] != 2:
            raise InputError(
                f"weighted cross-entropy needs 2 logits, the back-end gives {logits.shape[1]}: set num_logits=2"
            )
        if targets.ndim == 1:
            return F.cross_entropy(logits.float(), targets, weight=self.weight)
        return _weighted_mean(-F.log_softmax(logits.float(), dim=1), targets, self.weight)


class AngularSoftmax(nn.Module):
    """A-softmax (W. Liu et al., "SphereFace", CVPR 2017) over the embeddings and the class directions of an angular head.

    The logits are |x|·cos θ_j; the target's is |x|·(λ·cos θ + ψ(θ))/(1 + λ) with ψ(θ) = (−1)^k·cos(mθ) − 2k, k = ⌊mθ/π⌋, which falls from 1
    to 1 − 2m over [0, π]. λ = max(``lambda_min``, ``lambda_max``/(1 + ``lambda_decay``·step)): the margin grows as training goes on. The
    cross-entropy of these is averaged as in :class:`WeightedCrossEntropy`; against mixed labels the loss of a sample is
    that against each class, in the label's proportion.

    Args:
        head: has ``weight``, n×D: :class:`nes2net.backends.mpif_res2net.AngularHead`.
        class_weights: weight of spoof, weight of bona fide.
        margin: m.

    >>> head = nn.Linear(8, 2, bias=False)
    >>> AngularSoftmax(head)(torch.randn(4, 8), torch.tensor([0, 0, 1, 1]), step=0).shape
    torch.Size([])
    """

    takes_embeddings = True

    def __init__(
        self,
        head: nn.Module,
        class_weights: Sequence[float] = (1.0, 1.0),
        *,
        margin: int = 4,
        lambda_min: float = 5.0,
        lambda_max: float = 1500.0,
        lambda_decay: float = 0.1,
    ) -> None:
        super().__init__()
        if isinstance(margin, bool) or not isinstance(margin, int) or margin < 1:
            raise InputError(f"the angular margin is a whole number of at least 1, not {margin!r}")
        if not 0 <= lambda_min <= lambda_max or lambda_decay < 0:
            raise InputError(
                f"angular softmax: 0 ≤ lambda_min ≤ lambda_max and lambda_decay ≥ 0, not {lambda_min}, {lambda_max}, {lambda_decay}"
            )
        self.head, self.margin = head, margin
        self.lambda_min, self.lambda_max, self.lambda_decay = lambda_min, lambda_max, lambda_decay
        self.register_buffer("weight", _class_weights(class_weights), persistent=False)

    def forward(self, embeddings: Tensor, targets: Tensor, step: int | None = None) -> Tensor:
        """Loss of ``embeddings`` B×D against ``targets``, (B,) with 1 for bona fide or B×2.

        ``step`` counts optimisation steps; None is the end of the annealing, so that development losses of all epochs compare.
        """
        embeddings = embeddings.float()
        norm = embeddings.norm(dim=1, keepdim=True)
        cosine = F.cosine_similarity(embeddings.unsqueeze(1), self.head.weight.float(), dim=2).clamp(-1, 1)  # B×n
        share = 1 / (1 + self.annealed(step))
        logits = norm * cosine
        with_margin = logits + share * norm * (self._psi(cosine) - cosine)
        classes = range(logits.shape[1])
        losses = torch.stack([self._loss_of_class(c, logits, with_margin) for c in classes], dim=1)  # B×n
        if targets.ndim == 1:
            targets = F.one_hot(targets, len(classes)).to(losses.dtype)
        return _weighted_mean(losses, targets, self.weight)

    def annealed(self, step: int | None) -> float:
        """λ at ``step``."""
        if step is None:
            return self.lambda_min
        return max(self.lambda_min, self.lambda_max / (1 + self.lambda_decay * step))

    def _psi(self, cosine: Tensor) -> Tensor:
        before, multiple = torch.ones_like(cosine), cosine  # cos(0θ), cos(1θ), … by Chebyshev's recurrence
        for _ in range(self.margin - 1):
            before, multiple = multiple, 2 * cosine * multiple - before
        piece = (self.margin * cosine.detach().acos() / math.pi).floor().clamp(max=self.margin - 1)
        return (1 - 2 * (piece % 2)) * multiple - 2 * piece

    @staticmethod
    def _loss_of_class(target: int, logits: Tensor, with_margin: Tensor) -> Tensor:
        chosen = torch.arange(logits.shape[1], device=logits.device) == target
        return -F.log_softmax(torch.where(chosen, with_margin, logits), dim=1)[:, target]


def _class_weights(class_weights: Sequence[float]) -> Tensor:
    if len(class_weights) != 2 or min(class_weights) < 0 or max(class_weights) == 0:
        raise InputError(f"class_weights are two numbers ≥ 0 (spoof, bona fide), not {list(class_weights)}")
    return torch.tensor(class_weights, dtype=torch.float32)


def _weighted_mean(losses: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """Σ w_c·q_ic·ℓ_ic / Σ w_c·q_ic of losses ℓ B×n, distributions q B×n and class weights w."""
    parts = weight * targets
    return (parts * losses).sum() / parts.sum()
