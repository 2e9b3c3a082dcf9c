"""Checkpoints that take memory and time; tests/models/checkpoints/test_torch_file.py tries programs that would do harm at once."""

from __future__ import annotations

import struct
import zipfile

import torch

from builders.hostile import Case, cases, nes2net
from builders.hostile.making import maker, written
from nes2net import load_state_dict
from nes2net.models.checkpoints.state_dict import with_metadata


@maker
def _of_program(folder, program):
    """A checkpoint as torch.save writes it, with a pickle of our own."""
    with zipfile.ZipFile(folder / "evil.pth", "w") as archive:
        archive.writestr("archive/data.pkl", program())
        archive.writestr("archive/data/0", bytes(16))
    return folder / "evil.pth"


@maker
def _of_content(folder, content):
    torch.save(content(), folder / "evil.pth")
    return folder / "evil.pth"


# Pickles: a value, and programs that use it often.

_LIST_OF_200_000 = b"](" + b"K\x00" * 100_000 + b"e"
_TUPLE_OF_100_000 = b"(" + b"K\x01" * 100_000 + b"t"
_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
_STORAGE = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuJ\x04\0\0\0tQ"
_TENSOR = _REBUILD + b"(" + _STORAGE + b"K\x00K\x04\x85K\x01\x85\x89NtR"


def _often(call, shared=_LIST_OF_200_000):
    """A program that does something with memo 0 many times."""
    return lambda: b"\x80\x04" + shared + b"\x940" + call * 80_000 + b"}."


def _numbers_as_keys():
    return b"\x80\x02}(" + b"".join(b"J%sK\x00" % struct.pack("<i", number) for number in range(101_000)) + b"u."


def _classes():
    return b"\x80\x02" + b"".join(b"cmine\nC%d\n0" % number for number in range(2000)) + b"}."


def _tensors():
    """400,000 names of one tensor; torch.save itself would take minutes for so many tensors."""
    names = b"".join(b"X\x08\0\0\0w%07dh\x00" % number for number in range(400_000))
    return b"\x80\x02" + _TENSOR + b"q\x000}(" + names + b"u."


_PICKLES = {
    "numbers as keys": (_numbers_as_keys, "more than 100,000 of its keys are numbers"),
    "copies of a list": (_often(b"cbuiltins\nlist\nh\x00\x85R0"), "6,000,000 are accepted"),
    "copies of arguments": (_often(b"cmine\nOwn\nh\x00R0", _TUPLE_OF_100_000), "6,000,000 are accepted"),
    "many classes": (_classes, "names more than 1,000 classes"),
    "very many memos and records": (
        lambda: b"\x80\x04]" + b"\x94" * 1_000_000 + b"cmine\nOwn\n)R" * 130_000 + b"}.",
        "6,000,000 are accepted",
    ),
    "400,000 tensors": (_tensors, "holds 400,000 tensors, more than any model"),
}


def _doubled():
    value = "x"
    for _ in range(40):
        value = [value, value]
    return value


_RECORDS = {
    "doubled lists": (_doubled(), "its metadata is nested more than"),
    "200,000 values": (list(range(200_000)), "its metadata was refused .* 100,001 values"),
    "a megabyte as a key": ({"x" * 2 * 10**6: 1}, "its metadata was refused .* MB of values"),
}


def _one_dictionary_under_many_keys():
    """Of tensors without numbers, up to its last value."""
    tensor = torch.zeros(0)
    names = {f"w{number}": tensor for number in range(40_000)}
    names["epoch"] = 1
    return {f"k{number}": names for number in range(40_000)}


def _of_record(record):
    """A state dict with this in its record, as it is: save_state_dict would make it plain."""
    return _of_content(lambda: with_metadata({"w": torch.ones(1)}, {"": {"version": 1, "nes2net": {"extra": record}}}))


def _many_names():
    tensor = torch.zeros(200_000)
    return {f"w{number}": tensor for number in range(1000)}


def _info(path):
    return nes2net("info", path)


_EXPANDS = "grows to .* of tensors, repeated parts included"
_LONG_HEADER = (17 << 20).to_bytes(8, "little") + bytes(17 << 20)
_DAMAGED = r"evil\.safetensors is not a safetensors file or is damaged \(its header would take"
CASES = [
    *cases(_info, _PICKLES, make=_of_program),
    Case("one dictionary under many keys", _of_content(_one_dictionary_under_many_keys), _info, "holds no state dict"),
    Case("one tensor under many names", _of_content(_many_names), load_state_dict, _EXPANDS),
    *cases(load_state_dict, _RECORDS, make=_of_record),
    Case("17 MB of header", written("evil.safetensors", _LONG_HEADER), load_state_dict, _DAMAGED),
]
