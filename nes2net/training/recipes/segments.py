"""The section ``segments`` of a recipe: training on the labels of frames."""

from __future__ import annotations

from typing import Annotated

from nes2net.lib.errors import refuse
from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.lib.parts.options import Takes
from nes2net.training.recipes.section import Count, NotNegative, Probability, Section, Source, Text

#: Number of samples in 10 ms at 16 kHz; a label describes a frame of this length.
LABEL_SAMPLES = 160


_OF_FRAMES = UsedWith("resolutions")


class SegmentsConfig(Section):
    """Losses of frames, which teach where an utterance is fake, besides the utterance's loss (`train.loss`)."""

    prefix = "segments."

    resolutions: Annotated[
        list[Count],
        NotWith("train.optimizer=logistic"),
        Takes("a list of whole numbers of at least 1"),
        Source("arXiv 2204.05177: 20, 40, 80, 160, 320 and 640, or one of them; WeDefense: 20"),
    ] = []
    """Lengths in ms of the frames to train on: multiples of 10 for which the back-end gives scores.
    An empty list trains on whole utterances alone. The corpus needs labels of segments. A frame is
    spoof if any of its 10-ms labels is spoof. The losses of all resolutions are added."""
    loss: Annotated[
        Text | dict[str, object],
        _OF_FRAMES,
        Source("cosine_error: arXiv 2204.05177; cross_entropy: WeDefense; its equal weights: assumed"),
    ] = {"name": "cross_entropy", "class_weights": [0.5, 0.5]}
    """Loss of a frame: any loss of logits, such as `cross_entropy` or `cosine_error` (the mean
    squared error of the cosines to two class vectors). It is written like `train.loss`; a name
    alone stands for the loss with its default options. The loss is averaged over all labelled
    frames of a batch."""
    utterance_weight: Annotated[
        NotNegative, _OF_FRAMES, Source("arXiv 2204.05177, code: 1, or 0 without its scale utt")
    ] = 1.0
    """Factor of the loss of the utterance, which is added to the losses of the frames; 0 trains on
    frames alone."""
    boundary_share: Annotated[
        Probability | None,
        _OF_FRAMES,
        UsedWith("data.crop=random", "data.crop=dynamic"),
        Source("assumed: 0.5 in our recipe"),
    ] = None
    """Fraction of the crops that contain a boundary between bona fide and spoof, in utterances that
    have crops with and without a boundary; null draws all crops of an utterance equally often. Only
    for `data.crop: random` and `data.crop: dynamic`."""

    def check(self) -> None:
        refuse(
            (
                any(ms % 10 for ms in self.resolutions) or len(set(self.resolutions)) < len(self.resolutions),
                "`segments.resolutions` must be different multiples of 10 ms, the length of a label, not "
                f"{self.resolutions}",
            ),
        )
