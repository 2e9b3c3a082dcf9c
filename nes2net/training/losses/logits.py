"""Losses of logits: weighted cross-entropy and focal loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nes2net.lib.parts.options import Probability
from nes2net.training.losses.criterion import (
    ClassWeighted,
    ClassWeights,
    MeanOfSamples,
    NotNegative,
    Positive,
    count_samples,
    shares_of,
)

Smoothing = Probability


class WeightedCrossEntropy(ClassWeighted):
    """Cross-entropy over a logit of each class, averaged with class weights: Σ w_y·ℓ / Σ w_y over the batch.

    ℓ is the cross-entropy of a sample, and w_y is the weight of its class y. For a mixed sample i
    with the shares q_ic and posteriors p_ic of the classes c, the loss is Σ_i Σ_c w_c·q_ic·(−log
    p_ic) / Σ_i Σ_c w_c·q_ic; PyTorch divides by the batch size instead.

    Args:
        class_weights: weight of each class, bona fide last. null takes 0.1 and 0.9 for two classes,
            as in the ASVspoof recipes, and equal weights for more classes.
        normalize: divide by the sum of the weights. If false, divide by the number of samples,
            which gives the plain mean of w_y·ℓ (MoE, Wang et al., ICASSP 2025, arXiv 2409.11909).
            With the plain mean, a batch with more samples of the heavier class counts more.
        label_smoothing: ε; of K classes, the target's class gets the share 1 − ε + ε/K, and each
            other class ε/K.

    >>> criterion = WeightedCrossEntropy((0.1, 0.9))
    >>> criterion(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])).item()  # doctest: +ELLIPSIS
    0.693147...
    >>> criterion(torch.zeros(1, 2), torch.tensor([[0.3, 0.7]])).item()  # doctest: +ELLIPSIS
    0.693147...
    >>> WeightedCrossEntropy(normalize=False)(torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])).item()  # doctest: +ELLIPSIS
    0.207944...
    """

    def __init__(
        self,
        class_weights: ClassWeights | None = None,
        *,
        normalize: bool = True,
        label_smoothing: Smoothing = 0.0,
        num_classes: int = 2,
    ) -> None:
        if class_weights is None and num_classes == 2:
            class_weights = (0.1, 0.9)
        super().__init__(class_weights, num_classes)
        self.normalize = normalize
        self.label_smoothing = label_smoothing

    def weight_of(self, targets: Tensor) -> Tensor:
        return super().weight_of(targets) if self.normalize else count_samples(targets)

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        """Sum the weighted cross-entropies of the logits B×K."""
        weight = self.weight.to(outputs)
        if self.label_smoothing:
            log_posteriors = F.log_softmax(outputs, dim=1)
            mean_of_classes = log_posteriors.mean(1, keepdim=True)
            # The losses are B×K; in column c, c is taken as the class of every sample.
            losses = -((1 - self.label_smoothing) * log_posteriors + self.label_smoothing * mean_of_classes)
            return (weight * shares_of(targets, self.num_classes) * losses).sum()
        if targets.ndim == 1:
            return F.cross_entropy(outputs, targets, weight=weight, reduction="sum")
        return -(weight * targets * F.log_softmax(outputs, dim=1)).sum()


class BinaryFocal(MeanOfSamples):
    """Mean of α·(1 − e^−ℓ)^γ·ℓ over the batch; ℓ is the binary cross-entropy of one logit.

    This is the loss of the CtrSVDD recipe. Like the published code, it differs in three points from
    the focal loss of Lin et al. ("Focal loss for dense object detection", ICCV 2017): α is the same
    for both classes, e^−ℓ stands for the probability of the true class, and targets are smoothed.

    Args:
        gamma: γ; with a larger γ an easy utterance counts less.
        alpha: α, the factor of the loss.
        label_smoothing: ε; the smoothed targets are ε/2 and 1 − ε/2. The published ε = 0.1 gives
            0.05 and 0.95.

    >>> round(BinaryFocal(label_smoothing=0.1)(torch.tensor([[3.0], [-3.0]]), torch.tensor([1, 0])).item(), 6)
    0.001611
    """

    num_logits = 1

    def __init__(
        self,
        gamma: NotNegative = 2.0,
        alpha: Positive = 0.25,
        label_smoothing: Smoothing = 0.0,
    ) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha
        self.label_smoothing = label_smoothing

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        """Sum the focal losses of the logits B×1."""
        bonafide = targets if targets.ndim == 1 else targets[:, 1]
        bonafide = bonafide.to(outputs.dtype)
        smoothed = bonafide * (1 - self.label_smoothing) + self.label_smoothing / 2
        entropy = F.binary_cross_entropy_with_logits(outputs[:, 0], smoothed, reduction="none")  # (B,)
        # Keep the probability of a miss above 0, because x^γ may have an infinite slope at 0.
        missed = (-torch.expm1(-entropy)).clamp_min(torch.finfo(outputs.dtype).tiny)
        losses = self.alpha * missed**self.gamma * entropy
        if targets.ndim == 1:
            return losses.sum()
        return losses.where(targets.sum(1) > 0, 0.0).sum()
