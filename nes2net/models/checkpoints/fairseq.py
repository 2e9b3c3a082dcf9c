"""Read checkpoints of fairseq without fairseq, and translate fairseq's names of tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.output.sheet import Facts
from nes2net.lib.parts.options import Options
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.model_types import check_type, is_openai
from nes2net.models.checkpoints.state_dict import StateDict, only_state_dict_in, renamed, state_dict_of
from nes2net.models.checkpoints.torch_file import read_torch_file
from nes2net.models.checkpoints.unpickling import UnbuiltObject, content_of, plain

# (fairseq's name, the transformers library's name) of tensors, if they differ; {n} is a number, {rest} the rest of the
# name.
_NAMES = [
    ("layer_norm.{rest}", "feature_projection.layer_norm.{rest}"),
    ("post_extract_proj.{rest}", "feature_projection.projection.{rest}"),
    ("feature_extractor.conv_layers.{n}.0.{rest}", "feature_extractor.conv_layers.{n}.conv.{rest}"),
    ("feature_extractor.conv_layers.{n}.2.1.{rest}", "feature_extractor.conv_layers.{n}.layer_norm.{rest}"),
    ("encoder.pos_conv.0.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    ("encoder.pos_conv.0.weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    ("encoder.pos_conv.0.bias", "encoder.pos_conv_embed.conv.bias"),
    ("encoder.pos_conv.{n}.0.{rest}", "encoder.pos_conv_embed.layers.{n}.conv.{rest}"),
    (
        "encoder.layers.{n}.self_attn.relative_attention_bias.{rest}",
        "encoder.layers.{n}.attention.rel_attn_embed.{rest}",
    ),
    ("encoder.layers.{n}.self_attn.grep_linear.{rest}", "encoder.layers.{n}.attention.gru_rel_pos_linear.{rest}"),
    ("encoder.layers.{n}.self_attn.grep_a", "encoder.layers.{n}.attention.gru_rel_pos_const"),
    ("encoder.layers.{n}.self_attn.{rest}", "encoder.layers.{n}.attention.{rest}"),
    ("encoder.layers.{n}.self_attn_layer_norm.{rest}", "encoder.layers.{n}.layer_norm.{rest}"),
    ("encoder.layers.{n}.fc1.{rest}", "encoder.layers.{n}.feed_forward.intermediate_dense.{rest}"),
    ("encoder.layers.{n}.fc2.{rest}", "encoder.layers.{n}.feed_forward.output_dense.{rest}"),
]
# The pair of names of a convolution's norm, if the norm is a group norm (wav2vec 2.0 Base, fairseq's extractor mode
# "default").
_GROUP_NORM = ("feature_extractor.conv_layers.{n}.2.{rest}", "feature_extractor.conv_layers.{n}.layer_norm.{rest}")

# Prefix of the encoder's names in fairseq's fine-tuned models. Names without this prefix belong to the head.
_PRETRAINED = "w2v_model."
# Name of a tensor that every file of fairseq and unilm has.
_POSITIONS = "encoder.pos_conv.0.weight_v"
# Beginnings of names of tensors that only pre-training uses: first those of UniSpeech-SAT, then of all types.
_SPEAKER_HEADS = ("encoder.layer_norm_for_extract.", "spk_proj.")
_PRETRAINING_HEADS = (*_SPEAKER_HEADS, "mask_emb", "label_embs_concat", "final_proj.", "quantizer.", "project_q.")
# Defaults of fairseq's Wav2Vec2Config and HubertConfig, for options that a file's configuration lacks.
_DEFAULTS = {
    "extractor_mode": "default",
    "conv_bias": False,
    "layer_norm_first": False,
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
    "encoder_layerdrop": 0.0,
    "feature_grad_mult": 1.0,
    "latent_vars": 320,
    "latent_groups": 2,
    "final_dim": 0,
}
# Ending of a tensor's name that occurs only in files of torchaudio.
_TORCHAUDIO = "encoder.transformer.layer_norm.weight"

# Patterns of (channels, kernel, stride), and of a list of such, perhaps repeated, without spaces.
_CONVOLUTION = r"\((\d{1,6}),(\d{1,6}),(\d{1,6})\)"
_REPEATED_LIST = re.compile(rf"\[(?:{_CONVOLUTION},?)+\](?:\*(?P<times>\d{{1,2}}))?", re.ASCII)
_MAX_EXPRESSION_LENGTH = 2000  # characters

#: Rules that translate names of tensors. A rule is a pattern for the old name and a template for the new name.
_Rules = list[tuple[re.Pattern, str]]


def _rules(pairs: Iterable[tuple[str, str]]) -> _Rules:
    """Compile pairs (old name, new name); {n} is a number, {rest} any text at the end."""

    def pattern(name: str) -> re.Pattern:
        return re.compile(re.escape(name).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{rest\}", "(?P<rest>.+)"))

    return [(pattern(source), target) for source, target in pairs]


_TO_TRANSFORMERS = _rules([*_NAMES, _GROUP_NORM])
_TO_FAIRSEQ = {
    "layer_norm": _rules((library_name, name) for name, library_name in _NAMES),
    "default": _rules((library_name, name) for name, library_name in [_GROUP_NORM, *_NAMES]),
}


class Pretraining(NamedTuple):
    """What a pre-training file or folder holds."""

    state_dict: StateDict
    options: Options
    """Options of the front-end."""
    model_type: str
    """One of :data:`nes2net.models.checkpoints.model_types.MODEL_TYPES`."""


# Names of tensors


def to_transformers(name: str) -> str:
    """Translate fairseq's name of a tensor to the transformers library's.

    >>> to_transformers("encoder.layers.3.fc1.weight")
    'encoder.layers.3.feed_forward.intermediate_dense.weight'
    """
    return _translate(name, _TO_TRANSFORMERS)


def to_fairseq(name: str, extractor_mode: str = "layer_norm") -> str:
    """Translate the transformers library's name of a tensor to fairseq's.

    ``extractor_mode`` is ``"layer_norm"``, or ``"default"`` for an extractor with group norm.

    >>> to_fairseq("encoder.pos_conv_embed.conv.parametrizations.weight.original0")
    'encoder.pos_conv.0.weight_g'
    """
    return _translate(name, _TO_FAIRSEQ[extractor_mode])


def from_torchaudio(name: str, extractor_mode: str = "layer_norm") -> str:
    """Translate torchaudio's name of a tensor, with or without ``model.``, to fairseq's.

    >>> from_torchaudio("model.encoder.transformer.layers.3.feed_forward.intermediate_dense.weight")
    'encoder.layers.3.fc1.weight'
    """
    name = name.removeprefix("model.").replace("encoder.feature_projection.", "feature_projection.", 1)
    name = name.replace("encoder.transformer.", "encoder.", 1)
    return to_fairseq(with_present_norm(name), extractor_mode)


def with_present_norm(name: str) -> str:
    """Translate the weight norm in a name of older releases of PyTorch.

    >>> with_present_norm("encoder.pos_conv_embed.conv.weight_g")
    'encoder.pos_conv_embed.conv.parametrizations.weight.original0'
    """
    name = name.replace("conv.weight_g", "conv.parametrizations.weight.original0")
    return name.replace("conv.weight_v", "conv.parametrizations.weight.original1")


def _translate(name: str, rules: _Rules) -> str:
    for pattern, template in rules:  # the first that fits counts
        if match := pattern.fullmatch(name):
            return template.format(**match.groupdict())
    return name


# Files


def read_ssl_checkpoint(path: AnyPath, types: Iterable[str], wanted_options: Iterable[str]) -> Pretraining:
    """Read a pre-training file of fairseq (wav2vec 2.0, HuBERT) or unilm (WavLM); no code in the file is run.

    Fine-tuned models and files converted by s3prl can be read, too. A prefix that all names share
    is removed.

    Args:
        types: expected types (:data:`nes2net.models.checkpoints.model_types.MODEL_TYPES`).
        wanted_options: options of the front-end; others are ignored.

    Returns:
        The state dict under fairseq's names; the options, with fairseq's defaults; and the type.
        ``pretraining_heads`` says whether the file has the mask embedding and the heads of its
        type; those of UniSpeech-SAT are never read.

    Raises:
        InputError: if the file is missing, no pre-training file or of another type; has an
            unsupported option; or names a function that no checkpoint needs, such as ``os.system``.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"front-end checkpoint {path} not found: download it (XLS-R: fairseq's xlsr2_300m.pt) and name it with "
            "`ssl_checkpoint`, or train a small front-end from scratch: `model.frontend=wav2vec2_small`"
        )
    content, _ = read_torch_file(path)
    if is_openai(content):  # check_type() raises an error that names the front-end for Whisper
        check_type(path, "whisper", types)
    tensors = state_dict_of(content, path)
    # torchaudio's files have other names than fairseq's files, and no configuration.
    if any(name.endswith(_TORCHAUDIO) for name in tensors):
        check_type(path, "wav2vec2", types)
        mode = "default"
        if any("conv_layers.1.layer_norm." in name for name in tensors):
            mode = "layer_norm"
        encoder = renamed(tensors, partial(from_torchaudio, extractor_mode=mode), path)
        return Pretraining(encoder, {"extractor_mode": mode, "pretraining_heads": False}, "wav2vec2")
    # Files of fairseq, unilm and s3prl have fairseq's names and a configuration.
    state_dict = encoder_tensors(content)
    if state_dict is None:
        raise InputError(
            f"{path} is not a checkpoint of wav2vec 2.0, HuBERT or WavLM, because it has no '{_POSITIONS}': name a pre-training "
            "file (a detector's .pth belongs in `train.init_from`)"
        )
    model_type = check_type(path, model_type_of(content), types)
    config = _model_configuration(content)
    if config.get("conv_pos_batch_norm"):
        raise InputError(
            f"{path} has a batch norm before the positions (conv_pos_batch_norm), which is not supported: use another checkpoint"
        )
    if config.get("_name") in ("wav2vec2", "hubert"):
        config = {**_DEFAULTS, **config}
    options = plain({k: config[k] for k in wanted_options if k in config}, f"the configuration in {path}")
    if options.get("final_dim") == 0:  # in fairseq, 0 stands for the size of a hidden state
        options["final_dim"] = options["encoder_embed_dim"]
    if isinstance(options.get("conv_feature_layers"), str):
        options["conv_feature_layers"] = parse_convolutions(options["conv_feature_layers"])
    # If the tensors that only pre-training uses are complete, keep them; otherwise, remove them
    # all.
    heads = "mask_emb" in state_dict and model_type != "unispeech-sat"
    if model_type == "hubert" and heads:
        targets = state_dict.get("label_embs_concat")
        heads = targets is not None and targets.ndim == 2
        if targets is not None and heads:
            options["num_targets"], options["final_dim"] = targets.shape
    if model_type == "wav2vec2":  # a fine-tuned model has the mask embedding, but no heads
        heads = heads and "quantizer.vars" in state_dict
    if not heads:
        state_dict = {k: v for k, v in state_dict.items() if not k.startswith(_PRETRAINING_HEADS)}
    options["pretraining_heads"] = heads
    return Pretraining(state_dict, options, model_type)


