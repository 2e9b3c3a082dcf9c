"""The last layer alone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nes2net.aggregations.base import Aggregation


class Last(Aggregation):
    """The last hidden state alone (after the final layer norm), as with XLS-R and in the ASVspoof 5 recipe.

    >>> import torch
    >>> states = [torch.zeros(2, 5, 16), torch.ones(2, 5, 16)]
    >>> Last(2, 16)(states) is states[-1]
    True
    """

    wants_layers = "last"

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        return hidden_states[-1]
