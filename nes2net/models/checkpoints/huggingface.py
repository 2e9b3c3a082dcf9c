"""Read Hugging Face folders of wav2vec 2.0, HuBERT and WavLM, with fairseq's names for options and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from nes2net.lib.errors import InputError, as_input_error, short_repr
from nes2net.lib.files import is_absent
from nes2net.lib.options import Options
from nes2net.lib.plain_data import read_json
from nes2net.models.checkpoints.fairseq import Pretraining, to_fairseq
from nes2net.models.checkpoints.model_types import MODEL_TYPES, check_type, from_transformers
from nes2net.models.checkpoints.state_dict import StateDict, load_state_dict

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
#: File in which newer releases of the transformers library store the settings of the feature extractor.
PROCESSOR_FILE = "processor_config.json"
WEIGHT_PATTERNS = ("model*.safetensors*", "pytorch_model*.bin*")
#: Patterns of the names of files that a model needs.
MODEL_FILES = (CONFIG_FILE, PREPROCESSOR_FILE, PROCESSOR_FILE, *WEIGHT_PATTERNS)
# Settings of the feature extractor of all models that read waveforms.
_EXPECTED = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}
_DEFAULT_REASON = (
    f"this is the default of transformers, and no {PREPROCESSOR_FILE} or {PROCESSOR_FILE} has do_normalize"
)
# Key in the preprocessor_config.json of an exported folder, for a value of ``normalize`` that the transformers library
# does not know.
_OUR_NORMALIZE = "nes2net_normalize"
_COMPILED_PREFIX = "_orig_mod."  # prefix of the names in a model that torch.compile() made
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_INDEX_FILES = tuple(f"{name}.index.json" for name in _WEIGHT_FILES)

# fairseq's option → the transformers library's option with the same values.
_OPTIONS = {
    "conv_bias": "conv_bias",
    "layer_norm_first": "do_stable_layer_norm",
    "encoder_layers": "num_hidden_layers",
    "encoder_embed_dim": "hidden_size",
    "encoder_ffn_embed_dim": "intermediate_size",
    "encoder_attention_heads": "num_attention_heads",
    "conv_pos": "num_conv_pos_embeddings",
    "conv_pos_groups": "num_conv_pos_embedding_groups",
    "dropout": "hidden_dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "dropout_input": "feat_proj_dropout",
    "encoder_layerdrop": "layerdrop",
    "num_buckets": "num_buckets",
    "max_distance": "max_bucket_distance",
    "final_dim": "proj_codevector_dim",
    "latent_vars": "num_codevectors_per_group",
    "latent_groups": "num_codevector_groups",
}
EXTRACTOR_MODES = {"layer_norm": "layer", "default": "group"}  # fairseq's name → the transformers library's name

# The library's name of a tensor → fairseq's: tensors that only pre-training uses, and the weight norm of older
# releases.
_RENAMED = {
    "masked_spec_embed": "mask_emb",
    "quantizer.codevectors": "quantizer.vars",
    "project_hid.weight": "final_proj.weight",
    "project_hid.bias": "final_proj.bias",
    "encoder.pos_conv_embed.conv.weight_g": "encoder.pos_conv.0.weight_g",
    "encoder.pos_conv_embed.conv.weight_v": "encoder.pos_conv.0.weight_v",
}
# Beginnings of the names of tensors that front-ends do not read: heads of fine-tuned models, and layers after the
# encoder.
_HEADS = (
    "adapter.",
    "lm_head.",
    "classifier.",
    "projector.",
    "layer_weights",
    "tdnn.",
    "feature_extractor.proj",
    "objective.",
)
# Beginnings of the names of pre-training heads in folders of UniSpeech-SAT. Folders of HuBERT have no pre-training
# heads.
_HUBERT_HEADS = (
    "quantizer.",
    "project_q.",
    "project_hid.",
    "speaker_proj.",
    "label_embeddings_concat",
    "layer_norm_for_extract.",
)
# Option of a folder's configuration → the only value that the front-ends support.
_SUPPORTED = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False,
    "adapter_attn_dim": None,  # fine-tuned MMS models have adapters in their layers; adapters are not supported
}


def library_options(options: Options) -> Mapping[str, object]:
    """Translate a front-end's options from fairseq's names to the transformers library's.

    Masking and layer drop, which the library would apply in training, are off.
    """
    channels, kernels, strides = zip(*options["conv_feature_layers"])
    return {
        **{library_name: options[name] for name, library_name in _OPTIONS.items() if name in options},
        "feat_extract_norm": EXTRACTOR_MODES[options["extractor_mode"]],
        "conv_dim": channels,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "layerdrop": 0.0,  # the front-end's forward() drops layers itself
        "apply_spec_augment": False,
        "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
    }


def library_config(config: Options, head: Mapping[str, object]) -> tuple[Any, Any]:
    """Make the transformers library's configurations for the export of a front-end.

    Args:
        head: options of the classification head; empty without one.

    Returns:
        The configurations of the network, and of the feature extractor, which normalises waveforms.
    """
    kind = {"wavlm": "WavLM", "hubert": "Hubert"}.get(config["name"], "Wav2Vec2")
    config_class, preprocessing_class = from_transformers(f"{kind}Config", "Wav2Vec2FeatureExtractor")
    options = {**library_options(config), "layerdrop": config["encoder_layerdrop"]}
    task = "ForSequenceClassification" if head else "Model"
    network = config_class(**options, **head, architectures=[f"{kind}{task}"])
    normalize = config.get("normalize", False)
    facts = {"do_normalize": bool(normalize), "return_attention_mask": False}
    if normalize not in (False, "huggingface"):
        facts[_OUR_NORMALIZE] = normalize
    preprocessing = preprocessing_class(**facts)
    return network, preprocessing


def read_huggingface_folder(folder: str | Path, types: Iterable[str], wanted_options: Iterable[str]) -> Pretraining:
    """Read a Hugging Face folder; return the state dict under fairseq's names, the options and the type.

    The weights are safetensors or ``pytorch_model.bin``. ``pretraining_heads`` says whether the
    folder has the mask embedding and the heads of its type.

    Args:
        types: expected types (:data:`nes2net.models.checkpoints.model_types.MODEL_TYPES`).
        wanted_options: options of the front-end; others are ignored.

    Raises:
        InputError: if configuration or weights are missing, or type or an option is not supported.
    """
    folder = Path(folder)
    config = read_configuration(folder)
    kind = check_type(folder, config.get("model_type"), types)
    check_only(folder, config, _SUPPORTED)
    mode = "default" if config.get("feat_extract_norm", "group") == "group" else "layer_norm"
    heads = _HEADS if kind in ("wav2vec2", "wavlm") else (*_HEADS, *_HUBERT_HEADS)
    tensors = read_encoder(folder, (f"{kind.replace('-', '_')}.",), heads)
    state_dict = {from_library(name, mode): tensor for name, tensor in tensors.items()}
    modes = {library_mode: mode for mode, library_mode in EXTRACTOR_MODES.items()}
    problem = f"{folder / CONFIG_FILE} does not describe the convolutions as transformers does"
    with as_input_error(problem, KeyError, TypeError, ValueError):
        options = {
            **{name: config[library_name] for name, library_name in _OPTIONS.items() if library_name in config},
            "extractor_mode": modes[config["feat_extract_norm"]],
            "conv_feature_layers": list(
                zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"], strict=True)
            ),
        }
    # If the tensors that only pre-training uses are complete, keep them.
    has_pretraining_heads = "mask_emb" in state_dict and (kind == "wavlm" or "quantizer.vars" in state_dict)
    if not has_pretraining_heads:
        state_dict.pop("mask_emb", None)
    options = {key: value for key, value in options.items() if key in set(wanted_options)}
    return Pretraining(state_dict, {**options, "pretraining_heads": has_pretraining_heads}, kind)


def read_feature_extractor(folder: Path, expected: Mapping[str, object]) -> tuple[Mapping[str, object], str]:
    """Read the settings of a folder's feature extractor, and the name of their file.

    Args:
        expected: the only supported values.

    Raises:
        InputError: if a file cannot be read, or states other settings than ``expected``.
    """
    file = PROCESSOR_FILE
    settings = None
    if not is_absent(folder / file):
        processor = read_json(folder / file)
        settings = processor.get("feature_extractor", processor.get("audio_processor"))  # names of different releases
    if settings is None:
        file = PREPROCESSOR_FILE
        settings = {} if is_absent(folder / file) else read_json(folder / file)
    if not isinstance(settings, dict):
        raise InputError(f"{folder / file}: feature_extractor must be a mapping, not {short_repr(settings)}")
    check_only(folder / file, settings, expected)
    return settings, file


def check_only(path: Path, settings: Mapping[str, object], supported: Mapping[str, object]) -> None:
    """Raise :class:`InputError` if ``settings`` of ``path`` differ from the ``supported`` ones; null is the default."""
    for name, value in supported.items():
        if settings.get(name) not in (None, value):
            raise InputError(
                f"{path} has {name} {short_repr(settings[name])}: only {short_repr(value)} is supported; use a model with this value"
            )


def normalize_of_folder(folder: Path) -> tuple[Literal["batch", "huggingface"] | bool, str]:
    """Read a front-end's option ``normalize`` from a folder's feature extractor, and the reason.

    Raises:
        InputError: if a file is damaged, or if its settings are not supported.
    """
    settings, file = read_feature_extractor(folder, _EXPECTED)
    do_normalize = settings.get("do_normalize", True)
    if not isinstance(do_normalize, bool):
        raise InputError(f"{folder / file}: do_normalize must be true or false, not {short_repr(do_normalize)}")
    reason = f"its {file} says so" if "do_normalize" in settings else _DEFAULT_REASON
    normalize: Any = settings.get(_OUR_NORMALIZE)  # None in folders of other programs
    if normalize is not True and normalize != "batch":
        normalize = "huggingface"
    return normalize if do_normalize else False, reason


def from_library(name: str, extractor_mode: str = "layer_norm") -> str:
    """Translate the transformers library's name of a tensor, of any release, to fairseq's.

    >>> from_library("encoder.pos_conv_embed.conv.weight_g")
    'encoder.pos_conv.0.weight_g'
    """
    return _RENAMED.get(name) or to_fairseq(name, extractor_mode)


def holds_other_model(folder: Path) -> bool:
    """Whether ``folder`` has weights in a Hugging Face layout, but not of a pre-trained front-end."""
    if all(is_absent(folder / name) for name in (*_WEIGHT_FILES, *_INDEX_FILES)):
        return False
    if is_absent(folder / CONFIG_FILE):
        return True
    model_type = read_configuration(folder).get("model_type")
    return not isinstance(model_type, str) or model_type not in MODEL_TYPES


def read_weights(folder: Path) -> StateDict:
    """Read the tensors of a Hugging Face folder, from one file or several.

    Raises:
        InputError: if there are no weights, or a file is damaged.
    """
    return {name.removeprefix(_COMPILED_PREFIX): tensor for name, tensor in _read_weight_files(folder).items()}


def _read_weight_files(folder: Path) -> StateDict:
    for name in _WEIGHT_FILES:
        if not is_absent(folder / name):
            return load_state_dict(folder / name)
    # The weights are in several files ("shards"). An index says which file holds which tensor.
    for name in _INDEX_FILES:
        if not is_absent(folder / name):
            index = read_json(folder / name).get("weight_map")
            if not isinstance(index, dict) or not index:
                raise InputError(
                    f"{folder / name} names no files: a mapping 'weight_map' of tensors to files is expected; download it again"
                )
            shards = list(index.values())
            beside = {path.name for path in folder.iterdir() if path.is_file()}
            if missing := [shard for shard in shards if not isinstance(shard, str) or shard not in beside]:
                raise InputError(
                    f"{folder / name} names {short_repr(missing[0])}, which is not a file beside it: copy that file into "
                    "the folder, because files outside it are not read"
                )
            return {k: v for shard in sorted(set(shards)) for k, v in load_state_dict(folder / shard).items()}
    raise InputError(f"{folder} has no weights: {' or '.join(_WEIGHT_FILES)} is expected in it; download it again")


def read_encoder(folder: Path, prefixes: Sequence[str], omitted: tuple[str, ...]) -> StateDict:
    """Read the encoder's tensors in a Hugging Face folder.

    Args:
        prefixes: possible prefixes of their names, which are removed.
        omitted: beginnings of the names of other tensors, without a prefix.
    """
    tensors = {}
    for name, tensor in read_weights(folder).items():
        name = name.removeprefix(next(filter(name.startswith, prefixes), ""))
        if not name.startswith(omitted):
            tensors[name] = tensor
    return tensors


def read_configuration(folder: Path) -> dict[str, Any]:
    """Read the configuration of a Hugging Face folder.

    Raises:
        InputError: if it is missing or damaged.
    """
    path = folder / CONFIG_FILE
    if is_absent(path):
        raise InputError(f"{folder} is not a Hugging Face folder: it has no {path.name}; name a folder with this file")
    return read_json(path)
