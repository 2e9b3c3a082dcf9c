"""A set of recordings in the layout of the Speech Anti-Spoofing Arena."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from builders.files import folder as made
from builders.files import write


def write_arena_set(folder: Path, labels: Sequence[int], contents: Sequence[bytes] | None = None) -> Path:
    """Write a set of recordings ``u0``, ``u1``, … with these bytes of FLAC files; label 1 is spoof."""
    rows = []
    for number, label in enumerate(labels):
        path = f"u{number}.flac"
        audio = {"bytes": contents[number] if contents else b"", "path": path}
        rows.append({"path": path, "audio": audio, "label": label, "notes": f'{{"utterance_id": "u{number}"}}'})
    pq.write_table(pa.Table.from_pylist(rows), made(folder / "data") / "test-00000-of-00001.parquet")
    task = {"id": "antispoofing_eval", "config": "default", "split": "test", "metrics": ["eer_percent"]}
    task["field_spec"] = {"input": "audio", "target": "label"}
    write(folder / "eval.yaml", yaml.safe_dump({"name": "Tiny", "tasks": [task]}))
    return folder
