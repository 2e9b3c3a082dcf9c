"""The contract of an aggregation: the hidden states of all layers become one feature map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nes2net.errors import InputError


class Aggregation(nn.Module):
    """L hidden states B×T×D in, one feature map B×T×D out.

    Layers are added up one at a time: an L×B×T×D copy of the hidden states is never made. The state
    dict has the published names, without ``ssl_model.``.

    Args:
        num_layers: L, what the front-end gives for ``layers="all"``.
        feature_dim: D.
    """

    config: dict[str, Any]
    """What builds it again: ``name`` and options. :func:`nes2net.create_aggregation` sets it."""
    wants_layers: Literal["last", "all"] = "all"
    """``"last"`` if it reads the last hidden state alone."""

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__()
        self.num_layers = num_layers
        self.feature_dim = feature_dim

    def check_hidden_states(self, hidden_states: Sequence[Tensor]) -> None:
        """Raise :class:`InputError` unless there are L hidden states of size D."""
        if len(hidden_states) != self.num_layers:
            raise InputError(
                f"this aggregation was built for {self.num_layers} layers, got {len(hidden_states)}; "
                "ask the front-end for layers='all' and build with its num_layers"
            )
        if hidden_states[0].shape[-1] != self.feature_dim:
            raise InputError(
                f"this aggregation was built for feature_dim {self.feature_dim}, got hidden states of "
                f"{hidden_states[0].shape[-1]}; build it with the front-end's out_dim"
            )


def gated_sum(hidden_states: Sequence[Tensor], gates: Iterable[Tensor]) -> Tensor:
    """Σ gate·layer over L layers B×T×D; a gate is one number (no axes) or one per utterance (B×1×1)."""
    total: Tensor | None = None
    for layer, gate in zip(hidden_states, gates):
        total = layer * gate if total is None else torch.addcmul(total, layer, gate)
    return total
