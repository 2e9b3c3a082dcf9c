"""What people try first in a notebook: load, build, score, decide, augment, and compute metrics."""

import io
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error, loud_is_fake
from builders.hub_server import make_cache, use_cache
from builders.small_parts import BACKENDS, FRONTENDS, SPECTRAL_MODEL, SPECTRUM
from conftest import load_detector, seeded_detector
from numpy.ma import masked_array
from numpy.testing import assert_allclose
from torch import nn
from torch.utils.data import DataLoader, Dataset

from nes2net import (
    Detector,
    augment,
    conditions,
    create_aggregation,
    create_backend,
    create_frontend,
    decisions,
    export,
    load_state_dict,
    metrics,
)
from nes2net.lib.output.terminal import note_once
from nes2net.models.card import CardFile
from nes2net.models.onnx_detector import OnnxDetector

RATE = 16000
SAMPLES = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
TENSOR = torch.from_numpy(SAMPLES)
STEREO = np.stack((SAMPLES, SAMPLES))


@pytest.fixture(scope="module")
def detector():
    """Shared: do not change it."""
    return seeded_detector(SPECTRAL_MODEL)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "speech.wav"
    soundfile.write(path, SAMPLES, RATE, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def score(detector):
    return detector.score(SAMPLES, RATE)


# Load


def test_a_detector_is_built_by_the_name_of_a_published_model():
    assert Detector.from_config("AASIST-L").config["backend"]["name"] == "raw_aasist_l"


@pytest.mark.parametrize("name", ["detector.pth", "folder"])
def test_a_detector_is_loaded_from_its_file_or_folder(detector, score, tmp_path, name):
    detector.save(tmp_path / name)
    assert_allclose(load_detector(tmp_path / name).score(SAMPLES, RATE), score, atol=1e-6)


@pytest.mark.parametrize("training", [False, True], ids=["state dict", "what a training program saved"])
def test_a_detector_is_loaded_from_its_state_dict_in_memory(detector, score, training):
    saved = {"model": detector.state_dict(), "epoch": 3} if training else detector.state_dict()
    loaded = load_detector(saved, config=detector.config)
    assert_allclose(loaded.score(SAMPLES, RATE), score, atol=1e-6)
    next(loaded.parameters()).data.zero_()  # the detectors share no memory
    assert detector.score(SAMPLES, RATE) == score


def test_a_detector_is_loaded_from_an_open_file_and_from_its_bytes(detector, score, tmp_path):
    path = tmp_path / "detector.pth"
    detector.save(path)
    with open(path, "rb") as file:
        assert_allclose(load_detector(file).score(SAMPLES, RATE), score, atol=1e-6)
    assert_allclose(load_detector(io.BytesIO(path.read_bytes())).score(SAMPLES, RATE), score, atol=1e-6)


def test_an_open_recording_in_place_of_a_checkpoint_is_refused(path):
    with open(path, "rb") as file, input_error(r"is a recording \(WAV\), not a checkpoint"):
        load_detector(file)


def run_folder(folder, detector, described):
    """What training leaves behind: the checkpoints of epochs, and which one is the best."""
    worse = seeded_detector(SPECTRAL_MODEL, seed=1)
    worse.save(folder / "epoch_1.pth")
    detector.save(folder / "epoch_2.pth")
    worse.save(folder / "epoch_3.pth")
    CardFile(checkpoint=described).write(folder)
    return folder


def test_a_run_folder_gives_its_best_epoch_and_says_which(detector, score, tmp_path, capsys):
    best = load_detector(run_folder(tmp_path, detector, "epoch_2.pth"))
    assert_allclose(best.score(SAMPLES, RATE), score, atol=1e-6)
    assert best.source == str(tmp_path / "epoch_2.pth")
    assert f"{tmp_path / 'epoch_2.pth'} is used, the best epoch" in capsys.readouterr().err


def test_a_run_folder_whose_best_epoch_was_removed_is_refused_with_its_name(detector, tmp_path):
    with input_error("epoch_4.pth not found"):
        load_detector(run_folder(tmp_path, detector, "epoch_4.pth"))


def test_a_detector_is_loaded_from_its_name_on_the_hub(detector, score, tmp_path, monkeypatch):
    """Here from the cache, to which it was downloaded."""
    detector.save(tmp_path / "folder")
    make_cache(tmp_path / "cache", "me/mine", tmp_path / "folder", "model")
    use_cache(monkeypatch, tmp_path / "cache", offline=True)
    assert_allclose(load_detector("me/mine").score(SAMPLES, RATE), score, atol=1e-6)


# Build


def test_a_detector_is_built_from_parts_by_their_names():
    frontend = create_frontend("wav2vec2_small", **FRONTENDS["wav2vec2"])
    aggregation = create_aggregation("sea", frontend.num_layers, frontend.out_dim)
    backend = create_backend("nes2net_x", feature_dim=frontend.out_dim, **BACKENDS["nes2net_x"])
    detector = Detector(frontend, aggregation, backend)
    assert detector(TENSOR[None]).shape == (1, 2)


def test_a_detector_with_lora_trains_only_the_adapter_and_the_back_end():
    """Here one step of a user's own loop."""
    frontend = {"name": "wav2vec2_small", **FRONTENDS["wav2vec2"], "adapt": {"kind": "lora", "rank": 2}}
    detector = Detector.from_config({"frontend": frontend, "backend": "mean_linear"})
    detector.train()
    detector(torch.stack([TENSOR, -TENSOR / 2])).square().sum().backward()
    trained = {name for name, weight in detector.frontend.named_parameters() if weight.grad is not None}
    assert trained
    assert all("lora_" in name for name in trained)


class Mean(nn.Module):
    """A user's own back-end: a linear layer of the mean over time, without a class of nes2net."""

    def __init__(self, feature_dim, num_logits):
        super().__init__()
        self.layer = nn.Linear(feature_dim, num_logits)

    def forward(self, features):
        return self.layer(features.mean(1))


def detector_with(backend):
    frontend = create_frontend(**SPECTRUM)
    return Detector(frontend, create_aggregation("last", frontend.num_layers, frontend.out_dim), backend)


@pytest.mark.parametrize("num_logits", [1, 2])
def test_an_own_module_is_a_back_end(num_logits, tmp_path):
    detector = detector_with(Mean(20, num_logits))
    loss = detector(torch.stack([TENSOR, -TENSOR / 2])).square().sum()
    loss.backward()
    torch.optim.SGD(detector.parameters(), lr=0.01).step()
    score = detector.score(SAMPLES, RATE)
    assert score == detector(TENSOR[None])[0, -1]
    torch.save(detector.state_dict(), tmp_path / "detector.pth")
    again = detector_with(Mean(20, num_logits))
    again.load_state_dict(load_state_dict(tmp_path / "detector.pth"))
    assert again.score(SAMPLES, RATE) == score


@pytest.mark.parametrize("backend", [nn.Linear(20, 2), Mean(20, 3), nn.LSTM(20, 2)], ids=["frames", "3", "tuple"])
def test_an_own_module_that_computes_no_logits_of_two_classes_is_refused(backend):
    detector = detector_with(backend)
    with input_error(
        f"{type(backend).__name__}: forward returned .*; expected logits B × 1, or B × 2 with bona fide last"
    ):
        detector.score(SAMPLES, RATE)


def test_a_detector_with_an_own_module_cannot_be_built_from_its_file_alone(tmp_path):
    detector_with(Mean(20, 2)).save(tmp_path / "detector.pth")
    with input_error("unknown back-end 'Mean'"):
        load_detector(tmp_path / "detector.pth")


# Score

#: Recordings in memory that state their rate, by the library that makes them.
DICTIONARIES = {"datasets": {"array": SAMPLES, "sampling_rate": RATE, "path": "speech.wav"}}
DICTIONARIES["a row of datasets"] = {"audio": DICTIONARIES["datasets"], "text": "hello"}
DICTIONARIES["pipelines"] = {"raw": SAMPLES, "sampling_rate": RATE}
DICTIONARIES["pyannote"] = {"waveform": TENSOR[None], "sample_rate": RATE}
DICTIONARIES["gradient"] = {"waveform": TENSOR.clone().requires_grad_(), "sample_rate": RATE}
DICTIONARIES["stereo"] = {"array": STEREO, "sampling_rate": RATE}


#: What names, holds or opens a file, from its path.
WAYS = {"path": Path, "str": str, "bytes": Path.read_bytes}
WAYS["undecoded row of datasets"] = lambda path: {"bytes": path.read_bytes(), "path": "speech.wav"}
WAYS["path in a dictionary"] = lambda path: {"audio": str(path)}
WAYS["file object"] = lambda path: io.BytesIO(path.read_bytes())


def first_window(detector, audio):
    return detector.score_track(audio).scores[0]


def first_file(detector, audio):
    ((_, score),) = detector.score_files([audio])
    return score


CALLS = [Detector.score, first_window, first_file]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("library", DICTIONARIES)
def test_a_dictionary_of_samples_and_rate_has_the_score_of_the_samples(detector, score, call, library):
    assert_allclose(call(detector, DICTIONARIES[library]), score, atol=1e-6)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", WAYS)
def test_a_file_its_bytes_and_the_open_file_have_the_score_of_the_samples(detector, score, path, call, way):
    assert_allclose(call(detector, WAYS[way](path)), score, atol=1e-6)


@pytest.mark.parametrize("samples", [TENSOR, TENSOR[None], STEREO, SAMPLES.astype(np.float64)], ids=range(4))
def test_tensors_and_channels_have_the_score_of_the_samples(detector, score, samples):
    assert_allclose(detector.score(samples, RATE), score, atol=1e-6)


def test_a_batch_of_recordings_of_any_lengths_has_their_scores(detector, score):
    half = SAMPLES[: RATE // 2]
    assert_allclose(detector.score_batch([SAMPLES, half], RATE), [score, detector.score(half, RATE)], atol=1e-6)


def test_a_stream_of_blocks_has_the_scores_of_a_track(detector):
    track = detector.score_track(SAMPLES, RATE, window=0.5, hop=0.25)
    stream = detector.stream(RATE, window=0.5, hop=0.25)
    windows = []
    for block in np.split(SAMPLES, 10):
        windows += stream.push(block)
    windows += stream.finish()
    assert_allclose([window.score for window in windows], track.scores, atol=1e-5)


def test_the_fake_stretches_of_a_recording_are_segments():
    recording = loud_is_fake.recording(3.0, [(1.0, 2.0)])
    stretches = loud_is_fake.detector().segment(recording, RATE)
    assert loud_is_fake.near([(stretch.start, stretch.end) for stretch in stretches], [(1.0, 2.0)])


def test_threads_share_a_detector(detector, score):
    with ThreadPoolExecutor(4) as threads:
        scores = list(threads.map(partial(detector.score, sample_rate=RATE), [SAMPLES] * 8))
    assert scores == [score] * 8


@pytest.mark.slow
def test_a_spawned_process_scores_by_a_pickled_detector(detector, score):
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        assert_allclose(processes.submit(detector.score, SAMPLES, RATE).result(), score, atol=1e-6)


@pytest.mark.slow
def test_a_compiled_detector_has_the_same_score(score):
    detector = seeded_detector(SPECTRAL_MODEL)
    detector.compile(backend="eager")
    assert_allclose(detector.score(SAMPLES, RATE), score, atol=1e-5)


@pytest.mark.slow
def test_a_detector_becomes_an_onnx_file_and_back(detector, score, tmp_path):
    pytest.importorskip("onnxscript")
    path = export(detector, "onnx", tmp_path / "detector.onnx")
    assert_allclose(OnnxDetector(path, "cpu").scores(TENSOR[None]), [score], atol=1e-4)


def test_a_dictionary_and_bytes_are_embedded_as_the_file(detector, path):
    embedding = detector.embed(path)
    assert_allclose(detector.embed(DICTIONARIES["datasets"]), embedding, rtol=1e-6)
    assert_allclose(detector.embed(path.read_bytes()), embedding, rtol=1e-6)


def test_the_rate_of_a_dictionary_counts(detector):
    slow = {"array": SAMPLES, "sampling_rate": 8000}
    assert detector.score(slow) == detector.score(SAMPLES, 8000)


def test_score_files_yields_the_recordings_as_they_were_given(detector, path):
    recordings = [DICTIONARIES["datasets"], path, path.read_bytes()]
    for (yielded, _), recording in zip(detector.score_files(recordings), recordings, strict=True):
        assert yielded is recording


def test_on_error_gets_a_dictionary_that_cannot_be_scored(detector):
    without_rate = {"array": SAMPLES}
    failures = []

    def note(recording, error):
        failures.append((recording, str(error)))

    scored = list(detector.score_files([without_rate, DICTIONARIES["datasets"]], on_error=note))
    assert len(scored) == 1
    ((recording, message),) = failures
    assert recording is without_rate
    assert "such as sample_rate=16000" in message


ADDRESS = "https://example.org/a.wav"
#: No recording → the error.
WRONG = {"an address": (ADDRESS, "is an address, and not read as a file: download it")}
WRONG["an address in a dictionary"] = ({"path": ADDRESS}, "is an address, and not read as a file")
WRONG["a dictionary without a rate"] = ({"array": SAMPLES}, "the sample rate must be a number of Hz")
WRONG["a dictionary without samples"] = ({"text": "hello"}, r"the keys \['text'\] is no recording: expected samples")
WRONG["no bytes"] = (b"", "no bytes are left")
WRONG["bytes of another kind"] = (b"hello", "was read by neither")
WRONG["whole numbers"] = ({"raw": SAMPLES.astype(np.int16), "sampling_rate": RATE}, "divide by full scale")


@pytest.mark.parametrize("audio, message", WRONG.values(), ids=WRONG)
def test_what_is_no_recording_is_refused_in_a_sentence(detector, audio, message):
    with input_error(message):
        detector.score(audio)


def test_a_rate_that_contradicts_the_dictionary_is_refused(detector):
    with input_error("the recording states 16000 Hz, not sample_rate=8000: remove `sample_rate`"):
        detector.score(DICTIONARIES["datasets"], 8000)


@pytest.mark.parametrize(
    "method", ["score", "score_batch", "embed", "decide", "score_track", "frame_scores", "segment", "stream"]
)
@pytest.mark.parametrize("name", ["sr", "sampling_rate"])
def test_other_libraries_names_of_the_rate_get_a_hint(detector, method, name):
    with input_error(f"the rate in Hz is called `sample_rate`, not '{name}'"):
        getattr(detector, method)(SAMPLES, **{name: RATE})


@pytest.mark.parametrize("audio", [b"RIFF", io.BytesIO(b"RIFF"), "speech.wav"])
def test_score_files_refuses_a_single_recording(detector, audio):
    with input_error("score_files requires several paths, not only"):
        detector.score_files(audio)


@pytest.mark.parametrize("audio", ["speech.wav", DICTIONARIES["datasets"], SAMPLES])
def test_a_call_of_the_detector_names_score_for_what_is_no_tensor(detector, audio):
    with input_error(r"use detector\.score"):
        detector(audio)


# Decide


@pytest.fixture(scope="module")
def calibration():
    rng = np.random.default_rng(0)
    return decisions.fit(rng.normal(2, 1, 200), rng.normal(-2, 1, 200))


def test_a_recording_is_decided_by_the_file_of_a_calibration(detector, calibration, path, tmp_path):
    calibration.save(tmp_path / "calibration.json")
    expected = detector.decide(path, calibration)
    for audio in (path.read_bytes(), DICTIONARIES["datasets"]):
        decided = detector.decide(audio, str(tmp_path / "calibration.json"))
        assert decided.decision == expected.decision
        assert_allclose(decided.score, expected.score, atol=1e-6)


def test_a_calibration_file_that_is_missing_is_refused_with_its_name(detector, path):
    with input_error("no_calibration.json: cannot be read"):
        detector.decide(path, "no_calibration.json")


# Augment

#: No waveform of a condition → the error.
NO_WAVEFORMS = {"two channels": (STEREO, r"has shape \(2, 16000\); Clip\(5\.0\) requires one channel, shape \(N,\)")}
NO_WAVEFORMS["whole numbers"] = (np.ones(9, np.int16), "the waveform is int16; .* requires float32 or float64 samples")
NO_WAVEFORMS["full scale"] = (20000 * SAMPLES, r"the waveform has samples that reach .*: divide by full scale")
NO_WAVEFORMS["NaN"] = (np.full(9, np.nan, np.float32), "the waveform holds NaN or infinite samples")
NO_WAVEFORMS["no samples"] = (SAMPLES[:0], "the waveform is empty")
NO_WAVEFORMS["words"] = ("speech.wav", "requires one channel")


@pytest.mark.parametrize("waveform, message", NO_WAVEFORMS.values(), ids=NO_WAVEFORMS)
def test_a_condition_refuses_what_is_no_waveform(waveform, message):
    with input_error(message):
        conditions.create_condition("clip:5")(waveform, np.random.default_rng(0))


def test_a_condition_refuses_another_rate_and_what_is_no_generator():
    condition = conditions.create_condition("gain:-10")
    with input_error(r"`sample_rate` must be 16000 \(resample the waveform\), not 8000"):
        condition(SAMPLES, np.random.default_rng(0), sample_rate=8000)
    with input_error(r"rng must be a numpy\.random\.Generator or RandomState, not int"):
        condition(SAMPLES, 0)


@pytest.mark.parametrize(
    "text, shown", [("gain:-10", "Gain(-10.0)"), ("rawboost:5", "RawBoost(5.0)"), ("telephone", "Telephone()")]
)
def test_a_condition_is_printed_with_its_strength(text, shown):
    assert repr(conditions.create_condition(text)) == shown


class Augmented(Dataset):
    """A user's own data set: each recording with RawBoost, then with a condition."""

    def __init__(self):
        self.condition = conditions.create_condition("gain:-10")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        boosted = augment.rawboost(TENSOR, 3, rng)
        return torch.from_numpy(self.condition(boosted, rng))


def test_rawboost_and_a_condition_augment_the_tensors_of_a_data_set():
    (batch,) = DataLoader(Augmented(), batch_size=2)
    assert batch.shape == (2, RATE)
    expected = augment.rawboost(SAMPLES, 3, np.random.default_rng(1)) * np.float32(10**-0.5)
    assert_allclose(batch[1], expected, atol=1e-7)


# Metrics

BONAFIDE = [2.0, 3.0, 4.0, 1.0]
SPOOF = [0.0, 1.5, -1.0, -2.0]
#: Scores that are a quarter wrong, in the containers of a notebook.
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "no score is masked": masked_array,
    "tensor": torch.tensor,
}
CONTAINERS["bfloat16"] = partial(torch.tensor, dtype=torch.bfloat16)
CONTAINERS["gradient"] = partial(torch.tensor, requires_grad=True)
CONTAINERS["list of tensors"] = lambda scores: list(torch.tensor(scores))


@pytest.mark.parametrize("container", CONTAINERS)
def test_scores_in_any_container_have_the_same_eer(container):
    make = CONTAINERS[container]
    assert metrics.compute_eer(make(BONAFIDE), make(SPOOF)) == (0.25, 1.0)


def test_costs_intervals_and_curves_are_computed_from_scores():
    """Worked by hand: a quarter of each class is wrong, and at a threshold above 1.5 only bona fide."""
    assert metrics.compute_min_dcf(BONAFIDE, SPOOF) == pytest.approx(0.25)
    assert metrics.compute_cllr([0.0], [0.0]) == pytest.approx(1)
    assert metrics.compute_a_dcf(BONAFIDE, SPOOF, SPOOF)[0] == pytest.approx(0.25)
    low, high = metrics.bootstrap_interval(lambda *scores: metrics.compute_eer(*scores)[0], BONAFIDE, SPOOF)
    assert 0 <= low <= 0.25 <= high <= 1
    misses, false_alarms, thresholds = metrics.det_curve(BONAFIDE, SPOOF)
    assert (misses[0], false_alarms[0], misses[-1]) == (0, 1, 1)
    assert len(misses) == len(false_alarms) == len(thresholds)


def test_a_column_of_pandas_has_the_eer_of_its_scores():
    pandas = pytest.importorskip("pandas")
    assert metrics.compute_eer(pandas.Series(BONAFIDE), pandas.Series(SPOOF)) == (0.25, 1.0)


#: No scores → the error.
REFUSED = {
    "masked": (masked_array(BONAFIDE, [0, 0, 0, 1]), r"some bona fide scores are masked: pass scores\.compressed")
}
REFUSED["a generator"] = (
    (score for score in BONAFIDE),
    "the bona fide scores are not numbers .*generator.*; pass one row",
)
REFUSED["gradients"] = (list(torch.ones(3, requires_grad=True)), "the bona fide scores are not numbers .*grad")
REFUSED["words"] = (["high", "low"], "the bona fide scores are not numbers .*; pass one row")
REFUSED["NaN"] = ([*BONAFIDE, float("nan")], "1 of 5 bona fide scores are NaN")
REFUSED["one class"] = ([], "there are no bona fide scores")
REFUSED["logits"] = (torch.zeros(4, 2), r"must be one-dimensional, got shape \(4, 2\)")


@pytest.mark.parametrize("scores, message", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("metric", [metrics.compute_eer, metrics.compute_cllr, metrics.det_curve])
def test_what_are_no_scores_is_refused_in_a_sentence(metric, scores, message):
    with input_error(message):
        metric(scores, SPOOF)


LABELS = np.array([1, 0, 1, 0, 1, 1, 0, 0])
SCORES = np.array([2.0, 0.0, 3.0, 1.5, 4.0, 1.0, -1.0, -2.0])


@pytest.mark.parametrize("labels", [LABELS, LABELS == 1, LABELS.tolist(), torch.from_numpy(LABELS)], ids=range(4))
def test_labels_in_place_of_scores_are_refused(labels):
    with input_error(r"holds only 0 and 1, as labels do: .*scores\[labels == 1\]"):
        metrics.compute_eer(labels, SCORES)
    with input_error("as labels do"):
        metrics.compute_min_dcf(SCORES, labels)


def test_labels_choose_the_scores_of_the_classes():
    assert metrics.compute_eer(SCORES[LABELS == 1], SCORES[LABELS == 0]) == (0.25, 1.0)


def test_decisions_in_place_of_scores_are_accepted():
    assert metrics.compute_eer([1, 1, 1, 0], [0, 0, 0, 1], "arena")[0] == 0.25


@pytest.fixture
def notes(capsys):
    """A function that returns the printed notes, as in a new process."""
    note_once.cache_clear()
    return lambda: capsys.readouterr().err


def test_an_eer_above_half_beyond_chance_is_explained_once(notes):
    for _ in range(2):
        assert metrics.compute_eer(SCORES[LABELS == 0], SCORES[LABELS == 1])[0] == 0.75
    assert metrics.compute_eer([-3.0, -2.0, -1.0, 0.0], [1.0, 2.0, 3.0, 4.0])[0] == 1
    note = notes()
    assert note.count("an EER is above 50 %, beyond chance") == 1
    assert "swap the arguments or negate the scores" in note
    assert "then the EER is right" in note


@pytest.mark.parametrize(
    "bonafide, spoof", [([1.0], [2.0]), ([0.0] * 9, [0.0] * 9), ([1.0, 3.0, 5.0], [2.0, 4.0, 6.0]), (BONAFIDE, SPOOF)]
)
def test_an_eer_by_chance_by_ties_or_below_half_is_not_explained(bonafide, spoof, notes):
    metrics.compute_eer(bonafide, spoof)
    assert notes() == ""
