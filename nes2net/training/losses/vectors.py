"""Losses that compare embeddings with the vectors of a head.

In reading order: ``AngularSoftmax``; ``OneClassSoftmax``; softmax with additive margins;
``P2SGrad`` and ``CosineError``; ``Prototypes``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import Options, Size, Takes
from nes2net.models.backends.heads import (
    AngularHead,
    CosineHead,
    Head,
    OneClassHead,
    PrototypeHead,
    cosines,
    nearest_cosines,
)
from nes2net.models.registry import create_head
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

    The logits of an embedding x are |x|·cos θ_j, where θ_j is the angle between x and the direction
    of class j. In the loss, the target's class has the logit |x|·(λ·cos θ + ψ(θ))/(1 + λ) with ψ(θ)
    = (−1)^k·cos(mθ) − 2k and k = ⌊mθ/π⌋; ψ falls from 1 to 1 − 2m over [0, π]. The margin grows in
    training: λ = max(``lambda_min``, ``lambda_max``/(1 + ``lambda_decay``·step)). Cross-entropy is
    averaged as in :class:`WeightedCrossEntropy`; for a mixed label, the losses are weighted by the
    shares of the classes.

    Args:
        head: the back-end's last layer, whose ``weight`` is n×E for n classes.
        class_weights: weight of each class, bona fide last; null for equal weights.
        margin: m, the factor of the angle to the target's class.
        lambda_min: lowest value of λ, at which it stops falling.
        lambda_max: λ at the first step.
        lambda_decay: how fast λ falls, per step.

    >>> head = AngularHead(8, 2)
    >>> AngularSoftmax(head)(torch.randn(4, 8), torch.tensor([0, 0, 1, 1]), step=0).shape
    torch.Size([])
    """

    takes_embeddings = True
    needs_head = "angular"
    changes_with_steps = True

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
        if lambda_min > lambda_max:
            raise InputError(
                f"angular_softmax: lambda_min must be at most lambda_max, not {lambda_min} and {lambda_max}"
            )
        self.head = head
        self.margin = margin
        self.lambda_min = lambda_min
        self.lambda_max = lambda_max
        self.lambda_decay = lambda_decay

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        """Sum the weighted cross-entropies of the embeddings B×E, with the margin of ``step``."""
        norm = outputs.norm(dim=1, keepdim=True)
        directions = self.head.weight.to(outputs.dtype)
        cosine = F.cosine_similarity(outputs.unsqueeze(1), directions, dim=2).clamp(-1, 1)  # B×n
        margin_share = 1 / (1 + self.lambda_at(step))  # share of ψ in the target's logit
        logits = norm * cosine
        with_margin = logits + margin_share * norm * (self._psi(cosine) - cosine)
        losses = losses_by_class(logits, with_margin)
        shares = shares_of(targets, self.num_classes)
        return (self.weight.to(losses) * shares * losses).sum()

    def logits(self, outputs: Tensor) -> Tensor:
        """Compute |x|·cos θ, without the margin."""
        return self.head(outputs)

    def lambda_at(self, step: int | None) -> float:
        """Compute λ at ``step``; None, in validation, gives the last λ."""
        if step is None:
            return self.lambda_min
        return max(self.lambda_min, self.lambda_max / (1 + self.lambda_decay * step))

    def _psi(self, cosine: Tensor) -> Tensor:
        # ψ(θ), see the class. Chebyshev's recurrence gives cos(0θ), cos(1θ), …, cos(mθ).
        before = torch.ones_like(cosine)
        multiple = cosine
        for _ in range(self.margin - 1):
            before, multiple = multiple, 2 * cosine * multiple - before
        k = (self.margin * cosine.detach().acos() / math.pi).floor().clamp(max=self.margin - 1)
        return (1 - 2 * (k % 2)) * multiple - 2 * k


