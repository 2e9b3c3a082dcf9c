"""Mean and linear, as in AntiDeepfake and Spoof-SUPERB."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, PartOption, Size, Takes
from nes2net.models.backends.frame_backend import FrameBackend, Utterance
from nes2net.models.backends.heads import OneClassColumnHead, OneClassHead
from nes2net.models.registry import create_head


class MeanLinear(FrameBackend):
    """Mean and linear: the mean over time and one layer, as in AntiDeepfake and Spoof-SUPERB.

    Features B×T×``feature_dim`` → logits B×``num_logits``. The published systems post-train the
    encoder on layer-normalised waveforms (``normalize=True`` of the front-end), and score whole
    utterances by the probability of bona fide, or by the cosine of the one-class head.

    As published, the mean includes the zeros that pad a training batch. Scoring never pads.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        head: ``"linear"``; ``"one_class"``, the published vector of bona fide speech, D×1; or any
            other head (:mod:`nes2net.models.backends.heads`).
        num_logits: n; 2 for a head that compares two classes.
        projection_dim: output size of a linear layer before the mean. Embeddings then have this
            size, which is 256 in Spoof-SUPERB. With None there is no such layer, and embeddings
            have size D.
        pool: ``"mean"``. None gives the logits of each frame, B×T×``num_logits``, from the same
            weights; the network is then a linear detector of spoofed segments.
        utterance: with ``pool=None``, how the utterance is scored from its frames: ``"mean"``,
            ``"min"`` or ``"attentive"`` (:class:`nes2net.models.backends.frame_backend.FrameBackend`).

    >>> import torch
    >>> MeanLinear(feature_dim=16)(torch.randn(2, 50, 16)).shape
    torch.Size([2, 2])
    >>> MeanLinear(feature_dim=16, head="one_class").state_dict()["proj_fc.weight"].shape
    torch.Size([16, 1])
    """

    source = (
        'W. Ge, X. Wang, X. Liu, J. Yamagishi, "Post-training for deepfake speech detection", ASRU 2025, '
        'arXiv 2506.21090. H. Ali, N. S. Adupa, S. Subramani, H. Malik, "A SUPERB-style benchmark of '
        'self-supervised speech models for audio deepfake detection", ICASSP 2026, arXiv 2603.01482.'
    )
    score_rule = "probability"
    last_layer_name = "proj_fc"
    uses_all_weights = True

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        head: PartOption = "linear",
        num_logits: Logits = 2,
        projection_dim: Size | None = None,
        pool: Annotated[Literal["mean"] | None, Takes("mean or null")] = "mean",
        utterance: Utterance = "mean",
    ) -> None:
        super().__init__(feature_dim)
        self.projector = None  # published checkpoints have its name, and proj_fc
        embedding_dim = feature_dim
        if projection_dim:
            self.projector = nn.Linear(feature_dim, projection_dim)
            embedding_dim = projection_dim
        self.build_pooling(pool, utterance, embedding_dim)
        self.proj_fc = create_head(head, embedding_dim, num_logits)
        if type(self.proj_fc) is OneClassHead:  # in published files, the vector of this head is a column
            self.proj_fc = OneClassColumnHead(embedding_dim, num_logits)

    def frames(self, features: Tensor) -> Tensor:
        self.check_features(features)
        return self.projector(features) if self.projector else features  # B×T×E

    def embed(self, features: Tensor) -> Tensor:
        """Compute embeddings B×E from ``features`` B×T×D; E is D, or the size of the projection."""
        if self.projector is not None and self.utterance == "mean":
            # This equals the mean of the projected frames, and is cheaper.
            self.check_features(features)
            return self.projector(features.mean(dim=1))
        return super().embed(features)
