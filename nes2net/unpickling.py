"""Reading ``torch.save`` files without running anything in them.

A pickle is a program: it names functions and calls them. Here it may call for tensors and plain containers only. Every other class becomes
a :class:`Record`, which keeps what it is given and does nothing; a name that a checkpoint has no use for (``os.system``) ends the reading.
"""

from __future__ import annotations

import pickle
import struct
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from nes2net.errors import InputError

# What torch.save wrote before PyTorch 1.6, in front of everything else.
_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128,
    "ComplexFloatStorage": torch.complex64,
    "UntypedStorage": torch.uint8,
}

# Data classes of the standard library and of PyTorch that real checkpoints carry; all of them become records.
_HARMLESS = (
    "argparse.Namespace",
    "typing.",
    "pathlib.",
    "datetime.",
    "enum.",
    "torch.nn.",
    "torch.optim.",
    "torch.device",
)
_HARMLESS_BUILTINS = (
    "int",
    "long",
    "float",
    "complex",
    "bool",
    "str",
    "unicode",
    "bytes",
    "tuple",
    "object",
    "slice",
    "NoneType",
)


class Record:
    """An object of a class that was not rebuilt: its arguments, items, elements and state, and no behaviour."""

    class_name = ""

    def __new__(cls, *arguments: Any) -> Record:
        self = super().__new__(cls)
        self.arguments, self.state, self.items, self.elements = arguments, None, {}, []
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, element: Any) -> None:
        self.elements.append(element)

    def extend(self, elements: Any) -> None:
        self.elements.extend(elements)


class Refused(pickle.UnpicklingError):
    """The pickle names something that a checkpoint has no use for."""


def read_torch_file(path: Path, tensors_only: bool = False) -> tuple[Any, list[str]]:
    """Content of a ``torch.save`` file (zip archive, or the format before PyTorch 1.6) and the classes that became records.

    Tensors of a zip archive are views of the memory-mapped file, which must not be written to while they live. Its checksums are
    verified. ``tensors_only`` makes a record of refused names too.

    Raises:
        InputError: missing, damaged, another kind of file, or a pickle that names what a checkpoint has no use for.
    """
    if not path.is_file():
        raise InputError(f"checkpoint {path} not found")
    records: set[str] = set()
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            content = (_read_zip if zipped else _read_legacy)(path, file, records, tensors_only)
        _check_sizes(content, path.stat().st_size)
    except InputError:
        raise
    except Refused as error:
        raise InputError(
            f"{path} was not read: {error}, which could run code and has no place in a checkpoint; nothing was run. If it is a "
            "configuration class that should be known, report the name; its tensors alone come with "
            "load_state_dict(path, tensors_only=True)"
        ) from error
    except Exception as error:  # a damaged pickle fails in whatever way its bytes happen to ask for
        reason = (str(error).strip().splitlines() or [""])[0][:200] or type(error).__name__
        raise InputError(f"{path} is no checkpoint or is damaged ({reason}): copy or download it again") from error
    return content, sorted(records)


def _read_zip(path: Path, file: BinaryIO, records: set[str], tensors_only: bool) -> Any:
    with zipfile.ZipFile(file) as archive:
        if any(name.endswith("/constants.pkl") for name in archive.namelist()):
            raise InputError(
                f"{path} is a TorchScript program, not a checkpoint: save its state_dict() with torch.save"
            )
        members = _members(archive, path.stat().st_size)
        if "data.pkl" not in members:
            raise InputError(f"{path} is a zip archive and no checkpoint: it has no data.pkl")
        if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
            raise InputError(f"{path} was written on a big-endian machine: save it again on another")
        if damaged := archive.testzip():
            raise InputError(f"{path} is damaged at '{damaged}' (its checksum differs): copy or download it again")
        mapped = torch.UntypedStorage.from_file(str(path), False, path.stat().st_size)
        storages: dict[str, torch.UntypedStorage] = {}

        def storage_of(key: str, num_bytes: int) -> torch.UntypedStorage:
            if key not in storages:
                member = members[f"data/{key}"]
                if num_bytes > member.file_size:
                    raise ValueError(f"storage {key} has {member.file_size} bytes, not {num_bytes}")
                start = _data_offset(file, member)
                storage = mapped[start : start + num_bytes] if num_bytes else torch.UntypedStorage(0)
                storages[key] = storage if start % 8 == 0 else storage.clone()
            return storages[key]

        with archive.open(members["data.pkl"]) as stream:
            return _TensorUnpickler(stream, members["data.pkl"].file_size, storage_of, records, tensors_only).load()


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Members by their name below the archive's one folder; refuses what torch.save never writes."""
    members = {}
    for member in archive.infolist():
        folder, _, name = member.filename.partition("/")
        parts = member.filename.split("/")
        if not folder or not name or {"..", "."} & set(parts) or "\\" in member.filename or ":" in folder:
            raise ValueError(f"'{member.filename[:80]}' is no member of a checkpoint")
        if name in members:
            raise ValueError(f"'{name[:80]}' is there twice")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"'{name[:80]}' is compressed, which torch.save never does")
        members[name] = member
    if sum(member.file_size for member in members.values()) > size:
        raise ValueError("its members claim more bytes than the file has")
    return members


