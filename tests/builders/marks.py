"""Readers of marks, and recordings of ../shared/golden/marks."""

import numpy as np
import soundfile

from nes2net.scoring.registry import evidence
from nes2net.scoring.waveforms import RecordingToJudge

#: Names of the files with and without Content Credentials, after ``c2pa_``.
CREDENTIALS = [
    f"{name}.wav"
    for name in ("moved_manifest", "capture", "no_source_type", "box_huge", "box_short", "box_zero", "cut")
]
for _name in ("plain", "signed", "tampered", "claim", "remote"):
    CREDENTIALS += [f"{_name}.{suffix}" for suffix in ("wav", "mp3", "flac", "m4a")]


def reader(kind, argument=""):
    """A function that returns the one finding of ``kind`` about a recording."""
    read = evidence.get(kind)(None, str(argument))

    def read_one(recording, sample_rate=None):
        (finding,) = read(RecordingToJudge.of(recording, sample_rate))
        return finding

    return read_one


def first_seconds(path, seconds):
    """Samples of the mean of the channels (N,) and their rate."""
    samples, rate = soundfile.read(path, always_2d=True)
    return samples[: seconds * rate].mean(axis=1), rate


def in_16_bits(samples):
    return np.rint(samples * 32768) / 32768