class _MeanOverClasses(MeanOfSamples):
    """A loss Σ_c q_c·ℓ_c of embeddings, averaged over samples, with the share q_c of class c."""

    takes_embeddings = True
    needs_head: str
    key: ClassVar[str | None] = None
    """Published key of the only vector in the state dict; None for the names in the head."""
    head: Head

    def __init__(self, feature_dim: Size, *, head: Head | None = None, num_classes: int = 2) -> None:
        super().__init__(num_classes)
        # Not a submodule: the keys of its vectors in the state dict would begin with `head.`.
        object.__setattr__(self, "head", head or create_head(self.needs_head, feature_dim, num_classes))
        for name, vectors in self.head.named_parameters(recurse=False):
            self.register_parameter(self.key or name, vectors)

    def logits(self, outputs: Tensor) -> Tensor:
        return self.head(outputs)

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        losses = self._losses_by_class(outputs, step, durations)  # B×K
        return (shares_of(targets, self.num_classes).to(losses.dtype) * losses).sum()

    def _losses_by_class(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        """Compute the losses B×K; in column c, c is taken as the class of every sample."""
        raise NotImplementedError


class OneClassSoftmax(_MeanOverClasses):
    """One-class softmax over the cosine s of an embedding and one vector (Zhang, Jiang, Duan).

    The loss is the mean of softplus(α·(m − s)) for bona fide and softplus(α·(s − m')) for spoof.
    Embeddings of bona fide speech gather around the vector, whatever the kinds of spoof (IEEE SPL
    2021, arXiv 2010.13995).

    Args:
        feature_dim: size of an embedding.
        scale: α.
        bonafide_margin: m, the cosine that bona fide utterances should exceed.
        spoof_margin: m', the cosine that spoofed utterances should stay below; the published run
            has 0.2, but the default of the published code is 0.5.
        head: the detector's head, whose vector is trained; None makes a new vector.

    >>> OneClassSoftmax(8)(torch.randn(4, 8), torch.tensor([0, 0, 1, 1])).shape
    torch.Size([])
    """

    needs_head = "one_class"
    key = "center"
    head: OneClassHead

    def __init__(
        self,
        feature_dim: Size,
        scale: Positive = 20.0,
        bonafide_margin: Cosine = 0.9,
        spoof_margin: Cosine = 0.2,
        *,
        head: OneClassHead | None = None,
    ) -> None:
        super().__init__(feature_dim, head=head)
        self.scale = scale
        self.bonafide_margin = bonafide_margin
        self.spoof_margin = spoof_margin

    def _losses_by_class(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        cosine = self.head.cosine(embeddings)  # B×1
        return F.softplus(
            self.scale * torch.cat([cosine - self.spoof_margin, self.bonafide_margin - cosine], dim=1)
        )  # B×2: as spoof, as bona fide


class AdditiveMarginSoftmax(_MeanOverClasses):
    """Cross-entropy of scale·(cos − margin·[target]) over the cosines to a vector of each class.

    [target] is 1 for the target's class, otherwise 0 (F. Wang et al., "Additive margin softmax for
    face verification", IEEE SPL 2018). A margin by duration is slope·seconds + intercept (Zhang et
    al., ICASSP 2024, arXiv 2309.08279).

    Args:
        feature_dim: size of an embedding.
        scale: factor of the cosines; 15 in AASIST2. null takes 20 for two classes and 30 for more,
            as in speaker verification (assumed).
        margin: number subtracted from the cosine to the target's class, or ``("duration", slope,
            intercept)`` for a margin by duration; AASIST2 has 0.06 and 0.14. null takes 0.9 for two
            classes and 0.2 for more.
        head: the detector's head, whose vectors are trained; None makes new vectors.

    >>> criterion = AdditiveMarginSoftmax(8, 15.0, ("duration", 3 / 50, 7 / 50))
    >>> criterion(torch.randn(4, 8), torch.tensor([0, 0, 1, 1]), durations=torch.full((4,), 4.0)).shape
    torch.Size([])
    """

    needs_head = "cosine"
    head: CosineHead

    def __init__(
        self,
        feature_dim: Size,
        scale: Positive | None = None,
        margin: Margin | None = None,
        *,
        head: CosineHead | None = None,
        num_classes: int = 2,
    ) -> None:
        super().__init__(feature_dim, head=head, num_classes=num_classes)
        usual_scale, usual_margin = _default_scale_and_margin(num_classes)
        self.scale = scale or usual_scale
        if margin is None:
            margin = usual_margin
        if not isinstance(margin, Sequence):
            # The published code rounds the margin to float32, which changes the 9th digit of the loss.
            margin = float(np.float32(margin))
        self.margin = margin

    @classmethod
    def head_options(cls, num_classes: int, options: Options) -> Options:
        return {"scale": options.get("scale") or _default_scale_and_margin(num_classes)[0]}

    def forward(  # type: ignore[override]  # durations come third
        self, outputs: Tensor, targets: Tensor, durations: Tensor | None = None, step: int | None = None
    ) -> Tensor:
        """Compute the loss, with ``durations`` (B,) in seconds for a margin by duration."""
        return super().forward(outputs, targets, step, durations)

    def _losses_by_class(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        cosine = cosines(embeddings, self.head.centers)  # B×K
        margin: Any = self.margin
        if isinstance(margin, Sequence):
            if durations is None:
                raise InputError(
                    "a margin by duration needs the durations of the utterances in seconds, but none are given: add them"
                )
            _, slope, intercept = margin
            margin = (slope * durations + intercept).to(cosine).unsqueeze(1)  # B×1
        return losses_by_class(self.scale * cosine, self.scale * (cosine - margin))


def _default_scale_and_margin(num_classes: int) -> tuple[float, float]:
    if num_classes == 2:
        return (20.0, 0.9)
    return (30.0, 0.2)


def losses_by_class(logits: Tensor, with_margin: Tensor) -> Tensor:
    """Compute cross-entropies B×n; in column c, c is every sample's class, whose logit is from ``with_margin`` B×n."""
    is_class = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    columns = [-F.log_softmax(torch.where(row, with_margin, logits), dim=1)[:, c] for c, row in enumerate(is_class)]
    return torch.stack(columns, dim=1)


def cosines_with_margin(cosine: Tensor, margin: float) -> Tensor:
    """Compute cos(θ + margin) from ``cosine``, or cos θ − margin·sin margin if θ > π − margin.

    The second formula keeps falling as θ grows. The arc cosine would have an infinite slope at ±1.
    """
    sine = (1 - cosine.square()).clamp_min(1e-12).sqrt()  # the square root has an infinite slope at 0
    turned = cosine * math.cos(margin) - sine * math.sin(margin)
    beyond = cosine - math.sin(math.pi - margin) * margin
    return torch.where(cosine > math.cos(math.pi - margin), turned, beyond)


class AdditiveAngularMarginSoftmax(_MeanOverClasses):
    """Cross-entropy of scale·cos(θ + margin·[target]) over the angles θ to a vector of each class.

    [target] is 1 for the target's class, otherwise 0 (Deng et al., "ArcFace: Additive angular
    margin loss for deep face recognition", CVPR 2019). If θ > π − margin, its logit is scale·(cos θ
    − margin·sin margin), which also falls with θ. Scores have no margin: logits are scale·cos θ.

    Args:
        feature_dim: size of an embedding.
        scale: factor of the cosines; 30 in speaker verification (assumed), and in systems on STOPA.
        margin: angle in radians, added to the angle to the target's class; 0.2 in speaker
            verification (assumed), 0.5 in systems on STOPA.
        margin_warmup: number of optimisation steps at the beginning in which the margin rises
            linearly from 0; 0 for a constant margin.
        head: the detector's head, whose vectors are trained; None makes new vectors.

    >>> AdditiveAngularMarginSoftmax(8, num_classes=5)(torch.randn(4, 8), torch.tensor([0, 2, 4, 4])).shape
    torch.Size([])
    """

    needs_head = "cosine"
    head: CosineHead

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
        super().__init__(feature_dim, head=head, num_classes=num_classes)
        self.scale = scale
        self.margin = margin
        self.margin_warmup = margin_warmup
        self.changes_with_steps = margin_warmup > 0

    @classmethod
    def head_options(cls, num_classes: int, options: Options) -> Options:
        return {"scale": options.get("scale", 30.0)}

    def margin_at(self, step: int | None) -> float:
        """Compute the margin at ``step``; None, in validation, gives the final margin."""
        if step is None or not self.changes_with_steps or step >= self.margin_warmup:
            return self.margin
        return self.margin * step / self.margin_warmup

    def _losses_by_class(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        cosine = cosines(embeddings, self.head.centers)  # B×K
        return losses_by_class(self.scale * cosine, self.scale * cosines_with_margin(cosine, self.margin_at(step)))


class P2SGrad(_MeanOverClasses):
    """Mean over samples and classes of (cos − one-hot)², for cosines to a vector of each class.

    X. Wang, J. Yamagishi, "A comparative study on recent neural spoofing countermeasures for
    synthetic speech detection", Interspeech 2021 (arXiv 2103.11326). A mixed label has shares
    instead of the one-hot vector.

    Args:
        feature_dim: size of an embedding.
        head: the detector's head, whose vectors are trained; None makes new vectors.

    >>> P2SGrad(8)(torch.randn(4, 8), torch.tensor([0, 0, 1, 1])).shape
    torch.Size([])
    """

    needs_head = "p2sgrad"

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        cosine = self.logits(outputs)  # B×K
        shares = shares_of(targets, self.num_classes).to(cosine.dtype)
        return (cosine - shares).square().sum() / self.num_classes


class CosineError(MeanOfSamples):
    """The loss (cos − one-hot)² of :class:`P2SGrad`, for a back-end whose logits are the cosines.

    >>> CosineError()(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([1, 0])).item()
    0.125
    """

    needs_head = "p2sgrad"

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        """Sum over samples the squared errors of the logits B×K, averaged over classes."""
        shares = shares_of(targets, self.num_classes).to(outputs.dtype)
        errors = (outputs - shares).square().sum(1) / outputs.shape[1]
        is_used = shares.sum(1)  # 1, or 0 for an ignored sample
        return (is_used * errors).sum()


class Prototypes(_MeanOverClasses):
    """Cross-entropy over the cosine to the nearest prototype of each class, with an angular margin.

    W. Huang et al., "Generalizable audio deepfake detection via latent space refinement and
    augmentation", ICASSP 2025 (arXiv 2501.14240). The probabilities are a softmax over γ·cos θ_c,
    with the angle θ_c to the nearest prototype of class c, plus the margin for the target's class
    (as in ArcFace, Deng et al., CVPR 2019). Two penalties, means of max(0, cos), are added to the
    mean over samples: over all pairs of spoof prototypes, and of a spoof and a bona fide prototype.
    Their formulas and weights, γ and the margin are assumptions.

    Args:
        feature_dim: size of an embedding.
        scale: γ.
        margin: angle in radians, added to the angle to the target's class.
        collapse_penalty: weight of the mean positive cosine between two spoof prototypes.
        separation_penalty: weight of the mean positive cosine between a spoof prototype and a bona
            fide prototype.
        head: the detector's head, whose prototypes are trained; None makes new prototypes.

    >>> Prototypes(8)(torch.randn(4, 8), torch.tensor([0, 0, 1, 1])).shape
    torch.Size([])
    """

    needs_head = "prototypes"
    head: PrototypeHead

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
        super().__init__(feature_dim, head=head)
        self.scale = scale
        self.margin = margin
        self.collapse_penalty = collapse_penalty
        self.separation_penalty = separation_penalty

    @classmethod
    def head_options(cls, num_classes: int, options: Options) -> Options:
        return {"scale": options.get("scale", 20.0)}

    def penalty(self) -> Tensor:
        spoof = self.head.spoof  # P×E
        spoof_pairs = cosines(spoof, spoof).relu().triu(diagonal=1)  # P×P, each pair once
        num_pairs = max(len(spoof) * (len(spoof) - 1) // 2, 1)  # a single prototype has 0 pairs: divide by 1
        between_classes = cosines(spoof, self.head.bonafide).relu().mean()
        return self.collapse_penalty * spoof_pairs.sum() / num_pairs + self.separation_penalty * between_classes

    def numerator(self, outputs: Tensor, targets: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        """Sum the losses of the embeddings B×E, and add the penalties once for each sample."""
        # The numerator is later divided by the number of samples of the whole batch, so each sample adds the penalty.
        numerator = super().numerator(outputs, targets, step, durations)
        return numerator + len(targets) * self.penalty().to(numerator.dtype)

    def _losses_by_class(self, embeddings: Tensor, step: int | None, durations: Tensor | None) -> Tensor:
        cosine = nearest_cosines(embeddings, self.head.spoof, self.head.bonafide)  # B×2
        return losses_by_class(self.scale * cosine, self.scale * cosines_with_margin(cosine, self.margin))
