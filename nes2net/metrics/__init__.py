"""Error rates, detection costs and their confidence intervals. NumPy alone.

Everywhere a higher score means more bona fide, rates are fractions (not percent), FRR is the share of bona fide trials below the
threshold (miss) and FAR the share of spoofed trials at or above it (false alarm).
"""

from nes2net.metrics.dcf import compute_act_dcf, compute_cllr, compute_min_dcf
from nes2net.metrics.eer import compute_eer, det_curve, roc_points
from nes2net.metrics.intervals import bootstrap_interval
from nes2net.metrics.tdcf import (
    AsvErrorRates,
    TandemWeights,
    asv_error_rates,
    compute_min_tdcf,
    tandem_weights,
    tdcf_curve,
)

__all__ = [
    "AsvErrorRates",
    "TandemWeights",
    "asv_error_rates",
    "bootstrap_interval",
    "compute_act_dcf",
    "compute_cllr",
    "compute_eer",
    "compute_min_dcf",
    "compute_min_tdcf",
    "det_curve",
    "roc_points",
    "tandem_weights",
    "tdcf_curve",
]
