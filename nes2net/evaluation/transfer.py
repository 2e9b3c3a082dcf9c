"""Judge test sets at a threshold that was chosen on a development set.

The threshold of the EER needs the labels of the test set, which users do not have. For example, a
detector with an EER of 11.2 % on In-the-Wild has a half total error rate of 39.5 % there, at the
threshold of a development set (arXiv 2606.21584).

A calibration turns scores into log-likelihood ratios, and an operating point chooses the threshold.
This also gives costs of ratios: the actual DCF, and Cllr with its two parts.

In reading order: ``choose_thresholds`` reads or fits a calibration for each system; ``judge_sets``
judges the sets of a system; ``losses_in_words`` and the warnings explain the figures.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from nes2net import metrics
from nes2net.data.corpora.corpus import Excluded
from nes2net.data.corpora.protocol import WHOLE, canonical_phase
from nes2net.data.registry import corpora
from nes2net.evaluation.breakdown import DrawnGroups, groups_of
from nes2net.evaluation.key import Key, Labels, score_input
from nes2net.evaluation.matching import Matched, check_classes
from nes2net.evaluation.one_class import OneClass, judge_one_class
from nes2net.evaluation.origin import read_scored_by
from nes2net.evaluation.tables import Figure, Measured, Row, points
from nes2net.lib.errors import InputError, pluralise, refuse
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.metrics.intervals import Draws
from nes2net.scoring.decisions.calibration import LinearCalibration, Llrs, few_trials, fit, load, scored_part
from nes2net.scoring.decisions.decision import INVERTED, Decider, OperatingPoint
from nes2net.scoring.judgement import ScoreFile

# Lengths that differ by a smaller share are equal: "four seconds" are 64,000 or 64,600 samples.
_SAME_LENGTH = 0.05
# A loss by calibration of at most this share of Cllr is small.
_LITTLE = 0.05


_Set = TypeVar("_Set", "JudgedSet", OneClass)


class ScoredSet(NamedTuple):
    """A scored part of a corpus: labelled trials and scores."""

    key: Key
    file: ScoreFile
    matched: Matched
    inputs: Sequence[dict[str, str]] = ()
    """Files that were read, for the header of a result."""

    @property
    def corpus(self) -> str:
        return self.key.corpus

    @property
    def phase(self) -> str:
        return canonical_phase(self.key.phase)

    @property
    def name(self) -> str:
        """The corpus, and the phase unless it is ``"eval"``."""
        return self.corpus if self.phase == "eval" else f"{self.corpus}, {self.phase}"


class SetFiles(NamedTuple):
    """A set of scored trials, for :func:`read_set`."""

    corpus: str
    scores: str
    keys: str
    """Folder or file of the key."""
    phase: str = "eval"


@dataclass(frozen=True)
class ThresholdSource:
    """Where thresholds come from: development scores or calibrations, one for each system.

    Args:
        dev_scores: score files, in the order of the systems; empty with ``calibrations``.
        dev_keys: folder or file of the development key.
        dev_corpus: by default, the corpus of the evaluation.
        calibrations: files of ``nes2net calibrate``, in the order of the systems.
        operating_point: how a threshold is chosen; see :meth:`Decider.at` for None.
        further: more test sets; only for a single system.
    """

    dev_scores: Sequence[str] = ()
    dev_keys: str = "."
    dev_corpus: str | None = None
    dev_phase: str = "dev"
    calibrations: Sequence[str] = ()
    operating_point: OperatingPoint | None = None
    further: Sequence[SetFiles] = ()


@dataclass(frozen=True)
class JudgedSet:
    """The figures of a set of both classes at the transferred threshold.

    - ``is_development``: whether the threshold was chosen on this set.
    - ``drawn``: what the bootstrap drew; calibration and threshold stay fixed.
    - ``row``: :data:`~nes2net.evaluation.transfer_tables.RATES` and
      :data:`~nes2net.evaluation.transfer_tables.COSTS`. With few trials, the interval of
      ``min_cllr`` is too low and that of ``calibration_loss`` too high: each draw has its own best
      calibration.
    - ``llrs``: calibrated scores of both classes; ``raw``: before, if known.
    """

    name: str
    corpus: str
    phase: str
    is_development: bool
    drawn: DrawnGroups
    row: Row
    llrs: Llrs = field(repr=False, compare=False)
    raw: Llrs | None = field(repr=False, compare=False)


@dataclass(frozen=True)
class Transfer:
    """The judged sets of one system at one transferred threshold.

    - ``decider``: calibration and threshold.
    - ``sets`` of both classes: the development set, if its scores are known, then test sets.
    - ``one_class``: test sets of one class, or both classes of sets with a threshold of genuine ones.
    - ``warnings``: reasons to doubt threshold or figures.
    """

    system: str
    decider: Decider = field(repr=False)
    sets: list[JudgedSet]
    one_class: list[OneClass]
    warnings: list[str]
    num_resamples: int

    @property
    def threshold_in_words(self) -> str:
        """The operating point, its development set and the threshold, as text."""
        basis = self.decider.basis()
        source = " ".join(str(basis[key]) for key in ("corpus", "phase") if key in basis) or "an unnamed set"
        if {"num_bonafide", "num_spoof"} <= basis.keys():
            source += f" ({basis['num_bonafide']} bona fide, {basis['num_spoof']} spoof)"
        thresholds = []
        for name, key in (("log-likelihood ratio", "llr_threshold"), ("score", "threshold")):
            if basis.get(key) is not None:
                thresholds.append(f"{name} {basis[key]!r}")
        return f"operating point {self.decider.point.name} of {source}: {', '.join(thresholds)}"

    def facts(self) -> FactsDict:
        """Collect threshold, source, judged sets and warnings as plain data."""
        (weight,) = self.decider.calibration.weights
        sets = []
        for judged in self.sets:
            sets.append(
                {
                    "set": judged.name,
                    "corpus": judged.corpus,
                    "phase": judged.phase,
                    "is_development": judged.is_development,
                    **judged.drawn._asdict(),
                    "num_resamples": self.num_resamples,
                }
            )
        # Users' programs read these keys.
        return {
            "system": self.system,
            "basis": self.decider.basis() | {"weight": weight, "offset": self.decider.calibration.offset},
            "sets": sets,
            "warnings": self.warnings,
        }


class Threshold(NamedTuple):
    """A system's threshold and its source."""

    decider: Decider
    development: ScoredSet | None
    """The trials of the calibration; None if it was read from a file."""
    inputs: Sequence[dict[str, str]]
    """The files that were read."""


