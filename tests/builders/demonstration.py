"""What the tests of the demonstration share: recordings, and the sizes of a corpus of seconds."""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from demonstration import plan, recordings
from demonstration.channel import RATE
from numpy.typing import NDArray

SIZES = plan.Sizes(train=8, dev=8, evaluation=8, spoofs_in_training=0.25, spoofs_in_evaluation=0.125)


def speech_like(seconds: float, seed: int, pitch: float = 120.0) -> NDArray:
    """Syllables of a gliding buzz, noise and pauses, which every method can analyse."""
    rng = np.random.default_rng(seed)
    count = int(seconds * RATE)
    time = np.arange(count) / RATE
    glide = 1 + 0.1 * np.sin(2 * np.pi * 0.7 * time + seed)
    phase = 2 * np.pi * np.cumsum(pitch * glide) / RATE
    buzz = 0.002 * rng.standard_normal(count)
    first_formant = 500 + 100 * seed % 300
    for harmonic in range(1, 40):
        frequency = harmonic * pitch
        first = 1 + ((frequency - first_formant) / 200) ** 2
        second = 1 + ((frequency - 1800) / 300) ** 2
        weight = 1 / first + 0.3 / second
        buzz += 0.2 * weight * np.sin(harmonic * phase)
    start = rng.uniform(0, 6)
    syllables = 1.3 * np.sin(2 * np.pi * 2.3 * time + start)
    loudness = np.clip(syllables, 0, 1)
    noise = 0.03 * rng.standard_normal(count)
    pauses = np.clip(0.2 - loudness, 0, 1)
    return buzz * loudness + noise * pauses


def folder_of_voices(folder: Path, files: int = 20, speakers: int = 4) -> Path:
    """Fill a folder with recordings of several formats and rates, in one subfolder per speaker."""
    formats = [("wav", 16000), ("flac", 22050), ("ogg", 48000)]
    for speaker in range(speakers):
        voice = folder / f"voice{speaker}"
        voice.mkdir(parents=True)
        for number in range(files):
            container, rate = formats[number % 3]
            seconds = 2.6 + 0.05 * number
            seed = 10 * speaker + number
            pitch = 100 + 30 * speaker
            x = speech_like(seconds, seed, pitch)
            path = voice / f"{number:02d}.{container}"
            soundfile.write(path, soxr.resample(x, RATE, rate), rate)
    return folder


def contents(out: Path) -> dict[str, bytes]:
    """The content of each file below ``out`` by its path."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file()]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def recording(number: int = 0) -> recordings.Recording:
    """A recording that is not there, of one of two speakers of a role."""
    is_evaluated = number < 156 * 3 + 50
    first_speaker = 3 if is_evaluated else 1
    speaker = f"LA_{first_speaker + number % 2:04d}"
    role = "eval" if is_evaluated else "train"
    return recordings.Recording(f"r{number}", Path("r.wav"), speaker, "en", role, 0.0, 3.0)
