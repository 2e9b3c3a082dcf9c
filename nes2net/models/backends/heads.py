"""Heads: last layers of a back-end that compare an embedding with vectors of the classes.

Any back-end takes a head by its option ``head``, instead of its linear layer. Losses of
:mod:`nes2net.training.losses` that need such vectors train the vectors of the head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.data.corpora.trial import BONAFIDE
from nes2net.lib.devices import at_least_float32, without_autocast
from nes2net.lib.errors import InputError, listed
from nes2net.lib.options import ClassNames, Takes
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
    """The rule that computes the score from its logits."""
    compares_two = False
    """Whether n is 2: spoof and bona fide."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features


class AngularHead(Head):
    """Cosine logits of embeddings relative to class 0, |x|·(cos θ_j − cos θ_0): B×E → B×n.

    A softmax is unchanged by the subtraction, and the last of two logits becomes the cosine-logit
    difference, which is the score. ``weight`` is n×E; its rows are scaled to unit length and there
    is no bias (A-softmax, Liu et al., CVPR 2017).
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.weight = nn.Parameter(torch.randn(out_features, in_features))

    def forward(self, embeddings: Tensor) -> Tensor:
        unit = F.normalize(at_least_float32(self.weight), dim=1)
        return precise_linear(embeddings, unit - unit[:1])


class CosineHead(Head):
    """Scaled cosines of embeddings and class vectors: B×E → B×n; of two, their difference is the score.

    ``centers`` is n×E, the last row for bona fide. Additive-margin softmax trains it (Wang et al.,
    IEEE SPL 2018).

    Args:
        scale: factor of the cosines. Training takes the scale of its loss, so that a softmax of the
            logits gives posteriors.
    """

    score_rule = "difference"

    def __init__(self, in_features: int, out_features: int, *, scale: Scale = 1.0) -> None:
        super().__init__(in_features, out_features)
        self.centers = nn.Parameter(torch.randn(out_features, in_features))
        self.scale = scale

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.scale * cosines(embeddings, self.centers)


class OneClassHead(Head):
    """Cosine s of embeddings and the vector of bona fide speech: B×E → (−s, s), B×2.

    ``center`` is 1×E. One-class softmax trains it (Zhang, Jiang, Duan, IEEE SPL 2021, arXiv
    2010.13995, eq. 3); s is the score.
    """

    score_rule = "cosine"
    compares_two = True

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.center = nn.Parameter(torch.empty(1, in_features))
        nn.init.kaiming_uniform_(self.center, 0.25)

    def forward(self, embeddings: Tensor) -> Tensor:
        bonafide = self.cosine(embeddings, self.center)
        return torch.cat([-bonafide, bonafide], dim=1)

    @staticmethod
    def cosine(embeddings: Tensor, center: Tensor) -> Tensor:
        """The cosines B×1 of ``embeddings`` B×E and ``center``."""
        return cosines(embeddings, center)


class OneClassColumnHead(OneClassHead):
    """A one-class head whose vector is a column, ``weight`` E×1, as AntiDeepfake's files have it.

    The column is scaled as in :class:`P2SGradHead`.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        Head.__init__(self, in_features, out_features)
        self.weight = nn.Parameter(torch.empty(in_features, 1).uniform_(-1, 1))

    @property
    def center(self) -> nn.Parameter:  # type: ignore[override]
        """The column, E×1."""
        return self.weight

    @staticmethod
    def cosine(embeddings: Tensor, center: Tensor) -> Tensor:
        """The cosines B×1 of ``embeddings`` B×E and ``center`` E×1."""
        return renormed_cosines(embeddings, center)


class P2SGradHead(Head):
    """Cosines of embeddings and class vectors: B×E → B×n; the cosine of bona fide is the score.

    ``weight`` is E×n, the last column for bona fide. The mean squared error of the cosines trains it (Wang
    & Yamagishi, Interspeech 2021, arXiv 2103.11326). Columns are scaled as in the published
    code, so that a cosine is true to 1e-7 only, and a column shorter than 1e-5 stays short.
    """

    score_rule = "cosine"

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.weight = nn.Parameter(torch.empty(in_features, out_features).uniform_(-1, 1))

    def forward(self, embeddings: Tensor) -> Tensor:
        return renormed_cosines(embeddings, self.weight)


