"""`nes2net predict --judgement frames`: known fake stretches in tables, JSON lines and label files."""

import json
import os

import numpy as np
import pytest
import soundfile
from builders.loud_is_fake import FAKES, near, recording
from builders.loud_is_fake import detector as loud_is_fake

from nes2net import Detector
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


def test_a_row_has_the_fake_stretches_of_its_recording_and_the_settings_that_gave_them(predict):
    out = predict("speech/a.wav", "speech/b.flac", "--json").out
    first, second = map(json.loads, out.splitlines())
    facts = {"method": "whole", "judgement": "frames", "trained_on_segments": True, "resolution_ms": 20.0}
    facts |= {"threshold": 0.5, "hysteresis": 0.1, "min_duration": 0.1}
    assert first | facts == first
    assert second["segments"] == []
    assert near([(segment["start"], segment["end"]) for segment in first["segments"]], LOUD["a.wav"])
    assert all(segment["label"] == "spoof" and segment["score"] < 0.5 for segment in first["segments"])


def test_the_table_shows_each_stretch_below_its_file(predict):
    first = json.loads(predict("speech/a.wav", "--json").out)
    _, *lines = predict("speech/a.wav").out.splitlines()
    assert lines[0].split(maxsplit=4) == ["speech/a.wav", "–", "3.00", "s", "2 fake stretches"]
    for line, segment in zip(lines[1:3], first["segments"]):
        start, end, score = (segment[key] for key in ("start", "end", "score"))
        assert " ".join(line.split()) == f"{start:.2f} to {end:.2f} s {score:.4f} {end - start:.2f} s"


def test_a_detector_not_trained_on_segments_is_refused_without_a_threshold_or_a_calibration(predict):
    err = predict("speech/b.flac", status=2, model="untrained.pth").err
    assert "add a --threshold or a --calibration of frame scores" in err


def test_a_row_states_that_its_detector_was_not_trained_on_segments(predict):
    out = predict("speech/b.flac", "--threshold", "0.4", "--json", model="untrained.pth").out
    assert json.loads(out)["trained_on_segments"] is False


def test_the_flag_rttm_writes_the_fake_stretches_of_each_recording_into_a_file_or_a_folder(predict, tmp_path):
    """Segments cover a recording from start to end without gap or overlap."""
    predict("speech", "--rttm", tmp_path / "all.rttm", status=1)
    rttm = read_rttm(tmp_path / "all.rttm")
    for name, segments in zip(LOUD, rttm.values(), strict=True):
        assert near([s[1:3] for s in segments if s.label == "spoof"], LOUD[name])
        ends = [0.0, *(segment.end for segment in segments)]
        assert [segment.start for segment in segments] == ends[:-1]
        assert ends[-1] == LENGTHS[name]
    folder = tmp_path / "rttm"
    predict("speech", "--rttm", folder, status=1)
    assert {name: read_rttm(folder / f"{name}.rttm") for name in rttm} == {name: {name: rttm[name]} for name in rttm}


def test_the_flag_labels_writes_fake_stretches_for_audacity_beside_each_recording(predict, speech_folder):
    predict("speech", "--labels", "audacity", status=1)
    for name, stretches in zip(("a", "b", "more/a"), LOUD.values()):
        labels = speech_folder / f"speech/{name}.labels.txt"
        lines = [line.split("\t") for line in labels.read_text().splitlines()]
        assert near([(float(start), float(end)) for start, end, _ in lines], stretches)


def test_with_a_folder_for_labels_the_files_of_recordings_of_the_same_name_are_numbered(predict, tmp_path):
    predict("speech", "--labels", "audacity", "--out", tmp_path, status=1)
    assert sorted(os.listdir(tmp_path)) == ["a.labels.txt", "a_2.labels.txt", "b.labels.txt"]


def test_a_calibration_of_frames_gives_the_threshold_and_an_llr_and_probability_of_each_stretch(
    predict, detector, speech_folder, tmp_path
):
    scored_by = ScoredBy(detector.fingerprint(), "float32", None, 20.0)
    trained_on = {"corpus": "partialspoof", "phase": "dev", "num_bonafide": 9, "num_spoof": 9}
    calibration = LinearCalibration((4.0,), -1.0, 0.5, 1e-6, ("a",), trained_on, scored_by=scored_by)
    calibration.save(tmp_path / "frames.json")
    flags = ["--calibration", tmp_path / "frames.json", "--prior", "0.25", "--json"]
    row = json.loads(predict("speech/a.wav", *flags).out)
    decider = Decider(calibration, 0.25)
    assert row["threshold"] == decider.threshold == pytest.approx((np.log(3) + 1) / 4)
    frames = frame_scores(detector, speech_folder / "speech" / "a.wav")
    assert row["segments"]
    for segment in row["segments"]:
        of_stretch = frames.scores[round(segment["start"] / 0.02) : round(segment["end"] / 0.02)]
        assert segment["llr"] == pytest.approx(decider.llrs(of_stretch).mean(), abs=1e-5)
        assert segment["probability"] == pytest.approx(1 / (1 + 3 * np.exp(-segment["llr"])), abs=1e-6)


WHOLE = ("('asp_mlp') scores recordings, not their segments", "or score along the time with --track")


def test_unfit_flags_and_files_of_frames_are_refused_in_one_line_before_any_row(speech_folder, monkeypatch, refused):
    monkeypatch.chdir(speech_folder)
    for words, messages in (
        ("--judgement frames --model whole.pth", WHOLE),
        ("--judgement frames --samples 9000", ["frames always need whole recordings: remove --samples"]),
        ("--judgement frames --rttm model.pth/a.rttm", ["name another file or folder with --rttm"]),
        ("--rttm a.rttm", ["--rttm is only for fake stretches: add --judgement frames"]),
    ):
        refused(f"predict none.wav --model model.pth {words}", *messages, silent=True)
