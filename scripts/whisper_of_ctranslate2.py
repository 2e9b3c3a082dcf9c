#!/usr/bin/env python3
"""Convert the encoder of a Whisper model of CTranslate2, such as faster-whisper's, to a Hugging Face folder.

    .venv/bin/python scripts/whisper_of_ctranslate2.py MODEL_BIN OUT [--seconds 30] [--layers N]

MODEL_BIN is the file model.bin. The front-end `whisper` reads OUT (`ssl_checkpoint=OUT`). With
--seconds, the encoder keeps the positions of the first seconds only: waveforms are then padded to
that length, and the attention reads less padding than in pre-training. With --layers, the encoder
ends after its first layers, and the final layer norm follows them.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nes2net.lib.errors import InputError, shown
from nes2net.lib.files import json_text, read_bounded, write_text
from nes2net.models.checkpoints.folder import WEIGHTS, clear, write_tensors
from nes2net.models.checkpoints.huggingface import CONFIG_FILE, PREPROCESSOR_FILE
from nes2net.models.checkpoints.mel_encoders import FRAMES_PER_SECOND, WHISPER

_LARGEST_FILE = 1 << 32  # bytes; large-v3 in float16 has 3.1 GB
_MOST_VARIABLES = 10_000  # large-v3 has about 1,500
_VERSIONS = (4, 5, 6)  # of the format; older files state the size of an item instead of its type
#: CTranslate2's number of a type → the type. bfloat16 has number 5, which NumPy does not know.
_TYPES = {0: np.dtype("<f4"), 1: np.dtype("i1"), 2: np.dtype("<i2"), 3: np.dtype("<i4"), 4: np.dtype("<f2")}
#: The file's name of a module → the transformers library's name, in the encoder and in its layer N.
_MODULES = {
    "conv1": "conv1",
    "conv2": "conv2",
    "layer_norm": "layer_norm",
    "layer_N/self_attention/layer_norm": "layers.N.self_attn_layer_norm",
    "layer_N/self_attention/linear_1": "layers.N.self_attn.out_proj",
    "layer_N/ffn/layer_norm": "layers.N.final_layer_norm",
    "layer_N/ffn/linear_0": "layers.N.fc1",
    "layer_N/ffn/linear_1": "layers.N.fc2",
}
_NUMBERS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


class Reader:
    """Reads numbers and texts from the bytes of a file, in order."""

    def __init__(self, content: bytes) -> None:
        self.content = memoryview(content)
        self.position = 0

    def take(self, num_bytes: int) -> memoryview:
        """Return the next ``num_bytes`` bytes.

        Raises:
            ValueError: if the file has fewer bytes.
        """
        start = self.position
        self.position += num_bytes
        if self.position > len(self.content):
            raise ValueError(f"{num_bytes:,} bytes are expected at byte {start:,} of {len(self.content):,}")
        return self.content[start : self.position]

    def number(self, num_bytes: int) -> int:
        """Read an unsigned number of ``num_bytes`` bytes."""
        return int.from_bytes(self.take(num_bytes), "little")

    def text(self) -> str:
        """Read a text, which ends with a null byte that its length includes."""
        return bytes(self.take(self.number(2))).removesuffix(b"\0").decode()


def read_variables(path: Path) -> dict[str, np.ndarray]:
    """Read the variables of the encoder in a ``model.bin`` of Whisper, under their names without ``encoder/``.

    Raises:
        InputError: if the file is damaged or too large, or holds another model.
    """
    reader = Reader(read_bounded(path, _LARGEST_FILE, "name the model.bin of a Whisper model"))
    variables = {}
    try:
        version = reader.number(4)
        if version not in _VERSIONS:
            raise ValueError(f"version {version} of the format; versions 4 to 6 are read")
        if (model := reader.text()) != "WhisperSpec":
            raise ValueError(f"a model of type {shown(model)}; WhisperSpec is read")
        reader.number(4)  # revision of the type
        num_variables = reader.number(4)
        if num_variables > _MOST_VARIABLES:
            raise ValueError(f"{num_variables:,} variables; at most {_MOST_VARIABLES:,} are read")
        for _ in range(num_variables):
            name = reader.text()
            shape = [reader.number(4) for _ in range(reader.number(1))]
            type_number = reader.number(1)
            data = reader.take(reader.number(4))
            if not name.startswith("encoder/"):
                continue
            if type_number not in _TYPES:
                raise ValueError(f"{shown(name)} has type {type_number}; float32 and float16 are read")
            item_type = _TYPES[type_number]
            if math.prod(shape) * item_type.itemsize != len(data):
                raise ValueError(f"{shown(name)} of shape {shape} has {len(data):,} bytes")
            variables[name.removeprefix("encoder/")] = np.frombuffer(data, item_type).reshape(shape)
    except ValueError as error:  # UnicodeDecodeError too
        raise InputError(f"{path} is not a Whisper model of CTranslate2 or is damaged: {error}") from error
    return variables


def encoder_of(variables: dict[str, np.ndarray]) -> tuple[dict[str, Tensor], int]:
    """Give the variables of an encoder the transformers library's names; return the tensors and the number of heads.

    Raises:
        ValueError: if a variable is missing or has a wrong shape, or the model is quantised.
    """
    arrays = dict(variables)
    if any(name.endswith("weight_scale") for name in arrays):
        raise ValueError("quantised weights: convert the model with --quantization float16")
    tensors = {}
    try:
        num_heads = int(arrays.pop("num_heads").item())
        positions = arrays.pop("position_encodings/encodings")
        tensors["embed_positions.weight"] = positions
        dim = positions.shape[-1]
        for name in list(arrays):
            if match := re.fullmatch(r"layer_(\d+)/self_attention/linear_0/(weight|bias)", name):
                # One projection makes queries, keys and values; that of the keys has no bias.
                fused = arrays.pop(name)
                query, key, value = fused.reshape(3, dim, *fused.shape[1:])
                prefix = f"layers.{match[1]}.self_attn."
                tensors[f"{prefix}q_proj.{match[2]}"] = query
                tensors[f"{prefix}v_proj.{match[2]}"] = value
                if match[2] == "weight":
                    tensors[f"{prefix}k_proj.weight"] = key
                elif key.any():
                    raise ValueError(f"the bias of the keys in {shown(name)} is not 0")
        for name in list(arrays):
            module, _, numbers = name.rpartition("/")
            layer = re.match(r"layer_(\d+)/", module)
            general = re.sub(r"^layer_\d+/", "layer_N/", module)
            if general in _MODULES and numbers in _NUMBERS:
                library_module = _MODULES[general].replace("N", layer[1] if layer else "N")
                tensors[f"{library_module}.{_NUMBERS[numbers]}"] = arrays.pop(name)
    except KeyError as error:
        raise ValueError(f"no variable encoder/{error.args[0]}") from error
    floating = (np.dtype("<f4"), np.dtype("<f2"))
    if wrong := [name for name, array in tensors.items() if array.dtype not in floating]:
        raise ValueError(f"{shown(wrong[0])} is not float32 or float16")
    return {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}, num_heads


def convert(model: Path, out: Path, seconds: int = 30, layers: int | None = None) -> None:
    """Write the encoder in the file ``model`` as the Hugging Face folder ``out``.

    Args:
        seconds: length to which the front-end pads waveforms; at most that of the positions in
            ``model``, which is 30 s in published models.
        layers: number of transformer layers to keep, from the first; None keeps all.

    Raises:
        InputError: if ``model`` is damaged, another model or quantised, or has fewer positions or
            layers.
    """
    try:
        tensors, num_heads = encoder_of(read_variables(model))
        num_layers = sum(name.endswith("fc1.weight") for name in tensors)
        if layers is not None:
            if not 0 < layers <= num_layers:
                raise ValueError(f"{layers} layers are not 1 to {num_layers}, its number of layers")
            for number in range(layers, num_layers):
                tensors = {name: t for name, t in tensors.items() if not name.startswith(f"layers.{number}.")}
            num_layers = layers
        positions = tensors["embed_positions.weight"]
        num_positions = seconds * FRAMES_PER_SECOND
        if not 0 < num_positions <= len(positions):
            raise ValueError(f"{seconds} s are not 1 to {len(positions) // FRAMES_PER_SECOND} s, its length")
        tensors["embed_positions.weight"] = positions[:num_positions]
        dim, num_mel_bins, _ = tensors["conv1.weight"].shape
        config = {
            "model_type": WHISPER.model_type,
            "num_mel_bins": num_mel_bins,
            "max_source_positions": num_positions,
            "encoder_layers": num_layers,
            "d_model": dim,
            "encoder_ffn_dim": len(tensors["layers.0.fc1.weight"]),
            "encoder_attention_heads": num_heads,
        }
    except (KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{model} has no encoder that the front-end `whisper` computes: {error}") from error
    extractor = {
        **WHISPER.features,
        "feature_extractor_type": WHISPER.extractor,
        "feature_size": num_mel_bins,
        "chunk_length": seconds,
    }
    clear(out)
    write_tensors(tensors, out / WEIGHTS)
    write_text(out / PREPROCESSOR_FILE, json_text(extractor, indent=1) + "\n")
    write_text(out / CONFIG_FILE, json_text(config, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 2 after an error that the user can correct."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path, metavar="MODEL_BIN", help="file model.bin of a Whisper model")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument("--seconds", type=int, default=30, help="seconds of positions to keep (default 30)")
    parser.add_argument("--layers", type=int, help="transformer layers to keep (default: all)")
    args = parser.parse_args(arguments)
    try:
        convert(args.model, args.out, args.seconds, args.layers)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
