"""`nes2net predict`: tables, JSON lines, tracks, pictures and unreadable files."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from builders import PATIENCE
from matplotlib.image import imread

from nes2net import Detector
from nes2net.audio.decoders import libsndfile_blocks
from nes2net.cli.main import main
from nes2net.decisions import (
    CANNOT_TELL,
    Decider,
    LinearCalibration,
    OperatingPoint,
    Population,
    ScoredBy,
    Traits,
    fit,
    load,
)
from nes2net.scoring.track_plot import BONAFIDE


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a checkpoint and three recordings, one of them in a subfolder."""
    place = tmp_path_factory.mktemp("predict")
    torch.manual_seed(0)
    Detector.from_config({"frontend": "lfcc", "backend": "asp_mlp"}).save(place / "model.pth")
    rng = np.random.default_rng(0)
    (place / "speech" / "more").mkdir(parents=True)
    for name, length in (("a.wav", 24000), ("b.flac", 11200), ("more/c.WAV", 24000)):
        samples = 0.1 * rng.standard_normal(length)
        soundfile.write(place / "speech" / name, samples, 16000)
    (place / "speech" / "notes.txt").write_text("no audio")
    return place


@pytest.fixture
def predict(place, monkeypatch, capsys):
    monkeypatch.chdir(place)

    def run(*arguments):
        try:
            status = main(["predict", *arguments, "--model", "model.pth"])
        except SystemExit as stop:
            status = stop.code
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


@pytest.fixture
def detector(place):
    return Detector.from_pretrained(place / "model.pth", device="cpu")


FILES = ["speech/a.wav", "speech/b.flac", "speech/more/c.WAV"]


def test_the_table(predict, detector, place):
    status, out, err = predict("speech")
    assert status == 0 and not err
    meaning, titles, *rows = out.splitlines()
    assert "higher means more bona fide; it is no probability" in meaning
    assert titles.split() == ["file", "score", "duration"]
    assert [row.split()[0] for row in rows] == FILES
    for row, seconds in zip(rows, ("1.50", "0.70", "1.50")):
        name, score, duration, unit = row.split()[:4]
        assert float(score) == pytest.approx(detector.score(place / name), abs=1e-4)
        assert (duration, unit) == (seconds, "s")


def test_json_lines_in_the_order_given(predict, detector, place):
    status, out, _ = predict(*reversed(FILES), "--json", "--samples", "16000", "--batch-size", "2")
    assert status == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["file"] for row in rows] == FILES[::-1]
    for row in rows:
        assert row["score"] == pytest.approx(detector.score(place / row["file"], num_samples=16000), abs=1e-6)


@pytest.mark.parametrize("how", [["--json"], []])
@pytest.mark.parametrize("track", [[], ["--track"]])
def test_a_bad_file_has_a_row_with_the_reason(predict, place, tmp_path, how, track):
    whole = (place / FILES[0]).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:20044])
    files = [FILES[0], str(tmp_path / "cut.wav"), "none.wav", FILES[1]]
    status, out, err = predict(*files, *how, *track)
    assert status == 1 and err == "2 of 4 files could not be scored\n"
    reasons = ["is cut off: its header announces 24,000 samples, 10,000 are there", "not found"]
    if how:
        rows = [json.loads(line) for line in out.splitlines()]
        assert [row["file"] for row in rows] == files
        assert [row.get("error") for row in rows] == [None, *reasons, None]
        assert all(("score" in row) != ("error" in row) for row in rows)
    else:
        rows = out.splitlines()[2:]
        assert [row.split()[0] for row in rows] == files
        for row, reason in zip(rows[1:3], reasons):
            assert row.split()[1:3] == ["–", "–"] and row.endswith(reason)


