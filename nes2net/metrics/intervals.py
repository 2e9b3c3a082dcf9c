"""Bootstrap confidence intervals of a metric, over trials or over speakers.

Trials of one speaker are not independent; an interval over trials is then too narrow. Drawing whole speakers keeps what they
share: Ferrer and Riera, "Confidence Intervals for Evaluation in Machine Learning" (2023), with the percentile interval of Efron.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nes2net.errors import InputError
from nes2net.metrics.eer import checked_scores, compute_eer, walk_index


def bootstrap_interval(
    metric: Callable[..., Any],
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    num_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    bonafide_groups: Sequence | None = None,
    spoof_groups: Sequence | None = None,
) -> tuple[float, float]:
    """Percentile bootstrap interval ``(low, high)`` of ``metric(bonafide, spoof)``.

    Args:
        metric: Any function of two score vectors that gives a number, or a tuple whose first item is the number, such as
            :func:`~nes2net.metrics.eer.compute_eer`; that one (also as ``functools.partial(compute_eer, method=…,
            order=…)``, for the rules "asvspoof" and "interpolated") is computed from the sorted scores without sorting
            again.
        bonafide, spoof: Scores, shapes (B,) and (S,).
        bonafide_groups, spoof_groups: The speaker of each trial, lengths B and S; give both or neither. With them whole
            speakers are drawn, each with all its trials of both classes (the same name is the same speaker); without them
            trials, B and S of them. A draw without one of the classes, which few speakers can bring about, is made again.

    A bootstrap cannot see errors that the sample does not hold: an EER of 0 gets the interval (0, 0), and few speakers, or few
    trials of a class, give an interval that is too narrow.

    Raises:
        InputError: A class is empty, a score is NaN, groups do not fit the scores, or a setting is out of range.

    >>> rng = np.random.default_rng(0)
    >>> low, high = bootstrap_interval(compute_eer, rng.normal(2, 1, 500), rng.normal(0, 1, 500))
    >>> round(low, 2), round(high, 2)
    (0.12, 0.16)
    """
    bonafide, spoof = checked_scores(bonafide, "bona fide"), checked_scores(spoof, "spoof")
    if num_resamples < 1:
        raise InputError(f"num_resamples must be at least 1, got {num_resamples}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must lie between 0 and 1, got {confidence}")
    rng = np.random.default_rng(seed)
    if bonafide_groups is None and spoof_groups is None:
        draws = _draw_trials(rng, bonafide.size, spoof.size)
    else:
        draws = _draw_groups(rng, _group_codes(bonafide_groups, spoof_groups, bonafide.size, spoof.size), bonafide.size)
    resampled_metric = _resampled_eer(metric, bonafide, spoof) or _resampled(metric, bonafide, spoof)
    values = [resampled_metric(next(draws)) for _ in range(num_resamples)]
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _draw_trials(rng: np.random.Generator, num_bonafide: int, num_spoof: int) -> Iterator[NDArray]:
    """How often each trial of [bonafide, spoof] was drawn, B of the first and S of the second, again and again."""
    while True:
        counts = [np.bincount(rng.integers(n, size=n), minlength=n) for n in (num_bonafide, num_spoof)]
        yield np.concatenate(counts)


def _draw_groups(rng: np.random.Generator, codes: NDArray, num_bonafide: int) -> Iterator[NDArray]:
    """As :func:`_draw_trials`, but every trial as often as its group was drawn; ``codes`` numbers the groups from 0."""
    num_groups = int(codes.max()) + 1
    while True:
        counts = np.bincount(rng.integers(num_groups, size=num_groups), minlength=num_groups)[codes]
        if counts[:num_bonafide].any() and counts[num_bonafide:].any():
            yield counts


def _group_codes(bonafide_groups, spoof_groups, num_bonafide: int, num_spoof: int) -> NDArray:
    if bonafide_groups is None or spoof_groups is None:
        raise InputError("give bonafide_groups and spoof_groups, or neither: speakers are drawn with all their trials")
    if (len(bonafide_groups), len(spoof_groups)) != (num_bonafide, num_spoof):
        raise InputError(
            f"one group per score is needed: {num_bonafide} bona fide and {num_spoof} spoof scores, "
            f"but {len(bonafide_groups)} and {len(spoof_groups)} groups"
        )
    numbers: dict[Any, int] = {}
    return np.array(
        [numbers.setdefault(group, len(numbers)) for groups in (bonafide_groups, spoof_groups) for group in groups]
    )


def _resampled(metric: Callable, bonafide: NDArray, spoof: NDArray) -> Callable[[NDArray], float]:
    """``metric`` of the trials repeated as often as they were drawn."""

    def evaluate(counts: NDArray) -> float:
        value = metric(np.repeat(bonafide, counts[: bonafide.size]), np.repeat(spoof, counts[bonafide.size :]))
        return float(value[0] if isinstance(value, tuple) else value)

    return evaluate


def _resampled_eer(metric: Callable, bonafide: NDArray, spoof: NDArray) -> Callable[[NDArray], float] | None:
    """The EER of a resample by one cumulative sum over the trials in score order; None if ``metric`` is another one.

    Repeating a trial inserts steps into the walk over the thresholds but moves none, so the scores are sorted once for all.
    """
    options: dict[str, Any] = {}
    if isinstance(metric, functools.partial) and not metric.args:
        metric, options = metric.func, metric.keywords
    method = options.get("method", "asvspoof")
    if metric is not compute_eer or method not in ("asvspoof", "interpolated"):
        return None
    index = walk_index(bonafide, spoof, options.get("order") if method == "interpolated" else None)
    is_bonafide = index < bonafide.size

    def evaluate(counts: NDArray) -> float:
        num_bonafide, num_spoof = int(counts[: bonafide.size].sum()), int(counts[bonafide.size :].sum())
        counts = counts[index]
        # FRR − FAR rises from −1 to 1: by 1/num_bonafide or 1/num_spoof a step. Times num_bonafide · num_spoof it is in integers.
        rise = np.cumsum(counts * np.where(is_bonafide, num_spoof, num_bonafide))
        to_climb = num_bonafide * num_spoof
        crossing = int(np.searchsorted(rise, to_climb))  # the trial during whose copies FRR reaches FAR
        climbed = int(rise[crossing - 1]) if crossing else 0
        rejected_bonafide = int(counts[:crossing][is_bonafide[:crossing]].sum())
        rejected_spoof = (climbed - rejected_bonafide * num_spoof) // num_bonafide
        at_bonafide = bool(is_bonafide[crossing])
        copies = -((climbed - to_climb) // (num_spoof if at_bonafide else num_bonafide))  # rounded up
        after = (rejected_bonafide + copies * at_bonafide, rejected_spoof + copies * (not at_bonafide))
        before = (after[0] - at_bonafide, after[1] - (not at_bonafide))
        (frr, far), (frr_before, far_before) = (
            (b / num_bonafide, (num_spoof - s) / num_spoof) for b, s in (after, before)
        )
        gap, gap_before = frr - far, far_before - frr_before
        if method == "interpolated":
            return frr_before + gap_before / (gap_before + gap) * (frr - frr_before)
        return (frr_before + far_before) / 2 if gap_before <= gap else (frr + far) / 2

    return evaluate
