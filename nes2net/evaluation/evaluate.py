"""Evaluate scores against keys: error rates with intervals, breakdowns, comparisons of systems."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.corpus import Excluded
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.evaluation.breakdown import Unit, breakdown_tables, groups_of, resolve_unit
from nes2net.evaluation.curves import thin_det
from nes2net.evaluation.evaluation import Evaluation
from nes2net.evaluation.key import Key, describe_excluded, score_input
from nes2net.evaluation.matching import check_classes, common_trials
from nes2net.evaluation.origin import differences_of_one_detector
from nes2net.evaluation.result import Plots, Result
from nes2net.evaluation.system import ROW_RESAMPLES, SystemFigures
from nes2net.evaluation.tables import (
    EER,
    MIN_DCF,
    NUM_BONAFIDE,
    NUM_SPOOF,
    NUM_TRIALS,
    THRESHOLD,
    Figure,
    Measure,
    Row,
    Table,
    column,
    with_best,
)
from nes2net.evaluation.transfer import (
    ScoredSet,
    ThresholdSource,
    Transfer,
    choose_thresholds,
    judge_sets,
    read_set,
)
from nes2net.evaluation.transfer_tables import transfer_tables
from nes2net.lib.errors import pluralise
from nes2net.metrics import registry
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.scoring.judgement import ScoreFile

#: Named in notes; its scores give the official min t-DCF.
ORGANISERS = "the organisers’ ASV system"
#: Kind of these files in the list of inputs, for min t-DCF.
ASV_SCORES = "speaker-verification scores"

_POOLED = (
    EER,
    THRESHOLD,
    column("min_tdcf"),
    MIN_DCF,
)
_NUM_EXPECTED = Measure("num_expected", "trials of the key", "count")
_CALIBRATION = (column("act_dcf", text_digits=5), column("cllr", heading="Cllr, bits", text_digits=5))
_OFFICIAL = (replace(EER, has_heat=True), replace(MIN_DCF, text_digits=6), NUM_BONAFIDE, NUM_SPOOF)
_DIFFERENCES = (
    Measure("difference", "difference", "points", text_digits=3),
    Measure("p_value", "p", "p-value"),
    Measure("first_eer", "EER % of the first", text_digits=3),
    Measure("second_eer", "EER % of the second", text_digits=3),
    Measure("rank_correlation", "rank correlation", "correlation", 4),
    NUM_TRIALS,
)


@dataclass
class SystemEvaluation(Evaluation[SystemFigures]):
    """The evaluation of score files; every two systems are compared.

    The result has the tables ``systems`` and ``calibration``, ``differences`` of every two systems,
    tables at transferred thresholds (``rates``, ``costs``, …), and breakdowns such as ``by attack``.
    ``differences`` orders trials as the key, not as the score file: with ties and the method
    ``"interpolated"``, its EERs may differ a little.

    Args:
        num_resamples: At most 200 for rows of a breakdown.
        exclude: Field of :class:`~nes2net.data.corpora.trial.Trial` → values. These trials are
            omitted, but still need scores. None omits what the published figures omit.
        threshold_source: Thresholds from other trials, one for each system. Each system is also
            judged at its threshold, or only there if all trials are of one class.
        draw: What the bootstrap draws. ``"auto"`` draws speakers if every trial has one and there
            are at least ten, otherwise trials; with several systems also attacks, if every spoofed
            trial has one and there are at least five. Figures at thresholds from other trials
            always draw speakers if possible, otherwise trials.
    """

    exclude: Excluded | None = None
    threshold_source: ThresholdSource | None = None
    draw: Unit = "auto"

    @functools.cached_property
    def key(self) -> Key:
        return self.labels.read(self.exclude)

    @functools.cached_property
    def unit(self) -> Unit:
        return resolve_unit(self.draw, self.key.evaluated_trials, len(self.score_files))

    def read(self, file: ScoreFile, name: str) -> SystemFigures:
        judged = self.key.match(file, allow_partial=self.allow_partial)
        return SystemFigures(name, file, self.key, *judged, self.draws, self.unit)

    def report(self, systems: Sequence[SystemFigures]) -> Result:
        records = list(_notes_on_records(systems))
        systems = _in_one_order(systems)
        scored = systems
        if self.threshold_source is not None and self.key.only_label is not None:
            systems = []  # trials of one class have no EER: they are judged only at thresholds from other trials
        asv_files: dict[Path, str] = {}
        for system in systems:
            asv_files |= system.min_tdcf.files
        self.further_inputs += [score_input(path, sha256, ASV_SCORES) for path, sha256 in asv_files.items()]
        asv_system = self._asv_system(systems, list(asv_files))
        transfers = self._transfers(scored)
        tables = [*self._tables(systems, asv_system), *transfer_tables(transfers), *self._breakdowns(systems)]
        facts = {
            "excluded": self.key.excluded,
            "min_dcf_costs": self.key.definition.min_dcf_costs,
            "num_row_resamples": min(ROW_RESAMPLES, self.num_resamples),
            "systems": [system.facts() for system in systems],
            "transfers": [transfer.facts() for transfer in transfers],
        }
        return Result(
            "",
            facts,
            list(self._lines(systems, transfers)),
            tables,
            [*_notes(systems, asv_system), *records],
            list(itertools.chain.from_iterable(transfer.warnings for transfer in transfers)),
            functools.partial(_plots, systems, transfers),
            functools.partial(_det_curves, systems),
            functools.partial(_draw, systems) if systems else None,
        )

    def _transfers(self, systems: Sequence[SystemFigures]) -> list[Transfer]:
        source = self.threshold_source
        if source is None:
            return []
        thresholds = choose_thresholds(source, self.key.corpus, len(systems), allow_partial=self.allow_partial)
        further = [read_set(files, "further", None, allow_partial=self.allow_partial) for files in source.further]
        transfers = []
        for threshold, system in zip(thresholds, systems):
            tested = ScoredSet(self.key, system.file, system.matched)
            transfers.append(judge_sets(system.name, threshold, [tested, *further], **self.draws))
            self.further_inputs += threshold.inputs
        for scored in further:
            self.further_inputs += scored.inputs
        return transfers

    def _breakdowns(self, systems: Sequence[SystemFigures]) -> Iterator[Table]:
        official = list(itertools.chain.from_iterable(system.official_rows() for system in systems))
        if official:
            caption = f"{self.key.title}: EER in %, official table."
            hidden = () if len(systems) > 1 else ("system",)
            section = "Official table"
            yield Table("official table", caption, _OFFICIAL, official, section, hidden=hidden, across="system")
        by_system = {system.name: system.breakdowns() for system in systems}
        yield from breakdown_tables(by_system, self.key.title, mark_best=_same_trials(systems))

    def _tables(self, systems: Sequence[SystemFigures], asv_system: str) -> Iterator[Table]:
        if not systems:
            return
        rows = [system.row for system in systems]
        notes = []
        if _same_trials(systems):
            rows = with_best(rows)
        else:
            notes = ["No figure is marked as the best, for the systems rest on different trials."]
        caption = self.key.title
        if self.key.excluded:
            caption += f", without {describe_excluded(self.key.excluded)}"
        caption += f". minDCF with the costs of {self.key.definition.min_dcf_costs}."
        if asv_system == ORGANISERS:
            caption += f" min t-DCF is computed with {asv_system}."
        pooled = [*_POOLED, *_further_columns("scores"), NUM_BONAFIDE, NUM_SPOOF, _NUM_EXPECTED]
        yield Table("systems", caption, pooled, [row.only(pooled) for row in rows], notes=notes)
        if differences := list(self._differences(systems)):
            caption = (
                "Differences of the EER, first − second, in percent points, and two-sided p-values from a bootstrap that "
                f"draws the same {_drawn_words(systems)} for both."
            )
            if len(differences) > 1:
                caption += f" The {len(differences)} p-values are not corrected for their number."
            yield Table("differences", caption, _DIFFERENCES, differences, "Differences")
        caption = f"Scores read as log-likelihood ratios. actDCF with the costs of {ASVSPOOF5_COSTS}."
        note = (
            "actDCF and Cllr mean something for calibrated scores only: for raw scores they say how far those are from "
            "log-likelihood ratios, and nothing about the detector."
        )
        # No best figure is marked: whether scores are calibrated is not known here.
        calibration = [*_CALIBRATION, *_further_columns("ratios")]
        of_ratios = [system.row.only(calibration) for system in systems]
        yield Table("calibration", caption, calibration, of_ratios, "As log-likelihood ratios", [note])

    def _differences(self, systems: Sequence[SystemFigures]) -> Iterator[Row]:
        """Compare every two systems on their common trials, with the same draws."""
        smallest_p = 2 / (self.num_resamples + 1)  # see :func:`nes2net.metrics.compare_systems`
        for first, second in itertools.combinations(systems, 2):
            common, scores = common_trials([first.matched, second.matched])
            both_scores = np.ascontiguousarray(scores.T)  # 2 × common trials
            is_bonafide = common.column("label").where(BONAFIDE)
            num_common = pluralise(common, "common trial")
            check_classes(is_bonafide, f"{first.name} and {second.name} cannot be compared: they have {num_common}")
            compared = metrics.compare_systems(
                functools.partial(metrics.compute_eer, method=self.key.definition.eer_method),
                *((scores[is_bonafide], scores[~is_bonafide]) for scores in both_scores),
                **self.draws,
                **groups_of(common, self.unit),
            )
            figures = {
                "difference": Figure(compared.difference, compared.interval),
                "p_value": Figure(compared.p_value, is_bound=compared.p_value <= smallest_p),
                "first_eer": Figure(compared.first),
                "second_eer": Figure(compared.second),
                "rank_correlation": Figure(_rank_correlation(both_scores)),
                "num_trials": Figure(len(common)),
            }
            yield Row({"first": first.name, "second": second.name}, figures)

    def _lines(self, systems: Sequence[SystemFigures], transfers: Sequence[Transfer]) -> Iterator[str]:
        draws = f"{self.num_resamples:,} draws, {min(ROW_RESAMPLES, self.num_resamples):,} in the breakdowns"
        headlines = [system.headline() for system in systems]
        if len(set(headlines)) == 1:
            yield f"{self.part}: {headlines[0]}, {draws}"
        else:
            for system, headline in zip(systems, headlines):
                yield f"{self.part}: {system.name}: {headline}, {draws}"
        if self.key.excluded:
            yield f"excluded by definition: {describe_excluded(self.key.excluded)}"
        for transfer in transfers:
            yield f"threshold of {transfer.system}: {transfer.threshold_in_words}"
            for judged in transfer.one_class:
                num_trials = pluralise(int(judged.row.value("num_trials")), "trial")
                yield f"{judged.name}: {num_trials}, judged at a threshold that was chosen on others"

    def _asv_system(self, systems: Sequence[SystemFigures], files: Sequence[Path]) -> str:
        """Name the ASV system for min t-DCF, if any: the organisers', if its numbers of scores are official."""
        if not files:
            return ""
        official = self.key.definition.asv_counts.get(canonical_phase(self.key.phase))
        if official is not None and all(system.min_tdcf.asv_counts in (None, official) for system in systems):
            return ORGANISERS
        return f"the ASV scores of {', '.join(map(str, files))}"


