"""Compare the embeddings of evaluated trials with the embeddings of labelled trials, such as training trials.

In reading order: ``examples_of`` finds classes of labelled trials, ``embeddings_of`` embeddings of
evaluated trials; ``reference_scores`` compares both and computes scores of being known, which are
higher for trials of known classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.protocol import select_phase
from nes2net.data.corpora.trial import Trial, Trials, class_name
from nes2net.evaluation.key import Key
from nes2net.evaluation.origin import recorded_part
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.storage.text_files import without_contradictions
from nes2net.scoring.class_file import read_class_table
from nes2net.scoring.decisions.known import Reference
from nes2net.scoring.embeddings import SUFFIXES, Embeddings
from nes2net.scoring.judgement import ScoreFile

_MAX_NEIGHBOURS = 10  # largest number of neighbours for the score `knn`


class LabelledEmbedding(NamedTuple):
    """The embedding (E,) of a labelled trial, and the name of its class."""

    trial: Trial
    name: str
    embedding: NDArray


def examples_of(
    rows: Mapping[str, NDArray], file: ScoreFile, key: Key, field: str, aliases: Mapping[str, str]
) -> list[LabelledEmbedding]:
    """Join the embeddings of a file with the classes of their trials; omit trials without a class.

    Labels that ``key`` lacks come from the key of the corpus in the record beside ``file``.

    Args:
        rows: the content of ``file``: id of a trial → its embedding.
        key: labelled trials.
        field, aliases: as for :func:`nes2net.data.corpora.trial.class_name`.

    Raises:
        InputError: if no trial has a class.
    """
    labelled = {trial.id: trial for trial in key.trials}
    corpus_part = recorded_part(file.record)
    if corpus_part is not None and not rows.keys() <= labelled.keys():
        with suppress(InputError):  # the corpus may have been moved; the message below says what is missing
            labelled = {trial.id: trial for trial in corpus_part.definition.keys(corpus_part.root)} | labelled
    examples = []
    for id, embedding in rows.items():
        if id in labelled and (name := class_name(labelled[id], field, aliases)):
            examples.append(LabelledEmbedding(labelled[id], name, embedding))
    if not examples:
        raise InputError(
            f"{file.path}: neither the key nor the corpus in the record beside the file has a {field} of these trials "
            f"({join_names(list(rows))}): use embeddings of labelled trials, and keys with their labels"
        )
    return examples


def label_lines(files: Iterable[ScoreFile]) -> Iterator[str]:
    """Name, for each file, the corpus that labels the trials which the key lacks."""
    for file in files:
        if corpus_part := recorded_part(file.record):
            source = f"{corpus_part.corpus} in {corpus_part.root}"
            yield f"{file.path}: trials that the key lacks have the labels of {source}, says its record"


def embeddings_of(rows: Mapping[str, NDArray], trials: Trials) -> NDArray:
    """Look up the embeddings N×E of ``trials`` in ``rows``, id → embedding.

    Raises:
        InputError: if a trial has no embedding.
    """
    missing = [trial.id for trial in trials if trial.id not in rows]
    if missing:
        raise InputError(
            f"no embedding of {pluralise(missing, 'evaluated trial')} ({join_names(missing)}): embed these trials too, "
            "and use embeddings of all evaluated trials"
        )
    return np.stack([rows[trial.id] for trial in trials])


def reference_scores(
    files: Sequence[ScoreFile],
    key: Key,
    trials: Trials,
    logits: NDArray | None,
    names: Sequence[str],
    field: str,
    aliases: Mapping[str, str],
) -> dict[str, NDArray]:
    """Compute scores of being known by comparing the embeddings of ``trials`` and of training trials.

    Args:
        files: embeddings that ``nes2net embed --of backend`` wrote with the evaluated detector, of
            training or of evaluated trials. ``nsd`` also needs the logits of the training trials
            (``nes2net score --judgement classes``). The last file with a trial counts.
        key: labelled trials. A file with a trial of the evaluated phase has evaluated trials.
        trials: the N evaluated trials.
        logits: their logits N×K; None if only posteriors are known.
        names: the names of the known classes.
        field, aliases: as for :func:`nes2net.data.corpora.trial.class_name`.

    Returns:
        ``knn``, ``mahalanobis``, and ``nsd`` if all logits are known → scores (N,).

    Raises:
        InputError: if a file cannot be read, no training trial is of a known class, or one of
            ``trials`` has no embedding.
    """
    evaluated_ids = {trial.id for trial in select_phase(key.trials, key.phase)}
    evaluated: dict[str, NDArray] = {}
    training: dict[str, LabelledEmbedding] = {}
    training_logits: dict[str, tuple] = {}
    for file in files:
        if file.path.suffix not in SUFFIXES:
            table = read_class_table(file.path, names)
            if not table.holds_posteriors:
                training_logits |= without_contradictions(zip(table.ids, map(tuple, table.logits)), file.path)
            continue
        rows = dict(Embeddings().read(file.path))
        # A file with even one evaluated trial counts as embeddings of the evaluated set.
        if rows.keys() & evaluated_ids:
            evaluated |= rows
            continue
        for example in examples_of(rows, file, key, field, aliases):
            if example.name in names:
                training[example.trial.id] = example
    if not training:
        raise InputError(
            f"{', '.join(str(file.path) for file in files)}: no training trial is of a known class ({join_names(names)}): use "
            "embeddings of the training set"
        )
    x = embeddings_of(evaluated, trials)  # (N, E)
    classes = np.array([example.name for example in training.values()])  # (T,) for T training trials
    embeddings = np.stack([example.embedding for example in training.values()])  # (T, E)
    logits_of_training = None
    if training.keys() <= training_logits.keys():
        logits_of_training = np.stack([training_logits[id] for id in training])  # (T, K), in the order of `training`
    reference = Reference(embeddings, classes, logits_of_training)
    scores = {
        "knn": reference.scores(x, "knn", k=min(_MAX_NEIGHBOURS, len(training))),
        "mahalanobis": reference.scores(x, "mahalanobis"),
    }
    if logits_of_training is not None and logits is not None:
        scores["nsd"] = reference.scores(x, "nsd", logits=logits)
    return scores
