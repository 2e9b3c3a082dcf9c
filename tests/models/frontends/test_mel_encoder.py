"""Encoders of log-mel features: the transformers library's hidden states, from its own files."""

import copy

import numpy as np
import pytest
import torch
from builders import assert_near, input_error
from builders.files import read_json, write_json
from torch import nn
from torch.testing import assert_close

from nes2net import Detector, create_frontend
from nes2net.models.frontends.w2v_bert2 import W2VBert2Frontend

WIDTHS = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 4}
SMALL = {
    "ast": {**WIDTHS, "encoder_layers": 3, "max_length": 128, "num_mel_bins": 26, "time_stride": 2},
    "w2v_bert2": {**WIDTHS, "encoder_layers": 3, "conv_kernel": 5, "left_positions": 6, "right_positions": 3},
    "whisper": {**WIDTHS, "encoder_ffn_embed_dim": 128, "encoder_layers": 3, "chunk_length": 2, "num_mel_bins": 20},
}
every_name = pytest.mark.parametrize("name", SMALL)


def create(name, **options):
    torch.manual_seed(0)
    return create_frontend(name, **{**SMALL[name], **options})


def noise(batch=2, samples=16_123, seed=0):
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def w2v_bert2_library():
    """A small model of the library, with the extractor that its hidden states need."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 3}
    positions = {"left_max_position_embeddings": 6, "right_max_position_embeddings": 3}
    config = Wav2Vec2BertConfig(**sizes, **positions, conv_depthwise_kernel_size=5, conformer_conv_dropout=0.0)
    return Wav2Vec2BertModel(config), SeamlessM4TFeatureExtractor()


def whisper_library():
    """The same of Whisper: the encoder of a whole model."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    sizes = {"d_model": 32, "encoder_ffn_dim": 4 * 32, "encoder_attention_heads": 4, "encoder_layers": 3}
    decoder = {"decoder_layers": 1, "decoder_ffn_dim": 32, "decoder_attention_heads": 2, "vocab_size": 60}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
    config = WhisperConfig(**sizes, **decoder, **tokens, num_mel_bins=20, max_source_positions=100)
    return WhisperForConditionalGeneration(config), WhisperFeatureExtractor(feature_size=20, chunk_length=2)


def ast_library():
    """The same of AST: a classifier, whose head is not read."""
    from transformers import ASTConfig, ASTFeatureExtractor, ASTForAudioClassification

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 3}
    patches = {"max_length": 128, "num_mel_bins": 26}
    config = ASTConfig(**sizes, **patches, time_stride=2)
    return ASTForAudioClassification(config), ASTFeatureExtractor(**patches, mean=-4.0, std=4.5)


LIBRARIES = {"ast": ast_library, "w2v_bert2": w2v_bert2_library, "whisper": whisper_library}


@pytest.fixture(scope="module", params=SMALL)
def saved(request, tmp_path_factory):
    """Name of the front-end, the library's model in float64, its extractor, and the folder of both."""
    torch.manual_seed(0)
    model, extractor = LIBRARIES[request.param]()
    for parameter in model.parameters():  # the norms and some others begin as ones and zeros
        if parameter.requires_grad:
            nn.init.normal_(parameter, 0.5 * (parameter.ndim == 1), 0.2)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return request.param, model.eval(), extractor, folder


def encoder_of(model):
    """The encoder of a model of the library, which may have a decoder or a head, too."""
    base = model.base_model
    return base.encoder if hasattr(base, "decoder") else base


def library_states(model, features):
    """The input of each layer and the output of the last one and of the encoder."""
    states = []
    encoder = encoder_of(model)
    layers = encoder.layers if hasattr(encoder, "layers") else encoder.encoder.layers
    hooks = [layer.register_forward_hook(lambda _, args, out: states.append((args[0], out))) for layer in layers]
    last = encoder(features).last_hidden_state
    for hook in hooks:
        hook.remove()
    outputs = [out[0] if isinstance(out, tuple) else out for _, out in states]
    return [x for x, _ in states], outputs[-1], last


def frames_of(name, state):
    """Frames of a hidden state of the library: of AST, without class tokens, the mean over 2 frequencies."""
    if name != "ast":
        return state
    return state[:, 2:].unflatten(1, (2, 57)).mean(1)


