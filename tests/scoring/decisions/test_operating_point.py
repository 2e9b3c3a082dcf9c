"""Operating points: their names, and the thresholds on a calibration's own trials."""

import math

import numpy as np
import pytest
from builders import input_error
from hypothesis import given
from hypothesis import strategies as st

from nes2net.metrics.rates import compute_rates
from nes2net.scoring.decisions import Decider, Llrs, OperatingPoint, fit

MANY_VALUES = st.lists(st.integers(-30, 30).map(lambda n: n / 4), min_size=10, max_size=60)  # with ties
RATES = st.sampled_from([10, 33, 50, 90])  # in percent: at least one of ten trials


@pytest.mark.parametrize("name", ["eer", "cost:1,10,0.95", "fa:1%", "miss:0.5%", "cost:1,1,0.5", "cost:1,1,0.99999999"])
def test_an_operating_point_is_parsed_from_its_own_name(name):
    assert OperatingPoint.parse(name).name == name


def test_spaces_around_the_name_of_an_operating_point_are_ignored():
    assert OperatingPoint.parse(" fa:1% ") == OperatingPoint.parse("fa:1%")


@pytest.mark.parametrize(
    "text",
    [
        *("err", "eer:1", "fa", "fa:1", "fa:0%", "fa:100%", "fa:nan%", "cost:1,1", "cost:1,1,1", "cost:1,1,0"),
        *("cost:0,1,0.5", "cost:inf,1,0.5", "cost:1,nan,0.5", "cost:a,b,c", "cost:1e308,1e-308,0.5"),
    ],
)
def test_a_text_that_names_no_operating_point_is_refused(text):
    with input_error("an operating point is 'eer', 'cost:CMISS,CFA,PRIOR'"):
        OperatingPoint.parse(text)


def threshold(name, bonafide, spoof):
    return OperatingPoint.parse(name).threshold(Llrs(np.sort(bonafide), np.sort(spoof)))


@pytest.mark.parametrize(
    "name, bonafide, spoof, counted",
    [("fa:1%", [1.0] * 100, [0.0] * 99, "99 spoofed"), ("miss:1%", [1.0] * 99, [0.0] * 100, "99 bona fide")],
)
def test_a_rate_of_less_than_one_trial_of_its_class_is_refused(name, bonafide, spoof, counted):
    with input_error(f"1 % of {counted} trials is less than one trial: use a rate of at least 1.1 %"):
        threshold(name, bonafide, spoof)


@pytest.mark.parametrize("kind, measure, beyond", [("fa", "false_alarm", -math.inf), ("miss", "miss", math.inf)])
@given(MANY_VALUES, MANY_VALUES, RATES)
def test_the_threshold_of_an_error_rate_is_the_last_at_which_the_rate_is_not_exceeded(
    kind, measure, beyond, bonafide, spoof, rate
):
    """At the next floating-point number it is."""
    at_point = threshold(f"{kind}:{rate}%", bonafide, spoof)
    rate_at_point = getattr(compute_rates(bonafide, spoof, at_point), measure)
    assert rate_at_point <= rate / 100 + 1e-12
    rates_beyond = compute_rates(bonafide, spoof, math.nextafter(at_point, beyond))
    assert getattr(rates_beyond, measure) > rate / 100 + 1e-12


@given(st.floats(0.01, 0.99), st.floats(0.1, 50), st.floats(0.1, 50))
def test_at_the_bayes_threshold_both_errors_have_the_same_expected_cost(prior, c_miss, c_fa):
    llr = OperatingPoint("cost", c_miss, c_fa, prior).threshold(None)
    odds = math.exp(llr) * prior / (1 - prior)
    posterior = odds / (1 + odds)
    assert c_miss * posterior == pytest.approx(c_fa * (1 - posterior))


@pytest.mark.parametrize("offset", [0.0, 0.3, -700.0])
@pytest.mark.parametrize("point", ["eer", "fa:25%", "miss:10%", "cost:1,10,0.95"])
def test_the_printed_thresholds_accept_exactly_the_scores_that_are_decided_as_bona_fide(point, offset):
    rng = np.random.default_rng(3)
    # Few distinct scores, so that many lie exactly at the threshold.
    bonafide = rng.normal(1, 1, 60).round(1) + offset
    spoof = rng.normal(-1, 1, 60).round(1) + offset
    decider = Decider(fit(bonafide, spoof), operating_point=OperatingPoint.parse(point))
    scores = np.concatenate((bonafide, spoof))
    accepted = [decider(score).decision == "bonafide" for score in scores]
    printed = decider.describe()[0]
    score = float(printed.partition("(a score of ")[2].partition(")")[0])
    llr = float(printed.partition("an llr of ")[2].partition(" on")[0])
    assert accepted == (scores >= score).tolist() == (decider.calibration(scores) >= llr).tolist()
