"""Sounds that are no speech: tones, noise, music and noises of a house, each of eight seconds at 16 kHz."""

import numpy as np

RATE = 16000
SECONDS = 8
TIME = np.arange(SECONDS * RATE) / RATE
_SCALE = np.array([261.6, 293.7, 329.6, 349.2, 392.0, 440.0, 493.9])


def _scaled(samples, level=-20.0):
    """``samples`` with an RMS of ``level`` dB of full scale."""
    samples = samples - samples.mean()
    return np.clip(samples / np.sqrt(np.mean(samples**2)) * 10 ** (level / 20), -1, 1).astype(np.float32)


def _noise(rng, slope):
    """Noise whose spectrum falls by the power ``slope`` of the frequency, above 20 Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(len(TIME)))
    frequencies = np.fft.rfftfreq(len(TIME), 1 / RATE)
    return np.fft.irfft(spectrum / np.maximum(frequencies, 1) ** slope * (frequencies > 20), len(TIME))


def _notes(rng, frequencies, distance, decay, harmonics, brightness):
    """Plucked strings: a note of ``frequencies`` drawn every ``distance`` seconds."""
    samples = np.zeros(len(TIME) + 2 * RATE)
    time = np.arange(int(0.8 * RATE)) / RATE
    for start in np.arange(0, SECONDS, distance):
        frequency = rng.choice(frequencies)
        note = sum(np.sin(2 * np.pi * frequency * k * time) / k**brightness for k in range(1, harmonics + 1))
        first = int(start * RATE)
        samples[first : first + len(time)] += note * np.minimum(time / 0.01, 1) * np.exp(-time / decay)
    return samples[: len(TIME)]


def _chords(rng):
    """Four chords, held for two seconds each."""
    samples = np.zeros(len(TIME))
    chords = np.array([(220, 277, 330), (196, 247, 294), (175, 220, 262), (196, 247, 294)])
    of_time = np.minimum(len(chords) - 1, (TIME * len(chords) / SECONDS).astype(int))
    for voice in range(3):
        for harmonic in range(1, 6):
            phase = 2 * np.pi * chords[of_time, voice] * harmonic * TIME + rng.uniform(0, 6)
            samples += np.sin(phase) / harmonic**1.5
    return samples


def _strokes(rng):
    """Bursts of noise, as of a keyboard, at random distances."""
    samples = np.zeros(len(TIME) + RATE)
    time = np.arange(RATE // 10) / RATE
    for start in np.cumsum(rng.uniform(0.08, 0.4, 100)):
        if start < SECONDS:
            first = int(start * RATE)
            samples[first : first + len(time)] += rng.standard_normal(len(time)) * np.exp(-time / 0.0075)
    return samples[: len(TIME)]


def sounds():
    """Name → samples (N,)."""
    rng = np.random.default_rng(0)
    rings = (np.sin(2 * np.pi * 440 * TIME) + np.sin(2 * np.pi * 480 * TIME)) * (TIME % 3 < 1)
    hum = 0.3 * np.sin(2 * np.pi * 50 * TIME) + 0.2 * np.sin(2 * np.pi * 100 * TIME)
    turns = 2 * np.pi * np.cumsum(45 * (1 + 0.05 * np.sin(2 * np.pi * 0.3 * TIME))) / RATE
    return {
        "silence": np.zeros(len(TIME), np.float32),
        "a tone": _scaled(np.sin(2 * np.pi * 440 * TIME)),
        "ringing": _scaled(rings + 1e-4 * rng.standard_normal(len(TIME))),
        "white noise": _scaled(rng.standard_normal(len(TIME))),
        "pink noise": _scaled(_noise(rng, 0.5)),
        "brown noise": _scaled(_noise(rng, 1.0)),
        "room tone": _scaled(_noise(rng, 0.5) + hum * 1e-3, -48),
        "music: chords": _scaled(_chords(rng)),
        "music: strings": _scaled(_notes(rng, _SCALE, 0.4, 0.35, 8, 1.0)),
        "music: bass": _scaled(_notes(rng, _SCALE / 2, 0.25, 0.6, 20, 0.7)),
        "an engine": _scaled(sum(np.sin(k * turns) / k for k in range(1, 30)) + 0.1 * rng.standard_normal(len(TIME))),
        "a keyboard": _scaled(_strokes(rng) + 1e-4 * rng.standard_normal(len(TIME))),
    }
