"""Evaluate scores of claims: is this the claimed person, live?

A file has up to three scores of a claim: ``cm`` of the countermeasure, ``asv`` of the speaker
comparison, and ``sasv`` of both together. Figures of SASV 2022 and of track 2 of ASVspoof 5.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.trial import BONAFIDE, CLAIMS
from nes2net.evaluation.breakdown import DrawnGroups, grouping_fields, label_of
from nes2net.evaluation.claim_figures import COUNTS, ClaimScores, coarse_figures
from nes2net.evaluation.evaluation import Evaluation
from nes2net.evaluation.judgements import Rows
from nes2net.evaluation.key import score_input
from nes2net.evaluation.matching import match_rows
from nes2net.evaluation.result import Result
from nes2net.evaluation.system import ROW_RESAMPLES
from nes2net.evaluation.tables import (
    MIN_TRIALS,
    NUM_SPOOF,
    Figure,
    Measure,
    Measured,
    Row,
    Table,
    column,
    compare_figures,
    join_tables,
    words,
)
from nes2net.evaluation.transfer import ThresholdSource
from nes2net.evaluation.trial_table import TrialTable
from nes2net.lib.errors import InputError, concerning, join_names, pluralise, refuse
from nes2net.metrics import registry
from nes2net.metrics.intervals import Resampling
from nes2net.metrics.sasv import ASVSPOOF5_SASV_WEIGHTS, SasvWeights
from nes2net.metrics.tdcf import TandemWeights, tdcf_curve
from nes2net.scoring.claim_file import HEADER, KINDS, read_claim_table
from nes2net.scoring.decisions.calibration import load
from nes2net.scoring.decisions.claim import SasvFit
from nes2net.scoring.decisions.person import PERSON_OUTCOMES, judge_person
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
        return id.replace(":", "\t", 1) + super().lines("", value).replace("nan", "-")

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
    mismatch: str
    """Which scores and trials do not fit, or empty."""


@dataclass
class ClaimEvaluation(Evaluation[ClaimSystem]):
    """The evaluation of score files of claims.

    Args:
        weights: of the a-DCF.
        threshold: of the actual a-DCF; None for that of the weights, which is right for
            log-likelihood ratios.
        threshold_source: one calibration of people, for a table of outcomes.
    """

    weights: SasvWeights = ASVSPOOF5_SASV_WEIGHTS
    threshold: float | None = None
    threshold_source: ThresholdSource | None = None

    def read(self, file: ScoreFile, name: str) -> ClaimSystem:
        """Match claims of key and file, by person and recording."""
        table = file.read(read_claim_table)
        columns = {kind: column for kind, column in zip(KINDS, table.scores.T) if not np.isnan(column).all()}
        rows = np.stack(list(columns.values()), axis=1)
        with concerning(f"{file.path}:"):
            matched_trials = match_rows(
                self.key.trials, table.ids, rows, self.key.phase, allow_partial=self.allow_partial
            ).in_key_order()
        trials = matched_trials.table
        row_numbers = matched_trials.scores.astype(np.int64)
        without_claim = [trial.id for trial in trials if trial.claim is None]
        refuse(
            (
                without_claim,
                f"{file.path}: holds scores of claims, but the key does not say whether {join_names(without_claim)} is "
                "target, nontarget or spoof: use a corpus of claims, such as asvspoof2019_la_sasv",
            ),
            (
                not trials.column("claim").where("target").any(),
                f"{file.path}: there are no target trials, so there is no error rate: add some",
            ),
        )
        scores = {kind: ClaimScores.of(trials, columns[kind][row_numbers]) for kind in _NAMES if kind in columns}
        return ClaimSystem(name, trials, scores, matched_trials.mismatch.describe(matched_trials.num_expected))

    @functools.cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Metric → its further arguments."""
        threshold = self.weights.threshold if self.threshold is None else self.threshold
        return {"min_a_dcf": {"weights": self.weights}, "act_a_dcf": {"weights": self.weights, "threshold": threshold}}

    @functools.cached_property
    def fusion(self) -> SasvFit | None:
        """What decides on claims, if a calibration is given."""
        source = self.threshold_source
        if source is None:
            return None
        if len(source.calibrations) != 1 or source.further:
            raise InputError("claims are decided by one calibration: give `calibration` one file, and remove `also`")
        (path,) = source.calibrations
        calibration = load(path, claims=True)
        refuse((calibration.claim is None, f"{path}: does not decide on people: use nes2net calibrate person"))
        self.further_inputs.append(score_input(Path(path), calibration.sha256, "calibration"))
        return calibration.claim

    def report(self, systems: Sequence[ClaimSystem]) -> Result:
        tables = join_tables({system.name: self._tables(system) for system in systems})
        rows = [tables[0].row(system=system.name) for system in systems]
        if differences := list(_differences(systems, rows)):
            caption = "Differences of the SASV-EER, first − second, in percent points, from the same draws."
            tables.insert(1, Table("differences", caption, _DIFFERENCES, differences, "Differences"))
        drawn = DrawnGroups.of(systems[0].trials, "speakers")
        lines = [
            f"{self.part}: {pluralise(systems[0].trials, 'claim')}; 95 % intervals: bootstrap over {drawn.num_groups:,} "
            f"{drawn.interval_over}, {self.num_resamples:,} draws, {self._row_draws['num_resamples']:,} in the breakdowns"
        ]
        official_text = self.key.definition.official_text
        for system, row in zip(systems, rows):
            if official_text is not None and "min_a_dcf" in row.figures:
                lines.append(f"{system.name}, as the organisers' program prints it:")
                lines += official_text(*(row[name].value for name in ("min_a_dcf", "t_eer", "min_tdcf"))).split("\n")
        notes = [f"{system.name}: {system.mismatch}" for system in systems if system.mismatch]
        return Result("", {**self.options["act_a_dcf"], **drawn._asdict()}, lines, tables, notes)

    @property
    def _row_draws(self) -> Resampling:
        return {"num_resamples": min(ROW_RESAMPLES, self.num_resamples), "seed": self.seed}

    def _tables(self, system: ClaimSystem) -> Iterator[Table]:
        tandem, note = self._tandem(system)
        rows = []
        for kind, scores in system.scores.items():
            figures = {**scores.figures(self.options, self.draws), **tandem}
            figures["num_people"] = Figure(len(np.unique(scores.people)))
            rows.append(Row({"score": _NAMES[kind]}, figures))
            tandem = {}  # only beside the first score
        sizes = [int(rows[0].value(count)) for count in COUNTS]
        notes = [self._meaning_of_costs(), note, *coarse_figures(sizes, rows[0].value("num_people"))]
        added = [column(metric.name) for metric in registry.metrics.added("claims")]
        measures = [*_EERS, *_COSTS, *_TANDEM, *added, *_COUNTS, _NUM_PEOPLE]
        yield Table("claims", f"{self.key.title}.", measures, rows, notes=list(filter(None, notes)))
        if self.fusion is not None and {"cm", "asv"} <= system.scores.keys():
            yield _outcomes(system, self.fusion)
        for name in grouping_fields(system.trials):
            yield self._breakdown(name, system)

    def _meaning_of_costs(self) -> str:
        weights = ", ".join(f"{weight:g}" for weight in self.weights)
        origin = "that of the weights, for log-likelihood ratios" if self.threshold is None else "as given"
        return (
            f"The a-DCF has the weights {weights} of rejected targets, accepted nontargets and accepted spoofed trials. The "
            f"actual a-DCF accepts scores of at least {self.options['act_a_dcf']['threshold']:.6g}, {origin}. EERs by the "
            "rule of SASV 2022. A countermeasure knows no people, so its SV-EER is near 50 %."
        )

    def _tandem(self, system: ClaimSystem) -> tuple[dict[str, Figure], str]:
        """Compute t-EER and min t-DCF from ``cm`` and ``asv``, and say where the error rates of ``asv`` come from."""
        if not {"cm", "asv"} <= system.scores.keys():
            return {}, ""
        cm = system.scores["cm"]
        target, nontarget, spoof = cm.by_class(cm.scores)
        classes = [np.concatenate((target, nontarget)), spoof, *cm.by_class(system.scores["asv"].scores)]
        definition = self.key.definition
        min_tdcf = functools.partial(_min_tdcf, weights=definition.tandem_weights, version=definition.tdcf_version)
        rules: dict[str, Callable[..., float]] = {"t_eer": metrics.compute_t_eer, "min_tdcf": min_tdcf}
        try:
            figures = {name: Figure(rule(*classes)) for name, rule in rules.items()}
        except InputError as error:
            return {}, f"No t-EER and no min t-DCF: {error}."
        drawing = cm.drawing(self.seed)
        cells = drawing.cells._replace(numbers=np.tile(drawing.cells.numbers, 2))  # asv scores are drawn as cm scores
        drawing = drawing._replace(cells=cells)
        with suppress(InputError):  # no interval if a draw has no value
            measured = Measured(rules, *classes, num_trials={}, drawing=drawing, **self._row_draws)
            figures = {name: measured.figure(name) for name in rules}
        whose = "the organisers' speaker comparison" if definition.tandem_weights else "its own asv scores"
        return figures, f"t-EER and min t-DCF have few draws; min t-DCF with the error rates of {whose}."

    def _breakdown(self, name: str, system: ClaimSystem) -> Table:
        scores = next(iter(system.scores.values()))
        field = system.trials.column(name)
        is_shared = system.trials.column("label").where(BONAFIDE)
        measures = [_EERS[-1], *_COSTS, NUM_SPOOF]
        if (field.numbers[is_shared] >= 0).any():  # not only of spoofed trials, as the attack
            is_shared = np.zeros_like(is_shared)
            measures = [*_EERS, *_COSTS, *_COUNTS]
        rows = []
        for value, is_in_row in field.groups():
            figures = scores.where(is_shared | is_in_row).figures(self.options, self._row_draws)
            has_trials = min(figures[count].value or 0 for count in COUNTS) >= MIN_TRIALS
            rows.append(Row({label_of(name): value}, figures, has_trials))
        return Table(f"by {words(name)}", f"{self.key.title}: claims by {words(name)}.", measures, rows, "Breakdowns")


