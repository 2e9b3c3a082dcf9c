"""Validation: loss, EER with its interval, and minimum detection cost on the development set."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator

from nes2net import metrics
from nes2net.data.corpora.trial import Trial
from nes2net.evaluation.breakdown import over_corpora, speaker_groups
from nes2net.evaluation.matching import Matched, Mismatch
from nes2net.evaluation.tables import in_this_process
from nes2net.lib.devices import float32_products
from nes2net.lib.errors import InputError
from nes2net.scoring.kernel import scoring_mode
from nes2net.training.dataset import BatchLoader
from nes2net.training.distributed import gathered
from nes2net.training.interruption import stop_without_data
from nes2net.training.monitor import Monitor
from nes2net.training.objective import Objective, Outcome, Part
from nes2net.training.progress import Meter
from nes2net.training.recipes.augment import AugmentConfig
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.recipes.validation import ValidationConfig
from nes2net.training.seeding import seed_validation

#: Bootstrap samples for the EER's interval: its width to two digits, in a second for 25,000 trials.
NUM_RESAMPLES = 200
_DESCRIBED = {"w_aug": " with RawBoost", "wo_aug": ""}


def passes(augment: AugmentConfig, validation: ValidationConfig) -> tuple[str, ...]:
    """Name the passes over the development set: ``w_aug`` with RawBoost, ``wo_aug`` without.

    >>> passes(AugmentConfig(algo=4), ValidationConfig())
    ('w_aug', 'wo_aug')
    >>> passes(AugmentConfig(), ValidationConfig())
    ('wo_aug',)
    """
    return ("w_aug", "wo_aug") if augment.algo and validation.augmented else ("wo_aug",)


def is_due(epoch: int, train: TrainConfig, validation: ValidationConfig) -> bool:
    """Tell whether ``epoch``, numbered from 1, ends with a validation; the last epoch always does.

    ``around_minima`` is CtrSVDD's rule. With T = ``t_max``, it validates epoch 1 and every epoch n
    above 2T + 1 for which (n − T) mod 2T is 2T − 1, 0 or 1.

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
    """Result of one batch; ``errors`` and ``lost`` as in :class:`nes2net.training.dataset.Batch`."""

    #: place in the order of the development set
    number: int
    loss: float
    scores: np.ndarray
    targets: np.ndarray
    errors: list[str]
    lost: list[str]
    #: scores and labels of everything else that has an error rate, where there is a label
    further: dict[str, tuple[np.ndarray, np.ndarray]]
    #: places of the scored trials in the development set
    places: Sequence[int] = ()


