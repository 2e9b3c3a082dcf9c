"""SLS, sensitive layer selection."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import Follows, Takes, at_most_states
from nes2net.models.aggregations.base import gated_sum, gates_of_layers
from nes2net.models.backends.base import Backend, HiddenStates, LogitLayer

POOL = 3  # size and stride of the max-pooling over frames and channels
HIDDEN_DIM = 1024  # size of the embedding


class LogProbabilityLayer(LogitLayer):
    """A linear layer, SELU and log-softmax: embeddings B×E → log-probabilities B×n."""

    def forward(self, embeddings: Tensor) -> Tensor:
        return F.log_softmax(F.selu(super().forward(embeddings)), dim=1)


class SLS(Backend):
    """SLS, sensitive layer selection: a gated sum of the front-end's layers is read as an image.

    Hidden states, L tensors B×T×``feature_dim`` → log-probabilities B×``num_logits``; T is fixed.
    As published, the output is log-softmax(SELU(·)), its last column the score; cross-entropy's
    second log-softmax changes nothing. The last layer's output is read before the final layer norm.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        num_layers: L; the back-end reads the last L of the given hidden states. A front-end of 24
            layers gives 25 states: with L = 24, all but the input of the first layer are read.
        num_frames: T, 201 for 64,600 samples. The size of ``fc1`` depends on T, because the feature
            map is flattened. As in the published code, all numbers of frames with the same T // 3
            are accepted. All others raise an error.
        num_logits: n, at least 2.

    >>> backend = SLS(feature_dim=48, num_layers=4, num_frames=9)
    >>> backend([torch.randn(2, 9, 48)] * 4).shape
    torch.Size([2, 2])
    """

    source = (
        'Q. Zhang, S. Wen, T. Hu, "Audio deepfake detection with self-supervised XLS-R and SLS classifier", '
        "ACM Multimedia 2024."
    )
    wants_layers = "all"
    wants_final_norm = False
    min_frames = fixed_frames = 201
    last_layer_name = "fc3"

    def __init__(
        self,
        *,
        feature_dim: Annotated[int, Field(ge=POOL, le=65_536)] = 1024,
        num_layers: Annotated[int, Field(ge=1, le=129), at_most_states()] = 24,
        num_frames: Annotated[int, Field(ge=POOL, le=10_000), Follows(lambda frontend, *_: frontend.frames)] = 201,
        num_logits: Annotated[
            int, Field(ge=2, le=1000), Takes("a whole number from 2 to 1000, as sls ends in a log-softmax")
        ] = 2,
    ) -> None:
        super().__init__(feature_dim)
        self.num_layers = self.num_states = num_layers
        self.min_frames = self.fixed_frames = self.num_frames = num_frames
        # Published checkpoints have these names.
        self.first_bn = nn.BatchNorm2d(1)
        self.fc0 = nn.Linear(feature_dim, 1)
        self.fc1 = nn.Linear((num_frames // POOL) * (feature_dim // POOL), HIDDEN_DIM)
        self.fc3 = LogProbabilityLayer(HIDDEN_DIM, num_logits)

    def gates(self, hidden_states: HiddenStates) -> Tensor:
        """Compute a gate for each utterance and layer, B×L in (0, 1), from the layer's mean over time."""
        means = torch.stack([layer.mean(dim=1) for layer in hidden_states], dim=1)  # B×L×D
        return torch.sigmoid(self.fc0(means)).squeeze(2)

    def layer_weights(self, hidden_states: HiddenStates) -> Tensor:
        unread = len(hidden_states) - self.num_layers
        return F.pad(self.gates(hidden_states[unread:]), (unread, 0))  # B×L; 0 for the first states

    def embed(self, hidden_states: HiddenStates) -> Tensor:
        """Compute embeddings B×1024 from ``hidden_states``, at least L tensors B×T×D."""
        self.check_hidden_states(hidden_states)
        layers = list(hidden_states)[-self.num_layers :]
        merged = gated_sum(layers, gates_of_layers(self.gates(layers)))  # B×T×D
        image = F.selu(self.first_bn(merged.unsqueeze(1)))  # B×1×T×D
        x = F.max_pool2d(image, POOL).flatten(1)  # B×(T/3)·(D/3)
        return F.selu(self.fc1(x))

    def check_frames(self, num_frames: int) -> None:
        """Raise :class:`InputError` if ``num_frames`` does not fit ``fc1`` after pooling."""
        if num_frames // POOL != self.num_frames // POOL:
            raise InputError(
                f"this sls reads {self.num_frames} frames, got {num_frames}; crop or repeat the waveform to that "
                "length (64600 samples for 201 frames), or build with another num_frames and train it"
            )
