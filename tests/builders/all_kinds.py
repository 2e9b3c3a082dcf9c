"""Recordings of all kinds: short, silent, of many rates and channels, long, music, and damaged."""

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
silent.wav                 silence 5
stereo-differs.wav         two_speakers 6
telephone-8k.wav           telephone 8
long-fake-part.wav         speech 125 60 80
music.wav                  music 9
cut.wav                    cut 3
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
noise.wav                  noise 6
long-noise.wav             noise 130
long-silence.wav           silence 130
clipped.wav                clipped 6
quiet.wav                  quiet 6
constant.wav               constant 5
speech-then-music.wav      speech_then_music 8
pauses.wav                 pauses 3
stereo-alike.wav           one_speaker_twice 6
stereo-differs-later.wav   two_speakers_later 12
stereo-one-silent.wav      one_channel_silent 6
stereo-cancels.wav         channels_cancel 6
talk-11k.wav               speech 6
talk-44k.wav               speech 6
talk-48k.flac              speech 6 2 5
talk.ogg                   speech 6
talk.mp3                   speech 6
no-audio.wav               text 0
empty.wav                  empty 0
"""
_ROWS = {line.split()[0]: line.split()[1:] for line in _TABLE.strip().splitlines()}
#: Names of all recordings; the fast tests try the first seven.
NAMES = list(_ROWS)
NUM_FAST = 7


def _music(seconds):
    """Chords of four notes, a chord every half second."""
    time = np.arange(round(seconds * RATE)) / RATE
    chord = np.floor(2 * time)
    samples = np.zeros(len(time))
    for step in (0, 4, 7, 12):
        frequency = 220 * 2 ** ((step + 5 * chord % 12) / 12)
        samples += 0.1 * np.sin(2 * np.pi * frequency * time)
    return samples


def _samples(sound, seconds, fake):
    """Samples (N,) or (N, 2) at 16 kHz."""
    talk = speech(max(seconds, 0.1), fake, 1)[: max(1, round(seconds * RATE))]
    silence = np.zeros(len(talk), np.float32)
    if sound == "silence":
        return silence
    if sound == "noise":
        return 0.1 * np.random.default_rng(0).standard_normal(len(talk))
    if sound == "music":
        return _music(seconds)
    if sound == "telephone":
        return by_telephone(talk)
    if sound == "clipped":
        return np.clip(4 * talk, -0.3, 0.3)
    if sound == "quiet":
        return 1e-4 * talk
    if sound == "constant":
        return silence + 0.25
    if sound == "pauses":
        return np.concatenate([talk, silence, silence, silence, talk])
    if sound == "speech_then_music":
        return np.concatenate([talk, _music(12.0)])
    other_voice = speech(max(seconds, 0.1), fake, 2)[: len(talk)]
    changed_voice = np.concatenate([talk[: 6 * RATE], other_voice[6 * RATE :]])
    right_channels = {
        "one_speaker_twice": talk,
        "two_speakers": other_voice,
        "two_speakers_later": changed_voice,
        "one_channel_silent": silence,
        "channels_cancel": -talk,
    }
    if sound in right_channels:
        return np.stack([talk, right_channels[sound]], axis=1)
    return talk


def write(folder: Path, name: str) -> Path:
    """Write the recording of this name into ``folder``."""
    path = folder / name
    sound, seconds, *fake = _ROWS[name]
    if sound == "text":
        path.write_text("no audio at all\n" * 100)
        return path
    if sound == "empty":
        path.write_bytes(b"")
        return path
    times = (float(fake[0]), float(fake[1])) if fake else None
    samples = _samples(sound, float(seconds), times)
    rate = RATE
    for other_rate in (8000, 11025, 44100, 48000):
        if f"{other_rate // 1000}k" in name:
            rate = other_rate
            samples = soxr.resample(samples, RATE, rate)
    soundfile.write(path, samples, rate)
    if sound == "cut":
        path.write_bytes(path.read_bytes()[:20044])
    return path
