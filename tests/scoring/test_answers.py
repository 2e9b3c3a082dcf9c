"""The same recording gets the same kind of answer from Python, the command line, the page and a live channel."""

import json
import re
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import torch
from builders import hears_a_tone, input_error, loud_is_fake, slow
from builders.all_kinds import NAMES, NUM_FAST, write
from builders.answers import ENTRANCES, MAX_SECONDS, MIN_SECONDS, by_telephone, listened, predicted, speech, write_clips
from builders.files import read_json
from builders.live import heard

from nes2net import Detector
from nes2net.actions.calibration import calibrate_recordings
from nes2net.apps.listen.listening import Block, LiveJudge
from nes2net.apps.serve.desk import Desk
from nes2net.cli.main import main
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.speech import SPEECH_RULE
from nes2net.evaluation.judgements import Rows
from nes2net.scoring.calibrated import default_window
from nes2net.scoring.decisions import Decider, load
from nes2net.scoring.judging import judge_recording
from nes2net.scoring.registry import judgements

ABSTAIN = 0.05
LONG = 240.0
FAKE = (100.0, 123.0)


@pytest.fixture(scope="module")
def clips_folder(tmp_path_factory):
    """Clips, recordings, and the calibrations that the command makes of the clips: of windows, and of whole clips."""
    folder = tmp_path_factory.mktemp("answers")
    write_clips(folder)
    recordings = {
        "long": speech(LONG, FAKE, 7),
        "bonafide": speech(30.0, None, 8),
        "short": speech(3.0, None, 9),
        "call": by_telephone(speech(30.0, (0.0, 30.0), 10)),
    }
    for name, samples in recordings.items():
        soundfile.write(folder / f"{name}.wav", samples, 16000, subtype="FLOAT")
    words = ["calibrate", "recordings", folder / "real", folder / "fake", "--model", folder / "tone.pth"]
    words += ["--device", "cpu", "--workers", "0", "--save"]
    assert main([*map(str, words), str(folder / "windows.json")]) == 0
    assert main([*map(str, words), str(folder / "whole.json"), "--samples", "full"]) == 0
    return folder


def decide(folder, *words):
    """Run a command that decides by the calibration of windows."""
    words += ("--model", folder / "tone.pth", "--device", "cpu", "--calibration", folder / "windows.json")
    assert main(list(map(str, words))) == 0


def test_a_calibration_is_of_windows_unless_whole_clips_are_asked_for(clips_folder):
    """The detector has no score length, so a window is as long as its training crops, 4 s."""
    of_windows = load(clips_folder / "windows.json")
    of_whole_clips = load(clips_folder / "whole.json")
    assert of_windows.scored_by.num_samples == 64600
    assert of_whole_clips.scored_by.num_samples is None
    assert of_whole_clips.population.durations == pytest.approx((MIN_SECONDS, MAX_SECONDS), abs=0.01)


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_calibration_of_whole_clips_does_not_decide_on_a_much_longer_recording(clips_folder, entrance):
    answer = ENTRANCES[entrance](clips_folder / "long.wav", clips_folder / "whole.json", ABSTAIN)
    assert answer.decision == "cannot tell"
    assert answer.probability is None
    assert answer.reason.startswith("calibrated on recordings of 1.4 to 3.7 s, each as a whole: calibrate on windows")


def test_predict_decides_by_a_calibration_of_whole_clips_only_on_recordings_as_short(clips_folder, capsys):
    row = predicted(capsys, clips_folder / "long.wav", clips_folder / "whole.json", abstain=0.0)
    assert row["decision"] == "cannot tell"
    assert row["llr"] is None
    row = predicted(capsys, clips_folder / "short.wav", clips_folder / "whole.json", ABSTAIN)
    assert row["decision"] == "bonafide"


@pytest.mark.parametrize("recording, decision", [("long", "spoof"), ("bonafide", "bonafide")])
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_fake_part_of_four_minutes_is_found_by_a_calibration_of_windows(clips_folder, entrance, recording, decision):
    answer = ENTRANCES[entrance](clips_folder / f"{recording}.wav", clips_folder / "windows.json", ABSTAIN)
    assert answer.decision == decision


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_nothing_is_decided_on_a_call_that_is_unlike_the_calibration(clips_folder, entrance):
    answer = ENTRANCES[entrance](clips_folder / "call.wav", clips_folder / "windows.json", ABSTAIN)
    assert answer.decision == "cannot tell"
    assert answer.probability is None
    assert "calibration's recordings" in answer.reason


