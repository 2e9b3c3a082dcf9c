"""`nes2net predict`: tables, JSON lines, tracks, pictures and unreadable files."""

import csv
import json
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from builders.scripts import python
from builders.unfit import write_unfit
from builders.voices import voice
from conftest import load_detector, seeded_detector

from nes2net import Detector
from nes2net.models.backends.asp_mlp import AspMlp
from nes2net.scoring.decisions import CANNOT_TELL, Decider, OperatingPoint, Population, ScoredBy, Traits, fit, load

FILES = ["speech/a.wav", "speech/b.flac", "speech/more/c.WAV"]


@pytest.fixture(scope="module")
def speech_folder(tmp_path_factory):
    """A folder with a checkpoint, three recordings, one of them in a subfolder, and two of two minutes and a second."""
    speech_folder = tmp_path_factory.mktemp("predict")
    seeded_detector({"frontend": "lfcc", "backend": "asp_mlp"}).save(speech_folder / "model.pth")
    for name in ("speech/more", "empty"):
        (speech_folder / name).mkdir(parents=True)
    for seed, (name, seconds) in enumerate(zip([*FILES, "long.flac"], (1.5, 0.5, 1.5, 121))):
        soundfile.write(speech_folder / name, 0.448 * voice(seed, seconds), 16000)
    soundfile.write(speech_folder / "long.mp3", *soundfile.read(speech_folder / "long.flac"))
    (speech_folder / "speech" / "notes.txt").write_text("name: tiny\n")
    return speech_folder


@pytest.fixture(scope="module")
def detector(speech_folder):
    return load_detector(speech_folder / "model.pth")


@pytest.fixture
def predict(speech_folder, monkeypatch, output):
    monkeypatch.chdir(speech_folder)
    return lambda *words, status=0: output(["predict", *words, "--model", "model.pth"], status)


@pytest.fixture
def rows(predict):
    """A function that returns the rows of JSON, and what is on standard error."""

    def run(*words, status=0):
        out, err = predict(*words, "--json", status=status)
        return [json.loads(line) for line in out.splitlines()], err

    return run


def test_what_a_part_prints_while_it_computes_is_no_json(rows, monkeypatch):
    embed = AspMlp.embed

    def prints(*arguments):
        print("embedding")
        return embed(*arguments)

    monkeypatch.setattr(AspMlp, "embed", prints)
    (row,), err = rows("speech/b.flac")
    assert row["file"] == "speech/b.flac"
    assert "embedding\n" in err


def table(out):
    """The lines that are no sentence about the scores."""
    return [line for line in out.splitlines() if not line.startswith("# ")]


def close(score):
    return pytest.approx(score, abs=1e-6)


def test_the_table_has_the_score_and_the_duration_of_each_file_in_order(predict, detector):
    _, *lines = table(predict("speech").out)
    for line, file, seconds in zip(lines, FILES, ("1.50", "0.50", "1.50"), strict=True):
        assert line.split()[:4] == [file, f"{detector.score(file):.4f}", seconds, "s"]


def test_pictures_of_recordings_of_the_same_name_are_numbered(predict, speech_folder, tmp_path):
    namesake = shutil.copy(speech_folder / FILES[0], tmp_path)
    predict(FILES[0], namesake, "--plot", tmp_path / "pictures")
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["a.png", "a_2.png"]


@pytest.mark.slow
def test_the_flags_track_and_plot_change_no_figure_of_a_row(rows, calibrations, tmp_path):
    """With --samples, without further flags, and with a calibration; below and above two minutes."""
    for words in (["--samples", "16000"], [], ["--calibration", calibrations / "second.json"]):
        for name in ("speech/a.wav", "long.flac"):
            (alone,), _ = rows(name, *words)
            for shown in (["--track"], ["--plot", tmp_path / "a.png"]):
                (row,), _ = rows(name, *words, *shown)
                assert row | alone == row


def test_a_row_states_the_share_of_the_recording_that_was_judged(rows):
    gaps = rows("long.flac", "--hop", "40.375")[0][0]
    assert gaps["judged"] == pytest.approx(4 * 4.0375 / 121)


@pytest.fixture
def call(tmp_path):
    """A recording of two channels, and the voice in each."""
    voices = [voice(1, 3.0), voice(2, 3.0)]
    soundfile.write(tmp_path / "call.wav", np.stack(voices, 1), 16000, subtype="FLOAT")
    return tmp_path / "call.wav", voices


def test_a_recording_of_different_channels_is_not_decided(rows, call, calibrations):
    (row,), _ = rows(call[0], "--calibration", calibrations / "known.json")
    assert row["decision"] == CANNOT_TELL
    assert row["reason"].startswith("its 2 channels differ")


