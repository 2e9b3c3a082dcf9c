"""Voices for tests, which are made in a moment: one whose pitch moves, and one that is monotone or whispers."""

import numpy as np
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

_RATE = 16000
_STEP = 160  # samples, 10 ms
#: Formants in Hz of the vowels of "father", "feed", "food", "bed" and "law".
_VOWELS = np.array([(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)])
_STEPS_A_SYLLABLE = 22
_STEPS_OF_BREATH = 7  # a syllable begins with a consonant of this length


def voice(seed=0, seconds=1.0, pauses=True, breath=0.1, pitch=120):
    """Syllables of a buzz near ``pitch`` in Hz with harmonics and ``breath``, the level of noise; the peak is 0.5."""
    time = np.arange(round(seconds * 16000)) / 16000
    phase = 2 * np.pi * pitch * (time - 0.02 * np.cos(2 * np.pi * 1.1 * time + seed))  # the pitch moves by 14 %
    buzz = _harmonics(phase + seed)
    noise = np.random.default_rng(seed).standard_normal(len(time))
    syllables = np.sin(2 * np.pi * 3 * time + seed)
    loudness = np.maximum(syllables, 0) if pauses else 1 + 0.4 * syllables
    samples = loudness * (buzz + breath * noise)
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


def _harmonics(phase, number=49):
    """The sum of ``sin(k · phase) / k``, by sin kx = 2 cos x · sin (k − 1)x − sin (k − 2)x, which is ten times faster."""
    twice_cosine = 2 * np.cos(phase)
    below = np.zeros_like(phase)
    sine = np.sin(phase)
    total = sine.copy()
    for k in range(2, number + 1):
        next_sine = twice_cosine * sine - below
        below = sine
        sine = next_sine
        total += sine / k
    return total


def spoken(seed=0, seconds=4.0, pitch=220.0):
    """Syllables of a hiss and a vowel, at a constant ``pitch`` in Hz, or whispered with None; the peak is 0.5."""
    rng = np.random.default_rng(seed)
    num_steps = round(seconds * _RATE / _STEP)
    num_syllables = num_steps // _STEPS_A_SYLLABLE + 2
    vowels = _VOWELS[rng.integers(len(_VOWELS), size=num_syllables)]
    syllables = np.arange(num_steps) / _STEPS_A_SYLLABLE
    noise = rng.standard_normal(num_steps * _STEP)
    hiss = lfilter([1, -0.95], [1], noise)
    if pitch is None:
        buzz = 0.3 * noise
    else:
        periods = np.floor(np.arange(len(noise)) * pitch / _RATE)
        buzz = 3.0 * (np.diff(periods, prepend=-1) > 0)
    states = np.zeros((3, 2))
    pieces = []
    for step in range(num_steps):
        piece = buzz[step * _STEP : (step + 1) * _STEP]
        is_breath = step % _STEPS_A_SYLLABLE < _STEPS_OF_BREATH
        for number in range(3):
            formant = np.interp(syllables[step], np.arange(num_syllables), vowels[:, number])
            radius = np.exp(-np.pi * 80 / _RATE)
            pole = [1, -2 * radius * np.cos(2 * np.pi * formant / _RATE), radius**2]
            piece, states[number] = lfilter([1 - radius], pole, piece, zi=states[number])
        if is_breath:
            piece = 0.02 * piece + 0.002 * hiss[step * _STEP : (step + 1) * _STEP]
        pieces.append(piece)
    samples = np.concatenate(pieces)
    return (0.5 * samples / np.abs(samples).max()).astype(np.float32)


def resynthesised(samples, pitch):
    """A sentence (N,) by linear prediction, with pulses at a constant ``pitch`` in Hz or, with None, with noise."""
    length = 480
    order = 18
    rng = np.random.default_rng(0)
    excitation = rng.standard_normal(len(samples))
    if pitch is not None:
        periods = np.floor(np.arange(len(samples)) * pitch / _RATE)
        excitation = (np.diff(periods, prepend=-1) > 0) * np.sqrt(_RATE / pitch)
    window = np.hanning(length)
    sentence = np.zeros(len(samples))
    for start in range(0, len(samples) - length, _STEP):
        piece = slice(start, start + length)
        frame = samples[piece] * window
        correlations = np.correlate(frame, frame, "full")[length - 1 : length + order]
        if correlations[0] < 1e-8:
            continue
        correlations[0] *= 1.0001
        predictor = solve_toeplitz(correlations[:-1], -correlations[1:])
        gain = np.sqrt(max(1e-12, correlations[0] + predictor @ correlations[1:]) / length)
        sentence[piece] += lfilter([gain], [1, *predictor], excitation[piece]) * window
    return sentence / max(1e-9, np.abs(sentence).max()) / 2
