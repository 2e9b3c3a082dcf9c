"""The record of a score file: a JSON file beside the score file, about the run, its software, hardware and speed."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from nes2net.data.corpora.trial import Trial, trials_digest
from nes2net.lib.errors import InputError
from nes2net.lib.files import is_absent, read_bounded, sha256_of
from nes2net.lib.plain_data import Natural, Seconds, read_json_as, validated_json
from nes2net.lib.this_process import processor_name
from nes2net.models.provenance import Provenance
from nes2net.version import __version__

if TYPE_CHECKING:
    from nes2net.scoring.kernel import Scorer

_LARGEST_ABOUT = 16 << 20  # bytes
_LARGEST_WHOLE = 64 << 20  # largest size in bytes; a record may state a reason for each of many missing scores


def computing(scorer: Scorer, num_samples: int | None) -> dict[str, Any]:
    """Collect what a score depends on: the detector, its precision, the kind of device, and the number of samples."""
    return {
        "model": scorer.fingerprint(),
        "num_samples": num_samples,
        "dtype": scorer.precision,
        "device": scorer.computes_on.type,
    }


def run_identity(
    scorer: Scorer, trials: Sequence[Trial], num_samples: int | None, legacy_train_mode: bool, compiled: bool
) -> dict[str, Any]:
    """Collect the identity of a run: plain data, equal for two runs if and only if their scores may share a file."""
    run = computing(scorer, num_samples)
    run |= {"trials": recordings_digest(trials), "legacy_train_mode": legacy_train_mode, "compiled": compiled}
    if scorer.num_scores:
        run["system_scores"] = trials_digest(trials, lambda trial: f"{trial.id} {trial.system_scores}")
    return run


def recordings_digest(trials: Sequence[Trial]) -> str:
    """Compute the SHA-256 of the ids and paths of ``trials``.

    An absolute path, a relative path and a link to the same folder give the same digest.
    """

    @cache
    def resolved(folder: str) -> str:
        """Find the real path of a folder; cached, because many files share a folder."""
        return os.path.realpath(folder) if "\0" not in folder else folder  # no file system allows a null byte

    def line(trial: Trial) -> str:
        folder, name = os.path.split(trial.path or "")
        return json.dumps([trial.id, resolved(folder), name])

    return trials_digest(trials, line)


def plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Convert ``facts`` to plain data for JSON.

    A value that JSON cannot express, such as a date, becomes a text. A number that is not finite
    becomes None.

    Raises:
        InputError: if ``facts`` cannot be written as JSON.
    """
    try:
        return json.loads(json.dumps(dict(facts), default=str), parse_constant=lambda _: None)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"the facts given about the scores cannot be written as JSON ({error}): give plain data"
        ) from error


class Record(BaseModel):
    """All fields of a record. Pydantic's ``model_extra`` holds the fields that only people read."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    run: dict[str, str | int | float | bool | None]
    """The identity of the run, see :func:`nes2net.scoring.engine.run_over`."""
    failures: dict[str, str]
    """Id of a trial → the reason why its row is missing in the file."""
    sha256: str | None = None
    """SHA-256 of the file to which the record belongs."""
    audio_sha256: str | None = None
    """The :func:`audio_digest` of the trials that have a row."""
    judgement: dict[str, Any] | None = None
    """Name and options of the judgement in the file, for
    :class:`nes2net.scoring.judgement.ScoreFile`."""
    total: Natural | None = None
    """Number of trials."""
    kept_from_earlier_runs: Natural | None = None
    """Number of trials, or of shards, whose results earlier runs computed."""
    seconds: Seconds | None = None
    """Time that the run took."""
    list_sha256: str | None = None
    """SHA-256 of the list of ids beside an array."""

    @property
    def facts(self) -> dict[str, Any]:
        """The fields that only people read."""
        return self.model_extra or {}

    @property
    def provenance(self) -> Provenance:
        """The origin of the detector that made the scores; empty if the record does not state the origin."""
        return Provenance.read(self.mapping("checkpoint"))

    def mapping(self, key: str) -> dict[str, Any]:
        """Look up a mapping among :attr:`facts`; empty if there is no such mapping."""
        value = self.facts.get(key)
        return value if isinstance(value, dict) else {}

    def text(self, *keys: str) -> str:
        """Look up a text in nested mappings of :attr:`facts`, one key for each level; empty if there is no such text."""
        value: Any = self.facts
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""


def read_record(path: Path, num_trials: int, kind: str, remedy: str) -> Record | None:
    """Read the record ``path`` of a file with at most ``num_trials`` trials; None if there is no record.

    Args:
        kind: the kind of rows, such as ``"scores"``, for the message of an error.
        remedy: advice to the user for this message: what to do if the file is not a record.

    Raises:
        InputError: if the file is not a record.
    """
    if is_absent(path):
        return None
    # The record may take 16,000 bytes for each trial: 12,000 for a reason of 1,000 characters (JSON may write a
    # character in 12 bytes), and 4,000 for the id.
    return read_json_as(Record, path, _LARGEST_ABOUT + 16_000 * num_trials, f"a record of {kind}", remedy)


def read_whole_record(path: Path) -> Record:
    """Read all fields of a record, for example to show them to a user.

    Raises:
        InputError: if the file is not a record.
    """
    remedy = "give the JSON that stands beside a score file"
    return read_json_as(Record, path, _LARGEST_WHOLE, "a record of scores as `nes2net score` writes them", remedy)


def record_path(path: Path) -> Path:
    """Return the path of the record that stands beside the file ``path``."""
    return path.with_name(f"{path.name}.json")


def record_of(path: Path, sha256: str | None = None) -> Record | None:
    """Read the record beside ``path``; None if the record is missing, is no record or belongs to another file.

    A record belongs to the file if the record states the SHA-256 of the file. A record without a
    SHA-256 is returned unchecked.

    Args:
        sha256: SHA-256 of the file ``path``; None to compute the SHA-256 here.

    Raises:
        InputError: if the record cannot be read.
    """
    if is_absent(record_path(path)):
        return None
    content = read_bounded(record_path(path), _LARGEST_WHOLE)
    with suppress(ValueError, OSError):  # such as InputError, if ``path`` is missing or the content is no record
        record = validated_json(Record, content)
        if record.sha256 is None or record.sha256 == (sha256 or sha256_of(path)):
            return record
    return None


def audio_digest(trials: Iterable[Trial], stamps: Mapping[str, str]) -> str:
    """Compute the SHA-256 of the ids of ``trials`` and of the ``stamps`` of their files (id → stamp)."""
    return trials_digest(trials, lambda trial: f"{trial.id} {stamps[trial.id]}")


def circumstances(scorer: Scorer, batch_size: int) -> dict[str, Any]:
    """Collect the architecture, software and hardware of a run, which may change the last digits of scores."""
    import torch  # for a fast start-up: programs that read records need no PyTorch

    from nes2net.lib.devices import float32_settings  # for a fast start-up: nes2net.lib.devices imports PyTorch

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
