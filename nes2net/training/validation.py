"""What is measured on the development set after an epoch: loss, EER with its interval, minimum detection cost."""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from nes2net import metrics
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError
from nes2net.evaluation.breakdown import speaker_groups
from nes2net.recipes.recipe import Recipe
from nes2net.registry import corpora
from nes2net.scoring.kernel import scoring_mode

#: Draws of the interval of the EER that stands in the log: a width to two digits, in about a second for 25,000 trials.
NUM_RESAMPLES = 200


def passes(recipe: Recipe) -> tuple[str, ...]:
    """Names of the passes over the development set: ``w_aug`` with RawBoost, where the recipe has it, and ``wo_aug`` without.

    >>> passes(Recipe())
    ('wo_aug',)
    """
    return ("w_aug", "wo_aug") if recipe.augment.algo and recipe.validation.augmented else ("wo_aug",)


def is_due(recipe: Recipe, epoch: int) -> bool:
    """Whether ``epoch``, numbered from 1 as in ``epoch_1.pth``, is followed by a validation; the last one of a run always is.

    ``around_minima`` is CtrSVDD's rule for epoch n, with T = ``t_max``: n = 1, and past 2T + 1 if (n − T) mod 2T is 2T − 1, 0 or 1.

    >>> recipe = Recipe()
    >>> recipe.validation.first_epoch = 11
    >>> [epoch for epoch in range(1, 101) if is_due(recipe, epoch)][:3]
    [11, 12, 13]
    """
    if epoch == recipe.train.epochs:
        return True
    if epoch < recipe.validation.first_epoch:
        return False
    if recipe.validation.epochs == "all":
        return True
    period = 2 * recipe.train.t_max
    around = (epoch - recipe.train.t_max) % period in (period - 1, 0, 1)
    return epoch == 1 or (epoch > period + 1 and around)


class _BatchResult(NamedTuple):
    """Of one batch: its place in the order of the set, its loss, scores and targets, and the errors of the files left out."""

    number: int
    loss: float
    scores: np.ndarray
    targets: np.ndarray
    errors: list[str]


