"""Checkpoint files: reading without running anything from them, writing under the published names, and telling how two differ.

A detector's ``.pth`` is the bare state dict that the published code saves and loads strictly. What this toolkit knows besides (the
architecture, the recipe, how it was averaged) travels in the state dict's own metadata, which PyTorch keeps and other code ignores.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nes2net.checkpoints.torch_file import read_torch_file
from nes2net.checkpoints.unpickling import Record
from nes2net.errors import InputError, listed
from nes2net.machine.files import replacing

_METADATA = "nes2net"


def load_state_dict(path: str | Path, *, tensors_only: bool = False) -> OrderedDict[str, Tensor]:
    """State dict of a checkpoint file, on the CPU; nothing in the file is ever executed.

    Reads a bare state dict (``.pth``, ``.pt``, ``.bin``), one under the key ``"model"`` or ``"state_dict"``, and safetensors. The
    ``module.`` that ``DataParallel`` puts before every name is taken off. The tensors are views of the memory-mapped file, which must
    not be written to while they live.

    Args:
        tensors_only: also read a file that asks for functions; they are not called.

    Raises:
        InputError: missing, damaged, without a state dict, or asking for what a checkpoint has no use for.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    return state_dict_of(read_torch_file(path, tensors_only)[0], path)


def state_dict_of(content: Any, path: str | Path) -> OrderedDict[str, Tensor]:
    """The state dict in what a checkpoint file holds; :class:`InputError` where there is none."""
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = isinstance(content, dict) and content and all(isinstance(v, Tensor) for v in content.values())
    if not tensors or not all(isinstance(k, str) for k in content):
        raise InputError(f"{path} holds no state dict: expected names and tensors, found {_describe(content)}")
    metadata = getattr(content, "_metadata", None)
    if all(k.startswith("module.") for k in content):
        content = {k[len("module.") :]: v for k, v in content.items()}
    state_dict = OrderedDict(content)
    if isinstance(metadata, dict):
        state_dict._metadata = metadata
    return state_dict


def _describe(content: Any) -> str:
    if isinstance(content, Record):
        return f"a pickled object of {content.class_name}: save its state_dict() with the code that made it"
    if isinstance(content, dict):
        return f"a dictionary with {', '.join(map(repr, list(content)[:5])) or 'nothing'}"
    return f"a {type(content).__name__}"


def _load_safetensors(path: Path) -> OrderedDict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise InputError(f"checkpoint {path} not found")
    try:
        return OrderedDict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no safetensors file or is damaged ({str(error)[:200]})") from error


def save_state_dict(state_dict: Mapping[str, Tensor], path: str | Path, **record: Any) -> None:
    """Write a bare state dict as ``torch.save`` does, with ``record`` (plain data) in its metadata.

    The file appears complete or not at all.
    """
    out = OrderedDict(state_dict)
    metadata = OrderedDict(getattr(state_dict, "_metadata", {}))
    metadata[""] = {**metadata.get("", {"version": 1}), _METADATA: record}
    out._metadata = metadata
    save_atomically(out, path)


def read_record(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """What :func:`save_state_dict` put beside the tensors; empty for a checkpoint of other code."""
    record = getattr(state_dict, "_metadata", {})
    for key in ("", _METADATA):
        record = record.get(key) if isinstance(record, dict) else None
    return dict(record) if isinstance(record, dict) else {}


def save_atomically(content: Any, path: str | Path) -> None:
    """``torch.save`` under a temporary name, then renamed: an interruption or a power cut leaves the old file or none.

    A full disk raises ``OSError``.
    """
    with replacing(path, durable=True) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's writer complains of what the system refused it
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


@dataclass
class Misfit:
    """How a state dict differs from a model's: names, and for other shapes what is needed."""

    missing: list[str]
    left_over: list[str]
    shapes: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.left_over or self.shapes)

    def __len__(self) -> int:
        return len(self.missing) + len(self.left_over) + len(self.shapes)

    def __str__(self) -> str:
        parts = (("missing", self.missing), ("left over", self.left_over), ("other shape", self.shapes))
        return "; ".join(f"{title}: {listed(names, 5)}" for title, names in parts if names)


def compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Misfit:
    """What of ``expected`` is missing in ``found``, what is left over there, and what has another shape."""
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
    """Raise :class:`InputError` naming keys that are missing, left over, or of another shape; return None where all fit."""
    if misfit := compare(found, expected):
        raise InputError(f"{path} does not fit this model; {misfit}. Give the options it was trained with")