def _outcomes(system: ClaimSystem, fusion: SasvFit) -> Table:
    cm = system.scores["cm"]
    codes, _ = judge_person(fusion, system.scores["asv"].scores, cm.scores)
    rows = []
    for name, of_class in zip(CLAIMS, cm.by_class(codes)):
        figures = {code: Figure(int((of_class == code).sum())) for code in PERSON_OUTCOMES}
        rows.append(Row({"claim": name}, figures))
    measures = [Measure(code, outcome, "count") for code, outcome in PERSON_OUTCOMES.items() if code in codes]
    return Table("outcomes", "Decisions by the calibration.", measures, rows, "Outcomes")


def _differences(systems: Sequence[ClaimSystem], rows: Sequence[Row]) -> Iterator[Row]:
    """Compare every two systems that have the same trials."""
    for (first, first_row), (second, second_row) in itertools.combinations(zip(systems, rows), 2):
        if "sasv_eer" in first_row.figures and np.array_equal(first.trials.rows, second.trials.rows):
            figures = compare_figures(first_row["sasv_eer"], second_row["sasv_eer"])
            yield Row({"first": first.name, "second": second.name}, figures)


def _min_tdcf(bonafide: NDArray, spoof: NDArray, *asv: NDArray, weights: TandemWeights | None, version: int) -> float:
    if weights is None:
        return metrics.compute_min_tdcf(bonafide, spoof, *asv, version=version)  # type: ignore[arg-type, misc]
    return float(tdcf_curve(bonafide, spoof, weights).min())