# Thresholds


def choose_thresholds(
    source: ThresholdSource, corpus: str, num_systems: int, *, allow_partial: bool = False
) -> list[Threshold]:
    """Choose each system's threshold with a calibration, fitted to development scores or read.

    ``corpus`` is that of the evaluation.

    Raises:
        InputError: if a file is missing, malformed or does not fit its key; numbers of files and
            systems differ; several systems have further test sets; development trials are of one
            class; a calibration is for frames; or no calibration or threshold can be computed.
    """
    num_files = (len(source.dev_scores), len(source.calibrations))
    # Exactly one of the two has files, one for each system.
    refuse(
        (
            sorted(num_files) != [0, num_systems],
            f"{num_files[0]} files in `threshold_from` and {num_files[1]} in `calibration` for "
            f"{pluralise(num_systems, 'system')}: use only one of them, with a file for each system, in their order",
        ),
        (
            source.further and num_systems > 1,
            f"`also` requires a single system, but {num_systems} are evaluated: evaluate one at a time",
        ),
    )
    thresholds = []
    for path in source.dev_scores:
        dev_files = SetFiles(source.dev_corpus or corpus, path, source.dev_keys, source.dev_phase)
        development = read_set(dev_files, "development", {}, allow_partial=allow_partial)
        check_classes(development.matched.is_bonafide, f"{path}: {pluralise(development.matched.trials, 'trial')}")
        bonafide = development.matched.bonafide
        spoof = development.matched.spoof
        calibration = replace(
            fit(bonafide, spoof, systems=[development.file.path.stem]),
            trained_on={
                "corpus": development.corpus,
                "phase": development.phase,
                "num_bonafide": bonafide.size,
                "num_spoof": spoof.size,
            },
            scored_by=read_scored_by(development.file.record),
        )
        decider = Decider.at(calibration, source.operating_point)
        thresholds.append(Threshold(decider, development, development.inputs))
    for path in source.calibrations:
        decider = Decider.at(load(path), source.operating_point)
        if (resolution_ms := decider.calibration.resolution_ms) is not None:
            raise InputError(
                f"{path}: a calibration of scores of frames of {resolution_ms:g} ms, not of recordings: use one that was "
                "learned from scores of recordings"
            )
        file = score_input(Path(path), decider.calibration.sha256, "calibration")
        thresholds.append(Threshold(decider, None, [file]))
    return thresholds


