"""The published sizes of the pre-trained front-ends: a table of their options, files and licences.

``create_frontend`` builds a size by its name; the front-ends in :data:`MODEL_TYPES` read any size.

``SIZES`` is the table, ``check_size`` compares a file with it, ``pretraining_file`` downloads one.

Names, shapes, counts and options were checked against lists of the tensors in published files for
``wav2vec2_base``, ``wav2vec2_large``, ``xlsr_300m``, ``xlsr_1b``, ``xlsr_2b``, ``mms_300m``,
``mms_1b``, ``hubert_large``, ``hubert_xlarge`` and ``wavlm_large``. So were dropouts, except for
``wavlm_large``.

Addresses come from the pages of fairseq, HuBERT and MMS, and from Whisper's code, with digests;
several users have published the digest of ``xlsr_300m``.

Written from memory and not checked: all licences, ``normalize`` and ``hub_options``; the options of
``xlsr_53``, equal to those of ``xlsr_300m``; all facts of ``hubert``, ``unispeech_sat_large`` and
``mhubert_147``; the sizes and dropouts of ``w2v_bert2`` and ``whisper_*``, and the counts computed
from them. Assumption: the 1,004 targets of ``mhubert_147`` (1,000 clusters, four special symbols).
No pre-training file was available; ``nes2net info FILE`` compares one with this table.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.parts.options import Options
from nes2net.lib.storage.files import AnyPath, is_absent
from nes2net.lib.web.hub import HUB_PREFIX
from nes2net.models.checkpoints.model_types import MODEL_TYPES
from nes2net.models.checkpoints.published_file import PublishedFile


@dataclass(frozen=True)
class PublishedSize:
    """A published pre-trained model: its size, files and licence."""

    title: str
    model_type: str
    """One of :data:`nes2net.models.checkpoints.model_types.MODEL_TYPES`."""
    parameters: int
    """Parameters that the front-end reads."""
    file: str
    """Name of the pre-training file; empty if there is only the Hugging Face folder."""
    source: str
    """Page that offers the pre-training file."""
    hub: str
    """Repository on the Hugging Face hub."""
    licence: str
    normalize: bool | None
    """Whether the model's configuration layer-normalises waveforms; None if it reads a spectrum. In
    a published detector, its recipe decides.
    """
    options: Options = field(default_factory=dict)
    """Options that differ from the front-end's defaults."""
    training: Options = field(default_factory=dict)
    """Dropouts and similar options that differ from the defaults; a checkpoint's replace them."""
    hub_options: Options = field(default_factory=dict)
    """Options with other values in the folder on the hub."""
    notes: str = ""
    """Notes for users, such as differences between file and folder."""
    size: int | None = None
    sha256: str = ""

    @property
    def published(self) -> PublishedFile:
        """The pre-training file, or the folder on the hub if its address is unknown."""
        if (address := _ADDRESSES.get(self.source)) is None:
            return PublishedFile(f"hub:{self.hub}")
        return PublishedFile(address.format(file=self.file, sha256=self.sha256), self.size, self.sha256)

    @property
    def frontend(self) -> str:
        """Front-end that reads any size of this type."""
        return MODEL_TYPES[self.model_type].frontend


#: Options that define a size; others do not: dropout, normalisation, whether to keep the tensors of
#: pre-training.
SHAPE = (
    "extractor_mode",
    "conv_feature_layers",
    "conv_bias",
    "layer_norm_first",
    "encoder_layers",
    "encoder_embed_dim",
    "encoder_ffn_embed_dim",
    "encoder_attention_heads",
    "conv_pos",
    "conv_pos_groups",
    "num_buckets",
    "max_distance",
    "num_mel_bins",
    "chunk_length",
    "conv_kernel",
    "left_positions",
    "right_positions",
)

