"""Measuring a corpus: the same by processes, in order, and with bad files named."""

import numpy as np
import pytest
import soundfile
from builders.voices import voice

from nes2net.data.corpora.trial import Trial
from nes2net.scoring import engine
from nes2net.scoring.decisions.population import measure
from nes2net.scoring.measuring import draw_trials, measure_trials


@pytest.mark.parametrize("num_samples, workers", [(None, 0), (5000, 2)])
def test_recordings_of_a_corpus_have_the_traits_measured_alone_in_their_order(tmp_path, num_samples, workers):
    expected = {}
    for number in range(19):
        samples = voice(number, 1)[: 4000 + 300 * number]
        soundfile.write(tmp_path / f"t{number}.wav", samples, 16000, subtype="FLOAT")
        share = min(1.0, (num_samples or np.inf) / len(samples))
        expected[f"t{number}"] = measure(samples, num_samples)._replace(judged=share)
    trials = [Trial(id, tmp_path / f"{id}.wav") for id in expected]
    traits, _ = measure_trials(trials, tmp_path / "m", num_samples, num_workers=workers)
    assert traits == expected
    assert list(traits) == list(expected)


def test_bad_files_have_a_reason_in_place_of_their_traits(tmp_path):
    soundfile.write(tmp_path / "good.wav", voice(0, 1), 16000)
    (tmp_path / "cut.wav").write_bytes(b"RIFF\0\0")
    trials = [Trial(id, tmp_path / f"{id}.wav") for id in ("cut", "gone", "good")]
    traits, failures = measure_trials(trials, tmp_path / "m", None, num_workers=0)
    assert list(traits) == ["good"]
    assert sorted(failures) == ["cut", "gone"]
    assert "gone.wav not found" in failures["gone"]


def test_a_process_measures_without_waiting_for_other_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "join_processes", lambda: pytest.fail("it waits for the others"))
    soundfile.write(tmp_path / "a.wav", np.full(4000, 0.1), 16000)
    traits, _ = measure_trials([Trial("a", tmp_path / "a.wav")], tmp_path / "m", 4000, num_workers=0)
    assert list(traits) == ["a"]


def test_all_trials_are_drawn_if_there_are_no_more_than_asked_for():
    trials = [Trial(str(number)) for number in range(50)]
    assert draw_trials(trials, 50) == trials


def test_as_many_trials_as_asked_for_are_drawn_in_their_order():
    trials = [Trial(str(number)) for number in range(500)]
    drawn = [int(trial.id) for trial in draw_trials(trials, 50)]
    assert len(drawn) == 50
    assert drawn == sorted({*drawn})


def test_the_same_trials_are_drawn_each_time():
    trials = [Trial(str(number)) for number in range(500)]
    assert draw_trials(trials, 50) == draw_trials(trials, 50)
