"""The Detector: published names, files, scores."""

from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from builders import input_error
from builders.golden_backends import manifest
from builders.small_parts import FRONTENDS as SMALL_FRONTENDS
from builders.small_parts import frontend_families, small_options
from builders.without_weights import published_detector
from conftest import load_detector
from torch.testing import assert_close

from nes2net import Detector
from nes2net.lib.computing.devices import choose_device
from nes2net.models.checkpoints.fairseq import to_transformers
from nes2net.models.checkpoints.state_dict import save_state_dict
from nes2net.models.loading import recognise
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED_MODELS, PublishedModel


@pytest.fixture
def waveform():
    return (0.1 * np.random.default_rng(0).standard_normal(20000)).astype(np.float32)


#: Published models whose golden heads have their names.
HEADS = {
    "wav2vec2_Nes2Net_X": "nes2net_x_main__mean_8_8_se1_d2_o2",
    "WavLM_Nes2Net": "svdd_WavLM_Nes2Net__SEA_mean_8_8_se1_d1",
    "WavLM_Nes2Net_X_SeLU": "svdd_WavLM_Nes2Net_X_SeLU__SEA_mean_8_8_se1_d1",
    "wav2vec2_AASIST": "aasist_w2v_main",
    "AASIST": "clovaai_AASIST",
    "AASIST-L": "clovaai_AASIST-L",
}
#: Published models that share every name and shape: SELU instead of ReLU changes no tensor, nor
#: does other audio that an encoder was pre-trained on.
ALIKE = (
    {"WavLM_Nes2Net_X", "WavLM_Nes2Net_X_SeLU"},
    {"antideepfake_w2v_large", "antideepfake_mms_300m"},
    {"antideepfake_xlsr_1b", "antideepfake_mms_1b"},
)


@pytest.mark.parametrize("name", HEADS)
def test_the_tensors_of_a_published_model_have_the_published_names_and_shapes(name):
    tensors = published_detector(name).state_dict()
    encoder = {"wav2vec2": "xlsr300m_fairseq", "WavLM": "wavlm_large_unilm"}.get(name.partition("_")[0])
    published = {f"ssl_model.model.{key}": shape for key, shape in (manifest(encoder) if encoder else {}).items()}
    assert {key: list(tensor.shape) for key, tensor in tensors.items()} == published | manifest(HEADS[name])


@pytest.mark.parametrize("name", PUBLISHED_MODELS)
def test_a_published_model_is_recognised_by_the_names_and_shapes_of_its_tensors(name):
    """In full size, on the meta device, and in the layout of its published file.

    Models that share all names and shapes (ALIKE) are recognised together.
    """
    tensors = published_detector(name).state_dict()
    layouts = {
        "antideepfake": antideepfake_names,
        "df": df_arena_names,
        "xlsr": mambo_names,
        "deepfense": deepfense_names,
    }
    file = layouts.get(name.partition("_")[0], dict)(tensors)
    fitting = [layout for layout, misfit in recognise(file).items() if not misfit]
    assert set(fitting) == next((alike for alike in ALIKE if name in alike), {name})


def test_a_state_dict_with_the_prefix_of_dataparallel_is_loaded_with_the_config_of_its_model(
    detector, small_model, waveform, tmp_path
):
    torch.save({f"module.{k}": v for k, v in dict(detector.state_dict()).items()}, tmp_path / "published.pth")
    again = load_detector(tmp_path / "published.pth", config=small_model)
    assert again.score(waveform, 16000) == detector.score(waveform, 16000)


def score_from_file(detector, prefix, path, waveform):
    """The score of a waveform by ``detector``, loaded from a file with ``prefix`` before the names of all tensors."""
    torch.save({"epoch": 3, "net": {f"{prefix}{k}": v for k, v in detector.state_dict().items()}}, path)
    return load_detector(path, config=detector.config).score(waveform, 16000)


