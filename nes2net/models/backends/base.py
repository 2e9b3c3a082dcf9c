"""The contract of a back-end, and the checks that all back-ends share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.data.corpora.trial import BONAFIDE, SPOOF
from nes2net.lib.computing.devices import at_least_float32, without_autocast
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.parts.contracts import Extension
from nes2net.lib.parts.options import Options

HiddenStates: TypeAlias = Sequence[Tensor]
"""Hidden states B×T×D of a front-end, one for each layer."""
ScoreRule = Literal["logit", "difference", "probability", "cosine"]
"""The rule that computes a score from logits, see :func:`scores_of`."""
#: Length of a segment in ms → logits B×S×n of the S segments of this length.
SegmentLogits: TypeAlias = dict[float, Tensor]
#: Score rule → description of the score for users. With every rule, a higher score means more bona fide.
NATURE: dict[ScoreRule, str] = {
    "logit": "no probability",
    "difference": "no probability",
    "probability": "a probability that is not calibrated",
    "cosine": "a cosine, no probability",
}


class Backend(Extension, nn.Module):
    """Features B×T×D → logits B×n; :attr:`score_rule` computes the score from the logits.

    The logits are ``last_layer(embed(features))``; a subclass defines :meth:`embed` and
    :attr:`last_layer_name`. With ``wants_layers = "all"``, the features are the sequence of hidden
    states. State-dict keys are the published names without :attr:`checkpoint_prefix`.

    Args:
        feature_dim: D; None if the class sets :attr:`feature_dim` itself, or accepts any size.
    """

    config: Options
    """Name and options that build this back-end again, set by :func:`nes2net.create_backend`."""
    source: ClassVar[str] = ""
    """Publication of the network, for ``nes2net info``; empty if none is known."""
    feature_dim: int = 0
    """D, size of a feature vector; 0 for any size."""
    checkpoint_prefix: str = ""
    """Prefix of the back-end's keys in published whole-model files."""
    wants_layers: Literal["last", "all"] = "last"
    """``"all"`` if the back-end reads the hidden states of all layers, without an aggregation."""
    wants_final_norm: bool = True
    """Whether the last hidden state is taken after the front-end's final layer norm."""
    num_scores: int = 0
    """Number of other systems whose scores are the second argument."""
    num_states: int = 1
    """Least number of hidden states, if ``wants_layers`` is ``"all"``."""
    min_frames: int = 1
    """Smallest allowed T."""
    max_frames: int | None = None
    """Largest allowed T; None for no limit."""
    fixed_frames: int | None = None
    """The only allowed T, if fixed."""
    receptive_field: int | None = None
    """Input frames that the convolutions read for one output frame; None for the whole utterance."""
    score_rule: ScoreRule = "logit"
    """Rule that computes the score from the logits; higher means more bona fide."""
    classes: tuple[str, ...] = (SPOOF, BONAFIDE)
    """Names of the classes, bona fide last: one for each logit, but two for a single logit."""
    resolutions: tuple[int, ...] = ()
    """Lengths, in frames, of the segments that :meth:`segments` scores."""
    made_for_segments: bool = False
    """Whether a detector counts as trained on segments if its checkpoint contains no recipe."""
    uses_all_weights: bool = False
    """Whether each training step gives a gradient to all trained weights; False if unknown."""
    #: pattern of the names of parameters that no gradient of the output reaches
    untrained: str = ""
    last_layer_name: str = ""
    """Dotted name of the last layer for ``get_submodule``; empty if there is none."""

    def __init__(self, feature_dim: int | None = None) -> None:
        super().__init__()
        if feature_dim is not None:
            self.feature_dim = feature_dim

    if TYPE_CHECKING:  # declared for mypy: torch.nn.Module does not declare the types of a call

        def __call__(self, features: Tensor | Sequence[Tensor], *scores: Tensor) -> Tensor: ...

    def forward(self, features: Tensor | Sequence[Tensor]) -> Tensor:
        """Compute logits B×n from ``features`` B×T×D, or hidden states if ``wants_layers`` is ``"all"``."""
        return self.last_layer(self.embed(features))

    def embed(self, features: Any) -> Tensor:
        """Compute embeddings B×E, the input of the last layer.

        Raises:
            InputError: if the back-end gives only logits.
        """
        raise InputError(
            f"back-end '{self.config['name']}' gives only logits, no embeddings: use another part's embedding, such as `of=frontend`"
        )

    def segments(self, features: Any, frame_ms: float = 20.0) -> SegmentLogits:
        """Compute the logits of segments: length of a segment in ms → logits B×S×n of the S segments of this length.

        Args:
            frame_ms: the front-end's hop in ms.

        Raises:
            InputError: if the back-end can score only whole utterances.
        """
        raise InputError(
            f"back-end '{self.config['name']}' gives one score per utterance, no scores of segments: use a back-end for segments, such as "
            "`model.backend=multires_gmlp`"
        )

    def num_segments(self, num_frames: int) -> tuple[int, ...]:
        """Count the segments of ``num_frames`` frames for each of the :attr:`resolutions`."""
        return tuple(num_frames // factor for factor in self.resolutions)

    def utterance_logits(self, features: Any) -> Tensor:
        """Compute the logits B×n of utterances, even if :meth:`forward` gives those of frames."""
        return self(features)

    def segments_and_embedding(self, features: Any, frame_ms: float = 20.0) -> tuple[SegmentLogits, Tensor]:
        """Return :meth:`segments` and :meth:`embed`."""
        return self.segments(features, frame_ms), self.embed(features)

    @property
    def last_layer(self) -> nn.Module:
        """The layer that maps embeddings B×E to logits B×n.

        Raises:
            InputError: if the back-end has no last layer of its own.
        """
        if not self.last_layer_name:
            raise InputError(
                f"back-end '{self.config['name']}' has no last layer that can be replaced: choose another back-end"
            )
        return self.get_submodule(self.last_layer_name)

    def replace_last_layer(self, layer: nn.Module) -> None:
        """Replace the last layer by ``layer``, embeddings B×E → logits B×n."""
        self.set_submodule(self.last_layer_name, layer)

    def scores(self, logits: Tensor) -> Tensor:
        """Compute scores (B,) from ``logits`` B×n, by the score rule."""
        return scores_of(logits, self.score_rule)

    @staticmethod
    def posteriors(logits: Tensor) -> Tensor:
        """Compute posteriors B×K of the :attr:`classes`, the softmax of ``logits`` B×n, in float64.

        They are not calibrated. For a head that was not trained with a softmax, such as
        ``one_class``, only their order has a meaning.
        """
        return torch.softmax(_logits_of_classes(logits).double(), dim=1)

    def layer_weights(self, hidden_states: HiddenStates) -> Tensor | None:
        """Compute the weights B×L of the L ``hidden_states`` B×T×D, if the back-end weighs layers.

        They are as for :meth:`nes2net.models.aggregations.base.Aggregation.layer_weights`; 0 for a
        layer that is not read.
        """
        return None

    def check_features(self, features: Tensor) -> None:
        """Raise :class:`InputError` unless ``features`` is B×T×D with an allowed T."""
        if features.ndim != 3 or features.shape[2] != self.feature_dim:
            raise InputError(
                f"features must be batch × frames × {self.feature_dim}, got {' × '.join(map(str, features.shape))}; "
                "build the back-end with feature_dim = the front-end's out_dim"
            )
        self.check_frames(features.shape[1])

    def check_frames(self, num_frames: int) -> None:
        """Raise :class:`InputError` if ``num_frames`` is not an allowed T."""
        if num_frames < self.min_frames:
            raise InputError(
                f"{num_frames} frames are too few, this back-end needs at least {self.min_frames}; "
                "pad or repeat the waveform"
            )
        if self.max_frames is not None and num_frames > self.max_frames:
            raise InputError(
                f"{num_frames} frames are too many, this back-end reads at most {self.max_frames} "
                f"({self.max_frames * 0.02:g} s in frames of 20 ms); score shorter pieces"
            )

    def check_hidden_states(self, hidden_states: HiddenStates) -> None:
        """Raise :class:`InputError` unless there are enough ``hidden_states`` of one shape B×T×D."""
        if len(hidden_states) < self.num_states:
            raise InputError(
                f"this back-end reads {self.num_states} hidden states, got {len(hidden_states)}; "
                "ask the front-end for layers='all', or build the back-end with a smaller num_layers"
            )
        self.check_features(hidden_states[0])
        for index, state in enumerate(hidden_states):
            if state.shape != hidden_states[0].shape:
                raise InputError(
                    f"hidden states must have one shape, got {tuple(hidden_states[0].shape)} first and "
                    f"{tuple(state.shape)} at {index}: give the states of one forward pass"
                )

    def check_scores(self, scores: Tensor | None, batch_size: int) -> None:
        """Raise :class:`InputError` unless ``scores`` are ``batch_size``×``num_scores``."""
        name = self.config["name"] if hasattr(self, "config") else ""
        count = self.num_scores
        if scores is None:
            raise InputError(
                f"back-end '{name}' fuses the scores of {pluralise(count, 'other system')}: give them as the second argument, "
                f"batch × {count}"
            )
        if scores.shape != (batch_size, count):
            raise InputError(
                f"the scores of other systems must be {batch_size} × {count}, got {' × '.join(map(str, scores.shape))}: give a "
                "score of each system for each utterance"
            )


class ProjectedBackend(Backend):
    """Projects features B×T×D to B×T×E, normalises them, and computes an embedding with :attr:`conformer`."""

    conformer: nn.Module
    """B×T×E → B×E. The name is part of the published names of tensors."""

    def __init__(self, feature_dim: int, embed_dim: int) -> None:
        super().__init__(feature_dim)
        self.LL = nn.Linear(feature_dim, embed_dim)
        self.first_bn = nn.BatchNorm2d(1)

    def embed(self, features: Tensor) -> Tensor:
        """Compute embeddings B×E from ``features`` B×T×D."""
        self.check_features(features)
        image = self.LL(features).unsqueeze(1)  # B×1×T×E: batch norm then has a single mean and variance
        return self.conformer(F.selu(self.first_bn(image)).squeeze(1))  # type: ignore[no-any-return]


class LogitLayer(nn.Linear):
    """The last linear layer of a back-end, B×E → B×n.

    The logits are at least float32, even within autocast: equal bfloat16 scores change error rates.

    >>> import torch
    >>> LogitLayer(4, 2).bfloat16()(torch.zeros(3, 4, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    score_rule: ScoreRule = "logit"
    """Rule of the score, unless the back-end has another."""

    def __init__(self, in_features: int, out_features: int) -> None:  # nn.Linear takes more arguments
        super().__init__(in_features, out_features)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Compute logits B×n from ``embeddings`` B×E, in at least float32."""
        return precise_linear(embeddings, self.weight, self.bias)


def precise_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x Wᵀ + b with W = ``weight`` in at least float32, also within autocast."""
    with without_autocast(x.device):
        if bias is not None:
            bias = at_least_float32(bias)
        return F.linear(at_least_float32(x), at_least_float32(weight), bias)  # …×K → …×N


def scores_of(logits: Tensor, rule: ScoreRule) -> Tensor:
    """Compute scores (B,) from ``logits`` B×n, whose last column is bona fide.

    Args:
        rule: ``"logit"`` or ``"cosine"`` is the last logit; ``"difference"`` the last − logsumexp
            of the others, the log odds after a softmax; ``"probability"`` the softmax probability.
            In float32, differences above about 17 all have the probability 1.

    >>> logits = torch.tensor([[-1.0, 2.0]])
    >>> [round(scores_of(logits, rule).item(), 4) for rule in ("logit", "difference", "probability")]
    [2.0, 3.0, 0.9526]
    """
    if rule in ("logit", "cosine"):
        return logits[:, -1]
    logits = _logits_of_classes(logits)
    if rule == "probability":
        return torch.softmax(logits, dim=1)[:, -1]
    if logits.shape[1] == 2:
        return logits[:, 1] - logits[:, 0]
    return logits[:, -1] - logits[:, :-1].logsumexp(1)


def _logits_of_classes(logits: Tensor) -> Tensor:
    """B×n → B×K: a single logit, the log odds of bona fide, gets a logit 0 for spoof."""
    return F.pad(logits, (1, 0)) if logits.shape[1] == 1 else logits