def test_the_first_lines_of_a_call_unlike_the_calibration_say_what_to_do(clips_folder):
    lines = listened(clips_folder / "call.wav", clips_folder / "windows.json", ABSTAIN)
    first, unjudged, *_ = lines
    assert first["event"] == "score"
    assert first["llr"] is None
    assert first["probability"] is None
    assert "calibration's recordings" in first["unusual"]
    assert unjudged["event"] == "unjudged"
    assert unjudged["message"] == (
        "calls like this are unlike the calibration's recordings, so they are not decided: calibrate on telephone calls"
    )
    assert all("unusual" in line for line in lines if line["event"] == "score")


def test_each_ten_seconds_without_a_judgement_of_a_channel_are_told_once(clips_folder, tmp_path):
    """Again after it was judged."""
    talk = speech(8.0, None, 11)
    silence = np.zeros(16000 * 20, np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([talk, silence, talk, silence]), 16000)
    lines = listened(tmp_path / "a.wav", clips_folder / "windows.json", 0.0)
    unjudged = [line for line in lines if line["event"] == "unjudged"]
    assert [line["message"] for line in unjudged] == ["not judged for 10 s"] * 2
    assert all(line["reason"] for line in unjudged)


def test_predict_says_which_number_decided_and_of_which_part_it_is(clips_folder, capsys):
    row = predicted(capsys, clips_folder / "long.wav", clips_folder / "windows.json", ABSTAIN)
    assert row["score_of"] == "the first 4.04 s"
    assert row["decided_by"].startswith("llr -")
    assert row["decided_by"].endswith(", the mean of 1:37–2:05")
    row = predicted(capsys, clips_folder / "bonafide.wav", clips_folder / "windows.json", ABSTAIN)
    assert row["decided_by"] == f"llr {row['llr']:.4f}, their mean"


def test_predict_prints_what_decided_and_how_often_the_calibration_errs(clips_folder, capsys):
    decide(clips_folder, "predict", clips_folder / "bonafide.wav", "--abstain", "0.01")
    printed = capsys.readouterr().out
    assert ", their mean, while the score is that of its first 4.04 s" in printed
    assert "# errors: 0 of the calibration's own 24 bona fide trials are called spoof, the best case" in printed
    assert "# errors: 0 of the calibration's own 24 spoof trials are called bona fide, the best case" in printed