#: Front-end → its constructor, as in the registry, which imports this module.
_CLASSES = {
    "wav2vec2": "nes2net.models.frontends.ssl:wav2vec2",
    "hubert": "nes2net.models.frontends.ssl:hubert",
    "wavlm": "nes2net.models.frontends.ssl:wavlm",
    "w2v_bert2": "nes2net.models.frontends.w2v_bert2:W2VBert2Frontend",
    "whisper": "nes2net.models.frontends.whisper:WhisperFrontend",
}

_FAIRSEQ = "https://github.com/facebookresearch/fairseq/tree/main/examples"
_W2V, _XLSR, _HUBERT, _MMS = (f"{_FAIRSEQ}/{name}" for name in ("wav2vec", "wav2vec/xlsr", "hubert", "mms"))
_APACHE = "Apache-2.0"
_NC = "CC BY-NC 4.0 (not for commercial use)"
_NC_SA = "CC BY-NC-SA 4.0 (not for commercial use)"
_UNISPEECH = "CC BY-SA 3.0, by the model card's link to UniSpeech's licence"

_BASE = {
    "extractor_mode": "default",
    "conv_bias": False,
    "layer_norm_first": False,
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "final_dim": 256,
}
_LARGE = {
    "extractor_mode": "layer_norm",
    "layer_norm_first": True,
    "encoder_layers": 24,
    "encoder_embed_dim": 1024,
    "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16,
    "final_dim": 768,
}
_1B = {**_LARGE, "encoder_layers": 48, "encoder_embed_dim": 1280, "encoder_ffn_embed_dim": 5120, "final_dim": 1024}
_2B = {**_1B, "encoder_embed_dim": 1920, "encoder_ffn_embed_dim": 7680}
_BASE_DROPOUTS = {
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "dropout_input": 0.1,
    "encoder_layerdrop": 0.05,
    "feature_grad_mult": 0.1,
}
_INPUT_DROPOUT = {"dropout_input": 0.1}
_HUB_BIAS = {"conv_bias": True}
_HUB_HUBERT = "The hub's folder has biases of the convolutions, which fairseq's file does not have."
_HUB_NORMALIZES = "The hub's folder says that waveforms are normalised; fairseq's configuration says they are not."
_WHISPER = "https://github.com/openai/whisper"
#: Source of a file → pattern of the file's address.
_ADDRESSES = {
    _W2V: "https://dl.fbaipublicfiles.com/fairseq/wav2vec/{file}",
    _XLSR: "https://dl.fbaipublicfiles.com/fairseq/wav2vec/{file}",
    _HUBERT: "https://dl.fbaipublicfiles.com/hubert/{file}",
    _MMS: "https://dl.fbaipublicfiles.com/mms/pretraining/{file}",
    _WHISPER: "https://openaipublic.azureedge.net/main/whisper/models/{sha256}/{file}",
}
_WHISPER_LICENCE = "MIT for OpenAI's files, Apache-2.0 on the hub"


def _whisper_options(layers: int, dim: int, num_mel_bins: int = 80) -> dict[str, int]:
    """Heads of size 64, feed-forward layers of 4·``dim``."""
    return {
        "num_mel_bins": num_mel_bins,
        "encoder_layers": layers,
        "encoder_embed_dim": dim,
        "encoder_ffn_embed_dim": 4 * dim,
        "encoder_attention_heads": dim // 64,
    }


