"""A detector under conditions: its error rates on the same trials, clean and changed.

The threshold is that of the clean trials, or of a calibration, and stays where it is: recordings do
not say what they met.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.corpora.trial import BONAFIDE, Trial
from nes2net.decisions import Decider, Llrs, OperatingPoint
from nes2net.errors import InputError, counted, listed
from nes2net.evaluation.breakdown import speaker_groups
from nes2net.evaluation.compare import format_p, versions
from nes2net.evaluation.evaluate import percent, percent_interval
from nes2net.evaluation.matching import match
from nes2net.evaluation.origin import Origin, read_origin
from nes2net.machine.files import sha256_of
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import markdown_table, text_table
from nes2net.metrics.intervals import percentiles, rate_interval, trials_behind, two_sided_p
from nes2net.registry import conditions, corpora
from nes2net.scoring.score_file import read_scores

#: Name of the trials as they are.
CLEAN = "clean"
# A condition that fails on a larger share of the trials would take these away from all others.
_MOST_MISSING = 0.1
_CONFIDENCE = 0.95
_SHORT = 3.0  # seconds; a shorter evaluation shows no progress
_HEAD = ("condition", "EER %", "95 % interval", "points", "p", "HTER %", "95 % interval", "miss %", "false alarm %")


@dataclass(frozen=True)
class Figures:
    """Error rates under one condition, fractions; intervals hold 95 %."""

    condition: str
    """:data:`CLEAN`, or as :func:`nes2net.registry.create_condition` takes it."""
    eer: float
    eer_interval: tuple[float, float]
    hter: float
    """Half total error rate at the threshold, the mean of the next two."""
    hter_interval: tuple[float, float]
    miss: float
    false_alarm: float
    difference: float
    """EER minus that of the clean trials."""
    difference_interval: tuple[float, float]
    p_value: float
    """Of that difference, two-sided."""
    changed: float
    """Share of the trials on the other side of the threshold than when clean."""

    @property
    def family(self) -> str:
        """Name without strength."""
        return self.condition.partition(":")[0]

    @property
    def strength(self) -> str:
        """Strength as a number; empty without one."""
        return self.condition.partition(":")[2]

    @property
    def unit(self) -> str:
        """Unit of the strength; empty if there is none."""
        return conditions.get(self.family).unit if self.strength else ""


@dataclass(frozen=True)
class Robustness:
    """The evaluation of a detector under conditions on the trials that all of them have.

    - ``num_scored`` counts the trials that were to be scored, ``num_available`` those of the phase.
    - ``failed`` holds the reasons of conditions without figures.
    - ``left_out`` holds the conditions that a trial has no score under, by its id.
    - ``threshold`` is a score, and ``basis`` says in words where it comes from.
    - ``inputs`` names the score files, with their SHA-256.
    """

    corpus: str
    phase: str
    num_bonafide: int
    num_spoof: int
    num_scored: int
    num_available: int
    threshold: float
    basis: str
    clean: Figures
    results: list[Figures]
    failed: dict[str, str]
    left_out: dict[str, list[str]]
    interval_over: str
    num_resamples: int
    seed: int
    inputs: list[dict[str, str]]
    origin: Origin | None
    calibration: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=versions)

    @property
    def title(self) -> str:
        """Corpus and phase."""
        return f"{corpora.get(self.corpus).title}, {self.phase}: robustness"

    @property
    def by_damage(self) -> list[Figures]:
        """The conditions, the largest difference of the EER first."""
        return sorted(self.results, key=lambda one: (-one.difference, -one.hter, one.condition))

    @property
    def families(self) -> dict[str, list[Figures]]:
        """The conditions by name, in the order in which they were asked for."""
        families: dict[str, list[Figures]] = {}
        for one in self.results:
            families.setdefault(one.family, []).append(one)
        return families

    @property
    def certain(self) -> list[Figures]:
        """Those of :attr:`by_damage` whose EER differs from the clean one with p below 0.05."""
        return [one for one in self.by_damage if one.p_value < 0.05]

    def words(self) -> list[str]:
        """Say in sentences what stands out."""
        worse = [one for one in self.certain if one.difference > 0]
        better = [one.condition for one in self.certain if one.difference < 0]
        lines = ["No condition differs for certain: all p-values of the EER are 0.05 or more."]
        if worse:
            worst = ", ".join(f"{one.condition} ({100 * one.difference:+.1f} points)" for one in worse[:3])
            lines = [f"Most damaging to the EER: {worst}."]
        elif better:
            lines = ["No condition raises the EER for certain."]
        if self.results:
            worst_at = max(self.results, key=lambda one: (one.hter, one.condition))
            side = "bona fide trials are rejected" if worst_at.miss > worst_at.false_alarm else "spoofed ones pass"
            lines.append(
                f"At the threshold, {worst_at.condition} has the highest half total error rate, {percent(worst_at.hter, 1)} % "
                f"(clean: {percent(self.clean.hter, 1)} %); {percent(worst_at.miss, 1)} % of bona fide trials are missed and "
                f"{percent(worst_at.false_alarm, 1)} % of spoofed ones accepted, so above all {side}."
            )
            lines.append(
                f"Of {counted(len(self.results), 'condition')}, {len(worse)} raise the EER more than chance would (p < 0.05), and "
                f"{len(better)} lower it{f' ({listed(better)})' if better else ''}."
            )
        return lines

    def rows(self, figures: Sequence[Figures]) -> list[list[str]]:
        """Rows of a table under :data:`_HEAD`."""
        return [
            [
                one.condition,
                percent(one.eer),
                percent_interval(one.eer_interval),
                "" if one is self.clean else f"{100 * one.difference:+.2f}",
                "" if one is self.clean else format_p(one.p_value),
                percent(one.hter),
                percent_interval(one.hter_interval),
                percent(one.miss),
                percent(one.false_alarm),
            ]
            for one in figures
        ]

    def headline(self) -> list[str]:
        """Say what was evaluated, and at which threshold."""
        of = f" of {self.num_available:,}" if self.num_scored < self.num_available else ""
        lines = [
            f"{self.corpus}, phase {self.phase}: {self.num_bonafide + self.num_spoof:,}{of} trials ({self.num_bonafide:,} bona "
            f"fide, {self.num_spoof:,} spoof), clean and under {counted(len(self.results), 'condition')}",
            f"threshold {self.threshold:.6g}, {self.basis}",
        ]
        if self.left_out:
            lines.append(
                f"PARTIAL: {counted(len(self.left_out), 'trial is', 'trials are')} left out, which some condition has no score of"
            )
        return lines

    def text(self) -> str:
        """Write the table, the most damaging condition first."""
        table = text_table([list(_HEAD), *self.rows([self.clean, *self.by_damage])], "lr")
        failed = [f"no figures of {condition}: {reason}" for condition, reason in self.failed.items()]
        return "\n".join([*self.headline(), "", *table, "", *self.words(), *failed])

    def markdown(self) -> str:
        """Write the table in Markdown, by family."""
        table = markdown_table(_HEAD, self.rows([self.clean, *self.results]))
        failed = [f"No figures of {condition}: {reason}" for condition, reason in self.failed.items()]
        return "\n\n".join([f"# {self.title}", *self.headline(), " ".join(self.words()), table, *failed]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON."""
        plain = asdict(self)
        plain["origin"] = origin_facts(self.origin)
        return plain