class Validator:
    """Measures a detector on the development set; in several processes each takes every n-th batch and all know the same values.

    Args:
        recipe: says which epochs are validated, and the corpus, by whose rule the EER is computed.
        objective: has ``validation_parts(waveforms, targets)``, the loss of a batch and its scores (B,).
        loaders: one per pass of :func:`passes`, by its name; batches in order, those of this process (see
            :class:`nes2net.training.sampling.EpochBatches`), over the same trials.
        accelerator: of Hugging Face accelerate: device, precision, processes.
    """

    def __init__(self, recipe: Recipe, objective: Any, loaders: dict[str, DataLoader], accelerator: Any) -> None:
        self.recipe, self.objective, self.loaders, self.accelerator = recipe, objective, loaders, accelerator
        self.eer_method = corpora.get(recipe.data.corpus).eer_method
        self.bad_files: set[str] = set()

    def due(self, epoch: int) -> bool:
        """Whether there is a validation after ``epoch``."""
        return is_due(self.recipe, epoch)

    def run(self, epoch: int) -> dict[str, float]:
        """Measure after ``epoch``, for each pass: ``val_loss_…``, ``val_eer_…`` and ``val_min_dcf_…`` (rates as fractions).

        Scores are computed as ``nes2net score`` computes them, whatever the precision of training: in
        eval mode, and in the float32 of the weights.

        The loss is as published, Σ(batch loss × batch size)/N with the weighted mean of each batch, in float64, whatever the
        number of processes (deviation 19: the published code printed half of it for the pass without augmentation). The EER goes by the
        rule of the corpus; its 95 % bootstrap interval, of the pass without augmentation, is ``val_eer_wo_aug_low`` and ``…_high``;
        the cost is that of ASVspoof 5, track 1.

        Raises:
            InputError: no file of a class can be used, or the network gives values that are not finite.
        """
        values = {}
        with scoring_mode(self.objective.detector):
            for name, loader in self.loaders.items():
                results = self._gathered(self._pass(name, loader, epoch))
                values |= self._values(name, results, loader.dataset.trials, epoch)
        return values

    @torch.inference_mode()
    def _pass(self, name: str, loader: DataLoader, epoch: int) -> list[_BatchResult]:
        """Results of this process's batches."""
        loader.batch_sampler.epoch = epoch
        rank, world_size, device = (getattr(self.accelerator, k) for k in ("process_index", "num_processes", "device"))
        results = []
        bar = tqdm(
            loader,
            desc=f"epoch {epoch}/{self.recipe.train.epochs} {name}",
            unit="batch",
            leave=False,
            dynamic_ncols=True,
            mininterval=0.5,
            disable=None if self.accelerator.is_main_process else True,
        )
        for place, batch in enumerate(bar):
            loss, scores = torch.zeros(()), torch.zeros(0)
            if len(batch.targets):
                waveforms = batch.waveforms.to(device, non_blocking=True)
                targets = batch.targets.to(device, non_blocking=True)
                loss, scores = self.objective.validation_parts(waveforms, targets)
            # A copy: a worker's tensor keeps a file open as long as it is there.
            results.append((rank + place * world_size, loss, scores, batch.targets.clone(), batch.errors))
        return [  # only now is the device waited for
            _BatchResult(number, loss.item(), scores.double().cpu().numpy(), targets.numpy(), errors)
            for number, loss, scores, targets, errors in results
        ]

    def _gathered(self, own: list[_BatchResult]) -> list[_BatchResult]:
        """The results of all processes, in the order of the set."""
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            own = gather_object(own)
        for result in own:
            for error in result.errors:
                if error not in self.bad_files:  # said once, however many epochs and passes
                    self.bad_files.add(error)
                    if self.accelerator.is_main_process:
                        tqdm.write(f"left out: {error}", file=sys.stderr)
        return sorted(own, key=lambda result: result.number)

    def _values(self, name: str, results: list[_BatchResult], trials: list[Trial], epoch: int) -> dict[str, float]:
        scores = np.concatenate([result.scores for result in results])
        targets = np.concatenate([result.targets for result in results])
        bonafide, spoof = scores[targets == 1], scores[targets == 0]
        if not len(bonafide) or not len(spoof):
            raise InputError(
                f"of the development set {len(bonafide)} bona fide and {len(spoof)} spoofed files could be used, at least one of each "
                "is needed; the lines above name the others"
            )
        loss = math.fsum(result.loss * len(result.targets) for result in results) / len(targets)
        if not math.isfinite(loss) or not np.isfinite(scores).all():
            raise InputError(
                f"the development loss is {loss} after epoch {epoch}, or a score is not finite: lower the learning rate "
                f"({self.recipe.train.lr})"
            )
        values = {
            f"val_loss_{name}": loss,
            f"val_eer_{name}": metrics.compute_eer(bonafide, spoof, self.eer_method)[0],
            f"val_min_dcf_{name}": metrics.compute_min_dcf(bonafide, spoof),
        }
        if name == "wo_aug":
            complete = len(targets) == len(trials)  # else it is not known here whose scores are missing
            low, high = self._interval(bonafide, spoof, trials if complete else [])
            values |= {f"val_eer_{name}_low": low, f"val_eer_{name}_high": high}
        return values

    def _interval(self, bonafide: np.ndarray, spoof: np.ndarray, trials: list[Trial]) -> tuple[float, float]:
        """Over speakers where every trial names its own and there are enough of them, else over trials, as in evaluations."""
        rule = partial(metrics.compute_eer, method=self.eer_method)
        return metrics.bootstrap_interval(
            rule, bonafide, spoof, num_resamples=NUM_RESAMPLES, seed=self.recipe.seed, **speaker_groups(trials)
        )
