"""Scoring from Python: samples and files, in any mode of the detector, by any number of threads."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import MethodType

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error
from builders.files import write
from builders.recordings import write_two_tracks
from builders.scored import WithoutFirst

from nes2net.data.audio.read import LongAudio
from nes2net.evaluation.judgements import Scores
from nes2net.lib.errors import BrokenPart, settings_called
from nes2net.scoring.files import judge_files
from nes2net.scoring.judged import Failed
from nes2net.scoring.judging import JudgingSettings, judge_recording


@pytest.fixture
def detector(spectral_detector):
    return spectral_detector


@pytest.fixture
def waveform():
    return (0.1 * np.random.default_rng(0).standard_normal(20000)).astype(np.float32)


@pytest.fixture
def recordings(tmp_path):
    """Files of four alternating lengths, and the samples of each."""
    rng = np.random.default_rng(1)
    recordings = {}
    for number in range(12):
        samples = 0.1 * rng.standard_normal((4000, 4300, 9000, 700)[number % 4]).astype(np.float32)
        recordings[tmp_path / f"{number}.wav"] = samples
        soundfile.write(tmp_path / f"{number}.wav", samples, 16000, subtype="FLOAT")
    return recordings


@pytest.mark.parametrize("num_samples, batch_size", [(None, 5), (4100, 1)])
def test_score_files_gives_the_scores_of_files_computed_alone_in_the_order_of_the_files(
    detector, recordings, num_samples, batch_size
):
    pairs = list(detector.score_files(recordings, num_samples, batch_size=batch_size, workers=3))
    assert [path for path, _ in pairs] == list(recordings)
    expected = [detector.score(samples, 16000, num_samples=num_samples) for samples in recordings.values()]
    assert [score for _, score in pairs] == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def read_ahead(detector, recordings):
    """A function that scores 30 of endless paths in batches of two, and returns how many more were requested."""

    def score_30():
        num_requested = itertools.count()
        paths = (path for path, _ in zip(itertools.cycle(recordings), num_requested))
        with closing(detector.score_files(paths, batch_size=2)) as scores:
            assert len(list(itertools.islice(scores, 30))) == 30
        return next(num_requested) - 30

    return score_30


def test_of_endless_paths_at_most_six_batches_are_read_ahead(read_ahead):
    assert read_ahead() <= 6 * 2


def test_of_endless_paths_only_one_is_read_ahead_if_its_bytes_are_as_many_as_allowed(read_ahead, monkeypatch):
    monkeypatch.setattr("nes2net.scoring.files._AHEAD_BYTES", 1)
    assert read_ahead() <= 1


def test_the_first_bad_file_raises_after_the_scores_of_those_before_it(detector, recordings, tmp_path):
    good = list(recordings)[:5]
    scored = []
    with input_error(r"bad\.flac was read by neither"):
        scored.extend(detector.score_files([*good, write(tmp_path / "bad.flac", "no audio")], batch_size=4))
    assert [path for path, _ in scored] == good


def test_on_error_gets_each_bad_file_in_place_of_a_score_of_it(detector, recordings, tmp_path):
    good = list(recordings)
    bad = write(tmp_path / "bad.flac", "no audio")
    missing_file = tmp_path / "none.wav"
    paths = [*good[:5], bad, *good[5:], missing_file]
    failures = {}
    pairs = list(detector.score_files(paths, batch_size=4, on_error=failures.__setitem__))
    assert [path for path, _ in pairs] == good
    assert list(failures) == [bad, missing_file]


@pytest.mark.parametrize("windows", [False, True])
def test_a_judgement_that_loses_a_row_is_refused(detector, waveform, recordings, windows):
    with pytest.raises(BrokenPart, match="the judgement: 0 rows for a batch of 1"):
        if windows:
            judge_recording(
                detector, waveform, None, WithoutFirst(), sample_rate=16000, settings=JudgingSettings(track=True)
            )
        else:
            list(judge_files(detector, WithoutFirst(), recordings, batch_size=1))


def test_a_score_of_nan_is_a_failure_of_its_file(detector, recordings):
    failures = {}
    with torch.no_grad():
        detector.backend.last_layer.bias.fill_(float("nan"))
    assert not list(detector.score_files(recordings, batch_size=4, on_error=failures.__setitem__))
    assert list(failures) == list(recordings)
    assert all("score is nan" in str(failure) for failure in failures.values())


def test_only_the_files_above_the_largest_length_fail(detector, recordings):
    """Of four alternating lengths, 9,000 samples are above the 4,300 that are given."""
    paths = list(recordings)
    judged = list(judge_files(detector, Scores(), paths, longest=4300, batch_size=4))
    failed = [file for file in judged if isinstance(file, Failed)]
    assert [file.path for file in judged] == paths
    assert [file.path for file in failed] == paths[2::4]
    assert all(isinstance(file.error, LongAudio) for file in failed)


def test_several_threads_get_the_scores_that_one_thread_gets(detector, recordings):
    """With the detector in eval mode and in train mode."""
    expected = [detector.score(path) for path in recordings]
    for training in (False, True):
        detector.train(training)
        with ThreadPoolExecutor(4) as pool:
            scores = list(pool.map(detector.score, list(recordings) * 2))
            lists = list(pool.map(lambda _: [s for _, s in detector.score_files(recordings)], range(2)))
        assert scores == expected * 2
        assert all(scores_of_thread == pytest.approx(expected, abs=1e-6) for scores_of_thread in lists)


def test_a_replaced_forward_is_called_in_evaluation_mode_for_scoring(detector, waveform):
    """As Accelerate replaces it by a method."""
    expected = detector.score(waveform, 16000)
    modes = []
    detector.forward = MethodType(lambda self, x: modes.append(self.training) or type(self).forward(self, x), detector)
    assert detector.train().score(waveform, 16000) == expected
    assert modes == [False]


def test_an_input_that_cannot_be_scored_is_refused_with_the_reason(detector):
    """By score, score_track and embed."""
    for audio, sample_rate, message in (
        (np.zeros(0, np.float32), 16000, "has no samples"),
        (np.zeros(4000, np.int16), 16000, "int16.*divide by full scale"),
        (np.full(4000, 9000.0), 16000, r"reach 9000.*\[-1, 1\]"),
        (np.array([0.1, -np.inf]), 16000, "NaN or infinite"),
        (np.zeros((4000, 2)), 16000, "more channels than samples.*transpose"),
        (np.zeros(4000), None, "the sample rate must be a number of Hz, such as sample_rate=16000, not None"),
        (["a.wav", "b.wav"], 16000, "of 2: use score_files for several files, score_batch for several waveforms"),
    ):
        for score in (detector.score, detector.score_track, detector.embed):
            with input_error(message):
                score(audio, sample_rate)


def test_a_note_of_a_thread_that_reads_has_the_flag_of_the_program(detector, tmp_path, capsys):
    path = write_two_tracks(tmp_path / "two.mkv")
    with settings_called({"audio_track": "--audio-track"}):
        list(detector.score_files([path]))
    assert "choose another with --audio-track" in capsys.readouterr().err


@pytest.fixture(params=["wav", "flac"])
def path(request, waveform, tmp_path):
    """A file of the waveform."""
    path = tmp_path / f"a.{request.param}"
    soundfile.write(path, waveform, 16000, subtype="PCM_16")
    return path


def test_a_file_object_has_the_same_score_as_its_path(detector, path):
    with open(path, "rb") as file:
        assert detector.score(file) == detector.score(path)


def test_a_file_object_that_was_read_to_its_end_is_refused(detector, path):
    with open(path, "rb") as file:
        detector.score(file)
        with input_error(rf"{path.name} was read to its end, so no bytes are left: call seek\(0\)"):
            detector.score(file)


def test_the_type_of_a_waveform_does_not_change_its_score(detector, waveform):
    """Array or tensor, with gradients or with a dimension of audio channels; bfloat16 scores as its samples in float32."""
    score = detector.score(waveform, 16000)
    tensor = torch.from_numpy(waveform)
    for equal_waveform in (waveform.astype(np.float64), tensor.clone().requires_grad_(), tensor[None]):
        assert detector.score(equal_waveform, 16000) == score
    assert detector.score(tensor.bfloat16(), 16000) == detector.score(tensor.bfloat16().float(), 16000)


def test_waveforms_of_a_batch_have_the_scores_computed_alone(detector, waveform):
    """Of several lengths, or of one length in a tensor and by a detector in train mode."""
    several = [waveform, 0.5 * waveform[:7000], waveform[::-1].copy(), np.stack([waveform, waveform])]
    expected = [detector.score(single_waveform, 32000) for single_waveform in several]
    assert detector.score_batch(several, 32000) == pytest.approx(expected, abs=1e-6)
    batch = torch.from_numpy(np.stack(several[0:3:2]))
    assert detector.train().score_batch(batch, 32000) == pytest.approx(expected[0:3:2], abs=1e-6)


def test_score_files_refuses_a_single_path(detector):
    with input_error(r"several paths.*\['speech.wav'\]"):
        detector.score_files("speech.wav")
