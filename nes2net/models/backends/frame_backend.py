"""Back-ends that compute an embedding of each frame: logits of the frames, and of the utterance."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from nes2net.lib.errors import InputError
from nes2net.models.backends.base import Backend, ScoreRule, scores_of
from nes2net.models.backends.pooling import POOLINGS, Pooling

Utterance = Literal["mean", "min", "attentive"]
"""The rule that computes the embedding of an utterance from its frames' embeddings, see :class:`FrameBackend`."""


class FrameBackend(Backend):
    """Features B×T×D → embeddings of frames B×T×E, whose logits the last layer gives.

    A subclass defines :meth:`frames` and names its last layer, and its constructor calls
    :meth:`build_pooling`. Frames and utterance share the last layer. With ``pool``, the frames are
    pooled to one embedding of the utterance, and :meth:`forward` gives its logits B×n. With
    ``pool=None``, :meth:`forward` gives the logits of the frames, B×T×n. The logits of the
    utterance, which :class:`nes2net.Detector` scores, are then the last layer's logits of an
    embedding that ``utterance`` chooses:

    - ``"mean"``: the mean of the frames' embeddings, the same as with ``pool="mean"``. If the last
      layer is linear, the logits are the mean of the frames' logits.
    - ``"min"``: the frame with the lowest score (the first of equal ones), because an utterance is
      spoof if any part of it is. The gradient reaches only the chosen frames.
    - ``"attentive"``: a weighted mean of the frames' embeddings. The weights are a softmax over
      time of a small network with its own parameters
      (:class:`nes2net.models.backends.pooling.AttentivePooling`).

    Zeros after a shorter utterance of a training batch make frames like all others: they count in
    the mean and in the attention, and one of them may have the lowest score. Batches to be scored
    have no such zeros.
    """

    pool: str | None
    utterance: Utterance
    pooling: Pooling | None
    """From frames B×E×T to B×E'; None for the frame with the lowest score."""

    def build_pooling(self, pool: str | None, utterance: Utterance, frame_dim: int) -> int:
        """Set :attr:`pooling`, and return the size of the utterance's embedding.

        Args:
            pool: a name of :data:`nes2net.models.backends.pooling.POOLINGS`, or None.
            frame_dim: E.

        Raises:
            InputError: if both ``utterance`` and ``pool`` are given.
        """
        if pool is not None and utterance != "mean":
            raise InputError(
                f"`model.backend.utterance={utterance}` reads the frames, which `model.backend.pool={pool}` joins: set "
                "`model.backend.pool=null`"
            )
        self.pool = pool
        self.utterance = utterance
        self.made_for_segments = pool is None
        # Statistics are longer than a frame, so their last layer does not fit frames.
        self.resolutions = (1,) if pool in ("mean", None) else ()
        self.pooling = None
        if utterance == "min":
            return frame_dim
        self.pooling = POOLINGS[pool or utterance](frame_dim)
        return self.pooling.out_dim

    def frames(self, features: Any) -> Tensor:
        """Embeddings of frames B×T×E of ``features``."""
        raise NotImplementedError

    def forward(self, features: Any, utterance: bool = False) -> Tensor:
        """Logits B×n of ``features`` B×T×D; with ``pool=None`` the logits of the frames, B×T×n.

        Args:
            utterance: give the logits of the utterance even with ``pool=None``.
        """
        if self.pool is None and not utterance:
            return self.frame_logits(self.frames(features))
        return self.last_layer(self.embed(features))

    def utterance_logits(self, features: Any) -> Tensor:
        return self(features, utterance=True)  # type: ignore[call-arg]

    def embed(self, features: Any) -> Tensor:
        """Embeddings B×E of ``features`` B×T×D; with statistics, as of ``pool="astp"``, B×2E."""
        return self.pool_frames(self.frames(features))

    def segments(self, features: Any, frame_ms: float = 20.0) -> dict[float, Tensor]:
        """Logits B×T×n of each frame of ``features`` B×T×D, with ``pool="mean"`` and None."""
        self._check_sees_frames()
        return {frame_ms: self.frame_logits(self.frames(features))}

    def segments_and_embedding(self, features: Any, frame_ms: float = 20.0) -> tuple[dict[float, Tensor], Tensor]:
        self._check_sees_frames()
        frames = self.frames(features)
        return {frame_ms: self.frame_logits(frames)}, self.pool_frames(frames)

    def frame_logits(self, frames: Tensor) -> Tensor:
        """Logits B×T×n of embeddings B×T×E of ``frames``."""
        return self.last_layer(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def pool_frames(self, frames: Tensor) -> Tensor:
        """Embeddings of utterances, B×E, from the embeddings of their ``frames``, B×T×E."""
        if self.pooling is not None:
            return self.pooling(frames.transpose(1, 2))
        logits = self.frame_logits(frames.detach())
        # Probabilities near 1 are equal numbers; the differences of their logits are not.
        rule: ScoreRule = "difference" if self.score_rule == "probability" else self.score_rule
        lowest = scores_of(logits.flatten(0, 1), rule).unflatten(0, logits.shape[:2]).argmin(dim=1)  # B
        return frames.gather(1, lowest[:, None, None].expand(-1, 1, frames.shape[2])).squeeze(1)

    def _check_sees_frames(self) -> None:
        if not self.resolutions:
            raise InputError(
                f"the last layer reads the statistics of `model.backend.pool={self.pool}`, not frames: take "
                "`model.backend.pool=mean` or `model.backend.pool=null`"
            )
