"""`nes2net predict --judgement frames`: known fake stretches in tables, JSON lines and label files."""

import json
import os
import re

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.loud_is_fake import FAKES, near, recording
from builders.loud_is_fake import detector as loud_is_fake

from nes2net import Detector
from nes2net.lib.errors import with_flag_names
from nes2net.metrics.localisation import read_rttm
from nes2net.scoring.decisions import Decider, LinearCalibration, ScoredBy
from nes2net.scoring.track import frame_scores

LOUD = {"a.wav": FAKES, "b.flac": [], "more/a.wav": [(31.0, 33.5)]}
LENGTHS = {"a.wav": 3.0, "b.flac": 0.5, "more/a.wav": 35.0}


@pytest.fixture(scope="module")
def detector():
    return loud_is_fake()


@pytest.fixture(scope="module")
def speech_folder(detector, tmp_path_factory):
    """A detector that takes loud frames of 20 ms for fake, recordings with loud stretches, and one that is cut."""
    speech_folder = tmp_path_factory.mktemp("segments")
    (speech_folder / "speech" / "more").mkdir(parents=True)
    for name, stretches in LOUD.items():
        soundfile.write(speech_folder / "speech" / name, recording(LENGTHS[name], stretches), 16000)
    (speech_folder / "speech" / "c.wav").write_bytes((speech_folder / "speech" / "a.wav").read_bytes()[:20044])
    detector.save(speech_folder / "model.pth", **detector.provenance.to_dict())
    detector.save(speech_folder / "untrained.pth")
    Detector.from_config({"frontend": "lfcc", "backend": "asp_mlp"}).save(speech_folder / "whole.pth")
    return speech_folder


@pytest.fixture
def predict(speech_folder, monkeypatch, output):
    monkeypatch.chdir(speech_folder)

    def run(*words, model="model.pth", status=0):
        return output(["predict", *words, "--judgement", "frames", "--model", model], status)

    return run


def test_a_row_has_the_segments_with_the_settings(predict):
    files = ("speech/a.wav", "speech/b.flac", "speech/c.wav")
    out, err = predict(*files, "--json", status=1)
    first, second, third = map(json.loads, out.splitlines())
    assert err == "1 of 3 files could not be scored: see their errors\n"
    assert "is cut off: its header announces 48,000 samples" in third["error"]
    facts = {"method": "whole", "judgement": "frames", "trained_on_segments": True, "resolution_ms": 20.0}
    facts |= {"threshold": 0.5, "hysteresis": 0.1, "min_duration": 0.1}
    assert first | facts == first
    assert second | facts == second
    assert second["segments"] == []
    assert near([(segment["start"], segment["end"]) for segment in first["segments"]], LOUD["a.wav"])
    assert all(segment["label"] == "spoof" and segment["score"] < 0.5 for segment in first["segments"])
    assert second["remark"] == "lasts 0.50 s; in training the detector hears 4.04 s at a time"


def test_the_table_shows_each_stretch_below_its_file(predict):
    files = ("speech/a.wav", "speech/b.flac", "speech/c.wav")
    first = json.loads(predict(files[0], "--json").out)
    titles, *lines, rule, score = predict(*files, status=1).out.splitlines()
    assert score.startswith("# score: higher means more bona fide")
    rule_words = "a fake stretch begins at a score of at most 0.5 and continues up to 0.6, and lasts at least 0.1 s"
    assert rule == f"# {rule_words}; frames of 20 ms"
    assert titles.split() == ["file", "score", "duration"]
    assert lines[0].split(maxsplit=4) == ["speech/a.wav", "–", "3.00", "s", "2 fake stretches"]
    for line, segment in zip(lines[1:3], first["segments"]):
        start, end, score = (segment[key] for key in ("start", "end", "score"))
        assert " ".join(line.split()) == f"{start:.2f} to {end:.2f} s {score:.4f} {end - start:.2f} s"
    remark = "lasts 0.50 s; in training the detector hears 4.04 s at a time"
    assert lines[3].split(maxsplit=4) == ["speech/b.flac", "–", "0.50", "s", f"no fake stretch; {remark}"]
    assert lines[4].split()[:3] == ["speech/c.wav", "–", "–"]


def test_a_detector_of_whole_recordings_finds_no_stretches_without_a_threshold(predict, speech_folder):
    """The command refuses it as Python does."""
    out, err = predict("speech/b.flac", status=2, model="untrained.pth")
    assert not out
    assert "add a --threshold or a --calibration of frame scores" in err
    detector = Detector.from_pretrained(speech_folder / "untrained.pth", device="cpu")
    with input_error("this detector was trained on whole recordings") as refusal:
        detector.segment(speech_folder / "speech" / "b.flac")
    assert with_flag_names(str(refusal.value)).partition(":")[0] in err


