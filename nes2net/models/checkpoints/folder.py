"""Read and write detector folders, exchange folders with the hub, and find the bases of adapted detectors.

The base of an adapted detector is the set of frozen tensors of its front-end. The checkpoint of
such a detector does not contain the base. The checkpoint records the SHA-256 of the base, and the
file that holds the base.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from os.path import exists
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from nes2net.lib.errors import InputError, concerning, first_line, listed, shown
from nes2net.lib.files import is_absent, make_folder, replacing, temporary_folder, write_text, writing
from nes2net.lib.hub_errors import hub_errors
from nes2net.lib.yaml_text import read_yaml_file, write_yaml
from nes2net.models.checkpoints.huggingface import (
    CONFIG_FILE,
    MODEL_FILES,
    PREPROCESSOR_FILE,
    PROCESSOR_FILE,
    read_huggingface_folder,
)
from nes2net.models.checkpoints.model_types import types_of
from nes2net.models.checkpoints.state_dict import digest, load_state_dict

#: The file of all tensors of a detector, under the published names. In a folder with :data:`HEAD`, this file has only
#: the tensors of the front-end, under the names of the transformers library.
WEIGHTS = "model.safetensors"
#: The file of the tensors of aggregation and back-end, in a folder that the transformers library can read.
HEAD = "head.safetensors"
#: The file that describes the detector: its architecture and further facts.
CONFIG = "config.yaml"
#: Only these files of a repository are downloaded. Other files, such as the pickle ``training_args.bin``, are left out.
_FETCHED = [HEAD, CONFIG, *MODEL_FILES]
_HUB = "https://huggingface.co/"


def clear(folder: Path) -> None:
    """Make ``folder``, or remove the descriptions and the head in it, so that nobody loads a half-written folder."""
    with writing(folder, "name another folder"):
        make_folder(folder)
    for name in (CONFIG, HEAD, CONFIG_FILE, PREPROCESSOR_FILE, PROCESSOR_FILE):
        (folder / name).unlink(missing_ok=True)


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file under a temporary name, then rename it.

    The tensors may be memory-mapped from the old file at ``path``, so this file must not be
    overwritten. The safetensors library puts a temporary file of its own beside the file that it
    writes. The new file is therefore written to a temporary folder.
    """
    with writing(path), temporary_folder(path) as folder, replacing(path, durable=True) as temporary:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            save_file(weights, folder / path.name, metadata={"format": "pt"})
        except SafetensorError as error:  # such as a full disk
            raise OSError(0, first_line(error)) from error
        os.replace(folder / path.name, temporary)


def read_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a detector's folder: return the state dict under the published names, and the description.

    The description has the architecture under the key ``"model"``. The other keys are the keys of
    the argument ``record`` of :func:`write_description`.

    Raises:
        InputError: if the folder has no description, if the description has no model, or if a file
            is missing or damaged.
    """
    config_file = folder / CONFIG
    if is_absent(config_file):
        raise InputError(
            f"{folder} is not a detector folder: it has no {CONFIG} (to use a run folder, name one of its epoch_N.pth)"
        )
    description = read_yaml_file(config_file, None, str(config_file))
    frontend: Any = description
    for key in ("model", "frontend"):
        if isinstance(frontend, dict):
            frontend = frontend.get(key)
    if not isinstance(frontend, dict) or not isinstance(kind := frontend.get("name"), str):
        raise InputError(f"{config_file} does not describe a model: a mapping with the key 'model' is expected")
    if is_absent(folder / HEAD):
        return load_state_dict(folder / WEIGHTS), description
    frontend, _, _ = read_huggingface_folder(folder, types_of(kind), wanted_options=())
    state_dict = {f"ssl_model.model.{name}": tensor for name, tensor in frontend.items()}
    return {**state_dict, **load_state_dict(folder / HEAD)}, description


def write_description(folder: Path, config: dict[str, Any], record: dict[str, Any] | None = None) -> None:
    """Write :data:`CONFIG` into a detector's folder, with the architecture and ``record``.

    Args:
        config: the architecture (:attr:`nes2net.models.network.Network.config`).
        record: further plain data about the detector.
    """
    write_text(folder / CONFIG, write_yaml({"model": config, **(record or {})}))


#: Patterns of temporary files, which are not uploaded. An interrupted write may leave temporary files in the folder of
#: a detector or in its subfolders.
_TEMPORARY = [".*.tmp", "*/.*.tmp", ".*.tmp/*", "*/.*.tmp/*"]


def upload(folder: str | Path, name: str, private: bool = False, token: str | None = None) -> str:
    """Upload a detector's folder to the Hugging Face hub, and return the address of the repository.

    Args:
        name: ``owner/name``; the repository is created if it does not exist.
        private: make a new repository private.
        token: None for the token of ``hf auth login``.

    Raises:
        InputError: if the hub refuses the upload or cannot be reached.
    """
    from huggingface_hub import HfApi  # start-up

    with hub_errors(f"'{name}' was not pushed to the Hugging Face hub", f"{_HUB}{name}"):
        api = HfApi(token=token)
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name, folder_path=folder, commit_message="Upload detector", ignore_patterns=_TEMPORARY
        )
    return str(address)


def download(name: str) -> Path:
    """Download the model ``owner/name`` from the Hugging Face hub, and return its folder on this machine.

    Raises:
        InputError: if the model cannot be downloaded. If ``name`` is not the name of a repository,
            the message says that the checkpoint was not found.
    """
    if name.count("/") != 1 or name.startswith((".", "/")) or Path(name).suffix in (".pth", ".pt", ".safetensors"):
        raise InputError(f"checkpoint {name} not found")
    from huggingface_hub import snapshot_download  # start-up

    failed = f"'{name}' is not a file or folder here and was not fetched from the Hugging Face hub"
    with hub_errors(failed, f"{_HUB}{name}"):
        return Path(snapshot_download(name, allow_patterns=_FETCHED))


_SHOWN = 12  # number of digits of a SHA-256 that a message shows

#: Advice in messages about a missing or wrong base, for callers that have an argument ``base``.
NAME_IT = "name the base with `base`"


def base_digest(base: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of the names, types, shapes and numbers of the tensors in ``base``, sorted by name."""
    return digest(dict(sorted(base.items()))).hex()


