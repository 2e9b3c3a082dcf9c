"""Compute the figures of one score file: error rates with intervals, costs, and breakdowns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.protocol import NotFound
from nes2net.evaluation.breakdown import DrawnGroups, Unit, breakdowns, groups_of
from nes2net.evaluation.key import Key, MatchedPhase
from nes2net.evaluation.matching import Matched, check_classes
from nes2net.evaluation.tables import Figure, Measured, Row
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.storage.text_files import reading_once
from nes2net.metrics.intervals import Resampling

#: Draws for a row of a breakdown; few, because there are many rows. The ends of a rate's interval vary between seeds
#: by 3 % of its width; those of a percentile interval of 1,000 draws by 4 %.
ROW_RESAMPLES = 200
_OF_OFFICIAL_ROWS = ("eer", "min_dcf", "num_bonafide", "num_spoof")
# About an EER above 50 %.
_REVERSED = "the EER is above 50 %, so higher scores probably mean spoof: negate the scores, or check the labels"
_BY_CHANCE = (
    "the EER is above 50 %, but its interval holds 50 %: these scores tell the classes apart no better than chance, and "
    "negated scores would not either"
)


@dataclass(frozen=True)
class SystemFigures:
    """The figures of one score file.

    - ``matched`` holds the trials and scores of the system.
    - ``row``: ``eer`` and its ``threshold``, ``min_dcf``, ``act_dcf``, ``cllr``, ``min_tdcf`` if
      possible, and numbers of trials; ``num_expected`` are in the phase of the key.
    - ``facts`` for the header: what the bootstrap drew (``interval_over``, ``num_groups``); numbers
      of ASV scores behind min t-DCF (``asv_counts``, or None); why trials are omitted
      (``left_out``), with a note (``partial``), both empty if none is; all ``notices`` but those of
      min t-DCF.
    - ``tables``: :func:`~nes2net.evaluation.breakdown.breakdowns`.
    - ``official``: rows of the corpus's official table, if any.
    - ``notes``: what readers must know.
    - ``asv_files``: files of ASV scores behind min t-DCF → SHA-256.
    """

    name: str
    matched: Matched
    row: Row
    facts: Mapping[str, Any]
    tables: Mapping[tuple[str, ...], Sequence[Row]]
    official: Sequence[Row]
    notes: Sequence[str]
    asv_files: Mapping[Path, str]

    @property
    def num_trials(self) -> int:
        return len(self.matched.trials)

    def headline(self) -> str:
        """Say how many trials were evaluated, and what the bootstrap drew."""
        return (
            f"{pluralise(self.num_trials, 'trial')} ({self.matched.bonafide.size:,} bona fide, {self.matched.spoof.size:,} "
            f"spoof); 95 % intervals: bootstrap over {self.facts['num_groups']:,} {self.facts['interval_over']}"
        )


def evaluate_scores(
    key: Key,
    judged: MatchedPhase,
    scores_path: Path,
    name: str,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    unit: Unit = "auto",
) -> SystemFigures:
    """Compute the figures of the score file ``scores_path``, which was matched with ``key``.

    ``unit``: see :func:`~nes2net.evaluation.breakdown.groups_of`.

    Raises:
        InputError: if all trials are of one class.
    """
    definition = key.definition
    draws: Resampling = {"num_resamples": num_resamples, "seed": seed}
    matched_trials = judged.matched
    bonafide = matched_trials.bonafide
    spoof = matched_trials.spoof
    check_classes(
        matched_trials.is_bonafide,
        f"{scores_path}: {pluralise(len(matched_trials.trials), 'trial')}",
        "judge them at a threshold from other trials, with `threshold_from` and `dev_keys`, or with `calibration`",
    )
    metric_functions: dict[str, Callable[..., Any]] = {
        "eer": matched_trials.eer_rule(definition.eer_method),
        "min_dcf": functools.partial(metrics.compute_min_dcf, **definition.min_dcf_options),
        "act_dcf": metrics.compute_act_dcf,
        "cllr": metrics.compute_cllr,
    }
    with reading_once() as digests:  # the files that are read in this context → SHA-256
        min_tdcf = _MinTdcf.of(key, bonafide, spoof)
    if min_tdcf.metric is not None:
        metric_functions["min_tdcf"] = min_tdcf.metric
    measured = Measured(metric_functions, bonafide, spoof, **draws, **groups_of(matched_trials.trials, unit))
    partial = _partial_note(matched_trials)
    row_resamples = min(ROW_RESAMPLES, num_resamples)
    # Draws let with_best() compare systems; of these figures only the EER gets an interval, below.
    figures = {measure: Figure(value, draws=measured.draws[measure]) for measure, value in measured.values.items()}
    figures |= {
        "eer": measured.figure("eer"),
        "threshold": Figure(measured.thresholds["eer"]),
        "num_bonafide": Figure(bonafide.size),
        "num_spoof": Figure(spoof.size),
        "num_expected": Figure(matched_trials.num_expected),
    }
    drawn = DrawnGroups.of(matched_trials.trials, unit)
    # What a model card says beside the EER, too.
    notices = [
        *filter(None, [partial]),
        *_doubt_notes(matched_trials, figures["eer"]),
        *drawn.notes(bonafide.size, spoof.size),
    ]
    facts = {
        **drawn._asdict(),
        "asv_counts": min_tdcf.asv_counts,
        "left_out": matched_trials.mismatch.describe(matched_trials.num_expected),
        "partial": partial,
        "notices": notices,
    }
    return SystemFigures(
        name,
        matched_trials,
        Row({"system": name}, figures),
        facts,
        breakdowns(matched_trials, definition.eer_method, num_resamples=row_resamples, seed=seed, unit=unit),
        list(_official_rows(key, judged, name)),
        [*notices, min_tdcf.note],
        {} if min_tdcf.metric is None else digests,
    )


def _partial_note(matched_trials: Matched) -> str:
    """Empty if scores and key fit."""
    mismatch = matched_trials.mismatch.describe(matched_trials.num_expected)
    num_trials = len(matched_trials.trials)
    if num_trials == matched_trials.num_expected and not mismatch:
        return ""
    # All trials may have scores although ids do not fit: unknown or repeated ones.
    basis = "all" if num_trials == matched_trials.num_expected else f"{num_trials:,} of"
    return f"PARTIAL: rests on {basis} {pluralise(matched_trials.num_expected, 'trial')}; {mismatch}"


def _doubt_notes(matched_trials: Matched, eer: Figure) -> Iterator[str]:
    assert eer.value is not None
    assert eer.interval is not None
    if matched_trials.scores.min() == matched_trials.scores.max():
        yield f"all trials have the same score, {matched_trials.scores[0]:.6g}, so no rate here tells the classes apart"
    elif eer.value > 0.5:
        yield _REVERSED if eer.interval[0] > 0.5 else _BY_CHANCE
    yield from matched_trials.doubts


def _official_rows(key: Key, judged: MatchedPhase, name: str) -> Iterator[Row]:
    """Yield no rows if there is no official table."""
    if key.definition.official_table is None:
        return
    for row in key.definition.official_table(judged.complete.trials, judged.complete.scores):
        figures = {}
        for measure in _OF_OFFICIAL_ROWS:
            figures[measure] = Figure(getattr(row, measure))
        yield Row({"system": name, "part": row.part}, figures)


class _MinTdcf(NamedTuple):
    """The metric, and the numbers of target, nontarget and spoof scores behind it; None if there is no metric."""

    metric: Callable[..., float] | None = None
    asv_counts: tuple[int, int, int] | None = None
    note: str = ""
    """Why a corpus with speaker-verification scores has no metric."""

    @classmethod
    def of(cls, key: Key, bonafide: NDArray, spoof: NDArray) -> _MinTdcf:
        corpus = key.definition
        if corpus.asv_scores is None:
            return cls()
        try:
            target, nontarget, asv_spoof = corpus.asv_scores(key.path, key.phase)
        except NotFound as error:
            return cls(note=f"no min t-DCF: {error}")
        metric = functools.partial(
            metrics.compute_min_tdcf,
            asv_target=target,
            asv_nontarget=nontarget,
            asv_spoof=asv_spoof,
            version=corpus.tdcf_version,
        )
        try:
            metric(bonafide, spoof)
        except InputError as error:  # not defined for these scores
            return cls(note=f"no min t-DCF: {error}")
        return cls(metric, (target.size, nontarget.size, asv_spoof.size))