def test_the_report_says_how_usual_the_recording_is_and_what_its_score_is_of(clips_folder, tmp_path):
    """The length is not compared with those of clips if windows decide."""
    decide(clips_folder, "report", clips_folder / "bonafide.wav", "--html", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "as unusual as this one in level or bandwidth, or" in page
    assert "of the first 4.04 s; llr" in page


def test_error_rates_and_the_rule_of_speech_stand_beside_the_answer_of_the_service(clips_folder, tmp_path):
    decider = Decider(load(clips_folder / "windows.json"))
    desk = Desk(hears_a_tone.detector(), tmp_path, decider=decider)
    scored = desk.score(clips_folder / "short.wav", "short.wav")
    basis = scored.row()["basis"]
    assert basis["errors"][0] == {"truth": "bona fide", "called": "spoof", "number": 24, "wrong": 0}
    assert basis["errors"][1]["truth"] == "spoof"
    assert basis["speech_rule"] == SPEECH_RULE


def test_a_refused_calibration_names_its_three_causes(clips_folder, tmp_path):
    causes = "labels or scores are inverted, the trials are too few to tell, or the detector does not work on these"
    folders = clips_folder / "fake", clips_folder / "real"
    with input_error(causes):
        calibrate_recordings(hears_a_tone.detector(), *folders, tmp_path / "a.json", num_workers=0)


def reported(folder, path, *words):
    """The row that `nes2net report` writes."""
    out = folder / "report.json"
    words = ["report", path, "--model", folder / "tone.pth", "--device", "cpu", "--json", out, *words]
    assert main(list(map(str, words))) == 0
    return read_json(out)


def shared_facts(row):
    """The facts of a row that do not name files; settings are called as in Python, not as flags."""
    facts = {key: fact for key, fact in row.items() if key not in ("file", "calibration")}
    return json.loads(json.dumps(facts).replace("--channel", "`channel`"))


def reason_by_service(reason):
    """A pattern for the reason that the service gives, which does not quote the messages of both decoders."""
    return "neither libsndfile nor FFmpeg reads it" if "read by neither" in reason else f"^{re.escape(reason)}$"


@pytest.mark.parametrize("is_calibrated", [False, True])
@pytest.mark.parametrize("name", [*NAMES[:NUM_FAST], *slow(*NAMES[NUM_FAST:])])
def test_every_entrance_gives_the_same_answer(clips_folder, tmp_path, capsys, name, is_calibrated):
    """In every number and word. For a damaged file it is the reason."""
    path = write(tmp_path, name)
    calibration = clips_folder / "windows.json"
    detector = hears_a_tone.detector()
    decider = None
    words = []
    if is_calibrated:
        decider = Decider(load(calibration), abstain=ABSTAIN)
        words = ["--calibration", calibration, "--abstain", ABSTAIN]
    command = ["predict", path, "--model", clips_folder / "tone.pth", "--device", "cpu", "--json", "--track", *words]
    status = main(list(map(str, command)))
    row = json.loads(capsys.readouterr().out)
    desk = Desk(detector, tmp_path, decider=decider)
    if status:
        with input_error(reason_by_service(row["error"])):
            desk.score(path, path.name)
        with input_error(re.escape(row["error"])):
            detector.decide(path, decider or load(calibration))
        return
    row = shared_facts(row)
    assert shared_facts(desk.score(path, path.name).row()) == row
    assert shared_facts(reported(clips_folder, path, *words)) == row
    if decider is not None:
        decision = shared_facts(detector.decide(path, decider).row())
        assert decision.items() <= row.items()
    judge = LiveJudge(detector, "tone.pth", decider, None, window=default_window(detector, decider), hop=row["hop"])
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if path.suffix == ".mp3":  # libsndfile's own decoder differs in the last bits
        samples = load_audio(path)[:, None]
    lines = heard(judge, [Block(samples.T)], rate)
    windows = [line for line in lines if line["event"] == "score"]
    scores = [line["score"] for line in windows]
    assert scores == pytest.approx(row["scores"], rel=1e-6, abs=1e-5)
    for line, llr in zip(windows, row.get("llrs", [])):
        if line["llr"] is not None:
            assert line["llr"] == pytest.approx(llr, abs=1e-4)


@dataclass(frozen=True)
class Loudness(Rows):
    """A judgement of another package: the level of a recording, and that of its first half."""

    name = "loudness"
    columns = ("level", "first_half")

    def compute(self, scorer, waveforms):
        halves = waveforms[:, : waveforms.shape[1] // 2]
        return torch.stack([waveforms.square().mean(1), halves.square().mean(1)], dim=1)

    def score_of(self, rows):
        return rows[:, 0]


OF_CLASSES = {
    "frontend": "lfcc",
    "backend": {"name": "mean_linear", "num_logits": 3, "classes": ["a", "b", "bonafide"]},
}
DETECTORS = {
    "frames": loud_is_fake.detector,
    "classes": lambda: Detector.from_config(OF_CLASSES),
    "embeddings": hears_a_tone.detector,
    "loudness": hears_a_tone.detector,
}


@pytest.mark.parametrize("seconds", [0.5, 6.0, 40.0])
@pytest.mark.parametrize("judgement", DETECTORS)
def test_every_entrance_gives_the_same_answer_of_other_judgements(tmp_path, capsys, monkeypatch, judgement, seconds):
    """By the command, by Python and by the service; of 40 s, frames are scored in windows."""
    monkeypatch.setitem(judgements._table, "loudness", f"{__name__}:Loudness")
    detector = DETECTORS[judgement]()
    detector.save(tmp_path / "model.pth", **detector.provenance.to_dict())
    path = tmp_path / "a.wav"
    soundfile.write(path, speech(seconds, None, 1), 16000)
    words = ["predict", path, "--model", tmp_path / "model.pth", "--device", "cpu", "--json", "--judgement", judgement]
    assert main(list(map(str, words))) == 0
    row = shared_facts(json.loads(capsys.readouterr().out))
    assert row["judgement"] == judgement
    assert shared_facts(judge_recording(detector, path, judgement=judgement).to_row()) == row
    of_service = Desk(detector, tmp_path).score(path, "a.wav", judgement=judgement).row()
    assert shared_facts(of_service) == row
