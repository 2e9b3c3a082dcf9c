"""A linear probe."""

from __future__ import annotations

from torch import Tensor

from nes2net.lib.parts.options import FeatureDim, Logits
from nes2net.models.backends.base import Backend, LogitLayer


class Logistic(Backend):
    """A linear probe: the mean of the features over time, and one linear layer, as in logistic regression.

    Features B×T×``feature_dim`` → logits B×``num_logits``; a single logit is the log odds of bona
    fide. The mean over time is an assumption. In a recipe, `train.optimizer: logistic` fits
    ``linear.weight`` n×D and ``linear.bias`` directly, without gradient steps.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        num_logits: n, 1 or more.

    >>> import torch
    >>> probe = Logistic(feature_dim=1920, num_logits=1)
    >>> probe(torch.randn(2, 50, 1920)).shape, sum(p.numel() for p in probe.parameters())
    (torch.Size([2, 1]), 1921)
    """

    source = (
        'O. Pascu, A. Stan, D. Oneata, E. Oneata, H. Cucu, "Towards generalisable and calibrated audio '
        'deepfake detection with self-supervised representations", Interspeech 2024 (arXiv 2309.05384), fit '
        "logistic regression on frozen representations."
    )
    last_layer_name = "linear"

    def __init__(self, *, feature_dim: FeatureDim = 1024, num_logits: Logits = 2) -> None:
        super().__init__(feature_dim)
        self.linear = LogitLayer(feature_dim, num_logits)

    def embed(self, features: Tensor) -> Tensor:
        """Average ``features`` B×T×D over time: B×D."""
        self.check_features(features)
        return features.mean(1)