def test_a_prefix_before_all_tensor_names_of_a_checkpoint_is_removed(detector, waveform, tmp_path):
    for prefix in ("net.", "model.detector."):
        assert score_from_file(detector, prefix, tmp_path / "d.pth", waveform) == detector.score(waveform, 16000)


def test_a_prefix_that_all_tensor_names_of_a_detector_share_is_not_removed(spectral_detector, waveform, tmp_path):
    """With and without another prefix before it."""
    detector = Detector.from_config({**spectral_detector.config, "backend": "mean_linear"}).eval()
    assert {name.partition(".")[0] for name in detector.state_dict()} == {"proj_fc"}
    for prefix in ("", "net.", "model.detector."):
        assert score_from_file(detector, prefix, tmp_path / "d.pth", waveform) == detector.score(waveform, 16000)


@pytest.mark.parametrize("prefix", ["net.", "model.detector."])
def test_a_published_model_is_recognised_despite_a_prefix_before_its_tensor_names(tmp_path, prefix):
    light = Detector.from_config("AASIST-L")
    torch.save({"net": {f"{prefix}{k}": v for k, v in light.state_dict().items()}}, tmp_path / "theirs.pth")
    assert load_detector(tmp_path / "theirs.pth").config == light.config


def test_a_checkpoint_with_nan_among_its_weights_is_refused(detector, tmp_path):
    state_dict = detector.state_dict()
    name = "Nested_Res2Net_TDNN.fc.bias"
    state_dict[name] = torch.full_like(state_dict[name], float("nan"))
    save_state_dict(state_dict, tmp_path / "nan.pth", model=detector.config)
    with input_error(rf"nan\.pth has NaN or infinite numbers in {name}"):
        Detector.from_pretrained(tmp_path / "nan.pth")


def test_the_shapes_of_a_checkpoint_override_an_option_of_the_config(small_model, waveform, tmp_path, capsys):
    """It is named on standard error."""
    original = Detector.from_config({**small_model, "backend": small_model["backend"] | {"pool": "astp"}})
    torch.save(dict(original.state_dict()), tmp_path / "d.pth")
    loaded = load_detector(tmp_path / "d.pth", config=small_model)
    assert loaded.score(waveform, 16000) == original.score(waveform, 16000)
    assert "backend.pool=astp" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mps", "meta", "cuda:99"])
def test_a_device_that_is_not_available_is_refused(name):
    with input_error(f"device '{name}' is not available: PyTorch .* finds only cpu"):
        choose_device(name)


def test_a_file_and_its_samples_have_the_same_score(detector, waveform, tmp_path):
    soundfile.write(tmp_path / "speech.wav", waveform, 16000, subtype="FLOAT")
    assert detector.score(tmp_path / "speech.wav") == detector.score(waveform, 16000)


def test_the_score_of_a_detector_with_two_logits_is_the_second_logit(detector, waveform):
    with torch.inference_mode():
        logits = detector(torch.from_numpy(waveform)[None])
    # With several threads the last digit depends on where the samples lie in memory.
    assert detector.score(waveform, 16000) == pytest.approx(logits[0, 1].item(), abs=1e-6)


def test_a_detector_in_train_mode_gives_the_score_of_eval_mode_and_stays_in_train_mode(detector, waveform):
    score = detector.score(waveform, 16000)
    assert detector.train().score(waveform, 16000) == score
    assert detector.training


def test_the_mean_of_the_channels_is_scored(detector, waveform):
    stereo = np.stack([waveform, waveform[::-1]])
    mean = (waveform + waveform[::-1]) / 2
    assert detector.score(stereo, 16000) == pytest.approx(detector.score(mean, 16000), abs=1e-5)


def test_the_same_samples_at_another_rate_have_another_score(detector, waveform):
    assert detector.score(waveform, sample_rate=32000) != detector.score(waveform, 16000)


