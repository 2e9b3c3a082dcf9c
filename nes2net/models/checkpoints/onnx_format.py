"""Check the content of an ONNX file from its bytes, before onnxruntime loads it.

The format is protobuf (onnx.proto). A file may contain only what an export of this toolkit writes,
because onnxruntime expands functions and sparse tensors to any size, runs operators of other
domains, and reads tensors from any file that is named.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from nes2net.lib.errors import InputError, readable_size, shown
from nes2net.lib.files import Budget

_LARGEST_FILE = 2**31 - 1  # bytes, the limit of protobuf
_MOST_NUMBERS = 1_000_000  # outside the tensors; XLS-R 300M with Nes2Net-X has fewer than 100,000
_DEEPEST = 32  # messages within messages
_LARGEST_METADATA = 2**20  # bytes, of all its texts outside the computation
_LONGEST_DOMAIN = 1000  # bytes
_MOST_PER_BYTE = 4  # numbers of a tensor, in ONNX's smallest types
_MANY = 2**63  # more numbers than any file holds
_EXTERNAL = 1  # TensorProto.DataLocation

_Slice: TypeAlias = tuple[int, int]

#: The fields of onnx.proto that lead to tensors, to domains of operators or to metadata, by message.
PARTS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 14: "metadata", 20: "training information", 25: "functions"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "sparse tensors"},
    "NodeProto": {5: "AttributeProto", 7: "domain"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "sparse tensors",
        23: "sparse tensors",
    },
}
_REFUSED = ("training information", "functions", "sparse tensors")


class OnnxContent(NamedTuple):
    """The content of an ONNX file outside its computation."""

    metadata: dict[str, str]
    """Texts by name."""
    beside: dict[str, int]
    """Other files that hold tensors, and the bytes that each must have."""


class _Damaged(Exception):
    """The bytes are not the protobuf messages of ONNX."""


def read_onnx(path: Path) -> OnnxContent:
    """Read an ONNX file up to its tensors.

    Raises:
        InputError: if it is damaged, or holds anything that this toolkit does not export.
    """
    size = path.stat().st_size
    if size > _LARGEST_FILE:
        raise InputError(f"{path} has {readable_size(size)}, but an ONNX file ends at 2 GB: export it again")
    if not size:
        raise InputError(f"{path} is not an ONNX file: it is empty")
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            reader = _Reader(path, content)
            reader.message("ModelProto", (0, len(content)), 0)
            return reader.found
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions and its disk") from error
    except (_Damaged, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None


def damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is not an ONNX file or is damaged ({why}): copy it again or export it anew")


def foreign(path: Path, why: str) -> InputError:
    return InputError(f"{path} is not a detector of this toolkit ({why}): `nes2net export --to onnx` writes one")


class _Reader:
    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self.path = path
        self.content = content
        self.budget = Budget(str(path), _LARGEST_METADATA, _MOST_NUMBERS)
        self.found = OnnxContent({}, {})

    def message(self, kind: str, where: _Slice, depth: int) -> None:
        if depth > _DEEPEST:
            raise _Damaged(f"more than {_DEEPEST} messages within each other")
        for number, value in self.fields(where):
            kind_of_field = PARTS[kind].get(number)
            if kind_of_field is None or isinstance(value, int):
                continue
            if kind_of_field in _REFUSED:
                raise foreign(self.path, f"it holds {kind_of_field}")
            if kind_of_field == "metadata":
                key, text = self.entry(value)
                self.found.metadata[key] = text
            elif kind_of_field == "domain":
                domain = self.content[value[0] : min(value[1], value[0] + _LONGEST_DOMAIN)]
                if domain not in (b"", b"ai.onnx"):
                    raise foreign(self.path, f"it holds operators of {shown(domain.decode(errors='replace'))}")
            elif kind_of_field == "TensorProto":
                self.tensor(value)
            else:
                self.message(kind_of_field, value, depth + 1)

    def tensor(self, where: _Slice) -> None:
        """Check that a tensor holds as many numbers as its dimensions say, and record the file that holds it."""
        count = 1
        location = 0
        outside: dict[str, str] = {}
        for number, value in self.fields(where):
            if number == 1:
                sizes = [value] if isinstance(value, int) else self.varints(value)
                for size in sizes:
                    count = min(count * size, _MANY)
            elif number == 13 and isinstance(value, tuple):
                key, text = self.entry(value)
                if key in outside:
                    raise _Damaged(f"two entries {shown(key)} for external data")
                outside[key] = text
            elif number == 14 and isinstance(value, int):
                location = value
        num_bytes = where[1] - where[0]
        if outside or location == _EXTERNAL:
            if outside.keys() != {"location", "offset", "length"}:
                raise _Damaged("external data without location, offset and length")
            for key in ("offset", "length"):
                if not re.fullmatch("[0-9]{1,18}", outside[key]):
                    raise _Damaged(f"external data at {shown(outside[key])}")
            name = outside["location"]
            num_bytes = int(outside["length"])
            self.found.beside[name] = max(self.found.beside.get(name, 0), int(outside["offset"]) + num_bytes)
        if count > _MOST_PER_BYTE * num_bytes:
            raise _Damaged(f"a tensor of {count:,} numbers has {num_bytes:,} bytes")

    def entry(self, where: _Slice) -> tuple[str, str]:
        """A StringStringEntryProto: key and value."""
        self.budget.take("texts", bytes=where[1] - where[0])
        texts = {n: self.content[slice(*v)].decode() for n, v in self.fields(where) if isinstance(v, tuple)}
        return texts.get(1, ""), texts.get(2, "")

    def fields(self, where: _Slice) -> Iterator[tuple[int, int | _Slice]]:
        """Yield the number and value of each field: a varint as a number, bytes as their slice."""
        position, end = where
        while position < end:
            tag, position = self.varint(position, end)
            number = tag >> 3
            kind = tag & 7
            if not 0 < number < 2**29:
                raise _Damaged(f"a field of number {number}")
            if kind == 0:
                value, position = self.varint(position, end)
                yield number, value
                continue
            if kind == 2:
                length, position = self.varint(position, end)
            elif kind == 1:
                length = 8
            elif kind == 5:
                length = 4
            else:
                raise _Damaged(f"a field of wire type {kind}")
            if length > end - position:
                raise _Damaged("cut off")
            if kind == 2:
                yield number, (position, position + length)
            position += length

    def varints(self, where: _Slice) -> Iterator[int]:
        position, end = where
        while position < end:
            value, position = self.varint(position, end)
            yield value

    def varint(self, position: int, end: int) -> tuple[int, int]:
        self.budget.take("numbers outside its tensors", steps=1)
        value = 0
        for shift in range(0, 70, 7):
            if position >= end:
                raise _Damaged("cut off")
            byte = self.content[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, position
        raise _Damaged("a number of more than ten bytes")
