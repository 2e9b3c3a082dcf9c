"""Shards of recordings: Parquet, Arrow and tar files."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from builders import shards
from builders.hostile import Case, nes2net
from nes2net.audio.packed import is_there
from nes2net.audio.read import load_audio
from nes2net.corpora.shards import CORPUS

_CUTS = (0.001, 0.3, 0.9, 0.97, 0.9999)  # of what is not filled up with zeros


def _flac(samples: int = 2000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(samples), 16000, format="FLAC")
    return file.getvalue()


def _rows(count: int = 6, **changes: Any) -> pa.Table:
    columns = {
        "path": [f"u{i}.flac" for i in range(count)],
        "audio": [(_flac(), f"u{i}.flac") for i in range(count)],
        "label": [i % 2 for i in range(count)],
        "notes": [json.dumps({"utterance_id": f"u{i}"}) for i in range(count)],
    }
    return shards.table({**columns, **changes})


def _tar(path: Path) -> Path:
    members = {f"u{i}.{kind}": of for i in range(6) for kind, of in (("flac", _flac()), ("json", b'{"label": 1}'))}
    return shards.write_tar(path, members)


_KINDS: dict[str, Callable[[Path], Path]] = {
    "parquet": lambda path: shards.write_parquet(path, _rows()),
    "arrow": lambda path: shards.write_arrow(path, _rows()),
    "file.arrow": lambda path: shards.write_arrow(path, _rows(), stream=False),
    "tar": _tar,
}


def _shard(folder: Path, kind: str) -> Path:
    return _KINDS[kind](folder / f"test-0.{kind}")


def _cut(folder: Path, kind: str, share: float) -> Path:
    path = _shard(folder, kind)
    content = path.read_bytes()
    content = content.rstrip(b"\0") if kind == "tar" else content
    path.write_bytes(content[: max(1, min(len(content) - 1, round(share * len(content))))])
    return path


def _replaced(folder: Path, kind: str, old: bytes, new: bytes) -> Path:
    path = _shard(folder, kind)
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    return path


def _table(folder: Path, **changes: Any) -> Path:
    return shards.write_parquet(folder / "test-0.parquet", _rows(**changes))


def _parquet(folder: Path, columns: Mapping[str, Any], **options: Any) -> Path:
    path = folder / "test-0.parquet"
    options = {"compression": "zstd", "store_schema": False, "row_group_size": 1 << 30, **options}
    pq.write_table(pa.table(columns), path, dictionary_pagesize_limit=1 << 30, **options)
    assert path.stat().st_size < 8 << 20
    return path


def _repeated(value: Any, rows: int) -> pa.DictionaryArray:
    """``value`` in every row, but once in the file."""
    kind = pa.binary() if isinstance(value, bytes) else None
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value], kind))


def _repeating(folder: Path, rows: int, audio: int = 1, notes: str = "{}", **options: Any) -> Path:
    columns = {"audio": _repeated(b"A" * audio, rows), "notes": _repeated(notes, rows)}
    return _parquet(folder, columns, **options)


def _delta(folder: Path) -> Path:
    """Values that are the beginning of the one before, which is 1 MB long."""
    columns = {"audio": pa.array([b"A" * (1 << 20)] * 300, pa.binary()), "notes": ["{}"] * 300}
    return _parquet(folder, columns, use_dictionary=False, column_encoding={"audio": "DELTA_BYTE_ARRAY"})


def _footer(folder: Path, start: bytes, repeated: bytes, count: int) -> Path:
    """A Parquet file whose footer ends in ``count`` times ``repeated``."""
    footer = start + repeated * count
    path = folder / "test-0.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path


# Version 1; a schema of an element; no rows; a row group (field 4) with a list of many column chunks.
_SCHEMA = b"\x15\x02\x19\x2c\x48\x06schema\x15\x02\x00\x15\x0c\x25\x00\x18\x05audio\x00\x16\x02\x19\x1c"


def _arrow(folder: Path, batches: int, rows: int, size: int, codec: str = "zstd") -> Path:
    """An Arrow stream of batches of ``rows`` recordings of ``size`` bytes, compressed."""
    path = folder / "data-0.arrow"
    offsets = pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * size)
    audio = pa.BinaryArray.from_buffers(pa.binary(), rows, [None, offsets, pa.py_buffer(bytes(rows * size))])
    batch = pa.record_batch({"audio": audio})
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        for _ in range(batches):
            writer.write_batch(batch)
    assert path.stat().st_size < 4 << 20
    return path


def _deltas(folder: Path) -> Path:
    """An Arrow stream whose dictionary of 20 MB grows by a word a thousand times, and is copied for each."""
    path = folder / "data-0.arrow"
    words = pa.array([f"{number}{'a' * 200}" for number in range(100_000)])
    schema = pa.schema([("audio", pa.binary()), ("label", pa.dictionary(pa.int32(), pa.string()))])
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema, options=options) as writer:
        for number in range(1000):
            known = pa.concat_arrays([words, pa.array([f"b{more}" for more in range(number)], pa.string())])
            label = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), known)
            writer.write_batch(pa.record_batch([pa.array([b"x"], pa.binary()), label], schema=schema))
    return path


def _embeddings(folder: Path, rows: int, size: int) -> Path:
    """Embeddings of ``rows`` recordings that share an id of ``size`` characters."""
    numbers = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * 2, np.float32)), 2)
    ids, labels = _repeated("a" * size, rows), _repeated("spoof", rows)
    return _parquet(folder, {"id": ids, "label": labels, "embedding": numbers}, store_schema=True)


def _flipped(folder: Path, kind: str, place: int) -> Path:
    """Another bit in each eighth byte of the metadata of an Arrow file, from ``place``."""
    path = _shard(folder, kind)
    content = bytearray(path.read_bytes())
    for number in range(place, 400, 8):
        content[number] ^= 1 << number % 7
    path.write_bytes(content)
    return path


def _nested(folder: Path, levels: int) -> Path:
    kind: Any = pa.string()
    for _ in range(levels):
        kind = pa.struct([("a", kind)])
    values = pa.nulls(6, kind)
    return shards.write_parquet(folder / "test-0.parquet", _rows().append_column("deep", values))


def _twice(folder: Path) -> Path:
    for number in range(2):
        shards.write_parquet(folder / f"test-{number}.parquet", _rows(2))
    return folder


def _raw_tar(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> Path:
    """A tar file of members with properties of :class:`tarfile.TarInfo`, each of a few bytes if it is a file."""
    path = folder / "test-0.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, properties in entries.items():
            entry = tarfile.TarInfo(name)
            content = properties.get("content", _flac())
            entry.size = len(content) if properties.get("type", tarfile.REGTYPE) == tarfile.REGTYPE else 0
            for key, value in properties.items():
                if key != "content":
                    setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _duplicates(folder: Path) -> Path:
    path = folder / "test-0.tar"
    with tarfile.open(path, "w") as archive:
        for content in (_flac(), _flac(3000)):
            entry = tarfile.TarInfo("a.flac")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def _announced(folder: Path, size: int) -> Path:
    """A tar file whose member announces ``size`` bytes in the base-256 form of GNU."""
    path = _raw_tar(folder, {"a.flac": {}})
    content = bytearray(path.read_bytes())
    content[124:136] = b"\x80" + size.to_bytes(11, "big")
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    path.write_bytes(content)
    return path


def _offsets(folder: Path, column: str) -> Path:
    """An Arrow stream in which the offsets of a column reach far beyond its data, and back."""
    path = folder / "data-0.arrow"
    schema = pa.schema([("audio", pa.binary()), ("notes", pa.string())])
    good = {"audio": pa.array([b"xy", b"z"], pa.binary()), "notes": pa.array(["{}", "{}"])}
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pydict(good, schema=schema))
    old = struct.pack("<3i", 0, *((2, 3) if column == "audio" else (2, 4)))
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, struct.pack("<3i", 0, 2_000_000_000, 1_000_000_000)))
    return path


def _listed(path: Path) -> int:
    return len(CORPUS.trials(path))


def _decoded(path: Path) -> int:
    """List the trials and decode all of them."""
    return sum(len(load_audio(trial.audio_path())) for trial in CORPUS.trials(path))


def _mapped(path: Path) -> Any:
    from nes2net.evaluation.embedding_map import map_embeddings

    return map_embeddings([path])


def _first_row(path: Path) -> int:
    """Decode the first recording by its address, without a list of trials."""
    first = path / ("u0.flac" if path.suffix == ".tar" else "0")
    assert is_there(first)
    return len(load_audio(first))


def _checked(path: Path) -> str:
    return nes2net("data", "check", "shards", path if path.is_dir() else path.parent)


_DEEP = "[" * 10_000
_WIDE = '{"a": "\U0001f600' + "b" * 250_000 + '"}'
_READ: dict[str, Callable[[Path], Any]] = {"trials": _decoded, "row": _first_row}

CASES: list[Case] = [
    *(
        Case(f"{kind}, whole, {name}", partial(_shard, kind=kind), read, None)
        for kind in _KINDS
        for name, read in _READ.items()
    ),
    *(
        Case(f"{kind}, cut at {share:.2%}", partial(_cut, kind=kind, share=share), _decoded, r"test-0\.\S* .*cut off")
        for kind in _KINDS
        for share in _CUTS
    ),
    *(
        Case(
            f"{kind}, cut at {share:.2%}, row",
            partial(_cut, kind=kind, share=share),
            _first_row,
            "test-0.*cut off|test-0.*damaged",
        )
        for kind in ("parquet", "arrow", "file.arrow", "tar")
        for share in (0.02, 0.97)
    ),
    *(
        Case(f"Parquet, {what}", make, read, f"refused to save memory and time: it grows to {says}")
        for what, make, read, says in (
            (
                "audio of 10^6 times 1 MB",
                partial(_repeating, rows=10**6, audio=1 << 20),
                _first_row,
                r"[12]\d\d.\d MB of rows",
            ),
            (
                "a value of 160 MB, 8 times",
                partial(_repeating, rows=8, audio=160 << 20),
                _first_row,
                "167.8 MB of pages",
            ),
            ("values of 1 MB that begin alike", _delta, _first_row, r"1\d\d.\d MB of rows"),
            (
                "texts of 1 MB, 10^4 times",
                partial(_repeating, rows=10**4, notes='{"a": "' + "b" * 10**6 + '"}'),
                _listed,
                r"1\d\d.\d MB of",
            ),
            ("wide texts, 10^3 times", partial(_repeating, rows=10**3, notes=_WIDE), _listed, "13.* MB of text beside"),
            ("10^7 rows", partial(_repeating, rows=10**7), _listed, "100,096 rows"),
            (
                "embeddings whose ids are 1 MB",
                partial(_embeddings, rows=10**4, size=10**6),
                _mapped,
                r"1\d\d.\d MB of rows",
            ),
            (
                "a footer of 3 MB",
                partial(_footer, start=_SCHEMA + b"\x19\xfc\xc0\x84\x3d", repeated=b"\x26\0\0", count=10**6),
                _listed,
                "768.0 MB of footer",
            ),
        )
    ),
    *(
        Case(f"Arrow, {what}", make, read, f"refused to save memory and time: it grows to {says}")
        for what, make, read, says in (
            (
                "zstd, 40 batches of 100 MB",
                partial(_arrow, batches=40, rows=1, size=100 << 20),
                _first_row,
                "209.7 MB of rows",
            ),
            (
                "zstd, 40 batches of 100 MB, listed",
                partial(_arrow, batches=40, rows=1, size=100 << 20),
                _listed,
                "209.7 MB of rows",
            ),
            (
                "lz4, a batch of 500 MB",
                partial(_arrow, batches=1, rows=1, size=500 << 20, codec="lz4"),
                _first_row,
                "524.3 MB of rows",
            ),
            ("10^7 empty rows", partial(_arrow, batches=1, rows=10**7, size=0), _listed, "10,000,001 rows"),
            ("a dictionary that is copied for each batch", _deltas, _listed, r".* of dictionaries"),
        )
    ),
    Case(
        "Parquet, a list of 10^9 elements",
        partial(_footer, start=_SCHEMA + b"\x19\xfc\x80\x94\xeb\xdc\x03", repeated=b"", count=1),
        _listed,
        "cut off or damaged",
    ),
    Case(
        "Parquet, 20,000 columns",
        partial(_table, **{f"c{n}": range(6) for n in range(20_000)}),
        _listed,
        "refused|it has 20,004 columns; at most 1,000",
    ),
    *(Case(f"Parquet, a column {levels} deep", partial(_nested, levels=levels), _decoded, None) for levels in (2, 30)),
    *(
        Case(
            f"{kind}, flipped metadata from {place}",
            partial(_flipped, kind=kind, place=place),
            read,
            "test-0.*|data-0.*",
        )
        for kind in ("arrow", "file.arrow")
        for place in range(8, 16)
        for read in (_decoded,)
    ),
    *(
        Case(f"Arrow, offsets of {column} beyond the data", partial(_offsets, column=column), read, "data-0.arrow")
        for column, read in (("audio", _first_row), ("notes", _listed))
    ),
    *(
        Case(f"label {label!r}", partial(_table, label=[0, 1, label, 0, 1, 0]), _listed, r"row 2: the label is")
        for label in (2, -1, 2**62)
    ),
    Case(
        "label in words",
        partial(_table, label=["0", "1", "bona", "0", "1", "0"]),
        _listed,
        "row 2: the label is 'bona'",
    ),
    Case("label of lists", partial(_table, label=[[0]] * 6), _listed, "the column 'label' is of type"),
    Case(
        "label of infinity",
        partial(_table, label=[0.0, float("inf"), 1.0, 0.0, 1.0, 0.0]),
        _listed,
        "row 1: the label is 'inf'",
    ),
    *(
        Case(f"notes: {what}", partial(_table, notes=["{}", notes, *["{}"] * 4]), _listed, says)
        for what, notes, says in (
            ("not JSON", "{'a': 1}", "row 1: the notes are not JSON"),
            ("10,000 deep", _DEEP, "row 1: the notes: .* more than 100 deep"),
            ("10,000 deep, closed", _DEEP + "]" * 10_000, "row 1: the notes: .* more than 100 deep"),
            ("a deep value", '{"a": ' + _DEEP + "]" * 10_000 + "}", "row 1: the notes: .* more than 100 deep"),
            ("20 MB", json.dumps({"a": "b" * 20_000_000}), "row 1: the notes are not JSON .more than"),
            ("a number of 5,000 digits", '{"a": ' + "9" * 5000 + "}", "row 1: the notes are not JSON"),
            ("a list", "[]", "row 1: the notes are not a mapping"),
            ("an id of two lines", '{"utterance_id": "a\\nb"}', None),
            ("an id of null bytes", '{"utterance_id": "a\\u0000"}', r"the id 'a\\x00' holds control characters"),
            ("an id without a character", '{"utterance_id": "\\ud800"}', None),
        )
    ),
    Case("one id in two shards", _twice, _listed, r"'u0' stands in test-0\.parquet.0 and in test-1\.parquet.0"),
    Case(
        "no audio column",
        lambda folder: shards.write_parquet(folder / "test-0.parquet", _rows().drop(["audio"])),
        _listed,
        "expected a column 'audio'",
    ),
    Case("audio of null", partial(_table, audio=[None] * 6), _decoded, "row 0 of .* no audio bytes"),
    Case(
        "audio elsewhere", partial(_table, audio=[(None, "/etc/passwd")] * 6), _decoded, "no audio bytes, only the path"
    ),
    Case("metadata that is not JSON", partial(_replaced, kind="arrow", old=b'"info"', new=b'"in"[]'), _listed, None),
    Case(
        "Arrow with another end",
        partial(_replaced, kind="file.arrow", old=b"ARROW1", new=b"ARROW2"),
        _listed,
        "test-0.file.arrow .*cut off",
    ),
    *(
        Case(f"tar member {what}", partial(_raw_tar, entries={**entries, "b.flac": {}}), _decoded, None)
        for what, entries in (
            ("above", {"../../a.flac": {}}),
            ("linked", {"a.flac": {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}}),
            ("hard-linked", {"a.flac": {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}}),
            ("of a device", {"a.flac": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}}),
            ("of a pipe", {"a.flac": {"type": tarfile.FIFOTYPE}}),
            ("of a folder", {"a.flac": {"type": tarfile.DIRTYPE}}),
            ("of a long name", {"a" * 5000 + ".flac": {}}),
            ("of an empty name", {"": {}}),
            ("of dots", {"..": {}, ".": {}}),
        )
    ),
    Case(
        "tar member of an absolute name",
        partial(_raw_tar, entries={"/tmp/a.flac": {}}),
        _decoded,
        "an absolute name, '/tmp/a.flac'",
    ),
    Case("tar member twice", _duplicates, _decoded, "'a.flac' is in it more than once"),
    *(
        Case(f"tar member of {size:,} bytes", partial(_announced, size=size), _decoded, "test-0.tar .*cut off")
        for size in (1 << 33, 1 << 62, (1 << 87) - 1)
    ),
    Case(
        "tar that is gzip",
        lambda folder: shards.write_tar(folder / "test-0.tar", {"a.flac": _flac()}, "w:gz"),
        _listed,
        "test-0.tar cannot be read",
    ),
    Case(
        "empty shard",
        lambda folder: [(folder / "test-0.parquet").write_bytes(b""), folder / "test-0.parquet"][1],
        _listed,
        "test-0.parquet cannot be read",
    ),
    Case("data check of a cut shard", partial(_cut, kind="parquet", share=0.5), _checked, None),
]
