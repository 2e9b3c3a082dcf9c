"""Join the logits of a detector with the true classes of trials, and separate known from unknown classes.

A class is *known* if the detector was trained on it and has a logit for it. All other classes of
spoofed trials are *unknown*.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.id_tables import column_name
from nes2net.data.corpora.trial import BONAFIDE, Trials, class_name, class_names
from nes2net.evaluation.class_reference import label_lines, reference_scores
from nes2net.evaluation.evaluation import Evaluation, S
from nes2net.evaluation.key import Key
from nes2net.evaluation.matching import match_rows
from nes2net.evaluation.result import Result
from nes2net.evaluation.trial_table import TrialTable
from nes2net.lib.errors import InputError, concerning, join_names
from nes2net.lib.storage.files import AnyPath, is_absent
from nes2net.metrics.classes import pair_counts
from nes2net.scoring.class_file import ClassTable
from nes2net.scoring.decisions.known import LOGIT_SCORES, KnownThreshold, LogitScore, known_scores
from nes2net.scoring.judgement import ScoreFile
from nes2net.scoring.record import record_path

_DEFAULT_FIELD = "attack"  # the field of a trial that names its class
# Scores that adding a constant to all logits of a trial does not change.
_OF_POSTERIORS: tuple[LogitScore, ...] = ("log_odds", "sme")


@dataclass(frozen=True)
class ClassGroup:
    """The N trials of all C known classes, or of all C unknown classes.

    - ``names`` are those of the C classes.
    - ``numbers`` (N,) are indices of ``names``.
    - ``logits`` (N×K) are for the K known classes.
    - ``compared``: scores of being known from comparison with training trials: name → (N,).
    """

    names: Sequence[str]
    numbers: NDArray
    logits: NDArray
    trials: TrialTable
    compared: Mapping[str, NDArray]

    def where(self, is_chosen: NDArray) -> ClassGroup:
        """Select the trials of a mask (N,); ``names`` stays whole."""
        compared = {kind: scores[is_chosen] for kind, scores in self.compared.items()}
        trials = self.trials.take(np.flatnonzero(is_chosen))
        return ClassGroup(self.names, self.numbers[is_chosen], self.logits[is_chosen], trials, compared)

    @functools.cached_property
    def predicted(self) -> NDArray:
        """Index of the largest logit (N,); of equal logits, the first."""
        return self.logits.argmax(1)

    @functools.cached_property
    def confusion(self) -> NDArray:
        """Numbers of trials, C×K: true classes × predicted known classes."""
        return pair_counts(self.numbers, self.predicted, len(self.names), self.logits.shape[1])

    @functools.cached_property
    def known_scores(self) -> dict[str, NDArray]:
        """Scores of being known: name → (N,)."""
        return {**{kind: known_scores(self.logits, kind) for kind in LOGIT_SCORES}, **self.compared}


class ClassLabels(NamedTuple):
    """How trials get their classes.

    - ``field`` of a trial names its class.
    - ``aliases``: value of the field → class under which it counts.
    - ``source``: who states both, in words.
    """

    field: str = _DEFAULT_FIELD
    aliases: Mapping[str, str] = MappingProxyType({})
    source: str = "by default"

    @classmethod
    def read(cls, file: ScoreFile, chosen_field: str | None) -> ClassLabels:
        """Read the record of ``file``, unless the user chose a field."""
        stated = file.record.provenance.class_labels if file.record is not None else {}
        field = str(stated.get("field", _DEFAULT_FIELD))
        if chosen_field not in (None, field):
            return cls(chosen_field, source="as asked for")
        if not stated:
            return cls()
        aliases = {str(value): str(name) for value, name in dict(stated.get("aliases") or {}).items()}
        return cls(field, aliases, f"as {record_path(file.path)} says")

    def in_words(self, system: str) -> str:
        """Say how the trials of ``system`` get their classes."""
        aliases = join_names([f"{value} counts as {name}" for value, name in self.aliases.items()])
        return f"{system}: the class of a trial is its {self.field}, {self.source}; {aliases or 'no aliases'}"

    def doubt(self, trials: Trials) -> str:
        """Warn if the aliases join classes of ``trials``; otherwise empty."""
        num_values = len({class_name(trial, self.field, {}) for trial in trials})
        num_classes = len({class_name(trial, self.field, self.aliases) for trial in trials})
        if num_classes == num_values:
            return ""
        return f"aliases join {num_values} classes of the key to {num_classes}, {self.source}"


def warn_if_different(class_labels: Iterable[ClassLabels]) -> str:
    """Warn if systems get the classes of trials in different ways; otherwise empty."""
    if len({(labels.field, *sorted(labels.aliases.items())) for labels in class_labels}) == 1:
        return ""
    return "the systems differ in how trials get their classes, so their figures cannot be compared"


@dataclass
class OfClasses(Evaluation[S]):
    """An evaluation by the classes of trials.

    Args:
        class_field: as for :func:`class_trials`.
        reference: embeddings or logits of other trials, see its ``references``.
    """

    class_field: str | None = None
    reference: Sequence[AnyPath] = ()

    @functools.cached_property
    def references(self) -> list[ScoreFile]:
        return list(map(ScoreFile.of, self.reference))

    def with_labels(self, result: Result, class_labels: Mapping[str, ClassLabels]) -> Result:
        facts = {system: labels._asdict() for system, labels in class_labels.items()}
        words = [labels.in_words(system) for system, labels in class_labels.items()]
        return replace(
            result,
            header={"class_labels": facts, **result.header},
            lines=[*result.lines, *label_lines(self.references), *words],
            warnings=[*result.warnings, warn_if_different(class_labels.values())],
        )


@dataclass(frozen=True)
class ClassTrials:
    """The logits of one system for the trials of a phase.

    - ``num_left_out``: number of bona fide trials, if they are neither known nor unknown, otherwise 0.
    - ``kinds``: names of the computable scores of being known, from logits first, then from comparing
      embeddings.
    - ``mismatch``: trials and scores that do not fit, in words; otherwise empty.
    - ``threshold``: from the record; a trial with a lower score of being known is unknown.
    - ``doubts``: reasons to doubt the figures, in words.
    """

    system: str
    labels: ClassLabels
    known: ClassGroup
    unknown: ClassGroup
    num_left_out: int
    kinds: Sequence[str]
    mismatch: str
    threshold: KnownThreshold | None
    doubts: Sequence[str]


def class_trials(
    key: Key,
    file: ScoreFile,
    table: ClassTable,
    system: str,
    *,
    allow_partial: bool = False,
    class_field: str | None = None,
    bonafide_unknown: bool = False,
    references: Sequence[ScoreFile] = (),
) -> ClassTrials:
    """Find the true class of each trial of a file of logits, and divide the trials into known and unknown classes.

    Args:
        table: the content of ``file``.
        system: name of the system.
        allow_partial: omit trials whose logits are missing or unusable.
        class_field: field of a trial that names its class; None for the field in the record beside
            the file, or else ``attack``.
        bonafide_unknown: count bona fide trials as unknown, not omit them, if the detector has no
            such class.
        references: embeddings or logits of training trials and of the evaluated trials, for further
            scores of being known.

    Raises:
        InputError: if file and key do not fit, a spoofed trial has no class, no trial is of a known
            class, or the files of training trials do not fit.
    """
    path = file.path
    record = file.record
    labels = ClassLabels.read(file, class_field)
    with concerning(f"{path}:"):
        matched_trials = match_rows(key.trials, table.ids, table.logits, key.phase, allow_partial=allow_partial)
    rows = matched_trials.scores.astype(np.int64)  # (N,), the row of ``table`` of each trial
    trials = matched_trials.table
    names = classes_of(trials, labels)
    ignored = set() if bonafide_unknown else {BONAFIDE}
    unknown_names = sorted(set(names) - set(table.names) - ignored)
    known_columns = set(map(column_name, table.names))
    misspelt = join_names([name for name in unknown_names if column_name(name) in known_columns])
    doubts = [labels.doubt(trials)]
    if misspelt:
        doubts.append(
            f"{misspelt} of the key differ from classes of the detector only in case or spaces, and are unknown"
        )
    kinds: Sequence[str] = _OF_POSTERIORS if table.holds_posteriors else LOGIT_SCORES
    compared: dict[str, NDArray] = {}
    if references:
        files = list(references)
        if not is_absent(path.with_suffix(".npy")):
            files.insert(0, ScoreFile.of(path.with_suffix(".npy")))  # first, because later files take precedence
        for reference in files:
            _check_one_detector(file, reference)
        unscaled_logits = None if table.holds_posteriors else table.logits[rows]
        compared = reference_scores(files, key, trials, unscaled_logits, table.names, labels.field, labels.aliases)
    # Bona fide trials may be in neither group. Logits are copied only once, because there may be a million trials.
    groups = []
    for names_of_group in (table.names, unknown_names):
        number_of = {name: number for number, name in enumerate(names_of_group)}
        numbers = np.array([number_of.get(name, -1) for name in names])
        positions = np.flatnonzero(numbers >= 0)
        logits = table.logits[rows[positions]]
        if table.holds_posteriors:  # the logarithms of posteriors are logits up to a constant
            np.maximum(logits, np.finfo(np.float32).tiny, out=logits)
            np.log(logits, out=logits)
        scores_of_group = {kind: scores[positions] for kind, scores in compared.items()}
        group = ClassGroup(names_of_group, numbers[positions], logits, trials.take(positions), scores_of_group)
        groups.append(group)
    known, unknown = groups
    if not len(known.numbers):
        raise InputError(
            f"{path}: no trial of the key has one of the classes {join_names(table.names)} as {labels.field}; the key has "
            f"{join_names(unknown_names)}: use the corpus and phase that the detector was trained for, or another "
            f"`class_field`{'; '.join(['', *filter(None, doubts)])}"
        )
    return ClassTrials(
        system,
        labels,
        known,
        unknown,
        len(names) - len(known.numbers) - len(unknown.numbers),
        [*kinds, *compared],
        matched_trials.mismatch.describe(matched_trials.num_expected),
        KnownThreshold.read(record.provenance.class_labels.get("known") if record is not None else None),
        list(filter(None, doubts)),
    )


def _check_one_detector(file: ScoreFile, reference: ScoreFile) -> None:
    """Raise InputError if the records name different detectors; a missing record is no error."""
    fingerprints = {record.run.get("model") for record in (file.record, reference.record) if record is not None}
    if len(fingerprints - {None}) == 2:
        raise InputError(
            f"{reference.path}: its detector is not that of {file.path}: use embeddings and logits of one detector"
        )


def classes_of(trials: Trials, labels: ClassLabels) -> list[str]:
    """Find the class of each trial.

    Raises:
        InputError: if a spoofed trial has no class.
    """
    remedy = "name the field of the classes with `class_field`, or use a key that has it"
    return class_names(trials, labels.field, labels.aliases, "the key", remedy)
