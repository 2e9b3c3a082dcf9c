"""Scoring from Python: samples and files, in any mode of the detector, by any number of threads."""

import io
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from types import MethodType

import numpy as np
import pytest
import soundfile
import torch
from builders import PATIENCE

from nes2net import Detector, InputError
from nes2net.audio.read import LongAudio
from nes2net.scoring.files import score_files
from nes2net.scoring.waveforms import WaveformReader


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
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, samples, 16000, subtype="FLOAT")
        recordings[path] = samples
    return recordings


@pytest.mark.parametrize("num_samples, batch_size", [(None, 5), (4100, 1)])
def test_files_are_scored_in_order_and_as_alone(detector, recordings, num_samples, batch_size):
    pairs = list(detector.score_files(recordings, num_samples, batch_size=batch_size, workers=3))
    assert [path for path, _ in pairs] == list(recordings)
    expected = [detector.score(samples, 16000, num_samples=num_samples) for samples in recordings.values()]
    assert [score for _, score in pairs] == pytest.approx(expected, abs=1e-6)


def test_files_share_batches(detector, recordings, monkeypatch):
    """Files of one length share a batch with all that are read ahead."""
    sizes = []
    scores = Detector.scores
    monkeypatch.setattr(Detector, "scores", lambda self, x: sizes.append(tuple(x.shape)) or scores(self, x))
    list(detector.score_files(recordings, batch_size=3))
    assert [rows for rows, _ in sizes] == [3, 3, 3, 3] and len({length for _, length in sizes}) == 4


def test_endless_paths(detector, recordings):
    asked = []
    paths = (asked.append(path) or path for path in itertools.cycle(recordings))
    scores = detector.score_files(paths, batch_size=2)
    assert not asked
    assert len(list(itertools.islice(scores, 30))) == 30
    assert len(asked) < 30 + 2 * 6 + 1  # no more than a few batches ahead
    scores.close()


def test_large_files_do_not_pile_up(detector, recordings, monkeypatch):
    asked = []
    paths = (asked.append(path) or path for path in itertools.cycle(recordings))
    largest = max(path.stat().st_size for path in recordings)
    monkeypatch.setattr("nes2net.scoring.files._AHEAD_BYTES", 2 * largest)
    scores = detector.score_files(paths, batch_size=8)
    pairs = list(itertools.islice(scores, 24))
    scores.close()
    assert [path for path, _ in pairs] == list(recordings) * 2
    # Samples are held as float32, like those of the files.
    assert len(asked) <= 24 + 2 * largest // min(path.stat().st_size for path in recordings) + 2 < 24 + 32
    assert [s for _, s in pairs[:12]] == pytest.approx([detector.score(path) for path in recordings], abs=1e-6)


def test_a_bad_file_among_good_ones(detector, recordings, tmp_path):
    bad = tmp_path / "bad.flac"
    bad.write_text("no audio")
    good = list(recordings)
    paths = [*good[:5], bad, *good[5:], tmp_path / "none.wav"]
    scored = []
    with pytest.raises(InputError, match=r"bad\.flac was read by neither"):
        for pair in detector.score_files(paths, batch_size=4):
            scored.append(pair)
    assert [path for path, _ in scored] == good[:5]
    failures = {}
    pairs = list(detector.score_files(paths, batch_size=4, on_error=failures.__setitem__))
    assert [path for path, _ in pairs] == good
    assert list(failures) == [bad, tmp_path / "none.wav"] and "not found" in str(failures[tmp_path / "none.wav"])


def test_a_score_that_is_not_finite_is_an_error_of_its_file(detector, recordings):
    with torch.no_grad():
        detector.backend.last_layer.bias.fill_(float("nan"))
    failures = {}
    assert not list(detector.score_files(recordings, batch_size=4, on_error=failures.__setitem__))
    assert list(failures) == list(recordings) and all("score is nan" in str(error) for error in failures.values())