def origin_facts(origin: Origin | None) -> dict[str, str]:
    """What made the clean scores, without what differs when the same run is repeated."""
    if origin is None:
        return {}
    names = ("model", "recipe", "checkpoint", "licence", "protocol", "software")
    return {name: value for name in names if (value := getattr(origin, name))}


def evaluate_robustness(
    corpus: str,
    phase: str,
    trials: Sequence[Trial],
    paths: Mapping[str, str | Path],
    *,
    decider: Decider | None = None,
    operating_point: OperatingPoint | None = None,
    failed: Mapping[str, str] | None = None,
    num_available: int | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Robustness:
    """Evaluate score files of the same ``trials`` under conditions.

    Args:
        trials: labelled, in the order of the score files.
        paths: score file of :data:`CLEAN` and of each condition. A condition that has no score of
            more than a tenth of the trials counts as failed; a trial that another one lacks is left
            out everywhere.
        decider: of a calibration, for its threshold.
        operating_point: without a decider, the rule by which the threshold is read off the clean
            trials; that of the EER if not given.
        failed: reasons of conditions without a score file.
        num_available: how many trials there are, of which ``trials`` are a subset.
        num_resamples, seed: draws and seed of the bootstrap, of speakers if every trial has one and
            there are at least ten, otherwise of trials.

    Raises:
        InputError: if a score file does not fit the trials, a class has no trials, or there is no
            such threshold.
    """
    rule_of_corpus = corpora.get(corpus).eer_method
    failed = dict(failed or {})
    scores = {condition: _scores(trials, path) for condition, path in paths.items()}
    for condition in [condition for condition in scores if condition != CLEAN]:
        missing = sum(id not in scores[condition] for id in scores[CLEAN])
        if missing > _MOST_MISSING * len(scores[CLEAN]):
            failed[condition] = (
                f"{missing:,} of {counted(len(scores[CLEAN]), 'trial has', 'trials have')} no score; the record of its scores says why"
            )
            del scores[condition]
    left_out = {
        trial.id: lacking
        for trial in trials
        if (lacking := [condition for condition, of in scores.items() if trial.id not in of])
    }
    common = [trial for trial in trials if trial.id not in left_out]
    is_bonafide = np.array([trial.label == BONAFIDE for trial in common], dtype=bool)
    if is_bonafide.all() or not is_bonafide.any():
        raise InputError(
            f"{counted(len(common), 'trial has', 'trials have')} scores under all conditions, but not of both classes: score more trials"
        )
    order = np.concatenate((np.flatnonzero(is_bonafide), np.flatnonzero(~is_bonafide)))
    eer = functools.partial(metrics.compute_eer, method=rule_of_corpus, order=order)
    groups = speaker_groups(common)
    drawn: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed, **groups}

    def classes(condition: str) -> tuple[NDArray, NDArray]:
        values = np.array([scores[condition][trial.id] for trial in common])
        return values[is_bonafide], values[~is_bonafide]

    clean = classes(CLEAN)
    threshold, basis = find_threshold(clean, decider, operating_point or OperatingPoint("eer"))
    accepted, clean_eer = np.concatenate(clean) >= threshold, eer(*clean)[0]

    rates_at = functools.partial(metrics.compute_rates, threshold=threshold)
    number = trials_behind(*map(len, clean))["eer"]

    @functools.cache
    def draws(condition: str) -> NDArray:
        """EER, and HTER at the threshold, of each resample, which draws the same trials for all conditions."""
        columns = metrics.bootstrap_values([eer, rates_at], *classes(condition), **drawn)
        return columns[:, [0, 1 + metrics.Rates._fields.index("hter")]]

    def figures(condition: str) -> Figures:
        own = classes(condition)
        rates = rates_at(*own)
        of_eer, of_hter = draws(condition).T
        differences = of_eer - draws(CLEAN)[:, 0]
        return Figures(
            condition=condition,
            eer=(value := eer(*own)[0]),
            eer_interval=rate_interval(value, of_eer, number, _CONFIDENCE),
            hter=rates.hter,
            hter_interval=rate_interval(rates.hter, of_hter, number, _CONFIDENCE),
            miss=rates.miss,
            false_alarm=rates.false_alarm,
            difference=value - clean_eer,
            difference_interval=percentiles(differences, _CONFIDENCE),
            p_value=two_sided_p(differences),
            changed=float(np.mean((np.concatenate(own) >= threshold) != accepted)),
        )

    digests = {condition: sha256_of(path) for condition, path in paths.items()}
    rest = [condition for condition in scores if condition != CLEAN]
    progress = ProgressDisplay(rest, title="evaluating", unit="condition", delay=_SHORT)
    return Robustness(
        corpus=corpus,
        phase=phase,
        num_bonafide=int(is_bonafide.sum()),
        num_spoof=int((~is_bonafide).sum()),
        num_scored=len(trials),
        num_available=len(trials) if num_available is None else num_available,
        threshold=threshold,
        basis=basis,
        clean=figures(CLEAN),
        results=[figures(condition) for condition in progress],
        failed=failed,
        left_out=left_out,
        interval_over="speakers" if groups else "trials",
        num_resamples=num_resamples,
        seed=seed,
        inputs=[
            {"kind": f"scores, {condition}", "path": Path(path).name, "sha256": digests[condition]}
            for condition, path in paths.items()
        ],
        origin=read_origin(Path(paths[CLEAN]), digests[CLEAN], corpus, phase),
        calibration=decider.basis() if decider else None,
    )