def test_the_flag_channel_each_scores_and_decides_on_every_audio_channel(rows, call, detector, calibrations):
    path, voices = call
    channel_rows, _ = rows(path, "--channel", "each", "--calibration", calibrations / "known.json")
    assert [row["channel"] for row in channel_rows] == [0, 1]
    assert all(row["decision"] != CANNOT_TELL for row in channel_rows)
    assert [row["score"] for row in channel_rows] == close([detector.score(samples, 16000) for samples in voices])


def test_an_audio_channel_that_a_recording_lacks_is_an_error_in_its_row(rows):
    assert "there is no channel 2" in rows("speech/a.wav", "--channel", "2", status=1)[0][0]["error"]


def test_a_csv_row_has_the_figures_of_the_json_row(predict, rows, calibrations):
    words = ["long.flac", "--calibration", calibrations / "second.json"]
    (csv_row,) = csv.DictReader(predict(*words, "--csv").out.splitlines())
    (json_row,), _ = rows(*words)
    assert float(csv_row["llr"]) == json_row["llr"]
    assert float(csv_row["rests_on"]) == json_row["along"]["rests_on"]


def test_a_csv_row_shows_a_file_name_without_what_a_terminal_would_obey(predict, speech_folder):
    name = "a\x1b[2J\x9b\n\udce9.wav"
    shutil.copy(speech_folder / FILES[0], speech_folder / name)
    try:
        (row,) = csv.DictReader(predict(name, "--csv").out.splitlines())
    finally:
        (speech_folder / name).unlink()
    assert row["file"] == r"a\x1b[2J\x9b\n\udce9.wav"


def test_the_csv_row_of_an_unreadable_file_has_its_error_in_place_of_a_score(predict):
    (row,) = csv.DictReader(predict("gone.wav", "--csv", status=1).out.splitlines())
    assert (row["score"], row["error"]) == ("", "not found")


def test_a_recording_is_decided_bona_fide_if_its_score_is_at_least_the_threshold(rows):
    (first,), _ = rows("speech/a.wav")
    for threshold, decision in ((first["score"], "bonafide"), (first["score"] + 0.01, "spoof")):
        (row,), _ = rows("speech/a.wav", "--threshold", threshold)
        assert (row["decision"], row["threshold"]) == (decision, threshold)


def test_silence_is_not_decided_by_a_threshold(rows, tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(32000), 16000)
    (row,), _ = rows(tmp_path / "silence.wav", "--threshold", "0")
    assert (row["decision"], row["reason"]) == (CANNOT_TELL, "digital silence")


def test_an_unfit_recording_has_no_llr_and_no_probability_and_is_not_decided_for_a_stated_reason(
    rows, calibrations, tmp_path
):
    reasons = write_unfit(tmp_path)
    unfit_rows, _ = rows(*reasons, "--calibration", calibrations / "known.json", "--abstain", "0", "--track")
    for row, reason in zip(unfit_rows, reasons.values(), strict=True):
        assert (row["llr"], row["probability"], row["decision"]) == (None, None, CANNOT_TELL)
        assert row["reason"].startswith(reason)


def test_the_score_of_a_recording_longer_than_two_minutes_is_that_of_the_method_score_track(rows, detector):
    """With its stretch of lowest score, and a note of the window and the hop."""
    (long,), err = rows("long.flac", "--hop", "4")
    track = detector.score_track("long.flac", hop=4)
    assert long["score"] == close(track.score)
    facts = {"method": "track", "window": 64600 / 16000, "hop": 4.0, "windows": len(track)}
    assert long | facts == long
    start, end, lowest = track.lowest
    assert long["lowest"] == close({"score": lowest, "start": start, "end": end})
    assert "long.flac lasts 2 min 1 s: its score is the mean over windows of 4.04 s, one every 4 s" in err


def test_an_mp3_file_longer_than_two_minutes_is_scored_in_windows(rows):
    """Only decoding tells its length."""
    (long,), _ = rows("long.mp3", "--hop", "40")
    assert (long["method"], long["windows"]) == ("track", 4)


def test_a_recording_of_two_minutes_is_scored_in_one_piece(rows, detector, speech_folder, tmp_path):
    path = tmp_path / "short.flac"
    soundfile.write(path, soundfile.read(speech_folder / "long.flac", frames=120 * 16000)[0], 16000)
    (row,), _ = rows(path)
    assert (row["method"], row["duration"]) == ("whole", 120)
    assert row["score"] == close(detector.score(path))