def extracted(name, extractor, waveform, frames):
    """The features of the library's own extractor. The model of w2v-BERT 2.0 would mask a frame that has no partner."""
    key = extractor.model_input_names[0]
    rows = []
    for x in waveform:
        (row,) = extractor(x.numpy(), sampling_rate=16_000)[key]
        rows.append(torch.as_tensor(np.asarray(row)))
    features = torch.stack(rows)
    if name == "w2v_bert2":
        features = features[:, :frames]
    return features


# At 560 samples, the variance of two similar frames magnifies rounding.
@pytest.mark.parametrize("samples, tolerance", [(560, 1e-4), (16_123, 1e-5), (16_280, 1e-5)])
def test_hidden_states_of_folders_of_mel_encoders_equal_those_of_transformers(saved, samples, tolerance):
    """All of them, the last one also alone and before the final norm."""
    name, model, extractor, folder = saved
    frontend = create_frontend(name, folder).eval()
    # A level that varies as that of speech: the library normalises in float32, and so roughly otherwise.
    samples = max(samples, frontend.min_samples)
    waveform = noise(2, samples) * torch.linspace(0.01, 1, samples)
    frames = 1 + (samples - frontend.min_samples) // 320
    with torch.inference_mode():
        inputs, before_norm, last = library_states(model, extracted(name, extractor, waveform, frames))
        hidden_states = frontend(waveform, layers="all")
        raw = frontend(waveform, layers="all", final_norm=False)
        (alone,) = frontend(waveform)
    for state, expected in zip([*hidden_states, raw[-1]], [*inputs, last, before_norm], strict=True):
        assert_close(state, frames_of(name, expected)[:, :frames], rtol=1e-5, atol=tolerance)
    assert torch.equal(alone, hidden_states[-1])


@pytest.mark.parametrize("samples", [5000, 40_000])
def test_hidden_states_of_mel_encoders_in_float64_equal_those_of_transformers_for_the_same_features(saved, samples):
    """Of short waveforms, and of those longer than the encoder reads."""
    name, model, _, folder = saved
    frontend = create_frontend(name, folder).eval().double()
    waveform = noise(2, samples).double()
    with torch.inference_mode():
        inputs, _, last = library_states(copy.deepcopy(model).double(), frontend.features(waveform))
        hidden_states = frontend(waveform, layers="all")
    for state, expected in zip(hidden_states, [*inputs, last], strict=True):
        assert_near(state, frames_of(name, expected)[:, : state.shape[1]], 1e-9)


def test_folders_of_mel_encoders_give_sizes_and_names_of_tensors(saved):
    """Sizes under the names of the other front-ends, tensors under those of transformers."""
    name, model, _, folder = saved
    frontend = create_frontend(name, folder)
    assert SMALL[name].items() <= frontend.config.items()
    assert frontend.state_dict().keys() == {f"model.{key}" for key in encoder_of(model).state_dict()}


@pytest.mark.parametrize("saved, layer_drop", [("w2v_bert2", 0.1), ("whisper", 0.0), ("ast", 0.0)], indirect=["saved"])
def test_folders_of_mel_encoders_give_the_layer_drop_of_their_encoder(saved, layer_drop):
    """Unless another one is stated."""
    name, _, _, folder = saved
    frontend = create_frontend(name, folder)
    assert frontend.config["encoder_layerdrop"] == layer_drop
    assert frontend.encoder_layerdrop == layer_drop
    assert create_frontend(name, folder, encoder_layerdrop=0.5).config["encoder_layerdrop"] == 0.5


@pytest.mark.parametrize("saved", ["whisper"], indirect=True)
def test_a_whisper_file_of_openai_gives_the_frames_of_the_hugging_face_folder(saved, tmp_path):
    name, model, _, folder = saved
    expected = create_frontend(name, folder).eval()
    projections = {"q": "query", "k": "key", "v": "value", "out": "out"}
    names = {f"self_attn.{huggingface}_proj": f"attn.{openais}" for huggingface, openais in projections.items()}
    names |= {"self_attn_layer_norm": "attn_ln", "final_layer_norm": "mlp_ln", "fc1": "mlp.0", "fc2": "mlp.2"}
    names |= {"embed_positions.weight": "positional_embedding", "layers": "blocks"}
    tensors = {"decoder.positional_embedding": torch.zeros(2, 2)}
    file = tmp_path / "tiny.pt"
    for key, tensor in model.model.encoder.state_dict().items():
        for huggingface, openais in names.items():
            key = key.replace(huggingface, openais)
        key = f"ln_post.{key.split('.')[-1]}" if key.startswith("layer_norm.") else key
        tensors[f"encoder.{key}"] = tensor
    dims = {"n_mels": 20, "n_audio_ctx": 100, "n_audio_state": 32, "n_audio_head": 4, "n_audio_layer": 3}
    torch.save({"dims": dims, "model_state_dict": tensors}, file)
    whisper = create_frontend("whisper", file).eval()
    with torch.inference_mode():
        assert_close(whisper(noise())[0], expected(noise())[0], rtol=1e-5, atol=1e-5)


