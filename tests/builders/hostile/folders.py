"""Detector folders and Hugging Face folders, and the options of parts."""

from __future__ import annotations

import json
import os
from functools import partial

from builders.hostile import Case, cases
from builders.hostile.making import maker, pipe

_SSL = {"name": "wav2vec2_small", "encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 16}
_CONFIG = "model:\n  frontend: {name: lps, n_fft: 128, num_bins: 20}\n  backend: asp_mlp\n"
_HUGGING_FACE = {
    **{"model_type": "wav2vec2", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4},
    **{"intermediate_size": 16, "feat_extract_norm": "layer", "conv_dim": [8] * 7},
    **{"conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2]},
    **{"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4},
}


def _convolutions(*layers):
    return {**_SSL, "conv_feature_layers": list(layers)}


def _weights(path):
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, path)


@maker
def _detector(folder, config):
    """A detector folder with this ``config.yaml``, and weights that fit no model."""
    (folder / "config.yaml").write_text(config)
    _weights(folder / "model.safetensors")
    return folder


def _options(frontend):
    return _detector(json.dumps({"model": {"frontend": frontend, "backend": "asp_mlp"}}))  # JSON is YAML


@maker
def _hugging_face(folder, config, index=None):
    """A Hugging Face folder with this ``config.json``, and weights that fit no model, or an index of files."""
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if index is None:
        _weights(folder / "model.safetensors")
    else:
        (folder / "model.safetensors.index.json").write_text(index)
        os.mkfifo(folder / "a pipe")
    return folder


def _load(folder):
    from nes2net import Detector

    return Detector.from_pretrained(folder, device="cpu")


def _frontend(folder):
    from nes2net import create_frontend

    return create_frontend("wav2vec2", folder)


def doubled(times: int) -> str:
    """A list that YAML's anchors double so many times."""
    lists = [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, times)]
    return "\n".join(["a0: &a0 [x, x]", *lists]) + "\n"


_DOUBLED = doubled(40) + "model: {frontend: {name: lps}, backend: {name: nes2net_x, nes_ratio: *a39}}"
# The form of YAML is checked as that of recipes.
_YAML = {
    "an option doubled 40 times": (_DOUBLED, "aliases and tags are not allowed"),
    "a text of 10 MB": (_CONFIG + "a: " + "x" * 10**7, "is longer than"),
    "a checkpoint": (
        "model: {frontend: {name: hubert, checkpoint: /dev/zero}, backend: sls}",
        "no option 'checkpoint'",
    ),
}
# Options of parts that a folder states; tests/models/test_registry.py tries the limits of each.
_OPTIONS = {
    "a frame per sample": (_convolutions([8, 1, 1]), "from one frame to the next"),
    "a frame of all samples": (_convolutions(*[[8, 4096, 4096]] * 16), "samples that conv_feature_layers read"),
}
_JSON = {
    "nested 100,000 deep": ("[" * 100_000 + "]" * 100_000, "nested more than 100 deep"),
    "nested 99 deep": ('{"a": ' + "[" * 99 + "]" * 99 + "}", "nested more than 32 deep"),
}
_INDEX = {
    f"names {file!r}": (json.dumps({"weight_map": {"a": file}}), "which is not a file beside it")
    for file in ("../other.bin", "a pipe", ["x"])
}

CASES = [
    *cases(_load, _YAML, "config.yaml: ", _detector),
    *cases(_load, _OPTIONS, make=_options),
    *cases(_frontend, _JSON, "config.json: ", _hugging_face),
    Case(
        "many layers",
        _hugging_face({**_HUGGING_FACE, "num_hidden_layers": 2**31}),
        _frontend,
        "encoder_layers must be ",
    ),
    *cases(_frontend, _INDEX, "index: ", partial(_hugging_face, _HUGGING_FACE)),
    Case(
        "config.yaml is a pipe",
        lambda folder: pipe("config.yaml")(folder).parent,
        _load,
        "config.yaml: is a named pipe",
    ),
    Case("weights that do not fit", _detector(_CONFIG), _load, "does not fit"),
]
