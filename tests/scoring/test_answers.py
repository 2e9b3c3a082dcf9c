"""The same recording gets the same kind of answer from Python, the command line, the page and a live channel."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import hears_a_tone, input_error, loud_is_fake, slow
from builders.all_kinds import NAMES, NUM_FAST, write
from builders.answers import ENTRANCES, NUM_CLIPS, by_telephone, listened, predicted, speech, write_clips
from builders.files import read_json
from builders.live import heard

from nes2net.apps.listen.listening import AudioBlock, LiveJudge
from nes2net.apps.listen.words import heading, in_words
from nes2net.apps.serve.desk import Desk
from nes2net.cli.main import main
from nes2net.scoring.calibrated import default_window
from nes2net.scoring.decisions import CANNOT_TELL, Decider, genuine_threshold, load
from nes2net.scoring.decisions.decision import UNUSUAL, USUAL
from nes2net.scoring.judging import judge_recording
from nes2net.scoring.score_file import read_scores

ABSTAIN = 0.05
LONG = 60.0
FAKE = (28.0, 44.0)


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
    del words[3]  # no fakes
    assert main([*map(str, words), str(folder / "genuine.json"), "--operating-point", "miss:10%"]) == 0
    return folder


def test_calibrate_recordings_learns_from_windows_unless_whole_clips_are_asked_for(clips_folder):
    """The detector has no score length, so a window is as long as its training crops, 4 s."""
    of_windows = load(clips_folder / "windows.json")
    of_whole_clips = load(clips_folder / "whole.json")
    assert of_windows.scored_by.num_samples == 64600
    assert of_whole_clips.scored_by.num_samples is None


@pytest.mark.slow
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_calibration_of_whole_clips_does_not_decide_on_a_much_longer_recording(clips_folder, entrance):
    """Even with abstain 0."""
    answer = ENTRANCES[entrance](clips_folder / "long.wav", clips_folder / "whole.json", 0.0)
    assert answer.decision == "cannot tell"
    assert answer.probability is None
    assert answer.reason.startswith("calibrated on recordings of 1.4 to 3.7 s, each as a whole: calibrate on windows")


def test_predict_decides_by_a_calibration_of_whole_clips_on_a_recording_as_short_as_the_clips(clips_folder, capsys):
    row = predicted(capsys, clips_folder / "short.wav", clips_folder / "whole.json", ABSTAIN)
    assert row["decision"] == "bonafide"


@pytest.mark.slow
@pytest.mark.parametrize("recording, decision", [("long", "spoof"), ("bonafide", "bonafide")])
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_calibration_of_windows_tells_a_recording_with_a_fake_part_from_a_bona_fide_one(
    clips_folder, entrance, recording, decision
):
    answer = ENTRANCES[entrance](clips_folder / f"{recording}.wav", clips_folder / "windows.json", ABSTAIN)
    assert answer.decision == decision


@pytest.mark.parametrize("entrance", ["python", "channel"])
def test_nothing_is_decided_on_a_telephone_call_unlike_the_recordings_of_the_calibration(clips_folder, entrance):
    answer = ENTRANCES[entrance](clips_folder / "call.wav", clips_folder / "windows.json", ABSTAIN)
    assert answer.decision == "cannot tell"
    assert answer.probability is None
    assert "calibration's recordings" in answer.reason


def test_a_live_channel_names_the_unusual_trait_of_a_call_and_advises_calibrating_on_windows_that_have_it(clips_folder):
    """The bandwidth of the voices here is lower than a telephone's."""
    lines = listened(clips_folder / "call.wav", clips_folder / "windows.json", ABSTAIN)
    assert lines[1]["event"] == "unjudged"
    assert lines[1]["message"] == (
        "windows with such a bandwidth are unlike the calibration's recordings, so they do not count: calibrate on such "
        "windows, too"
    )


def test_a_live_channel_tells_once_in_each_silence_that_it_was_not_judged_for_ten_seconds(clips_folder, tmp_path):
    talk = speech(8.0, None, 11)
    silence = np.zeros(16000 * 20, np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([talk, silence, talk, silence]), 16000)
    lines = listened(tmp_path / "a.wav", clips_folder / "windows.json", 0.0)
    unjudged = [line for line in lines if line["event"] == "unjudged"]
    assert [line["message"] for line in unjudged] == ["not judged for 10 s"] * 2


