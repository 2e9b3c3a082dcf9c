"""Small MUSAN and RIRS_NOISES folders in their published layouts.

Each noise is another tone, by which it is recognised.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from builders.files import write

SAMPLE_RATE = 16000
#: Path below the root → frequency in Hz, a multiple of 10.
TONES = {
    **{f"noise/free-sound/noise-free-sound-{i:04d}.wav": 500.0 + 50 * i for i in range(3)},
    **{f"noise/sound-bible/noise-sound-bible-{i:04d}.wav": 700.0 + 50 * i for i in range(2)},
    **{f"speech/librivox/speech-librivox-{i:04d}.wav": 2000.0 + 100 * i for i in range(6)},
    **{f"speech/us-gov/speech-us-gov-{i:04d}.wav": 3000.0 + 100 * i for i in range(4)},
    **{f"music/rfm/music-rfm-{i:04d}.wav": 5000.0 + 100 * i for i in range(3)},
}


def make_musan(root: Path) -> Path:
    """Write ``TONES`` to ``root/musan``, with text files beside them as in MUSAN."""
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for name, frequency in TONES.items():
        path = write(root / "musan" / name)
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * frequency * time), SAMPLE_RATE)
        (path.parent / "LICENSE").write_text("tones")
        (path.parent / f"._{path.name}").write_bytes(b"resource fork")
    return root / "musan"


def make_rirs(root: Path) -> Path:
    """Write two simulated rooms, a real one of two channels, and noises to ``root/RIRS_NOISES``."""
    rng = np.random.default_rng(0)
    decay = np.exp(-np.arange(4000) / 600)
    responses = rng.standard_normal((4000, 4)) * decay[:, None] * 0.2
    files = {
        "simulated_rirs/smallroom/Room001/Room001-00001.wav": responses[:, 0],
        "simulated_rirs/largeroom/Room001/Room001-00001.wav": responses[:, 1],
        "real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_near_angla.wav": responses[:, 2:],
        "real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav": rng.standard_normal(8000) * 0.1,
        "pointsource_noises/noise-free-sound-0000.wav": rng.standard_normal(8000) * 0.1,
    }
    for name, samples in files.items():
        soundfile.write(write(root / "RIRS_NOISES" / name), samples, SAMPLE_RATE, subtype="FLOAT")
    return root / "RIRS_NOISES"
