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
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from builders import shards
from builders.hostile import Case, nes2net
from nes2net.audio import packed
from nes2net.audio.packed import is_there
from nes2net.audio.read import load_audio
from nes2net.corpora import shards as listing
from nes2net.corpora.shards import CORPUS

_CUTS = (0.001, 0.02, 0.3, 0.6, 0.9, 0.97, 0.995, 0.9999)  # of what is not filled up with zeros


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


def _expanding(folder: Path, column: str, rows: int, size: int) -> Path:
    """A Parquet file of a few MB in which every row has the same value of ``size`` bytes, written once."""
    value = b"A" * size
    audio = pa.array([value if column == "audio" else b"x"] * 2, pa.binary())
    indices = pa.array(np.zeros(rows, np.int32))
    arrays = {
        "audio": pa.DictionaryArray.from_arrays(indices, audio.slice(0, 1)),
        "notes": pa.DictionaryArray.from_arrays(indices, pa.array([value.decode() if column == "notes" else "{}"])),
    }
    path = folder / "test-0.parquet"
    pq.write_table(pa.table(arrays), path, row_group_size=rows, dictionary_pagesize_limit=size + 64, store_schema=False)
    assert path.stat().st_size < 40 << 20
    return path


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


def _under_limits(attempt: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """``attempt`` with limits that are reached sooner than those of the process."""

    def limited(path: Path) -> Any:
        with (
            mock.patch.object(packed, "_MOST_GROUP_BYTES", 64 << 20),
            mock.patch.object(listing, "_MOST_TEXT", 64 << 20),
        ):
            return attempt(path)

    return limited


def _first_row(path: Path) -> int:
    """Decode the first recording by its address, without a list of trials."""
    first = path / ("u0.flac" if path.suffix == ".tar" else "0")
    assert is_there(first)
    return len(load_audio(first))


def _checked(path: Path) -> str:
    return nes2net("check-data", "shards", path if path.is_dir() else path.parent)


_DEEP = "[" * 10_000
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
        Case(
            f"Parquet, {what} of 10^6 times 1 MB",
            partial(_expanding, column=what, rows=1_000_000, size=1 << 20),
            _under_limits(read),
            says,
        )
        for what, read, says in (
            ("audio", _first_row, r"row group 0 has 6\d\.. MB of audio; at most"),
            ("notes", _listed, "has more than .* of text beside its audio"),
        )
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
            ("10,000 deep", _DEEP, "row 1: the notes are not JSON"),
            ("10,000 deep, closed", _DEEP + "]" * 10_000, "row 1: the notes are not"),
            ("a deep value", '{"a": ' + _DEEP + "]" * 10_000 + "}", "row 1: the notes are not JSON"),
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
    Case("check-data of a cut shard", partial(_cut, kind="parquet", share=0.5), _checked, None),
]
