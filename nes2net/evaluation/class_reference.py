"""Compute scores of being known from training trials: by nearest neighbours and by the Mahalanobis distance.

A *score of being known* says how likely it is that a trial belongs to one of the classes on which
the detector was trained. A higher score means more likely.
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

#: Names of the scores of being known that compare embeddings: k nearest neighbours, Mahalanobis distance.
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
    """Compare the embeddings of the trials ``ids`` with those of training trials, by each of :data:`KINDS`.

    Training trials of classes that are not known are ignored.

    Args:
        training, evaluated: files that ``nes2net embed --of backend`` wrote with the evaluated
            detector: the embeddings of the training trials, and those of the evaluated trials.
        key: labelled trials; all training trials must be among them.
        ids: the N evaluated trials.
        class_numbers: known class → its number.
        field, aliases: as for :func:`nes2net.data.corpora.trial.class_name`.

    Returns:
        Name of a score of being known → the scores (N,) of the trials ``ids``.

    Raises:
        InputError: if a training trial is not in the key, no training trial is of a known class, or
            one of ``ids`` has no embedding.
    """
    # Read the embeddings and the class numbers of the training trials of known classes.
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
    # Compare the evaluated trials with the training trials.
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
