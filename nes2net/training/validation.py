"""Validation: the loss and the figures of the objective on the development set."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator

from nes2net.data.corpora.trial import Trial
from nes2net.lib.devices import float32_products
from nes2net.lib.errors import InputError
from nes2net.scoring.kernel import scoring_mode
from nes2net.training.dataset import BatchLoader
from nes2net.training.distributed import gather_values
from nes2net.training.interruption import stop_without_data
from nes2net.training.measures import Validated
from nes2net.training.monitor import Monitor
from nes2net.training.objective import Objective, Outcome, Part
from nes2net.training.progress import Meter
from nes2net.training.recipes.augment import AugmentConfig
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.recipes.validation import ValidationConfig
from nes2net.training.seeding import seed_validation
from nes2net.training.task_contract import check_figures

_DESCRIBED = {"w_aug": " with RawBoost", "wo_aug": ""}


def passes(augment: AugmentConfig, validation: ValidationConfig) -> tuple[str, ...]:
    """List the names of the passes over the development set.

    The pass ``wo_aug`` is without augmentation. If the recipe augments validation with RawBoost,
    there is also the pass ``w_aug``.

    >>> passes(AugmentConfig(algo=4), ValidationConfig())
    ('w_aug', 'wo_aug')
    >>> passes(AugmentConfig(), ValidationConfig())
    ('wo_aug',)
    """
    if augment.algo and validation.augmented:
        return ("w_aug", "wo_aug")
    return ("wo_aug",)


def is_due(epoch: int, train: TrainConfig, validation: ValidationConfig) -> bool:
    """Whether ``epoch``, counted from 1, ends with a validation; the last epoch always does.

    ``validation.epochs: around_minima`` is the rule of CtrSVDD. With T = ``t_max``, the learning
    rate follows a cosine that has its minima in the epochs T, 3T, 5T and so on. The rule validates
    epoch 1 and, from epoch 2T + 2 on, each minimum and the epochs directly before and after a
    minimum.

    >>> validation = ValidationConfig(first_epoch=11)
    >>> [epoch for epoch in range(1, 101) if is_due(epoch, TrainConfig(), validation)][:3]
    [11, 12, 13]
    """
    if epoch == train.epochs:
        return True
    if epoch < validation.first_epoch:
        return False
    if validation.epochs == "all":
        return True
    period = 2 * train.t_max
    around = (epoch - train.t_max) % period in (period - 1, 0, 1)
    return epoch == 1 or (epoch > period + 1 and around)


class _BatchResult(NamedTuple):
    """The result of one batch, on the CPU; :class:`nes2net.training.dataset.Batch` explains ``errors`` and ``lost``."""

    #: index of the batch in the development set, over all processes
    number: int
    loss: float
    #: the outputs of the objective; empty if no file could be used
    outputs: dict[str, np.ndarray]
    targets: np.ndarray
    errors: list[str]
    lost: list[str]
    #: indices of the used trials in the development set
    trial_indices: Sequence[int]


class Validator:
    """Measures a detector on the development set.

    Each of n processes computes every n-th batch, and all processes get the values of the whole
    set.

    Args:
        objective: computes loss and outputs of a batch, and the figures of all batches.
        loaders: name of a pass (:func:`passes`) → loader of this process's batches, in the order of
            the set (:class:`nes2net.training.sampling.EpochBatches`).
        monitor: reports the files that failed.
        recipe: gives ``validation.mode``, and ``seed`` for the bootstrap and for dropout in train
            mode. In ``train`` mode, dropout is on, and batch normalisation updates its running
            statistics on development data.
        task: the task (:mod:`nes2net.training.tasks.task`), which declares measures; None for no
            check of the figures.

    Raises:
        InputError: if several processes are to validate in train mode.
    """

    def __init__(
        self,
        objective: Objective,
        loaders: dict[str, BatchLoader],
        accelerator: Accelerator,
        monitor: Monitor,
        recipe: Recipe,
        task: Any = None,
    ) -> None:
        self.mode = recipe.validation.mode
        self.seed = recipe.seed
        if self.mode == "train" and accelerator.num_processes > 1:
            raise InputError(
                "`validation.mode=train` needs the batches of the development set one after the other, but there are "
                f"{accelerator.num_processes} processes: train in one, or take `validation.mode=eval`"
            )
        self.objective = objective
        self.task = task
        self.loaders = loaders
        self.accelerator = accelerator
        self.monitor = monitor

    def run(self, epoch: int) -> dict[str, float]:
        """Measure the loss and the figures of each pass over the development set.

        :meth:`nes2net.training.objective.Objective.figures` computes the figures.

        Outputs are computed in float32, the type of the weights, as by ``nes2net score``, even if
        training has another precision. The detector is in eval mode, unless ``mode`` is ``train``.

        The loss is computed as published, with any number of processes: Σ(batch loss × batch
        size)/N, summed in float64. The loss of a batch is a weighted mean. Deviation 19: the
        published code printed half of this loss for the pass without augmentation.

        Returns:
            The values of the epoch, by their keys in the history.

        Raises:
            InputError: if no file can be used, if a loss or output is not finite, or if there are
                no trials for a figure.
            Unfinished: if a file cannot be read at present.
        """
        values: dict[str, float] = {}
        began = time.monotonic()
        detector = self.objective.detector
        if self.mode == "train":  # running statistics of batch normalisation change, and are not restored
            self.objective.begin_training(epoch)
        with float32_products(detector.precision) if self.mode == "train" else scoring_mode(detector):
            for name, loader in self.loaders.items():
                # Bring the results of all processes into the order of the set.
                batch_results = self._run_pass(name, loader, epoch)
                results = list(chain.from_iterable(gather_values(self.accelerator, batch_results)))
                results.sort(key=lambda result: result.number)
                lost = []
                errors = []
                for result in results:
                    lost += result.lost
                    errors += result.errors
                if lost:
                    stop_without_data(lost, "validation")
                if self.accelerator.is_main_process:  # the main process names each failed file once
                    self.monitor.report_failed_files(errors)
                values |= self._loss_and_figures(name, results, loader.dataset.trials, epoch)
        self.monitor.validation_seconds = time.monotonic() - began
        return values

    @torch.inference_mode()
    def _run_pass(self, name: str, loader: BatchLoader, epoch: int) -> list[_BatchResult]:
        loader.begin(epoch)
        accelerator = self.accelerator
        results = []
        meter = Meter(
            loader,
            title=f"epoch {epoch} of {self.monitor.selection.epochs}, development set{_DESCRIBED[name]}",
            unit="batch",
            shown=accelerator.is_main_process,
        )
        for number, batch in enumerate(meter):
            outcome = Outcome(torch.zeros(()), {})
            if len(batch.targets):
                carried = self.objective.ready(batch.carried, batch.waveforms.shape[1])
                inputs = Part.of_batch(batch, carried, accelerator.device)
                if self.mode == "train":
                    seed_validation(self.seed, epoch, number, list(self.loaders).index(name))
                outcome = self.objective.validate_batch(inputs)
            # A tensor from a worker is shared memory and keeps a file open, so store a copy.
            results.append((outcome, batch.targets.clone(), batch.errors, batch.lost, batch.trial_indices))
            meter.update(len(batch.targets) * accelerator.num_processes)
        batch_results = []
        for number, (outcome, targets, errors, lost, trial_indices) in enumerate(results):
            batch_results.append(
                _BatchResult(
                    accelerator.process_index + number * accelerator.num_processes,
                    outcome.loss.item(),  # item() waits for the device, so call it after the last batch
                    {output: rows.double().cpu().numpy() for output, rows in outcome.outputs.items()},
                    targets.numpy(),
                    errors,
                    lost,
                    trial_indices,
                )
            )
        return batch_results

    def _loss_and_figures(
        self, name: str, results: list[_BatchResult], trials: Sequence[Trial], epoch: int
    ) -> dict[str, float]:
        """Compute the loss and the figures of the pass ``name`` from the results of all batches.

        Args:
            trials: all trials of the development set; the results hold the indices of the trials
                whose files could be used.
            epoch: number of the epoch, for the message.

        Raises:
            InputError: if no file can be used, if a value is not finite, or as
                :meth:`nes2net.training.objective.Objective.figures`.
        """
        targets = np.concatenate([result.targets for result in results])
        if not len(targets):
            raise InputError("the development set has no usable file: mend the files named above")
        batch_outputs = [result.outputs for result in results if len(result.targets)]
        outputs = {output: np.concatenate([rows[output] for rows in batch_outputs]) for output in batch_outputs[0]}
        size_of = self.objective.criterion.size_of
        loss = math.fsum(result.loss * size_of(result.targets) for result in results) / max(size_of(targets), 1)
        if not math.isfinite(loss) or not all(np.isfinite(rows).all() for rows in outputs.values()):
            raise InputError(
                f"the development loss is {loss} after epoch {epoch}, or a score is not finite: lower the learning "
                "rate, `train.lr`"
            )
        used_trials = []
        for result in results:
            for index in result.trial_indices:
                used_trials.append(trials[index])
        validated = Validated(name, used_trials, targets, outputs, len(trials) - len(targets))
        figures = self.objective.figures(validated)
        if self.task is not None and self.task.subject:
            check_figures(self.task, name, figures)
        return {f"val_loss_{name}": loss, **figures}
