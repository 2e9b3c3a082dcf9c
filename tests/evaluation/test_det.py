"""DET curves thinned for a plot."""

import numpy as np

from nes2net import metrics
from nes2net.evaluation.det import thinned_det


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
