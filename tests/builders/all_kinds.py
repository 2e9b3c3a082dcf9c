"""Recordings of all kinds: short, silent, noise, long, and of many rates and channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from builders.answers import RATE, by_telephone, speech

# Name of a file, its kind of sound, its seconds, and the times in seconds between which it is fake. The suffix says the
# format; a number of kHz in the name says the rate.
_TABLE = """
short.wav                  speech 0.3
stereo-differs.wav         two_speakers 6
telephone-8k.wav           telephone 8
long-fake-part.wav         speech 40 16 28
silent.wav                 silence 5
noise.wav                  noise 6
one-sample.wav             speech 0.0000625
tenth.wav                  speech 0.1
second.wav                 speech 1
second-fake.wav            speech 1 0 1
clip.wav                   speech 3
clip-fake.wav              speech 3 0 3
window.wav                 speech 4.0375
beyond-window.wav          speech 4.1
talk.flac                  speech 30
talk-fake.flac             speech 30 0 30
talk-fake-end.wav          speech 30 22 30
two-minutes.wav            speech 120
beyond-two-minutes.wav     speech 121
six-minutes-fake-part.wav  speech 360 200 230
long-noise.wav             noise 130
long-silence.wav           silence 130
clipped.wav                clipped 6
stereo-cancels.wav         channels_cancel 6
talk-11k.wav               speech 6
talk-44k.wav               speech 6
talk-48k.flac              speech 6 2 5
talk.ogg                   speech 6

"""
_ROWS = {line.split()[0]: line.split()[1:] for line in _TABLE.strip().splitlines()}
#: Names of all recordings; the fast tests try the first four.
NAMES = list(_ROWS)
NUM_FAST = 4


def _samples(sound, seconds, fake):
    """Samples (N,) or (N, 2) at 16 kHz."""
    talk = speech(max(seconds, 0.1), fake, 1)[: max(1, round(seconds * RATE))]
    if sound == "silence":
        return np.zeros(len(talk))
    if sound == "noise":
        return 0.1 * np.random.default_rng(0).standard_normal(len(talk))
    if sound == "telephone":
        return by_telephone(talk)
    if sound == "clipped":
        return np.clip(4 * talk, -0.3, 0.3)
    if sound == "two_speakers":
        return np.stack([talk, speech(seconds, fake, 2)], axis=1)
    if sound == "channels_cancel":
        return np.stack([talk, -talk], axis=1)
    return talk


def write(folder: Path, name: str) -> Path:
    """Write the recording of this name into ``folder``."""
    path = folder / name
    sound, seconds, *fake = _ROWS[name]
    times = (float(fake[0]), float(fake[1])) if fake else None
    samples = _samples(sound, float(seconds), times)
    rate = RATE
    for other_rate in (8000, 11025, 44100, 48000):
        if f"{other_rate // 1000}k" in name:
            rate = other_rate
            samples = soxr.resample(samples, RATE, rate)
    soundfile.write(path, samples, rate)
    return path