def test_predict_states_of_which_windows_the_ratio_that_decided_is_the_mean(clips_folder, capsys):
    row = predicted(capsys, clips_folder / "long.wav", clips_folder / "windows.json", ABSTAIN)
    assert row["decided_by"].startswith("llr -")
    assert row["decided_by"].endswith(", the mean of 0:26–0:46")
    row = predicted(capsys, clips_folder / "bonafide.wav", clips_folder / "windows.json", ABSTAIN)
    assert row["decided_by"] == f"llr {row['llr']:.4f}, their mean"


def test_predict_states_how_many_of_the_trials_of_each_class_its_calibration_gets_wrong(clips_folder, capsys):
    row = predicted(capsys, clips_folder / "short.wav", clips_folder / "windows.json", ABSTAIN)
    for errors, truth in zip(row["basis"]["errors"], ("bona fide", "spoof"), strict=True):
        assert errors["truth"] == truth
        assert errors["number"] == NUM_CLIPS
        assert errors["wrong"] == 0


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


of_every_kind = pytest.mark.parametrize("name", [*NAMES[:NUM_FAST], *slow(*NAMES[NUM_FAST:])])


@pytest.mark.parametrize("calibration", ["windows.json", "genuine.json"])
@of_every_kind
def test_command_report_service_and_python_give_the_same_answer(clips_folder, tmp_path, capsys, name, calibration):
    """In every number and word; the decision of Python states only some of the facts."""
    path = write(tmp_path, name)
    calibration = clips_folder / calibration
    row = shared_facts(predicted(capsys, path, calibration, ABSTAIN, "--track"))
    decider = Decider(load(calibration), abstain=ABSTAIN)
    detector = hears_a_tone.detector()
    desk = Desk(detector, tmp_path, decider=decider)
    assert shared_facts(desk.score(path, path.name).row()) == row
    of_report = reported(clips_folder, path, "--calibration", calibration, "--abstain", ABSTAIN)
    assert shared_facts(of_report) == row
    decision = shared_facts(detector.decide(path, decider).row())
    assert decision.items() <= row.items()


@pytest.mark.parametrize("recording, decision", [("short", USUAL), ("long", USUAL), ("call", CANNOT_TELL)])
def test_genuine_recordings_alone_decide_what_is_usual_among_them(clips_folder, capsys, recording, decision):
    """Of the long recording the beginning decides; the windows in its fake part are unusual."""
    calibration = clips_folder / "genuine.json"
    abstain = 0.08 if recording == "call" else 0.0
    path = clips_folder / f"{recording}.wav"
    row = predicted(capsys, path, calibration, abstain)
    assert row["decision"] == decision
    assert row["llr"] is None
    assert row["probability"] is None
    assert row["basis"]["basis"] == "genuine recordings"
    of_ratios = {"prior", "llr_threshold", "errors", "operating_point"}
    assert not row["basis"].keys() & of_ratios
    assert ("p_genuine" in row) == (decision != CANNOT_TELL)
    if recording == "long":
        start, end = FAKE
        fake = end - start
        touched = fake + 8.0  # a window of 4 s may begin before the fake part, or end after it
        assert row["unusual_share"] * LONG >= fake
        assert row["unusual_share"] * LONG <= touched


def test_a_fake_tone_is_unusual_among_genuine_recordings(clips_folder, capsys):
    path = clips_folder / "fake" / "5.wav"
    row = predicted(capsys, path, clips_folder / "genuine.json", 0.0)
    assert row["decision"] == UNUSUAL
    assert row["p_genuine"] == 1 / (NUM_CLIPS + 1)
    assert reported(
        clips_folder, path, "--calibration", clips_folder / "genuine.json", "--html", path.with_suffix(".html")
    )
    page = path.with_suffix(".html").read_text(encoding="utf-8")
    assert "Unusual for your genuine recordings" in page
    assert "takes the recording for a fake" not in page


