"""`nes2net calibrate marks`: how often Perth is found in genuine recordings."""

import json
import shutil

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.marks import reader

from nes2net.scoring.marks import FalseAlarms, measure_false_alarms


def write_tones(folder, number):
    """Short recordings with different values, named by their numbers."""
    folder.mkdir()
    for index in range(number):
        noise = np.random.default_rng(index).standard_normal(1600)
        soundfile.write(folder / f"{index:02}.wav", 0.1 * noise, 16000)
    return folder


@pytest.fixture(scope="module")
def genuine(tmp_path_factory, needs_perth):
    return write_tones(tmp_path_factory.mktemp("genuine") / "real", 19)


def test_the_threshold_is_an_order_statistic_but_at_least_one_half(genuine):
    read = reader("perth")
    values = [read(path).facts["value"] for path in genuine.iterdir()]
    alarms = measure_false_alarms(str(genuine), "5%", False)
    assert alarms.threshold == max(max(values), 0.5)
    assert alarms.n == 19
    assert alarms.seen == 0
    assert alarms.expected == 1 / 20


def test_share_and_range_are_the_golden_ones(golden, genuine):
    (expected,) = [row for row in json.loads((golden / "rules.json").read_text())["threshold"] if row["n"] == 19]
    alarms = measure_false_alarms(str(genuine), "5%", False)
    assert alarms.expected == pytest.approx(expected["rate"], abs=1e-12)
    assert [alarms.low, alarms.high] == pytest.approx(expected["range95"], abs=1e-12)


def test_ten_recordings_are_too_few_for_five_percent(needs_perth, tmp_path):
    with input_error("N = 10 recordings are too few for 5 %: at least 19 are needed"):
        measure_false_alarms(str(write_tones(tmp_path / "real", 10)), "5%", False)


@pytest.mark.slow
def test_99_recordings_suffice_for_one_percent_but_98_do_not(needs_perth, golden, tmp_path):
    folder = write_tones(tmp_path / "real", 99)
    rows = json.loads((golden / "rules.json").read_text())["threshold"]
    (expected,) = [row for row in rows if row["n"] == 99]
    alarms = measure_false_alarms(str(folder), "1%", False)
    assert alarms.n == 99
    assert alarms.expected == pytest.approx(expected["rate"], abs=1e-12)
    assert [alarms.low, alarms.high] == pytest.approx(expected["range95"], abs=1e-12)
    (folder / "98.wav").unlink()
    with input_error("N = 98 recordings are too few for 1 %: at least 99 are needed"):
        measure_false_alarms(str(folder), "1%", False)


@pytest.mark.parametrize("alpha, needed", [("4%", 24), ("1%", 99)])
def test_too_few_recordings_are_refused_with_the_number_that_is_needed(genuine, alpha, needed):
    with input_error(f"N = 19 recordings are too few for . %: at least {needed} are needed"):
        measure_false_alarms(str(genuine), alpha, False)


def test_silent_recordings_do_not_count(genuine, tmp_path):
    folder = shutil.copytree(genuine, tmp_path / "real")
    soundfile.write(folder / "silent.wav", np.zeros(16000), 16000)
    assert measure_false_alarms(str(folder), "5%", False).n == 19


def test_a_damaged_file_is_named_and_does_not_count(genuine, tmp_path, capsys):
    folder = shutil.copytree(genuine, tmp_path / "real")
    (folder / "00a.wav").write_bytes(b"RIFF")
    assert measure_false_alarms(str(folder), "5%", False).n == 19
    assert f"note: perth is not read in damaged or missing files: {folder / '00a.wav'}\n" in capsys.readouterr().err


def test_without_the_reader_that_is_told(tmp_path, without_readers, refused):
    without_readers()
    message = refused(["calibrate", "marks", write_tones(tmp_path / "real", 1), "--save", tmp_path / "marks.json"])
    assert "perth is not read: this copy of nes2net lacks the folder apps/marks" in message
    assert not (tmp_path / "marks.json").exists()


def test_a_recording_that_is_probably_marked_is_named(genuine, golden, tmp_path):
    folder = shutil.copytree(genuine, tmp_path / "real")
    shutil.copyfile(golden / "perth_marked_4.flac", folder / "a.flac")
    with input_error(r"probably marked: \S+a\.flac: remove them, or add `keep_marked`"):
        measure_false_alarms(str(folder), "5%", False)
    assert measure_false_alarms(str(folder), "5%", True).threshold > 0.999


def test_the_saved_file_gives_readings_a_false_alarm_rate(genuine, golden, output, tmp_path):
    path = tmp_path / "marks.json"
    printed = output(["calibrate", "marks", genuine, "--save", path, "--alpha", "5%"]).out
    assert "false alarms on your genuine recordings: at most 5 % expected, 0 of 19 seen" in printed
    finding = reader("perth", path)(golden / "perth_marked_4.flac")
    assert str(finding).endswith("1.000 (false alarms on your genuine recordings: at most 5 % expected, 0 of 19 seen)")
    facts = finding.facts
    assert facts["threshold"] == json.loads(path.read_text())["threshold"]
    assert set(facts["false_alarms"]) == {"n", "seen", "expected", "low", "high"}


def test_with_a_threshold_of_its_own_no_reading_is_unclear(needs_perth, golden, tmp_path):
    alarms = FalseAlarms(n=19, seen=0, expected=0.05, low=0.001, high=0.2, threshold=0.9)
    path = tmp_path / "marks.json"
    path.write_text(alarms.model_dump_json())
    assert reader("perth", path)(golden / "perth_marked_0_noise_20_dB.flac").facts["state"] == "not_found"
    assert reader("perth")(golden / "perth_marked_0_noise_20_dB.flac").facts["state"] == "unclear"


@pytest.mark.parametrize("text", ["{}", "[1", '{"threshold": NaN}'])
def test_another_file_is_refused(needs_perth, text, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(text)
    with input_error(r"a\.json: not measured false alarms"):
        reader("perth", path)