def test_files_beyond_a_length_are_errors_among_the_others(detector, recordings):
    """Of four alternating lengths, the longest is 9,000 samples."""
    failures = {}
    scored = list(score_files(detector, recordings, longest=4300, batch_size=4, on_error=failures.__setitem__))
    assert [file.path for file in scored] == [path for path, samples in recordings.items() if len(samples) <= 4300]
    assert [file.score for file in scored] == pytest.approx([detector.score(file.path) for file in scored], abs=1e-6)
    assert list(failures) == [path for path, samples in recordings.items() if len(samples) == 9000]
    assert all(isinstance(error, LongAudio) for error in failures.values())
    # The beginning of a long recording is a short one.
    assert len(list(score_files(detector, recordings, 4300, longest=4300))) == 12


def test_threads_score_as_one_alone(detector, recordings):
    """The detector is in train mode; no thread may see that or change it for another."""
    expected = [detector.score(path) for path in recordings]
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    for training in (False, True):
        detector.train(training)
        with ThreadPoolExecutor(4) as pool:
            scores = list(pool.map(detector.score, list(recordings) * 2))
            lists = list(pool.map(lambda _: [s for _, s in detector.score_files(recordings)], range(2)))
        assert scores == expected * 2
        for found in lists:
            assert found == pytest.approx(expected, abs=1e-6)
        assert all(module.training == training for module in detector.modules())
    assert all(torch.equal(v, before[k]) for k, v in detector.state_dict().items())


def test_a_detector_may_be_trained_while_files_are_scored(detector, recordings):
    """A training step between two scores: later scores are of the new weights, and in eval mode."""
    expected = [score for _, score in detector.score_files(recordings, batch_size=1)]
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    scores = detector.score_files(recordings, batch_size=1)
    found = [next(scores)[1]]
    detector.train()
    found += [score for _, score in scores]
    assert found == expected and detector.training
    assert all(torch.equal(v, before[k]) for k, v in detector.state_dict().items())


@pytest.mark.slow
def test_a_forward_that_was_replaced_is_used(detector, waveform):
    """It may be replaced by a function, by a method as Accelerate does, or compiled; other attributes do no harm."""
    expected = detector.score(waveform, 16000)
    detector.lock, detector.cache = threading.Lock(), torch.nn.Linear(2, 2)(torch.zeros(1, 2))
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    whole, part = detector.forward, detector.frontend.forward
    for module, forward in ((detector, lambda x: whole(x)), (detector.frontend, lambda *a, **k: part(*a, **k))):
        module.forward = forward
        for training in (False, True):
            detector.train(training)
            assert detector.score(waveform, 16000) == expected and detector.training == training
        del module.forward
    calls = []
    detector.forward = MethodType(lambda self, x: calls.append(self.training) or type(self).forward(self, x), detector)
    assert detector.train().score(waveform, 16000) == expected and calls == [False]
    del detector.forward
    detector.compile(backend="eager")
    assert detector.train().score(waveform, 16000) == expected
    assert all(torch.equal(v, before[k]) for k, v in detector.state_dict().items())


def test_reading_continues_during_scoring(detector, recordings, monkeypatch):
    """All lengths differ: while one file is scored, others are read."""
    asked, started, unread = [], threading.Event(), threading.Event()
    read_now = WaveformReader.read

    def read(self, path):
        asked.append(path)
        if len(asked) > 10:
            started.set()
            assert unread.wait(PATIENCE)
        return read_now(self, path)

    monkeypatch.setattr(WaveformReader, "read", read)
    scores = detector.score_files([*recordings][:4] * 5, batch_size=2, workers=4)
    first = [next(scores) for _ in range(2)]
    assert started.wait(PATIENCE) and not unread.is_set()
    unread.set()
    assert len(first + list(scores)) == 20


