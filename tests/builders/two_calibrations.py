"""A small detector, and two calibrations of its windows: by one a call is bona fide, by the other it is spoof."""

import numpy as np
import torch

from builders.small_parts import SPECTRAL_MODEL
from nes2net import Detector
from nes2net.scoring.decisions import LinearCalibration, ScoredBy
from nes2net.scoring.decisions.calibration import Llrs


def write_detector_and_calibrations(folder, call, window, hop):
    """Write ``small.pth``, ``bonafide.json`` and ``spoof.json`` for ``call`` (N,) at 16 kHz; times are in seconds."""
    torch.manual_seed(0)
    detector = Detector.from_config(SPECTRAL_MODEL).eval()
    detector.save(folder / "small.pth")
    scores = detector.score_track(call, 16000, window=window, hop=hop).scores
    spread = np.random.default_rng(0).standard_normal(100)
    llrs = Llrs(np.sort(3 + spread), np.sort(-3 + spread))
    llrs.spoof[0] = -100.0  # so that no score lies outside of those of the trials
    llrs.bonafide[-1] = 100.0
    scored_by = ScoredBy(detector.fingerprint(), "float32", round(16000 * window))
    for name, offset in (("bonafide", 3.0), ("spoof", -3.0)):
        offset -= 20.0 * float(np.median(scores))
        calibration = LinearCalibration((20.0,), offset, 0.5, 1e-6, ("small",), llrs=llrs, scored_by=scored_by)
        calibration.save(folder / f"{name}.json")
