"""Ways to spoil a file: change its bytes, or the data that it holds."""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
import torch
import yaml
from builders import ogg

#: Title of the examples of audio, which :func:`_mutate_title` replaces.
TITLE = "a title of some words"

#: Whole numbers at the limits of integer types.
_EDGES = (0, 1, -1, 127, 255, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, -(2**31), -(2**63))


class _CallInPickle:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def _plain_value(rng):
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


def _torch_value(rng):
    """Draw a value that only a pickle can hold, or a tensor."""
    dtypes = (torch.int64, torch.bool, torch.complex64, torch.float16, torch.float8_e4m3fn, torch.uint8)
    shape = [rng.randrange(5) for _ in range(rng.randrange(4))]
    return rng.choice(
        (
            lambda: _plain_value(rng),
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
            lambda: _shared_lists(rng.choice((10, 40))),
            lambda: range(10**12),
            lambda: OrderedDict(a=torch.zeros(2)),
            lambda: _CallInPickle(os.system, "touch RAN"),
            lambda: _CallInPickle(exec, "import os; os.mkdir('../RAN')"),
            lambda: _CallInPickle(open, "../RAN", "w"),
        )
    )()


def _shared_lists(times):
    """A small pickle that stands for a list of 2^times numbers, because its lists are shared."""
    value: list = [1]
    for _ in range(times):
        value = [value, value]
    return value


def _mutate_tree(tree, rng, value):
    """Replace, remove, add or double one value in nested mappings and lists.

    Args:
        value: draws the new value.
    """
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        changed = type(tree)(tree) if isinstance(tree, OrderedDict) else dict(tree)
        if isinstance(tree[key], dict | list | tuple) and rng.random() < 0.75:
            changed[key] = _mutate_tree(tree[key], rng, value)
        elif rng.random() < 0.7:
            changed[key] = value(rng)
        elif rng.random() < 0.33:
            del changed[key]
        elif rng.random() < 0.5:
            changed[rng.choice(("x", 1, "../x", "x" * 300, f"{key}.x", f"{key} "))] = changed.pop(key)
        else:
            changed[key] = changed[rng.choice(list(changed))]
        return changed
    if isinstance(tree, list | tuple) and tree and rng.random() < 0.9:
        items = list(tree)
        position = rng.randrange(len(tree))
        draw = rng.random()
        if draw < 0.7:
            items[position] = _mutate_tree(items[position], rng, value)
        elif draw < 0.85:
            del items[position]
        else:
            items = items * rng.choice((2, 100))
        return items if isinstance(tree, list) else tuple(items)
    return value(rng)


def _mutate_json(content, rng):
    tree = _mutate_tree(json.loads(content), rng, _plain_value)
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def _mutate_yaml(content, rng):
    tree = _mutate_tree(yaml.safe_load(content), rng, _plain_value)
    text = yaml.safe_dump(tree, allow_unicode=True, default_flow_style=rng.random() < 0.5)
    if rng.random() < 0.2:
        levels = rng.choice((3, 30))
        bomb = "".join(f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(levels))
        text = f"a0: &a0 [1]\n{bomb}" + yaml.safe_dump(tree)
    if rng.random() < 0.1:
        call = "x: !!python/object/apply:os.system [touch RAN]\n"
        text += rng.choice(("? [a]\n: b\n", call, "x: 2020-01-01\n", "<<: 1\n"))
    return text.encode("utf-8", "surrogatepass")


