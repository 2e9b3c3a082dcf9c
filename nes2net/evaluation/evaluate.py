"""Evaluate scores against keys: error rates with intervals, breakdowns, comparisons of systems.

In reading order: ``evaluate_systems`` is the public function; the others write notes, comparisons,
tables and plots.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.evaluation.breakdown import Unit, breakdown_tables, groups_of, note_on_empty, resolve_unit
from nes2net.evaluation.curves import thin_det
from nes2net.evaluation.key import Key, Labels, describe_excluded, score_input
from nes2net.evaluation.matching import check_classes, system_names
from nes2net.evaluation.origin import differences_of_one_detector, read_origin
from nes2net.evaluation.result import Plot, Result
from nes2net.evaluation.system import ROW_RESAMPLES, SystemFigures, evaluate_scores
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
    bootstrap_options,
    column,
    with_best,
)
from nes2net.evaluation.transfer import (
    ScoredSet,
    Threshold,
    ThresholdSource,
    Transfer,
    choose_thresholds,
    judge_sets,
    read_set,
)
from nes2net.evaluation.transfer_tables import transfer_tables
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics.dcf import ASVSPOOF5_COSTS
from nes2net.metrics.intervals import Resampling
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
    NUM_BONAFIDE,
    NUM_SPOOF,
    Measure("num_expected", "trials of the key", "count"),
)
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


def evaluate_systems(
    corpus: str,
    score_paths: AnyPath | Sequence[AnyPath | ScoreFile],
    keys_path: AnyPath,
    phase: str = "eval",
    *,
    allow_partial: bool = False,
    exclude: Mapping[str, Collection[str]] | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    threshold_source: ThresholdSource | None = None,
    names: Sequence[str] = (),
    draw: Unit = "auto",
) -> Result:
    """Evaluate the score files of one or more systems on the same trials, and compare every two systems.

    Args:
        corpus: A name of :data:`nes2net.data.registry.corpora`.
        score_paths: A file for each system, with a line ``utterance score`` for each trial; higher
            is more bona fide.
        keys_path: File or folder, as ``keys`` of the corpus accepts it.
        phase: A phase or split of the corpus; ``"eval"`` if it has none. Your own corpus also has
            ``"all"``.
        allow_partial: As in :func:`~nes2net.evaluation.matching.match`.
        exclude: Field of :class:`~nes2net.data.corpora.trial.Trial` → values. These trials are
            omitted, but still need scores. None omits what the published figures omit.
        num_resamples, seed: Number and seed of the bootstrap draws; at most 200 for rows of a
            breakdown.
        threshold_source: Thresholds from other trials, one for each system. Each system is also
            judged at its threshold, or only there if all trials are of one class.
        names: Names of the systems. By default, a file's name without suffix, or its path if two
            share a name.
        draw: What the bootstrap draws. ``"auto"`` draws speakers if every trial has one and there
            are at least ten, otherwise trials; with several systems also attacks, if every spoofed
            trial has one and there are at least five. Figures at thresholds from other trials
            always draw speakers if possible, otherwise trials.

    Returns:
        The tables ``systems`` and ``calibration``, ``differences`` of every two systems, tables at
        transferred thresholds (``rates``, ``costs``, …), and breakdowns such as ``by attack``.
        ``differences`` orders trials as the key, not as the score file: with ties and the method
        ``"interpolated"``, its EERs may differ a little.

    Raises:
        InputError: if a file is missing or malformed, scores and key do not fit (see
            :func:`~nes2net.evaluation.matching.match`), the phase is unknown, no trial has an
            excluded value, no trial is left, or a class has no trials.
    """
    files = _different_files([score_paths] if isinstance(score_paths, AnyPath) else score_paths)
    key = Labels(corpus, keys_path, phase).read(exclude)
    transferred: list[Threshold] = []
    further_sets: list[ScoredSet] = []
    if threshold_source is not None:
        transferred = choose_thresholds(threshold_source, corpus, len(files), allow_partial=allow_partial)
        for further_set in threshold_source.further:
            further_sets.append(read_set(further_set, "further", None, allow_partial=allow_partial))
    # Trials of one class have no EER. They are judged only at thresholds from other trials, by judge_sets().
    is_one_class = threshold_source is not None and key.only_label is not None
    unit = resolve_unit(draw, key.evaluated_trials, len(files))
    names = system_names([file.path for file in files], names)
    matched_files = [key.match(file, allow_partial=allow_partial) for file in files]
    origins = [read_origin(file, corpus, phase) for file in files]
    systems: list[SystemFigures] = []
    scored_sets: list[ScoredSet] = []
    asv_files: dict[Path, str] = {}
    inputs = [score_input(file.path, file.sha256) for file in files]
    draws: Resampling = {"num_resamples": num_resamples, "seed": seed}
    for file, name, matched, entry in zip(files, names, matched_files, inputs):
        scored_sets.append(ScoredSet(corpus, canonical_phase(phase), file, matched.matched, [entry], key.digest))
        if not is_one_class:
            systems.append(evaluate_scores(key, matched, file.path, name, **draws, unit=unit))
            # All systems read the same files; each is listed once.
            asv_files |= systems[-1].asv_files
    inputs += [score_input(path, sha256, ASV_SCORES) for path, sha256 in asv_files.items()]
    warnings = list(itertools.chain.from_iterable(origin.uses for origin in origins))
    differences = list(_differences(key, systems, num_resamples, seed, unit))
    transfers = []
    for threshold, name, scored in zip(transferred, names, scored_sets):
        transfers.append(judge_sets(name, threshold, [scored, *further_sets], **draws))
        inputs += threshold.inputs
        warnings += transfers[-1].warnings
    inputs += itertools.chain.from_iterable(scored.inputs for scored in further_sets)
    asv_system = _asv_system(key, systems, asv_files)
    breakdowns = list(_breakdown_tables(key, systems))
    # Users' programs read these keys.
    header = {
        **key.header(inputs, num_resamples),
        "excluded": key.excluded,
        "min_dcf_costs": key.definition.min_dcf_costs,
        "num_row_resamples": min(ROW_RESAMPLES, num_resamples),
        "systems": [{"system": system.name, **system.facts} for system in systems],
        "transfers": [transfer.facts() for transfer in transfers],
        "sources": {name: origin.facts for name, origin in zip(names, origins)},
    }
    return Result(
        key.title,
        header,
        list(_first_lines(header, systems, transfers)),
        [
            *_tables(key, systems, asv_system, differences),
            *transfer_tables(transfers),
            *breakdowns,
        ],
        key.notes([*_notes(systems, asv_system), note_on_empty(breakdowns), *_notes_on_records(names, scored_sets)]),
        warnings,
        functools.partial(_plots, systems, transfers),
        functools.partial(_det_curves, systems),
        draw=functools.partial(_draw, systems) if systems else None,
    )


def _different_files(score_files: Iterable[AnyPath | ScoreFile]) -> list[ScoreFile]:
    files = list(map(ScoreFile.of, score_files))
    if not files:
        raise InputError("there is no score file to evaluate: name at least one")
    for real_path, count in Counter(os.path.realpath(file.path) for file in files).items():
        if count > 1:
            raise InputError(f"score file {real_path} is named more than once: name each system's file only once")
    return files


# Texts


def _notes(systems: Sequence[SystemFigures], asv_system: str) -> Iterator[str]:
    if asv_system not in ("", ORGANISERS):
        yield f"min t-DCF is computed with {asv_system}"
    for system in systems:
        for note in system.notes:
            is_of_all = all(note in other_system.notes for other_system in systems)
            yield note if is_of_all else f"{system.name}: {note}"


def _notes_on_records(names: Sequence[str], scored: Sequence[ScoredSet]) -> Iterator[str]:
    for (first_name, first), (second_name, second) in itertools.combinations(zip(names, scored), 2):
        differences = differences_of_one_detector(first.file.record, second.file.record)
        if differences is not None:
            difference = ", ".join(differences) or "nothing"
            yield f"{first_name} and {second_name} are scores of one detector, and their records differ in {difference}"


def _first_lines(
    header: Mapping[str, Any], systems: Sequence[SystemFigures], transfers: Sequence[Transfer]
) -> Iterator[str]:
    start = f"{header['corpus']}, phase {header['phase']}"
    draws = f"{header['num_resamples']:,} draws, {header['num_row_resamples']:,} in the breakdowns"
    headlines = [system.headline() for system in systems]
    if len(set(headlines)) == 1:
        yield f"{start}: {headlines[0]}, {draws}"
    else:
        for system, headline in zip(systems, headlines):
            yield f"{start}: {system.name}: {headline}, {draws}"
    if header["excluded"]:
        yield f"excluded by definition: {describe_excluded(header['excluded'])}"
    for transfer in transfers:
        yield f"threshold of {transfer.system}: {transfer.threshold_in_words}"
        for judged in transfer.one_class:
            yield f"{judged.headline}; they are judged at a threshold that was chosen on others"


def _asv_system(key: Key, systems: Sequence[SystemFigures], asv_files: Mapping[Path, str]) -> str:
    """Name the ASV system for min t-DCF: the organisers', if its numbers of scores are official.

    The name is empty without min t-DCF. ``asv_files``: the files that were read → SHA-256.
    """
    if not asv_files:
        return ""
    official = key.definition.asv_counts.get(canonical_phase(key.phase))
    if official is not None and all(system.facts["asv_counts"] in (None, official) for system in systems):
        return ORGANISERS
    return f"the ASV scores of {', '.join(map(str, asv_files))}"


# Comparisons and tables


def _drawn_words(systems: Sequence[SystemFigures]) -> str:
    # Systems with different trials may have drawn different units; "trials" then stands for all.
    units = {system.facts["interval_over"] for system in systems}
    return units.pop() if len(units) == 1 else "trials"


def _differences(
    key: Key, systems: Sequence[SystemFigures], num_resamples: int, seed: int, unit: Unit
) -> Iterator[Row]:
    """Compare every two systems on their common trials, with the same draws.

    Raises InputError if they have no trials of both classes in common.
    """
    smallest_p = 2 / (num_resamples + 1)  # see :func:`nes2net.metrics.compare_systems`
    for first, second in itertools.combinations(systems, 2):
        both_scores = np.stack([first.matched.scores_in_key, second.matched.scores_in_key])  # 2 × trials of the key
        # positions in the key of trials that both systems have
        rows = np.flatnonzero(np.isfinite(both_scores).all(axis=0))
        both_scores = both_scores[:, rows]
        common = key.trials.take(rows)
        is_bonafide = common.column("label").where(BONAFIDE)
        num_common = pluralise(len(common), "common trial")
        check_classes(is_bonafide, f"{first.name} and {second.name} cannot be compared: they have {num_common}")
        compared = metrics.compare_systems(
            functools.partial(metrics.compute_eer, method=key.definition.eer_method),
            *((scores[is_bonafide], scores[~is_bonafide]) for scores in both_scores),
            num_resamples=num_resamples,
            seed=seed,
            **groups_of(common, unit),
            **bootstrap_options(),
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


def _tables(key: Key, systems: Sequence[SystemFigures], asv_system: str, differences: Sequence[Row]) -> Iterator[Table]:
    if not systems:
        return
    rows = [system.row for system in systems]
    notes = []
    if _same_trials(systems):
        rows = with_best(rows, "system")
    else:
        notes = ["No figure is marked as the best, for the systems rest on different trials."]
    caption = key.title
    if key.excluded:
        caption += f", without {describe_excluded(key.excluded)}"
    caption += f". minDCF with the costs of {key.definition.min_dcf_costs}."
    if asv_system == ORGANISERS:
        caption += f" min t-DCF is computed with {asv_system}."
    yield Table("systems", caption, _POOLED, [row.only(_POOLED) for row in rows], notes=notes)
    if differences:
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
    of_ratios = [system.row.only(_CALIBRATION) for system in systems]
    yield Table("calibration", caption, _CALIBRATION, of_ratios, "As log-likelihood ratios", [note])


def _breakdown_tables(key: Key, systems: Sequence[SystemFigures]) -> Iterator[Table]:
    hidden = () if len(systems) > 1 else ("system",)
    official: list[Row] = []
    for system in systems:
        official += system.official
    if official:
        caption = f"{key.title}: EER in %, official table."
        yield Table(
            "official table",
            caption,
            _OFFICIAL,
            official,
            "Official table",
            hidden=hidden,
            across="system",
        )
    by_system = {system.name: system.tables for system in systems}
    yield from breakdown_tables(by_system, key.title, mark_best=_same_trials(systems))


def _plots(systems: Sequence[SystemFigures], transfers: Sequence[Transfer]) -> Mapping[str, Sequence[Plot]]:
    from nes2net.evaluation.plots import score_plots  # quick start-up: the text needs no Matplotlib

    return score_plots(systems, transfers)


def _draw(systems: Sequence[SystemFigures], path: str | Path) -> None:
    from nes2net.evaluation.plots import write_score_plot  # quick start-up: the text needs no Matplotlib

    write_score_plot(systems, path)


def _det_curves(systems: Sequence[SystemFigures]) -> dict[str, object]:
    curves = {}
    for system in systems:
        misses, false_alarms = thin_det(system.matched.bonafide, system.matched.spoof)
        curves[system.name] = {"frr": misses.tolist(), "far": false_alarms.tolist()}
    return {"det": curves}
