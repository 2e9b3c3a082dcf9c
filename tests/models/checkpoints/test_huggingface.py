"""Hugging Face folders give the library's own outputs, whatever saved them."""

import copy
from functools import cache
from itertools import product

import pytest
import torch
from builders import assert_near, input_error
from builders.files import read_json, write_json

from nes2net import create_frontend
from nes2net.models.checkpoints.huggingface import HARMLESS_KEYS, library_options, read_weights
from nes2net.models.checkpoints.model_types import MODEL_TYPES

SIZES = {
    **{"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    **{"conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
    **{"codevector_dim": 32, "proj_codevector_dim": 32, "num_codevectors_per_group": 8},
    **{"hidden_dropout": 0.25, "layerdrop": 0.125},
}
LARGE = "large"
BASE = "base"
LAYERED = "layered"
FAMILIES = {
    LARGE: {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True},
    BASE: {"do_stable_layer_norm": False, "feat_extract_norm": "group", "conv_bias": False},
    LAYERED: {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 6},  # of data2vec
}


# Beginning of the names of the library's classes → front-end that reads the folder.
KINDS = {
    **{"Wav2Vec2": "wav2vec2", "WavLM": "wavlm", "Hubert": "hubert", "UniSpeechSat": "hubert"},
    **{"UniSpeech": "hubert", "Data2VecAudio": "data2vec"},
}
# One model of each kind.
MODELS = [(f"{kind}Model", LAYERED if kind == "Data2VecAudio" else BASE) for kind in KINDS]


def kind_of(name):
    return next((start, frontend) for start, frontend in KINDS.items() if name.startswith(start))


@cache
def library_model(name, family):
    """A model with the options of a family of :data:`FAMILIES`, which tests share."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind_of(name)[0]}Config")
    return getattr(transformers, name)(config(**{**SIZES, **FAMILIES[family]})).eval()


@pytest.mark.parametrize(
    "name, family",
    [
        *product(
            "Wav2Vec2Model Wav2Vec2ForPreTraining Wav2Vec2ForCTC WavLMModel WavLMForCTC HubertModel HubertForCTC "
            "UniSpeechSatModel UniSpeechSatForPreTraining UniSpeechModel UniSpeechForPreTraining".split(),
            [LARGE, BASE],
        ),
        ("Data2VecAudioModel", LAYERED),
        ("Data2VecAudioForCTC", LAYERED),
    ],
)
def test_hidden_states_of_hugging_face_folders_equal_those_of_transformers(tmp_path, name, family):
    """The last one equals its `last_hidden_state`, the others its `hidden_states`."""
    model = library_model(name, family)
    model.save_pretrained(tmp_path)
    frontend = create_frontend(kind_of(name)[1], tmp_path, normalize=False).eval()
    waveform = torch.randn(2, 8000)
    with torch.inference_mode():
        expected = getattr(model, model.base_model_prefix, model)(waveform, output_hidden_states=True)
        hidden_states = frontend(waveform, layers="all")
    assert_near(hidden_states[-1], expected.last_hidden_state, 1e-5)
    for state, value in zip(hidden_states[:-1], expected.hidden_states[:-1], strict=True):
        assert_near(state, value, 1e-5)


@pytest.mark.parametrize("name, family", MODELS)
def test_hidden_states_in_float64_equal_those_of_transformers_to_rounding(tmp_path, name, family):
    model = copy.deepcopy(library_model(name, family))
    model.save_pretrained(tmp_path)
    frontend = create_frontend(str(tmp_path), normalize=False).eval().double()
    waveform = torch.randn(2, 8000, dtype=torch.float64)
    with torch.inference_mode():
        expected = model.double()(waveform, output_hidden_states=True)
        hidden_states = frontend(waveform, layers="all")
    for state, value in zip(hidden_states, [*expected.hidden_states[:-1], expected.last_hidden_state], strict=True):
        assert_near(state, value, 1e-9)


@pytest.mark.parametrize("name, family", MODELS)
def test_a_hugging_face_folder_gives_a_front_end_the_type_dropout_and_layer_drop_of_its_model(tmp_path, name, family):
    model = library_model(name, family)
    model.save_pretrained(tmp_path)
    frontend = create_frontend(kind_of(name)[1], tmp_path)
    assert frontend.model_type == model.config.model_type
    assert frontend.config["dropout"] == 0.25
    assert frontend.config["encoder_layerdrop"] == 0.125


@pytest.mark.parametrize("name, family", MODELS)
def test_the_model_type_of_a_folder_chooses_the_front_end(tmp_path, name, family):
    library_model(name, family).save_pretrained(tmp_path)
    assert create_frontend(str(tmp_path)).config == create_frontend(kind_of(name)[1], tmp_path).config


def test_a_folder_with_a_checkpoint_beside_it_is_refused(tmp_path):
    with input_error("front-end"):
        create_frontend(str(tmp_path), tmp_path / "other.pt")


def test_a_folder_without_a_configuration_is_no_front_end(tmp_path):
    with input_error("is not a Hugging Face folder: it has no config.json"):
        create_frontend(str(tmp_path))


INDEX = "pytorch_model.bin.index.json"
PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"
YES = '{"do_normalize": true}'
NO = '{"do_normalize": false}'
IN_PROCESSOR_NO = '{"feature_extractor": {"do_normalize": false}, "processor_class": "Wav2Vec2Processor"}'
IN_AUDIO_PROCESSOR_NO = '{"audio_processor": {"do_normalize": false}}'
DEFAULT = f"this is the default of transformers, and no {PREPROCESSOR} or {PROCESSOR} has do_normalize"


#: Files of a folder that decide, the option normalize, and what the note says.
SETTINGS = [
    ({PREPROCESSOR: YES}, "huggingface", f"normalised, because its {PREPROCESSOR} says so"),
    ({PREPROCESSOR: NO}, False, f"not normalised, because its {PREPROCESSOR} says so"),
    ({PROCESSOR: IN_PROCESSOR_NO}, False, f"not normalised, because its {PROCESSOR} says so"),
    ({PROCESSOR: IN_PROCESSOR_NO, PREPROCESSOR: YES}, False, f"not normalised, because its {PROCESSOR} says so"),
    ({PROCESSOR: IN_AUDIO_PROCESSOR_NO}, False, f"not normalised, because its {PROCESSOR} says so"),
    ({PROCESSOR: "{}", PREPROCESSOR: NO}, False, f"not normalised, because its {PREPROCESSOR} says so"),
]
WITH_DEFAULT = [({}, "huggingface", f"normalised, because {DEFAULT}"), *SETTINGS]


def write_folder(folder, name, files):
    library_model(name, BASE).save_pretrained(folder)
    for file, text in files.items():
        (folder / file).write_text(text)


@pytest.mark.parametrize("files, normalized, note", WITH_DEFAULT)
@pytest.mark.parametrize("name", ["Wav2Vec2Model", "UniSpeechSatModel"])
def test_files_of_a_folder_decide_whether_waveforms_are_normalised(tmp_path, name, files, normalized, note):
    """As in transformers, and the note says why."""
    from transformers import AutoFeatureExtractor

    write_folder(tmp_path, name, files)
    frontend = create_frontend(kind_of(name)[1], tmp_path)
    assert frontend.normalize == normalized
    assert frontend.config.get("normalize", False) == normalized
    assert frontend.note == f"{tmp_path}: waveforms are {note}"
    if files:
        assert AutoFeatureExtractor.from_pretrained(tmp_path).do_normalize == bool(normalized)


@pytest.mark.parametrize("option, settings", [(False, YES), (True, NO), ("batch", NO), ("huggingface", NO)])
def test_the_option_normalize_overrides_the_preprocessor_file_of_a_folder(tmp_path, option, settings):
    """No note says what the folder decides."""
    write_folder(tmp_path, "WavLMModel", {PREPROCESSOR: settings})
    frontend = create_frontend("wavlm", tmp_path, normalize=option)
    assert frontend.normalize == option
    assert not frontend.note


def test_transformers_normalises_waveforms_by_default_for_the_six_types_that_read_them():
    """By the same feature extractor."""
    import transformers
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

    of_waveforms = [name for name, kind in MODEL_TYPES.items() if kind.frontend in KINDS.values()]
    assert len(of_waveforms) == 6
    for model_type in of_waveforms:
        default = getattr(transformers, FEATURE_EXTRACTOR_MAPPING_NAMES[model_type])()
        assert type(default).__name__ == "Wav2Vec2FeatureExtractor"
        assert default.do_normalize


@pytest.mark.parametrize("name, form", [(PREPROCESSOR, "%s"), (PROCESSOR, '{"feature_extractor": %s}')])
def test_a_preprocessor_file_that_cannot_be_used_is_refused(tmp_path, name, form):
    """A broken link, too, as in the cache of a hub whose file was removed: the default may be another normalisation."""
    library_model("WavLMModel", BASE).save_pretrained(tmp_path)
    for settings, message in (
        ('{"do_normalize": "yes"}', "do_normalize must be true or false, not 'yes'"),
        ('{"sampling_rate": 8000}', "has sampling_rate 8000: only 16000 is supported"),
        ("{", "damaged"),
    ):
        (tmp_path / name).write_text(form % settings)
        with input_error(rf"{name}.* {message}"):
            create_frontend("wavlm", tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("nowhere")
    with input_error(f"{name}: cannot be read"):
        create_frontend("wavlm", tmp_path)


def test_weights_that_cannot_be_read_are_not_replaced_by_those_of_another_file(tmp_path):
    model = library_model("WavLMModel", BASE)
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    create_frontend("wavlm", tmp_path)
    (tmp_path / "model.safetensors").symlink_to("nowhere")
    with input_error(r"model\.safetensors"):
        create_frontend("wavlm", tmp_path)


@pytest.mark.parametrize("level", [0, -30, -50, -70], ids="{} dBFS".format)
def test_waveforms_are_normalised_as_by_transformers(tmp_path, level):
    """At −50 dBFS, a layer norm with 1e-5 would give 0.7 of what the extractor gives."""
    from transformers import Wav2Vec2FeatureExtractor

    library_model("Wav2Vec2Model", BASE).save_pretrained(tmp_path)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    extractor.save_pretrained(tmp_path)
    waveform = 10 ** (level / 20) * torch.randn(8000, generator=torch.Generator().manual_seed(0)) + 0.001
    expected = torch.from_numpy(extractor(waveform.numpy(), sampling_rate=16000).input_values[0])
    frontend = create_frontend("wav2vec2", tmp_path).eval()
    plain = create_frontend("wav2vec2", tmp_path, normalize=False).eval()
    with torch.inference_mode():
        hidden_states = frontend(waveform[None], layers="all")
        expected_states = plain(expected[None], layers="all")
    for state, value in zip(hidden_states, expected_states, strict=True):
        assert_near(state, value, 1e-5)


def test_folders_in_older_forms_give_the_tensors_of_the_current_form(tmp_path):
    """pytorch_model.bin, weight norm under its old names, shards with an index, and an adapter."""
    model = library_model("Wav2Vec2Model", LARGE)
    model.save_pretrained(tmp_path / "new")
    legacy_name = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
    names = {
        f"{legacy_name}0": "encoder.pos_conv_embed.conv.weight_g",
        f"{legacy_name}1": "encoder.pos_conv_embed.conv.weight_v",
    }
    state_dict = {f"wav2vec2.{names.get(k, k)}": v for k, v in model.state_dict().items()}
    state_dict["wav2vec2.adapter.layers.0.conv.weight"] = torch.zeros(2, 2, 3)  # after the encoder
    halves = list(state_dict)[::2], list(state_dict)[1::2]
    for folder in ("bin", "sharded"):
        model.config.save_pretrained(tmp_path / folder)
    torch.save(state_dict, tmp_path / "bin" / "pytorch_model.bin")
    index = {}
    for number, half in enumerate(halves):
        torch.save({k: state_dict[k] for k in half}, tmp_path / "sharded" / f"{number}.bin")
        index |= dict.fromkeys(half, f"{number}.bin")
    write_json(tmp_path / "sharded" / "pytorch_model.bin.index.json", {"weight_map": index})
    expected = create_frontend("wav2vec2", tmp_path / "new").state_dict()
    for folder in ("bin", "sharded"):
        loaded = create_frontend("wav2vec2", tmp_path / folder).state_dict()
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[k], expected[k]) for k in loaded)


@pytest.mark.parametrize(
    "files, tensor",
    [
        ({"1.bin": "ab", "2.bin": "bc"}, "b"),
        ({"1.bin": "a", "2.bin": "bc"}, "b"),
        ({"1.bin": "b", "2.bin": "c"}, "a"),
        ({"1.bin": "abd", "2.bin": "c"}, "d"),
    ],
    ids=["there twice", "elsewhere", "not at all", "not in the index"],
)
def test_a_tensor_that_is_not_only_in_the_file_that_the_index_names_is_refused(tmp_path, files, tensor):
    for file, names in files.items():
        torch.save({name: torch.zeros(1) for name in names}, tmp_path / file)
    write_json(tmp_path / INDEX, {"weight_map": {"a": "1.bin", "b": "1.bin", "c": "2.bin"}})
    with input_error(f"does not hold the tensors that {INDEX} says; they differ in {tensor}:"):
        read_weights(tmp_path)


def test_weights_of_a_folder_in_half_precision_become_float32(tmp_path):
    copy.deepcopy(library_model("Wav2Vec2Model", LARGE)).half().save_pretrained(tmp_path)
    assert {p.dtype for p in create_frontend("wav2vec2", tmp_path).parameters()} == {torch.float32}


@pytest.fixture
def change_config(tmp_path):
    """A folder of WavLM; a function that changes its configuration."""
    library_model("WavLMModel", LARGE).save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json")
    return lambda **changes: write_json(tmp_path / "config.json", {**config, **changes})


def test_a_folder_of_another_type_of_model_is_refused_with_its_type(change_config, tmp_path):
    with input_error(r"holds WavLM, not wav2vec 2\.0: `model.frontend=wavlm`"):
        create_frontend("wav2vec2", tmp_path)
    change_config(model_type="bert")
    with input_error("holds a model of type 'bert', but front-ends only read the types wav2vec2, hubert"):
        create_frontend("wavlm", tmp_path)


@pytest.mark.parametrize(
    "key, value, default",
    [
        ("hidden_act", "relu", "'gelu'"),
        ("feat_extract_activation", "relu", "'gelu'"),
        ("layer_norm_eps", 0.1, "1e-05"),
        ("layer_norm_eps", 0, "1e-05"),
        ("adapter_attn_dim", 16, None),
        ("pruned_heads", {"0": [1]}, None),
        ("quantization_config", {"bits": 8}, None),
        ("auto_map", {"AutoModel": "model.Model"}, None),
        ("a_key_of_a_later_release", True, None),
    ],
)
def test_a_key_that_may_change_the_network_is_refused_unless_it_has_the_default_of_transformers(
    change_config, tmp_path, key, value, default
):
    change_config(**{key: value})
    with input_error(rf"config\.json has {key} .*: only {default} is supported; this is the default of transformers"):
        create_frontend("wavlm", tmp_path)


def test_a_key_that_transformers_does_not_have_may_be_empty(change_config, tmp_path):
    """Older releases wrote such keys."""
    change_config(pruned_heads={}, torchscript=False, tf_legacy_loss=None, min_length=0)
    create_frontend("wavlm", tmp_path)


def test_a_missing_key_has_the_default_of_transformers(tmp_path):
    """No shape of wav2vec 2.0 tells the number of heads."""
    library_model("Wav2Vec2Model", BASE).save_pretrained(tmp_path)
    config = read_json(tmp_path / "config.json")
    del config["num_attention_heads"]
    write_json(tmp_path / "config.json", config)
    assert create_frontend("wav2vec2", tmp_path).config["encoder_attention_heads"] == 12


# Type of model → sizes of a small one, and an input of the library's model.
FEW = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
FEW_CONVOLUTIONS = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}
FEW_WHISPER = {"d_model": 24, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}
FEW_POSITIONS = {"max_source_positions": 10, "decoder_layers": 1, "vocab_size": 8, "pad_token_id": 0}
SMALL_MODELS = dict.fromkeys(MODEL_TYPES, (FEW | FEW_CONVOLUTIONS, (1, 2000)))
SMALL_MODELS["wav2vec2-bert"] = FEW, (1, 20, 160)
SMALL_MODELS["audio-spectrogram-transformer"] = FEW | {"max_length": 32, "num_mel_bins": 16}, (1, 32, 16)
SMALL_MODELS["whisper"] = FEW_WHISPER | FEW_POSITIONS, (1, 80, 20)
# The library refuses another number of convolutions, and attentions as a second output.
REFUSED = {"num_feat_extract_layers", "output_attentions"}


class Reached(Exception):
    """The encoder gave its output; what follows is not run."""


def stop(_module, _args, output):
    raise Reached(output[0])


def encoder_output(model, inputs):
    entrance = model.encoder if hasattr(model, "decoder") else model  # Whisper itself needs inputs of its decoder, too
    last_module = model.layernorm if hasattr(model, "layernorm") else model.encoder  # AST has no encoder of its own
    last_module.register_forward_hook(stop)
    with pytest.raises(Reached) as reached, torch.no_grad():
        entrance(inputs)
    return reached.value.args[0]


def other_value(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return 2 * value or 1
    return value


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_the_keys_called_harmless_change_no_output_of_an_encoder_of_transformers(model_type):
    from transformers import AutoConfig, AutoModel

    sizes, shape = SMALL_MODELS[model_type]
    config = AutoConfig.for_model(model_type, **sizes)
    model = AutoModel.from_config(config).eval()
    harmless_keys = HARMLESS_KEYS - sizes.keys() - REFUSED
    for key, value in config.to_dict().items():
        if key in harmless_keys:
            setattr(config, key, other_value(value))
    changed = AutoModel.from_config(config).eval()
    tensors = changed.state_dict()
    for name, tensor in model.state_dict().items():
        if name in tensors and tensors[name].shape == tensor.shape:
            tensors[name] = tensor
    changed.load_state_dict(tensors)
    inputs = torch.randn(shape)
    assert torch.equal(encoder_output(changed, inputs), encoder_output(model, inputs))


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("num_hidden_layers", 3, "missing: model.encoder.layers.2"),
        ("num_feat_extract_layers", 6, "num_feat_extract_layers 6: only 7 is supported"),
    ],
)
def test_a_folder_whose_sizes_contradict_its_tensors_or_each_other_is_refused(
    change_config, tmp_path, key, value, message
):
    change_config(**{key: value})
    with input_error(message):
        create_frontend("wavlm", tmp_path)


def test_the_options_for_transformers_drop_no_layers_and_mask_no_frames():
    options = library_options(create_frontend("wav2vec2_small", encoder_layerdrop=0.5).config)
    assert options["layerdrop"] == 0.0
    assert not options["apply_spec_augment"]
