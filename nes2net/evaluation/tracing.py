"""Evaluate logits of classes: is each trial given its class, and are unknown classes recognised as unknown?

In reading order: ``evaluate_classes`` makes the result; ``_tables`` makes its tables; then follow the
figures of the closed set (trials of known classes), of the open set (known against unknown trials),
and of all trials at a threshold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.evaluation.breakdown import FEWEST, grouping_fields, label_of
from nes2net.evaluation.class_trials import ClassTrials, class_trials
from nes2net.evaluation.key import Key, Labels, not_official, score_input
from nes2net.evaluation.resampled_classes import Resamples, Rule
from nes2net.evaluation.result import Plot, Result, versions
from nes2net.evaluation.system import ROW_RESAMPLES
from nes2net.evaluation.tables import Figure, Measure, Row, Table, words
from nes2net.lib.errors import InputError, counted
from nes2net.metrics.classes import class_rates, pair_counts
from nes2net.scoring.class_file import MEANING_OF_NAMES
from nes2net.scoring.decisions.known import LOGIT_SCORES, KnownThreshold, class_posteriors, known_scores

if TYPE_CHECKING:
    from nes2net.evaluation.classes import Classes
    from nes2net.evaluation.judgements import EvaluationSettings

#: What a trial is called if its score of being known lies below the threshold.
UNKNOWN = "unknown"
#: Headings of sections of the page.
CONFUSION_SECTION = "Confusion"
KNOWN_SECTION = "Known or unknown"
_TOP = 3  # `top_3` is the share of trials whose class is among the three likeliest
_MOST_CONFUSIONS = 10  # most rows of a system in the table of confusions
_MOST_PRINTED = 30  # a table with more rows than this is not printed on a terminal
_MOST_VALUES = 50  # a field with more values has no breakdown

_CLOSED = (
    Measure("accuracy", "accuracy %"),
    Measure("balanced_accuracy", "balanced accuracy %"),
    Measure("macro_f1", "macro-F1 %"),
    Measure("top_3", f"class among the {_TOP} likeliest %"),
    Measure("nll", "−ln posterior of the class", "cost", 3),
    Measure("one_against_rest_eer", "one-against-rest EER %"),
)
# The breakdowns have no figure that is computed only if it is named.
_BREAKDOWN = (*_CLOSED[:-1], Measure("num_trials", "trials", "count"))
_OPEN = (
    Measure("auroc", "AUROC %"),
    Measure("fpr95", "FPR95 %"),
    Measure("eer", "EER %"),
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
    Measure("num_trials", "trials", "count"),
)
_BY_GENERATOR = (
    Measure("auroc", "AUROC %"),
    Measure("fpr95", "taken for known % (FPR95)", has_heat=True),
    Measure("num_trials", "trials", "count"),
)
_CONFUSIONS = (Measure("num_trials", "trials", "count"), Measure("share", "of its trials %"))

#: Name of a measure → function that computes it from a confusion matrix of known classes.
_RATES: dict[str, Callable[[NDArray], float]] = {
    "accuracy": metrics.accuracy,
    "balanced_accuracy": metrics.balanced_accuracy,
    "macro_f1": metrics.macro_f1,
}


def evaluate_classes(
    labels: Labels, paths: Sequence[Path], judgements: Sequence[Classes], settings: EvaluationSettings
) -> Result:
    """Evaluate files of logits of classes against the classes of a key.

    Args:
        labels: where the key is.
        paths, judgements: the file of each system, and the judgement that reads the file.
        settings: the settings for classes, and those for all judgements. Other settings must not be
            given.

    Raises:
        InputError: if labels cannot be read, files and labels do not fit each other, or a setting
            does not apply to classes or to these files.
    """
    settings.check_no_scores()
    # Join each file with the key, and check that the file has the score of being known that the settings name.
    key = Key.read(labels.corpus, labels.keys, labels.phase)
    systems = []
    inputs = []
    for path, judgement, system in zip(paths, judgements, settings.names_of(paths)):
        # No name refers to the table, so that it leaves the memory when the trials have their logits.
        trials = class_trials(key, path, judgement.table(path), system, settings)
        if settings.unknown is not None and settings.unknown not in (*trials.scores, *trials.compared):
            if settings.unknown not in LOGIT_SCORES:
                raise InputError(
                    f"the score {settings.unknown} compares with training trials: give `reference`, for nsd with logits"
                )
            raise InputError(
                f"{path}: holds posteriors, which have no {settings.unknown}: take {' or '.join(trials.scores)}"
            )
        systems.append(trials)
        inputs.append(score_input(path, trials.sha256))
    # Choose the score of being known for the table of unknown classes: that of the settings, else that of the threshold
    # of the first system, else the default.
    first = systems[0]
    kind = settings.unknown or (first.threshold.kind if first.threshold else LOGIT_SCORES[0])
    resamples = Resamples(settings.num_resamples, settings.seed)
    title = f"{key.definition.title}, {canonical_phase(key.phase)}"
    notes = [*filter(None, [not_official(key)]), MEANING_OF_NAMES]
    for trials in systems:
        if trials.mismatch:
            notes.append(f"PARTIAL: {trials.system}: {trials.mismatch}")
        if len(trials.generator_names) and trials.threshold is None:
            notes.append(
                f"{trials.system}: no threshold, so nothing is called {UNKNOWN}: no record beside the file has scores of "
                "development trials, which only the checkpoint of an epoch has"
            )
    warnings = [line for trials in systems for line in (trials.origin and trials.origin.seen) or ()]
    return Result(
        f"{title}: which class",
        {
            "corpus": key.corpus,
            "phase": canonical_phase(key.phase),
            "classes": {trials.system: list(trials.names) for trials in systems},
            "known_score": kind,
            "num_known": len(first.true),
            "num_unknown": len(first.generators),
            "num_left_out": first.num_left_out,
            "num_resamples": settings.num_resamples,
            "sources": {trials.system: trials.origin.facts() if trials.origin else {} for trials in systems},
            "inputs": [*inputs, key.input()],
            "versions": versions(),
        },
        [_extent(key, first, settings.num_resamples)],
        [table for table in _tables(title, systems, kind, resamples, settings.metrics) if table.rows],
        notes,
        warnings,
        functools.partial(_plots, systems, kind),
        functools.partial(_curves, systems),
    )


def _extent(key: Key, trials: ClassTrials, num_resamples: int) -> str:
    """Write the first line of the result: how many trials and classes were evaluated."""
    line = (
        f"{key.corpus}, phase {canonical_phase(key.phase)}: {counted(len(trials.true), 'trial')} of "
        f"{counted(len(np.unique(trials.true)), 'known class', 'known classes')} of {len(trials.names)}"
    )
    if trials.generator_names:
        line += f", {len(trials.generators):,} of {counted(len(trials.generator_names), 'unknown one')}"
    if trials.num_left_out:
        line += f"; {trials.num_left_out:,} bona fide trials left out, since bona fide is no class of the detector"
    return (
        f"{line}; 95 % intervals: bootstrap of trials within each class and of unknown classes, {num_resamples} draws"
    )


def _tables(
    title: str, systems: Sequence[ClassTrials], kind: str, resamples: Resamples, named: Collection[str]
) -> Iterator[Table]:
    """Make all tables of the result. Some may have no rows; the caller drops these tables.

    Args:
        kind: the score of being known for the table of unknown classes.
        named: names of figures that are computed only if they are named.
    """
    # Make the table of the trials of known classes.
    hidden = () if len(systems) > 1 else ("system",)
    rows = [Row({"system": trials.system}, closed_figures(trials, resamples, named)) for trials in systems]
    yield Table(
        "closed",
        f"{title}: trials of known classes, each of which is given a class.",
        [measure for measure in _CLOSED if measure.name in rows[0].figures],
        rows,
        notes=["Macro-F1 is the mean over classes with a trial, each with the same weight."],
    )
    rows = [row for trials in systems for row in _confusion_rows(trials)]
    caption = "The largest confusions of known classes."
    yield Table("confusions", caption, _CONFUSIONS, rows, CONFUSION_SECTION, hidden=hidden)
    # Make the table of known against unknown trials, with a row for each score of being known.
    with_unknown = [trials for trials in systems if trials.generator_names]
    rows = []
    for trials in with_unknown:
        for score in (*trials.scores, *trials.compared):
            rows.append(Row({"system": trials.system, "score": score}, open_figures(trials, score, resamples)))
    yield Table(
        "open",
        "Known classes against unknown ones, by scores of being known.",
        _OPEN,
        rows,
        KNOWN_SECTION,
        [
            "FPR95 is the share of unknown trials taken for known where 95 % of the known ones are. The mean over generators "
            "gives each the same weight."
        ],
        hidden,
    )
    # Make the table of all trials at the threshold for unknown classes.
    rows = []
    for trials in with_unknown:
        if trials.threshold is not None:
            rows.append(Row({"system": trials.system}, threshold_figures(trials, trials.threshold, resamples)))
    yield Table(
        "with_unknown",
        f"At the threshold that accepts 95 % of the known development trials: below it a trial is called {UNKNOWN}.",
        _WITH_THRESHOLD,
        rows,
        KNOWN_SECTION,
        ["Macro-F1 is the mean over the known classes and unknown, as in track 3 of ADD 2023."],
        hidden,
    )
    # Make the tables of each unknown class, of each known class, and of the confusions of known classes.
    rows = []
    for trials in with_unknown:
        rows += sorted(_generator_rows(trials, kind), key=lambda row: -row.value("fpr95"))
    caption = f"Unknown classes one by one, by the score {kind}."
    yield _long_table("unknown", caption, _BY_GENERATOR, rows, KNOWN_SECTION, hidden)
    rows = [row for trials in systems for row in _class_rows(trials)]
    yield _long_table("by_class", "Known classes one by one.", _BY_CLASS, rows, "Classes", hidden)
    # Make a table for each field that groups the trials of known classes.
    rows_by_field: dict[str, list[Row]] = {}
    for trials in systems:
        for name, row in _breakdown_rows(trials, resamples):
            rows_by_field.setdefault(name, []).append(row)
    for name, rows in rows_by_field.items():
        caption = f"Trials of known classes by {words(name)}."
        yield _long_table(f"by {name}", caption, _BREAKDOWN, rows, "Known classes by condition", hidden)


def _long_table(
    name: str, caption: str, measures: Sequence[Measure], rows: Sequence[Row], section: str, hidden: Sequence[str]
) -> Table:
    """Make a table that is not printed on a terminal if it has more than 30 rows."""
    readers: Literal["all", "paper"] = "paper" if len(rows) > _MOST_PRINTED else "all"
    return Table(name, caption, measures, rows, section, hidden=hidden, readers=readers)


def closed_figures(trials: ClassTrials, resamples: Resamples, named: Collection[str] = ()) -> dict[str, Figure]:
    """Compute the figures of the closed set: trials of known classes, each of which is given a class.

    The one-against-rest EER is computed only if it is among the ``named`` figures. With three
    classes or fewer, ``top_3`` is left out, because every class is then among the three likeliest.
    """
    of_class = np.take_along_axis(trials.logits, trials.true[:, None], axis=1)  # N×1
    log_posteriors = of_class[:, 0] - known_scores(trials.logits, "energy")
    # Of classes with equal logits, the first class counts as the likelier one, as it does for the predicted class.
    before = np.arange(len(trials.names)) < trials.true[:, None]
    num_likelier = (trials.logits > of_class).sum(1) + ((trials.logits == of_class) & before).sum(1)
    is_on_top = num_likelier < _TOP
    num_classes = len(trials.names)
    # (2, K): for each class, how many of its trials have the class among the three likeliest, and how many do not.
    on_top = [np.bincount(trials.true[chosen], minlength=num_classes) for chosen in (is_on_top, ~is_on_top)]
    num_trials = len(trials.true)
    rules = {name: Rule(rate, num_trials) for name, rate in _RATES.items()}
    top = {f"top_{_TOP}": Rule(lambda counts: counts[:, 0].sum() / counts.sum(), num_trials)}
    figures = resamples.of_confusion(rules, trials.confusion)
    if num_classes > _TOP:
        figures |= resamples.of_confusion(top, np.stack(on_top, axis=1))
    figures["nll"] = Figure(float(-log_posteriors.mean()))
    if "one_against_rest_eer" in named:
        eer = metrics.one_against_rest_eer(class_posteriors(trials.logits), trials.true)
        figures["one_against_rest_eer"] = Figure(eer)
    return figures


def open_figures(trials: ClassTrials, kind: str, resamples: Resamples) -> dict[str, Figure]:
    """Compute how well the score of being known ``kind`` tells known from unknown trials.

    Some figures rest on all unknown trials together; others are means over the unknown classes.
    """
    known, unknown = trials.known_scores[kind]
    groups = [unknown[trials.generators == number] for number in range(len(trials.generator_names))]
    return resamples.of_scores(known, groups)


def threshold_figures(trials: ClassTrials, threshold: KnownThreshold, resamples: Resamples) -> dict[str, Figure]:
    """Compute the figures of all trials if each trial whose score lies below ``threshold`` is called unknown.

    The figures come from a confusion matrix with ``unknown`` as the last class.
    """
    known, unknown = trials.known_scores[threshold.kind]
    num_classes = len(trials.names)
    called = np.where(known < threshold.threshold, num_classes, trials.predicted)
    known_rows = metrics.confusion_matrix(trials.true, called, num_classes + 1)[:num_classes]
    is_unknown = unknown < threshold.threshold
    called_of_unknown = np.where(is_unknown, num_classes, trials.unknown_logits.argmax(1))
    unknown_rows = pair_counts(trials.generators, called_of_unknown, len(trials.generator_names), num_classes + 1)
    num_known = len(trials.true)
    num_unknown = len(trials.generators)
    rules = {
        "macro_f1": Rule(functools.partial(metrics.macro_f1, over="all"), num_known + num_unknown),
        "accuracy": Rule(metrics.accuracy, num_known + num_unknown),
        "unknown_found": Rule(lambda counts: counts[-1, -1] / counts[-1].sum(), num_unknown),
        "known_rejected": Rule(lambda counts: counts[:-1, -1].sum() / counts[:-1].sum(), num_known),
    }
    return resamples.of_confusion(rules, known_rows, unknown_rows)


def _generator_rows(trials: ClassTrials, kind: str) -> Iterator[Row]:
    """Compute a row for each unknown class: its AUROC and FPR95 against the trials of known classes.

    The row also names the known class for which trials of the unknown class are most often taken.

    Args:
        kind: the score of being known.
    """
    known, unknown = trials.known_scores[kind]
    for number, name in enumerate(trials.generator_names):
        scores = unknown[trials.generators == number]
        nearest = trials.names[int(trials.unknown_confusion[number].argmax())]
        figures = {
            "auroc": Figure(metrics.auroc(known, scores)),
            "fpr95": Figure(metrics.fpr95(known, scores)[0]),
            "num_trials": Figure(scores.size),
        }
        yield Row({"system": trials.system, "unknown class": name, "most often taken for": nearest}, figures)


def _class_rows(trials: ClassTrials) -> Iterator[Row]:
    """Compute a row for each known class: precision, recall and F1."""
    rates = class_rates(trials.confusion)
    sizes = trials.confusion.sum(1)
    for number, name in enumerate(trials.names):
        figures = {measure: Figure(float(values[number])) for measure, values in rates._asdict().items()}
        yield Row({"system": trials.system, "class": name}, {**figures, "num_trials": Figure(int(sizes[number]))})


def _breakdown_rows(trials: ClassTrials, resamples: Resamples) -> Iterator[tuple[str, Row]]:
    """Compute the closed-set figures for each value of each field that groups the trials of known classes.

    The field that names the classes has no breakdown, and neither has a field with more than 50
    values. Values with fewer than 20 trials have no row.

    Yields:
        The name of the field, and the row of one of its values.
    """
    few_resamples = Resamples(min(resamples.num_resamples, ROW_RESAMPLES), resamples.seed)
    for name, num_values in grouping_fields(trials.trials).items():
        if name == trials.field or num_values > _MOST_VALUES:
            continue
        column = trials.trials.column(name)
        for number in np.unique(column.numbers[column.numbers >= 0]).tolist():
            group = trials.where(column.numbers == number)
            if len(group.true) >= FEWEST:
                figures = {**closed_figures(group, few_resamples), "num_trials": Figure(len(group.true))}
                yield name, Row({"system": trials.system, label_of(name): column.values[number]}, figures)


def _confusion_rows(trials: ClassTrials) -> Iterator[Row]:
    """Yield a row for each of the ten most frequent confusions of two known classes: its number and share of trials."""
    wrong = trials.confusion * (1 - np.eye(len(trials.names), dtype=np.int64))
    largest = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    for number in largest.tolist():
        true, predicted = divmod(number, len(trials.names))
        size = int(wrong[true, predicted])
        if size:
            labels = {"system": trials.system, "class": trials.names[true], "taken for": trials.names[predicted]}
            yield Row(labels, {"num_trials": Figure(size), "share": Figure(size / int(trials.confusion[true].sum()))})


def _plots(systems: Sequence[ClassTrials], kind: str) -> Mapping[str, Sequence[Plot]]:
    """Draw all plots; :class:`Result` calls this only for the page."""
    from nes2net.evaluation.tracing_plots import confusion_plot, known_plot  # quick start-up: text needs no Matplotlib

    with_unknown = [trials for trials in systems if trials.generator_names]
    return {
        CONFUSION_SECTION: [confusion_plot(trials) for trials in systems],
        KNOWN_SECTION: [known_plot(trials, kind) for trials in with_unknown],
    }


def _curves(systems: Sequence[ClassTrials]) -> dict[str, Any]:
    """Give the confusion matrix of each system for the JSON, because the tables list only the largest confusions."""
    return {
        "confusion": {
            trials.system: {
                "classes": list(trials.names),
                "known": trials.confusion.tolist(),
                "unknown": dict(zip(trials.generator_names, trials.unknown_confusion.tolist())),
            }
            for trials in systems
        }
    }
