"""Read and write detector folders, and find the bases of adapted detectors.

A base is the frozen tensors of an adapted front-end. The detector's checkpoint records only its
SHA-256 and the file that holds it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os.path import exists
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from nes2net.lib.errors import InputError, first_line, join_names, short_repr
from nes2net.lib.parts.options import Options
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
from nes2net.models.checkpoints.published_names import unwrap_frontend
from nes2net.models.checkpoints.state_dict import StateDict, digest, load_state_dict, read_record
from nes2net.models.registry import create_frontend

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


def read_folder(folder: Path) -> tuple[StateDict, dict[str, Any]]:
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


_NUM_DIGITS = 12  # number of digits of a SHA-256 that a message shows

#: Advice in messages about a missing or wrong base, for callers that have an argument ``base``.
NAME_THE_BASE = "name the base with `base`"


def base_digest(base: StateDict) -> str:
    """Compute the SHA-256 of names, types, shapes and numbers of the tensors, sorted by name."""
    return digest(dict(sorted(base.items()))).hex()


def read_base(
    record: Any,
    checkpoint: Path,
    base: str | Path | None,
    frontend: Options,
    names: set[str],
    remedy: str = NAME_THE_BASE,
) -> tuple[Path, StateDict]:
    """Find and read the base of ``checkpoint``, check its digest, and return its path and tensors.

    Args:
        record: ``{"digest": …, "file": …}`` from the checkpoint. A missing file is replaced by one
            of the same name beside the checkpoint.
        base: path that the user gave; None for the file in the record.
        frontend: name and options of the front-end, to read a pre-training file.
        names: published names of the base's tensors.

    Raises:
        InputError: if the base is missing, cannot be read, lacks a tensor, or has another digest.
    """
    if not isinstance(record, dict) or not isinstance(expected := record.get("digest"), str):
        raise InputError(
            f"{checkpoint} holds only the trained part of its front-end, and no record of its base: use the checkpoint as it "
            "was first saved"
        )
    path = _find_base(record.get("file"), checkpoint, remedy) if base is None else Path(base)
    if not exists(path):
        message = f"the base {base} was not found: name the file or folder that the detector was adapted from"
        if remedy != NAME_THE_BASE:
            message += f" ({remedy})"
        raise InputError(message)
    try:
        tensors = tensors_of_base(path, frontend)
    except InputError as error:
        raise InputError(f"the base of {checkpoint} cannot be read: {error}") from error
    if missing := sorted(names - tensors.keys()):
        raise InputError(f"{path} is not the base of {checkpoint}: it lacks {join_names(missing, 3)}; {remedy}")
    tensors = {name: tensor for name, tensor in tensors.items() if name in names}
    sha256 = base_digest(tensors)
    if sha256 != expected:
        raise InputError(
            f"{path} is not the base of {checkpoint}: the SHA-256 of its tensors is {sha256[:_NUM_DIGITS]}…, not "
            f"{expected[:_NUM_DIGITS]}…; {remedy}"
        )
    return path, tensors


def _find_base(file: Any, checkpoint: Path, remedy: str) -> Path:
    # The base may have been moved together with the checkpoint.
    if isinstance(file, str) and file:
        folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
        for path in (Path(file), folder / file, folder / Path(file).name, checkpoint.parent / Path(file).name):
            if exists(path) and path != checkpoint:  # the checkpoint and its base may have the same name
                return path
    raise InputError(
        f"{checkpoint} holds only the trained part of its front-end, and its base {short_repr(file)} is neither there "
        f"nor beside it: {remedy}"
    )


def tensors_of_base(path: Path, frontend: Options) -> StateDict:
    """Read the tensors of a front-end from ``path`` under the published names; of a detector, all tensors.

    Args:
        path: a detector, the ``base.pth`` of a run, or a pre-training file.
    """
    state_dict: StateDict = {}
    is_detector = not is_absent(path / CONFIG)
    if is_detector:
        state_dict = read_folder(path)[0]
    elif path.is_file():
        with suppress(InputError):  # other kinds of pre-training files are read below, by create_frontend()
            state_dict = load_state_dict(path)
            is_detector = "model" in read_record(state_dict)
    state_dict = unwrap_frontend(state_dict)
    if is_detector or any(name.startswith("ssl_model.") for name in state_dict):
        return dict(state_dict)
    options = {key: value for key, value in frontend.items() if key not in ("name", "adapt")}
    tensors = create_frontend(frontend["name"], path, **options).state_dict()
    return {f"ssl_model.{name}": tensor for name, tensor in tensors.items()}