@pytest.mark.parametrize("flags", [[], ["--samples", "16000"], ["--track"]])
def test_remarks(predict, tmp_path, flags):
    """Silence and 20 ms have scores like any other recording: the row says what they are, in text and JSON."""
    soundfile.write(tmp_path / "0.wav", np.zeros(24000), 16000)
    soundfile.write(tmp_path / "1.wav", 0.1 * np.random.default_rng(0).standard_normal(320), 16000)
    files = [str(tmp_path / "0.wav"), str(tmp_path / "1.wav"), FILES[0]]
    rows = [json.loads(line) for line in predict(*files, "--json", *flags)[1].splitlines()]
    assert rows[0]["remark"] == "digital silence" and "remark" not in rows[2]
    assert re.fullmatch(
        r"lasts 0.02 s(, repeated to .* s)?; in training the detector hears 4.04 s at a time", rows[1]["remark"]
    )
    assert ("repeated to 1.00 s" in rows[1]["remark"]) == ("--samples" in flags)
    lines = [line for line in predict(*files, *flags)[1].splitlines() if ".wav" in line]
    assert [row.get("remark", "") in line for row, line in zip(rows, lines)] == [True] * 3


def test_a_track(predict, detector, place):
    options = ("--track", "--window", "0.5", "--hop", "0.25")
    status, out, _ = predict(FILES[0], *options, "--json")
    row = json.loads(out)
    track = detector.score_track(place / FILES[0], window=0.5, hop=0.25)
    assert status == 0 and row["duration"] == 1.5 and row["window"] == 0.5
    assert row["times"] == pytest.approx(track.times.tolist())
    assert row["scores"] == pytest.approx(track.scores.tolist(), abs=1e-6)
    assert row["score"] == pytest.approx(float(track.scores.mean()), abs=1e-6)
    _, out, _ = predict(FILES[0], *options)
    lines = out.splitlines()[2:]
    assert "mean of 5 windows; the lowest, " in lines[0]
    assert [line.split()[:3] for line in lines[1:]] == [["at", f"{time:.2f}", "s"] for time in track.times]


