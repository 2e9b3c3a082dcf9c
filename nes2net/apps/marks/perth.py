"""Read Perth, the watermark of Resemble AI, by the weights in its package, whose code is not run.

The network is that of resemble-perth 1.0.1 (MIT licence, https://github.com/resemble-ai/Perth): the
lowest 2 kHz of a spectrogram pass through three stacks of convolutions, slowed down, as they are, and
accelerated. Each gives a value and an attention.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from nes2net.apps.marks.finding import mark, original
from nes2net.data.audio.read import AudioFile
from nes2net.lib.errors import InputError
from nes2net.lib.output.times import clock
from nes2net.lib.storage.plain_data import read_json_as
from nes2net.models.checkpoints.torch_file import read_torch_file
from nes2net.models.speakers.files import EncoderFile, find_encoder_file
from nes2net.scoring.marks import FOUND_FROM, NATURAL_THRESHOLD, UNMEASURED, FalseAlarms, Mark
from nes2net.scoring.waveforms import RecordingToJudge

_WEIGHTS = "package:resemble-perth==1.0.1/perth/perth_net/pretrained/implicit/perth_net_250000.pth.tar"
_SHA256 = "a15bce457ebc53ce5e6c9c3f11df78cf7ee2bf9cdab0a798902135b4c4027670"
_RATE = 32_000  # Hz
_WINDOW = 2048  # samples
_BINS = 128  # the lowest 2 kHz
_STRETCHES = {"slow": 1.25, "normal": 1.0, "fast": 0.75}
_LAYERS = 7
_REMEDY = "give a file that `nes2net calibrate marks` saved"
_LONG = 60  # s; of a longer recording, pieces are read; an assumption
_PIECE = 30  # s


class Perth:
    """Reads Perth; evidence.

    Args:
        argument: file of ``nes2net calibrate marks``; empty for none.

    Raises:
        MissingLibrary: if resemble-perth is not installed.
        InputError: if its weights or the file are not the expected ones.
    """

    def __init__(self, detector: Any, argument: str) -> None:
        self.alarms = None
        self.threshold = FOUND_FROM
        if argument:
            self.alarms = read_json_as(FalseAlarms, argument, 1 << 20, "measured false alarms", _REMEDY)
            self.threshold = self.alarms.threshold
        file = find_encoder_file(_WEIGHTS)
        self.facts = {"kind": "perth", "reader": {"name": "resemble-perth", "version": "1.0.1"}}
        self.weights = load_weights(file)

    def __call__(self, recording: RecordingToJudge) -> list[Mark]:
        readings = []
        reason = "too short for Perth"
        with AudioFile(original(recording)) as audio:
            for start, samples, rate in _pieces(audio.blocks()):
                for channel, waveform in enumerate(samples):
                    value = perth_value(self.weights, waveform, rate)
                    if value is None:
                        continue
                    reason = "silent"
                    if not math.isnan(value):
                        readings.append((value, f" in channel {channel} from {clock(start)} on"))
        if not readings:
            return mark(f"Perth: {reason}: no reading", state="no_reading", reason=reason, **self.facts)
        value, position_words = max(readings)
        state = "not found"
        if value > self.threshold:
            state = "found"
        elif self.alarms is None and value >= NATURAL_THRESHOLD:
            state = "unclear"
        words = f"Perth (Resemble AI) {state}, {value:.3f}"
        if len(readings) > 1:
            words += position_words
        if state == "not found":
            words += "; says nothing: noise, a change of speed or no mark at all look alike"
        return mark(
            f"{words} ({self.alarms or UNMEASURED})",
            state=state.replace(" ", "_"),
            value=value,
            threshold=self.threshold,
            false_alarms=self.alarms and self.alarms.model_dump(exclude={"threshold"}),
            claim="ai" if state == "found" else None,
            **self.facts,
        )


def load_weights(file: EncoderFile) -> Mapping[str, torch.Tensor]:
    """Read the weights; raise :class:`InputError` unless they are the published ones."""
    if file.sha256 != _SHA256:
        raise InputError(
            f"{file.path} has the SHA-256 {file.sha256}, expected {_SHA256}: install resemble-perth 1.0.1 again"
        )
    return read_torch_file(file.path, tensors_only=True)[0]["model"]


def _pieces(blocks: Iterable[tuple[NDArray, int]]) -> Iterator[tuple[float, NDArray, int]]:
    """Yield start in seconds, samples (channels, N) and rate in Hz."""
    start = 0.0
    # The streams of a chain may differ in rate and channels.
    for (rate, channels), stream in groupby(blocks, lambda block: (block[1], len(block[0]))):
        remaining = np.empty((channels, 0), np.float32)
        for samples, _ in stream:
            remaining = np.concatenate([remaining, samples], axis=1)
            while remaining.shape[1] > _LONG * rate:
                yield start, remaining[:, : _PIECE * rate], rate
                remaining = remaining[:, _PIECE * rate :]
                start += _PIECE
        yield start, remaining, rate
        start += remaining.shape[1] / rate


@torch.inference_mode()
def perth_value(weights: Mapping[str, torch.Tensor], samples: NDArray, rate: int) -> float | None:
    """Read the mark of ``samples`` (N,): near 1 if marked, NaN for silence, None if too short."""
    # Imported only here, because loading SciPy takes longer than the rest.
    from scipy.signal import resample_poly

    divisor = math.gcd(_RATE, rate)
    resampled = resample_poly(samples.astype(np.float64), _RATE // divisor, rate // divisor)
    if len(resampled) <= _WINDOW // 2:
        return None
    window = torch.hann_window(_WINDOW)
    spectrum = torch.stft(torch.from_numpy(resampled).float(), _WINDOW, 320, window=window, return_complex=True)
    levels = (20 * spectrum.abs().clamp(min=1e-9).log10() + 180) / 195  # 1025×T
    loudness = levels.sum(0)
    mask = (loudness > 0.05 * loudness.max()).float()[None, None]  # 1×1×T
    branches = []
    for name, factor in _STRETCHES.items():
        length = int(factor * levels.shape[1])
        outputs = functional.interpolate(levels[None, :_BINS], length, mode="linear", align_corners=True)  # 1×128×S
        for layer in range(_LAYERS):
            prefix = f"decoder.{name}_layers.{layer}.conv"
            if layer > 0:
                outputs = functional.leaky_relu(outputs)
            outputs = functional.conv1d(outputs, weights[f"{prefix}.weight"], weights[f"{prefix}.bias"], padding="same")
        stretched_mask = functional.interpolate(mask, length)
        branches.append((outputs * stretched_mask).sum(2)[0] / stretched_mask.sum())  # attention, value
    attentions, values = torch.stack(branches, 1)  # each (3,)
    return float(attentions.softmax(0) @ values)
