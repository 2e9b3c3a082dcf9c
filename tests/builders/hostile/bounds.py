"""Small files that take endless time or memory to read: tar and RawBoost."""

from __future__ import annotations

import gzip
import tarfile

from builders.hostile import Case
from builders.hostile.making import maker, written
from nes2net.data.corpora.shards import CORPUS
from nes2net.lib.unpacking import unpack
from nes2net.training.augmentation import effects_of
from nes2net.training.recipes.recipe import recipe_from_dict

CASES = []


def _list_trials(path):
    return len(CORPUS.trials(path))


# Tar members of a negative size

_END = bytes(1024)  # two empty blocks end a tar file


def _header(name, size=b"", kind=tarfile.REGTYPE):
    """Make the header of a tar member; ``size`` replaces the field of the size."""
    entry = tarfile.TarInfo(name)
    entry.type = kind
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[124 : 124 + len(size)] = size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _negative(size):
    """Write a size below 0 as GNU tar does: in base 256, with all bits of the first byte set."""
    return b"\xff" + (2**88 + size).to_bytes(11, "big")


def _pax_header(size):
    """Make a PAX header that states the size of the member behind it."""
    record = b" size=%d\n" % size
    record = b"%d" % (len(record) + 2) + record
    return _header("pax", b"%011o\0" % len(record), tarfile.XHDTYPE) + record.ljust(512, b"\0")


@maker
def _compressed(folder, content):
    path = folder / "a.tar.gz"
    path.write_bytes(gzip.compress(content))
    return path


def _unpack(path):
    return unpack(path, path.parent / "out", "unpacking")


def _add_tar(name, content):
    """Add a case in which the tar file is a shard, and a case in which it is a downloaded archive."""
    says = "the size of a member is below 0"
    CASES.append(Case(f"tar: {name}", written("test-0.tar", content + _END), _list_trials, says))
    CASES.append(Case(f"archive: {name}", _compressed(content + _END), _unpack, says))


_add_tar("base 256", _header("b.wav") + _header("a.wav", _negative(-512)))
_add_tar("PAX", _header("b.wav") + _pax_header(-2048) + _header("a.wav"))


# Parameters of RawBoost


def _boost(parameters):
    """Build the effects of a recipe with parameters of RawBoost."""
    recipe = {"name": "t", "model": {"frontend": "lps", "backend": "mean_linear"}}
    recipe["data"] = {"corpora": [{"name": "generic", "root": "x"}]}
    recipe["augment"] = {"algo": 4, "parameters": parameters}
    return effects_of(recipe_from_dict(recipe).augment)


def _add_parameter(name, value):
    says = f"RawBoost: {name} must be a .*number "
    CASES.append(Case(f"RawBoost: {name} {value}"[:40], lambda _: {name: value}, _boost, says))


_add_parameter("nBands", 10**8)
_add_parameter("N_f", 10**400)
_add_parameter("g_sd", 1e308)
