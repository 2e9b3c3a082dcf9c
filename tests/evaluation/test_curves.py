"""DET curves thinned for a plot, and bins of reliability against a plain loop."""

import numpy as np
import pytest
from numpy.random import default_rng

from nes2net import metrics
from nes2net.evaluation.curves import RATES, reliability, thin_det
from nes2net.scoring.decisions import Llrs


def test_a_det_curve_thinned_to_few_points_departs_from_the_whole_one_by_less_than_half_a_percent():
    """It has fewer than 3,000 points for 100,000 scores; false alarms of 0.1 to 90 % are compared."""
    rng = default_rng(1)
    bonafide = rng.normal(2, 1, 20000)
    spoof = rng.normal(0, 1, 80000)
    misses, false_alarms, _ = metrics.det_curve(bonafide, spoof)
    thin = thin_det(bonafide, spoof)
    assert thin[0].size < 3000
    # The curve departs from the lines between kept points by less than a plot could show.
    shown = np.interp(false_alarms, thin[1][::-1], thin[0][::-1])
    inside = (false_alarms > 1e-3) & (false_alarms < 0.9)
    assert np.abs(shown - misses)[inside].max() < 0.005


def test_reliability_bins_equal_a_direct_computation():
    """Number of trials, share of bona fide trials with Wilson's interval, and mean predicted probability."""
    rng = default_rng(0)
    llrs = Llrs(rng.normal(1, 2, 70), rng.normal(-1, 2, 143))
    trials = sorted([(llr, 1) for llr in llrs.bonafide] + [(llr, 0) for llr in llrs.spoof])
    bins = reliability(llrs)
    assert [b.num_trials for b in bins] == [22] * 3 + [21] * 7
    for b in bins:
        ratios, labels = np.transpose(trials[: b.num_trials])
        trials = trials[b.num_trials :]
        assert b.share == np.mean(labels)
        odds = 70 / 143 * np.exp(ratios)
        assert b.predicted == pytest.approx(np.mean(odds / (1 + odds)), abs=1e-12)
        assert (b.low, b.high) == metrics.wilson_interval(b.share, b.num_trials)


def test_trials_with_equal_log_likelihood_ratios_share_a_reliability_bin():
    """So the bin of the 80 trials whose ratio is 0 is larger than the others."""
    llrs = Llrs(np.repeat([0.0, 3.0], 40), np.repeat([-3.0, 0.0], 40))
    lowest, middle, highest = reliability(llrs)
    assert (lowest.share, lowest.num_trials) == (0, 40)
    assert (middle.share, middle.num_trials) == (0.5, 80)
    assert (highest.share, highest.num_trials) == (1, 40)


def test_the_rates_at_the_ticks_of_an_axis_increase():
    assert list(RATES) == sorted({*RATES})