def test_the_calibration_of_genuine_recordings_is_that_of_python(clips_folder):
    learned = load(clips_folder / "genuine.json")
    _, scores = read_scores(clips_folder / "genuine.json.scores.txt")
    rule = genuine_threshold(scores, "10%")
    assert learned.rule.threshold == rule.threshold
    assert learned.rule.k == rule.k
    assert learned.rule.number == NUM_CLIPS
    assert learned.population.has_embeddings
    assert learned.scored_by.num_samples == 64600


def test_silent_and_damaged_recordings_are_named_and_do_not_count_among_the_genuine_ones(
    clips_folder, tmp_path, capsys
):
    for path in (clips_folder / "real").iterdir():
        (tmp_path / path.name).symlink_to(path)
    soundfile.write(tmp_path / "silent.wav", np.zeros(32000), 16000)
    (tmp_path / "damaged.wav").write_bytes(b"RIFF")
    words = ["calibrate", "recordings", tmp_path, "--model", clips_folder / "tone.pth", "--device", "cpu"]
    words += ["--workers", "0", "--operating-point", "miss:10%", "--save", tmp_path / "c.json"]
    assert main(list(map(str, words))) == 1
    printed = capsys.readouterr()
    assert f"k = 1 of {NUM_CLIPS} genuine recordings" in printed.out
    assert "1 recording failed: bonafide/silent.wav" in printed.err
    assert "1 file failed: bonafide/damaged.wav" in printed.err


def test_people_count_in_place_of_recordings_if_a_list_names_who_speaks(clips_folder, tmp_path, capsys):
    """Four people have three clips each; of a fifth, there is only silence."""
    rows = ["path,speaker", "silent.wav,p4"]
    soundfile.write(tmp_path / "silent.wav", np.zeros(32000), 16000)
    for number in range(NUM_CLIPS):
        path = clips_folder / "real" / f"{number}.wav"
        (tmp_path / path.name).symlink_to(path)
        rows.append(f"{path},p{number % 4}")
    (tmp_path / "people.csv").write_text("\n".join(rows))
    saved = tmp_path / "c.json"
    command = ["calibrate", "recordings", tmp_path, "--model", clips_folder / "tone.pth", "--save", saved]
    command += ["--device", "cpu", "--workers", "0"]
    command += ["--operating-point", "miss:30%", "--speakers", tmp_path / "people.csv"]
    assert main(list(map(str, command))) == 0
    printed = capsys.readouterr()
    assert "k = 1 of 4 people" in printed.out
    assert "of new people" in printed.out
    assert "note: no recording counts of 1 person: p4" in printed.err
    learned = load(saved)
    assert learned.rule.number == 4
    assert learned.population.num_recordings == learned.trained_on["num_bonafide"] == NUM_CLIPS
    ids, scores = read_scores(f"{saved}.scores.txt")
    person_of_score = dict(zip(learned.genuine["scores"], learned.genuine["groups"]))
    for id, score in zip(ids, scores.tolist()):
        name = Path(id).stem
        if name != "silent":
            assert person_of_score[score] == f"p{int(name) % 4}"
    assert main(["info", str(saved)]) == 0
    described = capsys.readouterr().out
    assert "decision unusual below a score" in " ".join(described.split())
    assert "of 4 people" in " ".join(described.split())
    assert not re.search("prior of|l2 |\nweights", described)


