"""Reliability: how often trials that are called bona fide with a probability of p are bona fide."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from nes2net.decisions.calibration import Llrs
from nes2net.metrics import wilson_interval

_MOST_BINS, _FEWEST_IN_BIN = 10, 20


class Bin(NamedTuple):
    """Trials of about the same predicted probability."""

    predicted: float
    """Mean of their probabilities of bona fide, at the share of bona fide trials in the whole set."""
    share: float
    """Share of them that are bona fide."""
    low: float
    high: float
    """Wilson's 95 % interval of ``share``."""
    num_trials: int


def reliability(llrs: Llrs) -> list[Bin]:
    """Sort trials into bins of about equal count by their predicted probability of bona fide.

    Ten bins, or as many as have 20 trials each, at least one. Trials of equal ratios share a bin, so
    there are fewer bins if many ratios are equal. The prior is the share of bona fide
    trials of the set, so that for good ratios ``predicted`` and ``share`` agree.

    >>> [one] = reliability(Llrs(np.zeros(3), np.zeros(1)))
    >>> one.predicted, one.share, round(one.low, 3), round(one.high, 3)
    (0.75, 0.75, 0.301, 0.954)
    """
    values = np.concatenate(llrs)
    is_bonafide = np.arange(values.size) < llrs.bonafide.size
    order = np.argsort(values, kind="stable")
    predicted = expit(values + math.log(llrs.bonafide.size / llrs.spoof.size))
    num_bins = int(np.clip(values.size // _FEWEST_IN_BIN, 1, _MOST_BINS))
    ordered = values[order]
    last = np.cumsum([part.size for part in np.array_split(order, num_bins)]) - 1
    ends = np.unique(np.searchsorted(ordered, ordered[last], side="right"))
    bins = []
    for part in np.split(order, ends[:-1]):
        share = float(is_bonafide[part].mean())
        bins.append(Bin(float(predicted[part].mean()), share, *wilson_interval(share, part.size), part.size))
    return bins
