"""Read, write and compare state dicts in files. Reading runs no code in a file.

A detector's ``.pth`` is a bare state dict, so that the published code can load it with
``strict=True``. Further facts, such as architecture and recipe, are in its metadata, which PyTorch
preserves and other code ignores.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nes2net.lib.errors import InputError, as_input_error, expecting, join_names, short_repr
from nes2net.lib.process.this_process import usable_processors
from nes2net.lib.storage.files import AnyPath, check_arrived, replacing, writing
from nes2net.lib.storage.plain_data import parse_json
from nes2net.models.checkpoints.torch_file import check_file, read_torch_file
from nes2net.models.checkpoints.unpickling import UnbuiltObject, plain

_METADATA = "nes2net"  # key of this toolkit's record in the metadata of a state dict
_MAX_TENSORS = 50_000
_MAX_NAME_LENGTH = 1000  # characters

# Keys under which training programs usually save a model.
_USUAL_KEYS = ("model", "state_dict", "model_state")
_MAX_CONTAINERS = 2  # largest number of dictionaries around a state dict
_MAX_HEADER = 1 << 24  # largest number of bytes of a safetensors header; it has about 150 bytes for each tensor

#: Name of a tensor → the tensor.
StateDict: TypeAlias = Mapping[str, Tensor]
#: Types of weights, and of counters such as the number of batches in batch normalisation.
WEIGHTS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
COUNTERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def load_state_dict(path: AnyPath, *, tensors_only: bool = False) -> OrderedDict[str, Tensor]:
    """Read the state dict of a checkpoint file into CPU memory; no code in the file is run.

    The file is a state dict, a dictionary that contains one (of several, under ``"model"``,
    ``"state_dict"`` or ``"model_state"``), or safetensors. ``module.`` of ``DataParallel`` is
    removed. The tensors are views of the memory-mapped file: do not write to it while they are in
    use.

    Args:
        tensors_only: whether to accept names of functions that no checkpoint needs, such as
            ``os.system``; they are never called.

    Raises:
        InputError: if the file is missing or damaged, has no state dict, or names such a function.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return state_dict_of(read_torch_file(path, tensors_only)[0], path)
    check_file(path)
    with expecting("a safetensors file", path, "copy or download it again"):
        check_arrived(path)
        with open(path, "rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > min(_MAX_HEADER, path.stat().st_size):
            raise ValueError(f"its header would take {header} bytes")
        tensors = load_file(path)
    return state_dict_of(tensors, path)


def state_dict_of(content: Any, path: AnyPath) -> OrderedDict[str, Tensor]:
    """Find the state dict in the content of a checkpoint file, without ``module.``, with plain metadata.

    Raises:
        InputError: if ``content`` has no state dict, several, or too much metadata.
    """
    state_dicts = _state_dicts_in(content)
    if len(state_dicts) > 1:
        keys = [".".join(map(short_repr, keys)) for keys in state_dicts]
        raise InputError(
            f"{path} holds several state dicts, {join_names(keys, 5)}: save only one of them with torch.save"
        )
    if state_dicts:
        (content,) = state_dicts.values()
    else:
        save_it = "save a state_dict() with torch.save"
        content_kind = f"a {type(content).__name__}: {save_it}"
        if isinstance(content, UnbuiltObject):
            content_kind = f"a pickled object of {content.class_name}: save its state_dict() with the code that made it"
        elif isinstance(content, dict):
            content_kind = f"a dictionary with {', '.join(map(short_repr, islice(content, 5))) or 'nothing'}: {save_it}"
        raise InputError(
            f"{path} holds no state dict: expected names and tensors, found {content_kind}: name another file"
        )
    if len(content) > _MAX_TENSORS:
        raise InputError(
            f"{path} holds {len(content):,} tensors, more than any model: use a checkpoint with at most {_MAX_TENSORS:,}"
        )
    metadata = _plain_metadata(metadata_of(content), path)
    # The prefix of ``DataParallel``.
    if all(k.startswith("module.") for k in content):
        content = {k[len("module.") :]: v for k, v in content.items()}
    return with_metadata(content, metadata)


def _plain_metadata(file_metadata: Mapping[Any, Any] | None, path: AnyPath) -> OrderedDict[str, dict[str, Any]] | None:
    # Keeps this toolkit's record, and the versions of modules, which PyTorch reads.
    if file_metadata is None:
        return None
    metadata: OrderedDict[str, dict[str, Any]] = OrderedDict()
    for module, entries in file_metadata.items():
        if isinstance(module, str) and isinstance(entries, dict):
            version = entries.get("version")
            record = entries.get(_METADATA)
            metadata[module] = {}
            if isinstance(record, str):
                with as_input_error(f"{path}: its record is damaged", ValueError, remedy="copy or download it again"):
                    record = parse_json(record, str(path))
            if isinstance(version, int):
                metadata[module]["version"] = version
            if isinstance(record, dict) and not module:
                metadata[module][_METADATA] = plain(record, f"{path}")
    return metadata


def _state_dicts_in(content: Any) -> Mapping[tuple[str, ...], StateDict]:
    """Find the state dicts on the outermost level that has any: path of keys → state dict.

    If one is under a key of ``_USUAL_KEYS``, only that one.
    """
    level: list[tuple[tuple[str, ...], Any]] = [((), content)]
    for _ in range(_MAX_CONTAINERS + 1):
        distinct = {
            id(value): (keys, value) for keys, value in level if isinstance(value, dict)
        }  # one may be under several keys
        state_dicts = {keys: value for keys, value in distinct.values() if _is_state_dict(value)}
        for key in _USUAL_KEYS:
            for keys, state_dict in state_dicts.items():
                if keys[-1:] == (key,):
                    return {keys: state_dict}
        if state_dicts:
            return state_dicts
        level = []
        for keys, container in distinct.values():
            level += [((*keys, key), value) for key, value in container.items() if isinstance(key, str)]
    return {}


def _is_state_dict(value: Any) -> bool:
    if not isinstance(value, dict) or not value:
        return False
    if not all(isinstance(tensor, Tensor) for tensor in value.values()):
        return False
    return all(isinstance(name, str) and len(name) <= _MAX_NAME_LENGTH for name in value)


def only_state_dict_in(content: Any) -> StateDict | None:
    """Return the state dict in the content of a checkpoint file; None unless there is exactly one."""
    state_dicts = list(_state_dicts_in(content).values())
    return state_dicts[0] if len(state_dicts) == 1 else None


def renamed(
    tensors: Mapping[str, Any], new_name: Callable[[str], str], path: AnyPath = "the checkpoint"
) -> dict[str, Any]:
    """Rename the ``tensors`` of ``path``, in their order.

    Raises:
        InputError: if two tensors get the same name.
    """
    old_names: dict[str, str] = {}
    for name in tensors:
        first = old_names.setdefault(new_name(name), name)
        if first != name:
            raise InputError(f"{path} holds one tensor under two names, {first} and {name}: remove one of them")
    return {name: tensors[old_name] for name, old_name in old_names.items()}


def replace_patterns(names: Mapping[str, str], name: str) -> str:
    """Translate the ``name`` of a tensor: replace the patterns of ``names``, one after the other."""
    for pattern, new_name in names.items():
        name = re.sub(pattern, new_name, name)
    return name


def rename_in_place(state_dict: dict[str, Any], prefix: str, new_name: Callable[[str], str]) -> None:
    """Rename the tensors under ``prefix``, as :func:`renamed`; ``new_name`` gets and returns names without it."""
    names = [name for name in state_dict if name.startswith(prefix)]
    tensors = {name.removeprefix(prefix): state_dict.pop(name) for name in names}
    for name, tensor in renamed(tensors, new_name).items():
        state_dict[prefix + name] = tensor


def rename_tensors(
    new_name: Callable[[Any, str], str], module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any
) -> None:
    """Rename the tensors of ``module`` in place, as a hook of state dicts.

    ``new_name`` gets ``module``, because copies of a module share its hooks.
    """
    rename_in_place(state_dict, prefix, partial(new_name, module))


def metadata_of(state_dict: StateDict) -> dict[str, Any] | None:
    """Return the metadata that PyTorch keeps in an attribute of a state dict."""
    metadata = getattr(state_dict, "_metadata", None)
    return metadata if isinstance(metadata, dict) else None


def with_metadata(state_dict: StateDict, metadata: dict[str, Any] | None) -> OrderedDict[str, Tensor]:
    """Copy a state dict, and give the copy ``metadata``."""
    copy = OrderedDict(state_dict)
    if metadata is not None:
        copy._metadata = metadata  # type: ignore[attr-defined]  # PyTorch's own attribute
    return copy


def save_state_dict(state_dict: StateDict, path: AnyPath, **record: Any) -> None:
    """Write a bare state dict with ``record`` in its metadata, atomically; equal content gives equal bytes."""
    metadata = OrderedDict(metadata_of(state_dict) or {})
    # JSON, because a pickle depends on which parts of the record are one object. Version 1: as PyTorch writes.
    metadata[""] = {**metadata.get("", {"version": 1}), _METADATA: json.dumps(record, default=short_repr)}
    with writing(path):
        save_atomically(with_metadata(state_dict, metadata), path)


def read_record(state_dict: StateDict) -> dict[str, Any]:
    """Return the ``record`` of :func:`save_state_dict`; empty for files of other code."""
    record: Any = metadata_of(state_dict)
    for key in ("", _METADATA):
        if isinstance(record, dict):
            record = record.get(key)
    return dict(record) if isinstance(record, dict) else {}


def save_atomically(content: Any, path: AnyPath) -> None:
    """Write ``content`` with ``torch.save``; an interruption or a power cut leaves the old file, or none.

    Raises:
        OSError: if the disk is full or the file cannot be written.
    """
    with replacing(path, durable=True) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch raises RuntimeError for system errors, such as a full disk
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


# Titles of the lists of a Misfit, in the order of its fields.
_TITLES = ("missing", "left over", "other shape", "other type", "NaN or infinite numbers")


@dataclass
class Misfit:
    """The differences between a state dict and that of a model.

    Attributes:
        missing: tensors that only the model has.
        left_over: tensors that only the state dict has.
        shapes: name and both shapes of each tensor with another shape.
        types: name and both types of each tensor with an unfit type, such as an integer weight.
        values: tensors with NaN or infinite numbers; not filled by :func:`compare`.
    """

    missing: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)
    shapes: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)

    def _titled_lists(self) -> Iterable[tuple[str, list[str]]]:
        return zip(_TITLES, vars(self).values())

    def __len__(self) -> int:
        """Number of differences."""
        return sum(len(names) for _, names in self._titled_lists())

    def __str__(self) -> str:
        return "; ".join(f"{title}: {join_names(names, 5)}" for title, names in self._titled_lists() if names)