def test_pictures_are_announced_after_the_table(predict, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    _, out, _ = predict(*FILES[:2], "--plot", str(tmp_path), "--window", "0.5")
    assert [line.split()[0] for line in out.splitlines()[2:]] == [*FILES[:2], "wrote", "wrote"]


def test_pictures(predict, place, tmp_path):
    status, out, err = predict("speech/a.wav", "--plot", str(tmp_path / "a.png"), "--window", "0.5")
    assert status == 0 and err == f"wrote {tmp_path / 'a.png'}\n"
    assert len(out.splitlines()) == 3  # the windows are lines with --track only
    height, width, _ = imread(tmp_path / "a.png").shape
    assert width > 1200 and height > 400
    assert predict("speech/a.wav", "--plot", str(tmp_path / "a.svg"))[0] == 0
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    shutil.copy(place / "speech" / "a.wav", tmp_path / "a.wav")
    assert predict("speech", str(tmp_path / "a.wav"), "speech/a.wav", "--plot", str(tmp_path / "pictures"))[0] == 0
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["a.png", "a_2.png", "b.png", "c.png"]
    status, _, err = predict("speech", "--plot", str(tmp_path / "a.png"))
    assert status == 2 and "there are 3 files: name a folder" in err


@pytest.fixture(scope="module")
def long_recording(place):
    """Noise of two minutes and a second."""
    path = place / "long.flac"
    soundfile.write(path, 0.1 * np.random.default_rng(1).standard_normal(121 * 16000), 16000)
    return path


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_a_recording_of_more_than_two_minutes(predict, detector, place, long_recording, tmp_path, suffix):
    """It is scored along its time, with a line that says so, in its place among short ones."""
    path = long_recording
    if suffix == "mp3":  # only decoding tells its length
        path = tmp_path / "long.mp3"
        soundfile.write(path, soundfile.read(long_recording)[0], 16000)
    status, out, err = predict("speech/a.wav", str(path), "speech/b.flac", "--hop", "4", "--json")
    assert status == 0 and err.count("\n") == 1
    assert f"long.{suffix} lasts 2 min 1 s: its score is the mean over windows of 4.04 s, one every 4 s" in err
    first, long, last = map(json.loads, out.splitlines())
    for row, name in ((first, "a.wav"), (last, "b.flac")):
        assert row["method"] == "whole" and "window" not in row
        assert row["score"] == pytest.approx(detector.score(place / "speech" / name), abs=1e-6)
    track = detector.score_track(path, hop=4)
    assert long["score"] == pytest.approx(track.score, abs=1e-6) and long["duration"] == track.duration
    facts = {"file": str(path), "method": "track", "window": 64600 / 16000, "hop": 4.0, "windows": len(track)}
    assert long | facts == long and not {"times", "scores"} & long.keys()
    start, end, lowest = track.lowest
    assert long["lowest"] == pytest.approx({"score": lowest, "start": start, "end": end}, abs=1e-6)
    status, out, _ = predict(str(path), "--hop", "4")
    assert status == 0 and len(out.splitlines()) == 3
    assert f"mean of {len(track)} windows; the lowest, {lowest:.4f}, at " in out


def test_a_long_recording_in_one_piece(predict, detector, long_recording):
    for flags, options, facts in (
        (["--samples", "full"], {}, {"method": "whole"}),
        (["--samples", "64600"], {"num_samples": 64600}, {"method": "beginning", "samples": 64600}),
    ):
        status, out, err = predict("long.flac", "--json", *flags)
        row = json.loads(out)
        assert status == 0 and not err and row | facts == row and row["duration"] == 121
        assert row["score"] == pytest.approx(detector.score(long_recording, **options), abs=1e-6)


def test_a_detector_that_reads_the_beginning_alone(place, capsys):
    small = {"encoder_layers": 1, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4}
    model = {"frontend": {"name": "whisper", "chunk_length": 1, **small}, "backend": "asp_mlp"}
    Detector.from_config(model).save(place / "whisper.pth")
    files = [str(place / name) for name in FILES[:2]]
    assert main(["predict", *files, "--model", str(place / "whisper.pth"), "--json"]) == 0
    out, err = capsys.readouterr()
    long, short = map(json.loads, out.splitlines())
    assert (long["method"], long["samples"], long["duration"]) == ("beginning", 16000, 1.5)
    assert short["method"] == "whole" and "samples" not in short
    assert err == "a.wav: the detector reads the first 1 s alone; --track scores all of it\n"


def test_two_minutes_are_scored_whole(predict, detector, long_recording, tmp_path):
    samples, _ = soundfile.read(long_recording, frames=120 * 16000)
    soundfile.write(tmp_path / "short.flac", samples, 16000)
    status, out, err = predict(str(tmp_path / "short.flac"), "--json")
    assert status == 0 and not err and json.loads(out)["method"] == "whole"
    assert json.loads(out)["score"] == pytest.approx(detector.score(tmp_path / "short.flac"), abs=1e-6)


def test_a_long_recording_that_is_cut_off(predict, long_recording, tmp_path):
    (tmp_path / "cut.flac").write_bytes(long_recording.read_bytes()[:-5000])
    status, out, _ = predict(str(tmp_path / "cut.flac"), "speech/a.wav", "--hop", "4", "--json")
    first, second = map(json.loads, out.splitlines())
    assert status == 1 and "score" not in first and "cut off" in first["error"] and "score" in second


@pytest.fixture(scope="module")
def calibrations(place, tmp_path_factory):
    """Calibrations of the detector, of the first second, of another one, of frames, and one that knows nothing."""
    folder, detector = tmp_path_factory.mktemp("calibrations"), Detector.from_pretrained(place / "model.pth", "cpu")
    rng = np.random.default_rng(0)
    embeddings = detector.embeddings(torch.from_numpy(rng.standard_normal((40, 16000), np.float32)), "backend")
    levels = -20 + rng.standard_normal(40)
    traits = [Traits(1.5, level, 8000.0, one) for level, one in zip(levels, embeddings.detach().numpy())]
    found = {
        "known": (ScoredBy(detector.fingerprint(), "float32", None), None),
        "second": (ScoredBy(detector.fingerprint(), "float32", 16000), None),
        "population": (
            ScoredBy(detector.fingerprint(), "float32", None),
            Population.fit([one._replace(embedding=None) for one in traits], np.arange(40) < 20),
        ),
        "embeddings": (
            ScoredBy(detector.fingerprint(), "float32", None),
            Population.fit(traits, np.arange(40) < 20),
        ),
        "precision": (ScoredBy(detector.fingerprint(), "int8", None), None),
        "other": (ScoredBy("0" * 64, "bfloat16", None), None),
        "frames": (ScoredBy(detector.fingerprint(), "float32", None, 20.0), None),
        "unknown": (None, None),
    }
    about = {
        "corpus": "asvspoof2019_la",
        "phase": "dev",
        "num_bonafide": 3,
        "num_spoof": 4,
        "date": "2026-01-02T03:04:05",
    }
    for name, (scored_by, population) in found.items():
        calibration = replace(fit([1.0, 0.5, -0.25], [-1.0, 0.25, 0.0, -2.0]), trained_on=about)
        replace(calibration, scored_by=scored_by, population=population).save(folder / f"{name}.json")
    return folder


@pytest.mark.parametrize("point, prior", [(None, 0.5), ("eer", 0.2), ("cost:1,10,0.95", 0.95)])
def test_decisions(predict, detector, place, long_recording, calibrations, point, prior):
    """Rows and table have what Python computes, of short and of long recordings."""
    flags = ["--calibration", str(calibrations / "known.json"), "--prior", str(prior)]
    flags += ["--operating-point", point] if point else []
    files = ["speech/a.wav", "long.flac", "--hop", "4"]
    status, out, err = predict(*files, *flags, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    calibration = load(calibrations / "known.json")
    decider = Decider(calibration, prior, OperatingPoint.parse(point) if point else None)
    scores = [detector.score(place / "speech" / "a.wav"), detector.score_track(long_recording, hop=4).score]
    assert status == 0 and "its score is the mean over windows" in err
    for row, score in zip(rows, scores):
        expected = decider(row["score"])
        assert row["score"] == pytest.approx(score, abs=1e-6)
        assert row["llr"] == pytest.approx(calibration.weights[0] * row["score"] + calibration.offset)
        assert {key: row[key] for key in expected.row()} == expected.row() and "reason" not in row
        assert row["basis"] == json.loads(json.dumps(decider.basis())) and row["calibration"] == flags[1]
    assert rows[0]["basis"]["detector"] == detector.fingerprint() and rows[0]["basis"]["num_spoof"] == 4
    status, out, _ = predict(*files, *flags)
    notes, (titles, *lines) = out.split("\n# ")[:-1], out.split("\n# ")[-1].splitlines()[1:]
    assert status == 0 and notes[0].startswith("# score: higher means") and "asvspoof2019_la, phase dev" in out
    assert f"3 bona fide and 4 spoofed trials, 2026-01-02, detector {detector.fingerprint()[:12]}" in out
    assert titles.split() == ["file", "score", "duration", "llr", "probability", "decision"]
    for line, row in zip(lines, rows):
        shown = [f"{row['score']:.4f}", f"{row['duration']:.2f}", "s", f"{row['llr']:.4f}", f"{row['probability']:.4f}"]
        assert line.split()[1:7] == [*shown, row["decision"]]


def test_a_calibrated_track(predict, calibrations):
    flags = ["speech/a.wav", "--track", "--window", "0.5", "--calibration", str(calibrations / "known.json")]
    status, out, _ = predict(*flags, "--json")
    row, decider = json.loads(out), Decider(load(calibrations / "known.json"))
    assert status == 0 and row["llrs"] == decider.llrs(np.float32(row["scores"])).tolist()
    assert row["probabilities"] == decider.probabilities(np.float32(row["scores"])).tolist()
    assert row["llr"] == pytest.approx(np.mean(row["llrs"])) and len(row["times"]) == len(row["llrs"]) > 1
    assert row["decision"] == decider(row["score"]).decision
    _, out, _ = predict(*flags)
    at = [line.split() for line in out.splitlines() if line.lstrip().startswith("at ")]
    assert [float(cells[4]) for cells in at] == pytest.approx(row["llrs"], abs=5e-5)
    assert "not of windows along a recording" in out  # of whole ones


@pytest.mark.parametrize("name", ["population", "embeddings"])
def test_what_is_unlike_the_calibration_is_not_decided(predict, calibrations, place, tmp_path, name):
    """The same recording, but for 30 dB less, and one in a batch as alone."""
    samples = soundfile.read(place / "speech" / "a.wav")[0]
    for number, factor in enumerate((1, 10 ** (-30 / 20), 1.01)):
        soundfile.write(tmp_path / f"{number}.wav", samples * factor, 16000, subtype="FLOAT")
    files, flags = [str(tmp_path / f"{n}.wav") for n in range(3)], ["--calibration", str(calibrations / f"{name}.json")]
    _, out, _ = predict(*files, *flags, "--abstain", "0.05", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert rows[1]["decision"] == CANNOT_TELL and rows[1]["p_value"] < 0.05
    unlike = {"population": "its level, -49.5 dB of full scale", "embeddings": "its embedding"}[name]
    assert unlike in rows[1]["reason"]
    if name == "population":
        assert rows[0]["decision"] != CANNOT_TELL and rows[2]["decision"] != CANNOT_TELL and "reason" not in rows[0]
    alone = [json.loads(predict(file, *flags, "--abstain", "0.05", "--json")[1]) for file in files]
    assert [row["p_value"] for row in rows] == [row["p_value"] for row in alone]
    _, out, _ = predict(files[1], *flags, "--abstain", "0.05")
    assert out.splitlines()[-1].endswith(rows[1]["reason"]) and "cannot tell" in out.splitlines()[-1]
    _, out, _ = predict(files[1], *flags, "--abstain", "0", "--json")
    assert json.loads(out)["decision"] != CANNOT_TELL and "p_value" not in json.loads(out)
    _, out, _ = predict(files[1], *flags, "--abstain", "0.01")
    assert "'s 40 recordings are too few for --abstain 0.01" in out


def test_as_many_samples_as_in_the_calibration(predict, calibrations, detector, place):
    flags = ["speech/a.wav", "--calibration", str(calibrations / "second.json")]
    row = json.loads(predict(*flags, "--json")[1])
    assert (row["method"], row["samples"]) == ("beginning", 16000)
    assert row["score"] == pytest.approx(detector.score(place / "speech" / "a.wav", num_samples=16000), abs=1e-6)
    out = predict(*flags)[1]
    assert re.search("the first 1.00 s of each recording are scored .*, as for the calibration", out)
    assert "less certain" not in out
    out = predict(*flags, "--samples", "full")[1]
    assert "learned from scores of the first 1 s, not of whole recordings" in out


@pytest.mark.parametrize(
    "name, flags, message",
    [
        (
            "other",
            [],
            "the calibration does not belong to this detector: it was learned from scores of 000000000000 in bfloat16",
        ),
        ("other", [], "another detector or another precision"),
        ("frames", [], "the calibration was learned from scores of frames of 20 ms, not of recordings"),
        ("known", ["--operating-point", "far"], "an operating point is 'eer', 'cost:CMISS,CFA,PRIOR'"),
        ("known", ["--operating-point", "fa:1%"], "1 % of 4 spoofed trials is less than one trial"),
        ("known", ["--prior", "1"], "--prior must lie between 0 and 1, got 1"),
        ("known", ["--abstain", "-1"], "--abstain is a share from 0 to below 1, not -1"),
        ("known", ["--threshold", "0", "--plot", "a.png"], "--calibration takes the threshold of --operating-point"),
        (None, ["--prior", "0.1"], "--prior goes with a calibration: name one with --calibration"),
        (None, ["--operating-point", "eer"], "--operating-point goes with a calibration"),
    ],
)
def test_calibrations_that_do_not_fit(predict, calibrations, name, flags, message):
    calibration = ["--calibration", str(calibrations / f"{name}.json")] if name else []
    status, out, err = predict("speech/a.wav", *calibration, *flags)
    assert status == 2 and not out and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "name, note",
    [
        ("unknown", "does not say which detector's scores it was learned from"),
        ("precision", "learned from scores in int8; scores in float32 differ a little"),
        ("known", "recordings were not measured, so no recording is called 'cannot tell'"),
    ],
)
def test_what_is_uncertain_is_said(predict, calibrations, name, note):
    status, out, _ = predict("speech/a.wav", "--calibration", str(calibrations / f"{name}.json"))
    assert status == 0 and note in out


def test_a_fusion_is_no_calibration_of_one_detector(predict, tmp_path):
    LinearCalibration((1.0, 1.0), 0.0, 0.5, 1e-6, ("a", "b")).save(tmp_path / "fusion.json")
    status, _, err = predict("speech/a.wav", "--calibration", str(tmp_path / "fusion.json"))
    assert status == 2 and "fuses 2 systems" in err and err.count("\n") == 1


def test_a_threshold_is_drawn(predict, tmp_path):
    """Where the two sides are shaded, the picture has more colours."""
    LinearCalibration((1.0,), 0.0, 0.5, 1e-6, ("dev.txt",)).save(tmp_path / "calibration.json")
    pictures = {}
    for name, flags in {
        "none": [],
        "given": ["--threshold", "0"],
        "calibrated": ["--calibration", str(tmp_path / "calibration.json")],
        "point": ["--calibration", str(tmp_path / "calibration.json"), "--operating-point", "cost:1,1,0.2"],
    }.items():
        picture = tmp_path / f"{name}.svg"
        assert predict("speech/a.wav", "--plot", str(picture), *flags)[0] == 0
        pictures[name] = picture.read_text().lower()
    assert {name: text.count(BONAFIDE) > 0 for name, text in pictures.items()} == {
        "none": False,
        "given": True,
        "calibrated": True,
        "point": True,
    }
    comments = {name: re.findall("<!-- (.*?) -->", text) for name, text in pictures.items()}
    assert "threshold 0" in comments["given"] and "score" in comments["given"]
    assert "threshold 0" in comments["calibrated"] and "log-likelihood ratio" in comments["calibrated"]
    assert "threshold 1.386" in comments["point"]


HOUR = """
import sys
from nes2net.cli.main import main
from nes2net.machine.this_process import peak_bytes

def taken(name):
    assert main(["predict", name, "--model", "model.pth", "--device", "cpu", *sys.argv[1:]]) == 0
    return peak_bytes()

few, many = taken("long.flac"), taken("hour.flac")
print(many - few, many)
"""


@pytest.mark.weekly
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts this process alone")
@pytest.mark.parametrize(
    "flags",
    [
        ["--hop", "12", "--plot", "pictures"],
        ["--segments", "--threshold", "0", "--model", "frames.pth", "--plot", "pictures", "--rttm", "a.rttm"],
    ],
)
def test_an_hour_takes_no_more_memory_than_minutes(place, long_recording, flags):
    minute = 0.1 * np.random.default_rng(2).standard_normal(60 * 16000)
    with soundfile.SoundFile(place / "hour.flac", "w", 16000, 1) as file:
        for _ in range(60):
            file.write(minute)
    Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"}).save(place / "frames.pth")
    command = [sys.executable, "-c", HOUR, *flags]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    assert ("frames of 10 ms" if "--segments" in flags else "3600.00 s  mean of 301 windows") in done.stdout
    assert "--segments" not in flags or "SPEAKER hour 1 " in (place / "a.rttm").read_text()
    more, peak = map(int, done.stdout.splitlines()[-1].split())
    assert more < 60e6 and peak < 1.5e9  # bytes; the hour in float32 is 230 MB


def test_a_picture_that_cannot_be_written_is_an_error_before_scoring(predict, place, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for plot in (tmp_path / "file" / "a.png", tmp_path / "file" / "folder"):
        status, out, err = predict("none.wav", "--plot", str(plot))
        assert status == 2 and not out and "cannot be written" in err and "--plot" in err and err.count("\n") == 1


def test_resource_files_of_macos_are_skipped(predict, place, tmp_path):
    (tmp_path / "more").mkdir()
    shutil.copy(place / FILES[0], tmp_path / "more" / "a.wav")
    (tmp_path / "more" / "._a.wav").write_bytes(b"\0\5\x16\7" + bytes(100))
    status, out, _ = predict(str(tmp_path), "--json")
    assert status == 0 and json.loads(out)["file"] == str(tmp_path / "more" / "a.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("how", [["--json"], [], ["--track", "--json"], ["--samples", "64600", "--json"]])
def test_a_folder_with_pipes_devices_and_links(predict, place, tmp_path, how):
    """Each is named with a reason, nothing is waited for, and the recordings are scored."""
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    shutil.copy(place / FILES[0], folder / "below" / "a.wav")
    (folder / "below" / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.wav")
    (folder / "device.flac").symlink_to("/dev/zero")
    (folder / "gone.mp3").symlink_to(folder / "nowhere.mp3")
    (folder / "round.ogg").symlink_to(folder / "round.ogg")
    shutil.copy(place / FILES[0], folder / "z\x1b[2J\nz.wav")
    (folder / "zz\x1b[2J\nz.wav").write_text("no audio at all")
    status, out, err = predict(str(folder), *how)
    assert status == 1 and err == "5 of 7 files could not be scored\n"
    reasons = ["", "not a regular file", "not found", "not a regular file", "cannot be opened", "", "read by neither"]
    if how:
        rows = [json.loads(line) for line in out.splitlines()]
        assert [bool(row.get("error")) for row in rows] == [bool(reason) for reason in reasons]
        assert all(reason in row.get("error", "") for row, reason in zip(rows, reasons))
        assert not any(row["error"].startswith("audio file") for row in rows if "error" in row)
    else:
        rows = out.splitlines()[2:]
        assert len(rows) == 7 and all(reason in row for row, reason in zip(rows, reasons))
        assert all(row.isprintable() for row in rows) and "\\x1b[2J\\nz.wav" in rows[5]


@pytest.mark.parametrize("how", [[], ["--track"], ["--samples", "64600"]])
def test_a_file_that_changes_while_it_is_read(predict, place, tmp_path, monkeypatch, how):
    """It is cut, removed or replaced between the look at its header and the reading of its samples."""
    changes = {
        "cut.wav": lambda path: os.truncate(path, 20000),
        "gone.wav": os.unlink,
        "text.wav": lambda path: path.write_text("no audio"),
        "empty.wav": lambda path: path.write_bytes(b""),
    }
    for name in changes:
        shutil.copy(place / FILES[0], tmp_path / name)

    def change_first(path, *options):
        changes[path.name](path)
        yield from libsndfile_blocks(path, *options)

    monkeypatch.setattr("nes2net.audio.read.libsndfile_blocks", change_first)
    status, out, err = predict(str(tmp_path), "--json", *how)
    assert status == 1 and err == "4 of 4 files could not be scored\n"
    assert all(json.loads(line)["error"] for line in out.splitlines())


def test_nothing_is_decoded_twice(predict, place, tmp_path, monkeypatch):
    """Only decoding tells the length of an MP3; its duration comes from the same pass."""
    soundfile.write(tmp_path / "a.mp3", soundfile.read(place / FILES[0])[0], 16000)
    decoded = []
    monkeypatch.setattr(
        "nes2net.audio.read.libsndfile_blocks",
        lambda path, *options: decoded.append(path) or libsndfile_blocks(path, *options),
    )
    for samples in ([], ["--samples", "8000"]):
        status, out, _ = predict(str(tmp_path / "a.mp3"), "--json", *samples)
        assert status == 0 and json.loads(out)["duration"] == pytest.approx(1.5, abs=0.1)
    assert len(decoded) == 2


def test_a_terminal_that_is_not_utf_8(place):
    """A file's name and the '–' of a failure can be printed in any encoding."""
    name = "speech/中文.wav"
    command = [sys.executable, "-m", "nes2net.cli.main", "predict", name, "--model", "model.pth", "--device", "cpu"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and not done.stderr.count("Traceback"), done.stderr
    assert "\\u4e2d" in done.stdout and "not found" in done.stdout


def test_an_interruption_gives_status_130(predict, monkeypatch):
    monkeypatch.setattr(
        "nes2net.actions.prediction._Recording.once", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    status, _, err = predict(FILES[0])
    assert status == 130 and err.strip().endswith("interrupted")


def test_file_names_that_are_not_utf_8(predict, place, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.wav")
    try:
        shutil.copy(place / "speech" / "a.wav", path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    status, out, _ = predict(path, path + "x")
    assert status == 1 and "\\udcff.wav " in out and "\\udcff.wavx" in out
    status, out, _ = predict(path, "--json", "--plot", str(tmp_path / "picture.png"))
    assert status == 0 and json.loads(out)["file"] == path


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["speech/a.wav", "--samples", "0"], "--samples is at least 1"),
        (["speech/a.wav", "--samples", "100", "--track"], "--samples is for one score a file"),
        (["speech/a.wav", "--samples", "full", "--plot", "a.png"], "--samples is for one score a file"),
        (["speech/a.wav", "--samples", "all"], "--samples is at least 1, 4sec or full, not all"),
        (["speech/a.wav", "--threshold", "0"], "--threshold is drawn by --plot"),
        (["speech/a.wav", "--threshold", "nan", "--plot", "a.png"], "--threshold is a number, not nan"),
        (["speech/a.wav", "--calibration", "none.json"], "none.json: cannot be read"),
        (["speech/a.wav", "--track", "--window", "0.001"], "window of 0.001 s is too short"),
        (["speech/a.wav", "--track", "--hop", "0"], "the hop must be a positive number"),
        (["speech/a.wav", "--batch-size", "0"], "--batch-size is at least 1"),
        (["speech/a.wav", "--device", "gpu0"], "unknown device"),
        (["empty"], "there are no audio files in empty"),
        ([], "the following arguments are required: FILE"),
    ],
)
def test_errors_are_one_line(predict, place, arguments, message):
    (place / "empty").mkdir(exist_ok=True)
    status, _, err = predict(*arguments)
    assert status == 2 and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "model, message",
    [
        ("recipe.yaml", "recipe.yaml is a text file, not a checkpoint"),
        ("model.onnx", "score with it by `nes2net score … --model model.onnx --engine onnx`"),
        ("none.onnx", "checkpoint none.onnx not found"),
    ],
)
def test_a_model_that_is_not_a_checkpoint(place, monkeypatch, capsys, model, message):
    monkeypatch.chdir(place)
    for name in ("recipe.yaml", "model.onnx"):
        (place / name).write_text("name: tiny\n")
    assert main(["predict", "speech", "--model", model]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_decoders_print_nothing_about_an_empty_file(place):
    """Decoders write to the standard error of the process, so this command runs in its own process."""
    (place / "empty.flac").touch()
    arguments = ["empty.flac", "speech/a.wav", "--model", "model.pth"]
    command = [sys.executable, "-m", "nes2net.cli.main", "predict", *arguments]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "1 of 2 files could not be scored\n"
    assert "is empty: copy or download it again" in done.stdout.splitlines()[2]
