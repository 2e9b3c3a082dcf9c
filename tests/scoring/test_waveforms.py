"""Recordings that are changed before they are cut and scored."""

from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
from builders import input_error
from builders.scored import score_trials

from nes2net import InputError
from nes2net.data.audio.read import load_audio
from nes2net.data.corpora import asvspoof2019_la
from nes2net.scoring.score_file import read_scores
from nes2net.scoring.waveforms import WaveformReader


@dataclass(frozen=True)
class Reversed:
    """Time is reversed, and a number of samples of its own omitted from each utterance."""

    identity: str = "reversed"
    broken: str = ""
    result: object = None

    def __call__(self, waveform, id):
        if id == self.broken:
            raise InputError("cannot be turned round")
        if self.result is not None:
            return self.result
        return reversed_waveform(waveform, id)


def reversed_waveform(waveform, id):
    num_omitted = int(id[-1])
    return waveform[::-1][num_omitted:]


@pytest.fixture
def trials(corpus):
    return asvspoof2019_la.CORPUS.trials(corpus, "dev")


@pytest.mark.parametrize("num_samples, workers", [(8000, 0), (64600, 2), (None, 0)])
def test_the_transform_gets_the_whole_recording_before_it_is_cut(
    spectral_detector, trials, tmp_path, num_samples, workers
):
    options = {"num_samples": num_samples, "num_workers": workers}
    score_trials(spectral_detector, trials, tmp_path / "s", transform=Reversed(), **options)
    scores = scores_in(tmp_path / "s")
    for trial in trials:
        waveform = load_audio(trial.path)
        waveform = reversed_waveform(waveform, trial.id).copy()
        expected = spectral_detector.score(waveform, 16000, num_samples=num_samples)
        assert scores[trial.id] == pytest.approx(expected, abs=1e-5)


def test_a_file_made_with_a_transform_is_refused_with_another_transform_or_none(spectral_detector, trials, tmp_path):
    def score(name, transform):
        return score_trials(spectral_detector, trials, tmp_path / name, transform=transform)

    score("s.txt", Reversed())
    for transform in (Reversed("another"), None):
        with input_error("another transform"):
            score("s.txt", transform)


def test_an_utterance_that_the_transform_refuses_is_a_failure(spectral_detector, trials, tmp_path):
    broken = trials[2].id
    transform = Reversed(broken=broken)
    partial = score_trials(spectral_detector, trials, tmp_path / "t", transform=transform)
    assert partial.failures == {broken: "cannot be turned round"}


@pytest.mark.parametrize(
    "result, problem",
    [
        (np.zeros(9), r"float64 of shape \(9,\)"),
        (np.full(9, np.nan, np.float32), "NaN or infinity"),
    ],
)
def test_a_transform_that_returns_float64_or_nan_is_refused(trials, result, problem):
    reader = WaveformReader(8000, transform=Reversed("odd", result=result))
    message = rf"^odd returned {problem} for .*\.flac; expected float32 of shape \(N,\)$"
    with input_error(message):
        reader.read(trials[0].path, trials[0].id)


def scores_in(path):
    ids, scores = read_scores(path)
    return dict(zip(ids, scores))


ZEROS = {"padding": "zeros"}
PEAK = {"peak_normalize": "recording"}


@pytest.mark.parametrize("options", [ZEROS, PEAK, {**ZEROS, **PEAK}], ids="-".join)
def test_padding_and_peak_normalisation_are_applied_to_a_corpus_as_to_a_file(
    spectral_detector, trials, tmp_path, options
):
    longest = 0
    for trial in trials:
        longest = max(longest, len(load_audio(trial.path)))
    score_trials(spectral_detector, trials, tmp_path / "s", num_samples=longest, **options)
    scores = scores_in(tmp_path / "s")
    for trial in trials:
        of_file = spectral_detector.score(trial.path, num_samples=longest, **options)
        assert scores[trial.id] == pytest.approx(of_file, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("options", [ZEROS, PEAK], ids="-".join)
def test_a_file_made_without_padding_or_peak_normalisation_is_refused_with_it(
    spectral_detector, trials, tmp_path, options
):
    score_trials(spectral_detector, trials, tmp_path / "s")
    (option,) = options
    with input_error(f"another {option}"):
        score_trials(spectral_detector, trials, tmp_path / "s", **options)


LOUD_END = [0, 0.25, -0.125, 0, -0.5, 0.5]


def read(path, samples, num_samples, **options):
    """The samples that are read of a file of ``samples`` for a detector that needs eight."""
    soundfile.write(path, np.array(samples, np.float32), 16000, subtype="FLOAT")
    return WaveformReader(num_samples, min_samples=8, **options).read(path).waveform.tolist()


@pytest.mark.parametrize(
    "peak_of, expected", [("no", [0, 0.25, -0.125]), ("recording", [0, 0.5, -0.25]), ("cut", [0, 1, -0.5])]
)
def test_a_cut_is_divided_by_the_peak_of_the_recording_or_of_the_cut_if_asked(tmp_path, peak_of, expected):
    assert read(tmp_path / "a.wav", LOUD_END, 3, peak_normalize=peak_of) == expected


@pytest.mark.parametrize("crop", ["head", "random"])
def test_zeros_fill_a_recording_up_to_the_scored_length(tmp_path, crop):
    assert read(tmp_path / "a.wav", LOUD_END, 9, padding="zeros", crop=crop) == [*LOUD_END, 0, 0, 0]


def test_zeros_fill_a_recording_scored_as_a_whole_up_to_the_length_the_detector_needs(tmp_path):
    assert read(tmp_path / "a.wav", LOUD_END, None, padding="zeros") == [*LOUD_END, 0, 0]


def test_silence_that_is_normalised_to_its_peak_is_silence(tmp_path):
    assert read(tmp_path / "a.wav", [0, 0], 3, padding="zeros", peak_normalize="recording") == [0, 0, 0]


def test_padding_of_an_unknown_name_is_refused(tmp_path):
    with input_error("`padding` must be 'repeat' or 'zeros', not 'mirror'"):
        read(tmp_path / "a.wav", LOUD_END, None, padding="mirror")


def test_padding_up_to_a_million_million_samples_is_refused(tmp_path):
    with input_error("would be filled up to 1,000,000,000,000 samples"):
        read(tmp_path / "a.wav", LOUD_END, 10**12, padding="zeros")
