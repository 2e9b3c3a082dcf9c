"""Remove parts of a recording, and score what remains: the basis of every explanation.

In the short-time Fourier transform, removed parts are replaced by noise at the level of the
recording's noise floor. Digital silence would be a cue to a detector that uses the logarithm of a
spectrum. The windows overlap, so that no clicks arise and the remaining parts do not change.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net.data.audio.read import SAMPLE_RATE
from nes2net.detector import Detector
from nes2net.lib.errors import InputError
from nes2net.models.attacks.batch import detector_input
from nes2net.scoring.kernel import check_takes_audio_alone, default_batch_size, depends_on_batch, score_or_raise
from nes2net.scoring.waveforms import WaveformReader

#: Number of samples in a window of the transform: 32 ms, which gives bins of 31.25 Hz.
WINDOW = 512
#: Number of samples from one window to the next, 8 ms.
HOP = 128
# The noise floor of a frequency is this quantile of its magnitudes over time: about the level while nobody speaks.
_FLOOR_QUANTILE = 0.1
_NYQUIST = SAMPLE_RATE / 2


class Removable:
    """A recording on a grid of F frequency bands × T time bins, whose cells can be removed.

    Its short-time Fourier transform has R rows (frequencies) and C columns (times).

    Args:
        waveform: (N,) float32, 16 kHz.
        bin_seconds: length of a time bin; the last bin also has the rest of the recording.
        num_bands: F, bands of equal width from 0 to 8 kHz.
        seed: seed of the noise.

    Attributes:
        spectrum: (R, C) complex64.
        absent: (R, C) complex64, what replaces removed cells.
        times: (T+1,), edges of the time bins in seconds.
        bands: (F+1,), edges of the bands in Hz.

    Raises:
        InputError: if the recording is shorter than two bins.
    """

    def __init__(self, waveform: Tensor, bin_seconds: float = 0.1, num_bands: int = 16, seed: int = 0) -> None:
        num_bins = round(len(waveform) / SAMPLE_RATE / bin_seconds)
        if num_bins < 2:
            raise InputError(
                f"{len(waveform) / SAMPLE_RATE:.2f} s are too short for two bins of {bin_seconds:g} s: use a longer "
                "recording, or a smaller `bin_seconds`"
            )
        self.num_samples = len(waveform)
        self.window = torch.hann_window(WINDOW)
        self.spectrum = self._transform(waveform)
        noise = self._transform(torch.randn(len(waveform), generator=torch.Generator().manual_seed(seed)))
        floor = torch.quantile(self.spectrum.abs(), _FLOOR_QUANTILE, dim=1, keepdim=True)
        self.absent = noise * (floor / noise.abs().mean(1, keepdim=True))
        self.times = np.append(np.arange(num_bins) * bin_seconds, len(waveform) / SAMPLE_RATE)
        self.bands = np.linspace(0, _NYQUIST, num_bands + 1)
        rows, columns = self.spectrum.shape
        centres = torch.arange(columns) * HOP / SAMPLE_RATE
        # (C,), the time bin of each column; without 1e-6, a centre at the edge of a bin could be rounded down
        self._bin_of = (centres / bin_seconds + 1e-6).long().clamp(max=num_bins - 1)
        # (R,), the band of each row
        self._band_of = (torch.arange(rows) * num_bands // (rows - 1)).clamp(max=num_bands - 1)

    @property
    def shape(self) -> tuple[int, int]:
        """(F, T)."""
        return len(self.bands) - 1, len(self.times) - 1

    def without(self, cells: NDArray) -> Tensor:
        """Return B×N, without the cells that are true in ``cells`` B×F×T."""
        removed = torch.from_numpy(np.ascontiguousarray(cells, dtype=bool))
        # Spread the grid's F bands and T time bins over the R×C bins of the spectrum.
        removed = removed[:, self._band_of][:, :, self._bin_of]  # B×R×C
        return self.waveform_of(torch.where(removed, self.absent, self.spectrum))

    def waveform_of(self, spectrum: Tensor) -> Tensor:
        """Compute B×N from transforms B×R×C; gradients pass through."""
        return torch.istft(spectrum, WINDOW, HOP, window=self.window.to(spectrum.device), length=self.num_samples)

    def sum_over_cells(self, values: Tensor) -> NDArray:
        """Sum ``values`` R×C over each cell; return (F, T) float64."""
        bands, bins = self.shape
        rows = torch.zeros(bands, values.shape[1], dtype=torch.float64).index_add(0, self._band_of, values.double())
        return torch.zeros(bands, bins, dtype=torch.float64).index_add(1, self._bin_of, rows).numpy()

    def _transform(self, waveform: Tensor) -> Tensor:
        # Pad with zeros, because padding with mirrored samples fails for a recording of less than half a window.
        return torch.stft(waveform, WINDOW, HOP, window=self.window, pad_mode="constant", return_complex=True)


class Subject:
    """A detector and a recording; changed versions of it are scored like the recording itself.

    If it is too short for the detector, it is repeated after parts have been removed.

    Args:
        waveform: (N,) float32, 16 kHz; samples that the detector does not use are cut off.
        num_samples: as for :meth:`nes2net.Detector.score`.
        batch_size: None for a number that suits the device.

    Attributes:
        progress: called after each batch with its size.

    Raises:
        InputError: if the detector needs other inputs beside audio, or if ``num_samples`` is out of
            range.
    """

    def __init__(
        self,
        detector: Detector,
        waveform: NDArray,
        num_samples: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        check_takes_audio_alone(detector)
        self.score_length = WaveformReader.of(detector, num_samples).score_length(len(waveform))
        self.detector = detector
        self.progress: Callable[[int], object] = lambda _: None
        self.waveform = torch.from_numpy(np.ascontiguousarray(waveform[: self.score_length], dtype=np.float32))
        suitable = batch_size or default_batch_size(detector.computes_on)
        self.batch_size = 1 if depends_on_batch(detector) else suitable

    def detector_input(self, waveforms: Tensor) -> Tensor:
        """Pre-emphasise, and repeat if too short, B×N versions; gradients pass through."""
        return detector_input(self.detector, waveforms, self.score_length)

    def score(self) -> float:
        """Score the unchanged recording."""
        return float(self.scores(self.waveform[None])[0])

    def scores(self, waveforms: Tensor) -> NDArray:
        """Return scores (B,) float64 of versions B×N.

        Raises:
            InputError: if the detector gives no score, for example because its weights are damaged.
        """
        scores = []
        for batch in waveforms.split(self.batch_size):
            scores += score_or_raise(self.detector, self.detector_input(batch))
            self.progress(len(batch))
        return np.array(scores)

    def changes(self, grid: Removable, cells: NDArray, score: float) -> NDArray:
        """Return by how much removing each of ``cells`` (K×F×T booleans) lowers ``score``, (K,)."""
        batches = (cells[start : start + self.batch_size] for start in range(0, len(cells), self.batch_size))
        return score - np.concatenate([self.scores(grid.without(batch)) for batch in batches])
