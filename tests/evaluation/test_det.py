"""DET curves thinned for a plot."""

import numpy as np
import pytest

from nes2net import metrics
from nes2net.evaluation.det import RATES, det_range, thinned_det


@pytest.mark.parametrize("eer, high", [(0.001, 0.4), (0.17, 0.4), (0.27, 0.6), (0.5, 0.95), (0.96, 0.98), (1.0, 0.999)])
def test_the_axes_end_well_above_the_worst_eer(eer, high):
    curve = np.array([0.0, eer, 1.0]), np.array([1.0, eer, 0.0])
    low, found = det_range([curve], [0.0005, eer])
    assert found == high
    assert RATES[0] <= low <= 0.05


def test_a_thinned_det_curve_lies_on_the_curve_and_keeps_its_corners():
    rng = np.random.default_rng(1)
    bonafide, spoof = rng.normal(2, 1, 20000), rng.normal(0, 1, 80000)
    frr, far, _ = metrics.det_curve(bonafide, spoof)
    thin = thinned_det(bonafide, spoof)
    assert set(zip(*(rate.tolist() for rate in thin))) <= set(zip(frr.tolist(), far.tolist()))
    assert thin[0].size < 3000
    # The curve departs from the lines between kept points by less than a plot could show.
    shown = np.interp(far, thin[1][::-1], thin[0][::-1])
    inside = (far > 1e-3) & (far < 0.9)
    assert np.abs(shown - frr)[inside].max() < 0.005
