"""The contract of a detector that can score: a :class:`nes2net.Detector`, or an exported one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nes2net.backends.base import Backend
from nes2net.errors import InputError, counted
from nes2net.frontends.base import UsedSamples


class Scorer(Protocol):
    """A detector as scoring sees it."""

    record: dict[str, Any]
    """The facts of its training that its checkpoint holds; plain data, empty if there are none."""

    @property
    def device(self) -> torch.device:
        """The device on which :meth:`scores` takes waveforms."""

    @property
    def computes_on(self) -> torch.device:
        """The device that computes, which may be another one."""

    @property
    def precision(self) -> str:
        """Precision of the computation, one of :data:`nes2net.machine.devices.PRECISIONS`."""

    @property
    def config(self) -> dict[str, Any]:
        """Plain data from which its architecture can be built again."""

    @property
    def score_rule(self) -> str:
        """How its scores are made of its logits, such as ``"logit"``."""

    @property
    def min_samples(self) -> int:
        """Samples of the shortest waveform that it takes."""

    @property
    def used_samples(self) -> UsedSamples:
        """How many leading samples its scores depend on."""

    @property
    def num_scores(self) -> int:
        """How many scores of other systems it takes beside a waveform; 0 for most detectors."""

    def scores(self, waveform: Tensor, system_scores: Tensor | None = None) -> Tensor:
        """Scores (B,) of ``waveform`` B×N, 16 kHz, in [−1, 1]; higher means more bona fide.

        With ``num_scores`` above 0, ``system_scores`` holds B×``num_scores`` scores of other systems.
        """

    def fingerprint(self) -> str:
        """SHA-256 of its architecture and weights, or of its files."""

    def modules(self) -> Iterable[nn.Module]:
        """Its modules, which have a train and an eval mode; empty if it is always in eval mode."""

    def train(self, mode: bool = True) -> Any:
        """Put it into train mode, or with ``False`` into eval mode."""

    def compile(self, **options: Any) -> None:
        """Compile it in place (``torch.compile``)."""


class SegmentScorer(Scorer, Protocol):
    """A detector that can score segments too."""

    @property
    def backend(self) -> Backend:
        """Its back-end."""

    @property
    def trained_on_segments(self) -> bool:
        """Whether the scores of its segments were trained."""

    @property
    def resolutions(self) -> tuple[float, ...]:
        """Lengths in ms of the segments that it scores, the shortest first; empty if it scores none."""

    def segment_scores(self, waveform: Tensor) -> dict[float, Tensor]:
        """Scores B×T of the segments of ``waveform`` B×N, by the length of a segment in ms."""


def depends_on_batch(scorer: Scorer) -> bool:
    """Whether a score depends on the utterances that share its batch: with ``normalize: batch``."""
    frontend = scorer.config["frontend"]
    halves = [frontend, *(part for part in frontend.values() if isinstance(part, dict))]  # of teacher and student
    return any(half.get("normalize") == "batch" for half in halves)


def check_takes_audio_alone(scorer: Scorer) -> None:
    """Raise :class:`InputError` if ``scorer`` needs scores of other systems beside the audio."""
    if scorer.num_scores:
        raise InputError(
            f"this detector fuses the scores of {counted(scorer.num_scores, 'other system')}, so it cannot score audio alone: score "
            "a corpus, with `nes2net score … --system-scores FILE …`"
        )
