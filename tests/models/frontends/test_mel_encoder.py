"""w2v-BERT 2.0 and Whisper: the transformers library's hidden states, from its own files."""

from functools import partial

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


@pytest.fixture(scope="module", params=SMALL)
def saved(request, tmp_path_factory):
    """Name of the front-end, the library's model in float64, its extractor, and the folder of both."""
    torch.manual_seed(0)
    model, extractor = w2v_bert2_library() if request.param == "w2v_bert2" else whisper_library()
    for parameter in model.parameters():  # the norms and some others begin as ones and zeros
        if parameter.requires_grad:
            nn.init.normal_(parameter, 0.5 * (parameter.ndim == 1), 0.2)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return request.param, model.eval(), extractor, folder


def library_states(model, features):
    """The input of each layer and the output of the last one and of the encoder."""
    states = []
    encoder = model.model.encoder if hasattr(model, "model") else model
    layers = encoder.layers if hasattr(encoder, "layers") else encoder.encoder.layers
    hooks = [layer.register_forward_hook(lambda _, args, out: states.append((args[0], out))) for layer in layers]
    last = encoder(features).last_hidden_state
    for hook in hooks:
        hook.remove()
    outputs = [out[0] if isinstance(out, tuple) else out for _, out in states]
    return [x for x, _ in states], outputs[-1], last


@pytest.mark.parametrize("samples", [560, 16_123, 16_280])
def test_hidden_states_of_a_hugging_face_folder_equal_those_of_transformers(saved, samples):
    name, model, extractor, folder = saved
    frontend = create_frontend(name, folder).eval()
    # A level that varies as that of speech: the library normalises in float32, and so roughly otherwise.
    waveform = noise(2, samples) * torch.linspace(0.01, 1, samples)
    frames = 1 + (samples - frontend.min_samples) // 320
    features = torch.stack(
        [torch.as_tensor(np.asarray(extractor(x.numpy(), sampling_rate=16_000)["input_features"][0])) for x in waveform]
    )
    if name == "w2v_bert2":
        features = features[:, :frames]  # the library masks a frame that has no partner
    with torch.inference_mode():
        inputs, before_norm, last = library_states(model, features)
        hidden_states = frontend(waveform, layers="all")
        raw = frontend(waveform, layers="all", final_norm=False)
        (alone,) = frontend(waveform)
    assert len(hidden_states) == 4
    assert {state.shape for state in hidden_states} == {(2, frames, 32)}
    tolerance = 1e-5 if samples > 560 else 1e-4  # the variance of two similar frames magnifies rounding
    for state, expected in zip([*hidden_states, raw[-1]], [*inputs, last, before_norm], strict=True):
        assert_close(state, expected[:, :frames], rtol=1e-5, atol=tolerance)
    assert torch.equal(alone, hidden_states[-1])


def test_a_hugging_face_folder_gives_the_options_of_its_encoder(saved):
    """Dropouts and layer drop are the file's, under the names of the other front-ends."""
    name, _, _, folder = saved
    frontend = create_frontend(name, folder)
    options = {key: frontend.config[key] for key in SMALL[name]}
    assert options == SMALL[name]
    assert frontend.encoder_layerdrop == frontend.config["encoder_layerdrop"] == (0.1 if name == "w2v_bert2" else 0.0)


def test_tensors_of_the_encoder_have_the_names_of_transformers(saved):
    name, model, _, folder = saved
    frontend = create_frontend(name, folder)
    published = model.state_dict() if name == "w2v_bert2" else model.model.encoder.state_dict()
    assert frontend.state_dict().keys() == {f"model.{key}" for key in published}


@pytest.mark.parametrize("saved", ["whisper"], indirect=True)
def test_a_file_of_openai_gives_the_same_states_as_the_hugging_face_folder(saved, tmp_path):
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


