"""Read files of ``torch.save``: the zip archive, and the format before PyTorch 1.6.

Archives are memory-mapped, and checksums verified. ``torch.load`` with ``weights_only=True`` runs
no code either, but a file can make it crash, hang or reserve memory without limit
(docs/architecture.md).
"""

from __future__ import annotations

import codecs
import math
import os
import re
import struct
import zipfile
from collections import deque
from collections.abc import Callable, Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import torch
from torch import Tensor

from nes2net.lib.errors import InputError, first_line
from nes2net.lib.process.this_process import is_out_of_memory
from nes2net.lib.storage.files import Budget, check_arrived
from nes2net.lib.storage.guarded_pickle import Exceeded, PickleRefused
from nes2net.models.checkpoints.unpickling import TensorUnpickler, UnbuiltObject

#: A function that returns a storage. The arguments are the key and the number of bytes of the storage.
_StorageOf: TypeAlias = Callable[[str, int], torch.UntypedStorage]
#: A function that reads the next pickle in a stream and returns its content. The arguments are the stream, the number
#: of bytes in the stream, and a :data:`_StorageOf`.
_Unpickle: TypeAlias = Callable[[Any, int, _StorageOf], Any]

# The beginning of a file of torch.save before PyTorch 1.6.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# Tensors may take at most 4 times the bytes of their file: more than the file if they repeat a storage (a stride of 0)
# or share it (tied weights).
_MAX_EXPANSION = 4
_ALWAYS_FIT = 1 << 28  # number of bytes that tensors may take even if the file is small

# Pattern of the first bytes of a file that is not a checkpoint → kind of the file.
_OTHER_KINDS = {
    rb".{8}WAVE": "a recording (WAV)",
    rb".{8}AIF": "a recording (AIFF)",
    rb"fLaC": "a recording (FLAC)",
    rb"OggS": "a recording (Ogg)",
    rb"ID3|\xff[\xfb\xf3]": "a recording (MP3)",
    rb"\xff\xf1": "a recording (AAC)",
    rb".{4}ftyp": "a recording (MP4)",
    rb"\x1a\x45\xdf\xa3": "a recording (WebM)",
    rb"\x30\x26\xb2\x75": "a recording (WMA)",
    rb"\.snd": "a recording (AU)",
    rb"NIST_1A": "a recording (SPHERE)",
    rb"PAR1": "a Parquet file",
    rb"\x89PNG": "a picture",
    rb"%PDF": "a PDF file",
    rb".{257}ustar": "a tar archive",
}
_NAME_WEIGHTS = "name the file that holds the weights"
_COPY_AGAIN = "copy or download it again"
_MAX_STEPS = 6_000_000  # largest number of instructions in a pickle; a pickle of 1,000 tensors has about 110,000
_REMEDY = "if it is a checkpoint all the same, save only its state_dict() with torch.save"


def read_torch_file(path: Path, tensors_only: bool = False) -> tuple[Any, list[str]]:
    """Read a file of ``torch.save``; return its content, and the classes replaced by records.

    Tensors may be views of the memory-mapped file: do not write to it while they are in use.

    Args:
        tensors_only: whether objects of refused classes also become records, not errors.

    Raises:
        InputError: if the file is missing, damaged or of another kind, or names a function that no
            checkpoint needs.
    """
    check_file(path)
    records: dict[str, type[UnbuiltObject]] = {}
    beginning = b""
    try:
        with open(path, "rb") as file:
            beginning = file.read(1024)
            for pattern, kind in _OTHER_KINDS.items():
                if re.match(pattern, beginning, re.DOTALL):
                    raise InputError(f"{path} is {kind}, not a checkpoint", remedy=_NAME_WEIGHTS)
            zipped = beginning.startswith(b"PK\x03\x04")
            check_arrived(path, beginning, packed=zipped)
            file.seek(0)
            size = path.stat().st_size
            most_bytes = max(_MAX_EXPANSION * size, _ALWAYS_FIT)
            budget = Budget(str(path), most_bytes, most_steps=_MAX_STEPS, size=size, remedy=_REMEDY)

            def unpickle(stream: Any, num_bytes: int, storage_of: _StorageOf) -> Any:
                return TensorUnpickler(stream, num_bytes, budget, storage_of, records, tensors_only).load()

            read = _read_zip if zipped else _read_legacy
            content = read(path, file, unpickle)
        budget.take("tensors, repeated parts included", bytes=_num_bytes_of_tensors(content))
    except InputError:
        raise
    except PickleRefused as error:
        raise InputError(
            f"{path} was not read: {error}, which could run code and has no place in a checkpoint; nothing was run. If it is a "
            "configuration class that should be known, report the name; only its tensors come with "
            "load_state_dict(path, tensors_only=True)"
        ) from error
    except Exceeded as error:
        raise InputError(f"{path} was not read: {error}; {_REMEDY}") from error
    except Exception as error:  # a damaged pickle may raise any exception
        raise _describe_failure(path, error, beginning) from error
    return content, sorted(records)


def _describe_failure(path: Path, error: Exception, beginning: bytes) -> InputError:
    if isinstance(error, OSError) and not is_out_of_memory(error):
        return InputError(f"{path} cannot be read ({error.strerror}): check its permissions and its disk")
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(beginning)  # the last character may be cut off
    if all(c.isprintable() or c.isspace() for c in text) and "\ufffd" not in text:
        return InputError(f"{path} is a text file, not a checkpoint", remedy=_NAME_WEIGHTS)
    if is_out_of_memory(error):
        return InputError(
            f"{path} does not fit into the memory of this machine ({first_line(error)}): free some; or it is damaged"
        )
    return InputError(f"{path} is not a checkpoint or is damaged ({first_line(error)})", remedy=_COPY_AGAIN)


