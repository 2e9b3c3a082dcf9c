"""A detector under conditions: its error rates on the same trials, clean and changed.

The threshold is chosen on the clean trials, or by a calibration, and stays the same, because a
recording does not tell which condition it met.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.trial import BONAFIDE, Trial
from nes2net.evaluation.breakdown import speaker_groups
from nes2net.evaluation.evaluate import versions
from nes2net.evaluation.key import score_input
from nes2net.evaluation.matching import match_file
from nes2net.evaluation.origin import Origin, read_origin
from nes2net.evaluation.tables import Cell, Figure, Measured, Table, format_p, markdown, percent, points
from nes2net.lib.errors import InputError, counted, listed
from nes2net.lib.files import sha256_of
from nes2net.lib.progress import ProgressDisplay
from nes2net.metrics.intervals import two_sided_p
from nes2net.models.registry import corpora, effects
from nes2net.scoring.decisions import Decider, Llrs, OperatingPoint

#: Name of the trials as they are.
CLEAN = "clean"
#: The usual rule for the threshold.
EER_OF_CLEAN = OperatingPoint("eer")
# A condition that fails on a larger share of the trials counts as failed, because all others would
# lose these trials too.
_MOST_MISSING = 0.1


@dataclass(frozen=True)
class Figures:
    """Error rates under one condition, fractions; intervals hold 95 %."""

    condition: str
    """:data:`CLEAN`, or as :func:`nes2net.models.registry.create_condition` takes it."""
    eer: float
    eer_interval: tuple[float, float]
    hter: float
    """Half total error rate at the threshold, the mean of the next two."""
    hter_interval: tuple[float, float]
    miss: float
    false_alarm: float
    difference: float
    """EER minus the EER of the clean trials."""
    difference_interval: tuple[float, float]
    p_value: float
    """Two-sided p-value of that difference."""
    changed: float
    """Share of the trials that the condition moves across the threshold."""

    @property
    def family(self) -> str:
        return self.condition.partition(":")[0]

    @property
    def strength(self) -> str:
        """Strength as a number; empty without one."""
        return self.condition.partition(":")[2]

    @property
    def unit(self) -> str:
        """Unit of the strength; empty if there is none."""
        return effects.get(self.family).unit if self.strength else ""


@dataclass(frozen=True)
class Robustness:
    """The evaluation of a detector under conditions on the trials that all of them have.

    - ``num_scored`` counts the trials that were to be scored, ``num_available`` the phase's trials.
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
        return f"{corpora.get(self.corpus).title}, {self.phase}: robustness"

    @property
    def by_damage(self) -> list[Figures]:
        """The conditions, the largest difference of the EER first."""
        return sorted(self.results, key=lambda one: (-one.difference, -one.hter, one.condition))

    @property
    def families(self) -> dict[str, list[Figures]]:
        """The conditions by family, the most damaging family and condition first."""
        families: dict[str, list[Figures]] = {}
        for one in self.by_damage:
            families.setdefault(one.family, []).append(one)
        return families

    @property
    def certain(self) -> list[Figures]:
        """The conditions of :attr:`by_damage` whose EER differs from the clean one with p below 0.05."""
        return [one for one in self.by_damage if one.p_value < 0.05]

    def words(self) -> list[str]:
        """Say in sentences what stands out."""
        worse = [one for one in self.certain if one.difference > 0]
        better = [one.condition for one in self.certain if one.difference < 0]
        lines = ["No condition differs for certain: all p-values of the EER are 0.05 or more."]
        if worse:
            worst = ", ".join(f"{one.condition} ({points(one.difference, 1)} points)" for one in worse[:3])
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

    def tables(self) -> list[Table]:
        """The figures under all conditions, by damage and by family; a greater rise of the EER has more heat."""
        most = max((one.difference for one in self.results), default=0.0)

        def row(one: Figures) -> list[str | Cell]:
            rise, p = Cell("–"), ""
            if one is not self.clean:
                heat = round(100 * one.difference / most) if one.difference > 0 else 0
                rise = Figure(one.difference, one.difference_interval).cell(points, " to ")._replace(heat=heat)
                p = format_p(one.p_value)
            return [
                one.condition,
                Figure(one.eer, one.eer_interval).cell(percent),
                rise,
                p,
                Figure(one.hter, one.hter_interval).cell(percent),
                percent(one.miss),
                percent(one.false_alarm),
                "–" if one is self.clean else percent(one.changed, 1),
            ]

        head = ["condition", "EER %", "points above clean", "p"]
        head += ["HTER %", "miss %", "false alarm %", "decisions changed %"]
        by_family = itertools.chain(*self.families.values())
        return [
            Table.of(f"Error rates under each condition, {order}", head, map(row, [self.clean, *conditions]))
            for order, conditions in (("by damage", self.by_damage), ("by family", by_family))
        ]

    def headline(self) -> list[str]:
        """Say what was evaluated, and at which threshold."""
        of = f" of {self.num_available:,}" if self.num_scored < self.num_available else ""
        lines = [
            f"{self.corpus}, phase {self.phase}: {self.num_bonafide + self.num_spoof:,}{of} trials ({self.num_bonafide:,} bona "
            f"fide, {self.num_spoof:,} spoof), clean and under {counted(len(self.results), 'condition')}",
            f"threshold {self.threshold!r}, {self.basis}",
        ]
        if self.left_out:
            lines.append(
                f"PARTIAL: {counted(len(self.left_out), 'trial is', 'trials are')} left out, because some condition "
                "has no score of them"
            )
        return lines

    def text(self) -> str:
        """Write the table, the most damaging condition first."""
        table = self.tables()[0].lines()
        failed = (f"no figures of {condition}: {reason}" for condition, reason in self.failed.items())
        return "\n".join([*self.headline(), "", *table, "", *self.words(), *failed])

    def markdown(self) -> str:
        """Write the table in Markdown, by family."""
        table = markdown(self.tables()[1:]).rstrip()
        failed = [f"No figures of {condition}: {reason}" for condition, reason in self.failed.items()]
        return "\n\n".join([f"# {self.title}", *self.headline(), " ".join(self.words()), table, *failed]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"origin": origin_facts(self.origin)}


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
    rule: Decider | OperatingPoint = EER_OF_CLEAN,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Robustness:
    """Evaluate score files of the same ``trials`` under conditions.

    Args:
        trials: labelled trials, in the order of the score files.
        paths: score file of :data:`CLEAN` and of each condition. A condition without scores of more
            than a tenth of the trials counts as failed. A trial that any other condition lacks is
            left out everywhere.
        rule: where the threshold comes from: the decider of a calibration, or the operating point
            by which it is read off the clean trials.
        num_resamples, seed: draws and seed of the bootstrap. It draws speakers if every trial has
            one and there are at least ten, otherwise trials.

    Raises:
        InputError: if a score file does not fit the trials, a class has no trials, or there is no
            such threshold.
    """
    scores, failed = _scores(trials, paths)
    lacking = {trial.id: [name for name, of in scores.items() if trial.id not in of] for trial in trials}
    left_out = {id: names for id, names in lacking.items() if names}
    common = [trial for trial in trials if trial.id not in left_out]
    is_bonafide = np.array([trial.label == BONAFIDE for trial in common], dtype=bool)
    if is_bonafide.all() or not is_bonafide.any():
        raise InputError(
            f"{counted(len(common), 'trial has', 'trials have')} scores under all conditions, but not of both classes: score more trials"
        )
    values = {name: np.array([of[trial.id] for trial in common]) for name, of in scores.items()}
    threshold, basis = find_threshold((values[CLEAN][is_bonafide], values[CLEAN][~is_bonafide]), rule)
    order = np.concatenate((np.flatnonzero(is_bonafide), np.flatnonzero(~is_bonafide)))
    rules: dict[str, Callable[..., Any]] = {
        "eer": functools.partial(metrics.compute_eer, method=corpora.get(corpus).eer_method, order=order),
        "rates": functools.partial(metrics.compute_rates, threshold=threshold),
    }
    groups = speaker_groups(common)
    draws: dict[str, Any] = {"num_resamples": num_resamples, "seed": seed, **groups}
    clean = Measured(rules, values[CLEAN][is_bonafide], values[CLEAN][~is_bonafide], **draws)
    rest = [name for name in scores if name != CLEAN]
    results = []
    for name in ProgressDisplay(rest, title="evaluating", unit="condition", delay=3.0):
        found = Measured(rules, values[name][is_bonafide], values[name][~is_bonafide], **draws)
        changed = float(np.mean((values[name] >= threshold) != (values[CLEAN] >= threshold)))
        results.append(_figures(name, found, clean, changed))
    digests = {name: sha256_of(path) for name, path in paths.items()}
    return Robustness(
        corpus=corpus,
        phase=phase,
        num_bonafide=int(is_bonafide.sum()),
        num_spoof=int((~is_bonafide).sum()),
        num_scored=len(trials),
        num_available=len(trials),
        threshold=threshold,
        basis=basis,
        clean=_figures(CLEAN, clean, clean, 0.0),
        results=results,
        failed=failed,
        left_out=left_out,
        interval_over="speakers" if groups else "trials",
        num_resamples=num_resamples,
        seed=seed,
        inputs=[score_input(Path(Path(path).name), digests[name], f"scores, {name}") for name, path in paths.items()],
        origin=read_origin(Path(paths[CLEAN]), digests[CLEAN], corpus, phase),
        calibration=rule.basis() if isinstance(rule, Decider) else None,
    )


