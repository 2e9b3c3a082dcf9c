"""Detector folders and Hugging Face folders, and the options of parts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builders.hostile import Case, nes2net

LPS = {"name": "lps", "n_fft": 128, "num_bins": 20}
SSL = {"name": "wav2vec2_small", "encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 16}
CONFIG = "model:\n  frontend: {name: lps, n_fft: 128, num_bins: 20}\n  backend: asp_mlp\n"
HUGGING_FACE = {
    "model_type": "wav2vec2",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 16,
    "conv_dim": [8] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "feat_extract_norm": "layer",
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}


def _weights(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)


def _detector(config: str | bytes) -> Callable[[Path], Path]:
    """A detector folder with this ``config.yaml``, and weights that fit no model."""

    def make(folder: Path) -> Path:
        (folder / "config.yaml").write_bytes(config.encode() if isinstance(config, str) else config)
        _weights(folder / "model.safetensors")
        return folder

    return make


def _options(part: str, **options: Any) -> Callable[[Path], Path]:
    model = {"frontend": LPS, "backend": {"name": "asp_mlp"}, part: options}
    return _detector(json.dumps({"model": model}))  # JSON is YAML


def _hugging_face(config: str | dict[str, Any], **files: str) -> Callable[[Path], Path]:
    """A Hugging Face folder with this ``config.json``, and weights that fit no model."""

    def make(folder: Path) -> Path:
        (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text)
        if not files:
            _weights(folder / "model.safetensors")
        return folder

    return make


def _beside(shard: Any) -> Callable[[Path], Path]:
    """A Hugging Face folder whose index names ``shard``; a folder, a pipe and a device lie there."""

    def make(folder: Path) -> Path:
        _hugging_face(HUGGING_FACE, pytorch_model__bin__index__json=json.dumps({"weight_map": {"a": shard}}))(folder)
        (folder / "a folder").mkdir()
        os.mkfifo(folder / "a pipe")
        (folder / "a device").symlink_to("/dev/zero")
        return folder

    return make


def _special(name: str, make_special: Callable[[Path], Any]) -> Callable[[Path], Path]:
    """A detector folder in which ``name`` is a pipe, a folder or a device."""

    def make(folder: Path) -> Path:
        _detector(CONFIG)(folder)
        (folder / name).unlink()
        make_special(folder / name)
        return folder

    return make


def _load(folder: Path) -> Any:
    from nes2net import Detector

    return Detector.from_pretrained(folder, device="cpu")


def _info(folder: Path) -> Any:
    return nes2net("info", folder)


def _frontend(folder: Path) -> Any:
    from nes2net import create_frontend

    return create_frontend("wav2vec2", folder)


def doubled(times: int, alias: Callable[[int], str] = lambda n: f"*a{n}") -> str:
    """A list that YAML's anchors double so many times."""
    lists = [f"a{n}: &a{n} [{alias(n - 1)}, {alias(n - 1)}]" for n in range(1, times)]
    return "\n".join(["a0: &a0 [x, x]", *lists]) + "\n"


def _nested(opening: str, closing: str, depth: int) -> str:
    return opening * depth + closing * depth


