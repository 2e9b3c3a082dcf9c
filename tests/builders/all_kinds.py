"""Recordings of all kinds: short, silent, of many rates and channels, long, music, and damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr

from builders.answers import RATE, by_telephone, speech

LONG = 125.0


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def _noise(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32)


def _music(seconds: float) -> np.ndarray:
    """Chords of four notes, a chord every half second."""
    time = np.arange(round(seconds * RATE)) / RATE
    chord = np.floor(2 * time)
    notes = [np.sin(2 * np.pi * 220 * 2 ** ((step + 5 * chord % 12) / 12) * time) for step in (0, 4, 7, 12)]
    return (0.1 * np.sum(notes, axis=0)).astype(np.float32)


def _clipped(seconds: float) -> np.ndarray:
    return np.clip(4 * speech(seconds, None, 3), -0.3, 0.3)


def _stereo(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.stack([left, right], axis=1)


def _later_stereo() -> np.ndarray:
    """Channels that differ only behind the part that is scored."""
    left = speech(12.0, None, 4)
    right = left.copy()
    right[6 * RATE :] = speech(12.0, None, 5)[6 * RATE :]
    return _stereo(left, right)


#: Name of a file → function that makes its samples (N,) or (N, channels) at 16 kHz. The suffix says the format; a
#: number of kHz in the name says the rate.
_SOUNDS: dict[str, Callable[[], np.ndarray]] = {
    "short.wav": lambda: speech(0.3, None, 1),
    "silent.wav": lambda: _silence(5.0),
    "stereo-differs.wav": lambda: _stereo(speech(6.0, None, 1), speech(6.0, None, 2)),
    "telephone-8k.wav": lambda: by_telephone(speech(8.0, None, 1)),
    "long-fake-part.wav": lambda: speech(LONG, (60.0, 80.0), 7),
    "music.wav": lambda: _music(9.0),
    "one-sample.wav": lambda: speech(0.1, None, 1)[:1],
    "tenth.wav": lambda: speech(0.1, None, 1),
    "second.wav": lambda: speech(1.0, None, 2),
    "second-fake.wav": lambda: speech(1.0, (0.0, 1.0), 2),
    "clip.wav": lambda: speech(3.0, None, 3),
    "clip-fake.wav": lambda: speech(3.0, (0.0, 3.0), 3),
    "window.wav": lambda: speech(4.1, None, 4)[:64600],
    "beyond-window.wav": lambda: speech(4.1, None, 4)[:64601],
    "talk.flac": lambda: speech(30.0, None, 5),
    "talk-fake.flac": lambda: speech(30.0, (0.0, 30.0), 5),
    "talk-fake-end.wav": lambda: speech(30.0, (22.0, 30.0), 6),
    "two-minutes.wav": lambda: speech(120.0, None, 8),
    "beyond-two-minutes.wav": lambda: speech(121.0, None, 8),
    "six-minutes-fake-part.wav": lambda: speech(360.0, (200.0, 230.0), 9),
    "noise.wav": lambda: _noise(6.0),
    "long-noise.wav": lambda: _noise(130.0),
    "long-silence.wav": lambda: _silence(130.0),
    "clipped.wav": lambda: _clipped(6.0),
    "quiet.wav": lambda: 1e-4 * speech(6.0, None, 6),
    "constant.wav": lambda: np.full(5 * RATE, 0.25, np.float32),
    "speech-then-music.wav": lambda: np.concatenate([speech(8.0, None, 6), _music(12.0)]),
    "pauses.wav": lambda: np.concatenate([speech(3.0, None, 6), _silence(9.0), speech(3.0, None, 7)]),
    "stereo-alike.wav": lambda: _stereo(speech(6.0, None, 1), speech(6.0, None, 1)),
    "stereo-differs-later.wav": _later_stereo,
    "stereo-one-silent.wav": lambda: _stereo(speech(6.0, None, 1), _silence(6.0)[: len(speech(6.0, None, 1))]),
    "stereo-cancels.wav": lambda: _stereo(speech(6.0, None, 1), -speech(6.0, None, 1)),
    "talk-11k.wav": lambda: speech(6.0, None, 2),
    "talk-44k.wav": lambda: speech(6.0, None, 2),
    "talk-48k.flac": lambda: speech(6.0, (2.0, 5.0), 2),
    "talk.ogg": lambda: speech(6.0, None, 2),
    "talk.mp3": lambda: speech(6.0, None, 2),
}
#: Damaged files: name → content made of that of a good WAV file.
_DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut.wav": lambda content: content[:20044],
    "no-audio.wav": lambda content: b"no audio at all\n" * 100,
    "empty.wav": lambda content: b"",
}
_FIRST = list(_SOUNDS)[:6]
#: Names of all recordings; the fast tests try the first seven.
NAMES = [*_FIRST, "cut.wav", *(name for name in (*_SOUNDS, *_DAMAGED) if name not in (*_FIRST, "cut.wav"))]
NUM_FAST = 7


def write(folder: Path, name: str) -> Path:
    """Write the recording of this name into ``folder``."""
    path = folder / name
    if name in _DAMAGED:
        soundfile.write(path, speech(3.0, None, 3), RATE)
        path.write_bytes(_DAMAGED[name](path.read_bytes()))
        return path
    samples = _SOUNDS[name]()
    rate = next((rate for rate in (8000, 11025, 44100, 48000) if f"{rate // 1000}k" in name), RATE)
    if rate != RATE:
        samples = soxr.resample(samples, RATE, rate)
    soundfile.write(path, samples, rate)
    return path