def check_file(path: Path) -> None:
    """Raise :class:`InputError` unless ``path`` is a file."""
    if not os.path.isfile(path):  # isfile() returns False, and raises no error, if a name is too long
        raise InputError(f"checkpoint {path} not found: check the path")


def _read_zip(path: Path, file: BinaryIO, unpickle: _Unpickle) -> Any:
    """Read the archive of PyTorch 1.6 and later: one member for the pickle, one for each storage."""
    size = path.stat().st_size
    with zipfile.ZipFile(file) as archive:
        last_names = {name.rpartition("/")[2] for name in archive.namelist()}
        if "constants.pkl" in last_names:
            raise InputError(
                f"{path} is a TorchScript program, not a checkpoint: save its state_dict() with torch.save"
            )
        if "data.pkl" not in last_names:
            raise InputError(f"{path} is a zip archive but not a checkpoint: unpack it, or {_NAME_WEIGHTS}")
        members: dict[str, zipfile.ZipInfo] = {}  # name below the archive's only folder → member
        for member in archive.infolist():  # raises an error for a member that torch.save never writes
            folder, _, name = member.filename.partition("/")
            odd = {"..", "."} & set(member.filename.split("/")) or "\\" in member.filename or ":" in folder
            if not folder or not name or odd:
                raise ValueError(f"'{member.filename[:80]}' is not a member of a checkpoint")
            if name in members:
                raise ValueError(f"'{name[:80]}' occurs twice")
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"'{name[:80]}' is compressed, which torch.save never does")
            members[name] = member
        if sum(member.file_size for member in members.values()) > size:
            raise ValueError("its members claim more bytes than the file has")
        # The archive must be complete, and from a little-endian machine.
        if "byteorder" in members and archive.open(members["byteorder"]).read(7) != b"little":
            raise InputError(f"{path} was written on a big-endian machine: save it again on a little-endian one")
        if damaged := archive.testzip():
            raise InputError(f"{path} is damaged at '{damaged}' (its checksum differs)", remedy=_COPY_AGAIN)
        # A storage is a part of the mapped file. The storage is made when the unpickler asks for it.
        mapped = torch.UntypedStorage.from_file(str(path), False, size)
        storages: dict[str, torch.UntypedStorage] = {}

        def storage_of(key: str, num_bytes: int) -> torch.UntypedStorage:
            if key not in storages:
                member = members[f"data/{key}"]
                if num_bytes > member.file_size:
                    raise ValueError(f"storage {key} has {member.file_size} bytes, not {num_bytes}")
                # A header of 30 bytes ends with the lengths of two fields. After the header come the fields, and then
                # the data.
                file.seek(member.header_offset + 26)
                start = member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
                storage = torch.UntypedStorage(0, device="cpu")
                if num_bytes:
                    storage = mapped[start : start + num_bytes]
                if start % 8:  # copy the bytes, because a view needs aligned numbers
                    storage = storage.clone()
                storages[key] = storage
            return storages[key]

        with BufferedReader(archive.open(members["data.pkl"])) as stream:  # type: ignore[type-var]
            return unpickle(stream, members["data.pkl"].file_size, storage_of)


def _read_legacy(path: Path, file: BufferedReader, unpickle: _Unpickle) -> Any:
    """Read the format before PyTorch 1.6: five pickles, then length and bytes of each storage."""
    size = path.stat().st_size
    storages: dict[str, torch.UntypedStorage] = {}

    def storage_of(key: str, num_bytes: int) -> torch.UntypedStorage:
        """Return a storage whose bytes are read after all pickles."""
        if key not in storages:
            if num_bytes + sum(len(s) for s in storages.values()) > size:
                raise ValueError(f"storage {key} claims more bytes than the file has")
            storages[key] = torch.UntypedStorage(num_bytes, device="cpu")
        return storages[key]

    def load() -> Any:
        return unpickle(file, size, storage_of)

    # Five pickles: magic number, version, facts of the machine, content, and keys of the storages.
    if load() != _LEGACY_MAGIC or load() != _LEGACY_PROTOCOL:
        raise ValueError("it does not begin as a checkpoint does")
    load()  # skip the facts of the machine that wrote the file; every machine wrote storages in little-endian order
    content = load()
    keys = load()
    if keys != sorted(storages):
        raise ValueError("it does not hold the storages that its tensors use")
    # After the pickles come the bytes of each storage.
    for key in keys:
        file.read(8)  # skip the number of elements, because the pickle states it, too
        buffer = torch.empty(0, dtype=torch.uint8, device="cpu").set_(storages[key]).numpy()
        if file.readinto(buffer.data) != len(buffer):
            raise EOFError("it ends too early")
    return content


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return value
    if isinstance(value, UnbuiltObject):
        return [value.arguments, value.state, value.items, value.elements]
    return ()


def _num_bytes_of_tensors(content: Any) -> int:
    """A part that occurs twice counts twice."""
    sizes: dict[int, int] = {}  # id of a value → bytes of the tensors in it
    stack = [(content, False)]
    while stack:
        value, children_are_counted = stack.pop()
        if isinstance(value, Tensor):
            sizes[id(value)] = math.prod(value.shape) * value.element_size()
        elif children_are_counted:
            sizes[id(value)] = sum(sizes.get(id(item), 0) for item in _children(value))
        elif id(value) not in sizes and (items := _children(value)):
            sizes[id(value)] = 0  # ends the recursion in a cycle: a node of omegaconf contains its parent
            stack.append((value, True))
            stack += [(item, False) for item in items]
    return sizes.get(id(content), 0)
