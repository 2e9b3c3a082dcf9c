"""Operating points: their names, and the thresholds on a calibration's own trials."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nes2net.lib.errors import InputError
from nes2net.metrics.rates import compute_rates
from nes2net.scoring.decisions import Decider, Llrs, OperatingPoint, fit

VALUES = st.lists(st.integers(-30, 30).map(lambda n: n / 4), min_size=1, max_size=60)  # with ties
RATES = st.sampled_from([1, 2.5, 5, 10, 33, 50, 90])


@pytest.mark.parametrize("name", ["eer", "cost:1,10,0.95", "fa:1%", "miss:0.5%", "cost:1,1,0.5", "cost:1,1,0.99999999"])
def test_names_are_read_back(name):
    assert OperatingPoint.parse(name).name == name
    assert OperatingPoint.parse(OperatingPoint.parse(f" {name} ").name) == OperatingPoint.parse(name)


@pytest.mark.parametrize(
    "text",
    [
        *("err", "eer:1", "fa", "fa:1", "fa:0%", "fa:100%", "fa:nan%", "cost:1,1", "cost:1,1,1", "cost:1,1,0"),
        *("cost:0,1,0.5", "cost:inf,1,0.5", "cost:1,nan,0.5", "cost:a,b,c", "cost:1e308,1e-308,0.5"),
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="an operating point is 'eer', 'cost:CMISS,CFA,PRIOR'"):
        OperatingPoint.parse(text)


def threshold(name, bonafide, spoof):
    return OperatingPoint.parse(name).threshold(Llrs(np.sort(bonafide), np.sort(spoof)))


@given(VALUES, VALUES, RATES)
def test_a_rate_is_kept_and_no_other_threshold_keeps_it_better(bonafide, spoof, rate):
    for kind, of in (("fa", spoof), ("miss", bonafide)):
        if len(of) * rate / 100 < 1:
            with pytest.raises(InputError, match="less than one trial"):
                threshold(f"{kind}:{rate}%", bonafide, spoof)
            continue
        found = threshold(f"{kind}:{rate}%", bonafide, spoof)
        rates = compute_rates(bonafide, spoof, found)
        beyond = math.nextafter(found, -math.inf if kind == "fa" else math.inf)
        further = compute_rates(bonafide, spoof, beyond)
        held, worse = (rates.false_alarm, further.false_alarm) if kind == "fa" else (rates.miss, further.miss)
        assert held <= rate / 100 + 1e-12 < worse


@settings(max_examples=20)
@given(VALUES, VALUES)
def test_misses_and_false_alarms_are_nearest_to_equal(bonafide, spoof):
    rates = compute_rates(bonafide, spoof, threshold("eer", bonafide, spoof))
    every = [compute_rates(bonafide, spoof, at) for at in (*bonafide, *spoof)]
    nearest = min(abs(one.miss - one.false_alarm) for one in every)
    assert abs(rates.miss - rates.false_alarm) == pytest.approx(nearest)


@given(st.floats(0.01, 0.99), st.floats(0.1, 50), st.floats(0.1, 50))
def test_the_bayes_threshold_makes_the_expected_costs_equal(prior, c_miss, c_fa):
    llr = OperatingPoint("cost", c_miss, c_fa, prior).threshold(None)
    odds = math.exp(llr) * prior / (1 - prior)
    posterior = odds / (1 + odds)
    assert c_miss * posterior == pytest.approx(c_fa * (1 - posterior))
    assert str(OperatingPoint("cost").threshold(None)) == "0.0"  # not -0
    with pytest.raises(InputError, match="holds no scores to read the operating point 'eer' off"):
        OperatingPoint("eer").threshold(None)


@pytest.mark.parametrize("number", [3, 30, 100, 236, 300])
def test_the_rate_that_a_message_names_is_enough(number):
    llrs = Llrs(np.arange(number), np.arange(number))
    with pytest.raises(InputError, match="less than one trial") as refused:
        OperatingPoint("fa", rate=1e-6).threshold(llrs)
    named = str(refused.value).split("at least ")[1].split(" %")[0]
    assert math.isfinite(OperatingPoint.parse(f"fa:{named}%").threshold(llrs))


@pytest.mark.parametrize("offset", [0.0, 0.3, -700.0])
@pytest.mark.parametrize("point", ["eer", "fa:25%", "miss:10%", "cost:1,10,0.95"])
def test_the_score_threshold_and_its_print_admit_what_the_decider_admits(point, offset):
    rng = np.random.default_rng(3)
    # Few distinct scores, so that many lie exactly at the threshold.
    bonafide = rng.normal(1, 1, 60).round(1) + offset
    spoof = rng.normal(-1, 1, 60).round(1) + offset
    decider = Decider(fit(bonafide, spoof), operating_point=OperatingPoint.parse(point))
    scores = np.concatenate((bonafide, spoof))
    beside = [np.nextafter(decider.threshold, -np.inf), decider.threshold, np.nextafter(decider.threshold, np.inf)]
    assert [decider(score).decision for score in beside] == ["spoof", "bonafide", "bonafide"]
    accepted = [decider(score).decision == "bonafide" for score in scores]
    printed = decider.describe()[0]
    score = float(printed.partition("(a score of ")[2].partition(")")[0])
    llr = float(printed.partition("an llr of ")[2].partition(" on")[0])
    assert accepted == (scores >= score).tolist() == (decider.calibration(scores) >= llr).tolist()