def find_base(record: Any, checkpoint: Path, base: str | Path | None, remedy: str = NAME_IT) -> Path:
    """Find the file or folder that holds the base of ``checkpoint``: the frozen tensors of an adapted front-end.

    Args:
        record: ``{"digest": …, "file": …}`` from the checkpoint. If the file in the record does not
            exist, a file of the same name beside the checkpoint is taken.
        checkpoint: the file or folder of the adapted detector.
        base: path that the user gave for the base; None to take the file in the record.
        remedy: advice at the end of error messages.

    Raises:
        InputError: if the file or folder is missing, or ``record`` does not identify a base.
    """
    if not isinstance(record, dict) or not isinstance(record.get("digest"), str):
        raise InputError(f"{checkpoint} holds only the trained part of its front-end, and no record of its base")
    # Take the base that the user gave.
    if base is not None:
        if not exists(base):
            message = f"the base {base} was not found: name the file or folder that the detector was adapted from"
            if remedy != NAME_IT:
                message += f" ({remedy})"
            raise InputError(message)
        return Path(base)
    # Otherwise, find the base at its path in ``record``. The base may have been moved together with the checkpoint.
    if isinstance(file := record.get("file"), str) and file:
        folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
        for path in (Path(file), folder / file, folder / Path(file).name, checkpoint.parent / Path(file).name):
            if exists(path) and path != checkpoint:  # the checkpoint and its base may have the same name
                return path
    raise InputError(
        f"{checkpoint} holds only the trained part of its front-end, and its base {shown(file)} is neither there "
        f"nor beside it: {remedy}"
    )


def read_base(
    path: Path,
    names: set[str],
    record: Mapping[str, Any],
    checkpoint: Path,
    read: Callable[[Path], dict[str, Tensor]],
    remedy: str = NAME_IT,
) -> dict[str, Tensor]:
    """Read the base of ``checkpoint``, check its digest, and return its tensors under their published names.

    Args:
        path: the file or folder of the base, from :func:`find_base`.
        names: the published names of the tensors that belong to the base.
        record, remedy: :func:`find_base` explains these arguments.
        read: function that reads the tensors in ``path``; the result may include tensors that do
            not belong to the base.

    Raises:
        InputError: if ``path`` cannot be read, if it lacks a tensor of the base, or if the digest
            of the tensors differs from the digest in ``record``.
    """
    with concerning(f"the base of {checkpoint} cannot be read:"):
        tensors = read(path)
    if missing := sorted(names - tensors.keys()):
        raise InputError(f"{path} is not the base of {checkpoint}: it lacks {listed(missing, 3)}; {remedy}")
    base = {name: tensor for name, tensor in tensors.items() if name in names}
    sha256 = base_digest(base)
    expected = record["digest"]
    if sha256 != expected:
        raise InputError(
            f"{path} is not the base of {checkpoint}: the SHA-256 of its tensors is {sha256[:_SHOWN]}…, not "
            f"{expected[:_SHOWN]}…; {remedy}"
        )
    return base
