"""`nes2net robustness`: the report's files, what is printed, and the exit status."""

from dataclasses import replace

import pytest
from builders import small_parts

from nes2net import Detector
from nes2net.apps.export.onnx import export_onnx
from nes2net.scoring.decisions import ScoredBy, fit


@pytest.fixture
def calibration():
    return fit([3.0, 2.0, 1.0, -0.5], [-2.0, -1.0, 0.0, 1.5])


@pytest.fixture
def computing(corpus, spectral_detector, tmp_path):
    spectral_detector.save(tmp_path / "detector.pth")
    flags = f"--model {tmp_path}/detector.pth --out {tmp_path}/out --samples 8000 --device cpu --workers 0"
    return f"robustness asvspoof2019_la {corpus} --split dev {flags} --resamples 20 --conditions"


def test_robustness_prints_the_given_operating_point_as_one_of_the_calibration(
    computing, calibration, spectral_detector, tmp_path, output
):
    scored_by = ScoredBy(spectral_detector.fingerprint(), "float32", 8000)
    replace(calibration, scored_by=scored_by).save(tmp_path / "c.json")
    out = output(f"{computing} gain:-20 --operating-point cost:1,10,0.5 --calibration {tmp_path}/c.json").out
    assert "operating point cost:1,10,0.5 of the calibration" in out


def test_robustness_refuses_a_false_alarm_rate_below_one_trial_before_scoring(computing, tmp_path, refused):
    refused(f"{computing} gain:-20 --operating-point fa:1%", "1 % of 6 spoofed trials is less than one trial")
    assert not (tmp_path / "out").exists()


def test_robustness_refuses_a_calibration_of_another_detector_before_scoring(computing, calibration, tmp_path, refused):
    replace(calibration, scored_by=ScoredBy("0" * 64, "float32", 8000)).save(tmp_path / "c.json")
    refused(f"{computing} gain:-20 --calibration {tmp_path}/c.json", "calibration does not belong to this detector")
    assert not (tmp_path / "out").exists()


def test_a_filter_of_an_even_number_of_taps_is_refused_before_scoring(computing, tmp_path, refused):
    refused(f"{computing} gain --attack malafide:512", "budget '512': write an odd number of taps")
    assert not (tmp_path / "out").exists()


@pytest.fixture(params=("onnx", "int8"))
def without_gradients(request, spectral_detector, tmp_path):
    """Flags of a detector whose gradient is missing."""
    if request.param == "onnx":
        pytest.importorskip("onnxruntime")
        export_onnx(spectral_detector, tmp_path / "detector.onnx")
        return f"--model {tmp_path}/detector.onnx"
    frontend = {"name": "wav2vec2", **small_parts.FRONTENDS["wav2vec2"]}
    Detector.from_config({"frontend": frontend, "backend": "mean_linear"}).save(tmp_path / "detector")
    return f"--model {tmp_path}/detector --dtype int8"


@pytest.mark.slow  # exports and quantises
def test_a_detector_without_gradients_is_attacked_from_another(
    without_gradients, corpus, spectral_detector, tmp_path, output, refused
):
    spectral_detector.save(tmp_path / "surrogate.pth")
    flags = f"{without_gradients} --out {tmp_path}/out --samples 8000 --device cpu --workers 0"
    command = f"robustness asvspoof2019_la {corpus} --split dev {flags} --resamples 20 --attack fgsm:40"
    refused(command, "or make the attacks on another detector, with --attack-from")
    out = output(f"{command} --attack-from {tmp_path}/surrogate.pth").out
    assert "attack_fgsm:40_from_surrogate" in out
    assert not (tmp_path / "out/scores/attack_fgsm_40.txt").exists()
