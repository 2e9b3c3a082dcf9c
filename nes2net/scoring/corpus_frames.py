"""Scores of the frames of a batch of utterances of one length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from numpy.typing import NDArray
from torch import Tensor

from nes2net.audio.read import SAMPLE_RATE
from nes2net.errors import InputError
from nes2net.scoring.frame_scores import chosen_resolution, frame_scores, longest_piece
from nes2net.scoring.kernel import start_frames
from nes2net.scoring.scorer import Scorer, SegmentScorer


class FramesOfBatch:
    """Scores frames of ``resolution_ms`` with ``scorer``.

    Raises:
        InputError: if ``scorer`` does not score frames of that length, or none at all.
    """

    def __init__(self, scorer: Scorer, resolution_ms: float | None) -> None:
        self.scorer: SegmentScorer = scorer  # type: ignore[assignment]  # chosen_resolution refuses others
        self.resolution_ms = chosen_resolution(self.scorer, resolution_ms)
        self.longest = longest_piece(self.scorer)

    def start(self, waveforms: Tensor, *, rows: int | None = None) -> Callable[[], Sequence[NDArray | str]]:
        """Start to score ``waveforms`` B×N on the CPU; the results are scores (T,) float32, or why they are missing.

        There are ⌈N / frame⌉ scores at most. A waveform that is too short for the detector is
        repeated, one that is too long for one piece is scored in windows.

        Args:
            rows: as of :func:`nes2net.scoring.kernel.start`.
        """
        num_samples = waveforms.shape[1]
        if num_samples > self.longest:
            return lambda: [self._in_windows(waveform) for waveform in waveforms]
        if (times := -(-self.scorer.min_samples // num_samples)) > 1:
            waveforms = waveforms.repeat(1, times)[:, : self.scorer.min_samples]
        most = -(-num_samples // round(self.resolution_ms * SAMPLE_RATE / 1000))
        return start_frames(
            self.scorer, lambda x: self.scorer.segment_scores(x)[self.resolution_ms][:, :most], waveforms, rows=rows
        )

    def _in_windows(self, waveform: Tensor) -> NDArray | str:
        try:
            return frame_scores(self.scorer, waveform.numpy(), SAMPLE_RATE, resolution_ms=self.resolution_ms).scores
        except InputError as error:
            return str(error)