def test_with_samples_full_a_recording_longer_than_two_minutes_is_scored_in_one_piece(rows, detector):
    (row,), _ = rows("long.flac", "--samples", "full")
    assert (row["method"], row["duration"], row["judged"]) == ("whole", 121, 1)
    assert row["score"] == close(detector.score("long.flac"))


@pytest.fixture(scope="module")
def calibrations(detector, tmp_path_factory):
    """Calibrations of the detector, of the first second, of another one, of frames, and one that knows nothing."""
    folder = tmp_path_factory.mktemp("calibrations")
    rng = np.random.default_rng(0)
    embeddings = detector.embeddings(torch.from_numpy(rng.standard_normal((40, 16000), np.float32)), "backend")
    levels = -20 + rng.standard_normal(40)
    traits = [Traits(1.5, level, 3750.0, embedding) for level, embedding in zip(levels, embeddings.detach().numpy())]
    bare = [embedding._replace(embedding=None) for embedding in traits]
    scored_by = ScoredBy(detector.fingerprint(), "float32", None)
    numbers = {"num_bonafide": 3, "num_spoof": 4, "date": "2026-01-02T03:04:05"}
    calibration = fit([1.0, 0.5, -0.25], [-1.0, 0.25, 0.0, -2.0])
    calibration = replace(
        calibration, scored_by=scored_by, trained_on={"corpus": "asvspoof2019_la", "phase": "dev", **numbers}
    )
    for name, changes in {
        "known": {},
        "second": {"scored_by": replace(scored_by, num_samples=16000)},
        "population": {"population": Population.fit(bare, np.arange(40) < 20)},
        "embeddings": {"population": Population.fit(traits, np.arange(40) < 20)},
        "other": {"scored_by": ScoredBy("0" * 64, "bfloat16", None)},
        "frames": {"scored_by": replace(scored_by, resolution_ms=20.0)},
        "unknown": {"scored_by": None},
    }.items():
        replace(calibration, **changes).save(folder / f"{name}.json")
    return folder


def test_the_decision_of_a_row_and_its_basis_are_those_of_the_class_decider(rows, calibrations):
    """The row also has the name of the calibration."""
    path = calibrations / "known.json"
    point = "cost:1,10,0.95"
    (row,), _ = rows("speech/a.wav", "--calibration", path, "--prior", "0.9", "--operating-point", point)
    decider = Decider(load(path), 0.9, OperatingPoint.parse(point))
    expected = decider(row["score"]).row()
    assert {key: row[key] for key in expected} == expected
    assert row["basis"] == json.loads(json.dumps(decider.basis()))
    assert row["calibration"] == str(path)


def test_the_table_has_the_figures_and_the_decision_of_the_json_row(predict, rows, calibrations):
    words = ["speech/a.wav", "--calibration", calibrations / "known.json"]
    (row,), _ = rows(*words)
    titles, line = table(predict(*words).out)
    assert titles.split() == ["file", "score", "duration", "llr", "probability", "decision"]
    shown = [f"{row['score']:.4f}", f"{row['duration']:.2f}", "s", f"{row['llr']:.4f}", f"{row['probability']:.4f}"]
    assert line.split()[1:7] == [*shown, row["decision"]]


def test_a_recording_unlike_the_calibration_is_decided_only_with_abstain_0(rows, calibrations, speech_folder, tmp_path):
    """The recording is 30 dB below those of the calibration."""
    samples = soundfile.read(speech_folder / "speech" / "a.wav")[0]
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, samples * 10 ** (-30 / 20), 16000, subtype="FLOAT")
    words = ["--calibration", calibrations / "embeddings.json", "--abstain"]
    (row,), _ = rows(quiet, *words, "0.05")
    assert row["decision"] == CANNOT_TELL
    assert "its embedding" in row["reason"]
    (row,), _ = rows(quiet, *words, "0")
    assert row["decision"] != CANNOT_TELL


@pytest.mark.parametrize("name", ["population", "embeddings"])
def test_a_calibration_of_too_few_recordings_for_abstain_is_noted(predict, calibrations, name):
    flags = ["--calibration", calibrations / f"{name}.json", "--abstain", "0.01"]
    assert "'s 40 recordings are too few for --abstain 0.01" in predict("speech/a.wav", *flags).out


def test_predict_scores_as_many_samples_as_the_scores_of_the_calibration_were_made_from(rows, calibrations, detector):
    (row,), _ = rows("speech/a.wav", "--calibration", calibrations / "second.json")
    assert (row["method"], row["samples"]) == ("beginning", 16000)
    assert row["score"] == close(detector.score("speech/a.wav", num_samples=16000))


