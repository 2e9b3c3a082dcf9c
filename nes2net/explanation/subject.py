"""What is explained: a detector, and the part of a recording that it scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.explanation.removal import Removable
from nes2net.scoring.kernel import check_takes_audio_alone, default_batch_size, depends_on_batch, score_or_raise
from nes2net.scoring.waveforms import WaveformReader


class Subject:
    """A detector and a recording, whose changed versions it scores as it scores the recording itself.

    A recording that is shorter than the detector takes is repeated after it was changed.

    Args:
        waveform: (N,) float32, 16 kHz; what follows the samples that the detector uses is cut off.
        num_samples: how many leading samples it scores, as for :meth:`nes2net.Detector.score`.
        batch_size: None for a number that suits the device.
        progress: called with the number of waveforms after each batch.

    Raises:
        InputError: if the detector needs more than the recording, or a number is out of its range.
    """

    def __init__(
        self,
        detector: Detector,
        waveform: NDArray,
        num_samples: int | None = None,
        batch_size: int | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> None:
        check_takes_audio_alone(detector)
        if batch_size is not None and batch_size < 1:
            raise InputError(f"`batch_size` is at least 1, not {batch_size}")
        heard = WaveformReader.of(detector, num_samples).heard(len(waveform))
        self.detector, self.progress = detector, progress or (lambda _: None)
        self.waveform = torch.from_numpy(np.ascontiguousarray(waveform[:heard], dtype=np.float32))
        self._places = torch.arange(heard) % len(self.waveform)  # of the recording, repeated
        suitable = batch_size or default_batch_size(detector.computes_on)
        self.batch_size = 1 if depends_on_batch(detector) else suitable

    def heard(self, waveforms: Tensor) -> Tensor:
        """The detector's input B×M of versions B×N of the recording; differentiable."""
        return waveforms[:, self._places.to(waveforms.device)]

    def score(self) -> float:
        return float(self.scores(self.waveform[None])[0])

    def scores(self, waveforms: Tensor) -> NDArray:
        """The scores (B,) float64 of versions B×N of the recording.

        Raises:
            InputError: if one is missing, such as for weights that are damaged.
        """
        found: list[float] = []
        for batch in waveforms.split(self.batch_size):
            found += score_or_raise(self.detector, self.heard(batch))
            self.progress(len(batch))
        return np.array(found)

    def changes(self, parts: Removable, cells: NDArray, score: float) -> NDArray:
        """``score`` minus the scores (K,) without each of the sets of ``cells`` K×F×T."""
        batches = (cells[start : start + self.batch_size] for start in range(0, len(cells), self.batch_size))
        return score - np.concatenate([self.scores(parts.without(batch)) for batch in batches])
