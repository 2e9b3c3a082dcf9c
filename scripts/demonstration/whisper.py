"""Convert the encoder of a Whisper model of CTranslate2, such as faster-whisper's, to a Hugging Face folder.

    .venv/bin/python scripts/demonstration/whisper.py MODEL_BIN OUT [--seconds 30] [--layers N]

MODEL_BIN is the file model.bin. The front-end `whisper` reads OUT (`ssl_checkpoint=OUT`). With
--seconds, the encoder keeps the positions of the first seconds only: waveforms are then padded to
that length, and the attention reads less padding than in pre-training. With --layers, the encoder
ends after its first layers, and the final layer norm follows them.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.files import json_text, read_bounded, write_text
from nes2net.models.checkpoints.folder import WEIGHTS, replacing_detector, write_tensors
from nes2net.models.checkpoints.huggingface import CONFIG_FILE, PREPROCESSOR_FILE
from nes2net.models.checkpoints.mel_encoders import FRAMES_PER_SECOND, WHISPER

_MAX_FILE = 1 << 32  # bytes; large-v3 in float16 has 3.1 GB
_VERSIONS = (4, 5, 6)  # of the format; older files state the size of an item instead of its type
#: CTranslate2's number of a type → the type. bfloat16 has number 5, which NumPy does not know.
_TYPES: dict[int, np.dtype] = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}
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
    """Reads numbers and texts from the bytes of a file, in order; ValueError at the end of the file."""

    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)

    def take(self, num_bytes: int) -> bytes:
        content = self.file.read(num_bytes)
        if len(content) < num_bytes:
            raise ValueError(f"{num_bytes:,} bytes are expected before the end of the file, not {len(content):,}")
        return content

    def number(self, num_bytes: int) -> int:
        return int.from_bytes(self.take(num_bytes), "little")

    def text(self) -> str:
        """Read a text, which ends with a null byte that its length includes."""
        return self.take(self.number(2)).removesuffix(b"\0").decode()

    def array(self, name: str) -> NDArray:
        shape = [self.number(4) for _ in range(self.number(1))]
        type_number = self.number(1)
        if type_number not in _TYPES:
            raise ValueError(f"{short_repr(name)} has type {type_number}; float32 and float16 are read")
        item_type = _TYPES[type_number]
        content = self.take(self.number(4))
        if math.prod(shape) * item_type.itemsize != len(content):
            raise ValueError(f"{short_repr(name)} of shape {shape} has {len(content):,} bytes")
        return np.frombuffer(content, item_type).reshape(shape)


def read_variables(path: Path) -> dict[str, NDArray]:
    """Read the variables of the encoder in a ``model.bin`` of Whisper, under their names without ``encoder/``.

    Raises:
        InputError: if the file is damaged or too large, or holds another model.
    """
    reader = Reader(read_bounded(path, _MAX_FILE, "name the model.bin of a Whisper model"))
    variables = {}
    try:
        version = reader.number(4)
        if version not in _VERSIONS:
            raise ValueError(f"version {version} of the format; versions 4 to 6 are read")
        model = reader.text()
        if model != "WhisperSpec":
            raise ValueError(f"a model of type {short_repr(model)}; WhisperSpec is read")
        reader.number(4)  # revision of the type
        for _ in range(reader.number(4)):
            name = reader.text()
            array = reader.array(name)
            if name.startswith("encoder/"):
                variables[name.removeprefix("encoder/")] = array
    except ValueError as error:  # UnicodeDecodeError too
        raise InputError(f"{path} is not a Whisper model of CTranslate2 or is damaged: {error}") from error
    return variables


def split_projections(variables: dict[str, NDArray]) -> dict[str, NDArray]:
    """Give variables the transformers library's names; the projection to queries, keys and values becomes three.

    Raises:
        ValueError: if the bias of the keys is not 0.
    """
    tensors: dict[str, NDArray] = {}
    for name, array in variables.items():
        module, _, kind = name.rpartition("/")
        layer = re.match(r"layer_(\d+)/", module)
        number = layer[1] if layer else "N"
        general = re.sub(r"^layer_\d+/", "layer_N/", module)
        if general == "layer_N/self_attention/linear_0":
            prefix = f"layers.{number}.self_attn."
            query, key, value = array.reshape(3, len(array) // 3, *array.shape[1:])
            tensors |= {f"{prefix}q_proj.{kind}": query, f"{prefix}v_proj.{kind}": value}
            if kind == "weight":
                tensors[f"{prefix}k_proj.weight"] = key
            elif key.any():
                raise ValueError(f"the bias of the keys in {short_repr(name)} is not 0")
        elif general in _MODULES and kind in _NUMBERS:
            tensors[f"{_MODULES[general].replace('N', number)}.{_NUMBERS[kind]}"] = array
    return tensors


def encoder_of(variables: dict[str, NDArray], seconds: int, layers: int | None) -> tuple[dict, dict]:
    """Return the tensors of the encoder and its configuration, cut to ``seconds`` and ``layers``.

    Raises:
        ValueError: if the model is quantised, or has fewer positions or layers.
        KeyError: if a variable is missing.
    """
    if any(name.endswith("weight_scale") for name in variables):
        raise ValueError("quantised weights: convert the model with --quantization float16")
    positions = variables["position_encodings/encodings"]
    tensors = {"embed_positions.weight": positions, **split_projections(variables)}
    for name, array in tensors.items():
        if array.dtype.kind != "f":
            raise ValueError(f"{short_repr(name)} is not float32 or float16")
    num_layers = sum(name.endswith("fc1.weight") for name in tensors)
    num_kept = num_layers if layers is None else layers
    if not 0 < num_kept <= num_layers:
        raise ValueError(f"{num_kept} layers are not 1 to {num_layers}, its number of layers")
    num_positions = seconds * FRAMES_PER_SECOND
    if not 0 < num_positions <= len(positions):
        raise ValueError(f"{seconds} s are not 1 to {len(positions) // FRAMES_PER_SECOND} s, its length")
    tensors["embed_positions.weight"] = positions[:num_positions]
    for number in range(num_kept, num_layers):
        tensors = {name: array for name, array in tensors.items() if not name.startswith(f"layers.{number}.")}
    dim, num_mel_bins, _ = tensors["conv1.weight"].shape
    config = {
        "model_type": WHISPER.model_type,
        "num_mel_bins": num_mel_bins,
        "max_source_positions": num_positions,
        "encoder_layers": num_kept,
        "d_model": dim,
        "encoder_ffn_dim": len(tensors["layers.0.fc1.weight"]),
        "encoder_attention_heads": int(variables["num_heads"].item()),
    }
    return {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}, config


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
    variables = read_variables(model)
    try:
        tensors, config = encoder_of(variables, seconds, layers)
    except KeyError as error:
        raise InputError(f"{model} has no variable encoder/{error.args[0]}") from error
    except ValueError as error:
        raise InputError(f"{model} has no encoder that the front-end `whisper` computes: {error}") from error
    extractor = {
        **WHISPER.features,
        "feature_extractor_type": WHISPER.extractor,
        "feature_size": config["num_mel_bins"],
        "chunk_length": seconds,
    }
    with replacing_detector(out):
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
