"""A list that names parts of a recording, and a list of the same parts cut to files of their own."""

import numpy as np
import soundfile

from builders.files import write
from nes2net.data.corpora.generic import CORPUS

RATE = 44100
#: Id → seconds at which the part begins and ends, channel, label.
PARTS = {"u1": (0.5, 1.25, 0, "bonafide"), "u2": (1.25, 2.0, 1, "spoof"), "u3": (0, 0.7, "", "spoof")}


def write_lists(folder):
    """A stereo recording of 2 s and 5 ms, of which u2 has the last 0.75 s before the last 5 ms."""
    samples = (0.1 * np.random.default_rng(0).standard_normal((RATE * 2005 // 1000, 2))).clip(-1, 1)
    soundfile.write(folder / "call.wav", samples, RATE)
    samples, _ = soundfile.read(folder / "call.wav", always_2d=True)
    rows = ["id,path,start,end,channel,label"]
    rows_of_files = ["id,path,label"]
    for id, (start, end, channel, label) in PARTS.items():
        rows.append(f"{id},call.wav,{start},{end},{channel},{label}")
        rows_of_files.append(f"{id},{id}.wav,{label}")
        stretch = samples[round(start * RATE) : round(end * RATE)]
        if channel != "":
            stretch = stretch[:, channel]
        soundfile.write(folder / f"{id}.wav", stretch, RATE)
    write(folder / "files.csv", rows_of_files)
    return write(folder / "parts.csv", rows)


def parts_and_files(folder):
    """The trials of both lists."""
    path = write_lists(folder)
    return CORPUS.trials(path), CORPUS.trials(folder / "files.csv")
