"""The contract of a back-end, and what all of them check in the user's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from nes2net.errors import InputError


class Backend(nn.Module):
    """Features B×T×D in, logits B×n out; the last column is the score, higher meaning more bona fide.

    A back-end that reads all layers takes the sequence of hidden states instead of the features. The
    state dict has the published names, without :attr:`checkpoint_prefix`.
    """

    config: dict[str, Any]
    """What builds it again: ``name`` and options. :func:`nes2net.create_backend` sets it."""
    feature_dim: int
    """D, the size of a feature vector."""
    checkpoint_prefix: str = ""
    """What stands before its names in whole-model checkpoints of the published code."""
    wants_layers: Literal["last", "all"] = "last"
    """``"all"`` if it reads the hidden states of all layers, without an aggregation."""
    wants_final_norm: bool = True
    """Whether the last hidden state comes after the front-end's final layer norm."""
    num_states: int | None = None
    """How many hidden states it reads, if it reads all layers."""
    min_frames: int = 1
    """T at least."""
    max_frames: int | None = None
    """T at most; None for no limit."""
    fixed_frames: int | None = None
    """The one T that it reads; None if it reads any."""
    receptive_field: int | None = None
    """Frames that its convolutions see; None if it sees the whole utterance."""

    @property
    def angular_head(self) -> nn.Module | None:
        """The head that turns embeddings into logits, with class directions ``weight`` n×E; None without one."""
        return None

    def embed(self, features: Tensor) -> Tensor:
        """Embeddings B×E of ``features``, for a loss over the class directions of :attr:`angular_head`."""
        raise TypeError(f"{type(self).__name__} has no angular head, and so no embeddings")

    def check_features(self, features: Tensor, min_frames: int | None = None) -> None:
        """Raise :class:`InputError` unless ``features`` is B×T×D with enough frames (20 ms each after XLS-R or WavLM).

        ``min_frames`` is :attr:`min_frames` if it is not given.
        """
        min_frames = self.min_frames if min_frames is None else min_frames
        if features.ndim != 3 or features.shape[2] != self.feature_dim:
            raise InputError(
                f"features must be batch × frames × {self.feature_dim}, got {' × '.join(map(str, features.shape))}; "
                "build the back-end with feature_dim = the front-end's out_dim"
            )
        if features.shape[1] < min_frames:
            raise InputError(
                f"{features.shape[1]} frames are too few, this back-end needs at least {min_frames}; "
                "pad or repeat the waveform"
            )

    def check_hidden_states(self, hidden_states: Sequence[Tensor], min_frames: int | None = None) -> None:
        """Raise :class:`InputError` unless there are enough hidden states, all B×T×D of one shape; see :meth:`check_features`."""
        if len(hidden_states) < self.num_states:
            raise InputError(
                f"this back-end reads {self.num_states} hidden states, got {len(hidden_states)}; "
                "ask the front-end for layers='all', or build the back-end with a smaller num_layers"
            )
        self.check_features(hidden_states[0], min_frames)
        for index, state in enumerate(hidden_states):
            if state.shape != hidden_states[0].shape:
                raise InputError(
                    f"hidden states must have one shape, got {tuple(hidden_states[0].shape)} first and "
                    f"{tuple(state.shape)} at {index}"
                )


def bonafide_scores(logits: Tensor) -> Tensor:
    """Scores (B,) of logits B×n: the second of two, or the only one. Higher means more bona fide."""
    return logits[:, -1]


def check_positive(**options: int) -> None:
    """Raise :class:`InputError` for the first option that is not a whole number of at least 1.

    >>> check_positive(num_logits=2, num_heads=4)
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