def compare(state_dict: StateDict, expected: StateDict, *, exact_types: bool = False) -> Misfit:
    """Compare ``state_dict`` with the ``expected`` state dict of a model: names, shapes and kinds of numbers.

    Unless ``exact_types``, weights may have any floating-point type, and counters any type, because
    some programs average counters.
    """
    pairs = [(k, state_dict[k], expected[k]) for k in expected if k in state_dict]
    return Misfit(
        missing=[k for k in expected if k not in state_dict],
        left_over=[k for k in state_dict if k not in expected],
        shapes=[
            f"{k} {tuple(tensor.shape)} where {tuple(needed.shape)} is needed"
            for k, tensor, needed in pairs
            if tensor.shape != needed.shape
        ],
        types=[
            f"{k} {dtype_name(tensor)} where {dtype_name(needed)} is needed"
            for k, tensor, needed in pairs
            if not _type_fits(tensor.dtype, needed.dtype, exact_types)
        ],
    )


def _type_fits(dtype: torch.dtype, needed: torch.dtype, exact: bool) -> bool:
    if dtype == needed:
        return True
    if exact:
        return False
    if dtype in WEIGHTS:
        return needed in WEIGHTS + COUNTERS  # some programs average counters
    return {dtype, needed} <= {*COUNTERS}


