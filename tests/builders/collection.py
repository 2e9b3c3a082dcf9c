"""Small collections of noise in shards of each kind."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from builders.files import write_json
from builders.shards import table, write_arrow, write_parquet, write_tar

#: What a finished run over a collection records of itself.
RUN = {"model": "abc", "num_samples": 64600, "dtype": "float32", "device": "cpu"}


def flac(number: int, seconds: float = 0.5, rate: int = 16000) -> bytes:
    """A FLAC file of noise, another one for each ``number``."""
    samples = 0.1 * np.random.default_rng(number).standard_normal(round(seconds * rate))
    content = io.BytesIO()
    soundfile.write(content, samples.clip(-1, 1), rate, format="FLAC")
    return content.getvalue()


def write_shard(path: Path, recordings: dict[str, bytes]) -> Path:
    """Write ``recordings``, by id, as a shard of the kind that the suffix of ``path`` names; every other one is spoofed."""
    if path.suffix == ".tar":
        members = [
            ((f"{id}.flac", content), (f"{id}.cls", b"%d" % (n % 2)))
            for n, (id, content) in enumerate(recordings.items())
        ]
        return write_tar(path, dict(pair for both in members for pair in both))
    columns = {
        "path": [f"{id}.flac" for id in recordings],
        "audio": [(content, f"{id}.flac") for id, content in recordings.items()],
        "label": [number % 2 for number in range(len(recordings))],
        "notes": [json.dumps({"utterance_id": id}) for id in recordings],
    }
    return (write_arrow if path.suffix == ".arrow" else write_parquet)(path, table(columns), 3)


def write_record(folder: Path, content: dict[str, Any]) -> Path:
    """Write the record of a collection into the folder of its results."""
    return write_json(folder / "scale.json", content)
