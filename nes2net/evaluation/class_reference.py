"""Compute scores of being known from training trials: by nearest neighbours and by the Mahalanobis distance.

A *score of being known* says how likely a trial is of one of the classes that the detector was
trained on; higher means more likely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.trial import Trial, class_name
from nes2net.lib.errors import InputError, counted, listed
from nes2net.scoring.decisions.known import Reference
from nes2net.scoring.embeddings import Embeddings

#: Scores of being known that compare embeddings: k nearest neighbours, Mahalanobis distance.
KINDS = ("knn", "mahalanobis")
_MOST_NEIGHBOURS = 10  # k


def reference_scores(
    training: Path,
    evaluated: Path,
    key: Iterable[Trial],
    ids: Sequence[str],
    class_numbers: Mapping[str, int],
    field: str,
    aliases: Mapping[str, str],
) -> dict[str, NDArray]:
    """Compute each of :data:`KINDS` for the trials ``ids``.

    Args:
        training, evaluated: files of ``nes2net embed --of backend``, with the embeddings of the
            training trials and of the evaluated trials; by the detector that is evaluated.
        key: labelled trials; all training trials must be among them.
        ids: the N evaluated trials.
        class_numbers: known class → its number.
        field, aliases: as for :func:`nes2net.data.corpora.trial.class_name`.

    Returns:
        Kind → scores (N,) of the trials ``ids``, higher for known.

    Raises:
        InputError: if a training trial is not in the key, no training trial is of a known class, or
            one of ``ids`` has no embedding.
    """
    by_id = {trial.id: trial for trial in key}
    rows = []
    numbers = []
    missing = []
    for id, row in Embeddings().read(training):
        if id not in by_id:
            missing.append(id)
            continue
        number = class_numbers.get(class_name(by_id[id], field, aliases) or "")
        if number is not None:
            rows.append(row)
            numbers.append(number)
    if missing or not rows:
        raise InputError(
            f"{training}: {counted(len(missing), 'training trial')} not in the key ({listed(missing)}), {len(rows)} of a known "
            "class: give embeddings of the training set, and keys that hold its labels"
        )
    embeddings = dict(Embeddings().read(evaluated))
    missing = [id for id in ids if id not in embeddings]
    if missing:
        raise InputError(f"{evaluated}: has no embedding of {counted(len(missing), 'trial')}: {listed(missing)}")
    reference = Reference(np.stack(rows), np.array(numbers))
    x = np.stack([embeddings[id] for id in ids])  # N×D
    return {
        "knn": reference.scores(x, "knn", k=min(_MOST_NEIGHBOURS, len(rows))),
        "mahalanobis": reference.scores(x, "mahalanobis"),
    }
