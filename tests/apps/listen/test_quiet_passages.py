"""Quiet passages of a call count only if the calibration was fitted to windows, as docs/decisions.md says."""

import csv
import shlex

import pytest
import soundfile
from builders import hears_a_tone
from builders.answers import RATE, listened, speech
from builders.live import lines_of
from builders.manual import blocks
from conftest import REPOSITORY

from nes2net.cli.main import main

pytestmark = pytest.mark.slow

ABSTAIN = 0.1
SECONDS = 16.0
#: Starts in seconds of windows of 4.04 s in a call.
STARTS = (0, 4.04, 8.08, 11.9)


def call(seed, is_fake=False):
    """Somebody who walks away from the microphone after five to nine seconds."""
    samples = speech(SECONDS, (0.0, SECONDS) if is_fake else None, seed)
    samples[(5 + seed % 5) * RATE :] *= 0.1
    return samples


@pytest.fixture(scope="module")
def calls_folder(tmp_path_factory):
    """A detector, labelled calls, and calibrations of their windows, by the page's commands, and of their beginnings."""
    folder = tmp_path_factory.mktemp("calls")
    hears_a_tone.detector().save(folder / "CKPT.pth")
    rows = [("path", "label", "id", "start", "duration")]
    for is_fake, name, label in ((False, "REAL", "bonafide"), (True, "FAKE", "spoof")):
        (folder / name).mkdir()
        for number in range(8):
            path = f"{name}/{number}.wav"
            soundfile.write(folder / path, call(100 * is_fake + number, is_fake), RATE)
            rows += [(path, label, f"{path}/{start}", start, 4.0375) for start in STARTS]
    with (folder / "windows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    page = REPOSITORY / "docs" / "decisions.md"
    [block] = [block for block in blocks(page, "bash") if "windows.csv" in block]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in block.splitlines():
            assert main([*shlex.split(line)[1:], "--device", "cpu", "--workers", "0"]) == 0
        words = "calibrate recordings REAL FAKE --model CKPT.pth --device cpu --workers 0 --save beginnings.json"
        assert main(words.split()) == 0
    return folder


@pytest.fixture(scope="module")
def unusual_windows(calls_folder):
    """Name of a calibration → the lines of the windows that do not count, of 39 of three new calls."""
    unusual = {"beginnings": [], "calibration": []}
    for seed in (51, 52, 53):
        soundfile.write(calls_folder / "new.wav", call(seed), RATE)
        for name in unusual:
            lines = lines_of(listened(calls_folder / "new.wav", calls_folder / f"{name}.json", ABSTAIN), "score")
            assert len(lines) == 13
            unusual[name] += [line for line in lines if "unusual" in line]
    return unusual


def test_with_a_calibration_of_beginnings_quiet_passages_drop_out_of_the_decision(unusual_windows):
    assert len(unusual_windows["beginnings"]) > 39 / 2
    assert all(line["start"] > 1 for line in unusual_windows["beginnings"])
    assert "windows with such a level are unlike" in unusual_windows["beginnings"][-1]["message"]


def test_with_a_calibration_of_windows_most_quiet_passages_count(unusual_windows):
    assert len(unusual_windows["calibration"]) < len(unusual_windows["beginnings"]) / 2
