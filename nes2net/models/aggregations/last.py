"""The last hidden state."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nes2net.models.aggregations.base import Aggregation


class Last(Aggregation):
    """The last hidden state only, without learned weights.

    The state after the final layer norm, as in the XLS-R systems and the ASVspoof 5 recipe (Liu et
    al., "Nes2Net", T-IFS 2025).

    >>> import torch
    >>> states = [torch.zeros(2, 5, 16), torch.ones(2, 5, 16)]
    >>> Last(2, 16)(states) is states[-1]
    True
    """

    source = 'Liu et al., "Nes2Net", T-IFS 2025.'
    uses_all_weights = True
    wants_layers = "last"

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        return hidden_states[-1]