#: Name → published size.
SIZES: dict[str, PublishedSize] = {
    "wav2vec2_base": PublishedSize(
        "wav2vec 2.0 Base", "wav2vec2", 95_044_608, "wav2vec_small.pt", _W2V, "facebook/wav2vec2-base", _APACHE, False,
        _BASE, _BASE_DROPOUTS, notes=_HUB_NORMALIZES,
    ),
    "wav2vec2_large": PublishedSize(
        "wav2vec 2.0 Large (LV-60, Fisher, Switchboard, Common Voice)", "wav2vec2", 317_390_592,
        "w2v_large_lv_fsh_swbd_cv.pt", _W2V, "facebook/wav2vec2-large-robust", _APACHE, True, _LARGE,
    ),
    "xlsr_53": PublishedSize(
        "XLSR-53", "wav2vec2", 317_390_592, "xlsr_53_56k.pt", _W2V, "facebook/wav2vec2-large-xlsr-53", _APACHE, True,
        _LARGE,
    ),
    "xlsr_300m": PublishedSize(
        "XLS-R 300M", "wav2vec2", 317_390_592, "xlsr2_300m.pt", _XLSR, "facebook/wav2vec2-xls-r-300m", _APACHE, True,
        _LARGE, size=3_808_868_242, sha256="b08927597f2c9eb2ebd7dcc3ac78ee4b5f6021cbac4b3a6c5a9deec445d80ed9",
    ),
    "xlsr_1b": PublishedSize(
        "XLS-R 1B", "wav2vec2", 965_514_752, "xlsr2_960m_1000k.pt", _XLSR, "facebook/wav2vec2-xls-r-1b", _APACHE, True,
        _1B, _INPUT_DROPOUT,
    ),
    "xlsr_2b": PublishedSize(
        "XLS-R 2B", "wav2vec2", 2_162_932_352, "xlsr2_2B_1000k.pt", _XLSR, "facebook/wav2vec2-xls-r-2b", _APACHE, True,
        _2B, _INPUT_DROPOUT,
    ),
    "mms_300m": PublishedSize(
        "MMS 300M", "wav2vec2", 317_390_592, "base_300m.pt", _MMS, "facebook/mms-300m", _NC, True, _LARGE,
    ),
    "mms_1b": PublishedSize(
        "MMS 1B", "wav2vec2", 965_514_752, "base_1b.pt", _MMS, "facebook/mms-1b", _NC, True, _1B, _INPUT_DROPOUT,
    ),
    "hubert": PublishedSize(
        "HuBERT Base", "hubert", 94_697_600, "hubert_base_ls960.pt", _HUBERT, "facebook/hubert-base-ls960", _APACHE,
        False, {}, _BASE_DROPOUTS, notes=_HUB_NORMALIZES,
    ),
    "hubert_large": PublishedSize(
        "HuBERT Large", "hubert", 316_609_408, "hubert_large_ll60k.pt", _HUBERT, "facebook/hubert-large-ll60k", _APACHE,
        True, _LARGE, hub_options=_HUB_BIAS, notes=_HUB_HUBERT,
    ),
    "hubert_xlarge": PublishedSize(
        "HuBERT X-Large", "hubert", 964_321_664, "hubert_xtralarge_ll60k.pt", _HUBERT, "facebook/hubert-xlarge-ll60k",
        _APACHE, True, _1B, hub_options=_HUB_BIAS, notes=_HUB_HUBERT,
    ),
    "unispeech_sat_large": PublishedSize(
        "UniSpeech-SAT Large", "unispeech-sat", 315_434_112, "", "", "microsoft/unispeech-sat-large",
        "not stated in the hub's fields", True, {**_LARGE, "pretraining_heads": False},
        notes="Its heads of pre-training are not read.",
    ),
    "mhubert_147": PublishedSize(
        "mHuBERT-147", "hubert", 94_825_600, "checkpoint_best.pt", "https://huggingface.co/utter-project/mHuBERT-147",
        "utter-project/mHuBERT-147", _NC_SA, True, {"num_targets": 1004}, _BASE_DROPOUTS,
    ),
    "wavlm_large": PublishedSize(
        "WavLM-Large", "wavlm", 315_453_120, "WavLM-Large.pt", "https://github.com/microsoft/unilm/tree/master/wavlm",
        "microsoft/wavlm-large", _UNISPEECH, True,
    ),
    "w2v_bert2": PublishedSize(
        "w2v-BERT 2.0", "wav2vec2-bert", 580_493_120, "", "", "facebook/w2v-bert-2.0", "MIT", None,
        training={"conv_dropout": 0.1, "encoder_layerdrop": 0.1},
        notes="It reads log-mel features, which are normalised per bin and utterance.",
    ),
    "whisper_tiny": PublishedSize(
        "Whisper Tiny", "whisper", 8_208_384, "tiny.pt", _WHISPER, "openai/whisper-tiny", _WHISPER_LICENCE, None,
        _whisper_options(4, 384), sha256="65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
    ),
    "whisper_base": PublishedSize(
        "Whisper Base", "whisper", 20_590_592, "base.pt", _WHISPER, "openai/whisper-base", _WHISPER_LICENCE, None,
        _whisper_options(6, 512), sha256="ed3a0b6b1c0edf879ad9b11b1af5a0e6ab5db9205f891f668f8b0e6c6326e34e",
    ),
    "whisper_small": PublishedSize(
        "Whisper Small", "whisper", 88_154_112, "small.pt", _WHISPER, "openai/whisper-small", _WHISPER_LICENCE, None,
        _whisper_options(12, 768), sha256="9ecf779972d90ba49c06d968637d720dd632c55bbf19d441fb42bf17a411e794",
    ),
    "whisper_medium": PublishedSize(
        "Whisper Medium", "whisper", 307_216_384, "medium.pt", _WHISPER, "openai/whisper-medium", _WHISPER_LICENCE, None,
        _whisper_options(24, 1024), sha256="345ae4da62f9b3d59415adc60127b97c714f32e89e936602e85993674d08dcb1",
    ),
    "whisper_large_v2": PublishedSize(
        "Whisper Large v2", "whisper", 636_784_640, "large-v2.pt", _WHISPER, "openai/whisper-large-v2", _WHISPER_LICENCE, None,
        _whisper_options(32, 1280), sha256="81f7c96c852ee8fc832187b0132e569d6c3065a3252ed18e56effd0b6a73e524",
    ),
    "whisper_large_v3": PublishedSize(
        "Whisper Large v3", "whisper", 636_968_960, "large-v3.pt", _WHISPER, "openai/whisper-large-v3", _WHISPER_LICENCE, None,
        _whisper_options(32, 1280, 128), sha256="e5b1a55b89c1367dacf97e3e19bfd829a01529dbfdeefa8caeb59b3f1b81dadb",
    ),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Make the constructor of the published size ``name``, which the registry reads as an attribute.

    Raises:
        AttributeError: if ``name`` is not a published size.
    """
    if name not in SIZES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from nes2net.lib.parts.options import Default, Preset  # imported late, so that listing names needs no pydantic

    size = SIZES[name]
    constructor = resolve_name(_CLASSES[size.frontend])
    options = {**size.options, **{option: Default(value) for option, value in size.training.items()}}
    return Preset(constructor, summary=f"{size.title}, read by {size.frontend}.", **options)


def sizes_of(model_type: str, config: Options) -> list[str]:
    """List the published sizes of ``model_type`` that have the options of ``config``."""
    return [name for name, size in SIZES.items() if size.model_type == model_type and not _differences(name, config)]


def check_size(name: str, model_type: str, config: Options, path: AnyPath) -> None:
    """Check that the checkpoint ``path`` has the published size ``name``.

    Nothing is checked for ``hubert``, which is also a front-end, or for other names.

    Raises:
        InputError: if the checkpoint has another size or type, or if its file has the name of
            another published model of the same size.
    """
    if name not in SIZES or name == SIZES[name].frontend:
        return
    size = SIZES[name]
    differences = _differences(name, config)
    same_named = []
    for fitting_name in sizes_of(model_type, config):
        fitting_size = SIZES[fitting_name]
        if Path(path).name in (fitting_size.file, fitting_size.hub.rpartition("/")[2]):
            same_named.append(fitting_name)
    # Models such as xlsr_53 and xlsr_300m have equal networks: only the name of the file tells them apart.
    if not differences and same_named and name not in same_named:
        raise InputError(
            f"the file name {path} indicates {SIZES[same_named[0]].title}, but the front-end is {size.title}, whose "
            f"weights have the same shapes: use `model.frontend={same_named[0]}`, or name the pre-training file of {name} "
            f"with `ssl_checkpoint` ({obtain(name)})"
        )
    if model_type and model_type != size.model_type:
        differences.insert(0, f"it is {MODEL_TYPES[model_type].title}")
    if differences:
        advice = [f"`model.frontend={size.frontend}`, which reads any size"]
        if fitting := sizes_of(model_type, config):
            advice.append(" or ".join(f"`model.frontend={fitting_name}`" for fitting_name in fitting))
        raise InputError(f"{path} is not {size.title} ({name}): {', '.join(differences)}. Use {', or '.join(advice)}")


def pretraining_file(path_or_name: AnyPath | None) -> Path | None:
    """Find or download the pre-training file or folder of a published size, or of ``hub:OWNER/NAME``; keep other paths.

    Raises:
        InputError: if a file cannot be downloaded, or has another digest.
    """
    if path_or_name is None:
        return None
    name = str(path_or_name)
    licence = ""
    if name.startswith(HUB_PREFIX):
        file = PublishedFile(name)
        if file.hub is None or ".." in name.split("/") or len(name) > 200:
            raise InputError(f"{short_repr(name)} names no repository: expected hub:OWNER/NAME[@REVISION]")
    elif name in SIZES and is_absent(path_or_name):  # an existing file comes first
        file = SIZES[name].published
        licence = SIZES[name].licence
    else:
        return Path(path_or_name)
    from nes2net.models.checkpoints.shelf import Shelf  # imported late, so that listing names needs no pydantic

    return Shelf(name.removeprefix(HUB_PREFIX).replace("/", "--"), file, licence).fetch_if_missing()


def check_exists(name: str, path: AnyPath) -> None:
    """Check that ``path`` exists, if ``name`` is a published size.

    Raises:
        InputError: if not; the message says where to get the file.
    """
    if name in SIZES and not Path(path).exists():
        raise InputError(
            f"front-end checkpoint {path} not found: download it ({obtain(name)}) and name it with `ssl_checkpoint`, or have "
            f"it fetched by its name, `ssl_checkpoint={name}`, or train a small front-end from scratch: "
            "`model.frontend=wav2vec2_small`"
        )


def check_pretrained(name: str) -> None:
    """Refuse to train the published size ``name`` from random weights.

    Raises:
        InputError: if ``name`` is a published size, except ``hubert``, which is also a front-end.
    """
    if name in SIZES and name != SIZES[name].frontend:
        raise InputError(
            f"refusing to train {SIZES[name].title} from random weights: name its pre-training file with "
            f"`ssl_checkpoint` ({obtain(name)}), or have it fetched by its name, `ssl_checkpoint={name}`, or use a small "
            "front-end: `model.frontend=wav2vec2_small`"
        )


def obtain(name: str) -> str:
    """Say where to get the pre-training file of the published size ``name``, if it is one.

    >>> obtain("wavlm_large")
    'WavLM-Large.pt from https://github.com/microsoft/unilm/tree/master/wavlm, or the folder https://huggingface.co/microsoft/wavlm-large'
    """
    if name not in SIZES:
        return ""
    size = SIZES[name]
    folder = f"the folder https://huggingface.co/{size.hub}"
    return f"{size.file} from {size.source}, or {folder}" if size.file else folder


def _differences(name: str, config: Options) -> list[str]:
    """Say which options in :data:`SHAPE` differ from the published size ``name``.

    The values of its file and of its folder on the hub are both right.
    """
    constructor = __getattr__(name)
    defaults = {key: parameter.default for key, parameter in signature(constructor).parameters.items()}
    differences = []
    for key in SHAPE:
        if key in config and key in defaults:
            values = (defaults[key], SIZES[name].hub_options.get(key, defaults[key]), config[key])
            expected, expected_on_hub, value = map(json.dumps, values)  # texts, because tuples and lists are equal
            if value not in (expected, expected_on_hub):
                differences.append(f"{key} is {value}, not {expected}")
    return differences
