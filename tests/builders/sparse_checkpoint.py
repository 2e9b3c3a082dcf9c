"""Writes checkpoints of full size that take no room on the disk: all weights but a few are 0."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def write(path: Path, shapes: Mapping[str, Sequence[int]], first_values: Mapping[str, Sequence[float]] = {}):
    """Write a safetensors file of tensors with these shapes: float32, and int64 for counters of batches.

    ``first_values`` are the first numbers of some tensors. The rest of the file is a hole.
    """
    header = {}
    starts = {}
    position = 0
    for name, shape in shapes.items():
        is_counter = name.endswith("num_batches_tracked")
        end = position + math.prod(shape) * (8 if is_counter else 4)
        header[name] = {
            "dtype": "I64" if is_counter else "F32",
            "shape": list(shape),
            "data_offsets": [position, end],
        }
        starts[name] = position
        position = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        begin = file.tell()
        file.truncate(begin + position)
        for name, values in first_values.items():
            file.seek(begin + starts[name])
            file.write(np.asarray(values, np.float32).tobytes())