def _scores(trials: Sequence[Trial], path: str | Path) -> dict[str, float]:
    """The finite scores of the file by id; a trial may be missing."""
    ids, scores = read_scores(path)
    try:
        matched = match(trials, ids, scores, allow_partial=True)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if unknown := matched.mismatch.unknown:
        raise InputError(
            f"{path}: {counted(len(unknown), 'score is', 'scores are')} of no trial, such as {unknown[0]}: score these trials anew"
        )
    return matched.by_id


def find_threshold(clean: tuple[NDArray, NDArray], decider: Decider | None, point: OperatingPoint) -> tuple[float, str]:
    """Find the threshold on scores, and say where it comes from.

    Args:
        clean: scores of the clean trials, bona fide and spoofed.

    Raises:
        InputError: if there is no such threshold.
    """
    if decider is not None:
        if decider.threshold is None:
            raise InputError("the calibration gives higher scores lower ratios, so it has no threshold on scores")
        return decider.threshold, f"operating point {decider.point.name} of the calibration"
    if point.kind == "cost":
        raise InputError(
            f"the operating point '{point.name}' is one of log-likelihood ratios: give a `calibration`, or take eer, "
            "fa:RATE% or miss:RATE% of the clean trials"
        )
    bonafide, spoof = map(np.sort, clean)
    return point.threshold(Llrs(bonafide, spoof)), f"operating point {point.name} of the clean trials"