def _notes_on_records(systems: Sequence[SystemFigures]) -> Iterator[str]:
    for first, second in itertools.combinations(systems, 2):
        differences = differences_of_one_detector(first.file.record, second.file.record)
        if differences is not None:
            difference = ", ".join(differences) or "nothing"
            yield f"{first.name} and {second.name} are scores of one detector, and their records differ in {difference}"


def _notes(systems: Sequence[SystemFigures], asv_system: str) -> Iterator[str]:
    if asv_system not in ("", ORGANISERS):
        yield f"min t-DCF is computed with {asv_system}"
    for system in systems:
        for note in system.notes:
            is_of_all = all(note in other_system.notes for other_system in systems)
            yield note if is_of_all else f"{system.name}: {note}"


def _further_columns(kind: str) -> list[Measure]:
    return [column(metric.name) for metric in registry.metrics.added(kind)]


def _drawn_words(systems: Sequence[SystemFigures]) -> str:
    # Systems with different trials may have drawn different units; "trials" then stands for all.
    units = {system.drawn.interval_over for system in systems}
    return units.pop() if len(units) == 1 else "trials"


def _rank_correlation(both_scores: NDArray) -> float | None:
    """Spearman's, of two rows, 2×N; None if all scores of one are equal."""
    from scipy.stats import rankdata  # quick start-up: only comparisons need SciPy

    ranks = rankdata(both_scores, axis=1)  # 2 × N; ties get their mean rank
    if (ranks.min(axis=1) == ranks.max(axis=1)).any():
        return None
    return float(np.corrcoef(ranks)[0, 1])