@pytest.mark.parametrize(
    "audio, sample_rate, message",
    [
        (np.zeros(0, np.float32), 16000, "has no samples"),
        (np.zeros((2, 0), np.float32), 16000, "has no samples"),
        (np.zeros(4000, np.int16), 16000, "int16.*divide by full scale"),
        (torch.zeros(4000, dtype=torch.int32), 16000, "int32.*divide by full scale"),
        (np.full(4000, 9000.0), 16000, r"reach 9000.*\[-1, 1\]"),
        (np.array([0.1, np.nan]), 16000, "NaN"),
        (np.array([0.1, -np.inf]), 16000, "NaN or infinite"),
        (np.zeros((4000, 2)), 16000, "more channels than samples.*transpose"),
        (np.zeros((2, 2, 4000)), 16000, "3 axes"),
        (np.float64(0.5), 16000, "0 axes"),
        (np.zeros(4000, complex), 16000, "complex128"),
        (np.array(["a", "b"]), 16000, "of type <U1"),
        (None, 16000, "of type object"),
        (torch.zeros(4000).to_sparse(), 16000, "not an array"),
        (np.zeros(4000), "16000", "number of Hz, not '16000'"),
        (np.zeros(4000), 0, "0 samples a second"),
        (np.zeros(4000), -16000, "samples a second"),
        (np.zeros(4000), float("nan"), "nan samples a second"),
        (np.zeros(4000, np.float32), None, "the samples do not say their rate: name it in Hz, sample_rate="),
        (torch.zeros(4000), None, "the samples do not say their rate"),
        (["a.wav", "b.wav"], 16000, "of 2: score_files takes several files, and score_batch several waveforms"),
        ((np.zeros(4000), np.zeros(4000)), 16000, "of 2: score_files takes several files"),
    ],
)
def test_samples_that_cannot_be_scored(detector, audio, sample_rate, message):
    for score in (detector.score, detector.score_track, detector.embed):
        with pytest.raises(InputError, match=message):
            score(audio, sample_rate)


def test_samples_of_any_floating_type(detector, waveform):
    score, tensor = detector.score(waveform, 16000), torch.from_numpy(waveform)
    for same in (waveform.astype(np.float64), tensor.clone().requires_grad_(), tensor[None]):
        assert detector.score(same, 16000) == score
    assert detector.score(tensor.bfloat16(), 16000) == detector.score(tensor.bfloat16().float(), 16000)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_file_objects_are_read_from_where_they_stand(detector, waveform, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, waveform, 16000, subtype="PCM_16")
    expected = detector.score(path)
    with open(path, "rb") as file:
        assert detector.score(file) == expected
        with pytest.raises(InputError, match=rf"a.{suffix} has no more bytes from where it stands: seek\(0\)"):
            detector.score(file)
    assert detector.score(io.BytesIO(path.read_bytes())) == expected
    assert detector.score_track(io.BytesIO(path.read_bytes())).score == pytest.approx(expected, abs=1e-6)
    np.testing.assert_array_equal(detector.embed(io.BytesIO(path.read_bytes())), detector.embed(path))
    with pytest.raises(InputError, match="gives str, not bytes: open it in binary mode"):
        detector.score(io.StringIO("RIFF"))


def test_a_batch_of_waveforms(detector, waveform):
    """Of one length or several, at any rate: the scores are those computed alone."""
    several = [waveform, 0.5 * waveform[:7000], waveform[::-1].copy(), np.stack([waveform, waveform])]
    expected = [detector.score(one, 32000) for one in several]
    assert detector.score_batch(several, 32000) == pytest.approx(expected, abs=1e-6)
    batch = torch.from_numpy(np.stack(several[0:3:2]))
    assert detector.train().score_batch(batch, 32000) == pytest.approx(expected[0:3:2], abs=1e-6)
    assert detector.score_batch([], 16000) == []
    with pytest.raises(InputError, match="score_batch takes several waveforms"):
        detector.score(np.stack([waveform] * 3), 16000)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "`batch_size` is at least 1"),
        ({"workers": 0}, "`workers` is at least 1"),
        ({"num_samples": 0}, "`num_samples` is at least 1"),
        ({"num_samples": 4000.0}, "`num_samples` is at least 1.*not 4000.0"),
        ({"num_samples": "4sec"}, "`num_samples` is at least 1.*not '4sec'"),
        ({"on_error": "ignore"}, "`on_error` is 'raise' or a function"),
    ],
)
def test_wrong_options_of_score_files(detector, options, message):
    with pytest.raises(InputError, match=message):
        detector.score_files([], **options)
    with pytest.raises(InputError, match=r"several paths.*\['speech.wav'\]"):
        detector.score_files("speech.wav")
