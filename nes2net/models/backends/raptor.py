"""RAPTOR, the back-end of DF Arena's detectors."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, Probability, UpTo64, UpTo1000, check_divides, multiple_of
from nes2net.models.aggregations.base import gated_sum, gates_of_layers
from nes2net.models.backends.base import Backend, HiddenStates
from nes2net.models.backends.conformer import MAX_FRAMES, Encoder, HeadTokenAttention
from nes2net.models.backends.pooling import attention_pool


class Raptor(Backend):
    """RAPTOR, the back-end of DF Arena's detectors: a gate for each hidden state, and the conformer of TCM.

    Hidden states B×T×``feature_dim`` → logits B×``num_logits``, T at most 10,000 frames (200 s).
    All hidden states, with the input of the first layer, are pooled over time by attention, with
    one attention vector for all. A linear map and a sigmoid compute each state's gate. The sum of
    gate · state is batch-normalised as an image with one channel; the conformer of
    :data:`~nes2net.models.backends.conformer.tcm` reads it directly, so tokens have D channels.

    Assumption: ``final_norm``, as in the transformers library of 2025.

    Args:
        feature_dim: D, the front-end's ``out_dim``, a multiple of ``num_heads``.
        num_blocks: number of conformer blocks.
        num_heads: number of heads of the self-attention.
        kernel_size: kernel of the depthwise convolution, in frames.
        dropout: dropout in the feed-forward layers and after the convolution.
        final_norm: whether the last hidden state is taken after the front-end's final layer norm.
        num_logits: n.

    Raises:
        InputError: if ``num_heads`` does not divide ``feature_dim``.

    >>> Raptor(feature_dim=16, num_blocks=1)([torch.randn(2, 50, 16)] * 5).shape
    torch.Size([2, 2])
    """

    source = (
        "arXiv 2603.06164. The organisation Speech-Arena-2025 on the Hugging Face hub publishes detectors "
        "with 500M and 1B parameters."
    )
    wants_layers = "all"
    score_rule = "probability"
    max_frames = MAX_FRAMES
    last_layer_name = "conformer.fc5"

    def __init__(
        self,
        *,
        feature_dim: Annotated[FeatureDim, multiple_of(lambda options: options["num_heads"], usual=4)] = 1024,
        num_blocks: Annotated[int, Field(ge=1, le=128)] = 4,
        num_heads: UpTo64 = 4,
        kernel_size: UpTo1000 = 31,
        dropout: Probability = 0.0,
        final_norm: bool = True,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        check_divides("num_heads", num_heads, "feature_dim", feature_dim)
        self.wants_final_norm = final_norm
        # Published checkpoints have these names.
        self.attn_scores = nn.Linear(feature_dim, 1, bias=False)
        self.fc0 = nn.Linear(feature_dim, 1)
        self.first_bn = nn.BatchNorm2d(1)
        self.conformer = Encoder(
            HeadTokenAttention, feature_dim, num_blocks, num_heads, kernel_size, dropout, num_logits
        )

    def embed(self, hidden_states: HiddenStates) -> Tensor:
        """Compute embeddings B×D, the class tokens, from ``hidden_states`` B×T×D."""
        self.check_hidden_states(hidden_states)
        image = self.merge(hidden_states).unsqueeze(1)  # B×1×T×D: batch norm then has a single mean and variance
        return self.conformer(F.selu(self.first_bn(image)).squeeze(1))

    def merge(self, hidden_states: HiddenStates) -> Tensor:
        """Sum gate · state over the ``hidden_states`` B×T×D: B×T×D."""
        return gated_sum(hidden_states, gates_of_layers(self.layer_weights(hidden_states)))

    def layer_weights(self, hidden_states: HiddenStates) -> Tensor:
        pooled = [attention_pool(state, self.attn_scores(state)) for state in hidden_states]  # L tensors B×D
        return torch.sigmoid(self.fc0(torch.stack(pooled, dim=1))).squeeze(2)  # B×L
