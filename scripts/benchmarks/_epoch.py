"""An epoch of the published recipe with real files, measured on a slice: the published program, and the project's trainer.

The slice has fewer steps and fewer utterances of the development set. The time of a step is that of
the second half of the steps, because a run starts workers, chooses kernels and records a CUDA graph
in its first ones. The time of an utterance that is validated is a difference of two validations,
for the same reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from _plain_rawboost import PlainRawBoost
from _published import PublishedTraining
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nes2net.data.augment import RawBoostParameters
from nes2net.data.corpora.trial import Trial
from nes2net.training.data import development_batches, training_batches
from nes2net.training.dataset import Examples
from nes2net.training.loop import Trainer
from nes2net.training.sampling import by_step
from nes2net.training.validation import Validator

#: Steps of 12 utterances in an epoch of ASVspoof 2019 LA, utterances of its development set, and passes over it: with
#: RawBoost, and without.
STEPS = 2115
DEVELOPMENT = 24_844
PASSES = (True, False)
#: Of RawBoost.
ALGORITHM = 4


class Slice(NamedTuple):
    """The files of a slice, and the clock that measures it, in seconds."""

    training: Sequence[Trial]
    development: Sequence[Trial]
    #: a smaller development set
    few: Sequence[Trial]
    clock: Callable[[], float]


@dataclass
class Epoch:
    """What an epoch takes, in seconds, extrapolated from a slice."""

    step: float
    #: an utterance in both passes over the development set
    validated: float
    note: str

    @property
    def seconds(self) -> float:
        """Seconds of all steps and of the validation."""
        return STEPS * self.step + DEVELOPMENT * self.validated

    def columns(self) -> dict[str, float]:
        """The columns of a table."""
        validation = DEVELOPMENT * self.validated
        return {"ms of a step": 1e3 * self.step, "s of validation": validation, "min of an epoch": self.seconds / 60}


def labelled(trials: Sequence[Trial]) -> list[Trial]:
    """Give the trials classes, in turn."""
    return [replace(trial, label=("bonafide", "spoof")[number % 2]) for number, trial in enumerate(trials)]


def epoch_of(marks: Sequence[float], validate: Callable[[Sequence[Trial]], Any], trials: Slice) -> Epoch:
    """Extrapolate from the times ``marks`` at the ends of steps, and from two calls of ``validate``."""
    half = len(marks) // 2
    seconds = []
    for development in (trials.few, trials.development):
        start = trials.clock()
        validate(development)
        seconds.append(trials.clock() - start)
    num_more = len(trials.development) - len(trials.few)
    note = f"extrapolated from {len(marks) - half} steps and {num_more} utterances"
    return Epoch((marks[-1] - marks[half - 1]) / (len(marks) - half), (seconds[1] - seconds[0]) / num_more, note)


def median_epoch(epochs: Sequence[Epoch]) -> Epoch:
    """The medians of the seconds of ``epochs``, and in the note how far the epochs differ."""
    step = median(epoch.step for epoch in epochs)
    validated = median(epoch.validated for epoch in epochs)
    minutes = [epoch.seconds / 60 for epoch in epochs]
    note = epochs[0].note
    if len(epochs) > 1:
        note += f"; {min(minutes):.4g} to {max(minutes):.4g} min in {len(epochs)} rounds"
    return Epoch(step, validated, note)


def measure_trainer(trainer: Trainer, trials: Slice) -> Epoch:
    """Measure the project's trainer, whose data comes from ``trials``."""
    recipe = trainer.recipe
    pin_memory = trainer.accelerator.device.type == "cuda"
    loader = training_batches(recipe, Examples(list(trials.training)), None, pin_memory=pin_memory)
    loader.begin(1)
    marks = []
    for step, batches in enumerate(by_step(loader, recipe.train.accumulate)):
        trainer.train_step(batches, 1, step, False)
        marks.append(trials.clock())
    trainer.read_result()
    trainer.recorded_step.forget()

    def validate(development: Sequence[Trial]) -> None:
        loaders = development_batches(recipe, Examples(list(development)), None, pin_memory=pin_memory)
        validator = Validator(trainer.objective, loaders, trainer.accelerator, trainer.monitor, recipe)
        validator.run(1, replays=trainer.recorded_step.is_recordable)

    return epoch_of(marks, validate, trials)


@dataclass
class PublishedProgram:
    """Trains and validates as the published program does, with a detector of its modules.

    Args:
        workers: processes that read files.
    """

    training: PublishedTraining
    num_samples: int
    batch: int
    workers: int
    device: torch.device

    def batches(self, trials: Sequence[Trial], augmented: bool, shuffled: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Read batches, and copy them to the device."""
        dataset = PublishedFiles(trials, self.num_samples, augmented)
        loader = DataLoader(dataset, self.batch, shuffled, drop_last=shuffled, num_workers=self.workers)
        for waveforms, targets in loader:
            yield waveforms.to(self.device), targets.to(self.device)

    def measure(self, trials: Slice) -> Epoch:
        """Train and validate a slice."""
        self.training.model.train()
        marks = []
        for waveforms, targets in self.batches(trials.training, True, True):
            self.training.step(waveforms, targets)
            marks.append(trials.clock())
        return epoch_of(marks, self.validate, trials)

    @torch.no_grad()
    def validate(self, trials: Sequence[Trial]) -> float:
        """Compute the loss of the last pass."""
        self.training.model.eval()
        for augmented in PASSES:
            total = 0.0
            for waveforms, targets in self.batches(trials, augmented, False):
                total += self.training.loss(waveforms, targets).item() * len(targets)
        return total / len(trials)


class PublishedFiles(Dataset):
    """Reads whole files, applies RawBoost, and takes the first samples; a shorter recording is repeated."""

    def __init__(self, trials: Sequence[Trial], num_samples: int, augmented: bool) -> None:
        self.trials = trials
        self.num_samples = num_samples
        self.augmented = augmented

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        trial = self.trials[index]
        samples, _ = soundfile.read(trial.path, dtype="float32")
        if self.augmented:
            samples = PlainRawBoost(np.random.RandomState(index), RawBoostParameters())(samples, ALGORITHM)
        samples = np.tile(samples, self.num_samples // len(samples) + 1)[: self.num_samples]
        return torch.from_numpy(samples).float(), int(trial.label == "bonafide")
