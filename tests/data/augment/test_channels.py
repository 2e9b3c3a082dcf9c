"""A low-pass filter keeps what is below its band, removes what is above, and delays nothing."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from nes2net.data.augment.channels import CUTOFFS, LowPass, low_pass


def sine(frequency, num_samples=16000):
    return np.sin(2 * np.pi * frequency * np.arange(num_samples) / 16000).astype(np.float32)


@pytest.mark.parametrize("cutoff", [3400.0, 4000.0, 7500.0])
@pytest.mark.parametrize("distance, gain", [(-400, 1), (0, 0.5), (400, 0)])
def test_a_low_pass_has_gain_1_below_its_cutoff_one_half_at_it_and_0_above(cutoff, distance, gain):
    x = sine(min(cutoff + distance, 7990))
    middle = slice(200, -200)
    assert_allclose(low_pass(x, cutoff)[middle], gain * x[middle], atol=0.01)


@pytest.mark.parametrize(
    "num_samples, dtype", [(1, np.float64), (50, np.float32), (101, np.float64), (1000, np.float32)]
)
def test_a_low_pass_keeps_the_length_and_type_of_a_waveform(num_samples, dtype):
    x = np.random.default_rng(0).standard_normal(num_samples).astype(dtype)
    y = low_pass(x, 3700)
    assert y.shape == x.shape
    assert y.dtype == dtype


def drawn_cutoffs(band):
    """The cut-off frequencies in Hz for those of 400 utterances that are filtered."""
    impulse = np.zeros(8000, np.float32)
    impulse[4000] = 1
    rng = np.random.default_rng(0)
    change = LowPass(band, probability=0.3)
    cutoffs = []
    for _ in range(400):
        y = change(impulse, rng)
        if y is not impulse:
            response = np.abs(np.fft.rfft(y))
            cutoffs.append(np.argmax(response < 0.5) * 2)  # bins of 2 Hz
    return cutoffs


def test_the_probability_of_a_low_pass_is_the_share_of_the_utterances_that_it_filters():
    assert 90 < len(drawn_cutoffs("telephone")) < 150


@pytest.mark.parametrize("band", CUTOFFS)
def test_cut_offs_of_a_low_pass_are_drawn_from_the_whole_of_its_band(band):
    low, high = CUTOFFS[band]
    cutoffs = drawn_cutoffs(band)
    assert low - 2 <= min(cutoffs) < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < max(cutoffs) <= high + 2