def _mutate_torch(content, rng):
    """Change a value in a file of torch.save, or bytes of one member of its archive."""
    is_zip = content[:2] == b"PK"
    if is_zip and rng.random() < 0.4:
        return _mutate_zip(content, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = torch.load(io.BytesIO(content), weights_only=True)
        except Exception:  # classes of other packages
            return _mutate_zip(content, rng) if is_zip else content
        out = io.BytesIO()
        torch.save(_mutate_tree(tree, rng, _torch_value), out, _use_new_zipfile_serialization=is_zip)
    return out.getvalue()


def _mutate_zip(content, rng):
    """Change one member of an archive; its checksum fits the new bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as original, zipfile.ZipFile(out, "w", rng.choice((0, 0, 8))) as mutated:
        names = original.namelist()
        pickled = [name for name in names if name.endswith("data.pkl")]
        chosen_name = rng.choice(pickled if pickled and rng.random() < 0.7 else names)
        for name in names:
            member = original.read(name)
            if name == chosen_name:
                member = mutate_bytes(member, rng)
                name = rng.choice((name, name, name, f"../{name}", "x/data.pkl", name.swapcase()))
            mutated.writestr(name, member)
    return out.getvalue()


def _mutate_safetensors(content, rng):
    size = struct.unpack("<Q", content[:8])[0]
    header = _mutate_json(content[8 : 8 + size], rng)
    stated_size = len(header) if rng.random() < 0.9 else rng.choice(_EDGES) % 2**64
    return struct.pack("<Q", stated_size) + header + content[8 + size :]


def _mutate_onnx(content, rng):
    import onnx  # optional: the extra onnx

    model = onnx.ModelProto.FromString(content)
    for _ in range(rng.randrange(1, 4)):
        _mutate_message(model, rng)
    return model.SerializeToString()


def _mutate_message(message, rng):
    while True:
        present_fields = [field for field, _ in message.ListFields()]
        fields = message.DESCRIPTOR.fields if rng.random() < 0.2 else present_fields
        if not fields:
            return
        field = rng.choice(fields)
        value = getattr(message, field.name)
        several = hasattr(value, "append") or hasattr(value, "add")
        if field.message_type is None:
            if field.type == field.TYPE_BYTES:
                new_value = mutate_bytes(b"x" if several else value, rng)
            elif field.type == field.TYPE_STRING:
                new_value = rng.choice(("", "x", "waveform", "w", "Loop", "If", "Concat", "Expand", "../x", "x" * 300))
            else:
                new_value = rng.choice((*_EDGES, 1, 2, 3, 7))
            try:
                if several:
                    value.append(new_value) if rng.random() < 0.5 or not value else value.__setitem__(0, new_value)
                else:
                    setattr(message, field.name, new_value)
            except (ValueError, TypeError):  # a number that the field cannot hold
                pass
            return
        if not several:
            message = value
            continue
        draw = rng.random()
        if not value or draw < 0.15:
            value.add()
            return
        if draw < 0.3:
            del value[rng.randrange(len(value))]
            return
        if draw < 0.4:
            value.add().CopyFrom(rng.choice(value))
            return
        message = rng.choice(value)


def _mutate_parquet(content, rng):
    import pyarrow.parquet as parquet  # optional: the extra nes2net[parquet]

    out = io.BytesIO()
    table = _mutate_column(parquet.read_table(io.BytesIO(content)), rng)
    options = {
        "compression": rng.choice(("none", "snappy", "gzip", "brotli", "zstd", "lz4")),
        "data_page_version": rng.choice(("1.0", "2.0")),
        "data_page_size": rng.choice((1, 1000, 1 << 20)),
        "use_dictionary": rng.random() < 0.5,
        "row_group_size": rng.choice((1, 3, 10**6)),
        "store_schema": rng.random() < 0.5,
    }
    parquet.write_table(table, out, **options)
    return out.getvalue()


def _mutate_arrow(content, rng):
    import pyarrow  # optional: as above

    is_file = content.startswith(b"ARROW1")
    original = (pyarrow.ipc.open_file if is_file else pyarrow.ipc.open_stream)(content).read_all()
    table = _mutate_column(original, rng)
    out = io.BytesIO()
    options = pyarrow.ipc.IpcWriteOptions(compression=rng.choice((None, "zstd", "lz4")))
    with (pyarrow.ipc.new_file if is_file else pyarrow.ipc.new_stream)(out, table.schema, options=options) as writer:
        writer.write_table(table, rng.choice((1, 2, 10**6)))
    return out.getvalue()


def _mutate_column(table, rng):
    import pyarrow  # optional: as above

    position = rng.randrange(table.num_columns)
    name = table.schema.names[position]
    values = table.column(position).to_pylist()
    draw = rng.random()
    if draw < 0.1:
        return pyarrow.concat_tables([table] * rng.choice((2, 1000)))
    if draw < 0.2:
        return table.remove_column(position)
    if draw < 0.3:
        return table.append_column(
            rng.choice((name, "label", "audio", "id", "x" * 300, "\x1b[2J")), table.column(position)
        )
    if draw < 0.4:
        metadata = rng.choice((b"{", b"[]", b"[" * 5000, b'{"info": {"features": {"label": {"names": [1]}}}}', b"\xff"))
        return table.replace_schema_metadata({"huggingface": metadata})
    new_column = rng.choice(
        (
            lambda: pyarrow.nulls(len(values)),
            lambda: pyarrow.array([_plain_value(rng) for _ in values]),
            lambda: pyarrow.array([str(_plain_value(rng)) for _ in values]).dictionary_encode(),
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
    return table.set_column(position, name, new_column())


def _mutate_npy(content, rng):
    """Change the shape, the type or the order in the header of an array, or write any header."""
    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    shape, order, dtype = np.lib.format.read_array_header_1_0(stream)
    header = {"descr": dtype.str, "fortran_order": order, "shape": shape}
    draw = rng.random()
    if draw < 0.4:
        header["shape"] = tuple(rng.choice((*_EDGES, *shape, 1, 3, 5)) for _ in range(rng.randrange(4)))
    elif draw < 0.7:
        types = ("<f8", ">f4", "<f2", "<i4", "<c8", "|O", "<U2", "|V4", "<M8[s]", ("<f4", (10**9,)), [("a", "<f4")])
        header["descr"] = rng.choice(types)
    elif draw < 0.8:
        header["fortran_order"] = not order
    else:
        header = _mutate_tree(header, rng, _plain_value)
    text = repr(header).encode("utf-8", "surrogatepass")[:65_000]
    rows = stream.read()
    if rng.random() < 0.3:
        rows = mutate_bytes(rows, rng)
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + rows


def _mutate_text(content, rng):
    lines = content.decode(errors="replace").splitlines()
    if not lines:
        return mutate_bytes(content, rng)
    position = rng.randrange(len(lines))
    draw = rng.random()
    if draw < 0.6:
        separator = next((mark for mark in ("\t", ",") if mark in lines[position]), " ")
        fields = lines[position].split(separator)
        new_field = str(_plain_value(rng))[:20_000]
        fields[rng.randrange(len(fields))] = rng.choice((new_field, f'"{new_field}', f'"{new_field}"', fields[0]))
        lines[position] = separator.join(fields)
    elif draw < 0.7:
        lines.insert(position, rng.choice(lines))
    elif draw < 0.8:
        del lines[position]
    elif draw < 0.9:
        lines[position] = lines[position] * rng.choice((2, 1000))
    else:
        rng.shuffle(lines)
    return rng.choice(("\n", "\n", "\r\n", "\r", "\n\n")).join(lines).encode("utf-8", "surrogatepass")


def _mutate_ogg(content, rng):
    pages = ogg.pages(content)
    draw = rng.random()
    position = rng.randrange(len(pages))
    if draw < 0.3:
        return ogg.begun_later(content, rng.choice((*_EDGES, -312, -100, 24, 100, 312, 960, 480_000)) % 2**63)
    if draw < 0.4:
        del pages[position]
    elif draw < 0.5:
        pages.insert(rng.randrange(len(pages)), pages[position])
    elif draw < 0.7:
        pages[position] = ogg.sealed(_mutate_header_of_page(pages[position], rng))
    elif draw < 0.8:
        pages[0] = ogg.sealed(_mutate_after(pages[0], pages[0].find(b"Opus"), rng))
    else:
        page = pages[position]
        pages[position] = ogg.sealed(_mutate_after(page, 27 + page[26], rng))
    return b"".join(pages)


def _mutate_header_of_page(page, rng):
    """Change the flags, the granule position, the serial number or the number of an Ogg page (RFC 3533, Sec. 6)."""
    start, end = rng.choice(((5, 6), (6, 14), (14, 18), (18, 22)))
    number = rng.choice((*_EDGES, rng.randrange(2**20))) % (1 << 8 * (end - start))
    return page[:start] + number.to_bytes(end - start, "little") + page[end:]


def _mutate_after(content, start, rng):
    """Change one to four bytes at ``start`` or later; the length stays."""
    changed = bytearray(content)
    for _ in range(rng.randrange(1, 5)):
        if 0 <= start < len(changed):
            end = len(changed) if rng.random() < 0.5 else min(len(changed), start + 40)
            changed[rng.randrange(start, end)] = rng.randrange(256)
    return bytes(changed)


def _mutate_title(content, rng):
    """Replace titles of a recording, its stream or its chapter by bytes of the same number, mostly not UTF-8."""
    title = TITLE.encode()
    position = content.find(title)
    while position >= 0:
        end = position + len(title)
        if rng.random() < 0.7:
            new_title = rng.choice((rng.randbytes(len(title)), b"\xff" * len(title), b"\0" * len(title)))
            content = content[:position] + new_title + content[end:]
        position = content.find(title, end)
    return content


def mutate_bytes(content: bytes, rng: Random) -> bytes:
    """Change bytes one to four times: flips, cuts, insertions, copies, repeated blocks, numbers at limits."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        # Half of the changes are near the start, because a header decides how the rest is read.
        size = len(changed)
        position = 0
        if size:
            position = rng.randrange(min(size, 200) if rng.random() < 0.5 else size)
        block = rng.choice((1, 2, 4, 8, 64, 1024))
        kind = rng.randrange(8)
        if kind == 0 and size:
            changed[position] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            changed[position] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif kind == 2:
            del changed[position : position + block]
        elif kind == 3:
            del changed[position:]
        elif kind == 4:
            changed[position:position] = rng.randbytes(block)
        elif kind == 5:
            changed[position:position] = changed[position : position + block] * rng.choice((1, 10, 1000))
        elif kind == 6:
            source = rng.randrange(size) if size else 0
            changed[position : position + block] = changed[source : source + block]
        else:
            width = rng.choice((2, 4, 8))
            order: Literal["little", "big"] = rng.choice(("little", "big"))
            changed[position : position + width] = (rng.choice(_EDGES) % (1 << 8 * width)).to_bytes(width, order)
    return bytes(changed)


_BY_SUFFIX = {
    **dict.fromkeys((".json", ".jsonl"), _mutate_json),
    **dict.fromkeys((".yaml", ".yml"), _mutate_yaml),
    **dict.fromkeys((".pth", ".pt"), _mutate_torch),
    **dict.fromkeys((".txt", ".csv", ".tsv", ".rttm"), _mutate_text),
    ".npy": _mutate_npy,
    **dict.fromkeys((".ogg", ".opus"), _mutate_ogg),
    **dict.fromkeys((".webm", ".mkv", ".m4a", ".mov", ".avi", ".flv", ".wv", ".tta", ".mp3"), _mutate_title),
    ".zip": _mutate_zip,
    ".parquet": _mutate_parquet,
    ".arrow": _mutate_arrow,
    ".safetensors": _mutate_safetensors,
    ".onnx": _mutate_onnx,
}


def mutate(path: Path, rng: Random) -> str:
    """Spoil a file in place, and say what was changed."""
    content = path.read_bytes()
    mutate_structure = _BY_SUFFIX.get(path.suffix)
    if mutate_structure is not None and rng.random() < 0.6:
        try:
            changed = mutate_structure(content, rng)
            how = f"structure of {path.name}"
        except (ValueError, TypeError, LookupError, RecursionError, OverflowError, yaml.YAMLError, csv.Error) as error:
            changed = mutate_bytes(content, rng)
            how = f"bytes of {path.name} ({type(error).__name__} in its structure)"
    else:
        changed = mutate_bytes(content, rng)
        how = f"bytes of {path.name}"
    path.write_bytes(changed)
    return how
