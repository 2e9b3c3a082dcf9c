"""Read pre-trained encoders of log-mel features: folders of w2v-BERT 2.0, Whisper and AST, OpenAI's files of Whisper.

Options have fairseq's names, tensors the transformers library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nes2net.lib.errors import InputError, as_input_error, short_repr
from nes2net.lib.output.sheet import Facts
from nes2net.lib.parts.options import Options
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.fairseq import Pretraining, model_type_of
from nes2net.models.checkpoints.huggingface import (
    CONFIG_FILE,
    PREPROCESSOR_FILE,
    read_configuration,
    read_encoder,
    read_feature_extractor,
    with_defaults,
)
from nes2net.models.checkpoints.model_types import check_type, is_openai
from nes2net.models.checkpoints.state_dict import StateDict, renamed, replace_patterns, state_dict_of
from nes2net.models.checkpoints.torch_file import read_torch_file


@dataclass(frozen=True)
class Family:
    """The layout of the Hugging Face folders of one type of model."""

    model_type: str
    title: str
    """The type's name in the literature."""
    options: Mapping[str, str]
    """Option of the front-end → key of the configuration."""
    prefixes: tuple[str, ...]
    """Possible prefixes of the encoder's tensors in larger models."""
    omitted: tuple[str, ...]
    """Beginnings of the names of other tensors, without prefix."""
    extractor: str
    """Class of the library's feature extractor."""
    features: Facts
    """Key of the feature extractor → the only supported value, or the name of the option that has it."""
    statistics: tuple[str, ...] = ()
    """Keys of the feature extractor that are options, too."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Pattern of a tensor's name in files, without prefix → the library's name."""

    def library_options(self, options: Options) -> Options:
        """Translate the front-end's ``options`` to keys of the configuration."""
        return {key: options[name] for name, key in self.options.items()}


W2V_BERT2 = Family(
    model_type="wav2vec2-bert",
    title="w2v-BERT 2.0",
    options={
        "encoder_layers": "num_hidden_layers",
        "encoder_embed_dim": "hidden_size",
        "encoder_ffn_embed_dim": "intermediate_size",
        "encoder_attention_heads": "num_attention_heads",
        "conv_kernel": "conv_depthwise_kernel_size",
        "left_positions": "left_max_position_embeddings",
        "right_positions": "right_max_position_embeddings",
        "dropout": "hidden_dropout",
        "attention_dropout": "attention_dropout",
        "activation_dropout": "activation_dropout",
        "dropout_input": "feat_proj_dropout",
        "conv_dropout": "conformer_conv_dropout",
        "encoder_layerdrop": "layerdrop",
    },
    prefixes=("wav2vec2_bert.",),
    omitted=(
        "adapter.", "intermediate_ffn.", "lm_head.", "classifier.", "projector.", "layer_weights", "tdnn.",
        "feature_extractor.", "objective.",
    ),
    extractor="SeamlessM4TFeatureExtractor",
    features={"sampling_rate": 16_000, "feature_size": 80, "num_mel_bins": 80, "stride": 2},
)  # fmt: skip
WHISPER = Family(
    model_type="whisper",
    title="Whisper",
    options={
        "num_mel_bins": "num_mel_bins",
        "chunk_length": "max_source_positions",
        "encoder_layers": "encoder_layers",
        "encoder_embed_dim": "d_model",
        "encoder_ffn_embed_dim": "encoder_ffn_dim",
        "encoder_attention_heads": "encoder_attention_heads",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "activation_dropout": "activation_dropout",
        "encoder_layerdrop": "encoder_layerdrop",
    },
    prefixes=("model.encoder.", "encoder."),
    omitted=("model.decoder.", "decoder.", "proj_out.", "classifier.", "projector.", "layer_weights"),
    extractor="WhisperFeatureExtractor",
    features={
        "sampling_rate": 16_000,
        "feature_size": "num_mel_bins",
        "chunk_length": "chunk_length",
        "hop_length": 160,
        "n_fft": 400,
        "dither": 0.0,
        "do_normalize": False,
    },
)
AST = Family(
    model_type="audio-spectrogram-transformer",
    title="AST",
    options={
        "num_mel_bins": "num_mel_bins",
        "max_length": "max_length",
        "frequency_stride": "frequency_stride",
        "time_stride": "time_stride",
        "encoder_layers": "num_hidden_layers",
        "encoder_embed_dim": "hidden_size",
        "encoder_ffn_embed_dim": "intermediate_size",
        "encoder_attention_heads": "num_attention_heads",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    },
    prefixes=("audio_spectrogram_transformer.encoder.", "audio_spectrogram_transformer.", "encoder."),
    omitted=("classifier.",),
    extractor="ASTFeatureExtractor",
    features={
        "sampling_rate": 16_000,
        "num_mel_bins": "num_mel_bins",
        "max_length": "max_length",
        "do_normalize": True,
    },
    statistics=("mean", "std"),
    names={
        r"^layer\.(\d+)\.attention\.attention\.query\.": r"layers.\1.attention.q_proj.",
        r"^layer\.(\d+)\.attention\.attention\.key\.": r"layers.\1.attention.k_proj.",
        r"^layer\.(\d+)\.attention\.attention\.value\.": r"layers.\1.attention.v_proj.",
        r"^layer\.(\d+)\.attention\.output\.dense\.": r"layers.\1.attention.o_proj.",
        r"^layer\.(\d+)\.intermediate\.dense\.": r"layers.\1.mlp.fc1.",
        r"^layer\.(\d+)\.output\.dense\.": r"layers.\1.mlp.fc2.",
        r"^layer\.(\d+)\.layernorm": r"layers.\1.layernorm",
    },
)
#: Number of frames per second of Whisper's encoder.
FRAMES_PER_SECOND = 50