def _figures(name: str, found: Measured, clean: Measured, changed: float) -> Figures:
    """The figures under a condition, which were measured on the same draws as the clean ones."""
    eer, hter = found.figure("eer"), found.figure("hter")
    differences = found.draws["eer"] - clean.draws["eer"]
    return Figures(
        condition=name,
        eer=eer.value,
        eer_interval=eer.interval,
        hter=hter.value,
        hter_interval=hter.interval,
        miss=found.values["miss"],
        false_alarm=found.values["false_alarm"],
        difference=eer.value - clean.values["eer"],
        difference_interval=metrics.percentiles(differences, 0.95),
        p_value=two_sided_p(differences),
        changed=changed,
    )


def _scores(
    trials: Sequence[Trial], paths: Mapping[str, str | Path]
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """The finite scores under each condition by id, of which a few may be missing, and why other conditions failed."""
    found, failed = dict[str, dict[str, float]](), dict[str, str]()
    for name, path in paths.items():
        matched = match_file(trials, path, allow_partial=True)
        if unknown := matched.mismatch.unknown:
            raise InputError(
                f"{path}: {counted(len(unknown), 'score is', 'scores are')} of no trial, such as {unknown[0]}: score these trials anew"
            )
        found[name] = matched.by_id
    for name in [name for name in found if name != CLEAN]:
        missing, number = sum(id not in found[name] for id in found[CLEAN]), len(found[CLEAN])
        if missing > _MOST_MISSING * number:
            del found[name]
            failed[name] = (
                f"{missing:,} of {counted(number, 'trial has', 'trials have')} no score; the record of its scores says why"
            )
    return found, failed


def find_threshold(clean: tuple[NDArray, NDArray], rule: Decider | OperatingPoint) -> tuple[float, str]:
    """Find the threshold on scores, and say where it comes from.

    Args:
        clean: scores of the clean trials, bona fide and spoofed.

    Raises:
        InputError: if there is no such threshold.
    """
    if isinstance(rule, Decider):
        if rule.threshold is None:
            raise InputError("the calibration gives higher scores lower ratios, so it has no threshold on scores")
        return rule.threshold, f"operating point {rule.point.name} of the calibration"
    if rule.kind == "cost":
        raise InputError(
            f"the operating point '{rule.name}' needs log-likelihood ratios: give a `calibration`, or take eer, "
            "fa:RATE% or miss:RATE% of the clean trials"
        )
    bonafide, spoof = map(np.sort, clean)
    return rule.threshold(Llrs(bonafide, spoof)), f"operating point {rule.name} of the clean trials"
