"""A threshold from genuine scores alone, which a chosen share of genuine recordings misses.

It is an order statistic, so the true share has a Beta distribution (Wilks, Annals of Mathematical
Statistics 12, 1941); the p-value is conformal (Vovk, Gammerman and Shafer, "Algorithmic Learning in
a Random World", 2005).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import FiniteFloat
from typing_extensions import TypedDict

from nes2net.lib.errors import InputError, short_repr
from nes2net.metrics.eer import check_scores

_ASSURANCE = 0.95


class GenuineScores(TypedDict):
    """Arguments of :func:`genuine_threshold` that a calibration keeps."""

    scores: list[FiniteFloat]
    alpha: str
    groups: list[str] | None
    assured: bool


@dataclass(frozen=True)
class GenuineThreshold:
    """A threshold below which a score is unusual among genuine ones."""

    threshold: float
    alpha: Fraction
    """Share of genuine recordings that may be unusual."""
    k: int
    """Rank of the threshold among ``number`` ascending scores, from 1."""
    number: int
    unit: str
    """What :attr:`number` counts: ``"recordings"`` or ``"people"``."""
    low: float
    high: float
    """The true share lies between ``low`` and ``high`` with a probability of 95 %."""
    scores: NDArray
    """Genuine scores (N,), ascending."""
    p_values: Sequence[Fraction]
    """Of scores that are at least as high as 0, …, N genuine ones."""

    def p(self, scores: ArrayLike) -> Any:
        """Return the exact p-value, a Fraction in (0, 1], of a score, or a list of those of several."""
        counts = np.searchsorted(self.scores, np.atleast_1d(scores), side="right").tolist()
        p_values = [self.p_values[count] for count in counts]
        return p_values if np.ndim(scores) else p_values[0]


def genuine_threshold(
    scores: ArrayLike,
    alpha: str | Decimal | Fraction | float,
    groups: Sequence[object] | None = None,
    assured: bool = False,
) -> GenuineThreshold:
    """Find the threshold below which a share ``alpha`` of genuine recordings is expected.

    Args:
        scores: N genuine scores.
        alpha: share in (0, 1), exactly as written: ``"0.05"``, ``"5%"``, ``"miss:5%"``, 0.05.
        groups: the person of each score; the share is then that of a new person's recordings.
        assured: keep the share at most ``alpha`` with a probability of 95 %, not on average.

    Raises:
        InputError: if there are too few scores or people, or a score is NaN or lacks its group.

    >>> genuine_threshold(range(99), "0.29").k
    29
    """
    # Imported only here, because loading SciPy takes longer than the rest.
    from scipy.stats import beta

    genuine = check_scores(scores, "genuine")
    share = _exact_share(alpha)
    people = np.arange(genuine.size) if groups is None else np.asarray(groups)
    if people.shape != genuine.shape:
        raise InputError(f"{genuine.size} scores need as many groups, not {len(people)}: give the person of each score")
    _, person, recordings = np.unique(people, return_inverse=True, return_counts=True)
    number = len(recordings)
    limit = share
    k = math.floor(share * (number + 1))
    if assured:
        ranks = np.arange(1, k + 1)
        # The probability falls with the rank.
        k = int(np.count_nonzero(beta.cdf(float(share), ranks, number + 1 - ranks) >= _ASSURANCE))
        limit = Fraction(k, number + 1)
    unit = "recordings" if groups is None else "people"
    if k == 0:
        raise InputError(
            f"N = {number} {unit} are too few for {100 * float(share):.12g} %: at least {_needed(share, assured)} are "
            "needed; add some, or choose a larger share"
        )
    order = np.argsort(genuine)
    ascending = genuine[order]
    # A person's recordings count as one together.
    weights = [Fraction(1, count) for count in recordings[person[order]].tolist()]
    p_values = [total / (number + 1) for total in accumulate(weights, initial=Fraction(1))]
    counts = np.searchsorted(ascending, ascending, side="right")
    threshold = next(score for score, count in zip(ascending.tolist(), counts) if p_values[count] > limit)
    low, high = beta.ppf([0.025, 0.975], k, number + 1 - k).tolist()
    return GenuineThreshold(threshold, share, k, number, unit, low, high, ascending, p_values)


def _exact_share(alpha: str | Decimal | Fraction | float) -> Fraction:
    text = str(alpha).removeprefix("miss:")
    try:
        share = Fraction(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share < 1:
        raise InputError(f"a share of misses lies between 0 and 1, such as 0.05 or 5%, not {short_repr(text)}")
    return share


def _needed(share: Fraction, assured: bool) -> int:
    """Return the fewest recordings or people whose lowest score has a share of at most ``share``."""
    if assured:
        return math.ceil(math.log(1 - _ASSURANCE) / math.log1p(-share))
    return math.ceil(1 / share) - 1
