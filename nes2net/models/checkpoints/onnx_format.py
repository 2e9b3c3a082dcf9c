"""Check the content of an ONNX file from its bytes, before onnxruntime loads it.

The format is protobuf (onnx.proto). Parts that this toolkit never exports are refused: onnxruntime
would expand functions and sparse tensors to any size, run operators of other domains, and read any
file that is named.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from nes2net.lib.errors import InputError, readable_size, short_repr
from nes2net.lib.storage.files import Budget, check_arrived

_MAX_FILE_BYTES = 2**31 - 1  # number of bytes; protobuf allows no larger message
_MAX_NUMBERS = 1_000_000  # most numbers outside tensors in a file; XLS-R 300M with Nes2Net-X has fewer than 100,000
_MAX_DEPTH = 32  # largest depth of nested messages
_MAX_METADATA_BYTES = 2**20  # largest number of bytes of all texts in the metadata together
_MAX_DOMAIN_BYTES = 1000  # bytes
_MAX_PER_BYTE = 4  # largest number of elements in one byte of a tensor: ONNX's smallest types have 2 bits
_MANY = 2**63  # stands for every larger product of dimensions; no file has so many bytes
_EXTERNAL = 1  # value of TensorProto.DataLocation for a tensor in another file

#: A part of the file: the index of the part's first byte, and the index of the byte after its last byte.
_Slice: TypeAlias = tuple[int, int]

#: Message of onnx.proto → field → kind of its value; other fields hold no tensors, domains or
#: metadata.
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
    """Metadata, and other files that hold tensors."""

    metadata: dict[str, str]
    external_files: dict[str, int]
    """Name of another file with tensors → smallest possible number of bytes."""


class _Damaged(Exception):
    """The bytes are not protobuf messages of ONNX; :func:`read_onnx` catches it."""


def read_onnx(path: Path, *expected: str) -> OnnxContent:
    """Check an ONNX file without reading its tensors; ``expected`` are words of :func:`foreign_error`.

    Raises:
        InputError: if the file is damaged, or contains parts that this toolkit never exports.
    """
    size = path.stat().st_size
    if size > _MAX_FILE_BYTES:
        raise InputError(f"{path} has {readable_size(size)}, but an ONNX file has at most 2 GB: export it again")
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            reader = _OnnxReader(path, content, expected)
            reader.check_message("ModelProto", (0, len(content)), 0)
            return reader.summary
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its permissions and its disk") from error
    except (_Damaged, ValueError) as error:  # of text, or because an empty file cannot be mapped
        check_arrived(path)
        raise InputError(f"{path} is not an ONNX file or is damaged ({error}): copy or export it again") from None


def foreign_error(
    path: Path,
    why: str,
    expected: str = "a detector of this toolkit",
    remedy: str = "`nes2net export --to onnx` writes one",
) -> InputError:
    """Make the error for an ONNX file that is not ``expected``."""
    return InputError(f"{path} is not {expected} ({why}): {remedy}")


class _OnnxReader:
    """Reads protobuf messages, slices of the file, into :attr:`summary`; may raise :class:`_Damaged`."""

    def __init__(self, path: Path, content: mmap.mmap, expected: Sequence[str]) -> None:
        self.path = path
        self.expected = expected
        self.content = content
        self.budget = Budget(str(path), most_bytes=_MAX_METADATA_BYTES, most_steps=_MAX_NUMBERS)
        self.summary = OnnxContent({}, {})

    def check_message(self, kind: str, message_slice: _Slice, depth: int) -> None:
        """Check a message and those in it; ``kind`` is its name in onnx.proto."""
        if depth > _MAX_DEPTH:
            raise _Damaged(f"more than {_MAX_DEPTH} messages within each other")
        for number, value in self.fields(message_slice):
            kind_of_field = PARTS[kind].get(number)
            if kind_of_field is None or isinstance(value, int):
                continue
            if kind_of_field in _REFUSED:
                raise foreign_error(self.path, f"it holds {kind_of_field}", *self.expected)
            if kind_of_field == "metadata":
                key, text = self.read_entry(value)
                self.summary.metadata[key] = text
            elif kind_of_field == "domain":
                domain = self.content[value[0] : min(value[1], value[0] + _MAX_DOMAIN_BYTES)]
                if domain not in (b"", b"ai.onnx"):
                    raise foreign_error(
                        self.path,
                        f"it holds operators of {short_repr(domain.decode(errors='replace'))}",
                        *self.expected,
                    )
            elif kind_of_field == "TensorProto":
                self.check_tensor(value)
            else:
                self.check_message(kind_of_field, value, depth + 1)

    def check_tensor(self, message_slice: _Slice) -> None:
        """Check that a TensorProto has enough bytes for its dimensions, here or in another file."""
        count = 1
        location = 0
        outside: dict[str, str] = {}
        for number, value in self.fields(message_slice):  # 1: dims, 13: external_data, 14: data_location
            if number == 1:
                sizes = [value] if isinstance(value, int) else self.varints(value)
                for size in sizes:
                    count = min(count * size, _MANY)  # no huge product
            elif number == 13 and isinstance(value, tuple):
                key, text = self.read_entry(value)
                if key in outside:
                    raise _Damaged(f"two entries {short_repr(key)} for external data")
                outside[key] = text
            elif number == 14 and isinstance(value, int):
                location = value
        # The bytes are either in the message itself or in the other file.
        num_bytes = message_slice[1] - message_slice[0]
        if outside or location == _EXTERNAL:
            if outside.keys() != {"location", "offset", "length"}:
                raise _Damaged("external data without location, offset and length")
            for key in ("offset", "length"):
                if not re.fullmatch("[0-9]{1,18}", outside[key]):
                    raise _Damaged(f"external data at {short_repr(outside[key])}")
            name = outside["location"]
            num_bytes = int(outside["length"])
            end = int(outside["offset"]) + num_bytes
            self.summary.external_files[name] = max(self.summary.external_files.get(name, 0), end)
        if count > _MAX_PER_BYTE * num_bytes:
            raise _Damaged(f"a tensor of {count:,} numbers has {num_bytes:,} bytes")

    def read_entry(self, message_slice: _Slice) -> tuple[str, str]:
        self.budget.take("texts", bytes=message_slice[1] - message_slice[0])
        texts = {n: self.content[slice(*v)].decode() for n, v in self.fields(message_slice) if isinstance(v, tuple)}
        return texts.get(1, ""), texts.get(2, "")  # key and value of a StringStringEntryProto

    def fields(self, message_slice: _Slice) -> Iterator[tuple[int, int | _Slice]]:
        """Yield number and value of each field: a varint, or a slice. Fields of 4 or 8 bytes are skipped."""
        position, end = message_slice
        while position < end:
            # A tag holds the number of the field and the kind of its value.
            tag, position = self.varint(position, end)
            number = tag >> 3
            kind = tag & 7
            if not 0 < number < 2**29:
                raise _Damaged(f"a field of number {number}")
            # A varint has kind 0. Other values state their length (kind 2) or have a fixed length (kinds 1 and 5).
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

    def varints(self, message_slice: _Slice) -> Iterator[int]:
        position, end = message_slice
        while position < end:
            value, position = self.varint(position, end)
            yield value

    def varint(self, position: int, end: int) -> tuple[int, int]:
        """Read a varint (7 bits in each byte, the lowest first); return it and the position after it."""
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
