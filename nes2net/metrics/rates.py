"""Error rates at a given threshold, for example a threshold that was chosen on other trials."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nes2net.metrics.eer import checked_classes


class Rates(NamedTuple):
    """Error rates and related measures at a threshold, each a fraction in [0, 1]."""

    miss: float
    """Share of bona fide trials below the threshold."""
    false_alarm: float
    """Share of spoofed trials at or above the threshold."""
    hter: float
    """Half total error rate: the mean of ``miss`` and ``false_alarm``; 1 − HTER is the balanced accuracy."""
    accuracy: float
    """Share of all trials with a right decision: bona fide at or above the threshold, or spoof below it."""
    f1: float
    """F1 of the class spoof: 2 · hits / (2 · hits + errors). A hit is a spoofed trial below the threshold."""
    macro_f1: float
    """Mean of the F1 of spoof and the F1 of bona fide. The AT-ADD challenge uses this measure."""


def compute_rates(bonafide: ArrayLike, spoof: ArrayLike, threshold: float) -> Rates:
    """Compute the error rates at ``threshold``; trials at or above the threshold are accepted as bona fide.

    Raises:
        InputError: if a class has no scores or a score is NaN.

    >>> compute_rates([1.0, 2.0], [0.0, 1.0, -1.0, -1.0], 1.0)
    Rates(miss=0.0, false_alarm=0.25, hter=0.125, accuracy=0.8333333333333334, f1=0.8571428571428571, macro_f1=0.8285714285714285)
    """
    bonafide, spoof = checked_classes(bonafide, spoof)
    missed = int(np.sum(bonafide < threshold))
    accepted = int(np.sum(spoof >= threshold))
    return rates_of_counts(missed, accepted, bonafide.size, spoof.size)


def rates_of_counts(missed: int, accepted: int, num_bonafide: int, num_spoof: int) -> Rates:
    """Compute the error rates at a threshold from the numbers of errors and of trials.

    Args:
        missed: number of bona fide trials below the threshold.
        accepted: number of spoofed trials at or above the threshold.
        num_bonafide, num_spoof: numbers of all trials of each class, each at least 1.
    """
    miss = missed / num_bonafide
    false_alarm = accepted / num_spoof
    rejected = num_spoof - accepted
    errors = missed + accepted
    f1, f1_bonafide = (2 * hits / (2 * hits + errors) if hits else 0.0 for hits in (rejected, num_bonafide - missed))
    accuracy = 1 - errors / (num_bonafide + num_spoof)
    return Rates(miss, false_alarm, (miss + false_alarm) / 2, accuracy, f1, (f1 + f1_bonafide) / 2)
