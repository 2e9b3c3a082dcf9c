"""Join the logits of a detector with the true classes of trials, and separate known from unknown classes.

A class is *known* if the detector was trained on it and has a logit for it. All other classes of
spoofed trials are *unknown*.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.data.corpora.trial import BONAFIDE, Trial, class_name
from nes2net.evaluation.class_reference import reference_scores
from nes2net.evaluation.key import Key
from nes2net.evaluation.matching import match
from nes2net.evaluation.origin import Origin, read_origin
from nes2net.lib.errors import InputError, counted, listed
from nes2net.metrics.classes import pair_counts
from nes2net.models.provenance import CLASSES_KEY
from nes2net.scoring.class_file import ClassTable
from nes2net.scoring.decisions.known import LOGIT_SCORES, KnownThreshold, LogitScore, known_scores
from nes2net.scoring.record import record_of

_DEFAULT_FIELD = "attack"  # the field of a trial that names its class
# These scores of being known do not change if a constant is added to all logits of a trial.
_OF_POSTERIORS: tuple[LogitScore, ...] = ("log_odds", "sme")


@dataclass(frozen=True)
class ClassTrials:
    """The logits of one system for the trials of a phase: N trials of known classes, and M of unknown classes.

    - ``names`` holds the names of the K known classes, ``generator_names`` those of the unknown classes.
    - ``logits`` (N×K) holds the logits of the trials of known classes, and ``true`` (N,) the
      numbers of the classes of these trials.
    - ``unknown_logits`` (M×K) holds the logits of the trials of unknown classes, and ``generators``
      (M,) the positions of the classes of these trials in ``generator_names``.
    - ``num_left_out`` counts the bona fide trials if bona fide is not a known class; otherwise it is 0.
    - ``sha256`` is the digest of the file of logits.
    - ``scores`` names the scores of being known that can be computed from these logits.
    - ``mismatch`` says in words which trials and scores do not fit each other; empty if all fit.
    - ``origin`` holds the facts of the record beside the file of logits; None without a record.
    - ``threshold`` comes from this record; None if the record has no threshold. A trial whose score
      of being known lies below the threshold is called unknown.
    - ``compared`` maps the name of each score that compares trials with training trials to the
      scores of the trials of known classes (N,) and of unknown classes (M,).
    """

    system: str
    names: tuple[str, ...]
    logits: NDArray
    true: NDArray
    unknown_logits: NDArray
    generators: NDArray
    generator_names: list[str]
    num_left_out: int
    sha256: str
    scores: tuple[LogitScore, ...] = LOGIT_SCORES
    mismatch: str = ""
    origin: Origin | None = None
    threshold: KnownThreshold | None = None
    compared: Mapping[str, tuple[NDArray, NDArray]] = field(default_factory=dict)

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
        """Name of a score of being known → the scores of the trials of known classes (N,) and of unknown ones (M,)."""
        by_kind: dict[str, tuple[NDArray, NDArray]] = {}
        for kind in LOGIT_SCORES:
            by_kind[kind] = known_scores(self.logits, kind), known_scores(self.unknown_logits, kind)
        return {**by_kind, **self.compared}


def class_trials(
    key: Key,
    path: Path,
    table: ClassTable,
    system: str,
    allow_partial: bool,
    reference: tuple[Path, Path] | None = None,
) -> ClassTrials:
    """Find the true class of each trial of a file of logits.

    Args:
        key: the labels of the evaluation.
        path, table: the file and its content.
        system: name of the system that made the file.
        allow_partial: leave out trials without logits instead of raising.
        reference: the files ``training`` and ``evaluated`` of
            :func:`~nes2net.evaluation.class_reference.reference_scores`, for further scores of
            being known; None for no further scores.

    Raises:
        InputError: if file and key do not fit each other, a spoofed trial has no class, no trial is
            of a known class, or the files of ``reference`` do not fit the trials.
    """
    # Find the name of the class of each trial.
    record = record_of(path, table.sha256)
    class_labels = _class_labels(record.model_extra if record is not None else None)
    field_name = str(class_labels.get("field", _DEFAULT_FIELD))
    rows, trials, mismatch = _match_rows(key, path, table, allow_partial)
    aliases = class_labels.get("aliases") or {}
    names = [class_name(trial, field_name, aliases) for trial in trials]
    unnamed = [trial.id for trial, name in zip(trials, names) if name is None]
    if unnamed:
        raise InputError(
            f"{path}: {counted(len(unnamed), 'spoofed trial')} of the key without {field_name}, which names the class: "
            f"{listed(unnamed)}"
        )
    # Number the known classes and the unknown classes. A trial has the number −1 in the list to which its class does
    # not belong; bona fide trials may have −1 in both lists.
    class_numbers = {name: number for number, name in enumerate(table.names)}
    generator_names = sorted({str(name) for name in names} - class_numbers.keys() - {BONAFIDE})
    generator_numbers = {name: number for number, name in enumerate(generator_names)}
    true = np.array([class_numbers.get(str(name), -1) for name in names])
    generators = np.array([generator_numbers.get(str(name), -1) for name in names])
    logits = table.logits[rows]
    scores = LOGIT_SCORES
    if table.holds_posteriors:  # another program wrote the file; logarithms of posteriors are logits up to a constant
        scores = _OF_POSTERIORS
        logits = np.log(np.maximum(logits, np.finfo(np.float32).tiny))
    if not (true >= 0).any():
        raise InputError(
            f"{path}: no trial of the key has one of the classes {listed(table.names)} as {field_name}; the key has "
            f"{listed(generator_names)}: give the corpus and phase that the detector was trained for, or scores of it"
        )
    # Compute the scores of being known that compare embeddings.
    compared = {}
    if reference is not None:
        ids = [trial.id for trial in trials]
        all_scores = reference_scores(*reference, key.trials, ids, class_numbers, field_name, aliases)
        compared = {kind: (values[true >= 0], values[generators >= 0]) for kind, values in all_scores.items()}
    return ClassTrials(
        system,
        table.names,
        logits[true >= 0],
        true[true >= 0],
        logits[generators >= 0],
        generators[generators >= 0],
        generator_names,
        int(((true < 0) & (generators < 0)).sum()),
        table.sha256,
        scores,
        mismatch,
        read_origin(path, table.sha256, key.corpus, canonical_phase(key.phase)),
        KnownThreshold.read(class_labels.get("known")),
        compared,
    )


def _class_labels(record: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Read how the training of a detector named its classes, from the record of a file of logits.

    The result has the keys ``field``, ``aliases`` and ``known``. It is empty if ``record`` is None
    or lacks these facts.
    """
    checkpoint = (record or {}).get("checkpoint")
    labels = checkpoint.get(CLASSES_KEY) if isinstance(checkpoint, dict) else None
    return labels if isinstance(labels, dict) else {}


def _match_rows(key: Key, path: Path, table: ClassTable, allow_partial: bool) -> tuple[NDArray, list[Trial], str]:
    """Match the rows of ``table`` with the trials of ``key``.

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
