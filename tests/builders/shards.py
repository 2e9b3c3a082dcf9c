"""Shards of recordings as other programs write them: Parquet and Arrow as ``datasets`` does, tar as WebDataset does."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from builders.files import write

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LABELS = ["bonafide", "spoof"]  # by their numbers
#: What ``datasets`` says of the Arena's columns.
ARENA = {
    "path": {"dtype": "string", "_type": "Value"},
    "audio": {"sampling_rate": 16000, "_type": "Audio"},
    "label": {"names": LABELS, "_type": "ClassLabel"},
    "notes": {"dtype": "string", "_type": "Value"},
}


def table(columns: Mapping[str, Sequence[Any]], features: Mapping[str, Any] | None = ARENA) -> pa.Table:
    """A table whose column ``audio`` holds pairs of content and file name, or dictionaries of them."""
    arrays = {name: pa.array(values) for name, values in columns.items() if name != "audio"}
    if "audio" in columns:
        recordings = [dict(zip(("bytes", "path"), v)) if isinstance(v, tuple) else v for v in columns["audio"]]
        arrays["audio"] = pa.array(recordings, AUDIO)
    rows = pa.table({name: arrays[name] for name in columns})
    if features is None:
        return rows
    described = {name: features[name] for name in columns if name in features}
    return rows.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": described}})})


def write_parquet(path: Path, rows: pa.Table, rows_in_group: int = 2) -> Path:
    """Write a Parquet file."""
    pq.write_table(rows, write(path), row_group_size=rows_in_group)
    return path


def write_arrow(path: Path, rows: pa.Table, rows_in_batch: int = 2, *, stream: bool = True) -> Path:
    """Write an Arrow stream, as ``save_to_disk`` does, or an Arrow file."""
    with pa.OSFile(str(write(path)), "wb") as sink:
        with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, rows.schema) as writer:
            writer.write_table(rows, rows_in_batch)
    return path


def write_tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """Write a tar file."""
    with tarfile.open(write(path), mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def as_tar(parquet: Path, folder: Path) -> Path:
    """Write the recordings of each packed Parquet file below ``parquet`` to a tar file in ``folder``."""
    for shard in parquet.rglob("*-of-*.parquet"):
        members = {}
        for row in pq.read_table(shard).to_pylist():
            name = Path(row["path"])
            notes = json.loads(row["notes"])
            notes["label"] = LABELS[row["label"]]
            members[name.name] = row["audio"]["bytes"]
            members[f"{name.stem}.json"] = json.dumps(notes).encode()
        number, *_ = shard.name.split("-of-")
        write_tar(folder / f"{number}.tar", members)
    return folder
