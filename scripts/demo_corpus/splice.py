"""Partially spoofed utterances: pieces of human speech replaced by their own copy-synthesis, every edit treated alike.

An utterance is cut into pieces at random. Each piece comes from one of three versions of the whole utterance, which are
aligned in time: two of the human speech itself and, if the utterance is to be spoofed, one of its copy-synthesis in place
of a third human one. All three have been coded, have phases of their own, and have the spectrum and level of the human
speech, so that a cut between two human versions leaves the same traces as a cut between human and synthesis. Arrays are
float64, mono, 16 kHz; cuts are counted in frames of 10 ms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import channel
from .channel import FRAME, RATE
from .codecs import transmit
from .synthesis import spoof

HUMAN = "human"
VERSIONS = 3
_SHORTEST, _LONGEST = 20, 100  # frames of a piece
_CROSS_FADE = RATE // 100
_G722_DELAY = 22  # samples, of the filters that split and join its two bands
_DISPERSION_DELAY = int(RATE * channel.MOST_DELAY / 2)  # samples, the mean group delay
_DELAY = _G722_DELAY + _DISPERSION_DELAY


class Piece(NamedTuple):
    """Frames ``start`` to ``end`` of an utterance, of one version (0, 1, 2)."""

    start: int
    end: int
    version: int


def draw_pieces(frames: int, rng: np.random.Generator) -> list[Piece]:
    """Divide ``frames`` into pieces of 0.2 to 1 s and draw the version of each; neighbours of one version are joined.

    The last version occurs, and is never all of the utterance. Cuts lie anywhere: at minima of the level, the level
    alone would show them.
    """
    cuts = [0]
    while (cut := cuts[-1] + int(rng.integers(_SHORTEST, _LONGEST + 1))) <= frames - _SHORTEST:
        cuts.append(cut)
    if len(cuts) == 1:
        cuts.append(frames // 2)
    while True:
        versions = rng.integers(0, VERSIONS, len(cuts))
        if VERSIONS - 1 in versions and (versions != VERSIONS - 1).any():
            break
    kept = [i for i in range(len(cuts)) if i == 0 or versions[i] != versions[i - 1]]
    edges = [*(cuts[i] for i in kept), frames]
    return [Piece(a, b, int(versions[i])) for a, b, i in zip(edges, edges[1:], kept)]


def _advanced(x: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(x[samples:], (0, samples))


def _like(x: np.ndarray, human: np.ndarray) -> np.ndarray:
    """Give ``x`` the long-term spectrum and the level of each moment of ``human``."""
    x = channel.equalised(x, channel.density_db(human))
    gain_db = np.clip(channel.frame_levels(human) - channel.frame_levels(x), -12, 12)
    centres = (np.arange(len(gain_db)) + 0.5) * FRAME
    return x * 10 ** (np.interp(np.arange(len(x)), centres, gain_db) / 20)


def version(human: np.ndarray, method: str, rng: np.random.Generator, language: str, part: str) -> np.ndarray:
    """Make a version of ``human`` by ``method`` (``HUMAN`` or one of :data:`METHODS`): coded, dispersed, matched in level."""
    x = human if method == HUMAN else spoof(method, human, rng, language, part)
    x = np.pad(x[: len(human)], (0, max(len(human) - len(x), 0)))
    x = channel.dispersed(transmit(0.5 * x / np.abs(x).max(), "g722"), rng)
    return _like(_advanced(x, _DELAY), human)


def _faded(versions: list[np.ndarray], pieces: list[Piece]) -> np.ndarray:
    """Join the pieces with cross-fades of 10 ms and equal power, in the middle of which the cut lies."""
    joined = versions[pieces[0].version].copy()
    ramp = np.sin(0.5 * np.pi * (np.arange(_CROSS_FADE) + 0.5) / _CROSS_FADE)
    for piece in pieces[1:]:
        start = piece.start * FRAME - _CROSS_FADE // 2
        new = versions[piece.version]
        seam = joined[start : start + _CROSS_FADE] * ramp[::-1] + new[start : start + _CROSS_FADE] * ramp
        joined[start:] = new[start:]
        joined[start : start + _CROSS_FADE] = seam
    return joined


def render(versions: list[np.ndarray], pieces: list[Piece], rng: np.random.Generator) -> np.ndarray:
    """Join the pieces of the versions and pass them through the channel of every clip.

    Returns:
        whole frames of 10 ms; sample 0 is the beginning of frame ``EDGE / FRAME`` (5) of the versions.
    """
    x = transmit(channel.match(_faded(versions, pieces), rng), "g722")[_DELAY:]
    x = x[: len(x) // FRAME * FRAME]
    ramp = np.linspace(0, 1, RATE // 200)
    x[: len(ramp)] *= ramp
    x[-len(ramp) :] *= ramp[::-1]
    return x


def pieces_of_render(pieces: list[Piece], frames: int) -> list[Piece]:
    """The pieces as they lie in what :func:`render` returns, of ``frames`` frames."""
    cut = channel.EDGE // FRAME
    moved = [Piece(max(p.start - cut, 0), min(p.end - cut, frames), p.version) for p in pieces]
    return [p for p in moved if p.end > p.start]
