"""Recordings that are changed before they are cut and scored."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile

from nes2net import InputError
from nes2net.data.audio.read import load_audio
from nes2net.data.corpora import asvspoof2019_la
from nes2net.evaluation.judgements import Frames, Scores
from nes2net.scoring.corpus import ScoringSettings, judge_trials
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
    judge_trials(spectral_detector, trials, out, Scores(), settings=ScoringSettings(**options, transform=Reversed()))
    found = {name: float(score) for name, score in map(str.split, out.read_text().splitlines())}
    for trial in trials:
        waveform = load_audio(trial.path)[::-1][int(trial.id[-1]) :].copy()
        expected = spectral_detector.score(waveform, 16000, num_samples=num_samples)
        assert found[trial.id] == pytest.approx(expected, abs=1e-5)


def test_it_belongs_to_the_run(spectral_detector, trials, tmp_path):
    def score(name, transform):
        options = {"num_samples": 8000, "num_workers": 0, "transform": transform}
        return judge_trials(spectral_detector, trials, tmp_path / name, Scores(), settings=ScoringSettings(**options))

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


def scored(detector, trials, out, **options):
    done = judge_trials(detector, trials, out, Scores(), settings=ScoringSettings(num_workers=0, **options))
    lines = map(str.split, out.read_text().splitlines())
    return {name: float(score) for name, score in lines}, json.loads(done.record_path.read_text())["run"]


def test_zeros_and_peaks_are_scored_as_asked_and_belong_to_the_run(spectral_detector, trials, tmp_path):
    """In a corpus as by `Detector.score`, and as the changed waveform itself is scored."""
    longest = max(len(load_audio(trial.path)) for trial in trials)
    plain, identity = scored(spectral_detector, trials, tmp_path / "s", num_samples=longest)
    assert not {"padding", "peak_normalize"} & identity.keys()
    ways = ({"padding": "zeros"}, {"peak_normalize": "recording"}, {"padding": "zeros", "peak_normalize": "recording"})
    for way in ways:
        with pytest.raises(InputError, match=f"another {next(iter(way))}"):
            scored(spectral_detector, trials, tmp_path / "s", num_samples=longest, **way)
        found, identity = scored(spectral_detector, trials, tmp_path / "_".join(way), num_samples=longest, **way)
        assert way.items() <= identity.items()
        for trial in trials:
            waveform = load_audio(trial.path)
            if "peak_normalize" in way:
                waveform = waveform / np.abs(waveform).max()
            if "padding" in way:
                waveform = np.concatenate([waveform, np.zeros(longest - len(waveform), np.float32)])
            assert found[trial.id] == pytest.approx(
                spectral_detector.score(waveform, 16000, num_samples=longest), rel=1e-5, abs=1e-5
            )
            assert found[trial.id] == pytest.approx(
                spectral_detector.score(trial.path, num_samples=longest, **way), rel=1e-5, abs=1e-5
            )
        assert sum(abs(found[id] - plain[id]) > 1e-4 for id in plain) > len(plain) / 2


def test_the_peak_is_that_of_the_recording_or_of_the_cut(tmp_path):
    waveform = np.array([0, 0.25, -0.125, 0, -0.5, 0.5], np.float32)
    soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "silence.wav", np.zeros(2), 16000)

    def read(name, num_samples, **way):
        return WaveformReader(num_samples, min_samples=8, **way).read(tmp_path / name).waveform.tolist()

    assert read("a.wav", 3, peak_normalize="recording") == [0, 0.5, -0.25]
    assert read("a.wav", 3, peak_normalize="cut") == [0, 1, -0.5]
    assert read("a.wav", 3) == [0, 0.25, -0.125]
    assert read("a.wav", None, padding="zeros", peak_normalize="cut") == [0, 0.5, -0.25, 0, -1, 1, 0, 0]
    assert read("a.wav", 9, padding="zeros", crop="random") == [*waveform.tolist(), 0, 0, 0]
    assert read("silence.wav", 3, padding="zeros", peak_normalize="recording") == [0, 0, 0]


def test_unknown_words_and_endless_zeros_are_refused(spectral_detector):
    for way, message in (
        ({"padding": "mirror"}, "`padding` is 'repeat' or 'zeros', not 'mirror'"),
        ({"peak_normalize": True}, "`peak_normalize` is 'no' or 'recording' or 'cut', not True"),
        ({"padding": "zeros", "num_samples": 10**12}, "would be filled up to 1,000,000,000,000 samples"),
    ):
        with pytest.raises(InputError, match=message):
            spectral_detector.score(np.zeros(9, np.float32), 16000, **way)


def test_no_zeros_stand_behind_frames(spectral_detector, trials, tmp_path):
    with pytest.raises(InputError, match="leave out `num_samples`, `padding` and the transform"):
        judge_trials(
            spectral_detector,
            trials,
            tmp_path / "s",
            Frames(20),
            settings=ScoringSettings(num_samples=None, padding="zeros"),
        )
