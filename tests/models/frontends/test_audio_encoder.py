"""The front-end `audio_encoder`: hidden states of any encoder of waveforms, from folders of the transformers library."""

import re
import shutil

import pytest
import torch
from builders import assert_near, input_error
from builders.files import read_json, write_json
from builders.hub_server import serving, use_cache
from torch import nn

from nes2net import Detector, create_frontend

CONVOLUTIONS = {"conv_dim": [32] * 4, "conv_kernel": [16, 4, 4, 4], "conv_stride": [8, 4, 4, 2]}
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 3, **CONVOLUTIONS}
CONFORMER = {"model_type": "wav2vec2-conformer", "conv_depthwise_kernel_size": 5}
#: Name → settings beside SIZES.
TYPES = {
    "hubert": {"model_type": "hubert", "num_conv_pos_embedding_groups": 4, "num_feat_extract_layers": 4},
    "sew": {"model_type": "sew", "num_conv_pos_embedding_groups": 4, "squeeze_factor": 2},
    "sew-d": {
        "model_type": "sew-d",
        "num_conv_pos_embedding_groups": 4,
        "squeeze_factor": 2,
        "max_position_embeddings": 64,
    },
    "relative": {**CONFORMER, "position_embeddings_type": "relative"},
    "rotary": {**CONFORMER, "position_embeddings_type": "rotary"},
}
CONFIG = "config.json"
EXTRACTOR = "preprocessor_config.json"


@pytest.fixture(scope="module", params=TYPES)
def saved(request, tmp_path_factory):
    """The library's model in float64, its extractor, and the folder of both."""
    from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(**SIZES, **TYPES[request.param]))
    for parameter in model.parameters():  # the norms and some others begin as ones and zeros
        nn.init.normal_(parameter, 0.5 * (parameter.ndim == 1), 0.2)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=request.param != "sew")
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return model.double().eval(), extractor, folder


def noise(samples):
    """Two waveforms."""
    generator = torch.Generator().manual_seed(samples)
    return 0.1 * torch.randn(2, samples, generator=generator)


def test_hidden_states_of_audio_encoder_equal_those_of_transformers(saved):
    """Of batches of different lengths."""
    model, extractor, folder = saved
    frontend = create_frontend("audio_encoder", folder).eval().double()
    for samples in (9001, 5000, 7777):
        waveform = noise(samples).double()
        inputs = waveform
        if extractor.do_normalize:  # the extractor computes this in float32
            variance, mean = torch.var_mean(waveform, dim=1, keepdim=True, correction=0)
            inputs = (waveform - mean) / (variance + 1e-7).sqrt()
        with torch.inference_mode():
            expected = model(inputs, output_hidden_states=True)
            states = frontend(waveform, layers="all")
            (alone,) = frontend(waveform)
        library_states = [*expected.hidden_states[: frontend.num_layers - 1], expected.last_hidden_state]
        for state, library_state in zip(states, library_states, strict=True):
            assert_near(state, library_state, 1e-6)
        assert torch.equal(alone, states[-1])


