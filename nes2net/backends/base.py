"""The contract of a back-end, and the checks of options and inputs that all back-ends share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.errors import InputError
from nes2net.machine.autocast import at_least_float32, without_autocast


class AngularHeadContract(Protocol):
    """A head that turns embeddings into logits by their angles to class directions."""

    @property
    def weight(self) -> Tensor:
        """The class directions, n×E."""

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Logits B×n of ``embeddings`` B×E."""


class Backend(nn.Module):
    """Features B×T×D → logits B×n; the last column is the score, higher meaning more bona fide.

    A back-end with ``wants_layers = "all"`` takes the sequence of hidden states instead of the
    features. State-dict keys are the published ones, without :attr:`checkpoint_prefix`.
    """

    config: dict[str, Any]
    """The name and options that build it again; :func:`nes2net.create_backend` sets them."""
    feature_dim: int
    """D, the size of a feature vector."""
    checkpoint_prefix: str = ""
    """Prefix of its keys in the whole-model checkpoints of the published code."""
    wants_layers: Literal["last", "all"] = "last"
    """``"all"`` if it reads the hidden states of all layers, without an aggregation."""
    wants_final_norm: bool = True
    """Whether the last hidden state is taken after the front-end's final layer norm."""
    num_states: int = 1
    """How many hidden states it reads at least, if it reads all layers."""
    min_frames: int = 1
    """Smallest T."""
    max_frames: int | None = None
    """Largest T; None for no limit."""
    fixed_frames: int | None = None
    """The only T that it takes; None if it takes any."""
    receptive_field: int | None = None
    """Frames that its convolutions see; None if they see the whole utterance."""

    if TYPE_CHECKING:  # torch.nn.Module says no more than that it can be called

        def __call__(self, features: Tensor | Sequence[Tensor]) -> Tensor: ...

    @property
    def angular_head(self) -> AngularHeadContract | None:
        """The head from embeddings to logits, if it has class directions."""
        return None

    def embed(self, features: Tensor) -> Tensor:
        """Embeddings B×E of ``features`` B×T×D, for a loss over class directions."""
        raise TypeError(f"{type(self).__name__} has no angular head, and so no embeddings")

    def check_features(self, features: Tensor) -> None:
        """Raise :class:`InputError` unless ``features`` is B×T×D with enough frames."""
        if features.ndim != 3 or features.shape[2] != self.feature_dim:
            raise InputError(
                f"features must be batch × frames × {self.feature_dim}, got {' × '.join(map(str, features.shape))}; "
                "build the back-end with feature_dim = the front-end's out_dim"
            )
        self.check_frames(features.shape[1])

    def check_frames(self, num_frames: int) -> None:
        """Raise :class:`InputError` if there are too few frames, of 20 ms after XLS-R or WavLM."""
        if num_frames < self.min_frames:
            raise InputError(
                f"{num_frames} frames are too few, this back-end needs at least {self.min_frames}; "
                "pad or repeat the waveform"
            )

    def check_hidden_states(self, hidden_states: Sequence[Tensor]) -> None:
        """Raise :class:`InputError` unless there are enough hidden states, all B×T×D of one shape."""
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
                    f"{tuple(state.shape)} at {index}"
                )


class LogitLayer(nn.Linear):
    """The last linear layer of a back-end, B×E → B×n, whose logits are float32 in any precision.

    Logits are not rounded to half precision, not even within autocast or with half-precision weights.
    In bfloat16 most of a thousand scores equal another one, and ties move error rates.

    >>> import torch
    >>> LogitLayer(4, 2).bfloat16()(torch.zeros(3, 4, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    def forward(self, embeddings: Tensor) -> Tensor:
        """Logits B×n of ``embeddings`` B×E, in float32, or in float64 if they are."""
        return precise_linear(embeddings, self.weight, self.bias)


def precise_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x Wᵀ + b in at least float32, also within autocast."""
    with without_autocast(x.device):
        return F.linear(at_least_float32(x), at_least_float32(weight), None if bias is None else at_least_float32(bias))


def bonafide_scores(logits: Tensor) -> Tensor:
    """Scores (B,) of ``logits`` B×n: the second of two logits, or the only one."""
    return logits[:, -1]


def check_positive(**options: int) -> None:
    """Raise :class:`InputError` for the first option that is not a whole number of at least 1.

    For parts of other packages whose options have no annotation that says so.

    >>> check_positive(num_logits=2, num_heads=4)
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
