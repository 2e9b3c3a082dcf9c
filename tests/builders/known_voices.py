"""Known recordings, and the file in which a detector keeps their embeddings."""

from pathlib import Path

import soundfile

from builders.voices import voice
from nes2net.scoring.neighbours import learn_neighbours

#: The fewest recordings of which 5 % can be called unlike the others.
FEWEST = 19


def write_voices(folder: Path, seeds: range) -> Path:
    """Write a voice of a third of a second for each seed; return the folder."""
    folder.mkdir()
    for seed in seeds:
        soundfile.write(folder / f"{seed:02}.wav", voice(seed, 0.3), 16000)
    return folder


def write_neighbours(folder: Path, detector) -> Path:
    """Write ``folder/n.json`` of 19 bona fide recordings and 5 spoofed ones, in ``folder/real`` and ``folder/fake``."""
    real = write_voices(folder / "real", range(FEWEST))
    fake = write_voices(folder / "fake", range(FEWEST, FEWEST + 5))
    learn_neighbours(detector, [str(real), str(fake)], folder / "n.json")
    return folder / "n.json"