def model_type_of(content: Any) -> str | None:
    """Find the type of the model in the ``content`` of a file of fairseq or unilm; None for other files.

    The tensors decide; without pre-training heads, those of wav2vec 2.0 and HuBERT are the same,
    and the configuration decides.
    """
    names = encoder_tensors(content)
    if names is None:
        return None
    if any("relative_attention_bias" in name for name in names):
        return "wavlm"
    if any(name.startswith(_SPEAKER_HEADS) for name in names):
        return "unispeech-sat"
    if "quantizer.vars" in names:
        return "wav2vec2"
    config = _model_configuration(content)
    if "label_embs_concat" in names or "hubert" in (config.get("_name"), config.get("arch")):
        return "hubert"
    return "wav2vec2"


def encoder_tensors(content: Any) -> StateDict | None:
    """Find the tensors of the pre-trained encoder in the ``content`` of a file: fairseq's name → tensor.

    A shared prefix and the head of a fine-tuned model are removed. None for a detector, or without
    an encoder.
    """
    tensors = only_state_dict_in(content) or {}
    prefixes = [name.removesuffix(_POSITIONS) for name in tensors if name.endswith(_POSITIONS)]
    if len(prefixes) != 1:
        return None
    prefix = prefixes[0]
    encoder = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    # Other tensors belong to a detector, unless the prefix is that of a fine-tuned model.
    is_whole = len(encoder) == len(tensors) or prefix.endswith(_PRETRAINED)
    is_module = not prefix or prefix.endswith(".")
    if not is_whole or not is_module or prefix.startswith("ssl_model."):
        return None
    return encoder