def read_set(
    files: SetFiles,
    kind: str,
    excluded: Excluded | None,
    *,
    allow_partial: bool = False,
) -> ScoredSet:
    """Read a set and match its scores with its key.

    Args:
        kind: word for the set in the list of inputs, such as ``"development"``.
        excluded: field → values of trials to omit; None omits what published figures omit.

    Raises:
        InputError: if a file is missing or malformed, or scores and key do not fit.
    """
    file = ScoreFile.of(files.scores)
    key = Labels(files.corpus, files.keys, files.phase).read(excluded)
    judged = key.match(file, allow_partial=allow_partial)
    inputs = [score_input(file.path, file.sha256, f"{kind} scores"), key.input(f"{kind} key")]
    return ScoredSet(key, file, judged.matched, inputs)


# Judging sets


def judge_sets(
    system: str, threshold: Threshold, tested: Sequence[ScoredSet], *, num_resamples: int = 1000, seed: int = 0
) -> Transfer:
    """Judge the development set and the test sets of one system at its threshold.

    If the calibration was read from a file, its log-likelihood ratios, if any, are the development
    set. Sets of one class, and all sets after calibration on genuine recordings, are judged only
    by errors.
    """
    decider, development, _ = threshold
    draws: Draws = {"num_resamples": num_resamples, "seed": seed}

    def judge(scored: ScoredSet, *, is_development: bool = False) -> JudgedSet:
        trials = scored.matched.trials
        # Raw scores, read as log-likelihood ratios for comparison.
        raw = Llrs(scored.matched.bonafide, scored.matched.spoof)
        llrs = Llrs(*map(decider.calibration, raw))
        row = _figures(
            decider,
            llrs,
            raw,
            scored.matched.eer_rule(scored.key.definition.eer_method),
            {**draws, **groups_of(trials)},
        )
        return JudgedSet(
            scored.name, scored.corpus, scored.phase, is_development, DrawnGroups.of(trials), row, llrs, raw
        )

    sets = []
    if development is not None:
        sets.append(judge(development, is_development=True))
    elif (llrs := decider.calibration.llrs) is not None:
        corpus = str(decider.calibration.trained_on.get("corpus", ""))
        phase = str(decider.calibration.trained_on.get("phase", ""))
        method = corpora.get(corpus).eer_method if corpus in corpora.names() else "asvspoof"
        row = _figures(decider, llrs, None, functools.partial(metrics.compute_eer, method=method), draws)
        name = ", ".join(filter(None, (corpus or "calibration", phase)))
        drawn = DrawnGroups("trials", llrs.bonafide.size + llrs.spoof.size)
        sets.append(JudgedSet(name, corpus, phase, True, drawn, row, llrs, None))
    one_class = []
    warnings = _warnings_of_threshold(decider.calibration, development)
    for scored in tested:
        judged = None
        labels = sorted({str(trial.label) for trial in scored.matched.trials})
        if len(labels) == 1 or decider.calibration.genuine:
            one_class += [judge_one_class(decider, scored.matched, scored.name, label) for label in labels]
        else:
            judged = judge(scored)
            sets.append(judged)
            warnings += [f"{scored.name}: {note}" for note in judged.drawn.notes(*map(len, judged.llrs))]
        warnings += _warnings(decider.calibration, development, scored, judged)
    return Transfer(system, decider, _with_unique_names(sets), _with_unique_names(one_class), warnings, num_resamples)


