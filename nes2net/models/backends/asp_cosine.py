"""ASP + cosine, the back-end of FIR-NB and FIR-WB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, PartOption, Probability, Size, at_most_states
from nes2net.models.backends.layer_sum import LayerSum, LayerWeights
from nes2net.models.backends.pooling import AttentiveStatisticsPooling
from nes2net.models.registry import create_head


class AspCosine(LayerSum):
    """ASP + cosine: a weighted sum of layers, attentive statistics pooling, and a one-class head.

    Hidden states of all layers B×T×``feature_dim`` → logits B×2.

    Neither code nor checkpoints are published to compare with. :class:`LayerSum` follows later code
    of a co-author. Assumptions: the first hidden state is omitted, the two feed-forward layers of
    ``hidden_dim`` end in ReLU, and the attention's bottleneck has ``hidden_dim`` channels.

    Args:
        feature_dim: D, size of a hidden state.
        num_layers: L, number of layers of the front-end whose outputs are summed.
        hidden_dim: size of a frame after the sum of layers and after each feed-forward layer.
        layer_weights: how the weights of the layers are normalised: divided by their ``sum``, by a
            ``softmax``, or not at all (``plain``).
        dropout: dropout after each feed-forward layer.
        num_logits: n.
        head: last layer: a name, or a mapping of ``name`` and its options.

    >>> import torch
    >>> backend = AspCosine(feature_dim=16, num_layers=2)
    >>> backend([torch.randn(2, 50, 16)] * 3).shape
    torch.Size([2, 2])
    """

    source = (
        'J. M. Martín-Doñas, A. Álvarez, "The Vicomtech audio deepfake detection system based on wav2vec2 for '
        'the 2022 ADD challenge", ICASSP 2022 (arXiv 2203.01573).'
    )
    min_frames = 2  # a single frame has no standard deviation over time
    last_layer_name = "head"

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        num_layers: Annotated[int, Field(ge=1, le=129), at_most_states(unread=1)] = 24,
        hidden_dim: Size = 128,
        layer_weights: LayerWeights = "sum",
        dropout: Probability = 0.0,
        num_logits: Logits = 2,
        head: PartOption = "one_class",
    ) -> None:
        super().__init__(feature_dim, num_layers, hidden_dim, layer_weights)
        self.feed_forward = nn.Sequential(
            *(layer for _ in range(2) for layer in (nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.Dropout(dropout)))
        )
        self.pooling = AttentiveStatisticsPooling(hidden_dim, hidden_dim)
        self.head = create_head(head, self.pooling.out_dim, num_logits)
        self.score_rule = self.head.score_rule

    def embed(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Compute embeddings B×2·``hidden_dim`` from L + 1 ``hidden_states`` B×T×D."""
        frames = self.feed_forward(self.project_layer_sum(hidden_states))  # B×T×hidden_dim
        return self.pooling(frames.transpose(1, 2))