@pytest.mark.parametrize("num_samples", [4000, 30000])
def test_a_waveform_of_another_length_than_num_samples_is_cut_or_repeated(detector, waveform, num_samples):
    resized = np.resize(waveform, num_samples)
    assert detector.score(waveform, 16000, num_samples=num_samples) == detector.score(resized, 16000)


@pytest.mark.parametrize("dtype", [torch.float32, "bfloat16", torch.float16, "float64"])
def test_a_detector_loaded_in_a_precision_by_type_or_name_scores_about_like_the_saved_one(
    dtype, detector, waveform, tmp_path
):
    """The score is not rounded to half precision."""
    detector.save(tmp_path / "detector.pth")
    loaded = load_detector(tmp_path / "detector.pth", dtype=dtype)
    assert str(loaded.dtype).removeprefix("torch.") == str(dtype).removeprefix("torch.")
    score = loaded.score(waveform, 16000)
    assert score == pytest.approx(detector.score(waveform, 16000), abs=0.1)
    if loaded.dtype in (torch.bfloat16, torch.float16):
        assert torch.tensor(score).to(loaded.dtype).item() != score


@pytest.mark.parametrize(
    "dtype, proposal",
    [
        ("fp16", "; did you mean 'float16'?"),
        ("Float64", "; did you mean 'float64'?"),
        (torch.uint8, "; did you mean 'int8'?"),
        ("", ""),
    ],
)
def test_an_unknown_precision_is_refused_with_the_known_ones_and_the_nearest_of_them(dtype, proposal):
    """None is near to an empty name."""
    precisions = "expected one of auto, fastest, float32, tf32, bfloat16, float16, float64, int8"
    with input_error() as error:
        Detector.from_pretrained("none.pth", dtype=dtype)
    assert str(error.value) == f"unknown dtype '{dtype}': {precisions}{proposal}"


@pytest.mark.parametrize(
    "config, message",
    [
        ({"frontend": "xlsr", "backend": "nes2net_x"}, "unknown front-end 'xlsr'.*xlsr_53"),
        (
            "wav2vec2_Nes2NetX",
            "'wav2vec2_Nes2NetX' is neither a published model nor.*did you mean 'wav2vec2_Nes2Net_X'",
        ),
        ({"frontend": "lps", "backend": {"name": "nes2net_x", "dilaton": 1}}, "no option 'dilaton'.*dilation"),
    ],
)
def test_a_configuration_with_an_unknown_name_is_refused_with_a_similar_known_name(config, message):
    with input_error(message):
        Detector.from_config(config)


@pytest.fixture
def quantised(detector, tmp_path):
    """The detector, loaded in int8."""
    detector.save(tmp_path / "d.pth")
    return Detector.from_pretrained(tmp_path / "d.pth", "cpu", "int8")


def test_an_int8_detector_has_about_the_scores_and_the_fingerprint_of_the_one_it_was_made_from(
    detector, quantised, waveform
):
    assert quantised.precision == "int8"
    assert quantised.score(waveform, 16000) == pytest.approx(detector.score(waveform, 16000), abs=0.02)
    assert quantised.fingerprint() == detector.fingerprint()


def test_an_int8_detector_cannot_be_converted_to_float32_saved_or_moved_from_the_cpu(quantised, tmp_path):
    with input_error("quantised to int8: load it again in float32"):
        quantised.set_precision("float32")
    with input_error("a detector in int8 cannot be saved: save the detector that it was made from"):
        quantised.save(tmp_path / "int8.pth")
    assert not (tmp_path / "int8.pth").exists()
    with input_error("computes on the CPU only"):
        quantised.to("meta")


@pytest.fixture
def frame_detector(small_model):
    """A detector of the frames, whose utterance is as bona fide as the lowest of them."""
    torch.manual_seed(0)
    backend = {**small_model["backend"], "pool": None, "utterance": "min", "score_rule": "difference"}
    return Detector.from_config({**small_model, "backend": backend}).eval()


@pytest.fixture
def waveforms():
    return torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))


