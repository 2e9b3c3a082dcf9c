"""A detector that takes loud frames for fake, so that the fake stretches of a recording are known."""

from __future__ import annotations

import numpy as np
import torch

from builders.small_parts import SPECTRUM
from builders.voices import voice
from nes2net import Detector
from nes2net.models.provenance import Provenance

#: Seconds of the fake stretches of :func:`recording`.
FAKES = [(1.0, 2.0), (2.5, 2.8)]


def detector() -> Detector:
    """Frames of 20 ms whose score is the probability that they are soft; fake from noise of about 0.01 on."""
    frontend = SPECTRUM | {"hop_length": 320}
    detector = Detector.from_config({"frontend": frontend, "backend": "mean_linear"})
    with torch.no_grad():
        detector.backend.last_layer.weight.copy_(torch.tensor([[0.05], [-0.05]]).expand(2, 20))
        detector.backend.last_layer.bias.copy_(torch.tensor([4.13, -4.13]))
    detector.provenance = Provenance.read({"recipe": {"segments": {"resolutions": [20]}}})
    return detector.eval()


def recording(seconds: float = 3.0, fakes: list[tuple[float, float]] | None = None) -> np.ndarray:
    """A soft voice in noise, (N,), with loud stretches."""
    samples = 0.001 * np.random.default_rng(0).standard_normal(round(16000 * seconds))
    samples *= 1 + 0.4 * np.sin(2 * np.pi * 3 * np.arange(len(samples)) / 16000)
    samples += 0.004 * voice(seconds=seconds, pauses=False)
    for start, end in FAKES if fakes is None else fakes:
        samples[round(16000 * start) : round(16000 * end)] *= 100
    return samples


def near(spans: list[tuple[float, float]], expected: list[tuple[float, float]]) -> bool:
    """Whether stretches, (start, end) each, are those expected to within three frames."""
    has_same_shape = np.shape(spans) == np.shape(expected)
    return has_same_shape and (not expected or bool(np.abs(np.subtract(spans, expected)).max() <= 0.06))
