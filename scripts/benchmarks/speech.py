"""How much speech, and how much of other sounds, is taken for speech: `speech.py SPEECH_FOLDER [SOUNDS_FOLDER]`.

Windows of four seconds count as judged if at least a quarter of them is speech, as in decisions.
The recordings of SPEECH_FOLDER are also made monotone and whispered by linear prediction, and mixed
with noise. Without SOUNDS_FOLDER, such as one of music, only the sounds of tests/builders are tried.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.data.audio.files import with_folders_listed
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.speech import SPEECH_RULE, speech_share
from nes2net.scoring.decisions.along import LEAST_SPEECH

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from builders.sounds import TIME, sounds
from builders.voices import resynthesised

WINDOW = 64000  # samples
MOST_WINDOWS = 60
PITCHES = (80, 110, 150, 220, 300)  # Hz
RNG = np.random.default_rng(0)


def windows_of(folder: str) -> list[NDArray]:
    """Cut the recordings of a folder into windows, at most the first of each recording for many recordings."""
    windows = []
    for path in with_folders_listed([folder]):
        samples = load_audio(path).astype(np.float64)
        for first in range(0, max(1, len(samples) - WINDOW + 1), WINDOW):
            window = samples[first : first + WINDOW]
            if len(window) >= WINDOW // 2:
                windows.append(window)
    step = max(1, len(windows) // MOST_WINDOWS)
    return windows[::step]


def in_noise(speech: NDArray, noise: NDArray, ratio: float) -> NDArray:
    """Mix ``speech`` with ``noise`` at a signal-to-noise ``ratio`` in dB."""
    noise = np.resize(noise, len(speech))
    gain = np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-ratio / 20)
    return speech + gain * noise


def kinds(speech: list[NDArray]) -> Iterator[tuple[str, list[NDArray]]]:
    """Yield the name and the windows of each kind of sound."""
    yield "speech", speech
    for pitch in PITCHES:
        yield f"monotone, {pitch} Hz", [resynthesised(window, pitch) for window in speech]
    yield "whispered", [resynthesised(window, None) for window in speech]
    made_sounds = sounds()
    noises = {
        "white noise": RNG.standard_normal(WINDOW),
        "pink noise": made_sounds["pink noise"][:WINDOW],
        "music": made_sounds["music: a band"][:WINDOW],
    }
    for name, noise in noises.items():
        for ratio in (5, 0, -5):
            yield f"speech in {name}, {ratio} dB", [in_noise(window, noise, ratio) for window in speech]
    music = []
    tones = []
    for name, samples in made_sounds.items():
        halves = np.split(samples, 2)
        if name.startswith("music"):
            music += halves
        else:
            tones += halves
    yield "other: made music", music
    yield "other: made tones and noises", tones
    sirens = []
    for middle, swing, rate in ((900, 400, 0.5), (700, 200, 3.0), (300, 100, 0.5)):
        frequencies = middle + swing * np.sin(2 * np.pi * rate * TIME[:WINDOW])
        phases = 2 * np.pi * np.cumsum(frequencies) / 16000
        sirens.append(0.3 * np.sin(phases))
    yield "other: sirens", sirens
    for folder in sys.argv[2:]:
        yield f"other: {Path(folder).name}", windows_of(folder)


def main() -> None:
    """Print how many windows of each kind are judged."""
    print(SPEECH_RULE)
    for name, windows in kinds(windows_of(sys.argv[1])):
        is_judged = [speech_share(window) >= LEAST_SPEECH for window in windows]
        print(f"{name:32} {len(windows):4} windows, judged {100 * np.mean(is_judged):5.1f} %", flush=True)


main()
