"""DET curves as a plot needs them: on the scale of the standard normal deviate, and thinned.

The plot is that of Martin et al., "The DET curve in assessment of detection task performance",
Eurospeech 1997.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from nes2net.metrics.eer import det_curve, roc_corners

#: Rates at which the axes may have ticks.
RATES = (1e-4, 1e-3, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
# Steps that a plot can tell apart on each axis.
_STEPS = 1000


def thinned_det(bonafide: NDArray, spoof: NDArray) -> tuple[NDArray, NDArray]:
    """Compute the points of :func:`nes2net.metrics.det_curve` that a plot can show: FRR and FAR."""
    frr, far, _ = det_curve(bonafide, spoof)
    lowest, highest = ndtri(RATES[0]), ndtri(RATES[-1])
    x, y = (
        np.round((np.clip(ndtri(rate), lowest, highest) - lowest) / (highest - lowest) * _STEPS) for rate in (far, frr)
    )
    moved = np.append(True, (np.diff(x) != 0) | (np.diff(y) != 0))
    frr, far, x, y = frr[moved], far[moved], x[moved], y[moved]
    bends = roc_corners(x, y)
    return frr[bends], far[bends]


def det_range(curves: Sequence[tuple[NDArray, NDArray]], eers: Sequence[float]) -> tuple[float, float]:
    """Choose the rates between which the axes run.

    The upper end lies well above every EER, so that marks are not in a corner. The lower end lies
    below the smallest rate above 0 in that range.
    """
    wanted = max(0.4, min(2 * max(eers), 0.95), 1.02 * max(eers))
    high = min((rate for rate in RATES if rate >= wanted), default=RATES[-1])
    seen = [rate[(rate > 0) & (frr <= high) & (far <= high)] for frr, far in curves for rate in (frr, far)]
    smallest = min((float(rates.min()) for rates in seen if rates.size), default=RATES[0])
    low = max((rate for rate in RATES if rate <= min(smallest, 0.05)), default=RATES[0])
    return low, high
