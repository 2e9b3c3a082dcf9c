"""The Detector: published names, files, scores."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch

from nes2net import Detector, InputError
from nes2net.detector import PUBLISHED_MODELS, choose_device
from nes2net.inference import in_eval_mode


@pytest.fixture
def detector(small_model):
    torch.manual_seed(0)
    return Detector.from_config(small_model).eval()


@pytest.fixture
def waveform():
    return (0.1 * np.random.default_rng(0).standard_normal(20000)).astype(np.float32)


def test_full_size_names_are_the_manifests(golden):
    """XLS-R 300M + Nes2Net-X: every name and shape of the published whole-model checkpoint."""
    front = json.loads((golden / "frontends" / "manifest_xlsr300m_fairseq.json").read_text())["keys"]
    head = json.loads((golden / "manifest_nes2net_x_main__mean_8_8_se1_d2_o2.json").read_text())["keys"]
    expected = {f"ssl_model.model.{k}": v[0] for k, v in front.items()} | {k: v[0] for k, v in head.items()}
    with torch.device("meta"):
        state_dict = Detector.from_config(PUBLISHED_MODELS["wav2vec2_Nes2Net_X"]).state_dict()
    assert {k: list(v.shape) for k, v in state_dict.items()} == expected


@pytest.mark.parametrize("name", PUBLISHED_MODELS)
def test_every_published_model_is_built(name, golden):
    """On the meta device: whole-model names map to parts that fit each other, under the names of the golden heads."""
    with torch.device("meta"):
        detector = Detector.from_config(PUBLISHED_MODELS[name])
    assert detector.config["backend"]["name"] in (
        "nes2net",
        "nes2net_x",
        "nes2net_x_selu",
        "aasist",
        "raw_aasist",
        "raw_aasist_l",
    )
    heads = {
        "WavLM_Nes2Net": "svdd_WavLM_Nes2Net__SEA_mean_8_8_se1_d1",
        "WavLM_Nes2Net_X_SeLU": "svdd_WavLM_Nes2Net_X_SeLU__SEA_mean_8_8_se1_d1",
        "wav2vec2_AASIST": "aasist_w2v_main",
        "AASIST": "clovaai_AASIST",
        "AASIST-L": "clovaai_AASIST-L",
    }
    if name in heads:
        manifest = json.loads((golden / f"manifest_{heads[name]}.json").read_text())["keys"]
        own = {k: list(v.shape) for k, v in detector.state_dict().items() if not k.startswith("ssl_model.model.")}
        assert own == {k: v[0] for k, v in manifest.items()}


@pytest.mark.parametrize("name", ["AASIST", "AASIST-L"])
def test_published_aasist_weights_give_the_published_logits(golden, shared, name):
    reference = torch.load(golden / "aasist_raw_published_weights_outputs.pt", weights_only=True)
    path = shared / "real" / "aasist" / f"{name}.pth"
    detector = Detector.from_pretrained(path, device="cpu", config=PUBLISHED_MODELS[name])
    with torch.inference_mode():
        logits = detector(reference["waveforms"])
    torch.testing.assert_close(logits, reference[name]["logits"], atol=1e-5, rtol=1e-5)
    score = detector.score(reference["waveforms"][0])
    assert score == pytest.approx(reference[name]["logits_single_first"][0, 1].item(), abs=1e-5)


def test_state_dict_goes_there_and_back(detector, small_model):
    other = Detector.from_config(small_model)
    values = {k: torch.rand_like(v) if v.is_floating_point() else v + 3 for k, v in detector.state_dict().items()}
    other.load_published(values, "values")
    for key, tensor in other.state_dict().items():
        assert torch.equal(tensor, values[key]), key
    assert {k.split(".")[0] for k in values} == {"ssl_model", "Nested_Res2Net_TDNN"}


@pytest.mark.parametrize("name", ["detector.pth", "folder"])
def test_saved_and_loaded_scores_the_same(detector, waveform, tmp_path, name):
    detector.save(tmp_path / name, note="kept")
    again = Detector.from_pretrained(tmp_path / name, device="cpu")
    assert not again.training
    assert again.score(waveform) == detector.score(waveform)
    assert again.config == detector.config
    if name == "folder":
        assert sorted(p.name for p in (tmp_path / name).iterdir()) == ["README.md", "config.yaml", "model.safetensors"]


def test_a_published_checkpoint_needs_its_architecture_only(detector, small_model, waveform, tmp_path):
    """A bare state dict of other code, DataParallel prefix and all; no front-end file anywhere."""
    torch.save({f"module.{k}": v for k, v in dict(detector.state_dict()).items()}, tmp_path / "published.pth")
    again = Detector.from_pretrained(tmp_path / "published.pth", device="cpu", config=small_model)
    assert again.score(waveform) == detector.score(waveform)
    other = {**small_model, "backend": {"name": "nes2net_x", "nes_ratio": [8, 4]}}
    with pytest.raises(InputError, match=r"published\.pth does not fit this model.*(missing|left over|other shape)"):
        Detector.from_pretrained(tmp_path / "published.pth", config=other)


def test_score_takes_files_and_arrays(detector, waveform, tmp_path):
    soundfile.write(tmp_path / "speech.wav", waveform, 16000, subtype="FLOAT")
    score = detector.score(waveform)
    assert detector.score(tmp_path / "speech.wav") == score
    assert detector.score(torch.from_numpy(waveform)) == score
    assert detector.score(np.stack([waveform, waveform])) == pytest.approx(score, abs=1e-5)
    assert list(detector.score_files([tmp_path / "speech.wav"])) == [
        (tmp_path / "speech.wav", pytest.approx(score, abs=1e-6))
    ]
    with torch.inference_mode():
        assert score == detector(torch.from_numpy(waveform)[None])[0, 1].item()
    assert detector.score(np.repeat(waveform, 2), sample_rate=32000) != score
    assert detector.score(waveform, num_samples=4000) == detector.score(waveform[:4000])
    tiled = np.tile(waveform, 2)[:30000]
    assert detector.score(waveform, num_samples=30000) == detector.score(tiled)


def test_score_is_in_eval_mode_and_leaves_the_mode_alone(detector, waveform):
    expected = detector.score(waveform)
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    detector.train()
    assert detector.score(waveform) == expected
    assert detector.training
    assert all(torch.equal(v, before[k]) for k, v in detector.state_dict().items())


def test_dtype_and_device(detector, waveform, tmp_path):
    detector.save(tmp_path / "detector.pth")
    half = Detector.from_pretrained(tmp_path / "detector.pth", device="cpu", dtype="bfloat16")
    assert next(half.parameters()).dtype == torch.bfloat16
    assert half.score(waveform) == pytest.approx(detector.score(waveform), abs=0.1)
    with pytest.raises(InputError, match="unknown device"):
        choose_device("gpu0")


@pytest.mark.parametrize(
    "config, message",
    [
        ({"frontend": "xlsr", "backend": "nes2net_x"}, "unknown front-end 'xlsr'.*xlsr_300m"),
        ({"frontend": "wav2vec2_small", "backend": "nes2net"}, None),
        (
            {"frontend": "wav2vec2_small", "backend": {"name": "nes2net_x", "dilaton": 1}},
            "no option 'dilaton'.*dilation",
        ),
        ({"frontend": "wav2vec2_small", "back_end": "nes2net_x"}, "no part 'back_end'.*backend"),
        ({"frontend": "wav2vec2_small"}, "backend has no name"),
        ({"frontend": {"name": "wav2vec2_small", "encoder_layer": 2}, "backend": "nes2net_x"}, "encoder_layers"),
    ],
)
def test_wrong_configurations(config, message):
    if message is None:
        Detector.from_config(config)
        return
    with pytest.raises(InputError, match=message):
        Detector.from_config(config)


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"checkpoint .*none\.pth not found"):
        Detector.from_pretrained(tmp_path / "none.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no detector folder.*config\.yaml"):
        Detector.from_pretrained(tmp_path / "empty")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="'nobody/nothing' is no file or folder here and was not fetched"):
        Detector.from_pretrained("nobody/nothing")


def test_a_very_short_recording_is_repeated(small_model):
    for backend in ("aasist", {"name": "nes2net_x", "nes_ratio": [4, 4]}):
        detector = Detector.from_config({**small_model, "backend": backend}).eval()
        short = np.array([0.1, -0.1, 0.2], np.float32)
        assert detector(torch.zeros(1, detector.min_samples)).shape == (1, 2)
        assert detector.score(short) == detector.score(short, num_samples=detector.min_samples)


# ---- scoring from Python


@pytest.fixture
def recordings(tmp_path):
    """Files of four lengths, in turn, and the samples of each."""
    rng = np.random.default_rng(1)
    recordings = {}
    for number in range(12):
        samples = 0.1 * rng.standard_normal((4000, 4300, 9000, 700)[number % 4]).astype(np.float32)
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, samples, 16000, subtype="FLOAT")
        recordings[path] = samples
    return recordings


@pytest.mark.parametrize("num_samples", [None, 4100])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_files_are_scored_as_alone_and_in_order(detector, recordings, num_samples, batch_size):
    pairs = list(detector.score_files(recordings, num_samples, batch_size=batch_size, workers=3))
    assert [path for path, _ in pairs] == list(recordings)
    for (_, score), samples in zip(pairs, recordings.values()):
        assert score == pytest.approx(detector.score(samples, num_samples=num_samples), abs=1e-6)


def test_files_share_batches(detector, recordings, monkeypatch):
    """Those of one length, with all that are read ahead."""
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
    assert len(asked) < 30 + 2 * 4 + 1  # no more than a few batches ahead
    scores.close()


def test_large_files_do_not_pile_up(detector, recordings, monkeypatch):
    asked = []
    paths = (asked.append(path) or path for path in itertools.cycle(recordings))
    largest = max(path.stat().st_size for path in recordings)
    monkeypatch.setattr("nes2net.inference._AHEAD_BYTES", 2 * largest)
    scores = detector.score_files(paths, batch_size=8)
    pairs = list(itertools.islice(scores, 24))
    scores.close()
    assert [path for path, _ in pairs] == list(recordings) * 2
    assert len(asked) <= 24 + 2 * largest // min(path.stat().st_size for path in recordings) + 1 < 24 + 32
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


def test_one_that_the_detector_refuses_spoils_no_batch(detector, recordings):
    first = next(iter(recordings))
    with torch.no_grad():
        detector.backend.fc.bias.fill_(float("nan"))
    failures = {}
    assert not list(detector.score_files(recordings, batch_size=4, on_error=failures.__setitem__))
    assert len(failures) == len(recordings) and "score is nan" in str(failures[first])


def test_threads_score_as_one_alone(detector, recordings):
    """In train mode, which every thread has to see past, and without one of them changing it for another."""
    expected = [detector.score(path) for path in recordings]
    before = {k: v.clone() for k, v in detector.state_dict().items()}
    for training in (False, True):
        detector.train(training)
        with ThreadPoolExecutor(4) as pool:
            scores = list(pool.map(detector.score, list(recordings) * 4))
            lists = list(pool.map(lambda _: [s for _, s in detector.score_files(recordings)], range(4)))
        assert scores == expected * 4
        for found in lists:
            assert found == pytest.approx(expected, abs=1e-6)
        assert all(module.training == training for module in detector.modules())
    assert all(torch.equal(v, before[k]) for k, v in detector.state_dict().items())


@pytest.mark.parametrize("frontend", ["wavlm", "lfcc", "wav2vec2_small"])
def test_train_mode_copies_no_weights(frontend, small_model, waveform):
    options = {"encoder_layers": 1, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4}
    config = {"name": frontend, **(options if frontend == "wavlm" else {})}
    detector = Detector.from_config({**small_model, "frontend": config, "backend": "asp_mlp"})
    other = in_eval_mode(detector)
    assert other is not detector and not any(module.training for module in other.modules())
    assert [id(p) for p in other.parameters()] == [id(p) for p in detector.parameters()]
    assert [id(b) for b in other.buffers()] == [id(b) for b in detector.buffers()]
    assert detector.training
    score = detector.score(waveform)
    assert detector.eval().score(waveform) == score
    assert in_eval_mode(detector) is detector


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
        (["a", "b"], 16000, "of type <U1"),
        (np.zeros(4000), 0, "0 samples a second"),
        (np.zeros(4000), -16000, "samples a second"),
        (np.zeros(4000), float("nan"), "nan samples a second"),
    ],
)
def test_samples_that_cannot_be_scored(detector, audio, sample_rate, message):
    for score in (detector.score, detector.score_track):
        with pytest.raises(InputError, match=message):
            score(audio, sample_rate)


def test_samples_of_any_floating_type(detector, waveform):
    score = detector.score(waveform)
    assert detector.score(waveform.astype(np.float64)) == score
    assert detector.score(waveform.tolist()) == score
    assert detector.score(torch.from_numpy(waveform).requires_grad_()) == score
    assert detector.score(torch.from_numpy(waveform)[None]) == score
    coarse = torch.from_numpy(waveform).bfloat16()
    assert detector.score(coarse) == detector.score(coarse.float())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 0}, "batch_size is at least 1"),
        ({"workers": 0}, "workers is at least 1"),
        ({"num_samples": 0}, "num_samples is at least 1"),
        ({"on_error": "ignore"}, "on_error is 'raise' or a function"),
    ],
)
def test_wrong_options_of_score_files(detector, options, message):
    with pytest.raises(InputError, match=message):
        detector.score_files([], **options)
    with pytest.raises(InputError, match=r"several paths.*\['speech.wav'\]"):
        detector.score_files("speech.wav")


@pytest.mark.parametrize("frontend", ["lps", "lfcc"])
def test_spectra_are_computed_in_float32_whatever_the_precision_of_the_weights(frontend):
    """A waveform rounded to the 8 bits of bfloat16 has another spectrum: other scores than the precision of the weights accounts for."""
    torch.manual_seed(0)
    detector = Detector.from_config({"frontend": frontend, "backend": "asp_mlp"}).eval()
    waveform = 0.1 * torch.randn(2, 16000)
    with torch.inference_mode():
        expected = detector.hidden_states(waveform)[-1]
        half = detector.to(torch.bfloat16)
        assert torch.equal(half.hidden_states(waveform)[-1], expected.to(torch.bfloat16))
        assert half.scores(waveform).dtype == torch.bfloat16
