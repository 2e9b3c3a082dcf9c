"""RawBoost: equal to the published code and to a plain rendering with SciPy, and its properties."""

import random

import numpy as np
import pytest
from _plain_rawboost import PlainRawBoost  # of scripts/benchmarks
from builders import golden, input_error
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.random import default_rng
from numpy.testing import assert_allclose, assert_array_equal

from nes2net.data.augment import RawBoostParameters, rawboost
from nes2net.data.augment.rawboost import ALGORITHMS, design_notch_filters, filter_powers

pytestmark = pytest.mark.filterwarnings("error")

TOLERANCE = 1e-6


def noise(length, peak=0.5, seed=0, dtype=np.float32):
    x = default_rng(seed).standard_normal(length)
    return (x * (peak / np.abs(x).max())).astype(dtype)


def whole(right_halves):
    """All taps of symmetric filters given by their right halves."""
    return np.concatenate([right_halves[..., :0:-1], right_halves], axis=-1)


# ---- the published code's outputs


GOLDEN = golden.read("rawboost")
WAVES = GOLDEN["arrays"]


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_figures_of_the_output_of_rawboost_equal_those_of_the_published_code(algo):
    """Type, length, ends, peak and energy; afterwards, each generator gives the published next number."""
    cases = [case for case in GOLDEN["cases"] if case["algo"] == algo]
    assert cases
    for case in cases:
        rng = np.random.RandomState(case["seed"])
        gate_rng = random.Random(case["seed"])
        parameters = dict(case.get("override", {}))
        parameters.update({name: case[name] for name in case if name.endswith("_ratio")})
        y = rawboost(WAVES[f"in_{case['wave']}"], algo, rng, gate_rng=gate_rng, **parameters)
        assert str(y.dtype) == case["dtype"]
        assert len(y) == case["n"]
        assert rng.random_sample() == case["np_next_rand"]
        assert gate_rng.random() == case["py_next_random"]
        assert_allclose(y[:5], case["first5"], rtol=0, atol=TOLERANCE)
        assert_allclose(y[-5:], case["last5"], rtol=0, atol=TOLERANCE)
        assert np.abs(y).max() == pytest.approx(case["absmax"], abs=TOLERANCE)
        assert np.sum(y.astype(np.float64) ** 2) == pytest.approx(case["sumsq"], rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("name", [name for name in WAVES if name.startswith("algo")])
def test_every_sample_of_the_output_of_rawboost_equals_that_of_the_published_code(name):
    algo, _, wave = name.split("_")
    y = rawboost(WAVES[f"in_{wave}"], int(algo.removeprefix("algo")), np.random.RandomState(0))
    assert_allclose(y, WAVES[name], rtol=0, atol=TOLERANCE)


def test_the_taps_of_drawn_notch_filters_equal_those_of_the_published_rawboost():
    rng = np.random.RandomState(2)
    filters, _ = design_notch_filters(rng.random((1, 16)), np.zeros((1, 2)), RawBoostParameters(), 16000)
    assert_allclose(whole(filters)[0], WAVES["genNotchCoeffs_defaults_seed2"], rtol=0, atol=1e-14)


def test_a_waveform_filtered_by_given_notch_taps_equals_that_of_the_published_rawboost():
    taps = WAVES["genNotchCoeffs_defaults_seed2"]
    filtered = filter_powers(WAVES["in_short400"], taps[None, len(taps) // 2 :], np.float64)
    assert_allclose(filtered, WAVES["filterFIR_w_short400_b"], rtol=0, atol=1e-14)


# ---- SciPy


PARAMETERS = [
    {},
    {"N_f": 1, "nBands": 1},
    {"nBands": 12, "minCoeff": 90, "maxCoeff": 250},  # more taps than the 1024 points on which the gain is read off
    {"minG": -10, "maxG": 10, "minBiasLinNonLin": 0, "maxBiasLinNonLin": 3},
    {"minCoeff": 1, "maxCoeff": 3, "P": 100, "g_sd": 0.3, "SNRmin": -5, "SNRmax": 0},
    {"minF": 300, "maxF": 3400, "minBW": 10, "maxBW": 4000},
]


@pytest.mark.parametrize(
    ("algo", "peak", "parameters"),
    [
        *((algo, peak, {}) for algo in range(1, 10) for peak in (0.1, 3.0)),
        # The algorithms from 4 on combine the first three.
        *((algo, 0.9, changes) for algo in (1, 2, 3) for changes in PARAMETERS[1:]),
    ],
)
def test_rawboost_equals_its_formulas_computed_with_scipy(algo, parameters, peak):
    """Also in the type of the waveform and in the state of the generator afterwards."""
    for length in (2, 37, 6001):
        x = noise(length, peak, seed=algo)
        draws = np.random.RandomState(length)
        plain = np.random.RandomState(length)
        y = rawboost(x, algo, draws, **parameters)
        expected = PlainRawBoost(plain, RawBoostParameters(**parameters))(x, algo)
        assert y.dtype == expected.dtype
        assert_allclose(y, expected, rtol=0, atol=TOLERANCE)
        for mine, published in zip(draws.get_state(), plain.get_state()):  # with the normal kept for the next call
            assert_array_equal(mine, published)


@pytest.mark.parametrize("algo", range(1, 10))
def test_rawboost_in_float64_at_another_rate_equals_its_formulas_computed_with_scipy(algo):
    x = noise(9000, 0.9, dtype=np.float64)
    y = rawboost(x, algo, np.random.RandomState(1), sample_rate=8000, maxF=4000)
    expected = PlainRawBoost(np.random.RandomState(1), RawBoostParameters(maxF=4000), sample_rate=8000)(x, algo)
    assert y.dtype == np.float64
    assert_allclose(y, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("peak", [0.5, 1.0])
def test_rawboost_in_single_precision_is_accurate_for_square_waves(peak):
    """By algorithm 1, to 1e-6. A square wave has the most energy for its peak."""
    x = (peak * np.sign(np.sin(np.arange(40000) * 0.03 + 0.01))).astype(np.float32)
    for seed in range(5):
        expected = PlainRawBoost(np.random.RandomState(seed), RawBoostParameters())(x, 1)
        assert_allclose(rawboost(x, 1, np.random.RandomState(seed)), expected, rtol=0, atol=TOLERANCE)


# ---- properties

waveforms = st.one_of(
    hnp.arrays(st.sampled_from([np.float32, np.float64]), st.integers(1, 40), elements=st.floats(-1, 1, width=32)),
    st.builds(
        noise,
        st.integers(1, 9000),
        st.sampled_from([1e-30, 1e-3, 1.0, 4.0]),
        st.integers(0, 99),
        st.sampled_from([np.float32, np.float64]),
    ),
)
generators = st.sampled_from([default_rng, np.random.RandomState])


def boosted(x, algo, make_rng, seed):
    return rawboost(x, algo, make_rng(seed), gate_rng=random.Random(seed))


calls = {"x": waveforms, "algo": st.sampled_from(ALGORITHMS), "make_rng": generators, "seed": st.integers(0, 2**32 - 1)}


def of_any_call(test):
    return settings(max_examples=40)(given(**calls)(test))


@of_any_call
def test_rawboost_gives_a_finite_waveform_of_the_same_length(x, algo, make_rng, seed):
    y = boosted(x, algo, make_rng, seed)
    assert y.shape == x.shape
    assert np.isfinite(y).all()


NORMALISED = [algo for algo in ALGORITHMS if algo not in (0, 3, 4, 6, 7, 11)]  # those without SSI noise in series


@settings(max_examples=100)
@given(**calls | {"algo": st.sampled_from(NORMALISED)})
def test_rawboost_by_an_algorithm_that_ends_with_normalisation_stays_within_full_scale(x, algo, make_rng, seed):
    assert np.abs(boosted(x, algo, make_rng, seed)).max() <= 1


@of_any_call
def test_rawboost_does_not_change_the_state_of_the_global_generators(x, algo, make_rng, seed):
    global_numpy = np.random.get_state()[1].copy()
    global_python = random.getstate()
    boosted(x, algo, make_rng, seed)
    assert_array_equal(np.random.get_state()[1], global_numpy)
    assert random.getstate() == global_python


def test_impulsive_noise_drawn_by_a_numpy_generator_changes_every_position_equally_often():
    x = np.ones(50) / 4
    rng = default_rng(0)
    changed = sum(rawboost(x, 2, rng, P=100) != x for _ in range(400))
    # 200 expected, standard deviation about 12
    assert changed.min() > 120
    assert changed.max() < 280


# ---- algorithms 10 and 11


@pytest.mark.parametrize("algo, equivalent, draws", [(10, 8, 2), (11, 4, 3)])
def test_rawboost_whose_random_gates_are_always_open_equals_the_algorithm_without_gates(algo, equivalent, draws):
    """By default, the NumPy generator draws the gates too, before anything else."""
    x = noise(3000)
    later = default_rng(5)
    later.random(draws)
    y = rawboost(x, algo, default_rng(5))
    assert_array_equal(y, rawboost(x, equivalent, later))


# ---- what is refused


@pytest.mark.parametrize(
    "x, expected",
    [
        (np.zeros(0, np.float32), "the waveform is empty"),
        (np.array([0.1, np.nan, 0.2], np.float32), "the waveform has NaN or infinite"),
        (np.zeros((2, 8), np.float32), r"the waveform has shape \(2, 8\)"),
        (np.zeros(8, np.int16), "the waveform is int16"),
    ],
)
def test_a_waveform_that_rawboost_cannot_use_is_refused(x, expected):
    with input_error(expected):
        rawboost(x, 0, default_rng(0))


@pytest.mark.parametrize(
    "parameters, expected",
    [
        ({"nBand": 3}, r"RawBoost has no setting 'nBand'; did you mean 'nBands'\?"),
        ({"N_f": 0}, "N_f must be a whole number from 1 to 20, not 0"),
        ({"minF": 5000, "maxF": 4000}, "minF=5000 is above maxF=4000"),
        ({"maxF": 9000}, "maxF=9000 lies above half the sampling rate of 16000 Hz; at most 8000 is possible"),
    ],
)
def test_settings_that_rawboost_cannot_use_are_refused(parameters, expected):
    with input_error(expected):
        rawboost(noise(9), 0, default_rng(0), **parameters)


@pytest.mark.parametrize("algo", [-1, 12, 2.5])
def test_an_unknown_algorithm_of_rawboost_is_refused(algo):
    with input_error("an integer from 0 to 11"):
        rawboost(noise(100), algo, default_rng(0))
