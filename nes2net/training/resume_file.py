"""The file ``resume.pt``: its content, and a check, because the file may come from anywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import torch
from pydantic import (
    AfterValidator,
    ConfigDict,
    FailFast,
    Field,
    FiniteFloat,
    PrivateAttr,
    ValidationError,
    model_validator,
)
from torch import Tensor

from nes2net.data.registry import corpora, effects
from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import ModelDescription
from nes2net.lib.parts.registry import check_installed
from nes2net.lib.storage.files import is_absent
from nes2net.lib.storage.plain_data import Natural, NotNegative, Seconds, StrictModel, Value, check_plain, first_problem
from nes2net.models.checkpoints.torch_file import read_torch_file
from nes2net.models.registry import PARTS
from nes2net.training.registry import losses, tasks
from nes2net.training.selection import HistoryRow

RESUME_FILE = "resume.pt"
#: File of the frozen tensors of an adapted front-end that began with random weights.
BASE_FILE = "base.pth"
#: Version of the content of ``resume.pt``.
VERSION = 5
#: Numbers and digests that identify the trials of a set.
Fingerprint: TypeAlias = dict[str, int | str]
#: The content of ``resume.pt`` by the names of :class:`_ResumeFile`.
ResumeContent: TypeAlias = Mapping[str, Any]
#: End of the message about a file that no version of nes2net can have written.
REMEDY = (
    "copy it again from an intact copy; or move the folder away, and start again, or from its last epoch_N.pth with "
    "`train.init_from`"
)

# Limits of the plain data in each part of the file, and the names of the parts that contain tensors.
_MAX_VALUES = 10**6
_MAX_CHARACTERS = 10**7
_WITH_TENSORS = ("detector", "objective", "optimizer", "stream")
_REGISTRIES = (*PARTS, losses, tasks, corpora, effects)  # of the parts that a run needs


class _Part(StrictModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class Progress(_Part):
    """The epoch and step that a run has reached.

    They and the recipe's seed determine all random numbers, except with ``augment.rng: legacy``.
    """

    epoch: Annotated[int, Field(ge=1)] = 1
    """From 1; being trained, or awaits its validation."""
    step: Natural = 0
    """Optimisation steps done in this epoch."""
    loss_sum: Value = 0.0
    """Sum of loss × utterances over these steps."""
    utterances: Natural = 0
    """Number of utterances that these steps have used."""
    lr: NotNegative = 0.0
    """Learning rate of the last step."""
    seconds: Seconds = 0.0
    """Time spent on this epoch up to the last save."""
    _since: float = PrivateAttr(default_factory=time.monotonic)

    @property
    def loss(self) -> float:
        """Mean loss of the epoch so far, as published: Σ(batch loss × batch size) / utterances."""
        return self.loss_sum / self.utterances if self.utterances else 0.0

    def count_time(self) -> None:
        """Add the time since the last call to ``seconds``."""
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now

    def state_dict(self) -> dict[str, float]:
        """Return all fields; ``seconds`` includes the time up to now."""
        self.count_time()
        return self.model_dump()


class _Trials(_Part):
    trials: Natural
    digest: str
    draws: Natural | None = None
    """Draws of an epoch; None if it draws each trial once."""
    groups: str | None = None
    """:meth:`nes2net.training.balance.Balance.digest`."""


class _Data(_Part):
    training: _Trials
    development: _Trials


class _Optimizer(_Part):
    state: dict[int, dict[str, Tensor]]


class _Scaler(_Part):
    scale: Annotated[float, Field(ge=1e-30, le=1e30)]
    growth_factor: Annotated[float, Field(gt=1, le=1000)]
    backoff_factor: Annotated[float, Field(gt=0, lt=1)]
    growth_interval: Annotated[int, Field(ge=1, lt=1 << 31)]
    growth_tracker: Annotated[int, Field(ge=0, lt=1 << 31, alias="_growth_tracker")]


def _check_32_bit_words(value: Tensor) -> Tensor:
    """(N,) int64, from 0 to 2^32 − 1."""
    if value.dtype != torch.int64 or value.ndim != 1 or not ((value >= 0) & (value < 2**32)).all():
        raise ValueError(f"expected whole numbers of 32 bits, found {value.dtype} of shape {tuple(value.shape)}")
    return value


class _Stream(_Part):
    """The states of two Mersenne Twisters, NumPy's (``keys``) and Python's (``gates``), of 624 words each."""

    keys: Annotated[Tensor, AfterValidator(_check_32_bit_words)]
    position: Annotated[int, Field(ge=0, le=624)]
    has_gauss: Annotated[int, Field(ge=0, le=1)]
    cached_gaussian: FiniteFloat
    gates: Annotated[Tensor, AfterValidator(_check_32_bit_words)]

    @model_validator(mode="after")
    def _check_generators(self) -> _Stream:
        if len(self.keys) != 624 or len(self.gates) != 625 or self.gates[-1] > 624:
            raise ValueError(f"expected generators of 624 words, found {len(self.keys)} and {len(self.gates) - 1}")
        return self


class _SavedRow(HistoryRow):
    __pydantic_extra__: dict[str, Value]  # type: ignore[assignment]  # a narrower type
    loss: Value
    lr: NotNegative
    seconds: Seconds
    improved: bool

    @model_validator(mode="after")
    def _check_interval(self) -> _SavedRow:
        values = self.__pydantic_extra__
        eer = "val_eer_wo_aug"
        if eer in values and not {f"{eer}_low", f"{eer}_high"} <= values.keys():
            raise ValueError(f"{eer} has no interval: expected {eer}_low and {eer}_high, too")
        return self


class _Base(_Part):
    digest: str
    file: str


class _ResumeFile(_Part):
    version: int
    recipe: dict[str, object]
    """Checked by :func:`nes2net.training.run_folder.check_same_run`."""
    data: _Data
    model: ModelDescription
    detector: dict[str, Tensor]
    objective: dict[str, Tensor]
    optimizer: _Optimizer
    selection: Annotated[list[_SavedRow], FailFast()]
    scaler: _Scaler | None
    stream: _Stream | None
    progress: Progress
    base: _Base | None = None
    """The value of :attr:`nes2net.detector.Detector.base`; None without adaptation."""
    started_from: list[dict[str, object]]
    """Provenance of the detectors that the run started from."""
    devices: list[str]
    """Devices that the run has used so far, for its model card."""
    shards: dict[str, str]
    """Address of each remote shard → its size and tag."""
    packages: dict[str, str]
    """Packages of parts that are not built in (:func:`nes2net.lib.parts.registry.packages_of`)."""

    @model_validator(mode="after")
    def _check_progress_and_history(self) -> _ResumeFile:
        if missing := Progress.model_fields.keys() - self.progress.model_fields_set:
            raise ValueError(f"progress lacks {', '.join(sorted(missing))}")
        epochs = [row.epoch for row in self.selection]
        if len(epochs) != self.progress.epoch - 1 or epochs != list(range(1, len(epochs) + 1)):
            raise ValueError(f"expected a row for each epoch before {self.progress.epoch}, found {len(epochs)}")
        return self


def read_resume_file(folder: Path) -> ResumeContent | None:
    """Read the ``resume.pt`` of the run in ``folder``; None if the file is missing.

    The caller still has to compare the tensors with the run (:meth:`RunState.load`).

    Raises:
        InputError: if the file is damaged, holds anything but the state of a run, or was written by
            another version of this package; or if a part of the run is not installed any more.
    """
    path = folder / RESUME_FILE
    if is_absent(path):
        return None
    try:
        content = read_torch_file(path)[0]
    except InputError as error:
        error.remedy = error.remedy and REMEDY  # nobody can download the file of their own run
        raise
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is not int or version != VERSION:
        raise InputError(
            f"{path} was written by another version of nes2net, and this one cannot resume from it: resume with that "
            "version, or move the folder away and start from its last epoch_N.pth with `train.init_from`"
        )
    try:
        check_plain(dict.fromkeys(content), "it")
        for name, state in content.items():
            tensors = (Tensor,) if name in _WITH_TENSORS else ()
            check_plain(state, "it", values=_MAX_VALUES, characters=_MAX_CHARACTERS, also=tensors)
        _ResumeFile.model_validate(content)
    except ValueError as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else error
        raise InputError(f"{path} is not the state of a run ({problem}): {REMEDY}") from error
    check_installed(str(path), content, _REGISTRIES)
    return content  # type: ignore[no-any-return]