def test_a_file_of_openai_with_two_names_of_one_tensor_is_refused_with_both(tmp_path):
    names = ["encoder.blocks.0.mlp.0.weight", "encoder.layers.0.fc1.weight"]
    dims = {"n_mels": 20, "n_audio_ctx": 100, "n_audio_state": 32, "n_audio_head": 4, "n_audio_layer": 3}
    content = {"dims": dims, "model_state_dict": dict.fromkeys(names, torch.zeros(2))}
    torch.save(content, tmp_path / "tiny.pt")
    with input_error(f"tiny.pt holds one tensor under two names, {names[0]} and {names[1]}"):
        create_frontend("whisper", tmp_path / "tiny.pt")


def changed(folder, target, file, **entries):
    """A copy of a Hugging Face folder with other entries in one of its files; None leaves one out."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    content = {**read_json(target / file), **entries}
    write_json(target / file, {k: v for k, v in content.items() if v is not None})
    return target


CONFIG = "config.json"
EXTRACTOR = "preprocessor_config.json"


@pytest.mark.parametrize(
    "saved, file, settings, message",
    [
        ("ast", EXTRACTOR, {"mean": None}, "mean must be a number, not None"),
        ("ast", EXTRACTOR, {"max_length": 64}, "max_length 64: only 128 is supported"),
        ("ast", EXTRACTOR, {"do_normalize": False}, "do_normalize False: only True is supported"),
        ("ast", CONFIG, {"patch_size": 8}, "config.json has patch_size 8: only 16"),
        ("w2v_bert2", EXTRACTOR, {"sampling_rate": 8000}, "sampling_rate 8000: only 16000 is supported"),
        ("w2v_bert2", CONFIG, {"position_embeddings_type": "rotary"}, "only 'relative_key'"),
        ("w2v_bert2", CONFIG, {"layer_norm_eps": 0.1}, "config.json has layer_norm_eps 0.1: only 1e-05"),
        (
            "whisper",
            CONFIG,
            {"activation_function": "relu"},
            "config.json has activation_function 'relu': only 'gelu'",
        ),
        ("whisper", EXTRACTOR, {"sampling_rate": 8000}, "sampling_rate 8000: only 16000 is supported"),
        ("whisper", CONFIG, {"max_source_positions": 99}, "99 positions: a multiple of 50"),
        ("whisper", EXTRACTOR, {"chunk_length": 30}, "chunk_length 30: only 2 is supported"),
        ("whisper", CONFIG, {"model_type": "hubert"}, "model of type 'hubert'|holds HuBERT"),
        ("w2v_bert2", CONFIG, {"model_type": "hubert"}, "model of type 'hubert'|holds HuBERT"),
    ],
    indirect=["saved"],
)
def test_folders_with_an_unsupported_setting_are_refused_with_the_reason(saved, file, settings, message, tmp_path):
    name, _, _, folder = saved
    path = changed(folder, tmp_path / "changed", file, **settings)
    with input_error(message):
        create_frontend(name, path)


def test_settings_of_the_extractor_are_also_read_from_the_file_of_a_processor(saved, tmp_path):
    """Newer releases write it there; so an unsupported setting in this file is refused."""
    name, _, _, folder = saved
    copied = changed(folder, tmp_path / "copied", CONFIG)
    settings = {**read_json(copied / EXTRACTOR), "sampling_rate": 8000}
    (copied / EXTRACTOR).unlink()
    write_json(copied / "processor_config.json", {"feature_extractor": settings})
    with input_error(r"processor_config\.json has sampling_rate 8000: only 16000 is supported"):
        create_frontend(name, copied)


@pytest.fixture
def other_weights(tmp_path):
    """A file with a tensor that no front-end has."""
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def test_w2v_bert2_is_read_only_from_a_folder_and_refuses_a_file(other_weights):
    with input_error(r"weights\.pt is not a folder: w2v-BERT 2.0 is read from a Hugging Face folder"):
        create_frontend("w2v_bert2", other_weights)


def test_whisper_refuses_a_file_of_other_weights(other_weights):
    with input_error(r"weights\.pt is not a checkpoint of Wh"):
        create_frontend("whisper", other_weights)


@every_name
def test_utterances_in_a_batch_have_the_states_that_mel_encoders_give_them_alone(name):
    frontend = create(name).eval()
    waveform = noise(3)
    with torch.inference_mode():
        together = frontend(waveform)[0]
        alone = torch.cat([frontend(x)[0] for x in waveform.split(1)])
    assert_near(together, alone, 1e-5)


@every_name
def test_samples_behind_the_last_frame_change_no_frame_of_mel_encoders(name):
    frontend = create(name).eval()
    waveform = noise(1)
    with torch.inference_mode():
        cut = frontend(waveform[:, : frontend.used_samples(waveform.shape[1])])[0]
        assert torch.equal(frontend(waveform)[0], cut)


@pytest.mark.parametrize("name, most_samples", [("whisper", 32_000), ("ast", 400 + 127 * 160)])
def test_whisper_and_ast_read_only_the_first_seconds_that_fit_their_positions(name, most_samples):
    frontend = create(name).eval()
    waveform = noise(1, 40_000)
    with torch.inference_mode():
        frames = frontend(waveform)[0]
        expected = frontend(waveform[:, :most_samples])[0]
    assert torch.equal(frames, expected)
    assert frontend.used_samples(40_000) == most_samples


def test_windows_of_score_track_are_at_most_as_long_as_whisper_reads():
    waveform = noise(1, 40_000)
    detector = Detector.from_config({"frontend": create("whisper").config, "backend": "asp_mlp"})
    track = detector.score_track(waveform[0], 16000, window=2.5)
    expected = detector.score_track(waveform[0], 16000, window=2)
    assert track.window == 2
    assert track.scores.tolist() == expected.scores.tolist()


def gradients_of(frontend):
    """The gradients of the waveform and of every parameter except sines, with dropout from one seed."""
    waveform = noise().requires_grad_()
    torch.manual_seed(1)
    sum(state.square().sum() for state in frontend(waveform, layers="all")).backward()
    trained = {k: p for k, p in frontend.named_parameters() if k != "model.embed_positions.weight"}
    assert [k for k, p in frontend.named_parameters() if p.requires_grad] == list(trained)
    return [waveform.grad, *(parameter.grad for parameter in trained.values())]


def with_dropout(name):
    dropouts = {"dropout": 0.1, "attention_dropout": 0.1}
    if name != "ast":
        dropouts["activation_dropout"] = 0.1
    return create(name, **dropouts).train()


@every_name
def test_finite_gradients_reach_waveform_and_trained_parameters_of_mel_encoders(name):
    """Activations that are computed again give the same ones."""
    recomputed = with_dropout(name)
    recomputed.checkpoint_activations()
    for gradient, again in zip(gradients_of(with_dropout(name)), gradients_of(recomputed), strict=True):
        assert gradient.isfinite().all()
        assert gradient.any()
        assert torch.equal(again, gradient)


def detector_with(frontend):
    """A detector whose front-end has the weights of this one."""
    detector = Detector.from_config({"frontend": frontend.config, "backend": {"name": "asp_mlp"}}).eval()
    detector.frontend.load_state_dict(frontend.state_dict())
    return detector


@every_name
def test_a_waveform_is_not_rounded_to_the_precision_of_mel_encoders(name):
    """The front-end of a detector in bfloat16 gets it in float32, that of one in float64 in float64."""
    detector = detector_with(create(name))
    dtypes = []
    detector.frontend.register_forward_pre_hook(lambda _, args: dtypes.append(args[0].dtype))
    with torch.inference_mode():
        detector.bfloat16().hidden_states(noise())
        detector.double().hidden_states(noise())
    assert dtypes == [torch.float32, torch.float64]


@every_name
def test_states_of_mel_encoders_in_float64_and_bfloat16_are_near_those_in_float32(name):
    frontend = create(name).eval()
    detector = detector_with(frontend).bfloat16()
    waveform = noise()
    with torch.inference_mode():
        (expected,) = frontend(waveform)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (mixed,) = frontend(waveform)
        (low,) = detector.hidden_states(waveform)
        (exact,) = frontend.double()(waveform.double())
    assert_close(exact.float(), expected, rtol=1e-4, atol=1e-4)
    for frames in (low, mixed):
        assert (frames - expected).square().mean().sqrt() < 0.03 * expected.std()


def test_frames_of_w2v_bert_2_begin_every_20_ms():
    assert W2VBert2Frontend.hop_length == 320
