"""`nes2net robustness`: the report's files, what is printed, and the exit status."""

import json

import pytest

from nes2net.cli.main import main
from nes2net.decisions import ScoredBy, fit
from nes2net.detector import Detector


@pytest.fixture
def model(spectral_detector, tmp_path):
    spectral_detector.save(tmp_path / "detector.pth")
    return tmp_path / "detector.pth"


def run(corpus, *words):
    return main(["robustness", "asvspoof2019_la", str(corpus), "--split", "dev", *map(str, words)])


def computing(model, out):
    return ("--model", model, "--out", out, *"--samples 8000 --device cpu --workers 0 --resamples 20".split())


def test_a_report(model, corpus, tmp_path, capsys):
    out = tmp_path / "out"
    words = (*computing(model, out), "--conditions", "white:5", "gain")
    assert run(corpus, *words) == 0
    printed = capsys.readouterr()
    rows = [line.split()[0] for line in printed.out.splitlines() if line.startswith(("clean ", "white", "gain"))]
    assert rows[0] == "clean" and sorted(rows[1:]) == ["gain:-10", "gain:-20", "gain:-30", "white:5"]
    assert all(f"wrote {out}/report.{suffix}" in printed.err for suffix in ("html", "json", "md"))
    found = json.loads((out / "report.json").read_text())
    assert found["corpus"] == "asvspoof2019_la" and found["phase"] == "dev"
    assert found["origin"]["checkpoint"] == str(model) and found["origin"]["protocol"] == "4sec"
    before = (out / "report.html").read_bytes()
    assert run(corpus, *words) == 0
    assert (out / "report.html").read_bytes() == before
    assert run(corpus, *words, "noise:5") == 2
    assert "condition 'noise:5': needs MUSAN (openslr.org/17): name its folder with --musan" in capsys.readouterr().err


def test_the_list(corpus, capsys):
    assert run(corpus, "--list", "--conditions", "mp3", "telephone", "--trials", "6") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("asvspoof2019_la, phase dev: 6 of 12 trials") and lines[1].startswith("  mp3: ")
    assert lines[2] == "  telephone"
    assert run(corpus) == 2
    assert "name the detector with --model and a folder with --out" in capsys.readouterr().err
    assert run(corpus, "--list", "--conditions", "mp33") == 2
    assert "did you mean 'mp3'?" in capsys.readouterr().err
    assert run(corpus, "--list", "--trials", "1") == 2
    assert "--trials is at least 2" in capsys.readouterr().err


def test_the_threshold_of_a_calibration(model, corpus, tmp_path, capsys):
    detector = Detector.from_pretrained(model, "cpu")
    calibration = fit([3.0, 2.0, 1.0, -0.5], [-2.0, -1.0, 0.0, 1.5])
    own = ScoredBy(detector.fingerprint(), "float32", 8000)
    for name, scored_by in (("own", own), ("other", ScoredBy("0" * 64, "float32", 8000))):
        calibration.__class__(**{**vars(calibration), "scored_by": scored_by}).save(tmp_path / f"{name}.json")
    words = (*computing(model, tmp_path / "out"), "--conditions", "gain:-20")
    point = ("--operating-point", "cost:1,10,0.5")
    assert run(corpus, *words, *point, "--calibration", tmp_path / "other.json") == 2
    assert "the calibration does not belong to this detector" in capsys.readouterr().err
    assert run(corpus, *words, *point) == 2
    assert "give a --calibration, or take eer" in capsys.readouterr().err
    assert run(corpus, *words, "--operating-point", "fa:1%") == 2
    assert "1 % of 6 spoofed trials is less than one trial" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # before anything is scored
    assert run(corpus, *words, *point, "--calibration", tmp_path / "own.json") == 0
    assert "operating point cost:1,10,0.5 of the calibration" in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert found["calibration"]["detector"] == detector.fingerprint()