class Validator:
    """Measures a detector on the development set.

    Each of n processes takes every n-th batch, and all of them get the same values.

    Args:
        objective: computes the loss and the scores of a batch.
        loaders: this process's batches of each pass, by the names of :func:`passes`, in the order
            of the set (:class:`nes2net.training.sampling.EpochBatches`).
        monitor: names the files that were left out.
        recipe: ``seed`` of the bootstrap and of what is random in train mode, and
            ``validation.mode``: ``train`` leaves dropout on, and lets batch normalisation learn from
            the development set.
        eer_methods: the rule for the EER of each development corpus by its alias. If all corpora
            have the same rule, it also holds for their trials together.

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
        eer_methods: Mapping[str, str],
    ) -> None:
        self.mode, self.seed = recipe.validation.mode, recipe.seed
        if self.mode == "train" and accelerator.num_processes > 1:
            raise InputError(
                "`validation.mode=train` needs the batches of the development set one after the other, but there are "
                f"{accelerator.num_processes} processes: train in one, or take `validation.mode=eval`"
            )
        self.objective, self.loaders, self.accelerator, self.monitor = objective, loaders, accelerator, monitor
        rules = set(eer_methods.values())
        self.eer_method = rules.pop() if len(rules) == 1 else "asvspoof"
        self.eer_methods = eer_methods

    def run(self, epoch: int) -> dict[str, float]:
        """Measure ``val_loss_…``, ``val_eer_…`` and ``val_min_dcf_…`` of each pass, as fractions.

        If frames are trained on, ``val_segment_eer_20_…`` is the EER over all frames of 20 ms.
        If there are several corpora, these are values of all trials pooled, and
        ``val_eer_wo_aug/CORPUS``, ``val_eer_wo_aug/CORPUS/ATTACK``, ``val_eer_wo_aug_mean`` and
        ``val_eer_wo_aug_worst`` come from :class:`nes2net.evaluation.breakdown.OverCorpora`.
        ``val_min_dcf_wo_aug`` has the same variants, except for attacks.

        Scores are computed as ``nes2net score`` computes them, whatever the precision of training:
        in eval mode, unless ``mode`` is ``train``, and in the float32 of the weights.

        The loss is the published Σ(batch loss × batch size)/N over the weighted means of batches,
        summed in float64, whatever the number of processes (deviation 19: the published code
        printed half of it for the pass without augmentation). The EER follows the rule of the
        corpus. For the pass without augmentation, its 95 % bootstrap interval is
        ``val_eer_wo_aug_low`` to ``val_eer_wo_aug_high``. The cost is defined as in ASVspoof 5,
        track 1.

        Raises:
            InputError: if no file of a class can be used, or a loss or score is not finite.
        """
        values: dict[str, float] = {}
        began = time.monotonic()
        detector = self.objective.detector
        if self.mode == "train":  # the mode in which the epoch trains; statistics that move stay moved
            self.objective.begin_training(epoch)
        with float32_products(detector.precision) if self.mode == "train" else scoring_mode(detector):
            for name, loader in self.loaders.items():
                # All processes' results in the order of the set.
                own = self._pass(name, loader, epoch)
                results = [result for part in gathered(self.accelerator, own) for result in part]
                results.sort(key=lambda result: result.number)
                if lost := [why for result in results for why in result.lost]:
                    stop_without_data(lost, "validation")
                if self.accelerator.is_main_process:  # which names each bad file once
                    self.monitor.left_out([error for result in results for error in result.errors])
                values |= self._values(name, results, loader.dataset.trials, epoch)
        self.monitor.validation_seconds = time.monotonic() - began
        return values

    @torch.inference_mode()
    def _pass(self, name: str, loader: BatchLoader, epoch: int) -> list[_BatchResult]:
        """Compute the results of this process's batches."""
        loader.begin(epoch)
        accelerator, results = self.accelerator, []
        meter = Meter(
            loader,
            title=f"epoch {epoch} of {self.monitor.selection.epochs}, development set{_DESCRIBED[name]}",
            unit="batch",
            shown=accelerator.is_main_process,
        )
        for place, batch in enumerate(meter):
            outcome = Outcome(torch.zeros(()), torch.zeros(0))
            if len(batch.targets):
                carried = self.objective.ready(batch.carried, batch.waveforms.shape[1])
                part = Part.of(batch, carried, accelerator.device)
                if self.mode == "train":
                    seed_validation(self.seed, epoch, place, list(self.loaders).index(name))
                outcome = self.objective.validated(part)
            # A worker's tensor keeps a file open until it is freed, so keep a copy.
            results.append((outcome, batch.targets.clone(), batch.errors, batch.lost, batch.places))
            meter.update(len(batch.targets) * accelerator.num_processes)
        return [  # the device is waited for here, once
            _BatchResult(
                accelerator.process_index + place * accelerator.num_processes,
                outcome.loss.item(),
                outcome.scores.double().cpu().numpy(),
                targets.numpy(),
                errors,
                lost,
                {
                    rate: (scores[labels >= 0].double().cpu().numpy(), labels[labels >= 0].cpu().numpy())
                    for rate, (scores, labels) in outcome.further.items()
                },
                places,
            )
            for place, (outcome, targets, errors, lost, places) in enumerate(results)
        ]

    def _values(self, name: str, results: list[_BatchResult], trials: Sequence[Trial], epoch: int) -> dict[str, float]:
        scores = np.concatenate([result.scores for result in results])
        targets = np.concatenate([result.targets for result in results])
        bonafide, spoof = scores[targets == 1], scores[targets == 0]
        if not len(bonafide) or not len(spoof):
            raise InputError(
                f"the development set has {len(bonafide)} bona fide and {len(spoof)} spoofed usable files, but "
                "at least one of each is needed: mend the files named above"
            )
        size_of = self.objective.criterion.size_of
        loss = math.fsum(result.loss * size_of(result.targets) for result in results) / size_of(targets)
        if not math.isfinite(loss) or not np.isfinite(scores).all():
            raise InputError(
                f"the development loss is {loss} after epoch {epoch}, or a score is not finite: lower the learning "
                "rate, `train.lr`"
            )
        values = {
            f"val_loss_{name}": loss,
            f"val_eer_{name}": metrics.compute_eer(bonafide, spoof, self.eer_method)[0],
            f"val_min_dcf_{name}": metrics.compute_min_dcf(bonafide, spoof),
        }
        if name == "wo_aug":
            complete = len(targets) == len(trials)  # otherwise scores cannot be told apart by speaker here
            # Speakers are resampled if every trial has one and there are enough, otherwise trials.
            low, high = metrics.bootstrap_interval(
                partial(metrics.compute_eer, method=self.eer_method),
                bonafide,
                spoof,
                num_resamples=NUM_RESAMPLES,
                seed=self.seed,
                **speaker_groups(trials if complete else []),
                **in_this_process(),
            )
            values |= {f"val_eer_{name}_low": low, f"val_eer_{name}_high": high}
            if len(self.eer_methods) > 1:
                values |= self._of_corpora(name, [trials[i] for result in results for i in result.places], scores)
        # The objective's other error rates, over everything with a label.
        for rate in dict.fromkeys(rate for result in results for rate in result.further):
            columns = zip(*(result.further[rate] for result in results if result.further))
            scores, labels = (np.concatenate(column) for column in columns)
            if not np.isfinite(scores).all():
                raise InputError(
                    f"a score is not finite after epoch {epoch} ({rate}): lower the learning rate, `train.lr`"
                )
            bonafide, spoof = scores[labels == 1], scores[labels == 0]
            if not len(bonafide) or not len(spoof):
                raise InputError(
                    f"{rate} needs both classes, and the development set has {len(bonafide)} bona fide and {len(spoof)} "
                    "spoofed scores of it: give it labels, or more utterances"
                )
            values[f"val_{rate}_{name}"] = metrics.compute_eer(bonafide, spoof)[0]
        return values

    def _of_corpora(self, name: str, trials: Sequence[Trial], scores: np.ndarray) -> dict[str, float]:
        """The rates of each corpus, their mean and the highest, and the EER of each attack."""
        corpus = np.array([trial.get("corpus") for trial in trials])
        scored = {}
        for alias in self.eer_methods:
            of_corpus = [trial for trial in trials if trial.get("corpus") == alias]
            scored[alias] = Matched(of_corpus, scores[corpus == alias], len(of_corpus), Mismatch([], [], [], [], []))
        found = over_corpora(scored, self.eer_methods)
        costs = {
            alias: metrics.compute_min_dcf(matched.bonafide, matched.spoof)
            for alias, matched in scored.items()
            if alias in found.eers
        }
        if not costs:
            raise InputError("no development corpus has usable trials of both classes: give one of them both")
        values = dict[str, float]()
        for rate, of_corpora in (("eer", found.eers), ("min_dcf", costs)):
            key = f"val_{rate}_{name}"
            values |= {f"{key}/{alias}": value for alias, value in of_corpora.items()}
            values |= {f"{key}_mean": sum(of_corpora.values()) / len(of_corpora)}
            values |= {f"{key}_worst": max(of_corpora.values())}
        return values | {f"val_eer_{name}/{group}": eer for group, eer in found.groups.items()}
