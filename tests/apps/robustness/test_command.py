"""`nes2net robustness`: the report's files, what is printed, and the exit status."""

from dataclasses import replace

import pytest
from builders.files import read_json

from nes2net.scoring.decisions import ScoredBy, fit


@pytest.fixture
def on_dev(corpus):
    return f"robustness asvspoof2019_la {corpus} --split dev"


@pytest.fixture
def computing(on_dev, spectral_detector, tmp_path):
    spectral_detector.save(tmp_path / "detector.pth")
    flags = f"--model {tmp_path}/detector.pth --out {tmp_path}/out --samples 8000 --device cpu --workers 0"
    return f"{on_dev} {flags} --resamples 20 --conditions"


def test_the_command_reports_each_condition(computing, tmp_path, command):
    out = tmp_path / "out"
    words = f"{computing} white:5 gain"
    status, printed, _ = command(words)
    rows = [line.split()[0] for line in printed.splitlines() if line.startswith(("clean ", "white", "gain"))]
    assert status == 0
    assert rows[0] == "clean"
    assert sorted(rows[1:]) == ["gain:-10", "gain:-20", "gain:-30", "white:5"]
    source = read_json(out / "report.json")["sources"]["clean"]
    assert source["checkpoint"] == f"{tmp_path}/detector.pth"
    assert source["protocol"] == "4sec"


WORDS = "gain:-20 --operating-point cost:1,10,0.5 --calibration {}.json"


@pytest.fixture
def of_detector(spectral_detector, tmp_path, monkeypatch):
    """What the calibration own.json was learned from; other.json is of another detector."""
    monkeypatch.chdir(tmp_path)
    calibration = fit([3.0, 2.0, 1.0, -0.5], [-2.0, -1.0, 0.0, 1.5])
    of_detector = ScoredBy(spectral_detector.fingerprint(), "float32", 8000)
    for name, scored_by in (("own", of_detector), ("other", replace(of_detector, fingerprint="0" * 64))):
        replace(calibration, scored_by=scored_by).save(tmp_path / f"{name}.json")
    return of_detector


def test_a_threshold_that_cannot_be_chosen_is_refused_before_scoring(computing, of_detector, tmp_path, refused):
    refused(f"{computing} {WORDS.format('other')}", "the calibration does not belong to this detector")
    refused(f"{computing} gain:-20 --operating-point fa:1%", "1 % of 6 spoofed trials is less than one trial")
    assert not (tmp_path / "out").exists()


def test_the_threshold_of_a_calibration_is_used(computing, of_detector, tmp_path, output):
    out = output(f"{computing} {WORDS.format('own')}").out
    assert "operating point cost:1,10,0.5 of the calibration" in out
    result = read_json(tmp_path / "out" / "report.json")
    assert result["calibration"]["detector"] == of_detector.fingerprint
