"""Cut speech into pieces, and join pieces to utterances; human and fake pieces are treated in the same way.

A piece is a word whose text is known, or a stretch between two pauses of a longer recording. Every
piece is coded, gets random phases, and is separated from its neighbours by pauses. A fake piece has
the spectrum of the human voice. Arrays are float64, mono, 16 kHz; boundaries are counted in frames
of 10 ms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import channel
from .channel import EDGE, FRAME, RATE
from .codecs import transmit

MIN_STRETCH = 25  # shortest and longest stretch, in frames
MAX_STRETCH = 150
_MIN_PAUSE = 4  # a recording is cut where at least so many frames are quiet
_PAUSE = (2, 12)  # range of half a pause between two pieces, in frames
_G722_DELAY = 22  # samples, of the filters of its two bands
_DISPERSION_DELAY = int(RATE * channel.MAX_DELAY / 2)  # samples, the mean group delay
_DELAY = _G722_DELAY + _DISPERSION_DELAY


def trimmed(x: NDArray) -> NDArray:
    """Cut the quiet ends of a piece off; synthesisers make them longer than people."""
    loud = np.flatnonzero(_is_loud(x, 15))
    end = (loud[-1] + 1) * FRAME
    return x[loud[0] * FRAME : end]


def _is_loud(x: NDArray, range_db: float) -> NDArray:
    """Whether the level of each frame is within ``range_db`` of the 95th percentile."""
    levels = channel.frame_levels(x)
    return levels > np.percentile(levels, 95) - range_db


def stretches(x: NDArray) -> list[NDArray]:
    """Cut speech at its pauses, and return the stretches of 0.25 to 1.5 s."""
    loud = np.flatnonzero(_is_loud(x, 20))
    gaps = np.flatnonzero(np.diff(loud) > _MIN_PAUSE)
    starts = loud[np.append(0, gaps + 1)]
    stops = loud[np.append(gaps, len(loud) - 1)] + 1
    edges = [(start, stop) for start, stop in zip(starts, stops) if MIN_STRETCH <= stop - start <= MAX_STRETCH]
    return [x[start * FRAME : stop * FRAME] for start, stop in edges]


def power_density(x: NDArray) -> NDArray:
    """Compute the spectral density of ``x`` in each band of the equaliser, with mean 1, whatever the level of ``x``."""
    density = 10 ** (channel.density_db(x) / 10)
    return density / density.mean()


def _coded(x: NDArray, level_db: float, rng: np.random.Generator) -> NDArray:
    x = channel.levelled(x, rng.uniform(0.75, 1.1))
    x = transmit(0.5 * x / np.abs(x).max(), "g722")
    padded = np.pad(x, (0, 2 * _DISPERSION_DELAY))
    x = channel.faded(channel.dispersed(padded, rng)[_DISPERSION_DELAY:])
    return x * 10 ** (level_db / 20) / np.sqrt(np.mean(x**2))


def joined(pieces: list[NDArray], rng: np.random.Generator) -> tuple[NDArray, list[int]]:
    """Put the pieces in a row, with pauses between them.

    Returns:
        The samples, and the boundaries between pieces, which lie in the middle of the pauses.
    """
    row = [np.zeros(EDGE)]
    boundaries = []
    position = EDGE
    for piece in pieces:
        boundaries.append(position // FRAME)
        coded = _coded(piece, rng.normal(0, 3), rng)
        before, behind = rng.integers(*_PAUSE, 2) * FRAME
        behind += -len(coded) % FRAME
        row += [np.zeros(before), coded, np.zeros(behind)]
        position += before + len(coded) + behind
    boundaries.append(position // FRAME)
    return np.concatenate([*row, np.zeros(EDGE)]), boundaries


def render(pieces: list[NDArray], rng: np.random.Generator) -> tuple[NDArray, list[int]]:
    """Join the pieces, and pass them through the common channel; return whole frames and the pieces' boundaries."""
    x, boundaries = joined(pieces, rng)
    x = channel.match(np.pad(x, (0, FRAME)), rng)
    x = transmit(x, "g722")[_DELAY:]
    cut = EDGE // FRAME
    boundaries = [boundary - cut for boundary in boundaries]
    return channel.faded(x[: boundaries[-1] * FRAME]), boundaries
