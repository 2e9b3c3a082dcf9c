"""The state of a run in ``resume.pt``, from which it resumes at any optimisation step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from nes2net.augment.legacy import LegacyStream
from nes2net.checkpoints.state_dict import save_atomically
from nes2net.checkpoints.torch_file import read_torch_file
from nes2net.corpora.trial import Trial, trials_digest
from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.training.selection import Selection

RESUME_FILE = "resume.pt"
# Version of the content: 1 held whole epochs, 2 lacked recipe and data, 3 counted epochs from 0.
_VERSION = 4
#: End of the message about a run of those versions.
NUMBERED_FROM_0 = (
    "an earlier version of nes2net, which numbered epochs from 0; this version numbers them from 1 and cannot go on from it: go on with "
    "that version, or move the folder away and start from its last epoch_N.pth with `train.init_from`"
)


@dataclass
class Progress:
    """How far a run is.

    Together with the recipe's seed it determines all random numbers, except those of
    ``augment.rng: legacy``.
    """

    epoch: int = 1
    """Number of the epoch in training or awaiting its validation, counted from 1."""
    step: int = 0
    """Optimisation steps done in this epoch."""
    loss_sum: float = 0.0
    """Σ batch loss × utterances over these steps."""
    utterances: int = 0
    lr: float = 0.0
    """Learning rate of the last step."""
    seconds: float = 0.0
    """Time spent on this epoch up to the last save."""
    since: float = field(default_factory=time.monotonic, repr=False, compare=False)

    @property
    def loss(self) -> float:
        """Mean loss of the epoch so far, as published: Σ(batch loss × batch size) / utterances."""
        return self.loss_sum / self.utterances if self.utterances else 0.0

    def count_time(self) -> None:
        """Add the time since the last call to ``seconds``."""
        now = time.monotonic()
        self.seconds, self.since = self.seconds + now - self.since, now


@dataclass
class RunState:
    """The parts of a run that have a state; :meth:`load` restores exactly what :meth:`save` wrote.

    ``recipe``, as plain data, and ``data`` (:func:`fingerprint` of each part) identify the run.
    There is a ``scaler`` in fp16 only, and a ``stream`` for ``augment.rng: legacy`` only.
    """

    recipe: dict[str, Any]
    data: dict[str, dict[str, int | str]]

    detector: Detector
    optimizer: Optimizer
    selection: Selection
    scaler: Any = None
    stream: LegacyStream | None = None
    progress: Progress = field(default_factory=Progress)

    def content(self) -> dict[str, Any]:
        """Collect plain data and tensors; the tensors are the run's own, not copies."""
        self.progress.count_time()
        progress = asdict(self.progress)
        del progress["since"]
        return {
            "version": _VERSION,
            "recipe": self.recipe,
            "data": self.data,
            "model": self.detector.config,
            "detector": self.detector.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "selection": self.selection.history,
            "scaler": self.scaler.state_dict() if self.scaler else None,
            "stream": self.stream.state() if self.stream else None,
            "progress": progress,
        }

    def save(self) -> None:
        """Replace ``resume.pt`` as a whole, and only then remove checkpoints not to be kept."""
        save_atomically(self.content(), self.selection.folder / RESUME_FILE)
        self.remove_files()

    def remove_files(self) -> None:
        """Remove checkpoints that are not to be kept; call this once the history is saved."""
        for file in self.selection.files_to_remove():
            file.unlink()

    def load(self, content: dict[str, Any]) -> None:
        """Restore what :func:`read_resume_file` read, without keeping the file mapped.

        Raises:
            InputError: if the training or the development trials have changed.
        """
        self._check_data(content["data"])
        self.detector.load_state_dict(content["detector"])
        self.optimizer.load_state_dict(content["optimizer"])
        for moments in self.optimizer.state.values():
            for name, value in moments.items():
                if isinstance(value, Tensor) and value.device.type == "cpu":  # otherwise it is a copy already
                    moments[name] = value.clone()
        self.selection.history = content["selection"]
        if self.scaler:
            self.scaler.load_state_dict(content["scaler"])
        if self.stream:
            self.stream.load_state(content["stream"])
        self.progress = Progress(**content["progress"])

    def _check_data(self, before: dict[str, dict[str, int | str]]) -> None:
        for part, now in self.data.items():
            if now != before[part]:
                counts = f"{before[part]['trials']} then and {now['trials']} now"
                raise InputError(
                    f"{self.selection.folder} holds a run on another {part} set ({counts}, or other trials or another "
                    "order): name its corpus and protocols, or give this run a `comment` of its own"
                )

    @property
    def num_bytes(self) -> int:
        """Approximate size of ``resume.pt`` once the optimiser has its two moments."""
        weights = self.detector.state_dict().values()
        moments = 3 if self.optimizer.defaults.get("amsgrad") else 2
        trained = sum(p.numel() * p.element_size() for p in self.detector.parameters())
        return sum(t.numel() * t.element_size() for t in weights) + moments * trained


def fingerprint(trials: Sequence[Trial]) -> dict[str, int | str]:
    """Tell one list of trials from another by its length and the ids and labels in order, wherever the audio lies."""
    return {"trials": len(trials), "digest": trials_digest(trials, lambda trial: f"{trial.id}\t{trial.target}")}


def read_resume_file(folder: Path) -> dict[str, Any] | None:
    """Read the ``resume.pt`` of the run in ``folder``; None if the folder has no such file.

    Raises:
        InputError: if the file is damaged, or was written by another version of this package.
    """
    path = folder / RESUME_FILE
    if not path.is_file():
        return None
    content = read_torch_file(path)[0]
    version = content.get("version", 1) if isinstance(content, dict) else None
    if version in (1, 2, 3):
        raise InputError(f"{path} was written by {NUMBERED_FROM_0}")
    if version != _VERSION:
        raise InputError(
            f"{path} was written by another version of nes2net, and this one cannot go on from it: go on with that "
            "version, or move the folder away and start from its last epoch_N.pth with `train.init_from`"
        )
    return content
