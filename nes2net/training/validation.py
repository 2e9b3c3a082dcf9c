"""Validation: the loss and the figures of the objective on the development set."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from nes2net.lib.computing.cuda_graph import Replayed
from nes2net.lib.computing.devices import PRECISIONS, float32_products
from nes2net.lib.errors import InputError, refuse
from nes2net.scoring.kernel import depends_on_batch, scoring_mode
from nes2net.training.dataset import BatchLoader, StepPart, TrainingSet, collate
from nes2net.training.distributed import SCORING_PRECISIONS, check_supports
from nes2net.training.half_weights import half_weights
from nes2net.training.interruption import stop_without_data
from nes2net.training.measures import Figures, Validated
from nes2net.training.monitor import Monitor
from nes2net.training.objective import Objective, Outcome
from nes2net.training.progress import Meter
from nes2net.training.recipes.augment import AugmentConfig
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.recipes.validation import ValidationConfig
from nes2net.training.seeding import seed_validation
from nes2net.training.task_contract import check_figures, check_parts_finite

_PASSES_IN_WORDS = {"w_aug": " with RawBoost", "wo_aug": ""}


def passes(augment: AugmentConfig, validation: ValidationConfig) -> tuple[str, ...]:
    """List the names of the passes over the development set.

    ``wo_aug`` is without augmentation; ``w_aug`` is added if the recipe augments validation with
    RawBoost.

    >>> passes(AugmentConfig(algo=4), ValidationConfig())
    ('w_aug', 'wo_aug')
    >>> passes(AugmentConfig(), ValidationConfig())
    ('wo_aug',)
    """
    if augment.algo and validation.augmented:
        return ("w_aug", "wo_aug")  # the last one decides, see Selection
    return ("wo_aug",)


def is_due(epoch: int, train: TrainConfig, validation: ValidationConfig) -> bool:
    """Whether ``epoch``, counted from 1, ends with a validation; the last epoch always does.

    ``validation.epochs: around_minima`` is the rule of CtrSVDD. With T = ``t_max``, the learning
    rate has its minima in the epochs T, 3T, 5T and so on. The rule validates epoch 1 and, from
    epoch 2T + 2 on, each minimum and the epochs directly before and after it.

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
    """The result of ``train.batch_size`` utterances, whose loss is computed together."""

    #: at the end of a pass with NumPy's arrays
    outcome: Outcome
    targets: np.ndarray
    #: indices of the used trials in the development set
    trial_indices: Sequence[int]