def test_a_plot_shows_the_threshold_of_genuine_recordings(clips_folder, tmp_path, capsys):
    threshold = load(clips_folder / "genuine.json").rule.threshold
    predicted(capsys, clips_folder / "long.wav", clips_folder / "genuine.json", 0.0, "--plot", str(tmp_path / "a.svg"))
    assert f"threshold {threshold:.4g}".replace("-", "−") in (tmp_path / "a.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("words", ["--prior 0.3", "--operating-point eer", "--unbounded"])
def test_settings_of_ratios_are_refused_with_a_calibration_of_genuine_recordings(clips_folder, capsys, words):
    path = clips_folder / "short.wav"
    command = ["predict", path, "--model", clips_folder / "tone.pth", "--calibration", clips_folder / "genuine.json"]
    assert main([*map(str, command), *words.split()]) == 2
    assert "of genuine recordings only, so it has a fixed threshold" in capsys.readouterr().err


def test_a_live_channel_decides_each_window_with_speech_as_the_threshold_of_genuine_recordings(clips_folder):
    lines = listened(clips_folder / "long.wav", clips_folder / "genuine.json", 0.0)
    rule = load(clips_folder / "genuine.json").rule
    decided = [line for line in lines if "decision" in line]
    assert len(decided) > FAKE[1] - FAKE[0]
    for line in decided:
        assert line["decision"] == (UNUSUAL if line["score"] < rule.threshold else USUAL)
        assert line["p_genuine"] == float(rule.p(line["score"]))
        assert line["llr"] is None
        if FAKE[0] <= line["start"] and line["end"] <= FAKE[1]:
            assert line["decision"] == UNUSUAL
    unusual = [line for line in decided if line["decision"] == UNUSUAL]
    share = len(unusual) / len(decided)
    end = lines[-1]
    assert end["unusual_share"] == share
    assert f"{share:.0%} of its windows" in in_words(end)
    assert UNUSUAL in in_words(unusual[0])
    assert "–" not in in_words(unusual[0])
    ready = {"model": "tone.pth", "window": 4.0, "hop": 1.0, "calibration": "genuine.json", "meaning": []}
    assert heading(ready, None)[1].split() == ["channel", "to", "score"]


def test_a_live_channel_cannot_tell_of_a_call_unlike_the_genuine_recordings(clips_folder):
    lines = listened(clips_folder / "call.wav", clips_folder / "genuine.json", 0.08)
    decided = [line for line in lines if "decision" in line]
    assert {line["decision"] for line in decided} == {CANNOT_TELL}
    assert "unlike the embeddings of the calibration's recordings" in decided[0]["reason"]
    assert lines[-1]["unusual_share"] == 0
    assert any(line["event"] == "unjudged" for line in lines)


def test_command_service_and_python_refuse_a_damaged_file_for_the_same_reason(clips_folder, tmp_path, capsys):
    path = tmp_path / "cut.wav"
    soundfile.write(path, speech(3.0), 16000)
    path.write_bytes(path.read_bytes()[:20000])
    words = ["predict", path, "--model", clips_folder / "tone.pth", "--device", "cpu", "--json"]
    assert main(list(map(str, words))) == 1
    reason = re.escape(json.loads(capsys.readouterr().out)["error"])
    detector = hears_a_tone.detector()
    with input_error(reason):
        detector.score(path)
    with input_error(reason):
        Desk(detector, tmp_path).score(path, path.name)


@of_every_kind
def test_a_live_channel_gives_the_scores_of_the_track_of_predict(clips_folder, tmp_path, capsys, name):
    path = write(tmp_path, name)
    calibration = clips_folder / "windows.json"
    row = predicted(capsys, path, calibration, ABSTAIN, "--track")
    decider = Decider(load(calibration), abstain=ABSTAIN)
    detector = hears_a_tone.detector()
    window = default_window(detector, decider)
    judge = LiveJudge(detector, "tone.pth", decider, None, window=window, hop=row["hop"])
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    lines = heard(judge, [AudioBlock(samples.T)], rate)
    scores = [line["score"] for line in lines if line["event"] == "score"]
    assert scores == pytest.approx(row["scores"], rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("seconds", [40.0, *slow(0.5)])
@pytest.mark.parametrize(
    "judgement, make_detector", [("frames", loud_is_fake.detector), ("embeddings", hears_a_tone.detector)]
)
def test_command_python_and_service_give_the_same_answer_for_judgements_frames_and_embeddings(
    tmp_path, capsys, judgement, make_detector, seconds
):
    """Also on 40 s, which are scored in several windows of frames."""
    detector = make_detector()
    detector.save(tmp_path / "model.pth", **detector.provenance.to_dict())
    path = tmp_path / "a.wav"
    soundfile.write(path, speech(seconds, None, 1), 16000)
    words = ["predict", path, "--model", tmp_path / "model.pth", "--device", "cpu", "--json", "--judgement", judgement]
    assert main(list(map(str, words))) == 0
    row = shared_facts(json.loads(capsys.readouterr().out))
    assert row["judgement"] == judgement
    assert shared_facts(judge_recording(detector, path, judgement=judgement).to_row()) == row
    desk = Desk(detector, tmp_path)
    assert shared_facts(desk.score(path, "a.wav", judgement=judgement).row()) == row
