"""Read Hugging Face folders of wav2vec 2.0, HuBERT, WavLM and data2vec, with fairseq's names for options and tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nes2net.lib.errors import InputError, as_input_error, join_names, short_repr
from nes2net.lib.output.sheet import Facts
from nes2net.lib.parts.options import Options
from nes2net.lib.storage.files import AnyPath, is_absent
from nes2net.lib.storage.plain_data import read_json
from nes2net.models.checkpoints.fairseq import Pretraining, to_fairseq, with_present_norm
from nes2net.models.checkpoints.model_types import MODEL_TYPES, check_type, from_transformers
from nes2net.models.checkpoints.state_dict import StateDict, load_state_dict, renamed

CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
ADAPTER_FILE = "adapter_config.json"  # the configuration of an adapter of the library PEFT
#: File in which newer releases of the transformers library store the settings of the feature extractor.
PROCESSOR_FILE = "processor_config.json"
WEIGHT_PATTERNS = ("model*.safetensors*", "pytorch_model*.bin*")
#: Patterns of the names of files that a model needs.
MODEL_FILES = (CONFIG_FILE, PREPROCESSOR_FILE, PROCESSOR_FILE, ADAPTER_FILE, *WEIGHT_PATTERNS)
# Settings of the feature extractor of all models that read waveforms.
_EXPECTED = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}
_DEFAULT_REASON = (
    f"this is the default of transformers, and no {PREPROCESSOR_FILE} or {PROCESSOR_FILE} has do_normalize"
)
# Key in the preprocessor_config.json of an exported folder, for a value of ``normalize`` that the transformers library
# does not know.
_OUR_NORMALIZE = "nes2net_normalize"
_COMPILED_PREFIX = "_orig_mod."  # prefix of the names in a model that torch.compile() made
_ADAPTER_FILES = (ADAPTER_FILE, "adapter_model.safetensors", "adapter_model.bin")
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_INDEX_FILES = tuple(f"{name}.index.json" for name in _WEIGHT_FILES)

# fairseq's option → the transformers library's option with the same values. data2vec has ``pos_conv_depth`` in place of
# ``conv_pos``, under the same name.
_OPTIONS = {
    "conv_bias": "conv_bias",
    "layer_norm_first": "do_stable_layer_norm",
    "encoder_layers": "num_hidden_layers",
    "encoder_embed_dim": "hidden_size",
    "encoder_ffn_embed_dim": "intermediate_size",
    "encoder_attention_heads": "num_attention_heads",
    "conv_pos": "num_conv_pos_embeddings",
    "pos_conv_depth": "num_conv_pos_embeddings",
    "pos_conv_kernel": "conv_pos_kernel_size",
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
#: Settings that switch off the library's masks, and its layer drop, because front-ends drop layers themselves.
WITHOUT_MASKS = {"layerdrop": 0.0, "apply_spec_augment": False, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
EXTRACTOR_MODES = {"layer_norm": "layer", "default": "group"}  # fairseq's name → the transformers library's name

# The library's name of a tensor → fairseq's: tensors that only pre-training uses.
_RENAMED = {
    "masked_spec_embed": "mask_emb",
    "quantizer.codevectors": "quantizer.vars",
    "project_hid.weight": "final_proj.weight",
    "project_hid.bias": "final_proj.bias",
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
# Beginnings of the names of pre-training heads in folders of UniSpeech and UniSpeech-SAT. Folders of HuBERT and data2vec
# have no pre-training heads.
_HUBERT_HEADS = (
    "quantizer.",
    "project_q.",
    "project_hid.",
    "speaker_proj.",
    "ctc_proj.",
    "label_embeddings_concat",
    "layer_norm_for_extract.",
)
_CONVOLUTIONS = ("conv_dim", "conv_kernel", "conv_stride")
#: Keys of a folder's configuration that do not change the hidden states of an encoder: facts about the file and the
#: program; classes; heads and losses; decoders; layers after the encoder; masks in training; the number of convolutions,
#: which is checked; keys of old releases.
HARMLESS_KEYS = frozenset(
    """
    _name_or_path _commit_hash architectures model_type transformers_version dtype torch_dtype _attn_implementation
    attn_implementation _attn_implementation_autoset gradient_checkpointing return_dict output_attentions
    output_hidden_states use_cache initializer_range init_std tokenizer_class processor_class finetuning_task
    id2label label2id num_labels problem_type tie_last_hidden_states
    classifier_proj_size use_weighted_layer_sum pooling_mode vocab_size bos_token_id eos_token_id pad_token_id
    ctc_loss_reduction ctc_zero_infinity final_dropout num_ctc_classes num_clusters codevector_dim
    contrastive_logits_temperature diversity_loss_weight feat_quantizer_dropout num_negatives replace_prob tdnn_dim
    tdnn_kernel tdnn_dilation xvector_output_dim
    decoder_attention_heads decoder_ffn_dim decoder_layerdrop decoder_layers decoder_start_token_id forced_decoder_ids
    suppress_tokens begin_suppress_tokens is_encoder_decoder tie_word_embeddings max_target_positions
    median_filter_width max_length num_beams num_beam_groups num_return_sequences temperature top_k top_p typical_p
    repetition_penalty length_penalty
    add_adapter adapter_act adapter_kernel_size adapter_stride num_adapter_layers output_hidden_size
    use_intermediate_ffn_before_adapter
    apply_spec_augment mask_time_prob mask_time_length mask_time_min_masks mask_feature_prob mask_feature_length
    mask_feature_min_masks mask_time_min_space mask_time_other mask_time_selection no_mask_time_overlap
    mask_channel_prob mask_channel_length mask_channel_min_space mask_channel_other mask_channel_selection
    no_mask_channel_overlap
    num_feat_extract_layers
    feat_extract_dropout hidden_dropout_prob freeze_feat_extract_train
    """.split()
)


def library_options(options: Options) -> Facts:
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
        **WITHOUT_MASKS,
    }


def library_config(config: Options, head: Facts) -> tuple[Any, Any]:
    """Make the transformers library's configurations for the export of a front-end.

    Args:
        head: options of the classification head; empty without one.

    Returns:
        The configurations of the network, and of the feature extractor, which normalises waveforms.
    """
    kinds = {"wavlm": "WavLM", "hubert": "Hubert", "data2vec": "Data2VecAudio"}
    kind = kinds.get(config["name"], "Wav2Vec2")
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


def read_huggingface_folder(folder: AnyPath, types: Iterable[str], wanted_options: Iterable[str]) -> Pretraining:
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
    modes = {library_mode: mode for mode, library_mode in EXTRACTOR_MODES.items()}
    problem = f"{folder / CONFIG_FILE} does not describe the convolutions as transformers does"
    with as_input_error(problem, KeyError, TypeError, ValueError):
        check_only(folder / CONFIG_FILE, config, {"num_feat_extract_layers": len(config["conv_dim"])})
        config = with_defaults(folder, config, (*_OPTIONS.values(), *_CONVOLUTIONS, "feat_extract_norm"))
        options = {
            **{name: config[library_name] for name, library_name in _OPTIONS.items() if library_name in config},
            "extractor_mode": modes[config.get("feat_extract_norm", "layer")],  # data2vec does not state it
            "conv_feature_layers": list(zip(*map(config.get, _CONVOLUTIONS), strict=True)),
        }
    heads = _HEADS if kind in ("wav2vec2", "wavlm") else (*_HEADS, *_HUBERT_HEADS)
    tensors = read_encoder(folder, (f"{kind.replace('-', '_')}.",), heads)
    state_dict = renamed(tensors, partial(from_library, extractor_mode=options["extractor_mode"]), folder)
    # If the tensors that only pre-training uses are complete, keep them.
    has_pretraining_heads = "mask_emb" in state_dict and (kind == "wavlm" or "quantizer.vars" in state_dict)
    if not has_pretraining_heads:
        state_dict.pop("mask_emb", None)
    options = {key: value for key, value in options.items() if key in set(wanted_options)}
    return Pretraining(state_dict, {**options, "pretraining_heads": has_pretraining_heads}, kind)


def read_waveform_encoder(folder: Path) -> tuple[StateDict, Options, bool]:
    """Read an encoder of any type; return the state dict, the library's settings, and whether it normalises waveforms.

    Raises:
        InputError: if a file is missing or damaged, or the feature extractor is not supported, or
            does not state sampling rate and normalisation.
    """
    config = read_configuration(folder)
    settings, file = read_feature_extractor(folder, _EXPECTED)
    do_normalize = settings.get("do_normalize")
    if "sampling_rate" not in settings or not isinstance(do_normalize, bool):
        raise InputError(
            f"{folder / file} does not state sampling_rate, and do_normalize as true or false: use the model's own file"
        )
    kind = config.get("model_type")
    options = {name: value for name, value in config.items() if name not in HARMLESS_KEYS}
    prefix = f"{str(kind).replace('-', '_')}."
    tensors = read_encoder(folder, (prefix,), ("masked_spec_embed", *_HEADS, *_HUBERT_HEADS))
    return renamed(tensors, with_present_norm, folder), {"model_type": kind, **options}, do_normalize


def read_feature_extractor(folder: Path, expected: Facts) -> tuple[Facts, str]:
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


def check_only(
    path: Path,
    settings: Options,
    supported: Facts,
    remedy: str = "use a model with this value",
) -> None:
    """Raise :class:`InputError` if ``settings`` of ``path`` differ from the ``supported`` ones; null is the default."""
    for name, value in supported.items():
        if settings.get(name) not in (None, value):
            raise InputError(
                f"{path} has {name} {short_repr(settings[name])}: only {short_repr(value)} is supported", remedy=remedy
            )


def with_defaults(folder: Path, config: Options, read_keys: Iterable[str]) -> Options:
    """Return the configuration of ``folder``, with the transformers library's defaults for missing keys.

    Args:
        read_keys: keys whose values the front-end supports.

    Raises:
        InputError: if another key that may change hidden states differs from the default, which the
            front-end is built with.
    """
    (library,) = from_transformers("AutoConfig")
    defaults = library.for_model(config["model_type"]).to_dict()
    known = HARMLESS_KEYS.union(read_keys)
    # A key that the library does not have must be null, false, 0 or empty.
    supported = {name: defaults.get(name, value and None) for name, value in config.items() if name not in known}
    remedy = (
        "this is the default of transformers: remove the key if it does not change the network, or use another model"
    )
    check_only(folder / CONFIG_FILE, config, supported, remedy)
    return {**defaults, **config}


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
    return _RENAMED.get(name) or to_fairseq(with_present_norm(name), extractor_mode)


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
    return renamed(_read_weight_files(folder), lambda name: name.removeprefix(_COMPILED_PREFIX), folder)


def _read_weight_files(folder: Path) -> StateDict:
    check_no_adapter(folder)
    for name in _WEIGHT_FILES:
        if not is_absent(folder / name):
            return load_state_dict(folder / name)
    # The weights are in several files ("shards"). An index says which file holds which tensor.
    for name in _INDEX_FILES:
        if not is_absent(folder / name):
            return _read_shards(folder / name)
    raise InputError(f"{folder} has no weights: {' or '.join(_WEIGHT_FILES)} is expected in it; download it again")


def _read_shards(index_file: Path) -> StateDict:
    index = read_json(index_file).get("weight_map")
    if not isinstance(index, dict) or not index:
        raise InputError(
            f"{index_file} names no files: a mapping 'weight_map' of tensors to files is expected; download it again"
        )
    folder = index_file.parent
    beside = {path.name for path in folder.iterdir() if path.is_file()}
    tensors: dict[str, Any] = {}
    for shard in sorted(set(map(str, index.values()))):
        if shard not in beside:
            raise InputError(
                f"{index_file} names {short_repr(shard)}, which is not a file beside it: copy that file into "
                "the folder, because files outside it are not read"
            )
        part = load_state_dict(folder / shard)
        if wrong := part.keys() ^ {name for name, file in index.items() if file == shard}:
            raise InputError(
                f"{folder / shard} does not hold the tensors that {index_file.name} says; they differ in "
                f"{join_names(sorted(wrong), 3)}: download the folder again"
            )
        tensors |= part
    return tensors


def read_encoder(folder: Path, prefixes: Sequence[str], omitted: tuple[str, ...]) -> StateDict:
    """Read the encoder's tensors in a Hugging Face folder.

    Args:
        prefixes: possible prefixes of their names, which are removed.
        omitted: beginnings of the names of other tensors, without a prefix.
    """

    def without_prefix(name: str) -> str:
        return name.removeprefix(next(filter(name.startswith, prefixes), ""))

    tensors = renamed(read_weights(folder), without_prefix, folder)
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(omitted)}


def check_no_adapter(folder: Path) -> None:
    """Raise :class:`InputError` if ``folder`` has an adapter of the library PEFT, which changes the model beside it."""
    adapters = [name for name in _ADAPTER_FILES if not is_absent(folder / name)]
    base = None
    if ADAPTER_FILE in adapters:
        base = read_json(folder / ADAPTER_FILE).get("base_model_name_or_path")
    if adapters:
        raise InputError(
            f"{folder} holds a PEFT adapter of {short_repr(base)} ({', '.join(adapters)}): merge_and_unload() and "
            "save_pretrained() make a folder that can be read; to use a model without the adapter beside it, remove the "
            "adapter"
        )


def read_configuration(folder: Path) -> Options:
    """Read the configuration of a Hugging Face folder.

    Raises:
        InputError: if it is missing or damaged.
    """
    path = folder / CONFIG_FILE
    if is_absent(path):
        raise InputError(f"{folder} is not a Hugging Face folder: it has no {path.name}; name a folder with this file")
    return read_json(path)
