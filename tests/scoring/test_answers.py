"""The same recording gets the same kind of answer from Python, the command line, the page and a live channel."""

import numpy as np
import pytest
import soundfile
from builders.answers import ENTRANCES, LONGEST, SHORTEST, by_telephone, listened, predicted, speech, write_clips

from nes2net.cli.main import main
from nes2net.scoring.decisions import load

ABSTAIN = 0.05
LONG = 240.0
FAKE = (100.0, 123.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Clips, recordings, and the calibrations that the command makes of the clips: of windows, and of whole clips."""
    folder = tmp_path_factory.mktemp("answers")
    write_clips(folder)
    recordings = {"long": speech(LONG, FAKE, 7), "bonafide": speech(30.0, None, 8), "short": speech(3.0, None, 9)}
    recordings["call"] = by_telephone(speech(30.0, (0.0, 30.0), 10))
    for name, samples in recordings.items():
        soundfile.write(folder / f"{name}.wav", samples, 16000, subtype="FLOAT")
    words = ["calibrate", "recordings", folder / "real", folder / "fake", "--model", folder / "tone.pth"]
    words += ["--device", "cpu", "--workers", "0", "--save"]
    assert main([*map(str, words), str(folder / "windows.json")]) == 0
    assert main([*map(str, words), str(folder / "whole.json"), "--samples", "full"]) == 0
    return folder


def test_a_calibration_is_of_windows_unless_whole_clips_are_asked_for(made):
    """The detector has no score length, so a window is as long as its training crops, 4 s."""
    windows = load(made / "windows.json")
    whole = load(made / "whole.json")
    assert windows.scored_by.num_samples == 64600
    assert whole.scored_by.num_samples is None
    assert whole.population.durations == pytest.approx((SHORTEST, LONGEST), abs=0.01)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_calibration_of_whole_clips_decides_on_no_much_longer_recording(made, entrance):
    answer = ENTRANCES[entrance](made / "long.wav", made / "whole.json", ABSTAIN)
    assert (answer.decision, answer.probability) == ("cannot tell", None)
    assert answer.reason.startswith("calibrated on recordings of 1.4 to 3.7 s, each as a whole: calibrate on windows")


def test_predict_says_on_which_lengths_it_was_calibrated(made, capsys):
    for abstain in (ABSTAIN, 0.0):
        row = predicted(capsys, made / "long.wav", made / "whole.json", abstain)
        assert (row["decision"], row["probability"], row["llr"]) == ("cannot tell", None, None)
        assert row["reason"].startswith("calibrated on recordings of 1.4 to 3.7 s")
    row = predicted(capsys, made / "short.wav", made / "whole.json", ABSTAIN)
    assert row["decision"] == "bonafide"


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_fake_part_of_four_minutes_is_found_by_a_calibration_of_windows(made, entrance):
    assert ENTRANCES[entrance](made / "long.wav", made / "windows.json", ABSTAIN).decision == "spoof"
    assert ENTRANCES[entrance](made / "bonafide.wav", made / "windows.json", ABSTAIN).decision == "bonafide"


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_nothing_is_decided_on_a_call_that_is_unlike_the_calibration(made, entrance):
    answer = ENTRANCES[entrance](made / "call.wav", made / "windows.json", ABSTAIN)
    assert (answer.decision, answer.probability) == ("cannot tell", None)
    assert "calibration's recordings" in answer.reason


def test_the_first_lines_of_such_a_call_say_what_to_do(made):
    lines = listened(made / "call.wav", made / "windows.json", ABSTAIN)
    first, unjudged, *_ = lines
    assert first["event"] == "score"
    assert (first["llr"], first["probability"]) == (None, None)
    assert "calibration's recordings" in first["unusual"]
    assert unjudged["event"] == "unjudged"
    assert unjudged["message"] == "cannot tell of calls like this: calibrate on telephone calls"
    assert all("unusual" in line for line in lines if line["event"] == "score")


def test_a_channel_that_is_not_judged_for_ten_seconds_is_said_to_be(made, tmp_path):
    """Once, and again after it was judged."""
    talk = speech(8.0, None, 11)
    silence = np.zeros(16000 * 20, np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([talk, silence, talk, silence]), 16000)
    lines = listened(tmp_path / "a.wav", made / "windows.json", 0.0)
    unjudged = [line for line in lines if line["event"] == "unjudged"]
    assert [line["message"] for line in unjudged] == ["not judged for 10 s"] * 2
    assert all(line["reason"] for line in unjudged)


def test_a_row_says_which_part_each_number_is_of_and_which_number_decided(made, capsys):
    row = predicted(capsys, made / "long.wav", made / "windows.json", ABSTAIN)
    assert row["score_of"] == "the first 4.04 s"
    assert row["decided_by"].startswith("llr -")
    assert row["decided_by"].endswith(", the mean of 1:37–2:05")
    row = predicted(capsys, made / "bonafide.wav", made / "windows.json", ABSTAIN)
    assert row["decided_by"] == f"llr {row['llr']:.4f}, their mean"
    model = ["--model", str(made / "tone.pth"), "--device", "cpu", "--calibration", str(made / "windows.json")]
    assert main(["predict", str(made / "bonafide.wav"), *model]) == 0
    printed = capsys.readouterr().out
    assert f"by llr {row['llr']:.4f}, their mean, while the score is that of its first 4.04 s" in printed
    assert "# errors: 0 of the calibration's own 24 bona fide trials are called spoof, the best case" in printed
    assert "# errors: 0 of the calibration's own 24 spoof trials are called bona fide, the best case" in printed
