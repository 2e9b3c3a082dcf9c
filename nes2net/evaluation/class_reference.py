"""Scores of being known by comparison with training trials: the nearest neighbours, and the Mahalanobis distance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.data.corpora.trial import Trial, class_name
from nes2net.lib.errors import InputError, counted, listed
from nes2net.scoring.decisions.known import Reference
from nes2net.scoring.embeddings import Embeddings

#: Scores that need no logits of training trials.
KINDS = ("knn", "mahalanobis")


def reference_scores(
    training: Path,
    evaluated: Path,
    key: Iterable[Trial],
    ids: Sequence[str],
    number_of: Mapping[str, int],
    field: str,
    aliases: Mapping[str, str],
) -> dict[str, NDArray]:
    """Compute each of :data:`KINDS` for the trials ``ids``: (N,), higher for known.

    Args:
        training, evaluated: files of ``nes2net embed --of backend`` by the detector of the logits.
        key: trials with their classes, among them those of training.
        number_of: known class → its number.
        field, aliases: how a trial names its class.

    Raises:
        InputError: if a file lacks trials, or its trials are not in the key.
    """
    by_id = {trial.id: trial for trial in key}
    rows = []
    numbers = []
    missing = []
    for id, row in Embeddings().read(training):
        if id not in by_id:
            missing.append(id)
            continue
        number = number_of.get(class_name(by_id[id], field, aliases) or "")
        if number is not None:
            rows.append(row)
            numbers.append(number)
    if missing or not rows:
        raise InputError(
            f"{training}: {counted(len(missing), 'training trial')} not in the key ({listed(missing)}), {len(rows)} of a known "
            "class: give embeddings of the training set, and keys that hold its labels"
        )
    embeddings = dict(Embeddings().read(evaluated))
    lost = [id for id in ids if id not in embeddings]
    if lost:
        raise InputError(f"{evaluated}: has no embedding of {counted(len(lost), 'trial')}: {listed(lost)}")
    reference = Reference(np.stack(rows), np.array(numbers))
    x = np.stack([embeddings[id] for id in ids])
    return {"knn": reference.scores(x, "knn", k=min(10, len(rows))), "mahalanobis": reference.scores(x, "mahalanobis")}