@dataclass
class Validator:
    """Measures a detector on the development set.

    Each of n processes computes every n-th batch, and all get the values of the whole set.

    Args:
        loaders: name of a pass (:func:`passes`) → loader of this process's batches
            (:class:`nes2net.training.sampling.EpochBatches`).
        recipe: gives mode, precision, sizes, and ``seed`` for the bootstrap and dropout. In
            ``train`` mode, dropout is on, and batch normalisation updates its statistics on
            development data.
        task: declares the measures; None skips the check of the figures.

    Raises:
        InputError: if several processes are to validate in train mode, or if the device does not
            support the precision.
    """

    objective: Objective
    loaders: dict[str, BatchLoader]
    accelerator: Accelerator
    monitor: Monitor
    recipe: Recipe
    task: Any = None

    def __post_init__(self) -> None:
        validation = self.recipe.validation
        self.mode = validation.mode
        self.precision = validation.precision or self.recipe.train.precision
        num_processes = self.accelerator.num_processes
        refuse(
            (
                self.mode == "train" and num_processes > 1,
                "`validation.mode=train` needs the batches of the development set one after the other, but there are "
                f"{num_processes} processes: train in one, or use `validation.mode=eval`",
            ),
            (
                validation.batch_size is not None and depends_on_batch(self.objective.detector),
                "`model.frontend.normalize=batch` normalises over the utterances computed at once: remove "
                "`validation.batch_size`",
            ),
        )
        check_supports("validation.precision", self.precision, self.accelerator.device)

    def run(self, epoch: int, replays: bool = False) -> Figures:
        """Measure the loss and the figures of each pass over the development set.

        The loss is computed as published, whatever is computed at once: Σ(group loss × group
        size)/N, summed in float64, over groups of ``train.batch_size`` utterances, where a group's
        loss is a weighted mean. Deviation 19: the published code printed half of this loss without
        augmentation.

        Args:
            replays: whether to replay the front-end as a CUDA graph.

        Returns:
            The values of the epoch, by their keys in the history.

        Raises:
            InputError: if no file can be used, if a loss or output is not finite, or if there are
                no trials for a figure.
            Unfinished: if a file cannot be read at present.
        """
        values: Figures = {}
        began = time.monotonic()
        if self.mode == "train":  # running statistics of batch normalisation change, and are not restored
            self.objective.begin_training(epoch)
        may_replay = self.mode == "eval" and not self.recipe.validation.whole_utterances
        features = Replayed(self.objective.features, max_shapes=int(replays and may_replay))
        detector = self.objective.detector
        precision = SCORING_PRECISIONS[self.precision]
        if self.mode == "train":
            mode = float32_products(precision)
        else:
            mode = scoring_mode(detector, precision=precision)
        is_half = self.precision in ("bf16", "fp16")
        autocast = torch.autocast(detector.device.type, PRECISIONS[precision], enabled=is_half)
        with mode, autocast, half_weights(detector, self.precision)():
            for name, loader in self.loaders.items():
                gathered = gather_object([self._run_pass(name, loader, epoch, features)])
                results, errors, lost = (list(chain.from_iterable(lists)) for lists in zip(*gathered))
                results.sort(key=lambda result: result.trial_indices)  # into the order of the set
                if lost:
                    stop_without_data(lost, "validation")
                if self.accelerator.is_main_process:  # the main process names each failed file once
                    self.monitor.report_failed_files(errors)
                values |= self._loss_and_figures(name, results, loader.dataset, epoch)
        self.monitor.validation_seconds = time.monotonic() - began
        return values

    @torch.inference_mode()
    def _run_pass(
        self, name: str, loader: BatchLoader, epoch: int, compute_features: Callable[[Tensor], Any]
    ) -> tuple[list[_BatchResult], list[str], list[str]]:
        """Return this process's results, and messages about its failed and its unreachable files."""
        loader.begin(epoch)
        # Whole utterances are computed, and counted, one at a time.
        group_size = min(self.recipe.train.batch_size, loader.batch_sampler.batch_size)
        results: list[_BatchResult] = []
        errors: list[str] = []
        lost: list[str] = []
        title = f"epoch {epoch} of {self.monitor.selection.epochs}, development set{_PASSES_IN_WORDS[name]}"
        meter = Meter(loader, title=title, unit="batch", total=len(loader))
        for number, batch in enumerate(meter):
            # A tensor from a worker is shared memory and keeps a file open, so store a copy.
            targets = batch.part.targets.clone().numpy()
            errors += batch.errors
            lost += batch.lost
            if len(targets):
                inputs = self._on_device(batch.part)
                if self.mode == "train":
                    seed_validation(self.recipe.seed, epoch, number, list(self.loaders).index(name))
                features = compute_features(inputs.inputs)
                end = 0
                for _, indices in groupby(batch.trial_indices, lambda index: index // group_size):
                    trial_indices = list(indices)
                    rows = slice(end, end + len(trial_indices))
                    end = rows.stop
                    group_features, group_part = tree_map_only(Tensor, itemgetter(rows), (features, inputs))
                    outcome = self.objective.validate(group_features, group_part)
                    results.append(_BatchResult(outcome, targets[rows], trial_indices))
            meter.update(len(targets) * self.accelerator.num_processes)
        # This waits for the device, so it comes after the last batch.
        return tree_map_only(Tensor, lambda rows: rows.double().cpu().numpy(), results), errors, lost

    def _on_device(self, batch_part: StepPart) -> StepPart:
        extra_tensors = self.objective.prepare_extra_tensors(batch_part.extra_tensors, batch_part.inputs.shape[1])
        return batch_part._replace(extra_tensors=extra_tensors).to(self.accelerator.device)

    def _loss_and_figures(self, name: str, results: list[_BatchResult], dataset: TrainingSet, epoch: int) -> Figures:
        trials = dataset.trials
        if not results:
            raise InputError("the development set has no usable file: correct or replace the files named above")
        targets = np.concatenate([result.targets for result in results])
        names = results[0].outcome.outputs
        outputs = {name: np.concatenate([result.outcome.outputs[name] for result in results]) for name in names}
        size_of = self.objective.criterion.size_of
        loss = math.fsum(result.outcome.loss * size_of(result.targets) for result in results) / max(size_of(targets), 1)
        for result in results:
            if all(np.isfinite(numbers).all() for numbers in tree_leaves(result.outcome)):
                continue
            # Read the batch again, to name a part of another package that is to blame.
            batch = collate([dataset[epoch, index] for index in result.trial_indices])
            if len(batch.part.targets):
                check_parts_finite(self.task, self.objective, [self._on_device(batch.part)])
            raise InputError(
                f"the development loss is {loss} after epoch {epoch}, or a score is not finite: lower the learning "
                "rate, `train.lr`"
            )
        used_trials = [trials[index] for index in chain.from_iterable(result.trial_indices for result in results)]
        validated = Validated(name, used_trials, targets, outputs, len(trials) - len(targets))
        figures = self.objective.figures(validated)
        if self.task is not None and self.task.subject:
            check_figures(self.task, name, figures)
        return {f"val_loss_{name}": loss, **figures}
