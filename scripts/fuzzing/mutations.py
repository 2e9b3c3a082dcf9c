"""Ways to spoil a file: in its bytes, and in the data that it holds."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml

#: Whole numbers at the edges of what programs count in.
_EDGES = (0, 1, -1, 127, 255, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**31), -(2**63))


class _Runs:
    """Pickles as a call of a program."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple:
        return self.call


def _plain(rng: Random) -> Any:
    """A value of any type that JSON or YAML holds."""
    deep: Any = 1
    for _ in range(rng.choice((3, 50, 500, 5000)) if rng.random() < 0.1 else 3):
        deep = [deep] if rng.random() < 0.5 else {"a": deep}
    return rng.choice(
        (
            *(None, True, False, "", [], {}, [[]], {"": ""}, [None], "x" * 300, "9" * 5000, deep, [1] * 10_000),
            *(rng.choice(_EDGES), rng.choice(_EDGES) + 0.5, 10**400, float("nan"), float("inf"), 1e308, 5e-324),
            *("../../x", "/etc/passwd", "/dev/zero", "a/b", "\0", "\x1b[2J", "a\nb", "٣", "1_0", "1e400", "nan", "NaN"),
            *(list(range(rng.randrange(20))), "[" * 1000, "cpu", "lps", "nes2net_x", rng.random()),
        )
    )


def _of_torch(rng: Random) -> Any:
    """A value that only a pickle holds."""
    dtypes = (torch.int64, torch.bool, torch.complex64, torch.float16, torch.float8_e4m3fn, torch.uint8)
    shape = [rng.randrange(5) for _ in range(rng.randrange(4))]
    return rng.choice(
        (
            lambda: _plain(rng),
            lambda: torch.zeros(shape).to(rng.choice(dtypes)),
            lambda: torch.full(shape, float("nan")),
            lambda: torch.zeros(1).expand(rng.choice((10, 10**6, 2**28))),
            lambda: torch.zeros(5).as_strided((2, 2), (rng.randrange(3), rng.randrange(3)), 0),
            lambda: torch.zeros(shape, requires_grad=True),
            lambda: torch.zeros(shape).to_sparse(),
            lambda: torch.Size(shape),
            lambda: torch.float16,
            lambda: {1: 2, (1, 2): 3, None: 4, 1.5: 5, False: 6, "x": 7},
            lambda: {frozenset({1}): set(), b"x": b"y"},
            lambda: complex(1, 2),
            lambda: _doubled(rng.choice((10, 40))),
            lambda: range(10**12),
            lambda: OrderedDict(a=torch.zeros(2)),
            lambda: _Runs(os.system, "touch RAN"),
            lambda: _Runs(exec, "import os; os.mkdir('../RAN')"),
            lambda: _Runs(open, "../RAN", "w"),
        )
    )()


def _doubled(times: int) -> list:
    """A small pickle of 2^times numbers."""
    value: list = [1]
    for _ in range(times):
        value = [value, value]
    return value


def _in_tree(tree: Any, rng: Random, value: Callable[[Random], Any]) -> Any:
    """Replace, remove, add or double one place of nested mappings and lists."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        changed = type(tree)(tree) if isinstance(tree, OrderedDict) else dict(tree)
        if isinstance(tree[key], dict | list | tuple) and rng.random() < 0.75:
            changed[key] = _in_tree(tree[key], rng, value)
        elif (draw := rng.random()) < 0.7:
            changed[key] = value(rng)
        elif draw < 0.8:
            del changed[key]
        elif draw < 0.9:
            changed[rng.choice(("x", 1, "../x", "x" * 300, f"{key}.x", f"{key} "))] = changed.pop(key)
        else:
            changed[key] = changed[rng.choice(list(changed))]
        return changed
    if isinstance(tree, list | tuple) and tree and rng.random() < 0.9:
        items = list(tree)
        place = rng.randrange(len(tree))
        draw = rng.random()
        if draw < 0.7:
            items[place] = _in_tree(items[place], rng, value)
        elif draw < 0.85:
            del items[place]
        else:
            items = items * rng.choice((2, 100))
        return items if isinstance(tree, list) else tuple(items)
    return value(rng)


def _json(content: bytes, rng: Random) -> bytes:
    return json.dumps(_in_tree(json.loads(content), rng, _plain), ensure_ascii=rng.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    )


def _yaml(content: bytes, rng: Random) -> bytes:
    tree = _in_tree(yaml.safe_load(content), rng, _plain)
    text = yaml.safe_dump(tree, allow_unicode=True, default_flow_style=rng.random() < 0.5)
    if rng.random() < 0.2:
        levels = rng.choice((3, 30))
        bomb = "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(levels))
        text = f"a0: &a0 [1]\n{bomb}" + yaml.safe_dump(tree)
    if rng.random() < 0.1:
        text += rng.choice(
            ("? [a]\n: b\n", "x: !!python/object/apply:os.system [touch RAN]\n", "x: 2020-01-01\n", "<<: 1\n")
        )
    return text.encode("utf-8", "surrogatepass")


def _torch(content: bytes, rng: Random) -> bytes:
    """A file of torch.save: another value in its tree, or other bytes in one member of its archive."""
    is_zip = content[:2] == b"PK"
    if is_zip and rng.random() < 0.4:
        return _zip(content, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = torch.load(io.BytesIO(content), weights_only=True)
        except Exception:  # classes of other packages
            return _zip(content, rng) if is_zip else content
        out = io.BytesIO()
        torch.save(_in_tree(tree, rng, _of_torch), out, _use_new_zipfile_serialization=is_zip)
    return out.getvalue()


def _zip(content: bytes, rng: Random) -> bytes:
    """One member of an archive with other bytes, under a sum that fits."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", rng.choice((0, 0, 8))) as new:
        names = old.namelist()
        pickled = [name for name in names if name.endswith("data.pkl")]
        chosen = rng.choice(pickled if pickled and rng.random() < 0.7 else names)
        for name in names:
            member = old.read(name)
            if name == chosen:
                member = of_bytes(member, rng)
                name = rng.choice((name, name, name, f"../{name}", "x/data.pkl", name.swapcase()))
            new.writestr(name, member)
    return out.getvalue()