def test_scores_of_segments_follow_the_score_rule_and_the_utterance_rule_of_the_back_end(frame_detector, waveforms):
    """They are differences of logits, and the score of a recording is the lowest of them."""
    with torch.inference_mode():
        (logits,) = frame_detector.segment_logits(waveforms).values()
        scores = frame_detector.segment_scores(waveforms)[16.0]
        assert torch.equal(scores, logits[..., 1] - logits[..., 0])
        assert_close(frame_detector.scores(waveforms), scores.amin(1))


@pytest.mark.slow
def test_a_compiled_detector_has_the_scores_of_segments_of_an_uncompiled_one(frame_detector, waveforms):
    with torch.inference_mode():
        expected = frame_detector.segment_scores(waveforms)
        frame_detector.compile(backend="eager")
        assert_close(frame_detector.segment_scores(waveforms), expected)


def test_scores_of_segments_are_refused_if_the_back_end_gives_one_score_per_utterance(spectral_detector):
    with input_error("'asp_mlp' gives one score per utterance, no scores of segments"):
        spectral_detector.segment_scores(torch.zeros(2, 8000))


FRAMES_OF_70_MS = {"name": "lps", "n_fft": 254, "hop_length": 1120, "num_bins": 128}


def test_a_frame_of_70_ms_lasts_exactly_70_ms():
    """Not 70.00000000000001 ms, as in plain floating-point arithmetic."""
    assert Detector.from_config({"frontend": FRAMES_OF_70_MS, "backend": "asp_mlp"}).frame_ms == 70


@pytest.mark.parametrize(
    "backend, trained",
    [
        ({"name": "mean_linear"}, False),
        ({"name": "mean_linear", "pool": None}, True),
        ({"name": "multires_gmlp", "num_layers": 1, "gmlp_layers": 1, "resolutions": [20]}, True),
        ("asp_mlp", False),
    ],
)
def test_without_a_recipe_the_back_end_decides_whether_a_detector_counts_as_trained_on_segments(backend, trained):
    assert Detector.from_config({"frontend": FRAMES_OF_70_MS, "backend": backend}).trained_on_segments is trained


@pytest.mark.parametrize("pool, resolutions, trained", [("mean", [70], True), (None, [], False)])
def test_the_recipe_of_a_detector_decides_whether_it_counts_as_trained_on_segments(pool, resolutions, trained):
    """Its back-end would say the opposite."""
    backend = {"name": "mean_linear", "pool": pool}
    detector = Detector.from_config({"frontend": FRAMES_OF_70_MS, "backend": backend})
    detector.provenance = Provenance.read({"recipe": {"segments": {"resolutions": resolutions}}})
    assert detector.trained_on_segments is trained


#: Front-ends with frames, and one that cuts recordings off; a waveform has no frames.
WITH_FRAMES = {
    name: {"name": name, **small_options(SMALL_FRONTENDS, name)} for name in frontend_families() if name != "waveform"
}
WITH_FRAMES["cut off"] = {"name": "lps", "num_samples": 8000}


@pytest.mark.parametrize("name", WITH_FRAMES)
def test_num_segments_gives_the_number_of_scores_of_segments(name):
    detector = Detector.from_config({"frontend": WITH_FRAMES[name], "backend": "mean_linear"}).eval()
    for num_samples in (detector.min_samples, 16000, 16319, 40000):
        with torch.inference_mode():
            segments = detector.segment_scores(torch.randn(1, num_samples))
        assert {ms: scores.shape[1] for ms, scores in segments.items()} == detector.num_segments(num_samples)


@pytest.mark.parametrize("precision, tolerance", [("bfloat16", 0.05), ("float16", 0.005), ("int8", 0.05)])
def test_scores_of_segments_in_other_precisions_are_near_those_of_float32(
    frame_detector, waveforms, tmp_path, precision, tolerance
):
    """They do not tie."""
    frame_detector.save(tmp_path / "d.pth")
    loaded = load_detector(tmp_path / "d.pth", dtype=precision)
    with torch.inference_mode():
        exact = frame_detector.segment_scores(waveforms)[16.0]
        scores = loaded.segment_scores(waveforms)[16.0]
    assert (scores - exact).abs().max() < tolerance * exact.abs().max()
    assert len(set(scores.flatten().tolist())) == scores.numel()


