"""Read and normalise scores of other systems, for a detector that fuses such scores.

A score s of a system becomes 1/(1 + exp(−(s − low)/(high − low))), with the lowest and highest
score in a file of the system, usually of an independent development set. The published fusion
(Rosello et al., Interspeech 2024) takes both from the test set itself, and therefore needs all of
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.output.sheet import Facts
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.plain_data import first_problem
from nes2net.lib.storage.text_files import without_contradictions
from nes2net.scoring.judgement import ScoreFile, scores_of

Ranges = Sequence[Sequence[float]] | Literal["test"]
"""(lowest, highest) score of each system; or ``"test"`` for those of the scored trials."""


def normalise(scores: NDArray, low: float, high: float) -> NDArray:
    """Map ``scores`` (N,) to 1/(1 + exp(−(s − low)/(high − low))), which is 0.5 at ``low`` and 0.7311 at ``high``.

    >>> normalise(np.array([-1.0, 3.0]), -1.0, 3.0).round(4).tolist()
    [0.5, 0.7311]
    """
    with np.errstate(over="ignore"):  # a score far below the range becomes 0
        return 1 / (1 + np.exp(-(scores - low) / (high - low)))


def ranges_of(files: Sequence[AnyPath | ScoreFile]) -> list[list[float]]:
    """Find the lowest and highest score in each file.

    Raises:
        InputError: if a file cannot be read, a score is not finite, or all are equal.
    """
    ranges = []
    for file in map(ScoreFile.of, files):
        path = file.path
        scores = scores_of(file)[1]
        if not len(scores) or not np.isfinite(scores).all():
            raise InputError(
                f"{path}: it has no scores, or one that is not finite, so it has no lowest and highest score: name another file"
            )
        low = float(scores.min())
        high = float(scores.max())
        if low == high:
            raise InputError(
                f"{path}: all its scores are {low}, so they do not distinguish utterances: name another file"
            )
        ranges.append([low, high])
    return ranges


def check_ranges(ranges: Any) -> list[tuple[float, float]]:
    """Check the ``ranges`` of a checkpoint.

    Raises:
        InputError: if they are not pairs of finite numbers, lower first.
    """
    try:
        pairs = TypeAdapter(list[tuple[FiniteFloat, FiniteFloat]]).validate_python(ranges)
        fault = next((f"from {low} to {high}" for low, high in pairs if not low < high), None)
    except ValidationError as error:
        pairs = []
        fault = first_problem(error)
    if fault is not None:
        raise InputError(
            f"the ranges of other systems' scores are damaged ({fault}); each is a lowest and a highest number: name files "
            "of a development set with `score_range`"
        )
    return pairs


def with_system_scores(trials: Trials, files: Sequence[AnyPath | ScoreFile], ranges: Ranges) -> list[Trial]:
    """Return ``trials`` with the normalised scores of all systems.

    Args:
        files: one for each system, in the detector's order; may have other trials.

    Raises:
        InputError: if a file cannot be read, a trial lacks a finite score, or ranges are
            unsuitable.
    """
    score_files = list(map(ScoreFile.of, files))
    ranges = ranges_of(score_files) if ranges == "test" else check_ranges(ranges)
    if len(ranges) != len(files):
        raise InputError(
            f"there are {len(files)} score files of other systems, but ranges of {len(ranges)}: name one file for each "
            "system, in the order of training"
        )
    columns = [_normalise_column(trials, file, *bounds) for file, bounds in zip(score_files, ranges)]
    return [replace(trial, system_scores=row) for trial, row in zip(trials, zip(*columns))]


def _normalise_column(trials: Trials, file: ScoreFile, low: float, high: float) -> list[float]:
    path = file.path
    ids, scores = scores_of(file)
    score_of_id = without_contradictions(zip(ids, scores.tolist()), path)
    if missing := [trial.id for trial in trials if trial.id not in score_of_id]:
        raise InputError(
            f"{path}: {len(missing):,} of {pluralise(trials, 'trial has', 'trials have')} no score in it: {join_names(missing)}; the "
            "detector needs a score of every system for each trial: score these, too"
        )
    if unusable := [trial.id for trial in trials if not np.isfinite(score_of_id[trial.id])]:
        raise InputError(f"{path}: the score of {join_names(unusable)} is not a finite number: score it again")
    return normalise(np.array([score_of_id[trial.id] for trial in trials]), low, high).tolist()


def describe_systems(files: Sequence[ScoreFile], ranges: Ranges) -> list[Facts]:
    """Describe each system for a record: file, SHA-256 and range, also for ``"test"``."""
    bounds = ranges_of(files) if ranges == "test" else ranges
    return [
        {"path": str(file.path), "sha256": file.sha256, "range": list(bounds_of_system)}
        for file, bounds_of_system in zip(files, bounds)
    ]


def check_system_scores(trials: Trials, count: int) -> None:
    """Raise :class:`InputError` unless every trial has scores of ``count`` systems."""
    numbers_of_scores = {len(trial.system_scores) for trial in trials}
    if count and numbers_of_scores == {0}:
        raise InputError(
            f"this detector fuses the scores of {pluralise(count, 'other system')}: name {pluralise(count, 'score file')}, in "
            "the order of training, with `system_scores`; a recipe has `data.train_scores` and `data.dev_scores`"
        )
    if not numbers_of_scores <= {count}:
        numbers = " or ".join(map(str, sorted(numbers_of_scores)))
        raise InputError(
            f"this detector requires scores of {count} other systems for each trial, but the trials have {numbers}: name one "
            "file for each system, with `system_scores`"
        )