YAML = {
    "an option doubled 40 times": (
        doubled(40) + "model: {frontend: {name: lps}, backend: {name: nes2net_x, nes_ratio: *a39}}",
        "no aliases",
    ),
    "doubled 40 times": (CONFIG + doubled(40), "no aliases"),
    "a wide doubling": (CONFIG + doubled(14), "no aliases"),
    "doubled mapping": (
        CONFIG + doubled(40).replace("[", "{x: ").replace(", ", ", y: ").replace("]", "}"),
        "no aliases",
    ),
    "an alias of itself": (CONFIG + "a: &a [*a]\n", "no aliases"),
    "20,000 aliases": (CONFIG + "a: &a [1, 2]\nb: [" + "*a, " * 20_000 + "]\n", "no aliases"),
    "merge keys": ("a: &a {x: 1}\nmodel:\n  <<: *a\n  frontend: lps\n", "no aliases"),
    "nested 10,000 deep": (CONFIG + "a: " + _nested("[", "]", 10_000), "deep"),
    "nested in blocks": (CONFIG + "a:\n" + "".join(f"{' ' * n}-\n" for n in range(1, 400)), "deep|YAML"),
    "100,000 values": (CONFIG + "a: [" + "1," * 100_000 + "]", "is longer than"),
    "a text of 10 MB": (CONFIG + "a: " + "x" * 10**7, "is longer than"),
    "a date": ("model: 2026-02-30", "does not describe a model"),
    "a date as an option": (CONFIG.replace("128", "2026-02-30"), "n_fft is a whole number"),
    "a tag": (CONFIG + "a: !!python/object/apply:os.system [ls]", "tags"),
    "a binary": (CONFIG + "a: !!binary AAAA", "tags"),
    "a set": (CONFIG + "a: !!set {x}", "tags"),
    "a key twice": (CONFIG + CONFIG, "twice"),
    "a list as key": (CONFIG + "? [1, 2]\n: x", "YAML"),
    "5,000 digits": (CONFIG.replace("128", "1" * 5000), "n_fft is a whole number"),
    "hexadecimal of 5,000 digits": (CONFIG.replace("128", "0x" + "f" * 5000), "n_fft is a whole number"),
    "infinity": (CONFIG.replace("128", ".inf"), "n_fft is a whole number"),
    "control characters": (CONFIG + "a: \x07", "YAML"),
    "null bytes": (CONFIG + "\0", "YAML"),
    "not UTF-8": (CONFIG.encode() + b"\xff\xfe", "UTF-8"),
    "empty": ("", "does not describe a model"),
    "a list": ("- model", "does not describe a model"),
    "a text": ("model", "does not describe a model"),
    "two documents": (CONFIG + "---\n" + CONFIG, "YAML"),
    "a model of text": ("model: lps", "does not describe a model"),
    "a front-end of text": ("model: {frontend: lps, backend: asp_mlp}", "does not describe a model|does not fit"),
    "a front-end without a name": ("model: {frontend: {n_fft: 128}}", "does not describe a model"),
    "a name that is a list": ("model: {frontend: {name: [lps]}}", "does not describe a model"),
    "no back-end": ("model: {frontend: {name: lps}}", "backend has no name"),
    "an unknown part": (CONFIG + "  head: x\n", "no part 'head'"),
    "a part that is a number": ("model: {frontend: {name: lps}, 1: x}", "no part '1'"),
    "a back-end that is a list": ("model: {frontend: {name: lps}, backend: [asp_mlp]}", "backend has no name"),
    "an option that is a number": ("model: {frontend: {name: lps, 1: 2}, backend: sls}", "an option 1"),
    "an unknown option": ("model: {frontend: {name: lps, x: 2}, backend: sls}", "no option 'x'"),
    "an unknown name": ("model: {frontend: {name: " + "x" * 10_000 + "}, backend: sls}", "unknown front-end"),
    "a checkpoint": (
        "model: {frontend: {name: wav2vec2, checkpoint: /dev/zero}, backend: sls}",
        "no option 'checkpoint'",
    ),
    "layers of an aggregation": (
        "model: {frontend: {name: lps}, aggregation: {name: sea, num_layers: 5}, backend: sls}",
        "no option 'num_layers'",
    ),
}
MUCH = 2**31
# Options of parts that a folder states, and what the message says.
OPTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    **{
        f"{name} of {option} 2^31": (part, {"name": name, option: MUCH}, f"{option} is ")
        for part, name, option in (
            ("frontend", "lps", "n_fft"),
            ("frontend", "lps", "hop_length"),
            ("frontend", "lfcc", "num_filters"),
            ("frontend", "lfcc", "window_length"),
            ("frontend", "wav2vec2_small", "encoder_layers"),
            ("frontend", "wav2vec2_small", "encoder_embed_dim"),
            ("frontend", "wav2vec2_small", "conv_feature_layers"),
            ("frontend", "wav2vec2_small", "latent_vars"),
            ("frontend", "wavlm", "num_buckets"),
            ("frontend", "wavlm", "conv_pos"),
            ("backend", "nes2net_x", "nes_ratio"),
            ("backend", "nes2net_x", "dilation"),
            ("backend", "conformer", "num_blocks"),
            ("backend", "tcm", "embed_dim"),
            ("backend", "mamba", "num_layers"),
            ("backend", "mpif_res2net", "stem_convolutions"),
            ("backend", "mpif_res2net", "scale"),
            ("backend", "mpif_res2net", "strides"),
            ("backend", "mpif_res2net", "planes"),
            ("backend", "sls", "num_frames"),
            ("backend", "attm_lstm", "lstm_dim"),
            ("backend", "asp_mlp", "hidden_dim"),
            ("backend", "aasist", "num_logits"),
            ("backend", "raw_aasist", "feature_dim"),
        )
    },
    "n_fft of lists": ("frontend", {"name": "lps", "n_fft": [[[MUCH]]]}, "n_fft is "),
    "conv_feature_layers of lists": ("frontend", {**SSL, "conv_feature_layers": [[[MUCH]]]}, "conv_feature_layers is "),
    "a layer of 65,536 numbers": ("backend", {"name": "asp_mlp", "feature_dim": 65536, "hidden_dim": 65536}, "weights"),
    "an image of sls": ("backend", {"name": "sls", "feature_dim": 65536, "num_frames": 10000}, "weights"),
    "transformers of 128 layers": (
        "frontend",
        {"name": "wav2vec2", "encoder_layers": 128, "encoder_embed_dim": 16384, "encoder_ffn_embed_dim": 65536},
        "weights",
    ),
    "a code book": ("frontend", {"name": "wav2vec2", "latent_vars": 65536, "latent_groups": 65536}, "weights"),
    "modules without end": ("backend", {"name": "mpif_res2net", "blocks": [64] * 4, "scale": 64}, "modules"),
    "splits of splits": (
        "backend",
        {"name": "nes2net_x", "feature_dim": 65536, "nes_ratio": [64, 64]},
        "modules|weights|does not fit",
    ),
    "a frame per sample": (
        "frontend",
        {**SSL, "conv_feature_layers": [[8, 1, 1]]},
        "samples from one frame to the next",
    ),
    "a spectrum per sample": ("frontend", {"name": "lps", "n_fft": 128, "hop_length": 1}, "hop_length is "),
    "long frames often": (
        "frontend",
        {"name": "lfcc", "n_fft": 16384, "window_length": 16384, "hop_length": 32},
        "from one frame to the next",
    ),
    "wide convolutions": (
        "frontend",
        {**SSL, "conv_feature_layers": [[4096, 1, 1], [8, 64, 64]]},
        "numbers of every 1 samples",
    ),
    "a frame of all samples": (
        "frontend",
        {**SSL, "conv_feature_layers": [[8, 4096, 4096]] * 16},
        "samples for a frame",
    ),
    "a wide image": ("backend", {"name": "mpif_res2net", "feature_dim": 60000, "stem_channels": 4096}, "too many"),
    "AASIST on samples": ("backend", {"name": "aasist", "feature_dim": 1}, "feature_dim is "),
    "heads that do not divide": ("frontend", {**SSL, "encoder_attention_heads": 3}, "not divisible"),
    "groups that do not divide": ("frontend", {**SSL, "conv_pos_groups": 3}, "not divisible"),
}
JSON = {
    "nested 100,000 deep": (_nested("[", "]", 100_000), "JSON|deep"),
    "nested 100 deep": ('{"a": ' + _nested("[", "]", 100) + "}", "deep"),
    "mappings 50,000 deep": ('{"a":' * 50_000 + "1" + "}" * 50_000, "JSON|deep"),
    "5,000 digits": ('{"a": ' + "1" * 5000 + "}", "JSON"),
    "4,000 digits": ('{"a": ' + "1" * 4000 + "}", "64 bits"),
    "300,000 values": ('{"a": [' + "1," * 300_000 + "1]}", "values"),
    "2 MB of text": ('{"a": "' + "x" * 2_000_000 + '"}', "is longer than"),
    "a key twice": ('{"a": 1, "a": 2}', "twice"),
    "not JSON": ("{", "JSON"),
    "a list": ("[]", "mapping"),
    "empty": ("", "JSON"),
}
HUGGING_FACE_OPTIONS = {
    **{
        f"{key} {shown}": ({key: value}, ours)
        for key, ours in (
            ("num_hidden_layers", "encoder_layers is "),
            ("hidden_size", "encoder_embed_dim is "),
            ("num_attention_heads", "encoder_attention_heads is "),
            ("intermediate_size", "encoder_ffn_embed_dim is "),
            ("num_conv_pos_embeddings", "conv_pos is "),
            ("num_codevectors_per_group", "latent_vars is "),
            ("hidden_dropout", "dropout is "),
            ("layerdrop", "encoder_layerdrop is "),
            ("conv_bias", "conv_bias is "),
            ("do_stable_layer_norm", "layer_norm_first is "),
            ("conv_dim", "conv_feature_layers is |convolutions"),
            ("conv_stride", "conv_feature_layers is |convolutions"),
            ("feat_extract_norm", "convolutions"),
            ("hidden_act", "only 'gelu'"),
            ("model_type", "model of type"),
        )
        for shown, value in (
            ("2^31", MUCH),
            ("NaN", float("nan")),
            ("a list", [[MUCH]] * 7),
        )
    },
}
MISSING = {key: {k: v for k, v in HUGGING_FACE.items() if k != key} for key in HUGGING_FACE}
SHARDS: dict[str, Any] = {
    "300 characters": "x" * 300,
    "a null byte": "x\0y",
    "a folder": "a folder",
    "a pipe": "a pipe",
    "a device": "a device",
    "outside": "../other.bin",
    "an absolute path": "/dev/zero",
    "nothing": "",
    "a dot": ".",
    "a number": 5,
    "null": None,
    "a list": [["x"]],
    "not there": "other.bin",
}
SPECIAL: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a loop": lambda path: path.symlink_to(path.name),
    "missing": lambda path: None,
}
SHORT_OF = r"does not fit|describes a model that cannot be built"

