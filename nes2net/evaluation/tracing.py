"""Evaluate logits of classes: does a detector find known classes, and recognise unknown ones?

``ClassEvaluation`` makes the result, and the functions below it make its tables. The closed set has
the trials of known classes, the open set compares them with unknown classes. Further figures are of
all trials at the threshold for unknown classes.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.evaluation.breakdown import grouping_fields, label_of
from nes2net.evaluation.class_trials import ClassGroup, ClassTrials, OfClasses, class_trials
from nes2net.evaluation.judgements import Rows
from nes2net.evaluation.resampled_classes import RATES_OF_SCORES, Resamples, Rule
from nes2net.evaluation.result import Plots, Result
from nes2net.evaluation.system import ROW_RESAMPLES
from nes2net.evaluation.tables import MIN_TRIALS, NUM_TRIALS, Figure, Measure, Row, Table, column, join_tables, words
from nes2net.lib.errors import InputError, pluralise
from nes2net.metrics.classes import class_rates, pair_counts
from nes2net.scoring.class_file import MEANING_OF_NAMES
from nes2net.scoring.decisions.known import LOGIT_SCORES, class_posteriors, known_scores
from nes2net.scoring.judgement import ScoreFile

#: The class of trials whose score of being known is below the threshold.
UNKNOWN = "unknown"
#: Headings on the page.
CONFUSION_SECTION = "Confusion"
KNOWN_SECTION = "Known or unknown"
_TOP = 3  # `top_3` is the share of trials whose class is among the three likeliest
_MAX_CONFUSIONS = 10  # largest number of rows of a system in the table of confusions
_MAX_PRINTED = 30  # a table with more rows than this for each system is not printed on a terminal
_MAX_VALUES = 50  # a field with more values than this has no breakdown

_CLOSED = (
    Measure("accuracy", "accuracy %"),
    Measure("balanced_accuracy", "balanced accuracy %"),
    Measure("macro_f1", "macro-F1 %"),
    Measure("top_3", f"class among the {_TOP} likeliest %"),
    Measure("nll", "−ln posterior of the class", "cost", 3),
    Measure("one_against_rest_eer", "one-against-rest EER %"),
)
# Without the one-against-rest EER, which is computed only if the user names it.
_BREAKDOWN = (*_CLOSED[:-1], NUM_TRIALS)
_OPEN = (
    Measure("auroc", "AUROC %"),
    Measure("fpr95", "FPR95 %"),
    column("eer"),
    Measure("mean_auroc", "AUROC %, mean over generators"),
    Measure("mean_fpr95", "FPR95 %, mean over generators"),
)
_WITH_THRESHOLD = (
    Measure("macro_f1", "macro-F1 with unknown %"),
    Measure("accuracy", "accuracy %"),
    Measure("unknown_found", "unknown found %"),
    Measure("known_rejected", "known rejected %"),
)
_BY_CLASS = (
    Measure("precision", "precision %"),
    Measure("recall", "recall %"),
    Measure("f1", "F1 %"),
    NUM_TRIALS,
)
_BY_GENERATOR = (
    Measure("auroc", "AUROC %"),
    Measure("fpr95", "taken for known % (FPR95)", has_heat=True),
    NUM_TRIALS,
)
_CONFUSIONS = (NUM_TRIALS, Measure("share", "of its trials %"))

#: Name → measure of a confusion matrix of known classes.
_RATES: dict[str, Callable[[NDArray], float]] = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_f1": metrics.macro_f1,
}


@dataclass
class ClassEvaluation(OfClasses[ClassTrials]):
    """The evaluation of files of class logits against the true classes in a key.

    Args:
        unknown: score of being known for the table and the plot of unknown classes; by default that
            of the first system's threshold, or the default.
        bonafide_unknown: as for :func:`~nes2net.evaluation.class_trials.class_trials`.
    """

    unknown: str | None = None
    bonafide_unknown: bool = False

    def read(self, file: ScoreFile, name: str) -> ClassTrials:
        judgement = file.judgement
        if not isinstance(judgement, type(self.score_files[0].judgement)):
            raise InputError(f"{file.path}: holds {judgement.what}, not logits of classes: evaluate it separately")
        assert isinstance(judgement, Rows)
        trials = class_trials(
            self.key,
            file,
            # Not kept in a variable, so that its memory is free as soon as the trials have copies of logits.
            file.read(judgement.table),
            name,
            allow_partial=self.allow_partial,
            class_field=self.class_field,
            bonafide_unknown=self.bonafide_unknown,
            references=self.references,
        )
        if self.unknown is not None and self.unknown not in trials.kinds:
            reason = "compares with training trials: add `reference`, for nsd with logits"
            if self.unknown in LOGIT_SCORES:
                reason = f"needs logits, and the file holds posteriors: use {' or '.join(trials.kinds)}"
            raise InputError(f"{file.path}: the score {self.unknown} {reason}")
        return trials

    def report(self, systems: Sequence[ClassTrials]) -> Result:
        first = systems[0]
        kind = self.unknown or (first.threshold.kind if first.threshold else LOGIT_SCORES[0])
        notes = [MEANING_OF_NAMES]
        warnings: list[str] = []
        for trials in systems:
            if trials.mismatch:
                notes.append(f"PARTIAL: {trials.system}: {trials.mismatch}")
            if len(trials.unknown.names) and trials.threshold is None:
                notes.append(
                    f"{trials.system}: no threshold, so nothing is called {UNKNOWN}: no record beside the file has scores "
                    "of development trials, which only the checkpoint of an epoch has"
                )
            warnings += [f"{trials.system}: {doubt}" for doubt in trials.doubts]
        facts = {
            "classes": {trials.system: list(trials.known.names) for trials in systems},
            "known_score": kind,
            "num_known": len(first.known.numbers),
            "num_unknown": len(first.unknown.numbers),
            "num_left_out": first.num_left_out,
        }
        resamples = Resamples(**self.draws)
        tables = {}
        for trials in systems:
            tables[trials.system] = itertools.chain(
                _closed_tables(self.key.title, trials.known, resamples, self.metrics),
                _open_tables(trials, kind, resamples),
                _tables_by_condition(trials, resamples),
            )
        joined = join_tables(tables)
        joined[0] = replace(joined[0], hidden=())  # the first table names even a single system
        result = Result(
            ": which class",
            facts,
            [_first_line(self.part, first, self.num_resamples)],
            [replace(table, readers=_readers(table, len(systems))) for table in joined if table.rows],
            notes,
            warnings,
            functools.partial(_plots, systems, kind),
            functools.partial(_confusions_for_json, systems),
        )
        return self.with_labels(result, {trials.system: trials.labels for trials in systems})


def _readers(table: Table, num_systems: int) -> Literal["all", "paper"]:
    return "paper" if len(table.rows) > _MAX_PRINTED * num_systems else "all"


def _first_line(part: str, trials: ClassTrials, num_resamples: int) -> str:
    line = (
        f"{part}: {pluralise(trials.known.numbers, 'trial')} of "
        f"{pluralise(np.unique(trials.known.numbers), 'known class', 'known classes')} of {len(trials.known.names)}"
    )
    if trials.unknown.names:
        line += f", {len(trials.unknown.numbers):,} of {pluralise(trials.unknown.names, 'unknown one')}"
    if trials.num_left_out:
        line += f"; {trials.num_left_out:,} bona fide trials omitted, because the detector has no class bona fide"
    return (
        f"{line}; 95 % intervals: bootstrap of trials within each class and of unknown classes, {num_resamples} draws"
    )


def _closed_tables(
    title: str, group: ClassGroup, resamples: Resamples, metric_names: Collection[str]
) -> Iterator[Table]:
    closed = compute_closed_figures(group, resamples, metric_names)
    yield Table(
        "closed",
        f"{title}: trials of known classes, each of which is given a class.",
        [measure for measure in _CLOSED if measure.name in closed],
        [Row({}, closed)],
        notes=["Macro-F1 is the mean over classes with a trial, each with the same weight."],
    )
    caption = "The largest confusions of known classes."
    yield Table("confusions", caption, _CONFUSIONS, list(_confusion_rows(group)), CONFUSION_SECTION)


def _open_tables(trials: ClassTrials, kind: str, resamples: Resamples) -> Iterator[Table]:
    yield Table(
        "open",
        "Known classes against unknown ones, by scores of being known.",
        _OPEN,
        list(_open_rows(trials, resamples)),
        KNOWN_SECTION,
        [
            "FPR95 is the share of unknown trials taken for known where 95 % of the known ones are. The mean over generators "
            "gives each the same weight."
        ],
    )
    # Below the threshold, a trial is called unknown.
    yield Table(
        "with_unknown",
        f"At the threshold that accepts 95 % of the known development trials: below it a trial is called {UNKNOWN}.",
        _WITH_THRESHOLD,
        list(_threshold_rows(trials, resamples)),
        KNOWN_SECTION,
        ["Macro-F1 is the mean over the known classes and unknown, as in track 3 of ADD 2023."],
    )
    caption = f"Unknown classes one by one, by the score {kind}."
    yield Table("unknown", caption, _BY_GENERATOR, _generator_rows(trials, kind), KNOWN_SECTION)


def _tables_by_condition(trials: ClassTrials, resamples: Resamples) -> Iterator[Table]:
    yield Table("by_class", "Known classes one by one.", _BY_CLASS, list(_class_rows(trials.known)), "Classes")
    for name in _fields_of_breakdowns(trials):
        caption = f"Trials of known classes by {words(name)}."
        rows = list(_breakdown_rows(trials, name, resamples))
        yield Table(f"by {name}", caption, _BREAKDOWN, rows, "Known classes by condition")


def compute_closed_figures(
    group: ClassGroup, resamples: Resamples, metric_names: Collection[str] = ()
) -> dict[str, Figure]:
    """Compute how often the detector finds a known class.

    ``top_3`` needs more than three classes; the one-against-rest EER must be among ``metric_names``.
    """
    num_classes = len(group.names)
    num_trials = len(group.numbers)
    of_class = np.take_along_axis(group.logits, group.numbers[:, None], axis=1)  # N×1
    log_posteriors = of_class[:, 0] - known_scores(group.logits, "energy")  # the energy is ln Σ exp of the logits
    rules = {name: Rule(rate, num_trials) for name, rate in _RATES.items()}
    figures = resamples.of_confusion(rules, group.confusion)
    if num_classes > _TOP:
        # Of equal logits, the first counts as likelier, as for the predicted class.
        before = np.arange(num_classes) < group.numbers[:, None]
        num_likelier = (group.logits > of_class).sum(1) + ((group.logits == of_class) & before).sum(1)
        # K×2: trials of each class with the class among the three likeliest, and without.
        counts = pair_counts(group.numbers, num_likelier >= _TOP, num_classes, 2)
        top = Rule(lambda counts: counts[:, 0].sum() / counts.sum(), num_trials)
        figures |= resamples.of_confusion({f"top_{_TOP}": top}, counts)
    figures["nll"] = Figure(float(-log_posteriors.mean()))
    if "one_against_rest_eer" in metric_names:
        figures["one_against_rest_eer"] = Figure(
            metrics.one_against_rest_eer(class_posteriors(group.logits), group.numbers)
        )
    return figures


def _scores_by_generator(trials: ClassTrials, kind: str) -> list[NDArray]:
    scores = trials.unknown.known_scores[kind]
    return [scores[trials.unknown.numbers == number] for number in range(len(trials.unknown.names))]


def _open_rows(trials: ClassTrials, resamples: Resamples) -> Iterator[Row]:
    if trials.unknown.names:
        for kind in trials.kinds:
            groups = _scores_by_generator(trials, kind)
            yield Row({"score": kind}, resamples.of_scores(trials.known.known_scores[kind], groups))


def _threshold_rows(trials: ClassTrials, resamples: Resamples) -> Iterator[Row]:
    """Compute figures of all trials, with ``unknown`` as the last class, for lower scores.

    No row without a threshold or unknown trials.
    """
    threshold = trials.threshold
    if threshold is None or not trials.unknown.names:
        return
    num_classes = len(trials.known.names)
    rows = []
    for group in (trials.known, trials.unknown):
        is_unknown = group.known_scores[threshold.kind] < threshold.threshold
        called = np.where(is_unknown, num_classes, group.predicted)
        # (classes of the group, K + 1)
        rows.append(pair_counts(group.numbers, called, len(group.names), num_classes + 1))
    num_known = len(trials.known.numbers)
    num_unknown = len(trials.unknown.numbers)
    rules = {
        "macro_f1": Rule(functools.partial(metrics.macro_f1, over="all"), num_known + num_unknown),
        "accuracy": Rule(metrics.accuracy, num_known + num_unknown),
        "unknown_found": Rule(lambda counts: counts[-1, -1] / counts[-1].sum(), num_unknown),
        "known_rejected": Rule(lambda counts: counts[:-1, -1].sum() / counts[:-1].sum(), num_known),
    }
    yield Row({}, resamples.of_confusion(rules, *rows))


def _generator_rows(trials: ClassTrials, kind: str) -> list[Row]:
    """Compute AUROC and FPR95 of each unknown class, highest FPR95 first, by the score ``kind``.

    Each row names the known class that is predicted most often.
    """
    rows = []
    nearest = trials.unknown.confusion.argmax(1)  # rows are unknown classes, columns known ones
    for number, scores in enumerate(_scores_by_generator(trials, kind)):
        labels = {
            "unknown class": trials.unknown.names[number],
            "most often taken for": trials.known.names[nearest[number]],
        }
        figures = {"num_trials": Figure(scores.size)}
        for name in ("auroc", "fpr95"):
            figures[name] = Figure(RATES_OF_SCORES[name](trials.known.known_scores[kind], scores))
        rows.append(Row(labels, figures))
    return sorted(rows, key=lambda row: -row.value("fpr95"))


def _class_rows(group: ClassGroup) -> Iterator[Row]:
    columns = {**class_rates(group.confusion)._asdict(), "num_trials": group.confusion.sum(1)}
    for number, name in enumerate(group.names):
        yield Row({"class": name}, {measure: Figure(values[number].item()) for measure, values in columns.items()})


def _fields_of_breakdowns(trials: ClassTrials) -> list[str]:
    fields = grouping_fields(trials.known.trials)
    return [name for name, size in fields.items() if name != trials.labels.field and size <= _MAX_VALUES]


def _breakdown_rows(trials: ClassTrials, name: str, resamples: Resamples) -> Iterator[Row]:
    few_resamples = resamples._replace(num_resamples=min(resamples.num_resamples, ROW_RESAMPLES))
    for value, is_in_row in trials.known.trials.column(name).groups():
        group = trials.known.where(is_in_row)
        if len(group.numbers) >= MIN_TRIALS:
            figures = {**compute_closed_figures(group, few_resamples), "num_trials": Figure(len(group.numbers))}
            yield Row({label_of(name): value}, figures)


def _confusion_rows(group: ClassGroup) -> Iterator[Row]:
    # C×K with C = K for known classes; the diagonal is right.
    wrong = group.confusion * (1 - np.eye(len(group.names), dtype=np.int64))
    largest = np.argsort(-wrong, axis=None, kind="stable")[:_MAX_CONFUSIONS]
    for true, predicted in zip(*np.unravel_index(largest, wrong.shape)):
        size = int(wrong[true, predicted])
        if size:
            labels = {"class": group.names[true], "taken for": group.names[predicted]}
            yield Row(labels, {"num_trials": Figure(size), "share": Figure(size / int(group.confusion[true].sum()))})


def _plots(systems: Sequence[ClassTrials], kind: str) -> Plots:
    from nes2net.evaluation.tracing_plots import confusion_plot, known_plot  # quick start-up: text needs no Matplotlib

    with_unknown = [trials for trials in systems if trials.unknown.names]
    return {
        CONFUSION_SECTION: [confusion_plot(trials) for trials in systems],
        KNOWN_SECTION: [known_plot(trials, kind) for trials in with_unknown],
    }


def _confusions_for_json(systems: Sequence[ClassTrials]) -> dict[str, object]:
    """Tables list only the largest confusions; the JSON has all."""
    return {
        "confusion": {
            trials.system: {
                "classes": list(trials.known.names),
                "known": trials.known.confusion.tolist(),
                "unknown": dict(zip(trials.unknown.names, trials.unknown.confusion.tolist())),
            }
            for trials in systems
        }
    }