def _data_offset(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes start: after its local header, whose two variable fields have lengths of their own."""
    file.seek(member.header_offset + 26)
    name, extra = struct.unpack("<HH", file.read(4))
    return member.header_offset + 30 + name + extra


def _read_legacy(path: Path, file: BinaryIO, records: set[str], tensors_only: bool) -> Any:
    """The format before PyTorch 1.6: five pickles, then each storage's number of elements and bytes."""
    size = path.stat().st_size
    storages: dict[str, torch.UntypedStorage] = {}

    def storage_of(key: str, num_bytes: int) -> torch.UntypedStorage:
        if key not in storages:
            if num_bytes + sum(len(s) for s in storages.values()) > size:
                raise ValueError(f"storage {key} claims more bytes than the file has")
            storages[key] = torch.UntypedStorage(num_bytes)
        return storages[key]

    def load() -> Any:
        return _TensorUnpickler(file, size, storage_of, records, tensors_only).load()

    if load() != _LEGACY_MAGIC or load() != _LEGACY_PROTOCOL:
        raise ValueError("it does not begin as a checkpoint does")
    load()  # byte order and integer sizes of the machine that wrote it: little-endian on every machine that is still used
    content = load()
    for key in load():
        file.read(8)  # the number of elements, which the pickle gave
        buffer = torch.empty(0, dtype=torch.uint8).set_(storages[key]).numpy()
        if file.readinto(memoryview(buffer)) != len(buffer):
            raise EOFError("it ends too early")
    return content


class _TensorUnpickler(pickle._Unpickler):  # in Python: its memo is a dict, so that a damaged index costs no memory
    def __init__(
        self,
        file: Any,
        size: int,
        storage_of: Callable[[str, int], torch.UntypedStorage],
        records: set[str],
        tensors_only: bool,
    ) -> None:
        super().__init__(_Bounded(file, size), encoding="utf-8")
        self.storage_of, self.records, self.tensors_only = storage_of, records, tensors_only

    def find_class(self, module: str, name: str) -> Any:
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if self.proto < 3:  # which torch.save writes, with Python 2's names
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full_name = f"{module}.{name}"
        if function := _FUNCTIONS.get(full_name):
            return function
        if not self.tensors_only and _refused(full_name):
            raise Refused(f"it asks for {full_name[:120]}")
        self.records.add(full_name)
        return type("Record", (Record,), {"class_name": full_name})

    def persistent_load(self, saved_id: Any) -> _Storage:
        kind, dtype, key, _location, numel = saved_id[:5]
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(numel, int) or numel < 0:
            raise ValueError("a tensor's storage is described in an unknown way")
        if any(view is not None for view in saved_id[5:]):
            raise ValueError("storages that are views of others are not read: load and save it with a newer PyTorch")
        return _Storage(self.storage_of(str(key), numel * dtype.itemsize), dtype)

    def get_extension(self, code: int) -> Any:
        raise Refused(f"it asks for the registered extension {code}")

    def load_build(self) -> None:
        # State goes to records and, as PyTorch's metadata, to ordered dictionaries: nothing else may be changed by a file.
        target = self.stack[-2]
        if isinstance(target, OrderedDict):
            state = self.stack.pop()
            if isinstance(state, dict) and isinstance(state.get("_metadata"), dict):
                target._metadata = state["_metadata"]
        elif isinstance(target, Record):
            super().load_build()
        else:
            raise Refused(f"it sets the state of a {type(target).__name__}")

    def load_bytearray8(self) -> None:
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))  # the library's own reserves what is claimed before it reads

    dispatch: ClassVar = {
        **pickle._Unpickler.dispatch,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }


