"""Recordings on which no decision can rest, and why; each is two seconds long at 16 kHz."""

from pathlib import Path

import numpy as np
import soundfile

from builders.voices import voice

TIME = np.arange(32000) / 16000
LOUD = voice(seconds=2)
#: Name → samples (N,) or (N, channels), and how the reason begins.
UNFIT = {
    "silence": (np.zeros(32000), "digital silence"),
    "constant": (np.full(32000, 0.25), "constant"),
    "quiet": (2.9e-4 * LOUD, "almost silent: its loud parts have -8"),
    "tone": (0.3 * np.sin(2 * np.pi * 440 * TIME), "a steady sound"),
    "opposite": (np.stack([LOUD, -LOUD], 1), "its channels cancel each other (opposite phase)"),
}


def write_unfit(folder: Path) -> dict[Path, str]:
    """Write them as WAV files of 32-bit floats, and return how the reason of each begins."""
    reasons = {}
    for name, (samples, reason) in UNFIT.items():
        soundfile.write(folder / f"{name}.wav", samples, 16000, subtype="FLOAT")
        reasons[folder / f"{name}.wav"] = reason
    return reasons
