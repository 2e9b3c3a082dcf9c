"""Pieces of speech, and how an utterance is joined of them: in the same way whether a human or a synthesiser said a piece.

A piece is a word whose text is known, or what lies between two pauses of a longer recording. Every piece is coded, has
phases of its own, and lies in a row of pieces with pauses between them; a fake piece has the spectrum of the human voice.
Arrays are float64, mono, 16 kHz; boundaries are counted in frames of 10 ms.
"""

from __future__ import annotations

import numpy as np

from . import channel
from .channel import EDGE, FRAME, RATE
from .codecs import transmit

SHORTEST = 25  # frames of a piece
LONGEST = 150
_LEAST_PAUSE = 4  # frames in which a recording is quiet where it is cut
_PAUSE = (2, 12)  # half a pause between two pieces, in frames
_G722_DELAY = 22  # samples, of the filters that split and join its two bands
_DISPERSION_DELAY = int(RATE * channel.MOST_DELAY / 2)  # samples, the mean group delay
_DELAY = _G722_DELAY + _DISPERSION_DELAY


def trimmed(x: np.ndarray) -> np.ndarray:
    """Cut the quiet ends of a piece, which synthesisers make longer than people."""
    loud = np.flatnonzero(_is_loud(x, 15))
    return x[loud[0] * FRAME : (loud[-1] + 1) * FRAME]


def _is_loud(x: np.ndarray, range_db: float) -> np.ndarray:
    levels = channel.frame_levels(x)
    return levels > np.percentile(levels, 95) - range_db


def stretches(x: np.ndarray) -> list[np.ndarray]:
    """Cut speech at its pauses, and keep the stretches of 0.25 to 1.5 s."""
    loud = np.flatnonzero(_is_loud(x, 20))
    gaps = np.flatnonzero(np.diff(loud) > _LEAST_PAUSE)
    starts = loud[np.append(0, gaps + 1)]
    stops = loud[np.append(gaps, len(loud) - 1)] + 1
    return [x[a * FRAME : b * FRAME] for a, b in zip(starts, stops) if SHORTEST <= b - a <= LONGEST]


def power_density(x: np.ndarray) -> np.ndarray:
    """Compute the spectral density of ``x`` in each band of the equaliser, of a level that does not depend on that of ``x``."""
    density = 10 ** (channel.density_db(x) / 10)
    return density / density.mean()


def _coded(x: np.ndarray, level_db: float, rng: np.random.Generator) -> np.ndarray:
    """Bring a piece to a level and a distribution of the levels in it, code it, and disperse its phases."""
    x = channel._levelled(x, rng.uniform(0.75, 1.1))
    x = transmit(0.5 * x / np.abs(x).max(), "g722")
    x = channel.dispersed(np.pad(x, (0, 2 * _DISPERSION_DELAY)), rng)[_DISPERSION_DELAY:]
    ramp = np.linspace(0, 1, RATE // 200)
    x[: len(ramp)] *= ramp
    x[-len(ramp) :] *= ramp[::-1]
    return x * 10 ** (level_db / 20) / np.sqrt(np.mean(x**2))


def joined(pieces: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Put the pieces in a row; return the samples, and the boundaries, which lie in the middle of the pauses."""
    row = [np.zeros(EDGE)]
    boundaries = []
    for piece in pieces:
        piece = _coded(piece, rng.normal(0, 3), rng)
        before, behind = rng.integers(*_PAUSE, 2) * FRAME
        boundaries.append(sum(map(len, row)) // FRAME)
        row += [np.zeros(before), piece, np.zeros(behind + -len(piece) % FRAME)]
    return np.concatenate([*row, np.zeros(EDGE)]), [*boundaries, sum(map(len, row)) // FRAME]


def render(pieces: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Join the pieces and pass them through the channel of every clip; return whole frames, and the boundaries in them."""
    x, boundaries = joined(pieces, rng)
    x = transmit(channel.match(np.pad(x, (0, FRAME)), rng), "g722")[_DELAY:]
    cut = EDGE // FRAME
    frames = boundaries[-1] - cut
    x = x[: frames * FRAME]
    ramp = np.linspace(0, 1, RATE // 200)
    x[: len(ramp)] *= ramp
    x[-len(ramp) :] *= ramp[::-1]
    return x, [boundary - cut for boundary in boundaries]