# OpenAI's name of a tensor, as a pattern → the transformers library's name.
_OPENAI = {
    r"^blocks\.(\d+)\.attn\.query\.": r"layers.\1.self_attn.q_proj.",
    r"^blocks\.(\d+)\.attn\.key\.": r"layers.\1.self_attn.k_proj.",
    r"^blocks\.(\d+)\.attn\.value\.": r"layers.\1.self_attn.v_proj.",
    r"^blocks\.(\d+)\.attn\.out\.": r"layers.\1.self_attn.out_proj.",
    r"^blocks\.(\d+)\.attn_ln\.": r"layers.\1.self_attn_layer_norm.",
    r"^blocks\.(\d+)\.mlp\.0\.": r"layers.\1.fc1.",
    r"^blocks\.(\d+)\.mlp\.2\.": r"layers.\1.fc2.",
    r"^blocks\.(\d+)\.mlp_ln\.": r"layers.\1.final_layer_norm.",
    r"^positional_embedding$": "embed_positions.weight",
    r"^ln_post\.": "layer_norm.",
}
# Option of the front-end → key of ``dims`` in OpenAI's files.
_OPENAI_DIMS = {
    "num_mel_bins": "n_mels",
    "encoder_layers": "n_audio_layer",
    "encoder_embed_dim": "n_audio_state",
    "encoder_attention_heads": "n_audio_head",
}


def read_mel_encoder(checkpoint: AnyPath, family: Family) -> Pretraining:
    """Read tensors and options of the encoder in a Hugging Face folder, or in OpenAI's file of Whisper.

    Tensors of heads, adapters and decoders are omitted.

    Raises:
        InputError: if ``checkpoint`` holds another type or an unsupported variant, or if the
            feature extractor's settings are missing or not supported.
    """
    path = Path(checkpoint)
    # _read_folder() reads folders. Apart from folders, only OpenAI's files of Whisper can be read.
    if path.is_dir():
        return _read_folder(path, family)
    if family is not WHISPER:
        raise InputError(
            f"{path} is not a folder: {family.title} is read from a Hugging Face folder with {CONFIG_FILE}, weights and "
            f"{PREPROCESSOR_FILE}"
        )
    content, _ = read_torch_file(path)
    if (model_type := model_type_of(content)) is not None:
        check_type(path, model_type, [WHISPER.model_type])
    if not is_openai(content):
        raise InputError(
            f"{path} is not a checkpoint of Whisper: a Hugging Face folder, or OpenAI's own file with 'dims' and "
            "'model_state_dict', is expected; name one"
        )
    dims = content["dims"]
    problem = f"the 'dims' of {path} do not describe an encoder as OpenAI's files do"
    with as_input_error(problem, KeyError, TypeError):
        options = {option: dims[dim] for option, dim in _OPENAI_DIMS.items()}
        options["encoder_ffn_embed_dim"] = 4 * dims["n_audio_state"]
        options["chunk_length"] = _to_seconds(dims["n_audio_ctx"], path)
    tensors = state_dict_of(content["model_state_dict"], path)
    encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("encoder.")}
    renamed_encoder = renamed(encoder, lambda name: replace_patterns(_OPENAI, name.removeprefix("encoder.")), path)
    return Pretraining(renamed_encoder, options, family.model_type)


def _read_folder(folder: Path, family: Family) -> Pretraining:
    config = read_configuration(folder)
    check_type(folder, config.get("model_type"), [family.model_type])
    config = with_defaults(folder, config, family.options.values())
    options = {name: config[library_name] for name, library_name in family.options.items()}
    if "chunk_length" in options:
        options["chunk_length"] = _to_seconds(options["chunk_length"], folder)
    # The name of an option stands for its value.
    expected = {name: options.get(value, value) for name, value in family.features.items()}
    settings, _ = read_feature_extractor(folder, {**expected, "feature_extractor_type": family.extractor})
    if not settings:
        raise InputError(
            f"{folder} has no feature extractor: the {PREPROCESSOR_FILE} of the model is expected beside {CONFIG_FILE}; download it, too"
        )
    options |= {name: settings.get(name) for name in family.statistics}
    tensors = read_encoder(folder, family.prefixes, family.omitted)
    return Pretraining(renamed(tensors, partial(replace_patterns, family.names), folder), options, family.model_type)


def _to_seconds(positions: Any, path: Path) -> int:
    if isinstance(positions, bool) or not isinstance(positions, int) or positions % FRAMES_PER_SECOND:
        raise InputError(
            f"{path} has {short_repr(positions)} positions: a multiple of {FRAMES_PER_SECOND}, whole seconds, is "
            "expected; name another checkpoint"
        )
    return positions // FRAMES_PER_SECOND


def as_float32(state_dict: StateDict, prefix: str) -> StateDict:
    """Copy a state dict with ``prefix`` before each name and floating-point tensors in float32."""
    converted = {}
    for name, tensor in state_dict.items():
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32)
        converted[f"{prefix}{name}"] = tensor
    return converted
