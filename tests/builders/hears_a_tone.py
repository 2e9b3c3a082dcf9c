"""A detector trained in a second to take a tone of 3.2 kHz for fake, so that what moves its score is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch.nn import functional as F

from nes2net import Detector

#: Of the tone, in Hz; it lies within one of 16 bands.
FREQUENCY = 3250.0


def recording(start: float | None = 0.4, seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """Noise (N,), with a tone of 0.2 s from ``start`` on unless that is None."""
    samples = 0.02 * np.random.default_rng(seed).standard_normal(round(16000 * seconds))
    if start is not None:
        first = round(16000 * start)
        samples[first : first + 3200] += 0.1 * np.sin(2 * np.pi * FREQUENCY * np.arange(3200) / 16000)
    return samples.astype(np.float32)


@cache
def detector() -> Detector:
    """Spectrum and ASP + MLP; do not change it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        frontend = {"name": "lps", "n_fft": 256, "num_bins": 128, "hop_length": 200}
        detector = Detector.from_config({"frontend": frontend, "backend": "asp_mlp"})
        starts = np.random.default_rng(1).uniform(0, 0.8, 24)
        clips = [recording(start if i % 2 else None, seed=i) for i, start in enumerate(starts)]
        waveforms = torch.from_numpy(np.stack(clips))
        labels = 1 - torch.arange(len(clips)) % 2
        optimizer = torch.optim.Adam(detector.parameters(), lr=0.01)
        for _ in range(50):
            loss = F.cross_entropy(detector(waveforms), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss.item() < 0.1, loss
    return detector.eval()