CASES: list[Case] = [
    *(Case(f"config.yaml: {name}", _detector(text), _load, says) for name, (text, says) in YAML.items()),
    *(Case(f"info on config.yaml: {name}", _detector(YAML[name][0]), _info, YAML[name][1]) for name in list(YAML)[:5]),
    *(Case(name, _options(part, **options), _load, says) for name, (part, options, says) in OPTIONS.items()),
    *(
        Case(f"info on {name}", _options(OPTIONS[name][0], **OPTIONS[name][1]), _info, OPTIONS[name][2])
        for name in ("transformers of 128 layers", "modules without end", "a frame per sample", "a wide image")
    ),
    *(Case(f"config.json: {name}", _hugging_face(text), _frontend, says) for name, (text, says) in JSON.items()),
    *(
        Case(f"info on config.json: {name}", _hugging_face(JSON[name][0]), _info, JSON[name][1])
        for name in list(JSON)[:4]
    ),
    *(
        Case(
            f"index.json: {name}",
            _hugging_face(HUGGING_FACE, model__safetensors__index__json=text),
            _frontend,
            says,
        )
        for name, (text, says) in JSON.items()
    ),
    *(
        Case(f"config.json with {name}", _hugging_face({**HUGGING_FACE, **change}), _frontend, says)
        for name, (change, says) in HUGGING_FACE_OPTIONS.items()
    ),
    *(Case(f"config.json without {key}", _hugging_face(config), _frontend, "") for key, config in MISSING.items()),
    *(Case(f"a shard: {name}", _beside(shard), _frontend, "is not a file beside it") for name, shard in SHARDS.items()),
    *(
        Case(
            f"weight_map: {text}", _hugging_face(HUGGING_FACE, model__safetensors__index__json=text), _frontend, "file"
        )
        for text in ("{}", '{"weight_map": {}}', '{"weight_map": []}', '{"weight_map": "a"}')
    ),
    *(
        Case(f"{file} is {name}", _special(file, special), _load, "config.yaml|not found")
        for file in ("config.yaml", "model.safetensors")
        for name, special in SPECIAL.items()
    ),
    Case("weights that do not fit", _detector(CONFIG), _load, SHORT_OF),
]
