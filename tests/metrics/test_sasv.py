"""a-DCF and t-EER of ASVspoof 5, track 2: a useless system, and bad input."""

import numpy as np
import pytest

from nes2net import metrics
from nes2net.lib.errors import InputError


def test_a_useless_system_costs_one_at_most():
    assert metrics.compute_a_dcf([0.0], [0.0], [1.0]) == (1.0, -0.001)


def test_sasv_metrics_need_finite_scores_of_each_class():
    for metric, scores, message in (
        (metrics.compute_a_dcf, ([], [0.0], [1.0]), "no target scores"),
        (metrics.compute_a_dcf, ([1.0], [np.nan], [1.0]), "nontarget scores are NaN"),
        (metrics.compute_t_eer, ([1.0], [0.0], [1.0], [0.0], []), "no ASV spoof scores"),
        (metrics.compute_t_eer, ([], [0.0], [1.0], [0.0], [0.0]), "no bona fide scores"),
        (metrics.compute_t_eer, ([0.0], [1.0], [1.0], [0.0], [-1.0]), "t-EER has no value by the rule of ASVspoof 5"),
    ):
        with pytest.raises(InputError, match=message):
            metric(*scores)
