"""What a back-end that reads several layers checks of its input, in the user's words."""

from collections.abc import Sequence

from torch import Tensor

from nes2net.backends.features import check_features
from nes2net.errors import InputError


def check_hidden_states(
    hidden_states: Sequence[Tensor], num_layers: int, feature_dim: int, min_frames: int = 1
) -> None:
    """Raise :class:`InputError` unless there are at least ``num_layers`` hidden states, all B×T×``feature_dim`` with T ≥ ``min_frames``."""
    if len(hidden_states) < num_layers:
        raise InputError(
            f"this back-end reads {num_layers} hidden states, got {len(hidden_states)}; "
            "ask the front-end for layers='all', or build the back-end with a smaller num_layers"
        )
    check_features(hidden_states[0], feature_dim, min_frames)
    for index, state in enumerate(hidden_states):
        if state.shape != hidden_states[0].shape:
            raise InputError(
                f"hidden states must have one shape, got {tuple(hidden_states[0].shape)} first and {tuple(state.shape)} at {index}"
            )
