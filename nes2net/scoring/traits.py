"""Traits of recordings that are scored, measured as those of a calibration's own recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net.audio.read import stream_audio
from nes2net.decisions.decision import Decider
from nes2net.decisions.population import Traits, measure, measure_blocks
from nes2net.scoring.kernel import scoring_mode, start_embedding
from nes2net.scoring.scorer import Scorer
from nes2net.scoring.waveforms import Recording


@dataclass(frozen=True)
class Measurer:
    """Measures recordings for the decisions of a calibration.

    Args:
        embed: embeddings B×E of waveforms B×N; None if the calibration compares none, or the
            detector makes none.
    """

    scorer: Scorer
    embed: Callable[[Tensor], Tensor] | None

    @classmethod
    def of(cls, scorer: Scorer, decider: Decider | None) -> Measurer | None:
        """The measurer that ``decider`` needs; None if it compares no recordings."""
        if decider is None or decider.calibration.population is None or not decider.abstain:
            return None
        embeddings = getattr(scorer, "embeddings", None)  # exported detectors have none
        wanted = decider.calibration.population.has_embeddings and embeddings is not None
        return cls(scorer, partial(embeddings, of="backend") if embeddings is not None and wanted else None)

    def measured(self, recording: Recording) -> Traits:
        """Measure what the detector hears of ``recording``, without its embedding."""
        return measure(recording.waveform, recording.num_samples)  # a short one was repeated

    def with_embeddings(self, traits: Sequence[Traits], waveforms: NDArray) -> list[Traits]:
        """Add the embeddings of ``waveforms`` B×N to their ``traits``."""
        if self.embed is None:
            return list(traits)
        with scoring_mode(self.scorer):
            rows = start_embedding(self.scorer, self.embed, torch.from_numpy(waveforms))()
        return [
            one if isinstance(row, str) else one._replace(embedding=row)  # one that is not finite has no row
            for one, row in zip(traits, rows)
        ]

    def of_recording(self, recording: Recording) -> Traits:
        """All traits of ``recording``."""
        return self.with_embeddings([self.measured(recording)], recording.waveform[None])[0]

    def along(self, path: str | Path, window: float) -> Traits:
        """Traits of a long file that is scored in windows of so many seconds, read in pieces.

        The detector hears a window at a time, so that is the duration. There is no embedding.
        """
        return measure_blocks(stream_audio(path))._replace(duration=window)
