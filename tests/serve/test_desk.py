"""The desk: scores as those of `nes2net predict`, one recording at a time, within limits, and nothing is kept."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, loud_is_fake

from nes2net.cli.main import main
from nes2net.decisions import CANNOT_TELL, Decider, Population, ScoredBy, load
from nes2net.decisions.population import measure
from nes2net.errors import InputError
from nes2net.serve.decoding import NotDecoded, TooSlow
from nes2net.serve.desk import Busy, Closed, Desk, Limits, display_name, safe_suffix


@pytest.fixture
def desk(small, tmp_path):
    return Desk(small, tmp_path)


@pytest.mark.parametrize("name", ["talk.wav", "talk.mp3"])
def test_the_score_is_that_of_predict(desk, model, small, speech, name, capsys):
    assert main(["predict", str(speech / name), "--model", str(model), "--device", "cpu", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    row = desk.score(speech / name, name).row()
    assert row["file"] == name
    assert (row["score"], row["duration"]) == (expected["score"], expected["duration"])
    track = small.score_track(speech / name)
    np.testing.assert_array_equal(row["scores"], track.scores)
    np.testing.assert_allclose(row["times"], track.times, atol=1e-6)
    assert row["window"] == track.window
    assert not list(desk.folder.iterdir())


def test_a_long_recording_has_the_mean_of_its_track(small, calibration, tmp_path):
    """What it is unlike is told by as much as is heard at once."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000 * 121) * np.linspace(1, 0.1, 16000 * 121)
    soundfile.write(path := tmp_path / "long.flac", noise, 16000)
    usual = measure(soundfile.read(path, frames=64600)[0])
    traits = [usual._replace(level=usual.level + n / 10) for n in range(-10, 10)]
    known = replace(calibration, population=Population.fit(traits, np.arange(20) < 10))
    (tmp_path / "desk").mkdir()
    desk, told = Desk(small, tmp_path / "desk", decider=Decider(known, abstain=0.05)), []
    scored = desk.score(path, path.name, look=True, progress=lambda share, what: told.append((share, what)))
    scores, row = small.score_track(path).scores.tolist(), scored.row()
    assert scored.is_mean and row["p_value"] > 0.05 and "reason" not in row and row["lowest"]["score"] == min(scores)
    assert scored.score == pytest.approx(sum(scores) / len(scores), rel=1e-12) != small.score(path)
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 10
    assert told[0][1] == "decoding" and told[-1][1] == "scored 2:01 of 2:01"
    heard = desk.heard[scored.token]
    assert soundfile.info(heard).subtype == "PCM_16" and soundfile.info(heard).frames == len(noise)
    assert list(desk.folder.iterdir()) == [heard]  # until it is fetched


def test_fake_stretches_are_those_of_python(tmp_path):
    detector, folder, told = loud_is_fake.detector(), tmp_path / "desk", []
    folder.mkdir()
    soundfile.write(tmp_path / "a.wav", loud_is_fake.recording(), 16000)
    desk = Desk(detector, folder)
    row = desk.score(tmp_path / "a.wav", "a.wav", progress=lambda *step: told.append(step)).row()
    found = detector.segment(tmp_path / "a.wav")
    assert loud_is_fake.near([segment[1:3] for segment in found], loud_is_fake.FAKES)
    assert row["segments"] == [pytest.approx(segment._asdict(), abs=1e-6) for segment in found]
    rule = {"threshold": 0.5, "hysteresis": 0.1, "min_duration": 0.1, "resolution_ms": 20.0}
    assert row["segment_rule"] == rule and json.dumps(row)
    detector.record = {}
    assert "segments" not in desk.score(tmp_path / "a.wav", "a.wav").row()
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and told[-1] == (1.0, "searched 0:03 of 0:03 for fakes")


def test_what_is_too_long_is_refused_and_not_kept(small, speech, tmp_path):
    desk = Desk(small, tmp_path, Limits(max_duration=5))
    with pytest.raises(NotDecoded, match="^longer than 5 s"):
        desk.score(speech / "talk.m4a", "talk.m4a", look=True)  # only decoding tells its length
    assert not list(tmp_path.iterdir())


