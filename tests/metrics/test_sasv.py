"""a-DCF and t-EER of ASVspoof 5, track 2: a useless system, and bad input."""

import numpy as np
from builders import input_error

from nes2net.metrics import compute_a_dcf, compute_t_eer


def test_the_a_dcf_of_a_system_that_separates_nothing_is_1_at_a_threshold_below_all_scores():
    assert compute_a_dcf([0.0], [0.0], [1.0]) == (1.0, -0.001)


def test_a_dcf_refuses_nontarget_scores_that_are_nan():
    with input_error("nontarget scores are NaN"):
        compute_a_dcf([1.0], [np.nan], [1.0])


def test_t_eer_is_refused_if_bona_fide_scores_lie_below_those_of_spoofs():
    with input_error("t-EER has no value"):
        compute_t_eer([0.0], [1.0], [1.0], [0.0], [-1.0])
