"""How much one window of a stream may say."""

import math

import numpy as np
import pytest

from nes2net import decisions


@pytest.mark.parametrize("num_bonafide, num_spoof", [(40, 12), (12, 40), (25, 25)])
def test_a_window_says_at_most_what_the_smaller_class_supports(num_bonafide, num_spoof):
    """ln(n + 1) of the n trials of the smaller class; the specification says ln n (docs/deviations.md)."""
    rng = np.random.default_rng(0)
    bonafide = rng.normal(1, 1, num_bonafide)
    spoof = rng.normal(-1, 1, num_spoof)
    decider = decisions.Decider(decisions.fit(bonafide, spoof))
    bound = math.log(min(num_bonafide, num_spoof) + 1)
    highest = decisions.Evidence(decider, 4.0).add(4.0, 1e3).mean
    lowest = decisions.Evidence(decider, 4.0).add(4.0, -1e3).mean
    assert highest == pytest.approx(bound, abs=1e-12)
    assert lowest == pytest.approx(-bound, abs=1e-12)