def test_a_recording_that_takes_too_long_is_given_up(small, speech, tmp_path):
    desk = Desk(small, tmp_path, Limits(timeout=1e-3))
    with pytest.raises(TooSlow, match=r"took longer than 0\.001 s"):
        desk.score(speech / "talk.wav", "talk.wav")
    assert not list(tmp_path.iterdir())


def test_one_is_scored_at_a_time_and_few_may_wait(small, speech, tmp_path):
    desk = Desk(small, tmp_path, Limits(waiting=1))
    started, go_on, order = threading.Event(), threading.Event(), []

    def score(name, progress=lambda share, what: None):
        desk.score(speech / "talk.wav", name, progress=progress)
        order.append(name)

    def hold(share, what):
        started.set()
        go_on.wait(PATIENCE)

    first = threading.Thread(target=score, args=("first", hold))
    first.start()
    assert started.wait(PATIENCE)
    second = threading.Thread(target=score, args=("second",))
    second.start()
    while not desk.is_full:
        second.join(0.01)
    with pytest.raises(Busy, match="1 recording is waiting"):
        desk.score(speech / "talk.wav", "third")
    assert order == []
    go_on.set()
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert order == ["first", "second"] and not desk.is_full


def test_a_closed_desk_ends_what_is_being_scored(desk, speech):
    with pytest.raises(Closed):
        desk.score(speech / "talk.wav", "talk.wav", progress=lambda share, what: desk.close())
    assert not list(desk.folder.iterdir())


def test_a_decision_and_what_it_rests_on(small, model, speech, calibration, tmp_path, capsys):
    """That of `nes2net predict`, on as many samples as the calibration was made of."""
    usual = measure(soundfile.read(speech / "talk.wav")[0][:16000])
    population = Population.fit([usual._replace(level=usual.level + 6 + n / 10) for n in range(20)], np.arange(20) < 10)
    scored_by = ScoredBy(small.fingerprint(), "float32", 16000)
    replace(calibration, scored_by=scored_by, population=population).save(tmp_path / "calibration.json")
    (tmp_path / "desk").mkdir()
    decider = Decider(load(tmp_path / "calibration.json"), 0.3, abstain=0.05)
    row = Desk(small, tmp_path / "desk", decider=decider).score(speech / "talk.wav", "talk.wav").row()
    flags = ["--calibration", str(tmp_path / "calibration.json"), "--prior", "0.3", "--abstain", "0.05"]
    assert main(["predict", str(speech / "talk.wav"), "--model", str(model), "--device", "cpu", "--json", *flags]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert row["decision"] == CANNOT_TELL and "its level" in row["reason"] and row["method"] == "beginning"
    shared = ["score", "llr", "probability", "decision", "reason", "p_value", "duration", "method", "samples", "basis"]
    assert {key: row[key] for key in shared} == {key: expected[key] for key in shared}
    other = Decider(replace(calibration, scored_by=replace(scored_by, fingerprint="0" * 64)))
    with pytest.raises(InputError, match="the calibration does not belong to this detector"):
        Desk(small, tmp_path / "desk", decider=other)


def test_wrong_settings():
    with pytest.raises(InputError, match="`max_size` is a number above 0"):
        Limits(max_size=0)
    with pytest.raises(InputError, match="`waiting` is at most 30, not 31"):
        Limits(waiting=31)
    with pytest.raises(InputError, match="`max_duration` is at most 43200 s"):
        Limits(max_duration=1e6)


def test_names_of_uploads():
    assert display_name("..\\..\\boot.ini") == "boot.ini"
    assert display_name("/") == "recording" and display_name("a/..") == ".."
    assert display_name("<img src=x>") == "<img src=x>"  # escaped where it is shown
    assert safe_suffix("a.tar.gz/../x") == "" and safe_suffix("A.FLAC") == ".FLAC"