@pytest.mark.parametrize("backend", ["aasist", {"name": "nes2net_x", "nes_ratio": [4, 4]}])
def test_a_recording_shorter_than_min_samples_is_repeated_up_to_min_samples(small_model, backend):
    detector = Detector.from_config({**small_model, "backend": backend}).eval()
    short = np.array([0.1, -0.1, 0.2], np.float32)
    repeated = np.resize(short, detector.min_samples)
    assert detector.score(short, 16000) == detector.score(repeated, 16000)


def older_weight_norm(name):
    """The names of a convolution with weight norm in older versions of PyTorch."""
    name = name.replace("parametrizations.weight.original0", "weight_g")
    return name.replace("parametrizations.weight.original1", "weight_v")


def renamed(state_dict, encoder, rename=str):
    """The tensors, with the names of the encoder and those of the rest changed by two functions."""
    start = "ssl_model.model."
    return {encoder(key[len(start) :]) if key.startswith(start) else rename(key): x for key, x in state_dict.items()}


def lightning_names(state_dict, older=str):
    """The names of the published checkpoints of MoE + AASIST, and what Lightning keeps beside them."""

    def rest(key):
        return key.replace("ssl_model.", "model.moe_l.") if key.startswith("ssl_model.") else f"model.classifier.{key}"

    names = renamed(state_dict, lambda key: f"model.pretrain_model.{older(to_transformers(key))}", rest)
    beside = {"loss_criterion.weight": torch.ones(2), "model.pretrain_model.masked_spec_embed": torch.zeros(64)}
    return {"state_dict": names | beside, "epoch": 11, "hparams_name": "args"}


def antideepfake_names(state_dict, encoder="m_ssl.model."):
    return renamed(state_dict, encoder.__add__)


def global_feature_names(state_dict, encoder="m_ssl.model."):
    """The names of the published `trained_network.pt` of GF, LGF and LLGF with a fine-tuned front-end."""
    unused = {f"{side}_{statistic}": torch.ones(1) for side in ("input", "output") for statistic in ("mean", "std")}
    return unused | antideepfake_names(state_dict, encoder)


def df_arena_names(state_dict):
    """The names on the hub, and a tensor of masking that the transformers library adds."""
    names = renamed(state_dict, lambda key: f"backbone.ssl_model.{to_transformers(key)}", "backbone.{}".format)
    return names | {"backbone.ssl_model.masked_spec_embed": torch.zeros(64)}


def mambo_names(state_dict):
    """torchaudio's names of the encoder: those of the transformers library with two prefixes more."""

    def encoder(key):
        key = to_transformers(key).replace("encoder.", "encoder.transformer.", 1)
        key = key.replace("feature_projection", "encoder.feature_projection")
        return f"feature_extractor.model.model.{older_weight_norm(key)}"

    return renamed(state_dict, encoder)


def deepfense_names(state_dict):
    """The names of DeepFense's detectors, inside a checkpoint of its trainer."""
    last = ("Nested_Res2Net_TDNN.fc.", "out_layer.", "conformer.fc5.")

    def rest(key):
        if key.startswith(last):
            return f"losses.0.fc.{key.rpartition('.')[2]}"
        return f"backend.{key.removeprefix('Nested_Res2Net_TDNN.').removeprefix('conformer.')}"

    return renamed(state_dict, "frontend.model.{}".format, rest)


