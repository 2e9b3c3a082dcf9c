"""Losses that compare embeddings with the vectors of a head.

In reading order: ``AngularSoftmax``; the one-class losses and the margins of cosines; ``P2SGrad``
and ``CosineError``; ``Prototypes``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from nes2net.lib.errors import InputError
from nes2net.lib.options import Size, Takes
from nes2net.models.backends.heads import (
    AngularHead,
    CosineHead,
    OneClassHead,
    P2SGradHead,
    PrototypeHead,
    cosines,
    nearest_cosines,
    renormed_cosines,
)
from nes2net.training.losses.criterion import (
    ClassWeighted,
    ClassWeights,
    MeanOfSamples,
    NotNegative,
    Positive,
    shares_of,
)

Cosine = Annotated[float, Field(ge=-1, le=1)]
Margin = Annotated[
    NotNegative | tuple[Literal["duration"], NotNegative, NotNegative],
    Takes("a number of at least 0, or [duration, slope, intercept] for slope · seconds + intercept"),
]


class AngularSoftmax(ClassWeighted):
    """A-softmax (W. Liu et al., "SphereFace", CVPR 2017) over the directions of an angular head.

    The logits of an embedding x are |x|·cos θ_j. The target's logit is |x|·(λ·cos θ + ψ(θ))/(1 + λ)
    with ψ(θ) = (−1)^k·cos(mθ) − 2k and k = ⌊mθ/π⌋; ψ falls from 1 to 1 − 2m over [0, π]. The margin
    grows in training: λ = max(``lambda_min``, ``lambda_max``/(1 + ``lambda_decay``·step)).
    Cross-entropy is averaged as in :class:`WeightedCrossEntropy`. A mixed label weighs the losses
    for the two classes by its shares.

    Args:
        head: the back-end's last layer, whose ``weight`` is n×E.
        class_weights: weight of each class, bona fide last; null for equal weights.
        margin: m, the factor of the angle to the own class.
        lambda_min: last λ.
        lambda_max: first λ.
        lambda_decay: how fast λ falls, per step.

    >>> head = AngularHead(8, 2)
    >>> AngularSoftmax(head)(torch.randn(4, 8), torch.tensor([0, 0, 1, 1]), step=0).shape
    torch.Size([])
    """

    takes_embeddings = True
    needs_head = "angular"

    def __init__(
        self,
        head: AngularHead,
        class_weights: ClassWeights | None = None,
        *,
        margin: Annotated[int, Field(ge=1)] = 4,
        lambda_min: NotNegative = 5.0,
        lambda_max: NotNegative = 1500.0,
        lambda_decay: NotNegative = 0.1,
    ) -> None:
        super().__init__(class_weights, head.out_features)
        if not 0 <= lambda_min <= lambda_max or lambda_decay < 0:
            raise InputError(
                f"angular softmax: 0 ≤ lambda_min ≤ lambda_max and lambda_decay ≥ 0, not {lambda_min}, {lambda_max}, {lambda_decay}"
            )
        self.head = head
        self.margin = margin
        self.lambda_min = lambda_min
        self.lambda_max = lambda_max
        self.lambda_decay = lambda_decay

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        norm = outputs.norm(dim=1, keepdim=True)
        directions = self.head.weight.to(outputs.dtype)
        cosine = F.cosine_similarity(outputs.unsqueeze(1), directions, dim=2).clamp(-1, 1)  # B×n
        share = 1 / (1 + self.annealed(step))
        logits = norm * cosine
        with_margin = logits + share * norm * (self._psi(cosine) - cosine)
        margin_masks = torch.eye(
            logits.shape[1], dtype=torch.bool, device=logits.device
        )  # row c: the class with the margin
        losses = torch.stack(
            [-F.log_softmax(torch.where(row, with_margin, logits), dim=1)[:, c] for c, row in enumerate(margin_masks)],
            dim=1,
        )  # B×n
        if targets.ndim == 1:
            targets = F.one_hot(targets, len(margin_masks)).to(losses.dtype)
        return (self.weight.to(losses, non_blocking=True) * targets * losses).sum()

    def logits(self, outputs: Tensor) -> Tensor:
        return self.head(outputs)

    def annealed(self, step: int | None) -> float:
        """Compute λ at ``step``; None, for validation, is the end of the annealing."""
        if step is None:
            return self.lambda_min
        return max(self.lambda_min, self.lambda_max / (1 + self.lambda_decay * step))

    def _psi(self, cosine: Tensor) -> Tensor:
        # cos(0θ), cos(1θ), … by Chebyshev's recurrence
        before = torch.ones_like(cosine)
        multiple = cosine
        for _ in range(self.margin - 1):
            before, multiple = multiple, 2 * cosine * multiple - before
        piece = (self.margin * cosine.detach().acos() / math.pi).floor().clamp(max=self.margin - 1)
        return (1 - 2 * (piece % 2)) * multiple - 2 * piece


class _OfVectors(MeanOfSamples):
    """The mean of losses over the vectors of a head, Σ_c q_c·ℓ_c of each sample's shares q of the classes."""

    takes_embeddings = True

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        losses = self._losses(
            outputs, step, durations
        )  # B×K, as if each sample were of the first class, of the second, …
        return (shares_of(targets, self.num_classes).to(losses.dtype) * losses).sum()

    def _losses(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        raise NotImplementedError


class OneClassSoftmax(_OfVectors):
    """One-class softmax over the cosine s of an embedding and one vector (Zhang, Jiang, Duan).

    Mean of softplus(α·(m − s)) for bona fide and softplus(α·(s − m')) for spoof: bona fide speech
    gathers around the vector, for any kind of spoof (IEEE SPL 2021, arXiv 2010.13995).

    Args:
        feature_dim: size of an embedding.
        scale: α.
        bonafide_margin: m, which the cosine of bona fide utterances is to exceed.
        spoof_margin: m', below which the cosine of spoofed utterances is to stay; 0.2 in the
            published run, but 0.5 by default in its code.
        head: the detector's head, whose vector is trained; None for a vector of its own.

    >>> OneClassSoftmax(8)(torch.randn(4, 8), torch.tensor([0, 0, 1, 1])).shape
    torch.Size([])
    """

    needs_head = "one_class"

    def __init__(
        self,
        feature_dim: Size,
        scale: Positive = 20.0,
        bonafide_margin: Cosine = 0.9,
        spoof_margin: Cosine = 0.2,
        *,
        head: OneClassHead | None = None,
    ) -> None:
        super().__init__()
        head = head or OneClassHead(feature_dim, 2)
        self.center = head.center
        self._cosine = head.cosine
        self.scale = scale
        self.bonafide_margin = bonafide_margin
        self.spoof_margin = spoof_margin

    def logits(self, outputs: Tensor) -> Tensor:
        bonafide = self._cosine(outputs, self.center)
        return torch.cat([-bonafide, bonafide], dim=1)

    def _losses(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        cosine = self._cosine(embeddings, self.center)  # B×1
        return F.softplus(self.scale * torch.cat([cosine - self.spoof_margin, self.bonafide_margin - cosine], dim=1))


class AdditiveMarginSoftmax(_OfVectors):
    """Cross-entropy of scale·(cos − margin·[own class]) over the cosines to a vector of each class.

    F. Wang et al., "Additive margin softmax for face verification", IEEE SPL 2018. A margin by
    duration is larger for a longer utterance: slope·seconds + intercept (Zhang et al., ICASSP 2024,
    arXiv 2309.08279).

    Args:
        feature_dim: size of an embedding.
        scale: factor of the cosines; 15 in AASIST2; null for 20, and for 30 if there are more than
            two classes, as in speaker verification (assumed).
        margin: number subtracted from the cosine of the own class, or ``("duration", slope,
            intercept)``, which subtracts more for a longer utterance; AASIST2 has 0.06 and 0.14.
            null for 0.9, and for 0.2 if there are more than two classes.
        head: the detector's head, whose vectors are trained; None for vectors of its own.

    >>> criterion = AdditiveMarginSoftmax(8, 15.0, ("duration", 3 / 50, 7 / 50))
    >>> criterion(torch.randn(4, 8), torch.tensor([0, 0, 1, 1]), torch.full((4,), 4.0)).shape
    torch.Size([])
    """

    needs_head = "cosine"

    def __init__(
        self,
        feature_dim: Size,
        scale: Positive | None = None,
        margin: Margin | None = None,
        *,
        head: CosineHead | None = None,
        num_classes: int = 2,
    ) -> None:
        super().__init__(num_classes)
        head = head or CosineHead(feature_dim, num_classes)
        self.centers = head.centers
        self.logit_scale = head.scale
        usual_scale, usual_margin = _usual(num_classes)
        if margin is None:
            margin = usual_margin
        if isinstance(margin, (int, float)):
            # The published code has the margin in float32, which changes the 9th digit of its loss.
            margin = torch.tensor(float(margin), device="cpu").item()
        self.margin = margin
        self.scale = scale or usual_scale

    @classmethod
    def head_options(cls, num_classes: int, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"scale": options.get("scale") or _usual(num_classes)[0]}

    def forward(  # type: ignore[override]  # durations come third
        self, outputs: Tensor, targets: Tensor, durations: Tensor | None = None, step: int | None = None
    ) -> Tensor:
        """Compute the loss of a batch, with ``durations`` (B,) in seconds for a margin by duration."""
        return super().forward(outputs, targets, step, durations)

    def logits(self, outputs: Tensor) -> Tensor:
        return self.logit_scale * cosines(outputs, self.centers)

    def _losses(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        margin: Any = self.margin
        if not isinstance(margin, (int, float)):
            if durations is None:
                raise InputError("a margin by duration needs the durations of the utterances, in seconds")
            _, slope, intercept = margin
            margin = (slope * durations + intercept).unsqueeze(1)  # B×1
        return additive_margin_losses(cosines(embeddings, self.centers), self.scale, margin)


def _usual(num_classes: int) -> tuple[float, float]:
    """Default scale and margin of :class:`AdditiveMarginSoftmax`; a margin of 0.9 is too large for many classes."""
    if num_classes == 2:
        return (20.0, 0.9)
    return (30.0, 0.2)


def additive_margin_losses(cosine: Tensor, scale: float, margin: Tensor | float) -> Tensor:
    """Loss B×n of each class as target, for cosines B×n and a ``margin`` for all, B×1 or B×n."""
    if isinstance(margin, Tensor):
        margin = margin.to(cosine)
    classes = torch.eye(cosine.shape[1], dtype=cosine.dtype, device=cosine.device)
    return torch.stack(
        [-F.log_softmax(scale * (cosine - margin * one_hot), dim=1)[:, c] for c, one_hot in enumerate(classes)], dim=1
    )


def turned_cosines(cosine: Tensor, margin: float) -> Tensor:
    """cos(θ + ``margin``) of cosines cos θ; beyond π − ``margin``, where it would rise again, a line that goes on falling.

    There is no arc cosine in it, whose slope is infinite at the ends.
    """
    sine = (1 - cosine.square()).clamp_min(1e-12).sqrt()
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    beyond = cosine - math.sin(math.pi - margin) * margin
    return torch.where(cosine > math.cos(math.pi - margin), turned, beyond)


class AdditiveAngularMarginSoftmax(_OfVectors):
    """Cross-entropy of scale·cos(θ + margin of the own class) over the angles θ to a vector of each class.

    Deng et al., "ArcFace: Additive angular margin loss for deep face recognition", CVPR 2019. Beyond
    π − margin the own class has scale·(cos θ − margin·sin margin), so that the loss falls with θ
    everywhere. There is no margin in scores: logits are scale·cos θ.

    Args:
        feature_dim: size of an embedding.
        scale: factor of the cosines; 30 in speaker verification (assumed), and in systems on STOPA.
        margin: what is added to the angle to the own class, in radians; 0.2 in speaker verification
            (assumed), 0.5 in systems on STOPA.
        margin_warmup: optimisation steps in which the margin rises in proportion from 0; 0 for none.
        head: the detector's head, whose vectors are trained; None for vectors of its own.

    >>> AdditiveAngularMarginSoftmax(8, num_classes=5)(torch.randn(4, 8), torch.tensor([0, 2, 4, 4])).shape
    torch.Size([])
    """

    needs_head = "cosine"

    def __init__(
        self,
        feature_dim: Size,
        scale: Positive = 30.0,
        margin: NotNegative = 0.2,
        margin_warmup: Annotated[int, Field(ge=0)] = 0,
        *,
        head: CosineHead | None = None,
        num_classes: int = 2,
    ) -> None:
        super().__init__(num_classes)
        head = head or CosineHead(feature_dim, num_classes)
        self.centers = head.centers
        self.logit_scale = head.scale
        self.scale = scale
        self.margin = margin
        self.margin_warmup = margin_warmup

    @classmethod
    def head_options(cls, num_classes: int, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"scale": options.get("scale", 30.0)}

    def logits(self, outputs: Tensor) -> Tensor:
        return self.logit_scale * cosines(outputs, self.centers)

    def margin_at(self, step: int | None) -> float:
        """The margin at an optimisation ``step``; None, for validation, is the end of the warm-up."""
        if step is None or step >= self.margin_warmup:
            return self.margin
        return self.margin * step / self.margin_warmup

    def _losses(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        cosine = cosines(embeddings, self.centers)
        return additive_margin_losses(cosine, self.scale, cosine - turned_cosines(cosine, self.margin_at(step)))


class P2SGrad(_OfVectors):
    """Mean over samples and classes of (cos − one-hot)², for cosines to a vector of each class.

    X. Wang, J. Yamagishi, "A comparative study on recent neural spoofing countermeasures for
    synthetic speech detection", Interspeech 2021 (arXiv 2103.11326). A mixed label takes the
    place of the one-hot vector.

    Args:
        feature_dim: size of an embedding.
        head: the detector's head, whose vectors are trained; None for vectors of its own.

    >>> P2SGrad(8)(torch.randn(4, 8), torch.tensor([0, 0, 1, 1])).shape
    torch.Size([])
    """

    needs_head = "p2sgrad"

    def __init__(self, feature_dim: Size, *, head: P2SGradHead | None = None, num_classes: int = 2) -> None:
        super().__init__(num_classes)
        self.weight = (head or P2SGradHead(feature_dim, num_classes)).weight

    def logits(self, outputs: Tensor) -> Tensor:
        return renormed_cosines(outputs, self.weight)

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        cosine = self.logits(outputs)
        shares = shares_of(targets, self.num_classes).to(cosine.dtype)
        return (cosine - shares).square().sum() / self.num_classes


class CosineError(MeanOfSamples):
    """The loss of :class:`P2SGrad`, for a back-end whose logits are the cosines: (cos − one-hot)².

    >>> CosineError()(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([1, 0])).item()
    0.125
    """

    needs_head = "p2sgrad"

    def __init__(self, *, num_classes: int = 2) -> None:
        super().__init__(num_classes)

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        shares = shares_of(targets, self.num_classes).to(outputs.dtype)
        errors = (outputs - shares).square().sum(1) / outputs.shape[1]
        return (shares.sum(1) * errors).sum()


class Prototypes(_OfVectors):
    """Cross-entropy over the nearest of several prototypes of a class, with an angular margin.

    W. Huang et al., "Generalizable audio deepfake detection via latent space refinement and
    augmentation", ICASSP 2025 (arXiv 2501.14240). With θ_c the angle to the nearest prototype of
    class c, the probabilities come from a softmax over γ·cos θ_c, in which the margin is added to
    the target's angle (as in ArcFace, Deng et al., CVPR 2019). Two penalties are added to the mean:
    the mean positive cosine between two spoof prototypes, so that they do not collapse, and the
    mean positive cosine between prototypes of both classes. The forms and weights of the penalties,
    γ and the margin are assumptions.

    Args:
        feature_dim: size of an embedding.
        scale: γ.
        margin: angle in radians that is added to the angle to the own class.
        collapse_penalty: weight of the mean positive cosine between two spoof prototypes.
        separation_penalty: weight of the mean positive cosine between prototypes of spoof and of
            bona fide.
        head: the detector's head, whose prototypes are trained; None for prototypes of its own.

    >>> Prototypes(8)(torch.randn(4, 8), torch.tensor([0, 0, 1, 1])).shape
    torch.Size([])
    """

    needs_head = "prototypes"

    def __init__(
        self,
        feature_dim: Size,
        scale: Positive = 20.0,
        margin: NotNegative = 0.2,
        collapse_penalty: NotNegative = 0.1,
        separation_penalty: NotNegative = 0.1,
        *,
        head: PrototypeHead | None = None,
    ) -> None:
        super().__init__()
        head = head or PrototypeHead(feature_dim, 2)
        self.bonafide = head.bonafide
        self.spoof = head.spoof
        self.logit_scale = head.scale
        self.scale = scale
        self.margin = margin
        self.collapse_penalty = collapse_penalty
        self.separation_penalty = separation_penalty

    @classmethod
    def head_options(cls, num_classes: int, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"scale": options.get("scale", 20.0)}

    def logits(self, outputs: Tensor) -> Tensor:
        return self.logit_scale * nearest_cosines(outputs, self.spoof, self.bonafide)

    def penalty(self) -> Tensor:
        """The two penalties, each times its weight."""
        among = cosines(self.spoof, self.spoof).relu().triu(diagonal=1)
        pairs = max(len(self.spoof) * (len(self.spoof) - 1) // 2, 1)
        between = cosines(self.spoof, self.bonafide).relu().mean()
        return self.collapse_penalty * among.sum() / pairs + self.separation_penalty * between

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        # The losses of a batch's parts add up, so each sample adds the penalty.
        numerator = super().numerator(outputs, targets, step, durations)
        return numerator + len(targets) * self.penalty().to(numerator.dtype)

    def _losses(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        cosine = nearest_cosines(embeddings, self.spoof, self.bonafide)
        return additive_margin_losses(cosine, self.scale, cosine - turned_cosines(cosine, self.margin))
