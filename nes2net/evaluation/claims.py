"""Evaluate scores of claims: is this the claimed person, live?

A file has up to three scores of a claim: ``cm`` of the countermeasure, ``asv`` of the speaker
comparison, and ``sasv`` of both together. Figures of SASV 2022 and of track 2 of ASVspoof 5.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.claims import CLAIMS
from nes2net.evaluation.breakdown import DrawnGroups, grouping_fields, label_of
from nes2net.evaluation.claim_figures import COUNTS, ClaimScores
from nes2net.evaluation.evaluation import Evaluation
from nes2net.evaluation.judgements import Rows
from nes2net.evaluation.matching import match
from nes2net.evaluation.result import Result
from nes2net.evaluation.system import ROW_RESAMPLES
from nes2net.evaluation.tables import MIN_TRIALS, NUM_SPOOF, Figure, Measure, Row, Table, column, words
from nes2net.evaluation.trial_table import TrialTable
from nes2net.lib.errors import InputError, concerning, join_names, pluralise
from nes2net.metrics import registry
from nes2net.metrics.intervals import Resampling, two_sided_p
from nes2net.metrics.sasv import ASVSPOOF5_SASV_WEIGHTS, SasvWeights
from nes2net.metrics.tdcf import asv_error_rates, tandem_weights, tdcf_curve
from nes2net.scoring.claim_file import HEADER, KINDS, ClaimTable, read_claim_table
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.score_file import ScoreTable

#: Kind of score → its name in tables, in this order; the first that a file has decides.
_NAMES = {"sasv": "sasv", "asv": "asv alone", "cm": "cm alone"}
_EERS = tuple(column(name, text_digits=3) for name in ("sasv_eer", "sv_eer", "spf_eer"))
_COSTS = (column("min_a_dcf", text_digits=5), column("act_a_dcf", text_digits=5))
_TANDEM = (Measure("t_eer", "t-EER %", text_digits=3), column("min_tdcf", text_digits=5))
_COUNTS = (Measure("num_targets", "targets", "count"), Measure("num_nontargets", "nontargets", "count"), NUM_SPOOF)
_NUM_PEOPLE = Measure("num_people", "enrolled people", "count")
_DIFFERENCES = (
    Measure("difference", "difference", "points", text_digits=3),
    Measure("p_value", "p", "p-value"),
    *_COUNTS,
)


@dataclass(frozen=True)
class Claims(Rows):
    """The judgement ``claims``: scores ``cm``, ``asv`` and ``sasv`` of a recording and a claimed person.

    A file is described in :mod:`nes2net.scoring.claim_file`; the id of a row is
    ``PERSON:RECORDING``.
    """

    name = "claims"
    what = "scores of claims"
    of_recordings = False
    columns = ("cm-score", "asv-score", "sasv-score")

    def evaluation(self) -> type[Evaluation[Any]]:
        return ClaimEvaluation

    def fit_to(self, scorer: Any) -> Claims:
        raise InputError(
            "scores of claims need enrolled people, which a detector does not know: score another judgement"
        )

    def compute(self, scorer: Any, waveforms: Any) -> Any:
        return self.fit_to(scorer)

    @property
    def header(self) -> str:
        return HEADER

    def lines(self, id: str, value: NDArray) -> str:
        return super().lines(id.replace(":", "\t", 1), value).replace("nan", "-")

    def scores(self, path: Path) -> ScoreTable:
        table = read_claim_table(path)
        return ScoreTable(table.ids, table.scores[:, KINDS.index("sasv")])


class ClaimSystem(NamedTuple):
    """The scores of one system, in the order of the key."""

    name: str
    trials: TrialTable
    """N trials."""
    scores: Mapping[str, ClaimScores]
    """``sasv``, ``asv`` and ``cm``, as far as the file has them."""
    notes: Sequence[str]


@dataclass
class ClaimEvaluation(Evaluation[ClaimSystem]):
    """The evaluation of score files of claims.

    Args:
        weights: of the a-DCF.
        threshold: of the actual a-DCF; None for that of the weights, which is right for
            log-likelihood ratios.
    """

    weights: SasvWeights = ASVSPOOF5_SASV_WEIGHTS
    threshold: float | None = None

    def read(self, file: ScoreFile, name: str) -> ClaimSystem:
        """Match claims of key and file, by person and recording."""
        table = file.read(read_claim_table)
        with concerning(f"{file.path}:"):
            _check_finite(table)
            rows = np.arange(len(table.ids))
            matched = match(self.key.trials, table.ids, rows, self.key.phase, allow_partial=self.allow_partial)
        in_order = np.argsort(matched.table.rows)
        trials = matched.table.take(in_order)
        rows = matched.scores.astype(np.int64)[in_order]
        if without_claim := [trial.id for trial in trials if trial.claim is None]:
            raise InputError(
                f"{file.path}: holds scores of claims, but the key does not say whether {join_names(without_claim)} is "
                "target, nontarget or spoof: use a corpus of claims, such as asvspoof2019_la_sasv"
            )
        scores = {}
        for kind in _NAMES:
            of_kind = table.scores[rows, KINDS.index(kind)]
            if not np.isnan(of_kind).any():
                scores[kind] = ClaimScores.of(trials, of_kind)
        if not next(iter(scores.values())).sizes[0]:
            raise InputError(f"{file.path}: there are no target trials, so there is no error rate: add some")
        notes = [matched.mismatch.describe(matched.num_expected), _contradiction(trials, table, rows)]
        return ClaimSystem(name, trials, scores, list(filter(None, notes)))

    @functools.cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Metric → its further arguments."""
        threshold = self.weights.threshold if self.threshold is None else self.threshold
        return {"min_a_dcf": {"weights": self.weights}, "act_a_dcf": {"weights": self.weights, "threshold": threshold}}

    def report(self, systems: Sequence[ClaimSystem]) -> Result:
        rows = []
        single_rows = []
        notes = []
        printed = []
        for system in systems:
            first, *others = (self._row(system, kind) for kind in system.scores)
            single_rows += others
            tandem, note = self._tandem(system)
            rows.append(replace(first, figures={**first.figures, **tandem}))
            notes += [f"{system.name}: {text}" for text in filter(None, [*system.notes, note, _missing(first)])]
            if self.key.definition.official_text is not None and "min_a_dcf" in first.figures:
                printed.append(f"{system.name}, as the organisers' program prints it:")
                a_dcf = first.value("min_a_dcf")
                text = self.key.definition.official_text(a_dcf, *(tandem[name].value for name in tandem))
                printed += text.split("\n")
        tables = [Table("claims", f"{self.key.title}.", _columns(rows), rows, notes=[self._meaning_of_costs()])]
        if single_rows:
            caption = "Scores one by one. A countermeasure knows no people, so its SV-EER is near 50 %."
            tables.append(Table("single scores", caption, _columns(single_rows), single_rows, "Single scores"))
        if differences := list(_differences(systems, rows)):
            caption = "Differences of the SASV-EER, first − second, in percent points, from the same draws."
            tables.append(Table("differences", caption, _DIFFERENCES, differences, "Differences"))
        drawn = DrawnGroups.of(systems[0].trials, "speakers")
        facts = {"weights": self.weights._asdict(), **self.options["act_a_dcf"], **drawn._asdict()}
        lines = [
            f"{self.part}: {pluralise(systems[0].trials, 'claim')}; 95 % intervals: bootstrap over {drawn.num_groups:,} "
            f"{drawn.interval_over}, {self.num_resamples:,} draws, {self._row_draws['num_resamples']:,} in the breakdowns",
            *printed,
        ]
        return Result("", facts, lines, [*tables, *self._breakdowns(systems)], notes)

    @property
    def _row_draws(self) -> Resampling:
        return {"num_resamples": min(ROW_RESAMPLES, self.num_resamples), "seed": self.seed}

    def _meaning_of_costs(self) -> str:
        weights = ", ".join(f"{weight:g}" for weight in self.weights)
        origin = "that of the weights, for log-likelihood ratios" if self.threshold is None else "as given"
        return (
            f"The a-DCF has the weights {weights} of rejected targets, accepted nontargets and accepted spoofed trials. The "
            f"actual a-DCF accepts scores of at least {self.options['act_a_dcf']['threshold']:.6g}, {origin}. EERs by the "
            "rule of SASV 2022."
        )

    def _row(self, system: ClaimSystem, kind: str) -> Row:
        figures = system.scores[kind].figures(self.options, self.draws)
        figures["num_people"] = Figure(np.unique(system.scores[kind].people).size)
        return Row({"system": system.name, "score": _NAMES[kind]}, figures)

    def _tandem(self, system: ClaimSystem) -> tuple[dict[str, Figure], str]:
        """Compute t-EER and min t-DCF from ``cm`` and ``asv``, and say where the error rates of ``asv`` come from."""
        if not {"sasv", "cm", "asv"} <= system.scores.keys():
            return {}, ""
        target, nontarget, spoof = system.scores["cm"].classes
        bonafide = np.concatenate((target, nontarget))
        asv = system.scores["asv"].classes
        weights = self.key.definition.tandem_weights
        whose = "the organisers' speaker comparison"
        try:
            if weights is None:
                weights = tandem_weights(asv_error_rates(*asv), self.key.definition.tdcf_version)
                whose = "its own asv scores"
            t_eer = metrics.compute_t_eer(bonafide, spoof, *asv)
            min_tdcf = float(tdcf_curve(bonafide, spoof, weights).min())
        except InputError as error:
            return {}, f"no t-EER and no min t-DCF: {error}"
        note = f"min t-DCF with the error rates of {whose}; t-EER and min t-DCF have no interval"
        return {"t_eer": Figure(t_eer), "min_tdcf": Figure(min_tdcf)}, note

    def _breakdowns(self, systems: Sequence[ClaimSystem]) -> Iterator[Table]:
        title = self.key.title
        for name in grouping_fields(systems[0].trials):
            rows = []
            measures = [*_EERS, *_COSTS, *_COUNTS]
            for system in systems:
                scores = next(iter(system.scores.values()))
                numbers, values = system.trials.column(name)
                is_bonafide = scores.claims < 2
                is_shared = np.zeros(len(numbers), dtype=bool)
                if not (numbers[is_bonafide] >= 0).any():  # only spoofed trials have the field, such as the attack
                    is_shared = is_bonafide
                    measures = [_EERS[-1], *_COSTS, NUM_SPOOF]
                for number in np.unique(numbers[numbers >= 0]).tolist():
                    figures = scores.where(is_shared | (numbers == number)).figures(self.options, self._row_draws)
                    has_trials = min(figures[count].value or 0 for count in COUNTS) >= MIN_TRIALS
                    rows.append(Row({"system": system.name, label_of(name): values[number]}, figures, has_trials))
            hidden = () if len(systems) > 1 else ("system",)
            caption = f"{title}: claims by {words(name)}."
            yield Table(f"by {words(name)}", caption, measures, rows, "Breakdowns", hidden=hidden)


