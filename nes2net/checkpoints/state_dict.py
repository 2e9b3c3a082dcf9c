"""State dicts in files: reading, writing and comparing them. Nothing in a file is run.

A detector's ``.pth`` is the bare state dict that the published code saves and loads strictly. This
toolkit keeps what else it knows (the architecture, the recipe, how it was averaged) in the state
dict's own metadata, which PyTorch preserves and other code ignores.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nes2net.checkpoints.torch_file import read_torch_file
from nes2net.checkpoints.unpickling import Record
from nes2net.errors import InputError, listed
from nes2net.machine.files import replacing, writing

_METADATA = "nes2net"


def load_state_dict(path: str | Path, *, tensors_only: bool = False) -> OrderedDict[str, Tensor]:
    """Read the state dict of a checkpoint file, on the CPU; nothing in the file is ever executed.

    Reads a bare state dict (``.pth``, ``.pt``, ``.bin``), one under the key ``"model"`` or
    ``"state_dict"``, and safetensors. The ``module.`` that ``DataParallel`` puts before every name
    is removed. The tensors are views of the memory-mapped file: do not write to the file while they
    are in use.

    Args:
        tensors_only: also read a file that asks for functions; they are not called.

    Raises:
        InputError: if the file is missing or damaged, has no state dict, or asks for functions.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    return state_dict_of(read_torch_file(path, tensors_only)[0], path)


def state_dict_of(content: Any, path: str | Path) -> OrderedDict[str, Tensor]:
    """Return the state dict in the content of a checkpoint file.

    Raises:
        InputError: if there is no state dict in it.
    """
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = isinstance(content, dict) and content and all(isinstance(v, Tensor) for v in content.values())
    if not tensors or not all(isinstance(k, str) for k in content):
        raise InputError(f"{path} holds no state dict: expected names and tensors, found {_describe(content)}")
    metadata = metadata_of(content)
    if all(k.startswith("module.") for k in content):
        content = {k[len("module.") :]: v for k, v in content.items()}
    return with_metadata(content, metadata)


def metadata_of(state_dict: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Return the metadata that PyTorch keeps in an attribute of its state dicts, if there are any."""
    metadata = getattr(state_dict, "_metadata", None)
    return metadata if isinstance(metadata, dict) else None


def with_metadata(state_dict: Mapping[str, Tensor], metadata: dict[str, Any] | None) -> OrderedDict[str, Tensor]:
    """Copy a state dict, with ``metadata`` instead of its own."""
    copy = OrderedDict(state_dict)
    if metadata is not None:
        copy._metadata = metadata  # type: ignore[attr-defined]  # PyTorch's own attribute
    return copy


def _describe(content: Any) -> str:
    if isinstance(content, Record):
        return f"a pickled object of {content.class_name}: save its state_dict() with the code that made it"
    if isinstance(content, dict):
        return f"a dictionary with {', '.join(map(repr, list(content)[:5])) or 'nothing'}"
    return f"a {type(content).__name__}"


def _load_safetensors(path: Path) -> OrderedDict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"checkpoint {path} not found")
    try:
        return OrderedDict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is not a safetensors file or is damaged ({str(error)[:200]})") from error


def save_state_dict(state_dict: Mapping[str, Tensor], path: str | Path, **record: Any) -> None:
    """Write a bare state dict as ``torch.save`` does, with ``record`` (plain data) in its metadata.

    The file appears whole or not at all.
    """
    metadata = OrderedDict(metadata_of(state_dict) or {})
    metadata[""] = {**metadata.get("", {"version": 1}), _METADATA: record}
    with writing(path):
        save_atomically(with_metadata(state_dict, metadata), path)


def read_record(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the record of :func:`save_state_dict`; empty for a checkpoint of other code."""
    record: Any = metadata_of(state_dict)
    for key in ("", _METADATA):
        record = record.get(key) if isinstance(record, dict) else None
    return dict(record) if isinstance(record, dict) else {}


def save_atomically(content: Any, path: str | Path) -> None:
    """Write with ``torch.save`` under a temporary name, then rename.

    An interruption or a power cut leaves the old file, or no file.

    Raises:
        OSError: if the disk is full or the file cannot be written.
    """
    with replacing(path, durable=True) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's writer hides the error of the system behind its own
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


@dataclass
class Misfit:
    """The difference between a state dict and that of a model.

    Attributes:
        missing: names that only the model has.
        left_over: names that only the state dict has.
        shapes: for each tensor of another shape, its name and both shapes.
    """

    missing: list[str]
    left_over: list[str]
    shapes: list[str]

    def __len__(self) -> int:
        return len(self.missing) + len(self.left_over) + len(self.shapes)

    def __str__(self) -> str:
        parts = (("missing", self.missing), ("left over", self.left_over), ("other shape", self.shapes))
        return "; ".join(f"{title}: {listed(names, 5)}" for title, names in parts if names)


def compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Misfit:
    """Compare the names and shapes of two state dicts."""
    return Misfit(
        missing=[k for k in expected if k not in found],
        left_over=[k for k in found if k not in expected],
        shapes=[
            f"{k} {tuple(found[k].shape)} where {tuple(expected[k].shape)} is needed"
            for k in expected
            if k in found and found[k].shape != expected[k].shape
        ],
    )


def check_fit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str) -> None:
    """Check that two state dicts have the same names and shapes.

    Raises:
        InputError: if they differ; the message names the tensors.
    """
    if misfit := compare(found, expected):
        raise InputError(f"{path} does not fit this model; {misfit}. Give the options that it was trained with")
