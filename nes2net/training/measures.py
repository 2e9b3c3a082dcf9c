"""Measures of the development set: names, columns, and error rates of scores."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.trial import Trials
from nes2net.data.registry import corpora
from nes2net.evaluation.breakdown import groups_of, over_corpora
from nes2net.evaluation.matching import Matched, Mismatch
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts
from nes2net.metrics import declared, registry
from nes2net.metrics.registry import Metric
from nes2net.metrics.resampling import figures_of
from nes2net.training.recipes.data import DataConfig

#: Number of bootstrap resamples for the interval of the EER. 200 resamples of 25,000 trials take 1 s, and give two
#: digits of the interval's width.
NUM_RESAMPLES = 200


#: Key of the history → value of an epoch, such as the loss or a measure.
Figures: TypeAlias = dict[str, float]


class Measure(NamedTuple):
    """A value of the development set, such as the EER, that compares epochs; lower is better."""

    #: value of ``validation.select_on`` that chooses this measure
    name: str
    #: heading in tables and pictures
    title: str
    #: name of the measure in the history, if it differs from ``name``
    key: str = ""
    #: whether the value is a fraction that is shown in percent
    percent: bool = True
    #: whether the measure appears in the line of an epoch and in pictures, and whether tables have its values with
    #: RawBoost and for each corpus
    prominent: bool = True

    def column(self, name: str = "wo_aug", variant: str = "") -> str:
        """Make the key of the measure in the history, for the pass ``name``.

        Args:
            variant: end of the key, such as ``_low`` for the lower limit of the interval.

        >>> Measure("eer", "EER").column("w_aug"), Measure("eer", "EER").column(variant="_low")
        ('val_eer_w_aug', 'val_eer_wo_aug_low')
        """
        return f"val_{self.key or self.name}_{name}{variant}"

    def headings(self, history: Sequence[Facts]) -> dict[str, str]:
        """List the keys of the measure in ``history``: key → heading in tables and pictures.

        Only a :attr:`prominent` measure has keys for the pass with RawBoost and for each corpus.
        Some keys may have no values.
        """
        headings = {}
        if self.prominent:
            headings[self.column("w_aug")] = f"{self.title}_w_aug"
        headings[self.column()] = f"{self.title}_wo_aug"
        if self.prominent:
            corpus_column = re.compile(rf"{re.escape(self.column())}/([^/]+)")
            matches = map(corpus_column.fullmatch, chain.from_iterable(history))
            headings |= {match[0]: match[1] for match in matches if match}
        for over in ("mean", "worst"):
            headings[self.column(variant=f"_{over}")] = f"{self.title}_{over}"
        return headings


def measure_of(metric: Metric, *, prominent: bool = True) -> Measure:
    title = metric.heading.removesuffix(" %")
    return Measure(metric.name, title, percent=metric.unit == "rate", prominent=prominent)


EER = measure_of(declared.EER)
MIN_DCF = measure_of(declared.MIN_DCF, prominent=False)
#: Key of the history for the threshold at which misses and false alarms on the development set are equally frequent.
THRESHOLD_KEY = "eer_threshold"
#: The measures of a task whose detector gives each utterance one score, also those of other packages.
ERROR_RATES = (EER, MIN_DCF, *map(measure_of, registry.metrics.added("scores")))


class Validated(NamedTuple):
    """The results of a pass over the development set, N trials in order."""

    #: name of the pass (:func:`nes2net.training.validation.passes`)
    name: str
    trials: Trials
    #: (N,), class numbers
    targets: NDArray
    #: outputs of all batches (:class:`nes2net.training.objective.Outcome`), float64, by name
    outputs: Mapping[str, NDArray]
    #: number of trials of the development set whose files failed
    num_failed: int = 0


def error_rates(validated: Validated, bonafide: int, eer_methods: Mapping[str, str], seed: int) -> Figures:
    """Compute the measures of ``scores`` (N,): key of the history → fraction or cost.

    The EER follows the rule of the corpus, minDCF the costs of ASVspoof 5, track 1. In the pass
    without augmentation, ``val_eer_wo_aug_low`` and ``val_eer_wo_aug_high`` are the EER's 95 %
    bootstrap interval, and ``eer_threshold`` is its threshold, if finite.

    With several corpora, these values are pooled. ``val_eer_wo_aug/CORPUS`` and
    ``val_eer_wo_aug/CORPUS/ATTACK`` are EERs of a corpus and an attack in it;
    ``val_eer_wo_aug_mean`` and ``val_eer_wo_aug_worst`` are the mean and the highest EER of the
    corpora (:class:`nes2net.evaluation.breakdown.OverCorpora`). ``val_min_dcf_wo_aug`` also has a
    value for each corpus, a mean and a worst value.

    Args:
        bonafide: the target that means bona fide.
        eer_methods: alias of a corpus → the rule for its EER. The pooled EER uses their common
            rule, or ``asvspoof`` if they differ.
        seed: seed of the bootstrap.

    Raises:
        InputError: if no file of a class could be used.
    """
    name = validated.name
    scores = validated.outputs["scores"]
    rules = set(eer_methods.values())
    eer_method = rules.pop() if len(rules) == 1 else "asvspoof"
    genuine, spoofed = split_by_class(scores, validated.targets == bonafide, "usable files")
    eer, threshold = metrics.compute_eer(genuine, spoofed, eer_method)
    values = {EER.column(name): eer}
    for measure in ERROR_RATES[1:]:
        values[measure.column(name)] = _measure(measure, genuine, spoofed)
    if name != "wo_aug":
        return values
    # Resample speakers if every trial has a speaker, if there are enough speakers, and if no file failed. Otherwise
    # resample trials.
    low, high = metrics.bootstrap_interval(
        partial(metrics.compute_eer, method=eer_method),
        genuine,
        spoofed,
        num_resamples=NUM_RESAMPLES,
        seed=seed,
        **groups_of([] if validated.num_failed else validated.trials),
    )
    values |= {EER.column(variant="_low"): low, EER.column(variant="_high"): high}
    if math.isfinite(threshold):
        values[THRESHOLD_KEY] = threshold
    if len(eer_methods) > 1:
        return values | _rates_by_corpus(validated, eer_methods)
    return values


def _measure(measure: Measure, bonafide: NDArray, spoof: NDArray) -> float:
    return float(figures_of(registry.metrics.get(measure.name).function(bonafide, spoof)))


def split_by_class(scores: NDArray, is_bonafide: NDArray, items: str) -> tuple[NDArray, NDArray]:
    """Split ``scores`` (N,) by the mask ``is_bonafide`` (N,) into bona fide scores and spoof scores.

    Args:
        items: plural noun for the message, such as "usable files".

    Raises:
        InputError: if a class has no scores.
    """
    genuine = scores[is_bonafide]
    spoofed = scores[~is_bonafide]
    if not len(genuine) or not len(spoofed):
        raise InputError(
            f"the development set has {len(genuine)} bona fide and {len(spoofed)} spoofed {items}, but at least one of each "
            "is needed: correct the files named above, or label more trials"
        )
    return genuine, spoofed


def _rates_by_corpus(validated: Validated, eer_methods: Mapping[str, str]) -> Figures:
    """Compute EER and minDCF of each corpus, their mean and worst, and the EER of each attack."""
    # As the evaluation takes them; there are no mismatches, because validation has given every trial a score.
    corpus = np.array([trial.get("corpus") for trial in validated.trials])
    scored = {}
    for alias in eer_methods:
        corpus_trials = [trial for trial in validated.trials if trial.get("corpus") == alias]
        scores = validated.outputs["scores"][corpus == alias]
        scored[alias] = Matched(corpus_trials, scores, len(corpus_trials), Mismatch())
    breakdown = over_corpora(scored, eer_methods)
    if not breakdown.eers:
        raise InputError(
            "no development corpus has usable trials of both classes: add trials of the class that one lacks"
        )
    values = {EER.column(variant=f"/{group}"): eer for group, eer in breakdown.groups.items()}
    for measure in ERROR_RATES:
        rates = dict(breakdown.eers)
        if measure is not EER:
            rates = {alias: _measure(measure, scored[alias].bonafide, scored[alias].spoof) for alias in rates}
        for alias, value in rates.items():
            values[measure.column(variant=f"/{alias}")] = value
        values[measure.column(variant="_mean")] = sum(rates.values()) / len(rates)
        values[measure.column(variant="_worst")] = max(rates.values())
    return values


def eer_methods(data: DataConfig) -> dict[str, str]:
    """Find the EER rule of each development corpus: alias → name of the rule."""
    return {corpus.called: corpora.get(corpus.name).eer_method for corpus in data.parts("dev")}
