"""The base class of back-ends that embed each frame, and score frames and utterances."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

from torch import Tensor

from nes2net.lib.errors import InputError
from nes2net.models.backends.base import Backend, ScoreRule, SegmentLogits, scores_of
from nes2net.models.backends.pooling import POOLINGS, Pooling

Utterance = Literal["mean", "min", "attentive"]
"""How an utterance is embedded from its frames, see :class:`FrameBackend`."""


class FrameBackend(Backend, ABC):
    """Features B×T×D → embeddings of frames B×T×E; the last layer scores frames and utterances.

    A subclass defines :meth:`frames` and :attr:`last_layer_name`, and calls :meth:`build_pooling`.
    With the name of a pooling as ``pool``, :meth:`forward` gives the logits of the utterance, B×n.
    With ``pool=None`` it gives those of the frames, B×T×n, and the option ``utterance`` chooses how
    :class:`nes2net.Detector` embeds the utterance:

    - ``"mean"``: the mean of the frames' embeddings, as with ``pool="mean"``.
    - ``"min"``: the embedding of the (first) frame with the lowest score, because an utterance is
      spoofed if any part of it is. Only this frame gets a gradient.
    - ``"attentive"``: a weighted mean (:class:`nes2net.models.backends.pooling.AttentivePooling`).

    In a training batch, the zeros that pad a shorter utterance are frames like others. Scoring
    never pads utterances.
    """

    pool: str | None
    utterance: Utterance
    pooling: Pooling | None
    """Pools embeddings of frames, B×E×T → B×E'; None for ``utterance="min"``."""

    def build_pooling(self, pool: str | None, utterance: Utterance, frame_dim: int) -> int:
        """Make the pooling, and return the size of an utterance's embedding.

        Raises:
            InputError: if ``pool`` is given and ``utterance`` is not ``"mean"``.
        """
        if pool is not None and utterance != "mean":
            raise InputError(
                f"`model.backend.utterance={utterance}` reads the frames, which `model.backend.pool={pool}` joins: set "
                "`model.backend.pool=null`"
            )
        self.pool = pool
        self.utterance = utterance
        self.made_for_segments = pool is None
        # With the 2E means and deviations of astp, the last layer cannot read the E numbers of a frame.
        self.resolutions = (1,) if pool in ("mean", None) else ()
        self.pooling = None  # the lowest score needs none
        if utterance == "min":
            return frame_dim
        self.pooling = POOLINGS[pool or utterance](frame_dim)
        return self.pooling.out_dim

    @abstractmethod
    def frames(self, features: Any) -> Tensor:
        """Compute embeddings of frames, B×T×E, from ``features``."""

    def forward(self, features: Any, utterance: bool = False) -> Tensor:
        """Compute logits B×n of utterances, or B×T×n of frames with ``pool=None`` unless ``utterance``."""
        if self.pool is None and not utterance:
            return self.frame_logits(self.frames(features))
        return self.last_layer(self.embed(features))

    def utterance_logits(self, features: Any) -> Tensor:
        return self(features, utterance=True)  # type: ignore[call-arg]

    def embed(self, features: Any) -> Tensor:
        """Compute embeddings of utterances from ``features`` B×T×D: B×E, or B×2E with ``pool="astp"``."""
        return self.pool_frames(self.frames(features))

    def segments(self, features: Any, frame_ms: float = 20.0) -> SegmentLogits:
        """Compute the logits B×T×n of frames from ``features`` B×T×D, as ``frame_ms`` → logits.

        Raises:
            InputError: if ``pool`` is neither ``"mean"`` nor None.
        """
        return self.segments_and_embedding(features, frame_ms)[0]

    def segments_and_embedding(self, features: Any, frame_ms: float = 20.0) -> tuple[SegmentLogits, Tensor]:
        if not self.resolutions:
            raise InputError(
                f"the last layer reads the statistics of `model.backend.pool={self.pool}`, not frames: use "
                "`model.backend.pool=mean` or `model.backend.pool=null`"
            )
        frames = self.frames(features)  # B×T×E
        return {frame_ms: self.frame_logits(frames)}, self.pool_frames(frames)

    def frame_logits(self, frames: Tensor) -> Tensor:
        """Compute logits B×T×n of frames from the embeddings ``frames`` B×T×E."""
        return self.last_layer(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def pool_frames(self, frames: Tensor) -> Tensor:
        """Pool the embeddings ``frames`` B×T×E to embeddings of utterances: B×E, or B×2E with ``pool="astp"``."""
        if self.pooling is not None:
            return self.pooling(frames.transpose(1, 2))
        # utterance="min": the embedding of the frame with the lowest score; choosing it has no
        # gradient.
        logits = self.frame_logits(frames.detach())
        # Do not compare probabilities, because many are rounded to 1. Differences of logits give
        # the same order without this rounding.
        rule: ScoreRule = "difference" if self.score_rule == "probability" else self.score_rule
        lowest = scores_of(logits.flatten(0, 1), rule).unflatten(0, logits.shape[:2]).argmin(dim=1)  # B
        return frames.gather(1, lowest[:, None, None].expand(-1, 1, frames.shape[2])).squeeze(1)
