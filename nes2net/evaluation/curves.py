"""What plots show of scores: DET curves, and reliability.

DET curves are on the scale of the standard normal deviate, and thinned (Martin et al., "The DET curve in
assessment of detection task performance", Eurospeech 1997). Reliability is how often trials that are
called bona fide with a probability of p are bona fide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from nes2net.metrics import wilson_interval
from nes2net.metrics.eer import det_curve, roc_corners
from nes2net.scoring.decisions.calibration import Llrs

#: Rates at which the axes may have ticks.
RATES = (1e-4, 1e-3, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
# Steps that a plot can tell apart on each axis.
_STEPS = 1000


def thinned_det(bonafide: NDArray, spoof: NDArray) -> tuple[NDArray, NDArray]:
    """Compute the points of :func:`nes2net.metrics.det_curve` that a plot can show: FRR and FAR."""
    rates = np.array(det_curve(bonafide, spoof)[:2])  # (2, N) FRR and FAR
    lowest, highest = ndtri([RATES[0], RATES[-1]])
    steps = np.round((np.clip(ndtri(rates), lowest, highest) - lowest) / (highest - lowest) * _STEPS)
    moved = np.append(True, (np.diff(steps) != 0).any(0))
    rates = rates[:, moved]
    y, x = steps[:, moved]
    frr, false_alarms = rates[:, roc_corners(x, y)]
    return frr, false_alarms


def det_range(curves: Sequence[tuple[NDArray, NDArray]], eers: Sequence[float]) -> tuple[float, float]:
    """Choose the rates between which the axes run.

    The upper end lies well above every EER, so that marks are not in a corner. The lower end lies
    below the smallest rate above 0 in that range.
    """
    upper_end = max(0.4, min(2 * max(eers), 0.95), 1.02 * max(eers))
    high = min((rate for rate in RATES if rate >= upper_end), default=RATES[-1])
    curve_points = np.concatenate(curves, axis=1)  # (2, N) FRR and FAR
    rates = curve_points[:, (curve_points <= high).all(0)]
    rates = rates[rates > 0]
    if not rates.size:
        return RATES[0], high
    smallest = min(float(rates.min()), 0.05)
    return max((rate for rate in RATES if rate <= smallest), default=RATES[0]), high


_MOST_BINS = 10
_FEWEST_IN_BIN = 20


class Bin(NamedTuple):
    """Trials of about the same predicted probability."""

    predicted: float
    """Mean of their probabilities of bona fide, with the share of bona fide trials in the whole set as prior."""
    share: float
    """The share of these trials that is bona fide."""
    low: float
    high: float
    """Wilson's 95 % interval of ``share``."""
    num_trials: int


def reliability(llrs: Llrs) -> list[Bin]:
    """Sort trials into bins of about equal count by their predicted probability of bona fide.

    There are ten bins, or fewer so that each has 20 trials, but at least one. Trials of equal
    ratios share a bin, so there are fewer bins if many ratios are equal. The prior is the share of
    bona fide trials of the set, so that for good ratios ``predicted`` and ``share`` agree.

    >>> [only_bin] = reliability(Llrs(np.zeros(3), np.zeros(1)))
    >>> only_bin.predicted, only_bin.share, round(only_bin.low, 3), round(only_bin.high, 3)
    (0.75, 0.75, 0.301, 0.954)
    """
    values = np.concatenate(llrs)
    is_bonafide = np.arange(values.size) < llrs.bonafide.size
    order = np.argsort(values, kind="stable")
    predicted = expit(values + math.log(llrs.bonafide.size / llrs.spoof.size))
    num_bins = int(np.clip(values.size // _FEWEST_IN_BIN, 1, _MOST_BINS))
    ordered = values[order]
    last = np.cumsum([trials.size for trials in np.array_split(order, num_bins)]) - 1
    ends = np.unique(np.searchsorted(ordered, ordered[last], side="right"))
    bins = []
    for trials in np.split(order, ends[:-1]):
        share = float(is_bonafide[trials].mean())
        bins.append(Bin(float(predicted[trials].mean()), share, *wilson_interval(share, trials.size), trials.size))
    return bins
