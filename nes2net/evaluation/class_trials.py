"""Join the logits of a detector with the true classes of trials, and separate known from unknown classes.

A class is *known* if the detector was trained on it and has a logit for it. All other classes of
spoofed trials are *unknown*.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.data.corpora.trial import BONAFIDE, Trial, class_name
from nes2net.evaluation.class_reference import reference_scores
from nes2net.evaluation.key import Key
from nes2net.evaluation.matching import match
from nes2net.evaluation.origin import Origin, read_origin
from nes2net.evaluation.trial_table import TrialTable
from nes2net.lib.errors import InputError, counted, listed
from nes2net.metrics.classes import pair_counts
from nes2net.models.provenance import Provenance
from nes2net.scoring.class_file import ClassTable
from nes2net.scoring.decisions.known import LOGIT_SCORES, KnownThreshold, LogitScore, known_scores
from nes2net.scoring.record import WholeRecord, record_of

if TYPE_CHECKING:
    from nes2net.evaluation.judgements import EvaluationSettings

_DEFAULT_FIELD = "attack"  # the field of a trial that names its class
# These scores of being known do not change if a constant is added to all logits of a trial.
_OF_POSTERIORS: tuple[LogitScore, ...] = ("log_odds", "sme")


@dataclass(frozen=True)
class ClassTrials:
    """The logits of one system for the trials of a phase: N trials of known classes, and M of unknown classes.

    - ``names`` holds the names of the K known classes, ``generator_names`` those of the unknown classes.
    - ``logits`` (N×K) holds the logits of the trials of known classes, and ``true`` (N,) the
      numbers of the classes of these trials.
    - ``field`` is the field of a trial that names its class.
    - ``trials`` holds the N trials of known classes.
    - ``unknown_logits`` (M×K) holds the logits of the trials of unknown classes, and ``generators``
      (M,) the positions of the classes of these trials in ``generator_names``.
    - ``num_left_out`` counts the bona fide trials if they are of neither a known nor an unknown
      class; otherwise it is 0.
    - ``sha256`` is the digest of the file of logits.
    - ``scores`` names the scores of being known that can be computed from these logits.
    - ``mismatch`` says in words which trials and scores do not fit each other; empty if all fit.
    - ``origin`` holds the facts of the record beside the file of logits; None without a record.
    - ``threshold`` comes from this record; None if the record has no threshold. A trial whose score
      of being known lies below the threshold is called unknown.
    - ``compared`` holds the scores of being known that result from comparison with training trials:
      name → the scores of the trials of known classes (N,) and of unknown classes (M,).
    """

    system: str
    field: str
    names: tuple[str, ...]
    logits: NDArray
    true: NDArray
    trials: TrialTable
    unknown_logits: NDArray
    generators: NDArray
    generator_names: list[str]
    num_left_out: int
    sha256: str
    scores: tuple[LogitScore, ...]
    mismatch: str
    origin: Origin | None
    threshold: KnownThreshold | None
    compared: Mapping[str, tuple[NDArray, NDArray]]

    def where(self, chosen: NDArray) -> ClassTrials:
        """The trials of known classes that the mask ``chosen`` (N,) selects, and all trials of unknown classes."""
        trials = self.trials.take(np.flatnonzero(chosen))
        return replace(self, logits=self.logits[chosen], true=self.true[chosen], trials=trials)

    @functools.cached_property
    def predicted(self) -> NDArray:
        """The number of the class with the largest logit for each trial, (N,); the first one if several are equal."""
        return self.logits.argmax(1)

    @functools.cached_property
    def confusion(self) -> NDArray:
        """Counts K×K of trials of known classes: rows are true classes, columns predicted classes."""
        return metrics.confusion_matrix(self.true, self.predicted, len(self.names))

    @functools.cached_property
    def unknown_confusion(self) -> NDArray:
        """Counts G×K: how many trials of each of the G unknown classes are taken for each known class."""
        taken_for = self.unknown_logits.argmax(1)
        return pair_counts(self.generators, taken_for, len(self.generator_names), len(self.names))

    @functools.cached_property
    def known_scores(self) -> dict[str, tuple[NDArray, NDArray]]:
        """Map each score of being known to its values for trials of known classes (N,) and of unknown classes (M,)."""
        by_kind: dict[str, tuple[NDArray, NDArray]] = {}
        for kind in LOGIT_SCORES:
            by_kind[kind] = known_scores(self.logits, kind), known_scores(self.unknown_logits, kind)
        return {**by_kind, **self.compared}


def class_trials(key: Key, path: Path, table: ClassTable, system: str, settings: EvaluationSettings) -> ClassTrials:
    """Find the true class of each trial of a file of logits.

    Args:
        key: the labels of the evaluation.
        path, table: the file and its content.
        system: name of the system that made the file.
        settings: says whether trials may lack logits, whether bona fide counts as an unknown class,
            and from which files of training trials further scores of being known are computed.

    Raises:
        InputError: if file and key do not fit each other, a spoofed trial has no class, no trial is
            of a known class, or the files of training trials do not fit.
    """
    # Find the name of the class of each trial.
    record = record_of(path, table.sha256)
    field_name, aliases = class_labels_of(record)
    rows, trials, mismatch = _match_rows(key, path, table, settings.allow_partial)
    names = classes_of(trials, field_name, aliases, path)
    # Number the known classes and the unknown classes. A trial has the number −1 in the list to which its class does
    # not belong; bona fide trials may have −1 in both lists.
    class_numbers = {name: number for number, name in enumerate(table.names)}
    ignored = set() if settings.bonafide_unknown else {BONAFIDE}
    generator_names = sorted(set(names) - class_numbers.keys() - ignored)
    generator_numbers = {name: number for number, name in enumerate(generator_names)}
    true = np.array([class_numbers.get(name, -1) for name in names])
    generators = np.array([generator_numbers.get(name, -1) for name in names])
    # Memory holds the logits of a million trials only once beside the table.
    logits = table.logits[rows[true >= 0]]
    unknown_logits = table.logits[rows[generators >= 0]]
    scores = LOGIT_SCORES
    if table.holds_posteriors:  # another program wrote the file; logarithms of posteriors are logits up to a constant
        scores = _OF_POSTERIORS
        for posteriors in (logits, unknown_logits):
            np.maximum(posteriors, np.finfo(np.float32).tiny, out=posteriors)
            np.log(posteriors, out=posteriors)
    if not (true >= 0).any():
        raise InputError(
            f"{path}: no trial of the key has one of the classes {listed(table.names)} as {field_name}; the key has "
            f"{listed(generator_names)}: give the corpus and phase that the detector was trained for, or scores of it"
        )
    # Compute the further scores of being known, by comparing embeddings.
    compared = {}
    if settings.reference:
        files = list(settings.reference)
        if path.with_suffix(".npy").is_file():
            files.insert(0, path.with_suffix(".npy"))  # files that were named come later and count
        for file in files:
            _check_one_detector(path, file)
        unscaled_logits = None if table.holds_posteriors else table.logits[rows]
        all_scores = reference_scores(files, key, trials, unscaled_logits, class_numbers, field_name, aliases)
        compared = {kind: (values[true >= 0], values[generators >= 0]) for kind, values in all_scores.items()}
    return ClassTrials(
        system,
        field_name,
        table.names,
        logits,
        true[true >= 0],
        trials.take(np.flatnonzero(true >= 0)),
        unknown_logits,
        generators[generators >= 0],
        generator_names,
        int(((true < 0) & (generators < 0)).sum()),
        table.sha256,
        scores,
        mismatch,
        read_origin(path, table.sha256, key.corpus, canonical_phase(key.phase)),
        KnownThreshold.read(_recorded_classes(record).get("known")),
        compared,
    )


def _check_one_detector(path: Path, file: Path) -> None:
    """Check that the records of two files of results, if they have any, name the same detector.

    Raises:
        InputError: if they name different detectors.
    """
    fingerprints = {record.run.get("model") for record in map(record_of, (path, file)) if record is not None}
    if len(fingerprints - {None}) == 2:
        raise InputError(f"{file}: its detector is not that of {path}: give embeddings and logits of one detector")


def _recorded_classes(record: WholeRecord | None) -> Mapping[str, Any]:
    """Read :attr:`Provenance.class_labels` of the detector from the record of a file; empty without this fact."""
    content = record.model_extra if record is not None else None
    checkpoint = (content or {}).get("checkpoint")
    return Provenance.read(checkpoint).class_labels if isinstance(checkpoint, dict) else {}


def class_labels_of(record: WholeRecord | None) -> tuple[str, Mapping[str, str]]:
    """Read how a detector names classes, from the record of a file.

    Returns:
        The field that names the class of a trial (``attack`` if no record states the field), and
        the aliases: value of the field → name of the class as which it counts.
    """
    labels = _recorded_classes(record)
    return str(labels.get("field", _DEFAULT_FIELD)), labels.get("aliases") or {}


def classes_of(trials: Sequence[Trial], field: str, aliases: Mapping[str, str], path: Path) -> list[str]:
    """Name the class of each of ``trials``; ``path`` is the file of their logits or embeddings, for messages.

    Raises:
        InputError: if a spoofed trial has no class; the message names up to ten.
    """
    names = [class_name(trial, field, aliases) or "" for trial in trials]
    unnamed = [trial.id for trial, name in zip(trials, names) if not name]
    if unnamed:
        raise InputError(
            f"{path}: {counted(len(unnamed), 'spoofed trial')} of the key without {field}, which names the class: "
            f"{listed(unnamed)}"
        )
    return names


def _match_rows(key: Key, path: Path, table: ClassTable, allow_partial: bool) -> tuple[NDArray, TrialTable, str]:
    """Match the rows of ``table`` with the trials of ``key``.

    A row with a logit that is not finite counts as a missing row. ``path`` is for messages, and
    ``allow_partial`` is the same as for :func:`~nes2net.evaluation.matching.match`.

    Returns:
        The numbers (N,) of the rows that have a trial, these N trials, and the mismatch in words.
    """
    # match() treats the row number as the score: a row with a logit that is not finite has no score.
    row_numbers = np.where(np.isfinite(table.logits).all(1), np.arange(len(table.ids)), np.nan)
    try:
        matched = match(key.trials, table.ids, row_numbers, key.phase, allow_partial=allow_partial)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return matched.scores.astype(np.int64), matched.table, matched.mismatch.describe(matched.num_expected)
