"""Losses of frames: one for each resolution, beside the loss of the utterance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.backends.heads import P2SGradHead
from nes2net.detector import Detector
from nes2net.errors import InputError, listed
from nes2net.recipes.segments import SegmentsConfig
from nes2net.training.frame_labels import pooled_targets
from nes2net.training.losses import CosineError, Criterion, WeightedCrossEntropy

_LABEL_MS = 10


class SegmentLosses(nn.Module):
    """The loss of the frames of each resolution, averaged over all frames of a batch with a label.

    Scores and labels are cut to the shorter, as published.

    Args:
        segments: what the recipe says of them, with resolutions.
        detector: it is asked for the frames that it scores, and not kept.

    Raises:
        InputError: if the detector gives no such frames, or the loss does not fit its logits.

    >>> import torch
    >>> detector = Detector.from_config({"frontend": {"name": "lps", "hop_length": 320}, "backend": "mean_linear"})
    >>> losses = SegmentLosses(SegmentsConfig(resolutions=[20]), detector)
    >>> (targets,) = losses.targets(torch.ones(2, 100, dtype=torch.int8), detector.num_segments(16000))
    >>> targets.shape, losses.weights([targets])
    (torch.Size([2, 45]), [45.0])
    """

    def __init__(self, segments: SegmentsConfig, detector: Detector) -> None:
        super().__init__()
        self.resolutions, self.utterance_weight = list(segments.resolutions), segments.utterance_weight
        name, frame_ms = detector.backend.config["name"], detector.frame_ms
        if not detector.resolutions:
            raise InputError(
                f"back-end '{name}' gives one score an utterance: leave out `segments.resolutions`, or take a back-end "
                "that gives scores of frames, such as nes2net_x with pool=null"
            )
        if frame_ms % _LABEL_MS:
            raise InputError(
                f"the front-end '{detector.frontend.config['name']}' has a frame every {frame_ms:g} ms, but labels are "
                f"of {_LABEL_MS} ms: set a hop that is a multiple of it"
            )
        if unknown := [ms for ms in self.resolutions if ms not in detector.resolutions]:
            there = listed([f"{ms:g}" for ms in detector.resolutions], 10)
            raise InputError(
                f"`segments.resolutions` has {listed([str(ms) for ms in unknown], 10)} ms, and back-end '{name}' scores "
                f"frames of {there} ms"
            )
        self.criterion: Criterion
        if segments.loss == "p2sgrad":
            if not isinstance(detector.backend.last_layer, P2SGradHead):
                raise InputError(
                    f"`segments.loss=p2sgrad` needs the head p2sgrad, and back-end '{name}' has another: set "
                    "`model.backend.head=p2sgrad`, or take `segments.loss=cross_entropy`"
                )
            self.criterion = CosineError()
        else:
            self.criterion = WeightedCrossEntropy(segments.class_weights)

    def targets(self, labels: Tensor, counts: Mapping[float, int]) -> list[Tensor]:
        """Labels B×T of the frames of each resolution, −1 for none, of ``labels`` of 10 ms.

        Args:
            counts: how many frames are scored, by resolution (:meth:`nes2net.Detector.num_segments`).
        """
        return [pooled_targets(labels, ms // _LABEL_MS)[:, : counts[ms]] for ms in self.resolutions]

    def weights(self, targets: Sequence[Tensor]) -> list[float]:
        """The denominator of each loss, for :meth:`targets` in the memory of this computer."""
        return [self.criterion.weight_of(_shares(of)).item() for of in targets]

    def numerators(self, logits: Mapping[float, Tensor], targets: Sequence[Tensor]) -> list[Tensor]:
        """The numerator of each loss, for ``logits`` B×T×n by resolution and their :meth:`targets`."""
        found = []
        for ms, of in zip(self.resolutions, targets):
            if logits[ms].shape[1] < of.shape[1]:
                raise InputError(
                    f"the back-end gives {logits[ms].shape[1]} frames of {ms} ms, and its num_segments said at least "
                    f"{of.shape[1]}"
                )
            aligned = logits[ms][:, : of.shape[1]].flatten(0, 1)
            found.append(self.criterion.parts(aligned, _shares(of))[0])
        return found


def _shares(targets: Tensor) -> Tensor:
    """Each class's share in a frame, (B·T)×2; frames without a label have none of either."""
    return F.one_hot(targets.flatten().long() + 1, 3)[:, 1:]