def _figures(
    decider: Decider, llrs: Llrs, raw: Llrs | None, eer: Callable[..., tuple[float, float]], draws: Draws
) -> Row:
    rules: dict[str, Callable[..., object]] = {
        "rates": functools.partial(metrics.compute_rates, threshold=decider.llr_threshold),
        "act_dcf": metrics.compute_act_dcf,
        "cllr": metrics.compute_cllr,
        "min_cllr": metrics.compute_min_cllr,
        "eer": eer,
    }
    if (point := decider.point).kind == "cost":
        costs = {"p_spoof": 1 - point.prior, "c_miss": point.c_miss, "c_fa": point.c_fa}
        rules["own_cost"] = functools.partial(metrics.compute_act_dcf, **costs)
    measured = Measured(rules, *llrs, **draws)
    figures = {name: measured.figure(name) for name in measured.values}
    figures["calibration_loss"] = measured.difference("cllr", "min_cllr")
    figures["hter_lost"] = measured.difference("hter", "eer")
    # The scores before the calibration; the file of a calibration keeps only its log-likelihood ratios.
    figures["raw_cllr"] = Figure(metrics.compute_cllr(*raw) if raw else None)
    figures["eer_llr"] = Figure(OperatingPoint("eer").threshold(llrs))
    figures["num_bonafide"] = Figure(llrs.bonafide.size)
    figures["num_spoof"] = Figure(llrs.spoof.size)
    # transfer_tables() adds the labels.
    return Row({}, figures)


def _with_unique_names(sets: list[_Set]) -> list[_Set]:
    names = [judged.name for judged in sets]
    renamed_sets = []
    for number, judged in enumerate(sets, 1):
        if names.count(judged.name) > 1:
            judged = replace(judged, name=f"{judged.name} ({names[:number].count(judged.name)})")
        renamed_sets.append(judged)
    return renamed_sets


# Comments and warnings


def losses_in_words(judged: JudgedSet) -> str:
    """Explain what the calibration (loss of Cllr) and the threshold (HTER − EER) cost on a test set."""
    # A small loss by calibration is not worth a sentence.
    total = judged.row.value("cllr")
    lowest = judged.row.value("min_cllr")
    lost = judged.row.value("calibration_loss")
    if lost <= _LITTLE * total or lost < 0.005:
        text = (
            f"Cllr is {total:.2f} bits, and nearly all of it is lost by discrimination: no other calibration would "
            "do much better."
        )
    else:
        text = (
            f"{lost:.2f} of {total:.2f} bits are lost by calibration, not by discrimination: the best ratios for this set "
            f"would cost {lowest:.2f}."
        )
    if total > 1:
        text += " Above 1 bit the ratios mislead: a system that says nothing costs 1."
    # Certain only if its interval lies above 0.
    lost_points = points(judged.row.value("hter_lost"))
    interval = judged.row["hter_lost"].interval
    assert interval is not None
    low, high = map(points, interval)
    if interval[0] > 0:
        eer_ratio = f"{judged.row.value('eer_llr'):.2f}".replace("-", "−")
        return (
            f"{text} The threshold costs {lost_points} points of HTER ({low} to {high}): the errors of this set are equal at a "
            f"ratio of {eer_ratio}."
        )
    return f"{text} The threshold may cost nothing: HTER − EER is {lost_points} points ({low} to {high})."


