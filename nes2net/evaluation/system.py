"""Compute the figures of one score file: error rates with intervals, costs, and breakdowns."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from nes2net import metrics
from nes2net.data.corpora.protocol import NotFound
from nes2net.evaluation.breakdown import DrawnGroups, Unit, breakdowns, groups_of
from nes2net.evaluation.key import Key
from nes2net.evaluation.matching import Matched, check_classes
from nes2net.evaluation.tables import Figure, Measured, Row
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.storage.text_files import reading_once
from nes2net.metrics import registry
from nes2net.metrics.intervals import Resampling
from nes2net.scoring.judgement import ScoreFile

#: Draws for a row of a breakdown; few, because there are many rows. The ends of a rate's interval vary between seeds
#: by 3 % of its width; those of a percentile interval of 1,000 draws by 4 %.
ROW_RESAMPLES = 200
_OF_OFFICIAL_ROWS = ("num_bonafide", "num_spoof", "eer", "min_dcf")  # the fields of OfficialRow after the part
# About an EER above 50 %.
_REVERSED = "the EER is above 50 %, so higher scores probably mean spoof: negate the scores, or check the labels"
_BY_CHANCE = (
    "the EER is above 50 %, but its interval holds 50 %: these scores tell the classes apart no better than chance, and "
    "negated scores would not either"
)


@dataclass(frozen=True)
class SystemFigures:
    """The figures of one score file, matched with ``key``; computed when first needed.

    ``complete``: also with the excluded trials.
    ``unit``: see :func:`~nes2net.evaluation.breakdown.groups_of`.
    """

    name: str
    file: ScoreFile
    key: Key
    matched: Matched
    complete: Matched
    draws: Resampling
    unit: Unit

    @property
    def num_trials(self) -> int:
        return len(self.matched.trials)

    def headline(self) -> str:
        """Count the trials, and say what the bootstrap drew."""
        return (
            f"{pluralise(self.num_trials, 'trial')} ({self.matched.bonafide.size:,} bona fide, {self.matched.spoof.size:,} "
            f"spoof); 95 % intervals: bootstrap over {self.drawn.num_groups:,} {self.drawn.interval_over}"
        )

    @functools.cached_property
    def drawn(self) -> DrawnGroups:
        return DrawnGroups.of(self.matched.trials, self.unit)

    @functools.cached_property
    def min_tdcf(self) -> MinTdcf:
        return MinTdcf.of(self.key, self.matched)

    @functools.cached_property
    def row(self) -> Row:
        """The metrics, the ``threshold`` of the EER, and numbers of trials (``num_expected``: of the phase).

        Raises:
            InputError: if all trials are of one class.
        """
        matched_trials = self.matched
        check_classes(
            matched_trials.is_bonafide,
            f"{self.file.path}: {pluralise(self.num_trials, 'trial')}",
            "judge them at a threshold from other trials, with `threshold_from` and `dev_keys`, or with `calibration`",
        )
        definition = self.key.definition
        functions: dict[str, Callable[..., Any]] = {
            "eer": matched_trials.eer_rule(definition.eer_method),
            "min_dcf": functools.partial(metrics.compute_min_dcf, **definition.min_dcf_options),
            "act_dcf": metrics.compute_act_dcf,
            "cllr": metrics.compute_cllr,
        }
        if self.min_tdcf.metric is not None:
            functions["min_tdcf"] = self.min_tdcf.metric
        functions |= {metric.name: metric.function for metric in registry.metrics.added("scores", "ratios")}
        groups = groups_of(matched_trials.trials, self.unit)
        measured = Measured(functions, matched_trials.bonafide, matched_trials.spoof, **self.draws, **groups)
        figures = {name: measured.figure(name) for name in functions}
        for name, figure in figures.items():
            if not registry.metrics.get(name).has_interval:
                # The draws remain: with_best() compares systems by them.
                figures[name] = replace(figure, interval=None)
        figures |= {
            "threshold": Figure(measured.thresholds["eer"]),
            "num_bonafide": Figure(matched_trials.bonafide.size),
            "num_spoof": Figure(matched_trials.spoof.size),
            "num_expected": Figure(matched_trials.num_expected),
        }
        return Row({"system": self.name}, figures)

    @functools.cached_property
    def notices(self) -> list[str]:
        """Notes, also of a model card."""
        return [
            *filter(None, [self.partial]),
            *_doubt_notes(self.matched, self.row["eer"]),
            *self.drawn.notes(self.matched.bonafide.size, self.matched.spoof.size),
        ]

    @property
    def notes(self) -> list[str]:
        return [*self.notices, self.min_tdcf.note]

    @property
    def partial(self) -> str:
        """Why trials are omitted, or empty."""
        num_expected = self.matched.num_expected
        mismatch = self.matched.mismatch.describe(num_expected)
        if self.num_trials == num_expected and not mismatch:
            return ""
        # All trials may have scores although ids do not fit: unknown or repeated ones.
        basis = "all" if self.num_trials == num_expected else f"{self.num_trials:,} of"
        return f"PARTIAL: rests on {basis} {pluralise(num_expected, 'trial')}; {mismatch}"

    def facts(self) -> dict[str, Any]:
        return {
            "system": self.name,
            **self.drawn._asdict(),
            "asv_counts": self.min_tdcf.asv_counts,
            "left_out": self.matched.mismatch.describe(self.matched.num_expected),
            "partial": self.partial,
            "notices": self.notices,
        }

    def breakdowns(self) -> Mapping[tuple[str, ...], Sequence[Row]]:
        draws = self.draws | {"num_resamples": min(ROW_RESAMPLES, self.draws["num_resamples"])}
        return breakdowns(self.matched, self.key.definition.eer_method, **draws, unit=self.unit)

    def official_rows(self) -> Iterator[Row]:
        if self.key.definition.official_table is None:
            return
        for row in self.key.definition.official_table(self.complete.trials, self.complete.scores):
            title, *values = row
            yield Row({"system": self.name, "part": title}, dict(zip(_OF_OFFICIAL_ROWS, map(Figure, values))))


def _doubt_notes(matched_trials: Matched, eer: Figure) -> Iterator[str]:
    assert eer.value is not None
    assert eer.interval is not None
    if matched_trials.scores.min() == matched_trials.scores.max():
        yield f"all trials have the same score, {matched_trials.scores[0]:.6g}, so no rate here tells the classes apart"
    elif eer.value > 0.5:
        yield _REVERSED if eer.interval[0] > 0.5 else _BY_CHANCE
    yield from matched_trials.doubts


class MinTdcf(NamedTuple):
    """The metric min t-DCF of one key; None if there is no metric."""

    metric: Callable[..., float] | None = None
    asv_counts: tuple[int, int, int] | None = None
    """Numbers of target, nontarget and spoof scores of speaker verification."""
    note: str = ""
    """Why a corpus with speaker-verification scores has no metric."""
    files: Mapping[Path, str] = {}
    """Files of these scores → SHA-256."""

    @classmethod
    def of(cls, key: Key, matched_trials: Matched) -> MinTdcf:
        corpus = key.definition
        if corpus.asv_scores is None:
            return cls()
        try:
            with reading_once() as texts:
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
            metric(matched_trials.bonafide, matched_trials.spoof)
        except InputError as error:  # not defined for these scores
            return cls(note=f"no min t-DCF: {error}")
        return cls(metric, (target.size, nontarget.size, asv_spoof.size), "", texts.digests)
