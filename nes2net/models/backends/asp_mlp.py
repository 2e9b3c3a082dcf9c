"""ASP + MLP: attentive statistics pooling and a perceptron."""

from __future__ import annotations

from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, Size
from nes2net.models.backends.base import Backend, LogitLayer
from nes2net.models.backends.pooling import AttentiveStatisticsPooling


class AspMlp(Backend):
    """ASP + MLP: attentive statistics pooling over time and a small multi-layer perceptron.

    Features B×T×``feature_dim`` → logits B×``num_logits``. The authors use WavLM; they published
    neither code nor checkpoints to compare with. Assumptions: the attention's bottleneck
    (``bottleneck_dim`` = 128, as in the published Nes2Net), and one hidden layer of the MLP
    (``hidden_dim`` = 256) with BatchNorm and ReLU.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        bottleneck_dim: hidden size of the pooling's attention.
        hidden_dim: hidden size of the MLP.
        num_logits: n, 1 or more.

    >>> import torch
    >>> AspMlp(num_logits=1)(torch.randn(2, 50, 1024)).shape
    torch.Size([2, 1])
    """

    source = (
        'T. Stourbe, V. Miara, T. Lepage, R. Dehak, "Exploring WavLM back-ends for speech spoofing and '
        'deepfake detection", ASVspoof Workshop 2024 (arXiv 2409.05032).'
    )
    min_frames = 2  # a single frame has no standard deviation over time
    last_layer_name = "mlp.3"

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        bottleneck_dim: Size = 128,
        hidden_dim: Size = 256,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        self.pooling = AttentiveStatisticsPooling(feature_dim, bottleneck_dim)
        self.mlp = nn.Sequential(
            nn.Linear(self.pooling.out_dim, hidden_dim),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            LogitLayer(hidden_dim, num_logits),
        )

    def embed(self, features: Tensor) -> Tensor:
        """Compute embeddings B×``hidden_dim``, the MLP's hidden layer, from ``features`` B×T×D with T ≥ 2."""
        self.check_features(features)
        return self.mlp[:-1](self.pooling(features.transpose(1, 2)))  # B×D×T → B×2D → B×hidden_dim
