"""Trials with their true classes and the logits of a detector, sorted into known and unknown classes."""

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

_DEFAULT_FIELD = "attack"
_OF_POSTERIORS: tuple[LogitScore, ...] = ("log_odds", "sme")


@dataclass(frozen=True)
class ClassTrials:
    """The trials of a phase with the logits of one system.

    - ``logits`` N×K belong to trials of known classes; ``true`` (N,) holds the numbers of these classes.
    - ``unknown_logits`` M×K belong to trials of unknown classes; ``generators`` (M,) holds their positions in
      ``generator_names``.
    - ``num_left_out`` counts bona fide trials if bona fide is not a class.
    - ``compared`` holds further scores of being known, by comparison with training trials.
    - ``sha256`` identifies the file of logits; ``scores`` names the scores of being known that it allows.
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
        """Numbers of the predicted classes, (N,): the largest logit, the first among equal ones."""
        return self.logits.argmax(1)

    @functools.cached_property
    def confusion(self) -> NDArray:
        """Counts K×K, rows true."""
        return metrics.confusion_matrix(self.true, self.predicted, len(self.names))

    @functools.cached_property
    def unknown_confusion(self) -> NDArray:
        """Counts G×K: how many trials of each unknown class are given each known class."""
        taken_for = self.unknown_logits.argmax(1)
        return pair_counts(self.generators, taken_for, len(self.generator_names), len(self.names))

    @functools.cached_property
    def known_scores(self) -> dict[str, tuple[NDArray, NDArray]]:
        """Each score of being known, of known and of unknown trials, (N,) and (M,)."""
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
    """Find the class in ``key`` of each trial of a ``table``, which was read from ``path``.

    Args:
        reference: embeddings of training trials and of the trials of ``table``, for further scores of being known.

    Raises:
        InputError: if file and key do not go together, or a spoofed trial has no class.
    """
    record = record_of(path, table.sha256)
    class_labels = _class_labels(record.model_extra if record is not None else None)
    field_name = str(class_labels.get("field", _DEFAULT_FIELD))
    rows, trials, mismatch = _matched(key, path, table, allow_partial)
    aliases = class_labels.get("aliases") or {}
    names = [class_name(trial, field_name, aliases) for trial in trials]
    unnamed = [trial.id for trial, name in zip(trials, names) if name is None]
    if unnamed:
        raise InputError(
            f"{path}: {counted(len(unnamed), 'spoofed trial')} of the key without {field_name}, which names the class: "
            f"{listed(unnamed)}"
        )
    number_of = {name: number for number, name in enumerate(table.names)}
    generator_names = sorted({str(name) for name in names} - number_of.keys() - {BONAFIDE})
    number_of_generator = {name: number for number, name in enumerate(generator_names)}
    true = np.array([number_of.get(str(name), -1) for name in names])
    generators = np.array([number_of_generator.get(str(name), -1) for name in names])
    logits = table.logits[rows]
    scores = LOGIT_SCORES
    if table.holds_posteriors:  # by another program; of logits up to a constant there is no energy
        scores = _OF_POSTERIORS
        logits = np.log(np.maximum(logits, np.finfo(np.float32).tiny))
    if not (true >= 0).any():
        raise InputError(
            f"{path}: no trial of the key has one of the classes {listed(table.names)} as {field_name}; the key has "
            f"{listed(generator_names)}: give the corpus and phase that the detector was trained for, or scores of it"
        )
    compared = {}
    if reference is not None:
        ids = [trial.id for trial in trials]
        all_scores = reference_scores(*reference, key.trials, ids, number_of, field_name, aliases)
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
    """Field and aliases that name the classes, from the record of a file of logits; empty if it does not say."""
    checkpoint = (record or {}).get("checkpoint")
    labels = checkpoint.get(CLASSES_KEY) if isinstance(checkpoint, dict) else None
    return labels if isinstance(labels, dict) else {}


def _matched(key: Key, path: Path, table: ClassTable, allow_partial: bool) -> tuple[NDArray, list[Trial], str]:
    """The rows of ``table`` that have a trial, these trials, and a description of the mismatch."""
    row_numbers = np.where(np.isfinite(table.logits).all(1), np.arange(len(table.ids)), np.nan)
    try:
        matched = match(key.trials, table.ids, row_numbers, key.phase, allow_partial=allow_partial)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return matched.scores.astype(np.int64), matched.trials, matched.mismatch.describe(matched.num_expected)
