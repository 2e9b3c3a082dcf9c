"""a-DCF and t-EER of ASVspoof 5, track 2: the quick forms equal the definitions; bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net import metrics
from nes2net.lib.errors import InputError

tied = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=15)


def share(condition):
    return np.mean(np.asarray(condition, dtype=float))


@given(tied, tied, tied)
def test_a_dcf_of_distinct_scores_is_its_definition(target, nontarget, spoof):
    costs = {
        t: 0.9405 * share(np.array(target) <= t)
        + 10 * 0.0095 * share(np.array(nontarget) > t)
        + 10 * 0.05 * share(np.array(spoof) > t)
        for t in (*target, *nontarget, *spoof)
    }
    a_dcf, threshold = metrics.compute_a_dcf(target, nontarget, spoof, method="distinct")
    assert a_dcf == pytest.approx(min(costs.values()) / 0.595, abs=1e-12)
    assert costs[threshold] == pytest.approx(min(costs.values()), abs=1e-12)


def test_a_useless_system_costs_one_at_most():
    assert metrics.compute_a_dcf([0.0], [0.0], [1.0]) == (1.0, -0.001)
    assert metrics.compute_a_dcf([0.0], [0.0], [1.0], method="distinct") == (pytest.approx(0.9405 / 0.595), 1.0)


@settings(max_examples=25)
@given(tied, tied, st.tuples(tied, tied, tied))
def test_t_eer_of_distinct_scores_is_its_definition(bonafide, spoof, asv):
    """For each ASV threshold, the countermeasure's threshold where the errors are nearest; of these, the nearest."""
    cm_miss, cm_alarm, _ = metrics.det_curve(bonafide, spoof)
    found = []  # |misses − nontargets|, and the rate of accepted spoofs
    for threshold in (min(map(min, asv)) - 0.001, *sorted(score for scores in asv for score in scores)):
        miss, *accepted = share(np.array(asv[0]) <= threshold), *(share(np.array(a) > threshold) for a in asv[1:])
        misses, nontargets, spoofs = cm_miss + (1 - cm_miss) * miss, (1 - cm_miss) * accepted[0], cm_alarm * accepted[1]
        at = np.argmin(np.abs(misses - 0.5 * (nontargets + spoofs)))
        found.append((abs(misses[at] - nontargets[at]), spoofs[at]))
    nearest = min(distance for distance, _ in found)
    # Where thresholds are equally near, the last bit decides.
    allowed = [spoofs for distance, spoofs in found if distance <= nearest + 1e-12]
    t_eer = metrics.compute_t_eer(bonafide, spoof, *asv, method="distinct")
    assert min(abs(t_eer - spoofs) for spoofs in allowed) < 1e-12


def test_sasv_metrics_need_finite_scores_of_each_class():
    for metric, scores, message in (
        (metrics.compute_a_dcf, ([], [0.0], [1.0]), "no target scores"),
        (metrics.compute_a_dcf, ([1.0], [np.nan], [1.0]), "nontarget scores are NaN"),
        (metrics.compute_t_eer, ([1.0], [0.0], [1.0], [0.0], []), "no ASV spoof scores"),
        (metrics.compute_t_eer, ([], [0.0], [1.0], [0.0], [0.0]), "no bona fide scores"),
        (metrics.compute_t_eer, ([0.0], [1.0], [1.0], [0.0], [-1.0]), "t-EER has no value by the rule of ASVspoof 5"),
        (metrics.compute_t_eer, ([1.0], [0.0], [1.0], [0.0], [0.0], "plan"), "known: asvspoof5, distinct"),
    ):
        with pytest.raises(InputError, match=message):
            metric(*scores)
