"""The JSON beside a score file: the run that made it, its software, hardware and speed."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from nes2net import __version__
from nes2net.corpora.protocol import MOST_BYTES
from nes2net.corpora.trial import Trial, trials_digest
from nes2net.errors import InputError
from nes2net.machine.files import read_bounded
from nes2net.machine.processors import processor_name
from nes2net.scoring.scorer import Scorer


def run_identity(
    scorer: Scorer, trials: Sequence[Trial], num_samples: int | None, legacy_train_mode: bool, compiled: bool
) -> dict[str, Any]:
    """Plain data that is equal for two runs if and only if their scores may share a file."""
    return {
        "model": scorer.fingerprint(),
        "trials": _digest(trials),
        "num_samples": num_samples,
        "legacy_train_mode": legacy_train_mode,
        "dtype": str(scorer.dtype).removeprefix("torch."),
        "device": scorer.device.type,
        "compiled": compiled,
    }


def _digest(trials: Sequence[Trial]) -> str:
    """SHA-256 of ids and files, equal for absolute and relative paths and for links to a folder."""

    @cache
    def resolved(folder: str) -> str:
        return os.path.realpath(folder) if "\0" not in folder else folder  # no file system allows a null byte

    def line(trial: Trial) -> str:
        folder, name = os.path.split(trial.path or "")
        return json.dumps([trial.id, resolved(folder), name])

    return trials_digest(trials, line)


def plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """Convert ``about`` to what JSON can hold.

    Other values, such as a date, become their text, and numbers that are not finite become None.
    """
    try:
        return json.loads(json.dumps(dict(about), default=str), parse_constant=lambda _: None)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"the facts given about the scores cannot be written as JSON ({error}): give plain data"
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """Read a record; empty if the file is missing or holds something else."""
    try:
        record = json.loads(read_bounded(path, MOST_BYTES))
    except (ValueError, RecursionError):  # InputError is a ValueError
        return {}
    return record if isinstance(record, dict) else {}


def circumstances(scorer: Scorer, batch_size: int, num_processes: int) -> dict[str, Any]:
    """The software and hardware of a run; all of it may change the last digits of scores."""
    packages = ("torch", "transformers", "onnxruntime", "numpy")
    versions = {name: sys.modules[name].__version__ for name in packages if name in sys.modules}
    device = scorer.device
    cuda = device.type == "cuda"
    return {
        "versions": {"nes2net": __version__, "python": platform.python_version(), **versions},
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if cuda else processor_name(),
        **({"tf32": False} if cuda else {}),  # see scoring_mode
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "processes": num_processes,
    }
