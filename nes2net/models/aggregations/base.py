"""The contract of an aggregation: L hidden states B×T×D become one feature map B×T×D."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from nes2net.lib.errors import InputError
from nes2net.lib.parts.contracts import Extension
from nes2net.lib.parts.options import Options


class Aggregation(Extension, nn.Module, ABC):
    """Merge L hidden states B×T×D into one feature map B×T×D.

    Layers are added up one by one, never copied into one tensor L×B×T×D. State-dict keys are the
    published keys without ``ssl_model.``.

    Args:
        num_layers: number of hidden states, L; the front-end's ``num_layers``.
        feature_dim: size of a hidden state, D; the front-end's ``out_dim``.

    Raises:
        InputError: if there are fewer than :attr:`min_layers` hidden states.
    """

    config: Options
    """Name and options that build this aggregation again, set by :func:`nes2net.create_aggregation`."""
    source: ClassVar[str] = ""
    """Publication of the aggregation, for ``nes2net info``; empty if none is known."""
    wants_layers: Literal["last", "all"] = "all"
    """``"last"`` if the aggregation reads only the last hidden state, otherwise ``"all"``."""
    uses_all_weights: bool = False
    """Whether each training step gives a gradient to all trained weights; False if unknown."""
    #: prefix of its keys in published whole-model files
    checkpoint_prefix = "ssl_model."
    #: pattern of the names of parameters that no gradient of the output reaches
    untrained: str = ""
    min_layers: int = 1
    """Smallest allowed L."""
    penalty: Tensor | None = None
    """A term that training adds to the loss, from the last forward pass in train mode."""

    num_layers: int
    feature_dim: int

    def __init__(self, num_layers: int, feature_dim: int) -> None:
        super().__init__()
        if num_layers < self.min_layers:
            raise InputError(
                f"this aggregation needs at least {self.min_layers} hidden states, and the front-end gives {num_layers}: "
                "use a front-end with more layers, or another aggregation"
            )
        self.num_layers = num_layers
        self.feature_dim = feature_dim

    if TYPE_CHECKING:  # tells mypy the types of a call, which torch.nn.Module does not declare

        def __call__(self, hidden_states: Sequence[Tensor]) -> Tensor: ...

    @abstractmethod
    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Aggregate ``hidden_states``, L tensors B×T×D, to B×T×D."""

    def layer_weights(self, hidden_states: Sequence[Tensor]) -> Tensor | None:
        """Compute the weights B×L of the L ``hidden_states`` B×T×D; None if layers are not weighed.

        A weight is the layer's factor between 0 and 1, averaged over time; they need not add up to
        1.
        """
        return None

    def check_hidden_states(self, hidden_states: Sequence[Tensor]) -> None:
        """Raise :class:`InputError` unless there are L ``hidden_states`` and the first has the size D."""
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


def gates_of_layers(weights: Tensor) -> tuple[Tensor, ...]:
    """Split ``weights`` B×L by layers, as factors of hidden states: L tensors B×1×1."""
    return weights[:, :, None, None].unbind(dim=1)


def gated_sum(hidden_states: Sequence[Tensor], gates: Iterable[Tensor]) -> Tensor:
    """Multiply each layer by its gate, and add up the products: L tensors B×T×D → B×T×D.

    Args:
        gates: one per layer: a number, or B×1×1 for one number per utterance.
    """
    products = zip(hidden_states, gates)
    layer, gate = next(products)  # the sum starts with the first product, not with a tensor of zeros
    total = layer * gate
    for layer, gate in products:
        total = torch.addcmul(total, layer, gate)
    return total
