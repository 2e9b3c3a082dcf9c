"""Detector folders (safetensors, YAML configuration, model card), also on the Hugging Face hub, and their bases.

The base of an adapted detector is the set of frozen tensors of its front-end, which the checkpoint
leaves out. The checkpoint records the SHA-256 of the base and the file that holds the base.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from os.path import exists
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from nes2net.lib.errors import InputError, listed, shown
from nes2net.lib.files import make_folder, replacing, temporary_folder, write_text, writing
from nes2net.lib.hub_errors import hub_errors
from nes2net.lib.yaml_text import read_yaml_file, write_yaml
from nes2net.models.checkpoints.huggingface import CONFIG_FILE, PREPROCESSOR_FILE, read_huggingface_folder
from nes2net.models.checkpoints.model_types import types_of
from nes2net.models.checkpoints.state_dict import digest, load_state_dict

#: All tensors of a detector under the published names. If the folder also has :data:`HEAD`, only the tensors of the
#: front-end, under the names of the transformers library.
WEIGHTS = "model.safetensors"
#: The tensors of aggregation and back-end, in a folder whose front-end the transformers library can read.
HEAD = "head.safetensors"
CONFIG = "config.yaml"
#: What is fetched of a repository; pickles such as ``training_args.bin`` are not.
_FETCHED = [WEIGHTS, HEAD, CONFIG, CONFIG_FILE, PREPROCESSOR_FILE, "pytorch_model.bin"]
_HUB = "https://huggingface.co/"


def clear(folder: Path) -> None:
    """Make ``folder``, or remove its description, so that a half-written folder cannot be loaded as a detector."""
    with writing(folder, "name another folder"):
        make_folder(folder)
    for name in (CONFIG, HEAD, CONFIG_FILE, PREPROCESSOR_FILE):
        (folder / name).unlink(missing_ok=True)


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a safetensors file under a temporary name, then rename it.

    ``path`` may be the file that the tensors are mapped from, so it is not overwritten. safetensors
    writes a temporary file of its own beside its target, so the target is in a temporary folder.
    """
    with writing(path), temporary_folder(path) as folder, replacing(path, durable=True) as temporary:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(weights, folder / path.name, metadata={"format": "pt"})
        os.replace(folder / path.name, temporary)


def read_folder(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the weights of a detector's folder under the published names, and the description.

    The description contains the architecture under the key ``"model"``, and the keys of the record.

    Raises:
        InputError: if the folder has no description, or a part is missing or damaged.
    """
    config_file = folder / CONFIG
    if not config_file.is_file():
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
    if not (folder / HEAD).is_file():
        return load_state_dict(folder / WEIGHTS), description
    frontend, _, _ = read_huggingface_folder(folder, types_of(kind), known=())
    state_dict = {f"ssl_model.model.{name}": tensor for name, tensor in frontend.items()}
    return {**state_dict, **load_state_dict(folder / HEAD)}, description


def write_description(folder: Path, config: dict[str, Any], record: dict[str, Any] | None = None) -> None:
    """Write the architecture of a detector's folder, and the record of the detector."""
    write_text(folder / CONFIG, write_yaml({"model": config, **(record or {})}))


#: Files that an interrupted write may have left in a folder, at its top or below.
_TEMPORARY = [".*.tmp", "*/.*.tmp", ".*.tmp/*", "*/.*.tmp/*"]


def upload(folder: str | Path, name: str, private: bool = False, token: str | None = None) -> str:
    """Upload a detector's folder to the Hugging Face hub as ``owner/name`` and return its address.

    The repository is created if it does not exist.
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
    """Download a model from the Hugging Face hub and return its folder.

    A name that cannot be a repository on the hub is reported as a missing file.
    """
    if name.count("/") != 1 or name.startswith((".", "/")) or Path(name).suffix in (".pth", ".pt", ".safetensors"):
        raise InputError(f"checkpoint {name} not found")
    from huggingface_hub import snapshot_download  # start-up

    failed = f"'{name}' is not a file or folder here and was not fetched from the Hugging Face hub"
    with hub_errors(failed, f"{_HUB}{name}"):
        return Path(snapshot_download(name, allow_patterns=_FETCHED))


_SHOWN = 12  # digits of a SHA-256 in a message
#: What the message about a missing or wrong base advises, if the caller has an argument ``base``.
NAME_IT = "name the base with `base`"


def base_digest(base: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and numbers of tensors; their order does not matter."""
    return digest(dict(sorted(base.items()))).hex()


def find_base(record: Any, checkpoint: Path, base: str | Path | None, remedy: str = NAME_IT) -> Path:
    """The file or folder that holds the base of ``checkpoint``.

    Args:
        record: ``{"digest": …, "file": …}`` from the checkpoint. The file may also be beside the
            checkpoint.
        base: the file or folder that the user names; None for the file in the record.
        remedy: the part of the error message that says what to do.

    Raises:
        InputError: if the file or folder is missing, or ``record`` does not identify a base.
    """
    if not isinstance(record, dict) or not isinstance(record.get("digest"), str):
        raise InputError(f"{checkpoint} holds only the trained part of its front-end, and no record of its base")
    if base is not None:
        if not exists(base):
            message = f"the base {base} was not found: name the file or folder that the detector was adapted from"
            if remedy != NAME_IT:
                message += f" ({remedy})"
            raise InputError(message)
        return Path(base)
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
    """Read and check the base of ``checkpoint``; return its tensors under their published names.

    Args:
        path: the result of :func:`find_base`.
        names: the published names of the base's tensors.
        record, remedy: as for :func:`find_base`.
        read: function that reads ``path``; the result may contain further tensors.

    Raises:
        InputError: if ``path`` cannot be read, or its tensors have another digest.
    """
    try:
        tensors = read(path)
    except InputError as error:
        raise InputError(f"the base of {checkpoint} cannot be read: {error}") from error
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