def dtype_name(tensor: Tensor) -> str:
    """Return the name of a tensor's dtype, such as ``"float32"``."""
    return str(tensor.dtype).removeprefix("torch.")


def check_fit(state_dict: StateDict, expected: StateDict, path: str, *, exact_types: bool = False) -> None:
    """Check that ``state_dict`` has names, shapes and types of ``expected``, and finite weights.

    Raises:
        InputError: if they differ, or numbers are not finite; the message names the tensors.
    """
    if misfit := compare(state_dict, expected, exact_types=exact_types):
        raise InputError(f"{path} does not fit this model; {misfit}. Use the options that it was trained with")
    if names := not_finite(state_dict):
        raise InputError(
            f"{path} has NaN or infinite numbers in {join_names(names, 5)}, so that no score would be a number: use "
            "another checkpoint, such as an earlier epoch, or download it again"
        )


def not_finite(state_dict: StateDict) -> list[str]:
    """List the weights with NaN or infinite numbers; on the meta device, all are finite."""
    names = []
    for name, tensor in state_dict.items():
        if tensor.dtype not in WEIGHTS or tensor.is_meta:
            continue
        # A finite sum, which is much faster than isfinite(), proves finite numbers; an infinite one may only have
        # overflowed.
        total = tensor.sum(dtype=torch.promote_types(tensor.dtype, torch.float32))
        if not total.isfinite() and not tensor.isfinite().all():
            names.append(name)
    return names


def digest(state_dict: StateDict) -> bytes:
    """Compute the SHA-256 of names, types, shapes and numbers of all tensors, in their order.

    Threads hash tensors at the same time, as fast as the file is read.
    """

    def digest_of(name_and_tensor: tuple[str, Tensor]) -> bytes:
        name, tensor = name_and_tensor
        facts = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        numbers: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return hashlib.sha256(facts.encode()).digest() + hashlib.sha256(numbers).digest()

    with ThreadPoolExecutor(usable_processors()) as threads:
        return hashlib.sha256(b"".join(threads.map(digest_of, state_dict.items()))).digest()