def test_audio_encoder_normalises_as_the_extractor_of_the_folder(saved):
    _, extractor, folder = saved
    frontend = create_frontend("audio_encoder", folder).eval()
    waveform = noise(5000)
    inputs = extractor(list(waveform.numpy()), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        expected = frontend.model(inputs["input_values"]).last_hidden_state
        (frames,) = frontend(waveform)
    assert_near(frames, expected, 1e-4)


def test_the_shortest_waveform_of_audio_encoder_has_a_frame_of_each_state(saved):
    _, _, folder = saved
    frontend = create_frontend("audio_encoder", folder).eval()
    with torch.inference_mode():
        states = frontend(noise(frontend.min_samples), layers="all")
    assert len(states) == frontend.num_layers
    for state in states:
        assert state.shape[1] >= 1
    with input_error("too short"):
        frontend(torch.zeros(1, frontend.min_samples - 1))


def test_gradients_reach_waveform_and_parameters_of_audio_encoder(saved):
    _, _, folder = saved
    frontend = create_frontend("audio_encoder", folder).train()
    waveform = noise(5000).requires_grad_()
    (frames,) = frontend(waveform)
    frames.square().sum().backward()
    assert waveform.grad.any()
    for name, parameter in frontend.named_parameters():
        if parameter.grad is None:
            assert re.fullmatch(frontend.untrained, name)
        else:
            assert parameter.grad.isfinite().all()


def test_a_saved_detector_with_audio_encoder_scores_as_before(saved, tmp_path):
    _, _, folder = saved
    frontend = create_frontend("audio_encoder", folder)
    detector = Detector.from_config({"frontend": frontend.config, "backend": "asp_mlp"}).eval()
    detector.frontend.load_state_dict(frontend.state_dict())
    detector.save(tmp_path / "detector")
    samples = noise(9000)[0]
    again = Detector.from_pretrained(tmp_path / "detector")
    expected = detector.score(samples, 16_000)
    assert again.score(samples, 16_000) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("saved", ["hubert"], indirect=True)
def test_an_encoder_of_the_hub_is_fetched_once_by_its_name(saved, tmp_path, monkeypatch):
    """Its type chooses the front-end, if none is named."""
    _, _, folder = saved
    use_cache(monkeypatch, tmp_path / "hf", offline=False)
    with serving(monkeypatch, {"owner/encoder": folder}, "model"):
        assert create_frontend("hub:owner/encoder").config == create_frontend("hubert", folder).config
    use_cache(monkeypatch, tmp_path / "hf", offline=True)
    frontend = create_frontend("audio_encoder", "hub:owner/encoder")
    assert frontend.config == create_frontend("audio_encoder", folder).config
    for name in ("hub:", "hub:owner", "hub:owner/.."):
        with input_error(f"'{name}' names no repository: expected hub:OWNER/NAME"):
            create_frontend("audio_encoder", name)
    with input_error("owner--other is not on this machine .* the hub cannot be reached .*/owner/other/tree/main"):
        create_frontend("audio_encoder", "hub:owner/other")


@pytest.mark.parametrize("name", ["sampling_rate", "do_normalize"])
@pytest.mark.parametrize("saved", ["hubert"], indirect=True)
def test_folders_that_do_not_state_rate_or_normalisation_are_refused(saved, name, tmp_path):
    _, _, folder = saved
    target = tmp_path / "changed"
    shutil.copytree(folder, target)
    settings = read_json(target / EXTRACTOR)
    del settings[name]
    write_json(target / EXTRACTOR, settings)
    with input_error(f"{EXTRACTOR} does not state sampling_rate, and do_normalize"):
        create_frontend("audio_encoder", target)


@pytest.mark.parametrize("saved", ["hubert"], indirect=True)
@pytest.mark.parametrize(
    "file, settings, message",
    [
        (EXTRACTOR, {"sampling_rate": 8000}, "sampling_rate 8000: only 16000 is supported"),
        (EXTRACTOR, {"do_normalize": None}, "does not state sampling_rate, and do_normalize as true or false"),
        (EXTRACTOR, {"feature_extractor_type": "ASTFeatureExtractor"}, "only 'Wav2Vec2FeatureExtractor'"),
        (CONFIG, {"model_type": None}, "changed: transformers has no encoder of waveforms of type None"),
        (CONFIG, {"model_type": "whisper"}, "changed: .* of type whisper with a setting '"),
        (CONFIG, {"unknown_setting": 1}, "of type hubert with a setting 'unknown_setting'"),
        (CONFIG, {"auto_map": {"AutoModel": "code.Model"}}, "with a setting 'auto_map'"),
        (CONFIG, {"num_hidden_layers": 2}, "encoder.layers.2"),
    ],
)
def test_folders_that_audio_encoder_cannot_use_are_refused_with_the_reason(saved, file, settings, message, tmp_path):
    _, _, folder = saved
    target = tmp_path / "changed"
    shutil.copytree(folder, target)
    content = read_json(target / file)
    content.update(settings)
    write_json(target / file, content)
    with input_error(message):
        create_frontend("audio_encoder", target)
