"""Checkpoint files: reading without running anything from them, writing under the published names, and telling how two differ.

A detector's ``.pth`` is the bare state dict that the published code saves and loads strictly. What this toolkit knows besides (the
architecture, the recipe, how it was averaged) travels in the state dict's own metadata, which PyTorch keeps and other code ignores.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nes2net.errors import InputError

_METADATA = "nes2net"


def read_pickle(path: str | Path, *, inert: Iterable[str] = (), inert_class: type | None = None) -> Any:
    """Read a ``torch.save`` file holding tensors and plain containers only; any other class in it is refused, not built.

    ``inert`` names classes to be replaced by ``inert_class``, which must do nothing with what it is given.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path} not found")
    allowed = [(inert_class, name) for name in inert]
    try:
        with torch.serialization.safe_globals([*allowed, *_plain_globals()] if allowed else []):
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:  # written before PyTorch 1.6: no zip archive to map
                if "mmap" not in str(error):
                    raise
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"{path} was not read: {_refused(error)}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
        raise InputError(
            f"{path} is no checkpoint or is damaged ({_first_line(error)}): copy or download it again"
        ) from error


def _plain_globals() -> list[Any]:
    """Constructors of plain data that fairseq's files call by name: containers, and NumPy arrays and scalars in the task state."""
    import numpy as np

    multiarray = np._core.multiarray if hasattr(np, "_core") else np.core.multiarray
    numpy_functions = [
        (getattr(multiarray, function), f"numpy.{core}.multiarray.{function}")
        for core in ("core", "_core")
        for function in ("_reconstruct", "scalar")
    ]
    numpy_types = [np.ndarray, np.dtype, *{type(np.dtype(code)) for code in "?bBhHiIlLqQefdSU"}]
    return [dict, list, int, *numpy_functions, *numpy_types]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _refused(error: Exception) -> str:
    """PyTorch's page-long refusal in one line."""
    for line in str(error).splitlines():
        if "GLOBAL" in line or "Unsupported" in line or "class" in line.lower():
            return f"it holds more than tensors and plain data ({line.strip()[:200]}); such a file could run code"
    return f"it is damaged or holds more than tensors and plain data ({_first_line(error)})"


def load_state_dict(path: str | Path) -> OrderedDict[str, Tensor]:
    """State dict of a checkpoint file, on the CPU; nothing in the file is ever executed.

    Reads a bare state dict (``.pth``, ``.pt``), one under the key ``"model"`` or ``"state_dict"``, and safetensors. The
    ``module.`` that ``DataParallel`` puts before every name is taken off. Zip-format files are memory-mapped.

    Raises:
        InputError: missing, damaged, or with anything in it but tensors and plain data.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    content = read_pickle(path)
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = isinstance(content, dict) and content and all(isinstance(v, Tensor) for v in content.values())
    if not tensors:
        raise InputError(f"{path} holds no state dict: expected names and tensors, found {_describe(content)}")
    metadata = getattr(content, "_metadata", None)
    if all(k.startswith("module.") for k in content):
        content = {k[len("module.") :]: v for k, v in content.items()}
    state_dict = OrderedDict(content)
    if metadata is not None:
        state_dict._metadata = metadata
    return state_dict


def _describe(content: Any) -> str:
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
        raise InputError(f"{path} is no safetensors file or is damaged ({_first_line(error)})") from error


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
    return dict(getattr(state_dict, "_metadata", {}).get("", {}).get(_METADATA, {}))


def save_atomically(content: Any, path: str | Path) -> None:
    """``torch.save`` under a temporary name, then renamed: an interruption leaves the old file or none."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(content, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_fit(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: str) -> None:
    """Raise :class:`InputError` naming keys that are missing, left over, or of another shape; return None where all fit."""
    missing = [k for k in expected if k not in found]
    left_over = [k for k in found if k not in expected]
    shapes = [
        f"{k} {tuple(found[k].shape)} where {tuple(expected[k].shape)} is needed"
        for k in expected
        if k in found and found[k].shape != expected[k].shape
    ]
    parts = [
        f"{title}: {_some(names)}"
        for title, names in (("missing", missing), ("left over", left_over), ("other shape", shapes))
        if names
    ]
    if parts:
        raise InputError(f"{path} does not fit this model; {'; '.join(parts)}. Give the options it was trained with")


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
