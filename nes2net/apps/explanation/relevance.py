"""The relevance of parts of a recording: how much each stretch of time and each band moves the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: A stretch or a band is listed if its relevance is at least this fraction of the largest relevance.
MIN_SHARE = 0.25


class RelevantPart(NamedTuple):
    """A stretch of time (ends in seconds) or a frequency band (ends in Hz), with its relevance."""

    start: float
    end: float
    relevance: float
    """In units of the score; above 0 if the part moves the score towards bona fide."""


@dataclass(frozen=True)
class Relevance:
    """Relevance of T time bins, F frequency bands and their cells, in units of the score.

    Above 0, a part moves the score towards bona fide. The names of the fields that are shown are keys
    that users' programs read.
    """

    times: NDArray
    """(T+1,), edges in seconds of the recording."""
    bands: NDArray
    """(F+1,), edges in Hz."""
    over_time: NDArray
    """(T,) float64."""
    over_bands: NDArray
    """(F,) float64."""
    cells: NDArray
    """(F, T) float64, lowest band first."""
    additive: bool
    """Whether the others are sums of ``cells``: true for gradients, false for occlusion."""

    def stretches(self) -> list[RelevantPart]:
        """Return up to three stretches of time that move the score most, strongest first.

        A stretch joins bins of one direction with at least a quarter of the largest relevance. Its
        relevance is their sum if additive, otherwise the strongest.
        """
        return self._strongest_parts(self.times, self.over_time, join_neighbours=True)

    def strongest_bands(self) -> list[RelevantPart]:
        """Return up to three bands that move the score most, strongest first."""
        return self._strongest_parts(self.bands, self.over_bands, join_neighbours=False)

    def _strongest_parts(self, edges: NDArray, values: NDArray, *, join_neighbours: bool) -> list[RelevantPart]:
        """Return up to three parts, without bins below :data:`MIN_SHARE`; ``edges`` is (n+1,), and ``values`` (n,)."""
        sizes = np.abs(values)
        threshold = MIN_SHARE * sizes.max(initial=0.0)
        # 0 for a weak bin; a part ends where the sign changes.
        signs = np.where((sizes >= threshold) & (sizes > 0), np.sign(values), 0).astype(int)
        cuts = np.flatnonzero(np.diff(signs)) + 1 if join_neighbours else np.arange(1, len(values))
        stretches = []
        for bins in np.split(np.arange(len(values)), cuts):
            if len(bins) and signs[bins[0]]:
                relevance = values[bins].sum() if self.additive else values[bins][sizes[bins].argmax()]
                stretches.append(RelevantPart(float(edges[bins[0]]), float(edges[bins[-1] + 1]), float(relevance)))
        return sorted(stretches, key=lambda stretch: -abs(stretch.relevance))[:3]
