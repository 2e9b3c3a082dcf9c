"""Shards of recordings: Parquet, Arrow and tar files."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from builders import shards
from builders.hostile import Case, cases, nes2net
from builders.hostile.making import maker, written
from builders.recordings import noise
from nes2net.data.audio.packed import is_there
from nes2net.data.audio.read import load_audio
from nes2net.data.corpora.shards import CORPUS


def _flac():
    file = io.BytesIO()
    soundfile.write(file, noise(2000), 16000, format="FLAC")
    return file.getvalue()


def _rows(count=6, **changes):
    columns = {
        "path": [f"u{i}.flac" for i in range(count)],
        "audio": [(_flac(), f"u{i}.flac") for i in range(count)],
        "label": [i % 2 for i in range(count)],
        "notes": [json.dumps({"utterance_id": f"u{i}"}) for i in range(count)],
    }
    return shards.table({**columns, **changes})


def _table(folder, **changes):
    return shards.write_parquet(folder / "test-0.parquet", _rows(**changes))


@maker
def _parquet(folder, columns, **options):
    """A Parquet file of a few megabytes."""
    path = folder / "test-0.parquet"
    huge = {"compression": "zstd", "row_group_size": 1 << 30, "dictionary_pagesize_limit": 1 << 30}
    small = {"store_schema": False, "write_statistics": False}
    pq.write_table(pa.table(columns()), path, **{**small, **huge, **options})
    assert path.stat().st_size < 8 << 20
    return path


def _repeated(value, rows):
    """``value`` in every row, but once in the file."""
    kind = pa.binary() if isinstance(value, bytes) else None
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value], kind))


def _repeating(rows, audio=1, notes="{}"):
    return _parquet(lambda: {"audio": _repeated(b"A" * audio, rows), "notes": _repeated(notes, rows)})


def _alike():
    """Values that are the beginning of the one before, which is 1 MB long."""
    return {"audio": pa.array([b"A" * (1 << 20)] * 160, pa.binary()), "notes": ["{}"] * 160}


def _footer(chunks):
    """A Parquet file whose footer ends in a list of column chunks."""
    footer = _SCHEMA + chunks
    return written("test-0.parquet", b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")


# Version 1; a schema of an element; no rows; a row group (field 4) with a list of many column chunks.
_SCHEMA = b"\x15\x02\x19\x2c\x48\x06schema\x15\x02\x00\x15\x0c\x25\x00\x18\x05audio\x00\x16\x02\x19\x1c"


@maker
def _arrow(folder, batches, rows, size):
    """An Arrow stream of batches of ``rows`` recordings of ``size`` bytes, compressed."""
    path = folder / "data-0.arrow"
    offsets = pa.py_buffer(np.arange(rows + 1, dtype=np.int32) * size)
    audio = pa.BinaryArray.from_buffers(pa.binary(), rows, [None, offsets, pa.py_buffer(bytes(rows * size))])
    batch = pa.record_batch({"audio": audio})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        for _ in range(batches):
            writer.write_batch(batch)
    assert path.stat().st_size < 4 << 20
    return path


def _deltas(folder):
    """An Arrow stream whose dictionary of 20 MB grows by a word forty times, and is copied for each."""
    path = folder / "data-0.arrow"
    words = pa.array([f"{number}{'a' * 200}" for number in range(100_000)])
    schema = pa.schema([("audio", pa.binary()), ("label", pa.dictionary(pa.int32(), pa.string()))])
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema, options=options) as writer:
        for number in range(40):
            dictionary = pa.concat_arrays([words, pa.array([f"b{more}" for more in range(number)], pa.string())])
            label = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), dictionary)
            writer.write_batch(pa.record_batch([pa.array([b"x"], pa.binary()), label], schema=schema))
    return path


@maker
def _raw_tar(folder, *entries):
    """A tar file of members with these properties of :class:`tarfile.TarInfo`, with a recording in each file."""
    path = folder / "test-0.tar"
    content = _flac()
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for properties in entries:
            entry = tarfile.TarInfo()
            entry.size = 0 if "type" in properties else len(content)
            for key, value in properties.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(content))
    return path


@maker
def _offsets(folder, column):
    """An Arrow stream in which the offsets of a column reach far beyond its data, and back."""
    rows = pa.table({"audio": pa.array([b"xy", b"z"], pa.binary()), "notes": ["{}", "{}"]})
    path = shards.write_arrow(folder / "data-0.arrow", rows)
    unchanged_fields = struct.pack("<3i", 0, *((2, 3) if column == "audio" else (2, 4)))
    content = path.read_bytes()
    assert content.count(unchanged_fields) == 1
    path.write_bytes(content.replace(unchanged_fields, struct.pack("<3i", 0, 2_000_000_000, 1_000_000_000)))
    return path


def _listed(path):
    return len(CORPUS.trials(path))


def _decoded(path):
    """List the trials and decode all of them."""
    return sum(len(load_audio(trial.audio_path())) for trial in CORPUS.trials(path))


def _first_row(path):
    """Decode the first recording by its address, without a list of trials."""
    first = path / ("u0.flac" if path.suffix == ".tar" else "0")
    assert is_there(first)
    return len(load_audio(first))


def _checked(path):
    return nes2net("data", "check", "shards", path if path.is_dir() else path.parent)


_WIDE = '{"a": "\U0001f600' + "b" * 250_000 + '"}'
_REFUSED = "refused to save memory and time: it grows to "
_ROWS = {
    "audio of 10^6 times 1 MB": (_repeating(10**6, 1 << 20), r"[12]\d\d.\d MB of rows"),
    "a value of 160 MB, 8 times": (_repeating(8, 160 << 20), "167.8 MB of pages"),
    "values of 1 MB that begin alike": (
        _parquet(_alike, use_dictionary=False, column_encoding={"audio": "DELTA_BYTE_ARRAY"}),
        r"1\d\d.\d MB of rows",
    ),
    "40 compressed batches of 100 MB": (_arrow(40, 1, 100 << 20), "209.7 MB of rows"),
}
_LISTS = {
    "wide texts, 10^3 times": (_repeating(10**3, notes=_WIDE), "13.* MB of text beside"),
    "10^6 rows": (_repeating(10**6), "100,096 rows"),
    "a footer of 3 MB": (_footer(b"\x19\xfc\xc0\x84\x3d" + b"\x26\0\0" * 10**6), "768.0 MB of footer"),
    "10^7 empty rows in a batch": (_arrow(1, 10**7, 0), "10,000,001 rows"),
    "a dictionary that is copied for each batch": (_deltas, r".* of dictionaries"),
}
_NOTES = {
    "10,000 deep": ("[" * 10_000 + "]" * 10_000, "row 2: the notes: .* more than 100 deep"),
    "20 MB": (json.dumps({"a": "b" * 20_000_000}), "row 2: the notes are not JSON .20,000,0.. characters, more than"),
}
_KINDS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
_NO_FILES = [
    *({"name": name} for name in ("../../a.flac", "..", "f.flac")),
    *({"name": f"{kind.decode()}.flac", "type": kind, "linkname": "/etc/passwd"} for kind in _KINDS),
]


def _changed(column, good, value):
    """A Parquet file with ``value`` in the third row of ``column``."""
    return partial(_table, **{column: [good, good, value, good, good, good]})


_COLUMNS = {f"c{number}": range(6) for number in range(1100)}

CASES = [
    *cases(_first_row, {name: (make, _REFUSED + says) for name, (make, says) in _ROWS.items()}),
    *cases(_listed, {name: (make, _REFUSED + says) for name, (make, says) in _LISTS.items()}),
    Case("10^9 column chunks", _footer(b"\x19\xfc\x80\x94\xeb\xdc\x03"), _listed, "cut off or damaged"),
    Case("1,100 columns", partial(_table, **_COLUMNS), _listed, "test-0.* has 1,104 columns"),
    Case("offsets of audio beyond the data", _offsets("audio"), _first_row, "data-0.arrow"),
    Case("offsets of notes beyond the data", _offsets("notes"), _listed, "data-0.arrow"),
    *cases(_listed, _NOTES, "notes: ", partial(_changed, "notes", "{}")),
    Case("tar members that are no files", _raw_tar(*_NO_FILES), _decoded, None),
    Case("an absolute tar member", _raw_tar({"name": "/tmp/a.flac"}), _decoded, "an absolute name, '/tmp/a.flac'"),
    Case(
        "a tar member twice", _raw_tar(*[{"name": "a.flac"}] * 2), _decoded, "more than one recording: a.flac, a.flac"
    ),
    Case("data check of a cut shard", written("test-0.parquet", b"PAR1"), _checked, None),
]
