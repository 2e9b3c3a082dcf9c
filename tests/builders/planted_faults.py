"""A boundary that is no boundary: a reader with one fault of each kind, for the test of scripts/fuzz."""

import os
import zlib
from pathlib import Path

from fuzzing import Boundary

from nes2net import InputError

GOOD = bytes(range(64))


def _make(folder):
    (folder / "example").mkdir(parents=True)
    (folder / "example" / "data.bin").write_bytes(GOOD)


def _read(folder):
    content = (folder / "data.bin").read_bytes()
    if content == GOOD:
        return len(content)
    fault = zlib.crc32(content) % 10
    if fault == 0:
        raise KeyError("planted")
    if fault == 1:
        os.system("true")
    if fault == 2:
        (folder.parents[3] / "outside").write_text("x")
    if fault == 3:
        os.abort()
    if fault == 4:
        return len(bytearray(3 << 30))
    raise InputError("data.bin is not as it was: copy it again")


def attempt(boundary: str, name: str, folder: Path):
    """Read an input with the faulty reader."""
    return BOUNDARIES[boundary].attempts[name](folder)


BOUNDARIES = {"planted": Boundary(_make, {"read": _read})}
