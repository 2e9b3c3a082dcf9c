"""The subject of an explanation: a detector, and the part of a recording that it scores, with parts removed.

Removed parts are replaced, in the short-time Fourier transform, by noise of the recording's own
floor. A hole of digital silence would itself be a cue to a detector that looks at the logarithm of
a spectrum. The windows of the transform overlap, so that nothing clicks and the remaining parts do
not change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net.data.audio.read import SAMPLE_RATE
from nes2net.detector import Detector
from nes2net.lib.errors import InputError
from nes2net.scoring.kernel import check_takes_audio_alone, default_batch_size, depends_on_batch, score_or_raise
from nes2net.scoring.waveforms import WaveformReader

#: Replacement of removed parts: noise of the recording's floor, or silence.
Fill = Literal["floor", "silence"]

#: Samples of the transform's window and from one to the next: 32 and 8 ms, bins of 31.25 Hz.
WINDOW = 512
HOP = 128
# The floor of a frequency is this quantile of its magnitudes over time, the level while nobody speaks.
_FLOOR_QUANTILE = 0.1
_NYQUIST = SAMPLE_RATE / 2


class Removable:
    """A recording on a grid of F frequency bands × T time bins, any of which can be removed.

    Args:
        waveform: (N,) float32, 16 kHz.
        bin_seconds: length of a time bin; the last one takes the rest.
        num_bands: F, bands of equal width from 0 to 8 kHz.
        fill: replacement of removed parts, see :data:`Fill`.
        seed: seed of the noise.

    Attributes:
        spectrum: (R, C) complex64, the short-time Fourier transform.
        absent: (R, C) complex64, the replacement of the spectrum.
        times, bands: (T+1,) edges in seconds and (F+1,) in Hz.

    Raises:
        InputError: if the recording is shorter than two bins, or a setting is out of its range.
    """

    def __init__(
        self, waveform: Tensor, bin_seconds: float = 0.1, num_bands: int = 16, fill: Fill = "floor", seed: int = 0
    ) -> None:
        if fill not in ("floor", "silence"):
            raise InputError(f"`baseline` is 'floor' or 'silence', not {fill!r}")
        if not 2 <= num_bands <= WINDOW // 4:
            raise InputError(f"`num_bands` is a number from 2 to {WINDOW // 4}, not {num_bands}")
        if not HOP / SAMPLE_RATE <= bin_seconds <= 10:
            raise InputError(f"`bin_seconds` is from {HOP / SAMPLE_RATE} to 10 s, not {bin_seconds:g}")
        num_bins = round(len(waveform) / SAMPLE_RATE / bin_seconds)
        if num_bins < 2:
            raise InputError(
                f"{len(waveform) / SAMPLE_RATE:.2f} s are too short to be divided into bins of {bin_seconds:g} s: "
                "take a longer recording, or a smaller `bin_seconds`"
            )
        self.num_samples = len(waveform)
        self.window = torch.hann_window(WINDOW)
        self.spectrum = self._transform(waveform)
        if fill == "silence":
            self.absent = torch.zeros_like(self.spectrum)
        else:
            noise = self._transform(torch.randn(len(waveform), generator=torch.Generator().manual_seed(seed)))
            floor = torch.quantile(self.spectrum.abs(), _FLOOR_QUANTILE, dim=1, keepdim=True)
            self.absent = noise * (floor / noise.abs().mean(1, keepdim=True))
        self.times = np.append(np.arange(num_bins) * bin_seconds, len(waveform) / SAMPLE_RATE)
        self.bands = np.linspace(0, _NYQUIST, num_bands + 1)
        rows, columns = self.spectrum.shape
        centres = torch.arange(columns) * HOP / SAMPLE_RATE
        self._bin_of = (centres / bin_seconds + 1e-6).long().clamp(max=num_bins - 1)  # (C,)
        self._band_of = (torch.arange(rows) * num_bands // (rows - 1)).clamp(max=num_bands - 1)  # (R,)

    @property
    def shape(self) -> tuple[int, int]:
        """F and T."""
        return len(self.bands) - 1, len(self.times) - 1

    def without(self, cells: NDArray) -> Tensor:
        """Waveforms B×N without the cells that are true in ``cells`` B×F×T."""
        removed = torch.from_numpy(np.ascontiguousarray(cells, dtype=bool))
        removed = removed[:, self._band_of][:, :, self._bin_of]  # B×R×C
        return self.waveform_of(torch.where(removed, self.absent, self.spectrum))

    def waveform_of(self, spectrum: Tensor) -> Tensor:
        """Waveforms B×N of transforms B×R×C; linear, and differentiable."""
        return torch.istft(spectrum, WINDOW, HOP, window=self.window.to(spectrum.device), length=self.num_samples)

    def summed(self, values: Tensor) -> NDArray:
        """Sums of ``values`` R×C over each cell of the grid, (F, T) float64."""
        bands, bins = self.shape
        rows = torch.zeros(bands, values.shape[1], dtype=torch.float64).index_add(0, self._band_of, values.double())
        return torch.zeros(bands, bins, dtype=torch.float64).index_add(1, self._bin_of, rows).numpy()

    def _transform(self, waveform: Tensor) -> Tensor:
        # Zeros at the ends, because mirrored samples would need more samples than half a window.
        return torch.stft(waveform, WINDOW, HOP, window=self.window, pad_mode="constant", return_complex=True)


class Subject:
    """A detector and a recording; scores changed versions of the recording like the recording itself.

    A recording that is shorter than the detector takes is repeated after it was changed.

    Args:
        waveform: (N,) float32, 16 kHz; what follows the samples that the detector uses is cut off.
        num_samples: how many leading samples it scores, as for :meth:`nes2net.Detector.score`.
        batch_size: None for a number that suits the device.

    Attributes:
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
    ) -> None:
        check_takes_audio_alone(detector)
        if batch_size is not None and batch_size < 1:
            raise InputError(f"`batch_size` is at least 1, not {batch_size}")
        heard = WaveformReader.of(detector, num_samples).score_length(len(waveform))
        self.detector = detector
        self.progress: Callable[[int], object] = lambda _: None
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
        scores: list[float] = []
        for batch in waveforms.split(self.batch_size):
            scores += score_or_raise(self.detector, self.heard(batch))
            self.progress(len(batch))
        return np.array(scores)

    def changes(self, grid: Removable, cells: NDArray, score: float) -> NDArray:
        """``score`` minus the scores (K,) without each of the sets of ``cells`` K×F×T."""
        batches = (cells[start : start + self.batch_size] for start in range(0, len(cells), self.batch_size))
        return score - np.concatenate([self.scores(grid.without(batch)) for batch in batches])