def test_stretches_of_a_detector_of_whole_recordings_are_marked(predict):
    out = predict("speech/b.flac", "--threshold", "0.4", model="untrained.pth").out
    assert "# this detector was trained on whole recordings, not on segments: " in out
    out = predict("speech/b.flac", "--threshold", "0.4", "--json", model="untrained.pth").out
    assert json.loads(out)["trained_on_segments"] is False


def test_stretches_are_written_as_rttm_or_labels_of_audacity(predict, speech_folder, tmp_path):
    err = predict("speech", "--rttm", tmp_path / "all.rttm", "--labels", "audacity", status=1).err
    beside = [f"speech/{name}.labels.txt" for name in ("a", "b", "more/a")]
    assert re.findall("wrote (.*)", err) == [*beside, str(tmp_path / "all.rttm")]
    rttm = read_rttm(tmp_path / "all.rttm")
    assert list(rttm) == ["a", "b", "a_2"]
    for (name, stretches), segments, labels in zip(LOUD.items(), rttm.values(), beside):
        assert near([s[1:3] for s in segments if s.label == "spoof"], stretches)
        lines = [line.split("\t") for line in (speech_folder / labels).read_text().splitlines()]
        assert near([(float(start), float(end)) for start, end, _ in lines], stretches)
        ends = [0.0, *(segment.end for segment in segments)]
        assert [segment.start for segment in segments] == ends[:-1]
        assert ends[-1] == LENGTHS[name]


def test_each_recording_has_a_file_of_its_own_in_a_folder(predict, tmp_path):
    predict("speech", "--rttm", tmp_path / "all.rttm", status=1)
    rttm = read_rttm(tmp_path / "all.rttm")
    labels = tmp_path / "labels"
    folder = tmp_path / "rttm"
    predict("speech", "--rttm", folder, "--labels", "audacity", "--out", labels, status=1)
    assert {name: read_rttm(folder / f"{name}.rttm") for name in rttm} == {name: {name: rttm[name]} for name in rttm}
    assert sorted(os.listdir(labels)) == ["a.labels.txt", "a_2.labels.txt", "b.labels.txt"]


def test_a_calibration_of_frames_gives_the_threshold_and_the_mean_ratio_of_each_stretch(
    predict, detector, speech_folder, tmp_path
):
    scored_by = ScoredBy(detector.fingerprint(), "float32", None, 20.0)
    trained_on = {"corpus": "partialspoof", "phase": "dev", "num_bonafide": 9, "num_spoof": 9}
    calibration = LinearCalibration((4.0,), -1.0, 0.5, 1e-6, ("a",), trained_on, scored_by=scored_by)
    calibration.save(tmp_path / "frames.json")
    flags = ["speech/a.wav", "speech/b.flac", "--calibration", tmp_path / "frames.json", "--prior", "0.25"]
    first, second = map(json.loads, predict(*flags, "--json").out.splitlines())
    decider = Decider(calibration, 0.25)
    assert first["threshold"] == decider.threshold == pytest.approx((np.log(3) + 1) / 4)
    assert first["basis"]["detector"] == detector.fingerprint()
    assert second["segments"] == []
    frames = frame_scores(detector, speech_folder / "speech" / "a.wav")
    for segment in first["segments"]:
        of_stretch = frames.scores[round(segment["start"] / 0.02) : round(segment["end"] / 0.02)]
        assert segment["llr"] == pytest.approx(decider.llrs(of_stretch).mean(), abs=1e-5)
        assert segment["probability"] == pytest.approx(1 / (1 + 3 * np.exp(-segment["llr"])), abs=1e-6)
    out = predict(*flags).out
    assert "# calibration: partialspoof, phase dev, 9 bona fide and 9 spoofed frames of 20 ms, detector" in out
    assert "the Bayes threshold of the prior" in out
    titles, _, line, _, none = (line for line in out.splitlines() if not line.startswith("# "))
    assert titles.split() == ["file", "score", "duration", "llr", "probability"]
    assert line.split()[-2:] == [f"{first['segments'][0][key]:.4f}" for key in ("llr", "probability")]
    assert "no fake stretch" in none


WHOLE = ("('asp_mlp') scores recordings, not their segments", "or score along the time with --track")


def test_wrong_input_of_segments_is_one_line(speech_folder, monkeypatch, refused):
    monkeypatch.chdir(speech_folder)
    for words, messages in (
        ("--judgement frames --model whole.pth", WHOLE),
        (
            "--judgement frames --track",
            ["--track, --window and --hop only work with scores along a recording, not with frames"],
        ),
        ("--judgement frames --samples 9000", ["frames always need whole recordings: remove --samples"]),
        ("--judgement frames --out labels", ["--out is used only with --labels"]),
        ("--judgement frames --csv", ["--csv is only for scores and decisions, not for scores of frames"]),
        ("--judgement frames --rttm model.pth/a.rttm", ["name another file or folder with --rttm"]),
        ("--rttm a.rttm", ["--rttm is only for fake stretches: add --judgement frames"]),
    ):
        refused(f"predict none.wav --model model.pth {words}", *messages, silent=True)