def _safetensors(content: bytes, rng: Random) -> bytes:
    size = struct.unpack("<Q", content[:8])[0]
    header = _json(content[8 : 8 + size], rng)
    return (
        struct.pack("<Q", len(header) if rng.random() < 0.9 else rng.choice(_EDGES) % 2**64)
        + header
        + content[8 + size :]
    )


def _onnx(content: bytes, rng: Random) -> bytes:
    import onnx  # optional: the extra onnx

    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.randrange(1, 4)):
        _in_message(model, rng)
    return model.SerializeToString()


def _in_message(message: Any, rng: Random) -> None:
    """Another value in one field of a protobuf message."""
    while True:
        field = rng.choice(
            message.DESCRIPTOR.fields if rng.random() < 0.2 else [f for f, _ in message.ListFields()] or [0]
        )
        if not field:
            return
        value = getattr(message, field.name)
        several = hasattr(value, "append") or hasattr(value, "add")
        if field.message_type is None:
            if field.type == field.TYPE_BYTES:
                new: Any = of_bytes(b"x" if several else value, rng)
            elif field.type == field.TYPE_STRING:
                new = rng.choice(("", "x", "waveform", "w", "Loop", "If", "Concat", "Expand", "../x", "x" * 300))
            else:
                new = rng.choice((*_EDGES, 1, 2, 3, 7))
            try:
                if several:
                    value.append(new) if rng.random() < 0.5 or not value else value.__setitem__(0, new)
                else:
                    setattr(message, field.name, new)
            except (ValueError, TypeError):  # a number that the field cannot hold
                pass
            return
        if not several:
            message = value
            continue
        if not value or (draw := rng.random()) < 0.15:
            value.add()
            return
        if draw < 0.3:
            del value[rng.randrange(len(value))]
            return
        if draw < 0.4:
            value.add().CopyFrom(rng.choice(value))
            return
        message = rng.choice(value)


def _parquet(content: bytes, rng: Random) -> bytes:
    """Another column, written in another way."""
    import pyarrow.parquet as parquet  # optional: the extra nes2net[parquet]

    out = io.BytesIO()
    table = _other_column(parquet.read_table(io.BytesIO(content)), rng)
    options: dict[str, Any] = {
        "compression": rng.choice(("none", "snappy", "gzip", "brotli", "zstd", "lz4")),
        "data_page_version": rng.choice(("1.0", "2.0")),
        "data_page_size": rng.choice((1, 1000, 1 << 20)),
        "use_dictionary": rng.random() < 0.5,
        "row_group_size": rng.choice((1, 3, 10**6)),
        "store_schema": rng.random() < 0.5,
    }
    parquet.write_table(table, out, **options)
    return out.getvalue()


def _arrow(content: bytes, rng: Random) -> bytes:
    """Another column, in a stream or a file, compressed or not."""
    import pyarrow  # optional: as above

    is_file = content.startswith(b"ARROW1")
    old = (pyarrow.ipc.open_file if is_file else pyarrow.ipc.open_stream)(content).read_all()
    table = _other_column(old, rng)
    out = io.BytesIO()
    options = pyarrow.ipc.IpcWriteOptions(compression=rng.choice((None, "zstd", "lz4")))
    with (pyarrow.ipc.new_file if is_file else pyarrow.ipc.new_stream)(out, table.schema, options=options) as writer:
        writer.write_table(table, rng.choice((1, 2, 10**6)))
    return out.getvalue()


