"""Evaluate the robustness of a detector: its error rates on the same trials, clean and under conditions.

A condition changes all recordings, such as a codec or noise. The threshold, of the clean trials or
a calibration, is the same under all conditions, because in use the condition is unknown.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.apps.robustness.attacked import AttackedScores, attack_row, transfer_table
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trials
from nes2net.data.registry import corpora
from nes2net.evaluation.breakdown import DrawnGroups, groups_of
from nes2net.evaluation.key import score_input
from nes2net.evaluation.matching import Matched, Mismatch, check_classes, match_file
from nes2net.evaluation.origin import Origin, read_origin
from nes2net.evaluation.result import Result, versions
from nes2net.evaluation.tables import Figure, Measure, Measured, Row, Table, column, compare_figures, percent, points
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.files import AnyPath
from nes2net.scoring.decisions import Decider, Llrs, OperatingPoint
from nes2net.scoring.judgement import ScoreFile

#: Name of the unchanged trials, used like the name of a condition.
CLEAN = "clean"
#: The default source of the threshold: the point at which both error rates of the clean trials are equal.
EER_OF_CLEAN = OperatingPoint("eer")
# A condition that lacks scores of more than this fraction of the trials fails, because they would be excluded under
# all others, too.
_MAX_MISSING = 0.1
_ATTACKS = (
    "Error rates under attack. Success: of the attacked trials that are decided rightly when clean, the share that is "
    "decided wrongly. SNR: the median, and the range of all. Not attacked: silent recordings."
)

MEASURES = (
    column("eer"),
    Measure("difference", "points above clean", "points", has_heat=True),
    Measure("p_value", "p", "p-value"),
    Measure("hter", "HTER %", has_heat=True),
    Measure("miss", "miss %"),
    Measure("false_alarm", "false alarm %"),
    Measure("changed", "decisions changed %", digits=1),
)
ATTACK_MEASURES = (
    *MEASURES,
    Measure("success", "success %"),
    Measure("num_right", "of", "count"),
    Measure("snr", "SNR, dB", "decibels"),
    Measure("not_attacked", "not attacked", "count"),
)


def evaluate_robustness(
    corpus: str,
    phase: str,
    trials: Trials,
    paths: Mapping[str, AnyPath],
    *,
    rule: Decider | OperatingPoint = EER_OF_CLEAN,
    num_resamples: int = 1000,
    seed: int = 0,
    failed: Mapping[str, str] = MappingProxyType({}),
    num_available: int | None = None,
    notes: Sequence[str] = (),
    attacks: Mapping[str, AttackedScores] = MappingProxyType({}),
) -> Result:
    """Compute error rates from the score files of clean trials, and of the same trials under conditions.

    Args:
        trials: labelled trials, in the order of the score files.
        paths: :data:`CLEAN` or condition → its score file. A condition that lacks more than a tenth
            of the scores fails; a trial without a score under any other is excluded from all.
        rule: threshold by a calibration, or an operating point on the clean trials.
        num_resamples: draws of the bootstrap, over speakers if every trial has one and there are at
            least ten, otherwise over trials.
        failed: condition without scores → reason.
        num_available: number of trials of the phase, if ``trials`` are a subset.
        notes: notes on the trials, see :meth:`nes2net.evaluation.key.Key.notes`.
        attacks: condition → attack, for conditions that are attacks.

    Returns:
        A result with the table ``conditions``: first :data:`CLEAN`, then the conditions from the
        largest rise of the EER to the smallest; and the table ``attacks``, in the order of ``attacks``.

    Raises:
        InputError: if a score file does not fit the trials, if a class has no trials, or if
            ``rule`` gives no threshold.
    """
    files = {name: ScoreFile.of(path) for name, path in paths.items()}
    by_condition, without_scores = _read_scores(trials, files)
    failed = {**failed, **without_scores}
    left_out = {}
    for trial in trials:
        if lacking := [name for name, scores in by_condition.items() if trial.id not in scores]:
            left_out[trial.id] = lacking
    common = [trial for trial in trials if trial.id not in left_out]
    matched = {}
    for name, scores in by_condition.items():
        values = np.array([scores[trial.id] for trial in common])
        matched[name] = Matched(common, values, len(common), Mismatch())
    clean = matched[CLEAN]
    check_classes(
        clean.is_bonafide,
        f"only {pluralise(common, 'trial has', 'trials have')} scores under all conditions",
        "score more trials",
    )
    threshold, basis = find_threshold((clean.bonafide, clean.spoof), rule)
    rules: dict[str, Callable[..., Any]] = {
        "eer": clean.eer_rule(corpora.get(corpus).eer_method),
        "rates": functools.partial(metrics.compute_rates, threshold=threshold),
    }
    drawn = DrawnGroups.of(common)
    measure = functools.partial(Measured, rules, num_resamples=num_resamples, seed=seed, **groups_of(common))
    clean_row, *rows = _condition_rows(matched, threshold, measure)
    sentences = summary_sentences(clean_row, rows)
    num_conditions = len(rows)
    attack_rows = {}
    for name, attack in attacks.items():
        if name in matched:
            row = next(row for row in rows if row.labels["condition"] == name)
            rows.remove(row)
            is_wrong = (np.stack([clean.scores, matched[name].scores]) >= threshold) != clean.is_bonafide
            attack_rows[name] = attack_row(row, attack, files[name].path, common, is_wrong)
    num_available = num_available or len(trials)
    numbers = trials_in_words((trial.label for trial in common), num_available, num_conditions)
    origin = read_origin(files[CLEAN], corpus, phase)
    num_bonafide = clean.bonafide.size
    num_spoof = clean.spoof.size
    calibration = rule.basis() if isinstance(rule, Decider) else None
    inputs = []
    for name, file in files.items():
        inputs.append(score_input(Path(file.path.name), file.sha256, f"scores, {name}"))
    # Users' programs read these keys.
    header = {
        "corpus": corpus,
        "phase": phase,
        "num_bonafide": num_bonafide,
        "num_spoof": num_spoof,
        "num_scored": len(trials),
        "num_available": num_available,
        "threshold": threshold,
        "basis": basis,
        "failed": failed,
        "left_out": left_out,
        **drawn._asdict(),
        "num_resamples": num_resamples,
        "seed": seed,
        "calibration": calibration,
        "sources": _source_facts(origin, seed, calibration),
        "inputs": inputs,
        "versions": versions(),
        "attacks": {name: attack.facts() for name, attack in attacks.items()},
    }
    caption = (
        "Error rates under each condition, by damage. HTER, misses and false alarms are those at one threshold for all "
        f"conditions. The {num_conditions} p-values are not corrected for their number."
    )
    tables = [Table("conditions", caption, MEASURES, [clean_row, *rows], "By damage")]
    if attacks:
        strong = [name for name, row in attack_rows.items() if (row["success"].value or 0) >= 0.5]
        sentences.append(f"Attacks with a success of at least 50 %: {join_names(strong) or 'none'}.")
        title = "What this detector does not withstand"
        tables.append(Table("attacks", _ATTACKS, ATTACK_MEASURES, [clean_row, *attack_rows.values()], title))
        if any(attack.link == "from" for attack in attacks.values()):
            tables.append(transfer_table(attacks, attack_rows))
    return Result(
        f"{corpora.get(corpus).title}, {phase}: robustness",
        header,
        [
            f"{corpus}, phase {phase}: {numbers}; 95 % intervals: bootstrap over {drawn.interval_over}, {num_resamples:,} draws",
            f"threshold {threshold!r}, {basis}",
            *sentences,
        ],
        tables,
        [*notes, *drawn.notes(num_bonafide, num_spoof), *_notes_on_missing(left_out, failed)],
        origin.uses,
    )


def _condition_rows(
    matched: Mapping[str, Matched], threshold: float, measure: Callable[[NDArray, NDArray], Measured]
) -> list[Row]:
    """Clean trials come first, then the largest rise of the EER; ``measure`` takes scores of both classes."""
    is_bonafide = matched[CLEAN].is_bonafide
    clean = measure(matched[CLEAN].bonafide, matched[CLEAN].spoof)
    rows = []
    conditions = [name for name in matched if name != CLEAN]
    for name in ProgressDisplay(conditions, title="evaluating", unit="condition"):
        scores = matched[name].scores
        measured = measure(scores[is_bonafide], scores[~is_bonafide])
        changed = float(np.mean((scores >= threshold) != (matched[CLEAN].scores >= threshold)))
        comparison = compare_figures(measured.figure("eer"), clean.figure("eer"))
        comparison["changed"] = Figure(changed)  # share of the decisions
        rows.append(Row({"condition": name}, _error_rates(measured) | comparison))
    rows.sort(key=lambda row: (-row.value("difference"), -row.value("hter"), row.labels["condition"]))
    return [Row({"condition": CLEAN}, _error_rates(clean)), *rows]


def _source_facts(origin: Origin, seed: int, calibration: Facts | None) -> dict[str, dict[str, str]]:
    clean_facts = {name: text for name, text in origin.facts.items() if name not in ("record", "scored_at")}
    sources = {CLEAN: clean_facts | {"seed": str(seed)}}
    if calibration is not None:
        sources["calibration"] = {
            name: str(fact) for name, fact in calibration.items() if not isinstance(fact, dict | None)
        }
    return sources


def trials_in_words(labels: Iterable[str | None], num_available: int, num_conditions: int) -> str:
    """Say how many trials, of how many, are scored under how many conditions."""
    counts = Counter(labels)
    numbers = f"{counts.total():,}"
    if counts.total() < num_available:
        numbers += f" of {num_available:,}"
    return (
        f"{numbers} trials ({counts[BONAFIDE]:,} bona fide, {counts[SPOOF]:,} spoof), clean and under "
        f"{pluralise(num_conditions, 'condition')}"
    )


def _error_rates(measured: Measured) -> dict[str, Figure]:
    return {
        "eer": measured.figure("eer"),
        "hter": measured.figure("hter"),
        "miss": Figure(measured.values["miss"]),
        "false_alarm": Figure(measured.values["false_alarm"]),
    }


def summary_sentences(clean: Row, rows: Sequence[Row]) -> list[str]:
    """Summarise the table in sentences; ``rows`` begin with the most damaging condition."""
    certain = [row for row in rows if row.value("p_value") < 0.05]
    worse = [row for row in certain if row.value("difference") > 0]
    better = [row.labels["condition"] for row in certain if row.value("difference") < 0]
    if worse:
        worst = [f"{row.labels['condition']} ({points(row.value('difference'), 1)} points)" for row in worse[:3]]
        lines = [f"Most damaging to the EER: {', '.join(worst)}."]
    else:
        lines = ["No condition raises the EER for certain."]
    if rows:
        worst_row = max(rows, key=lambda row: (row.value("hter"), row.labels["condition"]))
        hter, miss, false_alarm = (percent(worst_row.value(name), 1) for name in ("hter", "miss", "false_alarm"))
        lines.append(
            f"At the threshold, {worst_row.labels['condition']} has the highest half total error rate, {hter} % "
            f"(clean: {percent(clean.value('hter'), 1)} %); {miss} % of bona fide trials are missed and {false_alarm} % "
            "of spoofed ones accepted."
        )
        names = f" ({join_names(better)})" if better else ""
        lines.append(
            f"Of {pluralise(rows, 'condition')}, {len(worse)} raise the EER more than chance would (p < 0.05), and "
            f"{len(better)} lower it{names}."
        )
    return lines


def _notes_on_missing(left_out: Mapping[str, Sequence[str]], failed: Mapping[str, str]) -> list[str]:
    notes = []
    if left_out:
        trials = join_names([f"{id} ({', '.join(names)})" for id, names in left_out.items()])
        notes.append(
            f"PARTIAL: {pluralise(left_out, 'trial is', 'trials are')} omitted, because some condition has no score "
            f"of them: {trials}"
        )
    return notes + [f"no figures of {condition}: {reason}" for condition, reason in failed.items()]


def _read_scores(trials: Trials, files: Mapping[str, ScoreFile]) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Read condition → id of a trial → score, and failed condition → reason.

    A condition fails if it lacks more than a tenth of the scores of the clean trials.
    """
    by_condition = {}
    failed = {}
    for name, file in files.items():
        by_condition[name] = match_file(trials, file, allow_partial=True).by_id
    clean = by_condition[CLEAN]
    for name in files:
        num_missing = len(clean.keys() - by_condition[name].keys())
        if num_missing > _MAX_MISSING * len(clean):
            del by_condition[name]
            trials_have = pluralise(clean, "trial has", "trials have")
            failed[name] = f"{num_missing:,} of {trials_have} no score; the record of its scores says why"
    return by_condition, failed


def find_threshold(clean: tuple[NDArray, NDArray], rule: Decider | OperatingPoint) -> tuple[float, str]:
    """Find the threshold, and say where it comes from.

    Args:
        clean: scores of the bona fide and of the spoofed clean trials.
        rule: as for :func:`evaluate_robustness`.

    Raises:
        InputError: if ``rule`` gives no threshold.
    """
    if isinstance(rule, Decider):
        if rule.threshold is None:
            raise InputError(
                "the calibration gives higher scores lower ratios, so it has no threshold on scores: use another `calibration`"
            )
        return rule.threshold, f"operating point {rule.point.name} of the calibration"
    if rule.kind == "cost":
        raise InputError(
            f"the operating point '{rule.name}' needs log-likelihood ratios: add `calibration`, or use the operating point "
            "eer, fa:RATE% or miss:RATE% of the clean trials"
        )
    bonafide, spoof = map(np.sort, clean)
    return rule.threshold(Llrs(bonafide, spoof)), f"operating point {rule.name} of the clean trials"
