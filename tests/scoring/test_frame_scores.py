"""Scores of frames: short recordings in one piece, long ones in windows that depend on nothing else; of a corpus."""

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error
from builders.interruption import journalled
from builders.scored import score_trials
from builders.small_parts import SPECTRUM
from conftest import seeded_detector
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nes2net import Detector
from nes2net.cli.main import main
from nes2net.data.audio.read import load_audio
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.judgements import Frames
from nes2net.models.backends.mean_linear import MeanLinear
from nes2net.scoring.segment_file import read_segment_scores
from nes2net.scoring.track import cut_frame_windows, frame_scores


class ThreeResolutions(MeanLinear):
    """The linear layers on means of 1, 2 and 32 frames."""

    def __init__(self, **options):
        super().__init__(**options)
        self.resolutions = (1, 2, 32)

    def segments(self, features, frame_ms=20.0):
        (logits,) = super().segments(features, frame_ms).values()
        pooled = {n: logits[:, : len(logits[0]) // n * n].unflatten(1, (-1, n)).mean(2) for n in self.resolutions}
        return {n * frame_ms: x for n, x in pooled.items()}


@pytest.fixture(scope="module")
def spectral():
    torch.manual_seed(0)
    frontend = SPECTRUM | {"hop_length": 320}
    return Detector.from_config({"frontend": frontend, "backend": "mean_linear"}).eval()


@pytest.fixture(scope="module")
def several(spectral):
    backend = ThreeResolutions(feature_dim=20)
    backend.config = {"name": "three_resolutions"}
    return Detector(spectral.frontend, spectral.aggregation, backend).eval()


@pytest.fixture(scope="module")
def recording():
    """Noise of 67 s whose loudness changes."""
    rng = np.random.default_rng(0)
    loudness = np.repeat(rng.uniform(0.01, 0.1, 68), 16000)[: 67 * 16000 + 123]
    return (rng.standard_normal(len(loudness)) * loudness).astype(np.float32)


in_any_pieces = given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(1, 8), st.integers(0, 20))


@settings(max_examples=50)
@in_any_pieces
def test_a_recording_up_to_the_longest_length_is_one_window_however_its_samples_arrive(lengths, step, more):
    samples = np.arange(sum(lengths), dtype=np.float32)
    longest = max(2 * step, len(samples)) + more
    pieces = np.split(samples, np.cumsum(lengths)[:-1])
    (window,) = cut_frame_windows(pieces, longest, step)
    assert window.start == 0
    assert_array_equal(window.samples, samples)
    assert window.is_last


@settings(max_examples=100)
@in_any_pieces
def test_windows_of_a_longer_recording_do_not_depend_on_how_its_samples_arrive(lengths, step, more):
    """A window of two steps begins every step;"""
    samples = np.arange(sum(lengths), dtype=np.float32)
    longest = 2 * step + more
    assume(len(samples) > longest)
    pieces = np.split(samples, np.cumsum(lengths)[:-1])
    windows = list(cut_frame_windows(pieces, longest, step))
    starts = [window.start for window in windows]
    sizes = [len(window.samples) for window in windows]
    assert starts == list(range(0, step * len(windows), step))
    assert set(sizes[:-1]) == {2 * step}
    assert step < sizes[-1] <= 2 * step
    assert starts[-1] + sizes[-1] == len(samples)
    for window, size in zip(windows, sizes):
        assert_array_equal(window.samples, samples[window.start : window.start + size])


@pytest.mark.parametrize("length", [1, 16000, 30 * 16000])
def test_the_frames_of_up_to_30_s_are_scored_in_one_piece(spectral, recording, length):
    samples = recording[:length]
    frame_scores_of_piece = spectral.frame_scores(samples, 16000)
    with torch.inference_mode():
        waveform = torch.from_numpy(np.resize(samples, max(length, spectral.min_samples)))[None]
        (expected,) = spectral.segment_scores(waveform).values()
    assert_array_equal(frame_scores_of_piece.scores, expected[0, : -(-length // 320)].numpy())


@pytest.mark.parametrize("resolution", [20, 40, 640])
def test_scores_of_frames_that_see_no_other_frame_do_not_depend_on_the_windows(
    several, recording, resolution, monkeypatch
):
    """In windows, then all 67 s at once; there is one score for each whole frame."""
    long = several.frame_scores(recording, 16000, resolution_ms=resolution)
    monkeypatch.setattr("nes2net.scoring.track.MAX_PIECE_SECONDS", 100.0)
    scores_of_pieces = several.frame_scores(recording, 16000, resolution_ms=resolution)
    assert_allclose(long.scores, scores_of_pieces.scores, atol=1e-6)
    assert long.resolution_ms == resolution
    assert len(long) == recording.size // (16 * resolution)
    assert long.duration == recording.size / 16000


def test_with_pre_emphasis_a_long_recording_of_a_corpus_has_the_frame_scores_computed_alone(
    small_model, recording, tmp_path, monkeypatch
):
    monkeypatch.setattr("nes2net.scoring.track.MAX_PIECE_SECONDS", 3.0)
    monkeypatch.setattr("nes2net.scoring.track.WINDOW_STEP", 1.0)
    frontend = {**small_model["frontend"], "pre_emphasis": 0.97}
    detector = Detector.from_config({"frontend": frontend, "backend": "mean_linear"}).eval()
    path = tmp_path / "a.wav"
    soundfile.write(path, recording[: 5 * 16000], 16000, subtype="FLOAT")
    scores = tmp_path / "frames.txt"
    score_trials(detector, [Trial("a", path)], scores, Frames(), num_samples=None)
    written = read_segment_scores(scores)["a"]
    assert_allclose(written, detector.frame_scores(path).scores, atol=1e-5)


@pytest.fixture
def long_file(recording, tmp_path, monkeypatch):
    """5 s, of which frames are scored in windows of 2 s."""
    monkeypatch.setattr("nes2net.scoring.track.MAX_PIECE_SECONDS", 3.0)
    monkeypatch.setattr("nes2net.scoring.track.WINDOW_STEP", 1.0)
    soundfile.write(tmp_path / "a.flac", recording[: 5 * 16000 + 123], 16000)
    return tmp_path / "a.flac"


@pytest.fixture
def sees_its_window(small_model):
    """A detector whose frames see all of their window."""
    return seeded_detector({**small_model, "backend": "mean_linear"})


def test_frames_of_a_file_have_the_same_scores_whatever_the_blocks_read(sees_its_window, long_file, monkeypatch):
    expected = sees_its_window.frame_scores(load_audio(long_file), 16000)
    monkeypatch.setattr("nes2net.data.audio.decoders.BLOCK_VALUES", 30_001)
    assert_allclose(frame_scores(sees_its_window, long_file).scores, expected.scores, atol=1e-5)


def test_frames_of_a_file_have_the_same_scores_at_any_batch_size(sees_its_window, long_file):
    alone, in_threes = (frame_scores(sees_its_window, long_file, batch_size=size).scores for size in (1, 3))
    assert_allclose(in_threes, alone, atol=1e-5)


@pytest.fixture
def one_second_whisper():
    """A detector that reads 1 s at once."""
    small = {"encoder_layers": 1, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4}
    torch.manual_seed(0)
    frontend = {"name": "whisper", "chunk_length": 1, **small}
    return Detector.from_config({"frontend": frontend, "backend": "mean_linear"}).eval()


def test_a_frame_has_its_score_of_the_window_in_which_it_is_farthest_from_an_end(one_second_whisper, recording):
    samples = recording[: 16000 * 5 + 200]
    scored = one_second_whisper.frame_scores(samples, 16000)
    for start, first, last in ((0, 0, 36), (7680, 12, 36), (69120, 12, 34)):  # windows of 0.96 s, one every 0.48 s
        with torch.inference_mode():
            window = torch.from_numpy(samples[start : start + 15360])[None]
            (scores,) = one_second_whisper.segment_scores(window).values()
        assert_allclose(scored.scores[start // 320 :][first:last], scores[0, first:last].numpy(), atol=1e-6)


def test_a_resolution_that_the_back_end_does_not_have_is_refused(several, recording):
    with input_error("segments of 20, 40, 640 ms, not of 30 ms"):
        several.frame_scores(recording, 16000, resolution_ms=30)


def test_a_back_end_whose_segments_have_another_resolution_than_it_declares_is_refused(several, recording, monkeypatch):
    monkeypatch.setattr(several.backend, "segments", lambda x, ms: {ms: x[:, ::2, :2]})
    with input_error("correct the resolutions that its back-end declares"):
        several.frame_scores(recording, 16000)


# Of a corpus

SECONDS = (0.5, 0.01, 1.37, 0.5, 31.2, 0.3, 1.37, 0.5)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for number, seconds in enumerate(SECONDS):
        soundfile.write(folder / f"{number}.wav", 0.1 * rng.standard_normal(int(16000 * seconds)), 16000)
    return [Trial(f"t{number}", folder / f"{number}.wav") for number in range(len(SECONDS))]


def score(detector, trials, out, judgement=None, **options):
    options = {"num_samples": None, "batch_size": 3, **options}
    return score_trials(detector, trials, out, judgement or Frames(20.0), **options)


def test_frame_scores_of_a_corpus_equal_those_of_each_recording_alone(spectral, trials, tmp_path):
    out = tmp_path / "f.txt"
    score(spectral, trials, out)
    segment_scores = read_segment_scores(out)
    assert list(segment_scores) == [trial.id for trial in trials]
    for trial in trials:
        alone = frame_scores(spectral, trial.path).scores
        assert_allclose(segment_scores[trial.id], alone, rtol=0, atol=1e-5)


def test_an_interrupted_run_of_frames_resumes_to_the_bytes_of_an_uninterrupted_one(spectral, trials, tmp_path):
    out = tmp_path / "f.txt"
    uninterrupted = tmp_path / "whole.txt"
    trials = [*trials[:4], *trials[5:]]  # without the one of 31 s
    with journalled(stop_after=2):
        score(spectral, trials, out, batch_size=2)
    with journalled() as again:
        score(spectral, trials, out, batch_size=2)
    assert 0 < sum(map(len, again)) < len(trials)
    score(spectral, trials, uninterrupted, batch_size=2)
    assert out.read_bytes() == uninterrupted.read_bytes()


def test_to_write_scores_of_recordings_into_a_file_of_frames_is_refused(spectral, trials, tmp_path):
    score(spectral, trials[:2], tmp_path / "f.txt")
    with input_error("another resolution_ms"):
        score_trials(spectral, trials[:2], tmp_path / "f.txt", num_samples=None)


@pytest.mark.parametrize("options", [{"num_samples": 8000}, {"padding": "zeros"}])
def test_a_length_or_padding_is_refused_for_scores_of_frames(spectral, trials, tmp_path, options):
    """Frames are scored only in whole recordings."""
    with input_error("remove `num_samples`, `padding` and the transform"):
        score(spectral, trials, tmp_path / "f.txt", **options)


def test_a_detector_that_scores_no_segments_is_refused_for_scoring_frames_of_a_corpus(
    spectral_detector, trials, tmp_path
):
    with input_error("not their segments"):
        score(spectral_detector, trials, tmp_path / "f.txt")


@pytest.fixture
def score_words(spectral, trials, tmp_path):
    """Words of `nes2net score` without those about frames."""
    spectral.save(tmp_path / "d.pth")
    listed = tmp_path / "list.csv"
    listed.write_text("path,label\n" + "".join(f"{trial.path},real\n" for trial in trials))
    return (
        f"score generic {listed} --model {tmp_path}/d.pth --out {tmp_path}/f.txt --split all --workers 0 --device cpu"
    )


def test_the_command_score_with_the_judgement_frames_writes_scores_of_frames_of_a_corpus(score_words, tmp_path):
    assert main(f"{score_words} --judgement frames".split()) == 0
    assert len(read_segment_scores(tmp_path / "f.txt")) == 8


@pytest.mark.parametrize(
    "flags, message",
    [
        (
            '--judgement {"name":"frames","resolution_ms":40}',
            "scores segments of 20 ms, not of 40 ms: change `resolution_ms`",
        ),
        ("--judgement frames --samples 4sec", "--samples is 4sec, but frames are scored only in whole utterances"),
    ],
)
def test_the_command_refuses_settings_by_which_frames_cannot_be_scored(score_words, capsys, flags, message):
    assert main(f"{score_words} {flags}".split()) == 2
    assert message in capsys.readouterr().err
