"""Recordings that are changed before they are cut and scored."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from nes2net import InputError
from nes2net.audio.read import load_audio
from nes2net.corpora import asvspoof2019_la
from nes2net.scoring.corpus import score_trials
from nes2net.scoring.waveforms import WaveformReader


@dataclass(frozen=True)
class Reversed:
    """Time turned round, and a number of samples of its own for each utterance left out."""

    identity: str = "reversed"
    broken: str = ""
    result: object = None

    def __call__(self, waveform, id):
        if id == self.broken:
            raise InputError("cannot be turned round")
        return waveform[::-1][int(id[-1]) :] if self.result is None else self.result


@pytest.fixture
def trials(corpus):
    return asvspoof2019_la.CORPUS.trials(corpus, "dev")


@pytest.mark.parametrize("num_samples, workers", [(8000, 0), (64600, 2), (None, 0)])
def test_the_whole_recording_is_changed_and_then_cut(spectral_detector, trials, tmp_path, num_samples, workers):
    out, options = tmp_path / "s", {"num_samples": num_samples, "num_workers": workers}
    score_trials(spectral_detector, trials, out, **options, transform=Reversed())
    found = {name: float(score) for name, score in map(str.split, out.read_text().splitlines())}
    for trial in trials:
        waveform = load_audio(trial.path)[::-1][int(trial.id[-1]) :].copy()
        expected = spectral_detector.score(waveform, 16000, num_samples=num_samples)
        assert found[trial.id] == pytest.approx(expected, abs=1e-5)


def test_it_belongs_to_the_run(spectral_detector, trials, tmp_path):
    def score(name, transform):
        options = {"num_samples": 8000, "num_workers": 0, "transform": transform}
        return score_trials(spectral_detector, trials, tmp_path / name, **options)

    record = json.loads(score("s.txt", Reversed()).record_path.read_text())
    assert record["run"]["transform"] == "reversed" and score("s.txt", Reversed()).already_complete
    for other in (Reversed("another"), None):
        with pytest.raises(InputError, match="another transform"):
            score("s.txt", other)
    failures = score("t", Reversed(broken=trials[2].id)).failures
    assert failures == {trials[2].id: "cannot be turned round"}


def test_what_is_no_waveform_is_refused(trials):
    empty, wide, nan = np.zeros(0, np.float32), np.zeros((9, 1), np.float32), np.full(9, np.nan, np.float32)
    for result in (empty, np.zeros(9), wide, nan):
        with pytest.raises(InputError, match=r"^odd: .* instead of float32 samples"):
            WaveformReader(8000, transform=Reversed("odd", result=result)).read(trials[0].path, trials[0].id)


def test_without_an_id_the_file_names_the_utterance(trials):
    named = WaveformReader(None, transform=Reversed()).read(trials[3].path, trials[3].id)
    by_file = WaveformReader(None, transform=Reversed()).read(trials[3].path)
    np.testing.assert_array_equal(named.waveform, by_file.waveform)
    assert named.num_samples == len(load_audio(trials[3].path)) - int(trials[3].id[-1])