SMALL_WAV2VEC2 = {
    **{"name": "wav2vec2_small", "encoder_embed_dim": 64, "encoder_ffn_embed_dim": 64, "encoder_layers": 2},
    "conv_feature_layers": [[32, 10, 5], *[[32, 3, 2]] * 4, *[[32, 2, 2]] * 2],
}
WITHOUT_HEADS = {**SMALL_WAV2VEC2, "pretraining_heads": False}
#: The last scale of the multi-resolution gMLP has a 32nd of these numbers, and gates of a quarter of that.
WIDE = {**SMALL_WAV2VEC2, "encoder_embed_dim": 128}
#: Function that gives tensors their published names, front-end, aggregation, back-end.
LAYOUTS = [
    (antideepfake_names, SMALL_WAV2VEC2, "last", "mean_linear"),
    (df_arena_names, WITHOUT_HEADS, "last", {"name": "raptor", "num_blocks": 1}),
    (mambo_names, WITHOUT_HEADS, "last", {"name": "mambo", "num_layers": 1, "embed_dim": 64}),
    (
        lambda tensors: {"model_state": deepfense_names(tensors)},
        SMALL_WAV2VEC2,
        "last",
        {"name": "nes2net", "nes_ratio": [4, 4]},
    ),
    (deepfense_names, SMALL_WAV2VEC2, "last", "aasist"),
    (deepfense_names, SMALL_WAV2VEC2, "last", {"name": "tcm", "num_blocks": 1}),
    (lightning_names, SMALL_WAV2VEC2, "moe", "aasist"),
    (partial(lightning_names, older=older_weight_norm), SMALL_WAV2VEC2, "moe", "aasist"),
    (global_feature_names, SMALL_WAV2VEC2, "last", "lgf"),
    (partial(global_feature_names, encoder="ssl_model.model."), SMALL_WAV2VEC2, "last", "llgf"),
    (  # s3prl's encoder among them
        partial(global_feature_names, encoder="extracter.model."),
        WIDE,
        "last",
        {"name": "multires_gmlp", "num_layers": 2, "gmlp_layers": 1, "max_frames": 64},
    ),
]


@pytest.fixture(params=LAYOUTS)
def published(request):
    """A configuration, its detector, and a checkpoint of it in a published layout."""
    names, frontend, aggregation, backend = request.param
    torch.manual_seed(0)
    config = {"frontend": frontend, "aggregation": aggregation, "backend": backend}
    detector = Detector.from_config(config).eval()
    return config, detector, names(detector.state_dict())


def test_exactly_a_whole_checkpoint_in_a_published_layout_gives_a_detector_with_the_logits_of_the_original(
    published, tmp_path
):
    """One with a tensor that its model lacks is refused."""
    config, detector, checkpoint = published
    torch.save(checkpoint, tmp_path / "published.ckpt")
    loaded = load_detector(tmp_path / "published.ckpt", config=config)
    with torch.inference_mode():
        waveform = torch.randn(1, 8000)
        assert torch.equal(loaded(waveform), detector(waveform))
    tensors = checkpoint.get("state_dict", checkpoint.get("model_state", checkpoint))
    tensors["one.more"] = torch.zeros(1)
    torch.save(checkpoint, tmp_path / "published.ckpt")
    with input_error(r"one\.more"):
        load_detector(tmp_path / "published.ckpt", config=config)


def test_a_checkpoint_without_its_architecture_is_loaded_if_exactly_one_published_model_fits(
    detector, tmp_path, monkeypatch
):
    torch.save(dict(detector.state_dict()), tmp_path / "bare.pth")
    with input_error(r"fits no published model.*`config`"):
        Detector.from_pretrained(tmp_path / "bare.pth")
    published = {"A": detector.config}
    monkeypatch.setattr("nes2net.models.loading.PUBLISHED_MODELS", published)
    facts = PublishedModel(detector.config, source="a paper", licence="not stated")
    monkeypatch.setattr("nes2net.models.loading.PUBLISHED", {"A": facts, "B": facts})
    assert load_detector(tmp_path / "bare.pth").config == detector.config
    published["B"] = detector.config
    with input_error("fits A and B, .*`config`"):
        Detector.from_pretrained(tmp_path / "bare.pth")
