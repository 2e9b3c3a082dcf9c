"""The record of a score file, ``{file}.json``: run, software, hardware and speed."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from nes2net.data.corpora.trial import Trial, Trials, trials_digest
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.process.this_process import processor_name
from nes2net.lib.storage.files import is_absent, read_bounded
from nes2net.lib.storage.plain_data import Natural, Seconds, read_json_as, validate_json
from nes2net.lib.storage.text_files import sha256_once
from nes2net.models.provenance import Provenance
from nes2net.scoring.journal import Stamps
from nes2net.version import __version__

if TYPE_CHECKING:
    from nes2net.scoring.kernel import Scorer

_MAX_HEAD_BYTES = 16 << 20  # bytes
_MAX_RECORD_BYTES = 64 << 20  # largest size in bytes; a record may state a reason for each of many missing scores


def score_dependencies(scorer: Scorer, num_samples: int | None) -> Facts:
    """Collect what a score depends on: detector, precision, kind of device and number of samples."""
    return {
        "model": scorer.fingerprint(),
        "num_samples": num_samples,
        "dtype": scorer.precision,
        "device": scorer.computes_on.type,
    }


def recordings_digest(trials: Trials) -> str:
    """Compute the SHA-256 of ids, real paths and parts; relative paths and links give the same."""

    @cache
    def resolved(folder: str) -> str:
        return os.path.realpath(folder) if "\0" not in folder else folder  # no file system allows a null byte

    def line(trial: Trial) -> str:
        folder, name = os.path.split(trial.path or "")
        return json.dumps([trial.id, resolved(folder), name, str(trial.part)])

    return trials_digest(trials, line)


def plain(facts: Facts) -> Facts:
    """Convert ``facts`` for JSON: dates and the like to texts, numbers that are not finite to None.

    Raises:
        InputError: if JSON cannot express ``facts``.
    """
    try:
        return json.loads(json.dumps(dict(facts), default=str), parse_constant=lambda _: None)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"the facts given about the scores cannot be written as JSON ({error}): give only text, numbers, lists and mappings"
        ) from error


class Record(BaseModel):
    """A record; ``model_extra`` holds fields that only people read."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    run: dict[str, str | int | float | bool | None]
    """Identity of the run (:func:`nes2net.scoring.engine.run_over`)."""
    failures: dict[str, str]
    """Id → reason of a missing row."""
    sha256: str | None = None
    """SHA-256 of the recorded file."""
    audio_sha256: str | None = None
    """:func:`audio_digest` of the trials with a row."""
    judgement: FactsDict | None = None
    """Name and options, for :class:`nes2net.scoring.judgement.ScoreFile`."""
    total: Natural | None = None
    """Number of trials."""
    kept_from_earlier_runs: Natural | None = None
    """Trials, or shards, that earlier runs computed."""
    seconds: Seconds | None = None
    """Duration of the run."""
    resolution_ms: Annotated[FiniteFloat, Field(gt=0, lt=1e6)] | None = None
    """Length of the scored frames in ms."""
    list_sha256: str | None = None
    """SHA-256 of the list of ids beside an array."""

    @property
    def facts(self) -> Facts:
        """Fields that only people read."""
        return self.model_extra or {}

    @property
    def provenance(self) -> Provenance:
        """Origin of the detector; empty if not recorded."""
        return Provenance.read(self.mapping("checkpoint"))

    def mapping(self, key: str) -> Facts:
        """Look up a mapping in :attr:`facts`; empty if missing."""
        value = self.facts.get(key)
        return value if isinstance(value, dict) else {}

    def text(self, *keys: str) -> str:
        """Look up a text in nested mappings of :attr:`facts`; empty if missing."""
        value: Any = self.facts
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""


def read_record(path: Path, num_trials: int, kind: str, remedy: str) -> Record | None:
    """Read a record of at most ``num_trials`` trials; None if there is none.

    Args:
        kind: kind of rows, such as ``"scores"``, for messages.
        remedy: advice for messages.

    Raises:
        InputError: if the file is not a record.
    """
    if is_absent(path):
        return None
    # The record may take 16,000 bytes for each trial: 12,000 for a reason of 1,000 characters (JSON may write a
    # character in 12 bytes), and 4,000 for the id.
    return read_json_as(Record, path, _MAX_HEAD_BYTES + 16_000 * num_trials, f"a record of {kind}", remedy)


def read_whole_record(path: Path) -> Record:
    """Read all fields of a record.

    Raises:
        InputError: if the file is not a record.
    """
    remedy = "give the file NAME.json beside a score file"
    return read_json_as(Record, path, _MAX_RECORD_BYTES, "a record of scores as `nes2net score` writes them", remedy)


def record_path(path: Path) -> Path:
    """Return the path of the record of ``path``."""
    return path.parent / f"{path.name}.json"


def record_of(path: Path) -> Record | None:
    """Read the record of ``path``; None if it is missing, no record, or states another SHA-256.

    Raises:
        InputError: if the record cannot be read.
    """
    if is_absent(record_path(path)):
        return None
    content = read_bounded(record_path(path), _MAX_RECORD_BYTES)
    with suppress(ValueError, OSError):  # such as InputError, if ``path`` is missing or the content is no record
        record = validate_json(Record, content)
        if record.sha256 is None or record.sha256 == sha256_once(path):
            return record
    return None


def audio_digest(trials: Iterable[Trial], stamps: Stamps) -> str:
    """Compute the SHA-256 of ids and of ``stamps`` (id → stamp)."""
    return trials_digest(trials, lambda trial: f"{trial.id} {stamps[trial.id]}")


def describe_computation(scorer: Scorer, batch_size: int) -> Facts:
    """Collect architecture, software and hardware, which may change last digits of scores."""
    import torch  # for a fast start-up: programs that read records need no PyTorch

    from nes2net.lib.computing.devices import (
        float32_settings,  # for a fast start-up: nes2net.lib.computing.devices imports PyTorch
    )

    packages = ("torch", "transformers", "onnxruntime", "numpy")
    versions = {name: sys.modules[name].__version__ for name in packages if name in sys.modules}
    device = scorer.computes_on
    device_name: str | None = None  # None if onnxruntime uses a GPU that PyTorch cannot use
    if device.type != "cuda":
        device_name = processor_name()
    elif torch.cuda.is_available():
        device_name = torch.cuda.get_device_name(device)
    return {
        "architecture": plain(scorer.config),
        "score_rule": scorer.score_rule,
        "versions": {"nes2net": __version__, "python": platform.python_version(), **versions},
        "device": str(device),
        "device_name": device_name,
        "float32_products": float32_settings(),  # in scoring_mode
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
    }
