"""What the tests of the demonstration share: recordings, and the sizes of a corpus of seconds."""

from pathlib import Path

import numpy as np
import soundfile
import soxr
from demonstration import plan, recordings
from demonstration.channel import RATE

SIZES = plan.Sizes(train=8, dev=8, evaluation=8, spoofs_in_training=0.25, spoofs_in_evaluation=0.125)


def speech_like(seconds: float, seed: int, pitch: float = 120.0) -> np.ndarray:
    """Syllables of a gliding buzz, noise and pauses, which every method can analyse."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    phase = np.cumsum(pitch * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * t + seed))) / RATE
    x = 0.002 * rng.standard_normal(len(t))
    for harmonic in range(1, 40):
        from_first, from_second = harmonic * pitch - 500 - 100 * seed % 300, harmonic * pitch - 1800
        weight = 1 / (1 + (from_first / 200) ** 2) + 0.3 / (1 + (from_second / 300) ** 2)
        x += 0.2 * weight * np.sin(2 * np.pi * harmonic * phase)
    syllables = np.clip(1.3 * np.sin(2 * np.pi * 2.3 * t + rng.uniform(0, 6)), 0, 1)
    return x * syllables + 0.03 * rng.standard_normal(len(t)) * np.clip(-syllables + 0.2, 0, 1)


def folder_of_voices(folder: Path, files: int = 20, speakers: int = 4) -> Path:
    """Fill a folder with recordings of several formats and rates, in one subfolder per speaker."""
    for speaker in range(speakers):
        (folder / f"voice{speaker}").mkdir(parents=True)
        for number in range(files):
            container, rate = [("wav", 16000), ("flac", 22050), ("ogg", 48000)][number % 3]
            x = speech_like(2.6 + 0.05 * number, 10 * speaker + number, 100 + 30 * speaker)
            path = folder / f"voice{speaker}" / f"{number:02d}.{container}"
            soundfile.write(path, soxr.resample(x, RATE, rate), rate)
    return folder


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def recording(number: int = 0) -> recordings.Recording:
    role = "eval" if number < 156 * 3 + 50 else "train"
    speaker = f"LA_{number % 2 + (1 if role == 'train' else 3):04d}"
    return recordings.Recording(f"r{number}", Path("r.wav"), speaker, "en", role, 0.0, 3.0)
