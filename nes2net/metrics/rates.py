"""Error rates at a given threshold, such as one chosen on other trials."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nes2net.metrics.eer import check_classes


class Rates(NamedTuple):
    """Error rates and related measures at a threshold, in [0, 1]."""

    miss: float
    """Share of bona fide trials below the threshold."""
    false_alarm: float
    """Share of spoofed trials at or above the threshold."""
    hter: float
    """Half total error rate: mean of ``miss`` and ``false_alarm``; 1 − HTER is the balanced accuracy."""
    accuracy: float
    """Share of all trials with a right decision."""
    f1: float
    """F1 of spoof, 2 · hits / (2 · hits + errors); a hit is a spoofed trial below the threshold."""
    macro_f1: float
    """Mean F1 of spoof and bona fide, as in the AT-ADD challenge."""


def compute_rates(bonafide: ArrayLike, spoof: ArrayLike, threshold: float) -> Rates:
    """Compute error rates; trials at or above ``threshold`` are accepted as bona fide.

    Raises:
        InputError: if a class has no scores or a score is NaN.

    >>> compute_rates([1.0, 2.0], [0.0, 1.0, -1.0, -1.0], 1.0)
    Rates(miss=0.0, false_alarm=0.25, hter=0.125, accuracy=0.8333333333333334, f1=0.8571428571428571, macro_f1=0.8285714285714285)
    """
    bonafide, spoof = check_classes(bonafide, spoof)
    missed = int(np.sum(bonafide < threshold))
    accepted = int(np.sum(spoof >= threshold))
    return rates_of_counts(missed, accepted, bonafide.size, spoof.size)


def rates_of_counts(missed: float, accepted: float, num_bonafide: float, num_spoof: float) -> Rates:
    """Compute error rates from numbers of ``missed`` bona fide and ``accepted`` spoofed trials.

    Each class needs at least one trial.
    """
    miss = missed / num_bonafide
    false_alarm = accepted / num_spoof
    rejected = num_spoof - accepted
    errors = missed + accepted
    f1, f1_bonafide = (2 * hits / (2 * hits + errors) if hits else 0.0 for hits in (rejected, num_bonafide - missed))
    accuracy = 1 - errors / (num_bonafide + num_spoof)
    return Rates(miss, false_alarm, (miss + false_alarm) / 2, accuracy, f1, (f1 + f1_bonafide) / 2)
