"""Heads: last layers of back-ends. A head compares an embedding with vectors of the classes.

The option ``head`` of a back-end replaces its last linear layer. Losses in
:mod:`nes2net.training.losses` train the vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.data.corpora.trial import BONAFIDE
from nes2net.lib.computing.devices import at_least_float32, without_autocast
from nes2net.lib.errors import InputError, join_names
from nes2net.lib.parts.options import ClassNames, PartOption, UpTo1000
from nes2net.models.backends.base import Backend, LogitLayer, ScoreRule, precise_linear

Scale = Annotated[float, Field(gt=0, le=1e4)]
"""Factor of cosines."""


class Head(nn.Module):
    """Embeddings B×E → logits B×n, in at least float32.

    Args:
        in_features: E.
        out_features: n.
    """

    score_rule: ScoreRule = "logit"
    """Rule of the score."""
    compares_two = False
    """Whether the head compares spoof with bona fide, so that there must be 2 logits."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.draw_vectors()

    def draw_vectors(self) -> None:
        """Make the vectors, with random numbers; only for a head without options."""


class AngularHead(Head):
    """Cosine logits of embeddings relative to class 0, |x|·(cos θ_j − cos θ_0): B×E → B×n.

    θ_j is the angle between x and row j of ``weight`` n×E; rows have unit length, without bias
    (A-softmax, Liu et al., CVPR 2017). Subtracting the logit of class 0 does not change a softmax;
    with two classes, the last logit is then the difference, the score.
    """

    def draw_vectors(self) -> None:
        self.weight = nn.Parameter(torch.randn(self.out_features, self.in_features))

    def forward(self, embeddings: Tensor) -> Tensor:
        unit = F.normalize(at_least_float32(self.weight), dim=1)  # n×E
        return precise_linear(embeddings, unit - unit[:1])  # column 0 is 0


class CosineHead(Head):
    """Scaled cosines between embeddings and class vectors: B×E → B×n.

    ``centers`` is n×E, bona fide last, trained by additive-margin softmax (Wang et al., IEEE SPL
    2018). With two classes, the difference is the score.

    Args:
        scale: factor of the cosines. In training, the scale of the loss replaces this factor, so
            that a softmax of the logits gives posteriors.
    """

    score_rule = "difference"

    def __init__(self, in_features: int, out_features: int, *, scale: Scale = 1.0) -> None:
        super().__init__(in_features, out_features)
        self.centers = nn.Parameter(torch.randn(out_features, in_features))
        self.scale = scale

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.scale * cosines(embeddings, self.centers)


class OneClassHead(Head):
    """Cosine s between embeddings and the vector of bona fide speech: B×E → (−s, s), B×2; s is the score.

    One-class softmax trains the vector, ``center`` 1×E (Zhang, Jiang, Duan, IEEE SPL 2021, arXiv
    2010.13995, eq. 3).
    """

    score_rule = "cosine"
    compares_two = True

    def draw_vectors(self) -> None:
        self.center = nn.Parameter(torch.empty(1, self.in_features))
        nn.init.kaiming_uniform_(self.center, 0.25)  # as published

    def forward(self, embeddings: Tensor) -> Tensor:
        bonafide = self.cosine(embeddings)  # B×1
        return torch.cat([-bonafide, bonafide], dim=1)

    def cosine(self, embeddings: Tensor) -> Tensor:
        return cosines(embeddings, self.center)


class OneClassColumnHead(OneClassHead):
    """A one-class head whose vector is a column, ``weight`` E×1, as in AntiDeepfake's files.

    It is scaled as in :class:`P2SGradHead`.
    """

    def draw_vectors(self) -> None:
        self.weight = nn.Parameter(torch.empty(self.in_features, 1).uniform_(-1, 1))

    def cosine(self, embeddings: Tensor) -> Tensor:
        return renormed_cosines(embeddings, self.weight)


class P2SGradHead(Head):
    """Cosines between embeddings and class vectors: B×E → B×n; the cosine of bona fide is the score.

    ``weight`` is E×n, bona fide last, trained by the mean squared error of the cosines (Wang &
    Yamagishi, Interspeech 2021, arXiv 2103.11326). The published scaling (:func:`renormed_cosines`)
    has an error of 1e-7, and fails for columns shorter than 1e-5.
    """

    score_rule = "cosine"

    def draw_vectors(self) -> None:
        self.weight = nn.Parameter(torch.empty(self.in_features, self.out_features).uniform_(-1, 1))  # as published

    def forward(self, embeddings: Tensor) -> Tensor:
        return renormed_cosines(embeddings, self.weight)


