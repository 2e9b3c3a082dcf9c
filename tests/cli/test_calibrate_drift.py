"""`nes2net calibrate drift`: its exit status tells cron whether the calibration still holds."""

import pytest
import torch
from builders.dated_voices import write_voices
from builders.files import read_json
from builders.small_parts import SPECTRAL_MODEL

from nes2net import Detector
from nes2net.cli.main import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A calibration ``c.json`` of ``d.pth``, and folders of recordings that are the same, loud, or few."""
    folder = tmp_path_factory.mktemp("drift")
    for seed, (name, number, gain) in enumerate(
        [("real", 25, 1), ("fake", 25, 1), ("same", 20, 1), ("loud", 20, 7), ("few", 1, 1)]
    ):
        write_voices(folder / name, seed, number, lambda samples, gain=gain: gain * samples)
    for seed, name in enumerate("de"):
        torch.manual_seed(seed)
        Detector.from_config(SPECTRAL_MODEL).save(folder / f"{name}.pth")
    flags = f"--model {folder}/d.pth --device cpu --samples 8000 --workers 0 --allow-inverted --save {folder}/c.json"
    assert main(["calibrate", "recordings", f"{folder}/real", f"{folder}/fake", *flags.split()]) == 0
    return folder


@pytest.fixture
def drift(folder, monkeypatch, tmp_path, output):
    """A function that runs the command in ``folder``, which must end with this status; what it writes goes to the temporary folder."""
    monkeypatch.chdir(folder)

    def run(words, status=0):
        words = words.replace("OUT", str(tmp_path))
        return output(f"calibrate drift c.json {words} --model d.pth --device cpu", status)

    return run


@pytest.mark.slow
def test_without_drift_the_result_says_so_and_the_status_is_0(drift):
    assert drift("same --by week").out.startswith("no drift was found\n20 recordings, compared by 7 tests")


def test_drift_is_printed_with_its_trait_saved_as_json_and_drawn_as_svg_and_the_status_is_3(drift, tmp_path):
    out = drift("loud --save OUT/a/drift.json --plot OUT/drift.svg", status=3).out
    assert "drift: level: 100 % of the recordings lie outside of" in out
    saved = read_json(tmp_path / "a" / "drift.json")
    assert "level" in saved["drift"]
    assert len(saved["recordings"]) == 20
    assert "<svg" in (tmp_path / "drift.svg").read_text()


def test_too_few_recordings_to_show_drift_are_warned_of_and_the_status_is_1(drift):
    err = drift("few", status=1).err
    assert "warning: 1 recording is too few to show drift at --alpha 0.01: use at least" in err


def test_a_failed_file_gives_status_1_without_drift_and_3_with_drift(drift, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    drift("same OUT", status=1)
    drift("loud OUT", status=3)


def test_a_detector_other_than_that_of_the_calibration_is_refused(folder, monkeypatch, refused):
    monkeypatch.chdir(folder)
    words = "calibrate drift c.json same --model e.pth --device cpu"
    refused(words, "the calibration does not belong to this detector")


def test_the_calibration_that_drift_reads_is_refused_as_its_output(folder, monkeypatch, refused):
    monkeypatch.chdir(folder)
    refused("calibrate drift c.json same --model d.pth --save c.json", "c.json is one of the files that are read")