def _same_trials(systems: Sequence[SystemFigures]) -> bool:
    # Scores of the key's trials are NaN for a trial that is not evaluated.
    return len({np.isfinite(system.matched.scores_in_key).tobytes() for system in systems}) == 1


def _in_one_order(systems: Sequence[SystemFigures]) -> Sequence[SystemFigures]:
    """Sort trials as the key if only their orders differ, so that bootstrap draws correspond."""
    if not _same_trials(systems) or len({system.matched.table.rows.tobytes() for system in systems}) == 1:
        return systems
    return [replace(system, matched=system.matched.in_key_order()) for system in systems]


def _draw(systems: Sequence[SystemFigures], path: str | Path) -> None:
    from nes2net.evaluation.plots import write_score_plot  # quick start-up: the text needs no Matplotlib

    write_score_plot(systems, path)


def _plots(systems: Sequence[SystemFigures], transfers: Sequence[Transfer]) -> Plots:
    from nes2net.evaluation.plots import score_plots  # quick start-up: the text needs no Matplotlib

    return score_plots(systems, transfers)


def _det_curves(systems: Sequence[SystemFigures]) -> dict[str, object]:
    curves = {}
    for system in systems:
        misses, false_alarms = thin_det(system.matched.bonafide, system.matched.spoof)
        curves[system.name] = {"frr": misses.tolist(), "far": false_alarms.tolist()}
    return {"det": curves}
