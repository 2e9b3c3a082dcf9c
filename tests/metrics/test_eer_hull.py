"""The EER of the convex hull of the ROC curve (`rocch`): by brute force, and as published programs have it."""

import json
from fractions import Fraction

import pytest
from builders import SHARED
from hypothesis import given
from hypothesis import strategies as st

from nes2net.metrics import compute_eer, compute_min_cllr

tied_scores = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=12)


def rates_at_thresholds(bonafide, spoof):
    """(FRR, FAR) at every distinct threshold, and if all trials are rejected."""
    rates = [(Fraction(1), Fraction(0))]
    for threshold in {*bonafide, *spoof}:
        missed = sum(score < threshold for score in bonafide)
        accepted = sum(score >= threshold for score in spoof)
        rates.append((Fraction(missed, len(bonafide)), Fraction(accepted, len(spoof))))
    return rates


def eer_by_brute_force(bonafide, spoof):
    """The lowest point at which a line between any two points of the curve crosses FRR = FAR."""
    crossings = []
    rates = rates_at_thresholds(bonafide, spoof)
    for frr, false_accepts in rates:
        for other_frr, other_far in rates:
            gap = frr - false_accepts
            other_gap = other_frr - other_far
            if gap == 0:
                crossings.append(frr)
            elif gap < 0 < other_gap:
                crossings.append(frr - gap * (other_frr - frr) / (other_gap - gap))
    return float(min(crossings))


@given(tied_scores, tied_scores)
def test_the_eer_of_the_hull_equals_that_of_brute_force(bonafide, spoof):
    eer, _ = compute_eer(bonafide, spoof, "rocch")
    assert eer == pytest.approx(eer_by_brute_force(bonafide, spoof), abs=1e-12)


def test_the_threshold_of_the_hull_is_interpolated_along_the_edge_that_holds_the_eer():
    _, threshold = compute_eer([1.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 1.0], "rocch")
    assert threshold == pytest.approx(1.5)


def test_on_an_edge_that_ends_beyond_the_highest_score_the_threshold_is_the_highest_score():
    _, threshold = compute_eer([2.0, 2.5], [1.0, 3.0], "rocch")
    assert threshold == 3.0


@pytest.fixture
def llreval_cases(shared):
    """Nine sets of scores with the figures of llreval."""
    cases = json.loads((SHARED / "golden" / "originals" / "rocch_llreval.json").read_text())
    assert len(cases) == 9
    return cases


def test_the_eer_of_the_hull_equals_that_of_llreval(llreval_cases):
    for case in llreval_cases:
        eer, _ = compute_eer(case["bonafide"], case["spoof"], "rocch")
        assert eer == pytest.approx(case["rocch_eer"], abs=1e-9)


def test_min_cllr_equals_that_of_llreval(llreval_cases):
    for case in llreval_cases:
        min_cllr = compute_min_cllr(case["bonafide"], case["spoof"])
        assert min_cllr == pytest.approx(case["min_cllr"], abs=1e-9)
