"""What stands in the JSON beside a score file: which run made it, with what, how fast; and what two runs of one file have in common."""

from __future__ import annotations

import hashlib
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
from nes2net.batch_scores import Scorer
from nes2net.data.trial import Trial
from nes2net.detector import Detector
from nes2net.devices import processor_name
from nes2net.errors import InputError


def run_identity(
    detector: Scorer, trials: Sequence[Trial], num_samples: int | None, legacy_train_mode: bool, compiled: bool
) -> dict[str, Any]:
    """Plain data that two runs have in common if and only if their scores may stand in one file."""
    return {
        "model": fingerprint(detector),
        "trials": _digest(trials),
        "num_samples": num_samples,
        "legacy_train_mode": legacy_train_mode,
        "dtype": str(detector.dtype).removeprefix("torch."),
        "device": detector.device.type,
        "compiled": compiled,
    }


def fingerprint(detector: Scorer) -> str:
    """SHA-256 of a detector's architecture and weights, or of the file that an exported one is run from."""
    if not isinstance(detector, Detector):
        return detector.fingerprint
    digest = hashlib.sha256(json.dumps(detector.config, sort_keys=True).encode())
    for name, tensor in detector.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _digest(trials: Sequence[Trial]) -> str:
    """Names and files, the same whether a folder is named from the root, from here, or by a link."""

    @cache
    def resolved(folder: str) -> str:
        return os.path.realpath(folder) if "\0" not in folder else folder  # the system knows no such name

    digest = hashlib.sha256()
    for trial in trials:
        folder, name = os.path.split(trial.path or "")
        digest.update(json.dumps([trial.id, resolved(folder), name]).encode())
    return digest.hexdigest()


def check_names(trials: Sequence[Trial]) -> None:
    """Raise :class:`InputError` for names that cannot each have a line of their own in a score file."""
    seen: set[str] = set()
    for trial in trials:
        name = trial.id
        if name in seen:
            raise InputError(f"two trials are named {name!r}, and a score file has one line for a name: name each once")
        seen.add(name)
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"the trial {name!r} has a name that is no text, which a score file cannot hold") from None
        if not name or "\n" in name:
            raise InputError(f"the trial {name!r} has a name that is no single line of a score file: rename it")


def plain(about: Mapping[str, Any]) -> dict[str, Any]:
    """``about`` as JSON gives it back; what JSON has no form for (a tensor, a date) becomes its text."""
    try:
        return json.loads(json.dumps(dict(about), default=str))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"what is told about the scores cannot be written as JSON ({error}): give plain data"
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """A record; empty where there is none, or something else."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def circumstances(detector: Scorer, batch_size: int, num_processes: int) -> dict[str, Any]:
    """With what scores were computed; it may change their last digits."""
    packages = ("torch", "transformers", "onnxruntime", "numpy")
    versions = {name: sys.modules[name].__version__ for name in packages if name in sys.modules}
    device = detector.device
    cuda = device.type == "cuda"
    return {
        "versions": {"nes2net": __version__, "python": platform.python_version(), **versions},
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if cuda else processor_name(),
        **({"tf32": _tf32()} if cuda else {}),
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "processes": num_processes,
    }


def _tf32() -> bool | None:
    """Whether anything in float32 is computed in TF32; None where the program chose so operator by operator."""
    try:
        return torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    except RuntimeError:
        return None
