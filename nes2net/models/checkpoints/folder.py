"""Read and write detector folders."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from nes2net.lib.errors import InputError, first_line
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.files import is_absent, replacing, temporary_folder, writing, writing_folder
from nes2net.lib.storage.yaml_text import read_yaml_file
from nes2net.models.checkpoints.classification import DETECTOR_FILE, describe_other_folder
from nes2net.models.checkpoints.huggingface import (
    CONFIG_FILE,
    PREPROCESSOR_FILE,
    PROCESSOR_FILE,
    check_no_adapter,
    read_huggingface_folder,
)
from nes2net.models.checkpoints.model_types import types_of
from nes2net.models.checkpoints.state_dict import StateDict, load_state_dict

#: The tensors of a detector, under the published names; beside :data:`HEAD`, only the front-end's,
#: under the transformers library's names.
WEIGHTS = "model.safetensors"
#: The file of the tensors of aggregation and back-end, in a folder that the transformers library can read.
HEAD = "head.safetensors"
#: The file that describes the detector: its architecture and further facts.
CONFIG = DETECTOR_FILE


@contextmanager
def replacing_detector(folder: Path) -> Iterator[None]:
    """Within :func:`writing_folder`, first remove descriptions and head: nobody loads a half-written detector."""
    with writing_folder(folder):
        for name in (CONFIG, HEAD, CONFIG_FILE, PREPROCESSOR_FILE, PROCESSOR_FILE):
            (folder / name).unlink(missing_ok=True)
        yield


def write_tensors(tensors: StateDict, path: Path) -> None:
    """Write a safetensors file in a temporary folder, then rename it.

    ``tensors`` may be memory-mapped from the old file. The library's own temporary file is in the
    folder, too.
    """
    with writing(path), temporary_folder(path) as folder, replacing(path, durable=True) as temporary:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            save_file(weights, folder / path.name, metadata={"format": "pt"})
        except SafetensorError as error:  # such as a full disk
            raise OSError(0, first_line(error)) from error
        os.replace(folder / path.name, temporary)


def read_folder(folder: Path) -> tuple[StateDict, Facts]:
    """Read a detector's folder: return the state dict under the published names, and the description.

    The description has the architecture (``"model"``) and the record of
    :meth:`nes2net.Detector.save`.

    Raises:
        InputError: if description or model are missing, or a file is damaged.
    """
    check_no_adapter(folder)
    config_file = folder / CONFIG
    if is_absent(config_file):
        raise InputError(f"{folder} is not a detector folder: {describe_other_folder(folder)}")
    description = read_yaml_file(config_file, None, str(config_file))
    frontend: Any = description
    for key in ("model", "frontend"):
        if isinstance(frontend, dict):
            frontend = frontend.get(key)
    if not isinstance(frontend, dict) or not isinstance(kind := frontend.get("name"), str):
        raise InputError(
            f"{config_file} does not describe a model: a mapping with the key 'model' is expected; copy or download the folder again"
        )
    if is_absent(folder / HEAD):
        return load_state_dict(folder / WEIGHTS), description
    encoder = read_huggingface_folder(folder, types_of(kind), wanted_options=()).state_dict
    state_dict = {f"ssl_model.model.{name}": tensor for name, tensor in encoder.items()}
    head = load_state_dict(folder / HEAD)
    if repeated := head.keys() & state_dict.keys():
        raise InputError(
            f"{folder / HEAD} holds {min(repeated)}, which {WEIGHTS} holds, too: copy or download the folder again"
        )
    return {**state_dict, **head}, description