def test_a_calibration_of_scores_of_another_length_or_of_an_unknown_detector_is_noted(predict, calibrations):
    for words, note in (
        (["second.json", "--samples", "full"], "learned from scores of the first 1 s, not of whole recordings"),
        (["unknown.json"], "does not say which detector's scores it was learned from"),
    ):
        name, *flags = words
        assert note in predict("speech/a.wav", "--calibration", calibrations / name, *flags).out


HOUR = """
import sys
from nes2net.cli.main import main
from nes2net.lib.process.this_process import peak_bytes

for name in ("minutes.flac", "hour.flac"):
    assert main(["predict", name, *sys.argv[1:]]) == 0
    print(peak_bytes())
"""


@pytest.mark.weekly
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts this process alone")
@pytest.mark.parametrize(
    "flags, shown",
    [
        ("--model model.pth --hop 12", "mean of 301 windows"),
        ("--model frames.pth --judgement frames --threshold 0 --rttm a.rttm", "frames of 10 ms"),
    ],
)
def test_predict_takes_at_most_100_mb_more_memory_for_an_hour_than_for_ten_minutes(speech_folder, flags, shown):
    """Fifty minutes in float32 are 192 MB."""
    minute = 0.1 * np.random.default_rng(2).standard_normal(60 * 16000)
    for name, minutes in (("minutes.flac", 10), ("hour.flac", 60)):
        soundfile.write(speech_folder / name, np.tile(minute, minutes), 16000)
    Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"}).save(speech_folder / "frames.pth")
    printed = python("-c", HOUR, *flags.split(), "--device", "cpu", "--plot", "pictures", cwd=speech_folder)
    assert shown in printed
    usual, peak = (int(line) for line in printed.splitlines() if line.isdecimal())
    assert peak - usual < 100e6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_each_file_that_cannot_be_scored_has_a_reason_in_the_table(predict, speech_folder, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "cut.wav").write_bytes((speech_folder / FILES[0]).read_bytes()[:20044])
    os.mkfifo(folder / "pipe.wav")
    (folder / "device.flac").symlink_to("/dev/zero")
    (folder / "gone.mp3").symlink_to(folder / "nowhere.mp3")
    (folder / "round.ogg").symlink_to(folder / "round.ogg")
    (folder / "text.wav").write_text("no audio at all")
    out, err = predict(folder, "none.wav", status=1)
    assert err == "7 of 7 files could not be scored: see their errors\n"
    reasons = ["is cut off: its header announces 24,000 samples, 10,000 are there", "not a regular file", "not found"]
    reasons += ["not a regular file", "cannot be opened", "read by neither", "not found"]
    assert all(reason in line for line, reason in zip(table(out)[1:], reasons, strict=True))


def test_a_link_from_a_folder_to_itself_is_not_followed(predict, speech_folder, tmp_path):
    shutil.copy(speech_folder / FILES[0], tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert len(table(predict(tmp_path).out)) == 2


def test_control_characters_in_the_names_of_files_are_escaped(predict, speech_folder, tmp_path):
    shutil.copy(speech_folder / FILES[0], tmp_path / "a\x1b[2J\na.wav")
    (tmp_path / "b\x1b[2J\nb.wav").write_text("no audio at all")
    _, scored, failed = table(predict(tmp_path, status=1).out)
    assert r"a\x1b[2J\na.wav" in scored
    assert r"b\x1b[2J\nb.wav" in failed
    assert (scored + failed).isprintable()


OTHER = "the calibration does not belong to this detector: it was learned from scores of "


FRAMES = "was learned from scores of frames of 20 ms, not of recordings"


def test_unfit_flags_and_files_of_predict_are_refused_in_one_line_before_any_row(
    refused, speech_folder, calibrations, monkeypatch
):
    monkeypatch.chdir(speech_folder)
    for words, messages in (
        ("speech/a.wav --samples all", ["--samples must be a number of at least 1, 4sec or full, not 'all'"]),
        ("speech/a.wav --hop 8 --window 1", ["--window and --hop would change nothing", "add --track"]),
        ("speech/a.wav speech --plot a.png", ["there are 4 recordings: name a folder"]),
        ("speech/a.wav empty", ["empty: holds no audio files"]),
        (f"speech/a.wav --calibration {calibrations}/other.json", [OTHER, "000000000000 (bfloat16)", "(float32)"]),
        (f"speech/a.wav --calibration {calibrations}/frames.json", [FRAMES, "--judgement"]),
        ("none.wav --plot model.pth/a.png", ["cannot be written", "--plot"]),
    ):
        refused(f"predict --model model.pth {words}", *messages, silent=True)
