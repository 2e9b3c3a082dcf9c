"""Compute the curves of plots from scores: DET curves and reliability.

A DET curve shows FRR against FAR on the scale of the standard normal deviate (Martin et al., "The
DET curve in assessment of detection task performance", Eurospeech 1997). Reliability compares
predicted probabilities of bona fide with the share of trials that are bona fide.
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
# Distinct positions along an axis.
_STEPS = 1000


def thin_det(bonafide: NDArray, spoof: NDArray) -> tuple[NDArray, NDArray]:
    """Thin :func:`nes2net.metrics.det_curve` to what a plot can show: FRR (N,), FAR (N,)."""
    rates = np.array(det_curve(bonafide, spoof)[:2])  # (2, N) FRR and FAR
    lowest, highest = ndtri([RATES[0], RATES[-1]])
    # (2, N): the points on the grid of the plot, which has _STEPS positions along each axis.
    steps = np.round((np.clip(ndtri(rates), lowest, highest) - lowest) / (highest - lowest) * _STEPS)
    is_new_position = np.append(True, (np.diff(steps) != 0).any(0))
    rates = rates[:, is_new_position]
    # Points between two corners lie on the line that joins them, so a plot does not need them.
    y, x = steps[:, is_new_position]
    frr, false_alarms = rates[:, roc_corners(x, y)]
    return frr, false_alarms


def det_range(curves: Sequence[tuple[NDArray, NDArray]], eers: Sequence[float]) -> tuple[float, float]:
    """Choose the lowest and the highest rate on the axes of DET curves.

    The highest is well above every EER, so that no mark is in a corner. The lowest is at most the
    smallest positive rate of shown points, and between 0.01 % and 5 %.
    """
    # These factors only set how much room the curves get, an assumption.
    least_high = max(0.4, min(2 * max(eers), 0.95), 1.02 * max(eers))
    high = min((rate for rate in RATES if rate >= least_high), default=RATES[-1])
    curve_points = np.concatenate(curves, axis=1)  # (2, N) FRR and FAR
    rates = curve_points[:, (curve_points <= high).all(0)]
    rates = rates[rates > 0]
    if not rates.size:
        return RATES[0], high
    smallest = min(float(rates.min()), 0.05)
    return max((rate for rate in RATES if rate <= smallest), default=RATES[0]), high


_MAX_BINS = 10
_MIN_IN_BIN = 20  # trials


class Bin(NamedTuple):
    """Trials with about the same predicted probability of bona fide."""

    predicted: float
    """Mean predicted probability."""
    share: float
    """Share of bona fide trials."""
    low: float
    """Lower end of Wilson's 95 % interval of ``share``."""
    high: float
    """Upper end of Wilson's 95 % interval of ``share``."""
    num_trials: int


def reliability(llrs: Llrs) -> list[Bin]:
    """Divide trials by predicted probability of bona fide into up to ten bins of about equal size.

    A bin has about 20 trials or more, so fewer than 40 trials share one; equal ratios always share
    one. The prior is the share of bona fide trials in the set: ``predicted`` and ``share`` of a bin
    agree if the ratios are well calibrated.

    >>> [only_bin] = reliability(Llrs(np.zeros(3), np.zeros(1)))
    >>> only_bin.predicted, only_bin.share, round(only_bin.low, 3), round(only_bin.high, 3)
    (0.75, 0.75, 0.301, 0.954)
    """
    values = np.concatenate(llrs)
    is_bonafide = np.arange(values.size) < llrs.bonafide.size
    order = np.argsort(values, kind="stable")
    predicted = expit(values + math.log(llrs.bonafide.size / llrs.spoof.size))
    num_bins = int(np.clip(values.size // _MIN_IN_BIN, 1, _MAX_BINS))
    ordered = values[order]
    # Bins of about equal size end there first; each end then moves behind all ratios that equal its last one.
    last_of_bin = np.cumsum([trials.size for trials in np.array_split(order, num_bins)]) - 1
    ends = np.unique(np.searchsorted(ordered, ordered[last_of_bin], side="right"))
    bins = []
    for trials in np.split(order, ends[:-1]):
        share = float(is_bonafide[trials].mean())
        bins.append(Bin(float(predicted[trials].mean()), share, *wilson_interval(share, trials.size), trials.size))
    return bins
