"""Shards of recordings: Parquet, Arrow and tar files."""

from __future__ import annotations

import io
import struct
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from builders import shards
from builders.hostile import Case, cases
from builders.hostile.making import maker, written
from builders.recordings import noise
from nes2net.data.audio.packed import is_there
from nes2net.data.audio.read import load_audio
from nes2net.data.corpora.shards import CORPUS


def _flac():
    file = io.BytesIO()
    soundfile.write(file, noise(2000), 16000, format="FLAC")
    return file.getvalue()


@maker
def _parquet(folder, columns, **options):
    """A Parquet file of a few megabytes."""
    path = folder / "test-0.parquet"
    huge = {"compression": "zstd", "row_group_size": 1 << 30, "dictionary_pagesize_limit": 1 << 30}
    pq.write_table(pa.table(columns()), path, **{"store_schema": False, **huge, **options})
    assert path.stat().st_size < 8 << 20
    return path


def _repeating(rows, size=1):
    """A recording of ``size`` bytes in every row, but once in the file."""

    def columns():
        numbers = pa.array(np.zeros(rows, np.int32))
        recording = pa.array([b"A" * size], pa.binary())
        return {"audio": pa.DictionaryArray.from_arrays(numbers, recording), "notes": ["{}"] * rows}

    return _parquet(columns)


def _deep_notes(folder):
    """A Parquet file whose third row has deep notes."""
    deep = "[" * 10_000 + "]" * 10_000
    rows = shards.table({"audio": [(_flac(), "u.flac")] * 3, "notes": ["{}", "{}", deep]})
    return shards.write_parquet(folder / "test-0.parquet", rows)


def _alike():
    """Values that are the beginning of the one before, which is 1 MB long."""
    return {"audio": pa.array([b"A" * (1 << 20)] * 300, pa.binary()), "notes": ["{}"] * 300}


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


def _offsets(folder):
    """An Arrow stream in which the offsets of the notes reach far beyond their data, and back."""
    rows = pa.table({"audio": pa.array([b"xy", b"z"], pa.binary()), "notes": ["{}", "{}"]})
    path = shards.write_arrow(folder / "data-0.arrow", rows)
    unchanged_fields = struct.pack("<3i", 0, 2, 4)
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


_REFUSED = "refused to save memory and time: it grows to "
_ROWS = {
    "audio of 10^6 times 1 MB": (_repeating(10**6, 1 << 20), r"[12]\d\d.\d MB of rows"),
    "values of 1 MB that begin alike": (
        _parquet(_alike, use_dictionary=False, column_encoding={"audio": "DELTA_BYTE_ARRAY"}),
        r"1\d\d.\d MB of rows",
    ),
    "40 compressed batches of 100 MB": (_arrow(40, 1, 100 << 20), "209.7 MB of rows"),
}
_LISTS = {
    "10^6 rows": (_repeating(10**6), "100,096 rows"),
    "a footer of 3 MB": (_footer(b"\x19\xfc\xc0\x84\x3d" + b"\x26\0\0" * 10**6), "768.0 MB of footer"),
    "10^7 empty rows in a batch": (_arrow(1, 10**7, 0), "10,000,001 rows"),
}
_KINDS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
_NO_FILES = [
    *({"name": name} for name in ("../../a.flac", "..", "f.flac")),
    *({"name": f"{kind.decode()}.flac", "type": kind, "linkname": "/etc/passwd"} for kind in _KINDS),
]


CASES = [
    *cases(_first_row, {name: (make, _REFUSED + says) for name, (make, says) in _ROWS.items()}),
    *cases(_listed, {name: (make, _REFUSED + says) for name, (make, says) in _LISTS.items()}),
    Case("10^9 column chunks", _footer(b"\x19\xfc\x80\x94\xeb\xdc\x03"), _listed, "cut off or damaged"),
    Case("offsets of notes beyond the data", _offsets, _listed, "data-0.arrow"),
    Case("deep notes", _deep_notes, _listed, "row 2: the notes: .* more than 100 deep"),
    Case("tar members that are no files", _raw_tar(*_NO_FILES), _decoded, None),
    Case("an absolute tar member", _raw_tar({"name": "/tmp/a.flac"}), _decoded, "an absolute name, '/tmp/a.flac'"),
    Case("a tar member twice", _raw_tar(*[{"name": "a.flac"}] * 2), _decoded, "'a.flac' is in it more than once"),
]