def _other_column(table: Any, rng: Random) -> Any:
    """Give one column other values, another type, another name or more rows."""
    import pyarrow  # optional: as above

    place = rng.randrange(table.num_columns)
    name = table.schema.names[place]
    values = table.column(place).to_pylist()
    draw = rng.random()
    if draw < 0.1:
        return pyarrow.concat_tables([table] * rng.choice((2, 1000)))
    if draw < 0.2:
        return table.remove_column(place)
    if draw < 0.3:
        return table.append_column(
            rng.choice((name, "label", "audio", "id", "x" * 300, "\x1b[2J")), table.column(place)
        )
    if draw < 0.4:
        told = rng.choice((b"{", b"[]", b"[" * 5000, b'{"info": {"features": {"label": {"names": [1]}}}}', b"\xff"))
        return table.replace_schema_metadata({"huggingface": told})
    new: Any = rng.choice(
        (
            lambda: pyarrow.nulls(len(values)),
            lambda: pyarrow.array([_plain(rng) for _ in values]),
            lambda: pyarrow.array([str(_plain(rng)) for _ in values]).dictionary_encode(),
            lambda: pyarrow.array(
                [rng.choice(("x" * 10**5, "\U0001f600" * 1000, "", None, '{"a": 1}')) for _ in values]
            ),
            lambda: pyarrow.array([rng.choice((*_EDGES[:9], None)) for _ in values], pyarrow.int64()),
            lambda: pyarrow.array([rng.choice((0.5, float("nan"), 1e308, None)) for _ in values]),
            lambda: pyarrow.array([rng.choice((b"", b"RIFF", b"fLaC", rng.randbytes(50), None)) for _ in values]),
            lambda: pyarrow.array([{"bytes": rng.randbytes(9), "path": "../x"} for _ in values]),
            lambda: pyarrow.array([[[None, [1]]]] * len(values)),
            lambda: pyarrow.array([rng.choice(values) for _ in values]),
        )
    )
    return table.set_column(place, name, new())


def _text(content: bytes, rng: Random) -> bytes:
    """Another field, line, separator or order in a list of lines."""
    lines = content.decode(errors="replace").splitlines()
    if not lines:
        return of_bytes(content, rng)
    place = rng.randrange(len(lines))
    draw = rng.random()
    if draw < 0.6:
        separator = next((mark for mark in ("\t", ",") if mark in lines[place]), " ")
        fields = lines[place].split(separator)
        new = str(_plain(rng))[:20_000]
        fields[rng.randrange(len(fields))] = rng.choice((new, f'"{new}', f'"{new}"', fields[0]))
        lines[place] = separator.join(fields)
    elif draw < 0.7:
        lines.insert(place, rng.choice(lines))
    elif draw < 0.8:
        del lines[place]
    elif draw < 0.9:
        lines[place] = lines[place] * rng.choice((2, 1000))
    else:
        rng.shuffle(lines)
    return rng.choice(("\n", "\n", "\r\n", "\r", "\n\n")).join(lines).encode("utf-8", "surrogatepass")


def of_bytes(content: bytes, rng: Random) -> bytes:
    """One to four changes of bytes: flips, cuts, insertions, splices, repeated blocks, numbers at the edges."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        # Headers decide most, so half of the changes are near the start.
        size = len(changed)
        place = rng.randrange(min(size, 200) if rng.random() < 0.5 else size) if size else 0
        block = rng.choice((1, 2, 4, 8, 64, 1024))
        kind = rng.randrange(8)
        if kind == 0 and size:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            changed[place] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif kind == 2:
            del changed[place : place + block]
        elif kind == 3:
            del changed[place:]
        elif kind == 4:
            changed[place:place] = rng.randbytes(block)
        elif kind == 5:
            changed[place:place] = changed[place : place + block] * rng.choice((1, 10, 1000))
        elif kind == 6:
            source = rng.randrange(size) if size else 0
            changed[place : place + block] = changed[source : source + block]
        else:
            width = rng.choice((2, 4, 8))
            order = rng.choice(("little", "big"))
            changed[place : place + width] = (rng.choice(_EDGES) % (1 << 8 * width)).to_bytes(width, order)
    return bytes(changed)


_BY_SUFFIX: dict[str, Callable[[bytes, Random], bytes]] = {
    **dict.fromkeys((".json", ".jsonl"), _json),
    **dict.fromkeys((".yaml", ".yml"), _yaml),
    **dict.fromkeys((".pth", ".pt"), _torch),
    **dict.fromkeys((".txt", ".csv", ".tsv", ".rttm"), _text),
    ".zip": _zip,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".safetensors": _safetensors,
    ".onnx": _onnx,
}


def mutate(path: Path, rng: Random) -> str:
    """Spoil a file in place; return how."""
    content = path.read_bytes()
    of_structure = _BY_SUFFIX.get(path.suffix)
    if of_structure is not None and rng.random() < 0.6:
        try:
            changed = of_structure(content, rng)
            how = f"structure of {path.name}"
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError, yaml.YAMLError, csv.Error) as error:
            changed = of_bytes(content, rng)
            how = f"bytes of {path.name} ({type(error).__name__} in its structure)"
    else:
        changed = of_bytes(content, rng)
        how = f"bytes of {path.name}"
    path.write_bytes(changed)
    return how
