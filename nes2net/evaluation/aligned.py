"""Scores of several systems side by side: one column per score file, one row per trial."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.corpora.trial import BONAFIDE, Trial
from nes2net.errors import InputError, counted, listed
from nes2net.evaluation.matching import match_file
from nes2net.scoring.score_file import read_scores


def system_names(paths: Sequence[str | Path]) -> list[str]:
    """Name each system by its file without suffix, or by the whole path if two files share a name.

    >>> system_names(["a/lfcc.txt", "b/lfcc.txt", "b/xlsr.txt"])
    ['a/lfcc.txt', 'b/lfcc.txt', 'xlsr']
    """
    stems = Counter(Path(path).stem for path in paths)
    return [Path(path).stem if stems[Path(path).stem] == 1 else str(path) for path in paths]


def labelled_scores(
    key: Sequence[Trial], paths: Sequence[str], phase: str, *, allow_partial: bool = False
) -> tuple[NDArray, NDArray]:
    """Read the bona fide and the spoof scores of ``phase``, shapes (B, files) and (S, files).

    Arguments and errors are those of :func:`labelled_trials`.
    """
    trials, scores = labelled_trials(key, paths, phase, allow_partial=allow_partial)
    is_bonafide = np.array([trial.label == BONAFIDE for trial in trials], dtype=bool)
    return scores[is_bonafide], scores[~is_bonafide]


def labelled_trials(
    key: Sequence[Trial], paths: Sequence[str], phase: str, *, allow_partial: bool = False
) -> tuple[list[Trial], NDArray]:
    """Read the labelled trials of ``phase`` and their scores in all files, shape (N, files).

    The trials are those that all files have, in the order of the key. ``allow_partial`` is that of
    :func:`~nes2net.evaluation.matching.match`.

    Raises:
        InputError: if a file is malformed or does not fit the key, or a class has no trials.
    """
    by_file = [match_file(key, path, phase, allow_partial=allow_partial).by_id for path in paths]
    common = [trial for trial in key if all(trial.id in scores for scores in by_file)]
    num_bonafide = sum(trial.label == BONAFIDE for trial in common)
    if num_bonafide in (0, len(common)):
        has, lacks = ("bona fide", "spoofed") if num_bonafide else ("spoofed", "bona fide")
        raise InputError(
            f"phase {phase} has {len(common)} {has} trials with scores, but no {lacks} ones; both are needed"
        )
    return common, np.array([[scores[trial.id] for scores in by_file] for trial in common])


def unlabelled_scores(paths: Sequence[str], *, allow_partial: bool = False) -> tuple[list[str], NDArray]:
    """Read the ids of the first file in its order, and their scores in all files, shape (N, files).

    Args:
        allow_partial: Leave out trials without a usable score in every file, instead of raising.

    Raises:
        InputError: if a file is malformed, an utterance has two scores in a file, a score that is
            not finite, or none at all, or no trial is left.
    """
    by_file = []
    for path in paths:
        scores: dict[str, float] = {}
        bad: dict[str, None] = {}
        ids, values = read_scores(path)
        for id, score in zip(ids, values):
            if not math.isfinite(score) or scores.setdefault(id, float(score)) != score:
                bad[id] = None
        if bad and not allow_partial:
            raise InputError(
                f"{path}: {len(bad)} scored twice with different values, or not finite: {listed(list(bad))}"
            )
        if len(ids) > len(scores) and not allow_partial:
            twice = [id for id, count in Counter(ids).items() if count > 1]
            raise InputError(
                f"{path}: {len(twice)} scored more than once (was a run appended to another?): {listed(twice)}"
            )
        by_file.append({id: score for id, score in scores.items() if id not in bad})
    for path, scores in zip(paths, by_file):
        missing = list(dict.fromkeys(id for other in by_file for id in other if id not in scores))
        if missing and not allow_partial:
            raise InputError(
                f"{path}: no score for {counted(len(missing), 'trial')} that another file has: {listed(missing)}"
            )
    ids = [id for id in by_file[0] if all(id in scores for scores in by_file)]
    if not ids:
        raise InputError(f"{', '.join(paths)}: no trial has a score in all of them")
    return ids, np.array([[scores[id] for scores in by_file] for id in ids])
