"""Small files that take endless time or memory to read: tar, Parquet, RawBoost and ONNX."""

from __future__ import annotations

import gzip
import tarfile
from importlib.util import find_spec

import numpy as np

from builders.hostile import Case, nes2net, onnx_files
from builders.hostile.making import maker, written
from nes2net.data.corpora.shards import CORPUS
from nes2net.lib.storage.unpacking import unpack
from nes2net.training.augmentation import effects_of
from nes2net.training.recipes.recipe import recipe_from_dict

CASES = []


def _list_trials(path):
    return len(CORPUS.trials(path))


# Tar members of a negative size

_OCTAL = b"%011o\0"
_END = bytes(1024)  # two empty blocks end a tar file


def _header(name, size=b"", kind=tarfile.REGTYPE, real_size=b""):
    """Make the header of a tar member.

    Args:
        size: replaces the field of the size.
        real_size: replaces the size of the whole file in the header of a sparse file.
    """
    entry = tarfile.TarInfo(name)
    entry.type = kind
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[124 : 124 + len(size)] = size
    header[483 : 483 + len(real_size)] = real_size
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
    return _header("pax", _OCTAL % len(record), tarfile.XHDTYPE) + record.ljust(512, b"\0")


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
_add_tar("one byte", _header("b.wav") + _header("a.wav", _negative(-1)))
_add_tar("the first member", _header("a.wav", _negative(-512)))
_add_tar("a sparse file", _header("b.wav") + _header("a.wav", _negative(-512), tarfile.GNUTYPE_SPARSE, _OCTAL % 100))


# Columns of Parquet that share their pages

_I32 = 5
_I64 = 6
_BINARY = 8
_LIST = 9
_STRUCT = 12


def _varint(number):
    """Write a number of Thrift: 7 bits a byte, the lowest bits first."""
    content = b""
    while number > 127:
        content += bytes([number & 127 | 128])
        number >>= 7
    return content + bytes([number])


def _thrift(kind, value):
    """Write a value in Thrift's compact protocol; a list is (kind, items), a struct a list of (id, kind, value)."""
    if kind in (_I32, _I64):
        return _varint(value << 1)
    if kind == _BINARY:
        return _varint(len(value)) + value
    content = b""
    if kind == _LIST:
        kind_of_items, items = value
        content = bytes([0xF0 | kind_of_items]) + _varint(len(items))
        for item in items:
            content += _thrift(kind_of_items, item)
        return content
    last = 0
    for number, kind_of_field, field in value:
        content += bytes([(number - last) << 4 | kind_of_field])
        content += _thrift(kind_of_field, field)
        last = number
    return content + b"\0"


def _chunk(name, num_bytes):
    """Describe a column chunk of ten texts, whose pages begin after the mark of the file."""
    encodings = (_I32, [0])
    path = (_BINARY, [name])
    fields = [(1, _I32, 6), (2, _LIST, encodings), (3, _LIST, path), (4, _I32, 0), (5, _I64, 10)]
    fields += [(6, _I64, num_bytes), (7, _I64, num_bytes), (9, _I64, 4)]
    return [(2, _I64, 4), (3, _STRUCT, fields)]


def _shared_pages(folder):
    """A Parquet file of 140 kB whose 900 columns have the same 20,000 page headers."""
    pages = b"\x25\0\x15\0\0" * 20_000  # no bytes, compressed and decompressed
    names = [b"audio", *(b"c%d" % number for number in range(900))]
    schema = [[(4, _BINARY, b"schema"), (5, _I32, len(names))]]
    chunks = []
    for name in names:
        described = [(1, _I32, 6), (3, _I32, 1), (4, _BINARY, name)]
        if name != b"audio":
            described.append((6, _I32, 0))
        schema.append(described)
        chunks.append(_chunk(name, len(pages)))
    group = [(1, _LIST, (_STRUCT, chunks)), (2, _I64, 0), (3, _I64, 10)]
    footer = [(1, _I32, 2), (2, _LIST, (_STRUCT, schema)), (3, _I64, 10), (4, _LIST, (_STRUCT, [group]))]
    content = _thrift(_STRUCT, footer)
    path = folder / "test-0.parquet"
    path.write_bytes(b"PAR1" + pages + content + len(content).to_bytes(4, "little") + b"PAR1")
    return path


CASES.append(Case("columns that share their pages", _shared_pages, _list_trials, "grows to 134.2 MB of pages"))


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


# Constants of an ONNX graph


def _with_products(folder):
    """An ONNX file that adds a constant to the mean, made by ten products of matrices of 8,000 × 8,000."""
    from onnx import TensorProto, helper, numpy_helper  # optional: the extra onnx

    model = onnx_files.good()
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([8000, 8000]), "size"))
    graph.initializer.append(numpy_helper.from_array(np.array([0, 1]), "both"))
    number = helper.make_tensor("x", TensorProto.FLOAT, [1], [1e-4])
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["a0"], value=number)]
    for index in range(10):
        nodes.append(helper.make_node("MatMul", [f"a{index}", f"a{index}"], [f"a{index + 1}"]))
    nodes.append(helper.make_node("ReduceMean", ["a10", "both"], ["constant"], keepdims=0))
    graph.node[0].output[0] = "mean_alone"
    graph.node.insert(1, helper.make_node("Add", ["mean_alone", "constant"], ["mean"]))
    for position, node in enumerate(nodes):
        graph.node.insert(position, node)
    return onnx_files.write(folder, model)


def _describe(path):
    return nes2net("info", path)


if find_spec("onnx") and find_spec("onnxruntime"):
    CASES.append(Case("products of constants", _with_products, _describe, None))