class _Bounded:
    """A stream of ``size`` bytes that reserves no memory for more."""

    def __init__(self, stream: Any, size: int) -> None:
        self.stream, self.size, self.readline = stream, size, stream.readline

    def read(self, length: int) -> bytes:
        if length > self.size:
            raise EOFError(f"it claims to hold {length} bytes in one piece")
        return self.stream.read(length)


class _Storage:
    """Bytes and what they are numbers of."""

    __slots__ = ("data", "dtype")

    def __init__(self, data: torch.UntypedStorage, dtype: torch.dtype) -> None:
        self.data, self.dtype = data, dtype


def _refused(full_name: str) -> bool:
    """Whether a name is one of the standard library's or PyTorch's that is no data class."""
    package = full_name.partition(".")[0]
    if package not in sys.stdlib_module_names and package != "torch":
        return False
    builtin = full_name.removeprefix("builtins.")
    return not (full_name.startswith(_HARMLESS) or (builtin != full_name and builtin in _HARMLESS_BUILTINS))


def _rebuild_tensor(storage: _Storage, offset: int, size: tuple, stride: tuple, *_: Any) -> Tensor:
    whole = torch.empty(0, dtype=storage.dtype).set_(storage.data)
    return whole.as_strided(tuple(size), tuple(stride), offset)  # set_ would enlarge a storage that is too small


def _rebuild_tensor_of(
    storage: _Storage, offset: int, size: tuple, stride: tuple, _grad: Any, _hooks: Any, dtype: torch.dtype, *_: Any
) -> Tensor:
    return _rebuild_tensor(_Storage(storage.data, dtype), offset, size, stride)


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise TypeError("a parameter is no tensor")
    return data


def _container(kind: type) -> Callable[..., Any]:
    def build(items: Any = ()) -> Any:
        if not isinstance(items, (list, tuple, dict, set, frozenset)):
            raise TypeError(f"a {kind.__name__} is made of items")
        return kind(items)

    return build


def _default_dict(_factory: Any = None, items: Any = ()) -> dict:
    return _container(dict)(items)


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise ValueError("bytes are encoded in an unknown way")
    return text.encode("latin1")


def _reconstruct(cls: type, _base: Any, _state: Any) -> Record:
    if not (isinstance(cls, type) and issubclass(cls, Record)):
        raise TypeError("an object is made of no class")
    return cls()


def _enum_member(cls: type, name: Any) -> Record:
    """``getattr(Class, "MEMBER")``, as Python 3.11 writes enumerations; anything else is refused."""
    if not (isinstance(cls, type) and issubclass(cls, Record) and isinstance(name, str)):
        raise Refused("it asks for builtins.getattr")
    return cls(name)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_of,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch.Size": _container(tuple),
    "collections.OrderedDict": _container(OrderedDict),
    "collections.defaultdict": _default_dict,
    "collections.Counter": _container(dict),
    "collections.deque": lambda items=(), _length=None: _container(deque)(items),
    "builtins.set": _container(set),
    "builtins.frozenset": _container(frozenset),
    "builtins.list": _container(list),
    "builtins.dict": _container(dict),
    "builtins.getattr": _enum_member,
    "_codecs.encode": _encode,
    "copyreg._reconstructor": _reconstruct,
}


def walk(content: Any) -> Iterator[Any]:
    """Everything in nested containers and records, each object once however often it is referred to."""
    seen, queue = set(), [content]
    while queue:
        value = queue.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            queue += value.values()
        elif isinstance(value, (list, tuple, set, frozenset, deque)):
            queue += value
        elif isinstance(value, Record):
            queue += [value.arguments, value.state, value.items, value.elements]


def _check_sizes(content: Any, file_size: int) -> None:
    """A tensor may repeat its storage (stride 0); one that is larger than the whole file was made to exhaust memory."""
    for value in walk(content):
        if isinstance(value, Tensor) and value.numel() * value.element_size() > max(file_size, 1 << 20):
            raise ValueError(f"a tensor of {tuple(value.shape)} is larger than the file")