class PrototypeHead(Head):
    """Largest scaled cosine of an embedding and the prototypes of a class: B×E → B×2.

    The difference of both classes is the score. ``bonafide`` is 1×E, ``spoof`` K×E. The loss that
    trains them is :class:`nes2net.training.losses.Prototypes` (Huang et al., ICASSP 2025, arXiv
    2501.14240).

    Args:
        spoof_prototypes: K; 20 is an assumption.
        scale: factor of the cosines, as for :class:`CosineHead`.
    """

    score_rule = "difference"
    compares_two = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        spoof_prototypes: Annotated[int, Field(ge=1, le=1000)] = 20,
        scale: Scale = 1.0,
    ) -> None:
        super().__init__(in_features, out_features)
        self.scale = scale
        self.bonafide = nn.Parameter(torch.randn(1, in_features))
        self.spoof = nn.Parameter(torch.randn(spoof_prototypes, in_features))

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.scale * nearest_cosines(embeddings, self.spoof, self.bonafide)


def cosines(embeddings: Tensor, vectors: Tensor) -> Tensor:
    """Cosines B×n of ``embeddings`` B×E and ``vectors`` n×E, in at least float32."""
    with without_autocast(embeddings.device):
        embeddings, vectors = _of_one_type(embeddings, vectors)
        return F.normalize(embeddings, dim=1) @ F.normalize(vectors, dim=1).T


def renormed_cosines(embeddings: Tensor, weight: Tensor) -> Tensor:
    """Cosines B×n of ``embeddings`` B×E and the columns of ``weight`` E×n, in at least float32.

    The columns are scaled as published: PyTorch's ``renorm``, which adds 1e-7 to the length,
    shortens columns longer than 1e-5 to this length; then all are multiplied by 1e5.
    """
    with without_autocast(embeddings.device):
        embeddings, weight = _of_one_type(embeddings, weight)
        length = weight.norm(dim=0, keepdim=True)
        unit = weight * torch.where(length > 1e-5, 1 / (length + 1e-7), 1e5)
        # A vector of zeros has the cosine 0.
        norm = embeddings.norm(dim=1, keepdim=True).clamp_min(1e-12)
        return (embeddings @ unit / norm).clamp(-1, 1)


def _of_one_type(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors in the finer of their types, and in at least float32."""
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return a.to(dtype), b.to(dtype)


def nearest_cosines(embeddings: Tensor, *classes: Tensor) -> Tensor:
    """Largest cosine of ``embeddings`` B×E and the vectors K×E of each of n ``classes``: B×n."""
    return torch.stack([cosines(embeddings, vectors).amax(dim=1) for vectors in classes], dim=1)


HeadOption = Annotated[
    Annotated[str, Field(pattern=r"^[A-Za-z]\w{0,99}$")]
    | Annotated[dict[str, Any], Field(min_length=1, max_length=32)],
    Takes("the name of a head, or a mapping of its `name` and options"),
]


class GeneralOptions:
    """The options that every back-end takes besides its own.

    Args:
        head: last layer: a name, or a mapping of ``name`` and its options; null leaves the
            back-end's own.
        score_rule: rule that computes the score from the logits; null leaves the rule of the head.
        classes: a name for each logit, bona fide last; null names two classes spoof and bonafide,
            and of more classes all but the last spoof_1, spoof_2 and so on.
    """

    def __init__(
        self,
        *,
        head: HeadOption | None = None,
        score_rule: ScoreRule | None = None,
        classes: ClassNames | None = None,
    ) -> None:
        self.head = head
        self.score_rule = score_rule
        self.classes = classes

    def apply(self, backend: Backend, num_logits: int, create_head: Callable[..., nn.Module]) -> None:
        """Give ``backend``, which makes ``num_logits`` logits, the head, the score rule and the classes.

        Args:
            create_head: :func:`nes2net.models.registry.create_head`.

        Raises:
            InputError: if the head does not fit, or there is another number of classes.
        """
        if self.head is not None:
            last = backend.last_layer
            if not isinstance(last, (Head, LogitLayer)):
                raise InputError(
                    f"the last layer of this back-end is a {type(last).__name__}, which the option head cannot replace"
                )
            backend.replace_last_layer(create_head(self.head, last.in_features, last.out_features))
        if backend.last_layer_name and isinstance(backend.last_layer, Head):
            backend.score_rule = backend.last_layer.score_rule
        if self.score_rule is not None:
            backend.score_rule = self.score_rule
        if self.classes is not None:
            if not len(self.classes) == len(set(self.classes)) == max(num_logits, 2):
                raise InputError(
                    f"classes has {max(num_logits, 2)} different names, as num_logits is {num_logits}, not "
                    f"{listed(self.classes, 5)}"
                )
            backend.classes = tuple(self.classes)
        elif num_logits > 2:
            backend.classes = (*(f"spoof_{number}" for number in range(1, num_logits)), BONAFIDE)