def changed(folder, target, file, **entries):
    """A copy of a Hugging Face folder with other entries in one of its files; None leaves one out."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    content = {**read_json(target / file), **entries}
    write_json(target / file, {k: v for k, v in content.items() if v is not None})
    return target


def test_folders_with_an_unsupported_setting_are_refused_with_its_name(saved, tmp_path):
    name, _, _, folder = saved
    copy = partial(changed, folder)
    extractor = "preprocessor_config.json"
    config = "config.json"
    cases = [
        (copy(tmp_path / "rate", extractor, sampling_rate=8000), "sampling_rate 8000: only 16000 is supported"),
        (copy(tmp_path / "type", config, model_type="hubert"), "model of type 'hubert'|holds HuBERT"),
    ]
    if name == "w2v_bert2":
        cases.append((copy(tmp_path / "positions", config, position_embeddings_type="rotary"), "only 'relative_key'"))
    else:
        cases.append((copy(tmp_path / "seconds", config, max_source_positions=99), "99 positions: a multiple of 50"))
        cases.append((copy(tmp_path / "length", extractor, chunk_length=30), "chunk_length 30: only 2 is supported"))
    for path, message in cases:
        with input_error(message):
            create_frontend(name, path)


def test_settings_of_the_extractor_are_also_read_from_the_file_of_a_processor(saved, tmp_path):
    """Newer releases write it there."""
    name, _, _, folder = saved
    numbers = read_json(folder / "preprocessor_config.json")
    copied = changed(folder, tmp_path / "copied", "config.json")
    (copied / "preprocessor_config.json").unlink()
    write_json(copied / "processor_config.json", {"feature_extractor": numbers})
    create_frontend(name, copied)


def test_a_file_of_other_weights_is_refused(saved, tmp_path):
    name, _, _, _ = saved
    torch.save({"weight": torch.zeros(2)}, tmp_path / "weights.pt")
    expected = "folder: w2v-BERT 2.0 is read from a Hugging Face folder" if name == "w2v_bert2" else "checkpoint of Wh"
    with input_error(rf"weights\.pt is not a {expected}"):
        create_frontend(name, tmp_path / "weights.pt")


@every_name
def test_utterances_of_a_batch_have_the_states_that_they_have_alone(name):
    frontend = create(name).eval()
    waveform = noise(3)
    with torch.inference_mode():
        together = frontend(waveform)[0]
        alone = torch.cat([frontend(x)[0] for x in waveform.split(1)])
    assert_near(together, alone, 1e-5)


@every_name
def test_samples_behind_the_last_frame_change_no_frame(name):
    frontend = create(name).eval()
    waveform = noise(1)
    with torch.inference_mode():
        cut = frontend(waveform[:, : frontend.used_samples(waveform.shape[1])])[0]
        assert torch.equal(frontend(waveform)[0], cut)


def test_whisper_reads_only_the_first_seconds_that_fit_its_positions():
    frontend = create("whisper").eval()
    waveform = noise(1, 40_000)
    with torch.inference_mode():
        frames = frontend(waveform)[0]
        expected = frontend(waveform[:, :32_000])[0]
    assert torch.equal(frames, expected)
    assert frontend.used_samples(40_000) == 32_000


def test_a_window_is_at_most_as_long_as_whisper_reads():
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


DROPOUTS = dict.fromkeys(["dropout", "attention_dropout", "activation_dropout"], 0.1)


@every_name
def test_gradients_reach_every_parameter(name):
    for gradient in gradients_of(create(name, **DROPOUTS).train()):
        assert gradient.isfinite().all()
        assert gradient.any()


@every_name
def test_recomputed_activations_give_the_same_gradients(name):
    recomputed = create(name, **DROPOUTS).train()
    recomputed.checkpoint_activations()
    assert all(map(torch.equal, gradients_of(recomputed), gradients_of(create(name, **DROPOUTS).train())))


@every_name
def test_a_waveform_is_not_rounded_to_the_precision_of_the_encoder(name):
    """So that the log-mel features are those of float32."""
    frontend = create(name).eval()
    detector = Detector.from_config({"frontend": frontend.config, "backend": {"name": "asp_mlp"}}).eval()
    detector.frontend.load_state_dict(frontend.state_dict())
    waveform = noise()
    with torch.inference_mode():
        (expected,) = frontend(waveform)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            (mixed,) = frontend(waveform)
        dtypes = []
        detector.frontend.register_forward_pre_hook(lambda _, args: dtypes.append(args[0].dtype))
        (low,) = detector.bfloat16().hidden_states(waveform)
        detector.double().hidden_states(waveform)
        assert dtypes == [torch.float32, torch.float64]
        (exact,) = frontend.double()(waveform.double())
    assert_close(exact.float(), expected, rtol=1e-4, atol=1e-4)
    for frames in (low, mixed):
        assert (frames - expected).square().mean().sqrt() < 0.03 * expected.std()


def test_frames_of_w2v_bert_2_begin_every_20_ms():
    assert W2VBert2Frontend.hop_length == 320
