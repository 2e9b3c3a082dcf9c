"""Error rates, detection costs, classes, confidence intervals and the official table of CtrSVDD.

Higher scores mean more bona fide; rates are fractions in [0, 1]. The false rejection rate (FRR,
misses) is the share of bona fide trials below the threshold; the false acceptance rate (FAR, false
alarms) is the share of spoofed trials at or above it.

In reading order: ``eer``, ``rates``, ``dcf``, ``tdcf``, ``sasv``, ``classes``, ``intervals``,
``tables``; then ``localisation``, for parts of an utterance. This package imports only ``lib``.
"""

from nes2net.metrics.classes import (
    ClassRates,
    accuracy,
    auroc,
    balanced_accuracy,
    class_rates,
    confusion_matrix,
    fpr95,
    macro_f1,
    one_against_rest_eer,
)
from nes2net.metrics.dcf import compute_act_dcf, compute_cllr, compute_min_cllr, compute_min_dcf
from nes2net.metrics.eer import compute_eer, det_curve, roc_points
from nes2net.metrics.intervals import (
    Comparison,
    bootstrap_interval,
    bootstrap_values,
    compare_systems,
    percentiles,
    rate_interval,
    wilson_interval,
)
from nes2net.metrics.rates import Rates, compute_rates
from nes2net.metrics.sasv import SasvWeights, compute_a_dcf, compute_sasv_eers, compute_t_eer
from nes2net.metrics.tables import OfficialRow, ctrsvdd_rows
from nes2net.metrics.tdcf import (
    ASVSPOOF5_WEIGHTS,
    AsvErrorRates,
    TandemWeights,
    asv_error_rates,
    compute_min_tdcf,
    tandem_weights,
    tdcf_curve,
)

__all__ = [
    "ASVSPOOF5_WEIGHTS",
    "AsvErrorRates",
    "ClassRates",
    "Comparison",
    "OfficialRow",
    "Rates",
    "SasvWeights",
    "TandemWeights",
    "accuracy",
    "asv_error_rates",
    "auroc",
    "balanced_accuracy",
    "bootstrap_interval",
    "bootstrap_values",
    "class_rates",
    "compare_systems",
    "compute_a_dcf",
    "compute_act_dcf",
    "compute_cllr",
    "compute_eer",
    "compute_min_cllr",
    "compute_min_dcf",
    "compute_min_tdcf",
    "compute_rates",
    "compute_sasv_eers",
    "compute_t_eer",
    "confusion_matrix",
    "ctrsvdd_rows",
    "det_curve",
    "fpr95",
    "macro_f1",
    "one_against_rest_eer",
    "percentiles",
    "rate_interval",
    "roc_points",
    "tandem_weights",
    "tdcf_curve",
    "wilson_interval",
]