def _check_finite(table: ClaimTable) -> None:
    is_infinite = np.isinf(table.scores) | (np.isnan(table.scores) & ~np.isnan(table.scores).all(0))
    if ids := [table.ids[row] for row in np.flatnonzero(is_infinite.any(1)).tolist()]:
        raise InputError(f"{pluralise(ids, 'claim')} with a score that is not finite: {join_names(ids)}; score again")
    if np.isnan(table.scores).all():
        raise InputError("the file has no scores: score again")


def _contradiction(trials: TrialTable, table: ClaimTable, rows: NDArray) -> str:
    if not table.claims:
        return ""
    pairs = zip(trials, rows.tolist())
    contradicted = [trial.id for trial, row in pairs if table.claims[row] != trial.claim]
    if not contradicted:
        return ""
    return (
        f"the file calls {len(contradicted):,} claims otherwise than the key, which decides: {join_names(contradicted)}"
    )


def _missing(row: Row) -> str:
    names = [name for name, count in zip(CLAIMS, COUNTS) if not row.value(count)]
    return f"no {' and no '.join(names)} trials, so some figures are not defined" if names else ""


def _columns(rows: Sequence[Row]) -> list[Measure]:
    """List the columns of which a row has a figure."""
    added = [column(metric.name) for metric in registry.metrics.added("claims")]
    names = {name for row in rows for name in row.figures}
    return [measure for measure in (*_EERS, *_COSTS, *_TANDEM, *added, *_COUNTS, _NUM_PEOPLE) if measure.name in names]


def _differences(systems: Sequence[ClaimSystem], rows: Sequence[Row]) -> Iterator[Row]:
    """Compare every two systems that have the same trials."""
    for first, second in itertools.combinations(range(len(systems)), 2):
        both = rows[first]["sasv_eer"], rows[second]["sasv_eer"]
        same = np.array_equal(systems[first].trials.rows, systems[second].trials.rows)
        if not same or both[0].draws is None or both[1].draws is None:
            continue
        draws = both[0].draws - both[1].draws
        difference = rows[first].value("sasv_eer") - rows[second].value("sasv_eer")
        p_value = two_sided_p(draws)
        figures = {
            "difference": Figure(difference, metrics.percentiles(draws, 0.95)),
            "p_value": Figure(p_value, is_bound=p_value <= 2 / (draws.size + 1)),
            **{name: rows[first][name] for name in COUNTS},
        }
        yield Row({"first": systems[first].name, "second": systems[second].name}, figures)