def _model_configuration(content: Any) -> Facts:
    """Find the model's options: in ``cfg`` (fairseq, unilm), ``model_cfg`` (s3prl) or ``args``.

    A fine-tuned model has the options of its encoder in ``w2v_args``. Empty if there are none.
    """
    config: Facts = {}
    for key in ("cfg", "model_cfg", "args"):
        config = config or _mapping(content.get(key))
    config = _mapping(config.get("model")) or config
    if pretraining := _mapping(config.get("w2v_args")):
        return _mapping(pretraining.get("model")) or pretraining
    return config


def _mapping(value: object) -> Facts:
    for _ in range(4):  # the value of a record may be a record again
        if isinstance(value, UnbuiltObject):
            value = content_of(value)
    return value if isinstance(value, dict) else {}


def parse_convolutions(text: str) -> list[tuple[int, ...]]:
    """Read fairseq's ``conv_feature_layers``, a Python expression of lists, sums and repetitions.

    Unlike fairseq, this function runs no code.

    Raises:
        InputError: if ``text`` has another form, or is too long.

    >>> parse_convolutions("[(512, 10, 5)] + [(512, 3, 2)] * 2")
    [(512, 10, 5), (512, 3, 2), (512, 3, 2)]
    """
    layers: list[tuple[int, ...]] = []
    for term in "".join(text.split()).split("+"):
        repeated_list = _REPEATED_LIST.fullmatch(term)
        if repeated_list is None or len(text) > _MAX_EXPRESSION_LENGTH:
            raise InputError(
                f"conv_feature_layers must be a list of (channels, kernel, stride), not {short_repr(text)}"
            )
        convolutions = re.findall(_CONVOLUTION, term)
        layers += [tuple(map(int, sizes)) for sizes in convolutions] * int(repeated_list["times"] or 1)
    return layers