class PrototypeHead(Head):
    """Finds, for each class, the largest scaled cosine between an embedding and the class's prototypes: B×E → B×2.

    The difference, bona fide minus spoof, is the score. The prototypes ``bonafide`` 1×E and
    ``spoof`` K×E are trained by :class:`nes2net.training.losses.Prototypes` (Huang et al., ICASSP
    2025, arXiv 2501.14240).

    Args:
        spoof_prototypes: K, number of prototypes of spoof; 20 is an assumption.
        scale: factor of the cosines, as for :class:`CosineHead`.
    """

    score_rule = "difference"
    compares_two = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        spoof_prototypes: UpTo1000 = 20,
        scale: Scale = 1.0,
    ) -> None:
        super().__init__(in_features, out_features)
        self.scale = scale
        self.bonafide = nn.Parameter(torch.randn(1, in_features))
        self.spoof = nn.Parameter(torch.randn(spoof_prototypes, in_features))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Compute the largest scaled cosine for each class, B×2, spoof first."""
        return self.scale * nearest_cosines(embeddings, self.spoof, self.bonafide)


def cosines(embeddings: Tensor, vectors: Tensor) -> Tensor:
    """Cosines B×n between ``embeddings`` B×E and ``vectors`` n×E, in at least float32."""
    with without_autocast(embeddings.device):
        embeddings, vectors = _to_common_type(embeddings, vectors)
        return F.normalize(embeddings, dim=1) @ F.normalize(vectors, dim=1).T


def renormed_cosines(embeddings: Tensor, weight: Tensor) -> Tensor:
    """Compute the cosines B×n between ``embeddings`` B×E and the columns of ``weight`` E×n, in at least float32.

    Columns are scaled as published: those longer than 1e-5 are multiplied by 1e-5 / (length + 1e-7)
    (PyTorch's ``renorm``), then all by 1e5.
    """
    with without_autocast(embeddings.device):
        embeddings, weight = _to_common_type(embeddings, weight)
        length = weight.norm(dim=0, keepdim=True)
        unit = weight * torch.where(length > 1e-5, 1 / (length + 1e-7), 1e5)
        # Because of this lower limit, an embedding of zeros has the cosine 0 instead of NaN.
        norm = embeddings.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return (embeddings @ unit / norm).clamp(-1, 1)


def _to_common_type(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return a.to(dtype), b.to(dtype)


def nearest_cosines(embeddings: Tensor, *classes: Tensor) -> Tensor:
    """For each of n ``classes`` K×E, compute the largest cosine between ``embeddings`` B×E and its vectors: B×n.

    K may differ between the classes.
    """
    return torch.stack([cosines(embeddings, vectors).amax(dim=1) for vectors in classes], dim=1)


@dataclass(frozen=True, kw_only=True)
class GeneralOptions:
    """The options that every back-end takes, in addition to the options of its own class.

    Args:
        head: last layer: a name, or a mapping of ``name`` and options; null for the back-end's own
            last layer.
        score_rule: rule that computes the score from the logits; null for the rule of the head.
        classes: a name for each logit, bona fide last; null for spoof and bonafide, or for spoof_1,
            spoof_2, … and bonafide if there are more than two logits.
    """

    head: PartOption | None = None
    score_rule: ScoreRule | None = None
    classes: ClassNames | None = None

    def apply(self, backend: Backend, num_logits: int, create_head: Callable[..., nn.Module]) -> None:
        """Set the head, the score rule and the classes of ``backend``, as the options say.

        Args:
            create_head: :func:`nes2net.models.registry.create_head`; the registry imports this
                module.

        Raises:
            InputError: if the last layer cannot be replaced, or ``classes`` are not a different
                name for each logit.
        """
        if self.head is not None:
            last = backend.last_layer
            if not isinstance(last, (Head, LogitLayer)):
                raise InputError(
                    f"the last layer of this back-end is a {type(last).__name__}, which the option head cannot replace: "
                    "remove `model.backend.head`"
                )
            backend.replace_last_layer(create_head(self.head, last.in_features, last.out_features))
        if backend.last_layer_name and isinstance(backend.last_layer, Head):
            backend.score_rule = backend.last_layer.score_rule
        if self.score_rule is not None:
            backend.score_rule = self.score_rule
        if self.classes is not None:
            if not len(self.classes) == len(set(self.classes)) == max(num_logits, 2):
                raise InputError(
                    f"classes must have {max(num_logits, 2)} different names, because num_logits is {num_logits}, not "
                    f"{join_names(self.classes, 5)}"
                )
            backend.classes = tuple(self.classes)
        elif num_logits > 2:
            backend.classes = (*(f"spoof_{number}" for number in range(1, num_logits)), BONAFIDE)
