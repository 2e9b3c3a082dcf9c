"""Bins of reliability against a plain loop."""

import math

import numpy as np
import pytest

from nes2net.decisions import Llrs
from nes2net.evaluation.reliability import reliability


def test_bins_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    llrs = Llrs(rng.normal(1, 2, 70), rng.normal(-1, 2, 143))
    trials = sorted([(llr, 1) for llr in llrs.bonafide] + [(llr, 0) for llr in llrs.spoof])
    bins = reliability(llrs)
    assert len(bins) == 10 and [b.num_trials for b in bins] == [22] * 3 + [21] * 7
    for one in bins:
        part, trials = trials[: one.num_trials], trials[one.num_trials :]
        assert one.share == sum(label for _, label in part) / len(part)
        odds = [70 / 143 * math.exp(llr) for llr, _ in part]
        assert one.predicted == pytest.approx(sum(o / (1 + o) for o in odds) / len(part), abs=1e-12)
        assert one.low <= one.share <= one.high


def test_equal_ratios_share_a_bin():
    """In whichever order the trials stand, none of them tells bona fide from spoof."""
    llrs = Llrs(np.repeat([0.0, 3.0], 40), np.repeat([-3.0, 0.0], 40))
    assert [(b.share, b.num_trials) for b in reliability(llrs)] == [(0, 40), (0.5, 80), (1, 40)]
    [one] = reliability(Llrs(np.zeros(40), np.zeros(120)))
    assert (one.predicted, one.share, one.num_trials) == (0.25, 0.25, 160)


def test_true_ratios_are_reliable():
    """Of normal classes two apart the ratio of x is 2x, so almost all bins hold the diagonal."""
    rng = np.random.default_rng(1)
    bins = reliability(Llrs(2 * rng.normal(1, 1, 4000), 2 * rng.normal(-1, 1, 8000)))
    assert sum(one.low <= one.predicted <= one.high for one in bins) >= 9
    wrong = reliability(Llrs(8 * rng.normal(1, 1, 4000), 8 * rng.normal(-1, 1, 8000)))  # too sure
    assert sum(one.low <= one.predicted <= one.high for one in wrong) <= 6