def _warnings_of_threshold(calibration: LinearCalibration, development: ScoredSet | None) -> list[str]:
    lines = []
    if calibration.weights[0] < 0:
        lines.append(INVERTED)
    if development is not None:
        trials = development.matched
        if few := few_trials(trials.bonafide.size, trials.spoof.size):
            lines.append(f"the threshold rests on few trials of {development.name}: {few}")
        if left_out := trials.mismatch.describe(trials.num_expected):
            lines.append(f"the threshold rests on a part of {development.name}: {left_out}")
        lines += [f"{development.name}: {doubt}" for doubt in trials.doubts]
    return lines


def _warnings(
    calibration: LinearCalibration, development: ScoredSet | None, scored: ScoredSet, judged: JudgedSet | None
) -> Iterator[str]:
    # The threshold may have been chosen on trials of the test set.
    facts = calibration.trained_on
    if development is not None and development.corpus == scored.corpus:
        num_shared = len(development.matched.by_id.keys() & scored.matched.by_id.keys())
        shared = f"{num_shared:,} of the {pluralise(scored.matched.trials, 'trial')} of {scored.name}"
        is_own_list = scored.key.definition.user_defined
        if num_shared and is_own_list and development.key.digest != scored.key.digest:
            yield (
                f"{shared} have ids of development trials: if they are the same recordings, its figures are too good"
            )
        elif num_shared:
            yield f"{shared} are development trials, so its figures are too good: choose the threshold on others"
    elif development is None and _same_corpus(facts, scored):
        phases = {canonical_phase(str(facts.get("phase", WHOLE))), scored.phase}
        if len(phases) == 1 or WHOLE in phases:
            yield f"the calibration was learned on trials of {scored.name}, so its figures are too good: learn it on others"
    # Detector and scored length may differ from the calibration's.
    calibrated = calibration.scored_by
    tested = read_scored_by(scored.file.record)
    if calibrated is not None and tested is not None:
        length = calibrated.num_samples or math.inf
        tested_length = tested.num_samples or math.inf
        if calibrated.fingerprint != tested.fingerprint:
            yield (
                f"the scores of {scored.name} come from another detector ({tested.fingerprint[:12]}, {tested.precision}) "
                f"than the calibration ({calibrated.fingerprint[:12]}, {calibrated.precision}), or from the same one in "
                "another precision: the threshold means nothing for them; calibrate on scores of this detector and precision"
            )
        elif min(length, tested_length) < (1 - _SAME_LENGTH) * max(length, tested_length):
            yield (
                f"the calibration is learned on scores of {scored_part(calibrated.num_samples)}, and {scored.name} has scores of "
                f"{scored_part(tested.num_samples)}: the threshold may not fit them; score the same length for both"
            )
    # The calibration may have made the scores worse.
    if judged is not None:
        cllr = judged.row.value("cllr")
        raw_cllr = judged.row.value("raw_cllr")
        if cllr > raw_cllr:
            yield (
                f"calibration made Cllr of {scored.name} worse: {raw_cllr:.2f} bits for its scores as they are, "
                f"{cllr:.2f} calibrated. These trials are unlike the development trials; calibrate on trials like these"
            )
    if left_out := scored.matched.mismatch.describe(scored.matched.num_expected):
        yield f"the figures of {scored.name} rest on a part of its trials: {left_out}"
    for doubt in scored.matched.doubts:
        yield f"{scored.name}: {doubt}"


def _same_corpus(facts: Facts, scored: ScoredSet) -> bool:
    """All users' own lists have one corpus name, so digests of their keys are compared."""
    if scored.key.definition.user_defined:
        return facts.get("key_sha256") == scored.key.digest
    return facts.get("corpus") == scored.corpus
