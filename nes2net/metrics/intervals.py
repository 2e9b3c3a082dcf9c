"""Bootstrap confidence intervals of metrics, and comparison of two systems on the same trials.

The bootstrap draws single trials, whole speakers, whole attacks, or speakers and attacks together.
Trials of one speaker depend on each other, so drawing single trials gives too narrow an interval
(Ferrer and Riera, "Confidence Intervals for Evaluation in Machine Learning", 2023). So do trials of
one attack: draw attacks if the result should hold for other attacks. Error rates have
:func:`rate_interval`, also valid with few errors; other metrics have Efron's percentile interval.

In reading order: ``bootstrap_interval`` (one metric), ``rate_interval`` (an error rate),
``bootstrap_values`` (several metrics on resamples), ``compare_systems``; the draws are at the end.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Unpack

from nes2net.lib.errors import InputError, check_setting, pluralise
from nes2net.lib.output.progress import bootstrap_progress
from nes2net.lib.process.this_process import usable_processors
from nes2net.metrics.eer import check_classes, compute_eer
from nes2net.metrics.resampling import Cells, Resampled, any_metric, figures_of, quick_metric, single_trials

_ERRORS = 10  # weight of the variance of independent trials in rate_interval, as a number of errors

#: Limits of a group of resamples that are evaluated together: resamples, and counts of cells.
_MAX_CHUNK = 50
_MAX_WEIGHTS = 1 << 21
# Largest draw that is cached, for bootstraps repeated with one seed, as in a breakdown.
_MAX_CACHED = 1024

#: (low, high).
Interval: TypeAlias = tuple[float, float]
#: Index of a resample → how often it contains each of C cells, (C,). A cell is a trial, or a group of trials drawn
#: together.
Draw = Callable[[int], NDArray]


class Resampling(TypedDict, total=False):
    """How often and with which seed the bootstrap draws."""

    num_resamples: int
    """At least 1; by default 1,000."""
    seed: int
    """0 or more; by default 0."""


class Groups(TypedDict, total=False):
    """What the bootstrap draws; single trials if this is empty."""

    bonafide_groups: Sequence | None
    """The speaker of each bona fide trial, length B; only together with ``spoof_groups``.

    Draws whole speakers, with all trials of both classes, instead of single trials. A draw that
    lacks a class is repeated."""
    spoof_groups: Sequence | None
    """The speaker of each spoofed trial, length S."""
    spoof_attacks: Sequence | None
    """The attack of each spoofed trial, length S; at least two attacks. Draws whole attacks.

    With groups, each resample has two draws: speakers with all attacks, and attacks with all
    speakers and all bona fide trials. Each value's distance from its mean over all draws is added
    to the metric of all trials, so the variance of single trials, and of speaker-attack effects,
    counts twice; a joint draw would count it three times (Owen, "The pigeonhole bootstrap", Annals
    of Applied Statistics 1, 2007). Few attacks vary too little, so distances are multiplied by
    :func:`spread_factor`."""


class Draws(Resampling, Groups, total=False):
    """Settings of the bootstrap, shared by the public functions of this module."""

    drawing: Drawing | None
    """What is drawn of other classes than two; replaces :class:`Groups`."""


class Comparison(NamedTuple):
    """The metric of two systems, and the difference ``first`` − ``second`` with its interval."""

    first: float
    second: float
    difference: float
    interval: Interval
    p_value: float
    """Two-sided, of the hypothesis that the difference is 0."""


def bootstrap_interval(
    metric: Callable[..., Any],
    bonafide: ArrayLike,
    spoof: ArrayLike,
    *,
    confidence: float = 0.95,
    **draws: Unpack[Draws],
) -> Interval:
    """Compute the bootstrap interval ``(low, high)`` of ``metric(bonafide, spoof)``.

    It comes from :func:`rate_interval` for ``compute_eer``, from percentiles for other metrics. A
    bootstrap cannot draw errors that are not in the sample: with few errors, percentile intervals
    are too narrow. With few speakers, all intervals are.

    Args:
        metric: A function of two score vectors that returns a number, or a tuple that begins with
            it; options by ``functools.partial(compute_eer, method=…)``. Scores are sorted only
            once for ``compute_eer``, ``compute_min_dcf``, ``compute_act_dcf``, ``compute_cllr``,
            ``compute_min_cllr`` and ``compute_min_tdcf``; others are called on each resample.
        bonafide, spoof: Scores (B,) and (S,).
        confidence: Above 0 and below 1.
        draws: see :class:`Draws`.

    Raises:
        InputError: if a class is empty, a score is NaN, groups do not fit the scores, or a setting
            is out of range.

    >>> from nes2net.metrics import compute_eer
    >>> rng = np.random.default_rng(0)
    >>> low, high = bootstrap_interval(compute_eer, rng.normal(2, 1, 500), rng.normal(0, 1, 500))
    >>> round(low, 2), round(high, 2)
    (0.12, 0.16)
    """
    (result,), values = measure_and_resample([metric], *check_classes(bonafide, spoof), **draws)
    function = metric.func if isinstance(metric, functools.partial) else metric
    if function is not compute_eer:
        return percentiles(values[:, 0], confidence)
    num_trials = num_trials_by_rate(np.size(bonafide), np.size(spoof))["eer"]
    return rate_interval(result[0], values[:, 0], num_trials, confidence)


def rate_interval(rate: float, draws: ArrayLike, num_trials: float, confidence: float = 0.95) -> Interval:
    """Compute the interval ``(low, high)`` of an error rate from its bootstrap draws.

    It is Wilson's interval for an effective number of trials: so many independent trials vary as
    much as the draws. Franco, Little, Louis and Slud, "Comparative study of confidence intervals
    for proportions in complex sample surveys", Journal of Survey Statistics and Methodology 7,
    2019.

    With few errors, draws vary too little. Their variance is therefore averaged with the variance
    of ``num_trials`` independent trials, with the number of errors and ten as weights, if the
    average is larger. In simulations with 40 bona fide and 400 spoofed trials and an EER of 2.3 %,
    95 % intervals contain the EER in 97 %, percentile intervals in 80 % of cases.

    Args:
        rate: The error rate on all trials, in [0, 1].
        draws: Rates of the resamples, (R,).
        num_trials: As if independent; see :func:`num_trials_by_rate`.
        confidence: Between 0 and 1.

    Raises:
        InputError: if ``confidence`` is out of range.

    >>> [round(bound, 3) for bound in rate_interval(0.0, np.zeros(1000), 100)]
    [0.0, 0.037]
    """
    check_setting("confidence", confidence, 0 < confidence < 1, "between 0 and 1")
    values = np.asarray(draws, dtype=np.float64)
    mean = float(values.mean())
    variance = float(values.var())
    # A rate p over n trials has the variance p · (1 − p) / n. Equal draws have the variance 0: use
    # 1/num_trials instead.
    inverse_of_trials = inverse_of_draws = 1 / num_trials
    if variance:
        inverse_of_draws = variance / (mean * (1 - mean))
    errors = min(rate, 1 - rate) * num_trials
    average = (errors * inverse_of_draws + _ERRORS * inverse_of_trials) / (errors + _ERRORS)
    return wilson_interval(rate, 1 / max(inverse_of_draws, average), confidence)


def num_trials_by_rate(num_bonafide: int, num_spoof: int) -> dict[str, float]:
    """Map the EER and the fields of Rates to the ``num_trials`` of :func:`rate_interval`.

    The mean of two classes' error rates varies like one rate of 4 / (1/B + 1/S) trials (Bengio and
    Mariéthoz, "A statistical significance test for person authentication", Odyssey 2004). The
    denominator of F1 is about 2·S: the spoofed trials plus the rejected trials.
    """
    of_both = 4 / (1 / num_bonafide + 1 / num_spoof)
    return {
        "miss": num_bonafide,
        "false_alarm": num_spoof,
        "hter": of_both,
        "eer": of_both,
        "macro_f1": of_both,
        "accuracy": num_bonafide + num_spoof,
        "f1": 2 * num_spoof,
    }


def bootstrap_values(
    metrics: Sequence[Callable[..., Any]], bonafide: ArrayLike, spoof: ArrayLike, **draws: Unpack[Draws]
) -> NDArray:
    """Compute metrics on the same resamples, (num_resamples, columns).

    ``compute_rates`` has six columns. For the interval of a difference, subtract columns and call
    :func:`percentiles`. Arguments and errors: see :func:`bootstrap_interval`.
    """
    return measure_and_resample(metrics, *check_classes(bonafide, spoof), **draws)[1]


def compare_systems(
    metric: Callable[..., Any],
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    confidence: float = 0.95,
    **draws: Unpack[Draws],
) -> Comparison:
    """Compare two systems on the same trials by a paired bootstrap.

    Shared resamples cancel the effect of trials that are hard for both systems, so the interval of
    the difference is narrower than the two intervals suggest: Bisani and Ney, "Bootstrap estimates
    for confidence intervals in ASR performance evaluation", ICASSP 2004.

    Args:
        first, second: ``(bonafide, spoof)`` scores, (B,) and (S,), of the same trials in the same
            order. Other arguments: see :func:`bootstrap_interval`.

    Returns:
        ``p_value`` is min(1, 2 · (k + 1) / (R + 1)); k is the smaller of the numbers of positive
        and of negative differences in R resamples. A difference of 0 counts half for each.

    Raises:
        InputError: as :func:`bootstrap_interval`, or if the numbers of scores differ.

    >>> from nes2net.metrics import compute_eer
    >>> rng = np.random.default_rng(0)
    >>> bonafide, spoof = rng.normal(2, 1, 500), rng.normal(0, 1, 500)
    >>> noisy = bonafide + rng.normal(0, 0.7, 500), spoof + rng.normal(0, 0.7, 500)
    >>> result = compare_systems(compute_eer, (bonafide, spoof), noisy)
    >>> result.difference < 0, result.p_value < 0.05
    (True, True)
    """
    systems = [check_classes(*scores) for scores in (first, second)]
    counts = [(bonafide.size, spoof.size) for bonafide, spoof in systems]
    if counts[0] != counts[1]:
        raise InputError(
            f"a paired comparison needs the same trials: {counts[0][0]} bona fide and {counts[0][1]} spoof scores of the "
            f"first system, but {counts[1][0]} and {counts[1][1]} of the second: omit trials that one lacks"
        )
    values = []
    resampled = []
    for system in systems:
        (result,), drawn = measure_and_resample([metric], *system, **draws)
        values.append(float(np.ravel(result)[0]))
        resampled.append(drawn[:, 0])
    differences = resampled[0] - resampled[1]
    interval = percentiles(differences, confidence)
    first_value, second_value = values
    return Comparison(first_value, second_value, first_value - second_value, interval, two_sided_p(differences))


def two_sided_p(differences: NDArray) -> float:
    """Compute the p-value of :func:`compare_systems` from differences (R,)."""
    num_below = (differences < 0).sum()
    num_above = (differences > 0).sum()
    num_zero = differences.size - num_below - num_above
    rarer_sign = min(num_below, num_above) + num_zero / 2
    return min(1.0, 2 * (float(rarer_sign) + 1) / (differences.size + 1))


def wilson_interval(share: float, number: float, confidence: float = 0.95) -> Interval:
    """Compute Wilson's interval of ``share``, a fraction of ``number`` independent trials.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.

    >>> [round(bound, 3) for bound in wilson_interval(0.75, 4)]
    [0.301, 0.954]
    """
    from scipy.special import ndtri  # for a fast start-up: scoring does not need SciPy

    z_squared = float(ndtri((1 + confidence) / 2)) ** 2
    scale = 1 + z_squared / number
    centre = (share + z_squared / (2 * number)) / scale
    half_width = math.sqrt(z_squared * (share * (1 - share) / number + z_squared / (4 * number**2))) / scale
    # Rounding must not put the share outside of the interval, or the interval outside of 0 … 1.
    return max(0.0, min(share, centre - half_width)), min(1.0, max(share, centre + half_width))


def percentiles(values: NDArray, confidence: float) -> Interval:
    """Find the interval of the middle fraction ``confidence`` of ``values``; equal tails.

    Raises:
        InputError: if ``confidence`` does not lie between 0 and 1.
    """
    check_setting("confidence", confidence, 0 < confidence < 1, "between 0 and 1")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def measure_and_resample(
    metrics: Sequence[Callable[..., Any]],
    *classes: NDArray,
    num_resamples: int = 1000,
    seed: int = 0,
    drawing: Drawing | None = None,
    **groups: Unpack[Groups],
) -> tuple[list[Any], NDArray]:
    """Compute metrics of checked scores on all trials, and :func:`bootstrap_values`; see there.

    Each resample has its own generator, so threads do not change the result.
    """
    check_draws(num_resamples, seed)
    drawings = [drawing] if drawing else _drawings(seed, len(classes[0]), len(classes[1]), **groups)
    results = [metric(*classes) for metric in metrics]
    values = itertools.chain.from_iterable(
        _values_of_resamples(metrics, classes, drawing, num_resamples) for drawing in drawings
    )
    draws = bootstrap_progress(values, num_resamples * len(drawings))
    drawn = np.array(list(draws)).reshape(len(drawings), num_resamples, -1)  # drawings × resamples × columns
    if groups.get("spoof_attacks") is None:
        return results, drawn[0]
    # Add the distances of the draws from their means to the metric of all trials, enlarged because few clusters vary
    # too little. The sums are clipped to 0 … 1, or to the range of draws outside of it.
    sample = np.concatenate([np.ravel(figures_of(result)) for result in results])
    factors = [spread_factor(drawing.num_clusters) for drawing in drawings]
    distances = np.tensordot(factors, drawn - drawn.mean(axis=1, keepdims=True), axes=1)
    lowest = np.minimum(0, drawn.min(axis=(0, 1)))
    highest = np.maximum(1, drawn.max(axis=(0, 1)))
    return results, np.clip(sample + distances, lowest, highest)


def _values_of_resamples(
    metrics: Sequence[Callable[..., Any]], classes: Sequence[NDArray], drawing: Drawing, num_resamples: int
) -> Iterator[NDArray]:
    """Evaluate each resample: yields (columns,)."""
    evaluators = []
    is_quick = True
    for metric in metrics:
        quick = quick_metric(metric, classes, drawing.cells)
        is_quick = is_quick and quick is not None
        evaluators.append(quick or any_metric(metric, classes, drawing.cells))
    num_threads = 0
    # With fewer trials, starting a thread takes longer than the resamples.
    if is_quick and drawing.cells.numbers.size >= 20_000:
        num_threads = usable_processors()
    return values_of_draws(evaluators, drawing, num_resamples, num_threads)


def values_of_draws(
    evaluators: Sequence[Resampled],
    drawing: Drawing,
    num_resamples: int,
    num_threads: int = 0,
) -> Iterator[NDArray]:
    """Evaluate each resample: yields (columns,). With 0 threads, the caller's thread does it."""
    num_together = int(np.clip(_MAX_WEIGHTS // drawing.cells.size, 1, _MAX_CHUNK))

    def resample(start: int) -> NDArray:
        """Compute a group of resamples, beginning with resample ``start``: (resamples, columns)."""
        weights = np.stack([drawing.draw(index) for index in range(start, min(start + num_together, num_resamples))])
        return np.hstack([evaluate(weights).reshape(len(weights), -1) for evaluate in evaluators])

    starts = range(0, num_resamples, num_together)
    if num_threads == 0:
        yield from itertools.chain.from_iterable(map(resample, starts))
        return
    with ThreadPoolExecutor(num_threads) as threads:
        yield from itertools.chain.from_iterable(threads.map(resample, starts))


def spread_factor(num_clusters: int) -> float:
    """Compute the factor by which draws of few clusters (attacks or speakers) vary too little.

    It is 1 for one cluster. Draws of k clusters with standard deviation σ have a variance of (k −
    1)/k · σ², but on average a standard deviation of √((k − 1.5)/k) · σ: Brugger, "A note on
    unbiased estimation of the standard deviation", The American Statistician 23, 1969.
    docs/evaluate.md has the coverage.

    >>> round(spread_factor(8), 3), round(spread_factor(20), 3)
    (1.109, 1.04)
    """
    return math.sqrt(num_clusters / (num_clusters - 1.5)) if num_clusters > 1 else 1.0


def check_draws(num_resamples: int, seed: int) -> None:
    """Raise :class:`InputError` if the number of resamples or the seed is out of range."""
    check_setting("num_resamples", num_resamples, num_resamples >= 1, "at least 1")
    check_setting("seed", seed, seed >= 0, "at least 0")


class Drawing(NamedTuple):
    """Draws of single trials, of speakers, or of attacks."""

    cells: Cells
    draw: Draw
    num_clusters: int
    """Number of trials, speakers or attacks from which is drawn."""


def _drawings(
    seed: int,
    num_bonafide: int,
    num_spoof: int,
    bonafide_groups: Sequence | None = None,
    spoof_groups: Sequence | None = None,
    spoof_attacks: Sequence | None = None,
) -> list[Drawing]:
    """Choose the draws by :class:`Groups`: of trials; of speakers, of attacks, or of both, one after the other.

    Raises InputError if one class lacks groups, lengths differ, or there are under two attacks.
    """
    groups = None  # (B + S,), the number of each trial's speaker
    if bonafide_groups is not None and spoof_groups is not None:
        if (len(bonafide_groups), len(spoof_groups)) != (num_bonafide, num_spoof):
            raise InputError(
                f"one group per score is needed: {num_bonafide} bona fide and {num_spoof} spoof scores, "
                f"but {len(bonafide_groups)} and {len(spoof_groups)} groups: name the group of each score"
            )
        groups = _number_groups(bonafide_groups, spoof_groups)
    elif bonafide_groups is not None or spoof_groups is not None:
        raise InputError(
            "bonafide_groups and spoof_groups are only used together, because speakers are drawn with all their trials: add "
            "the other, or remove both"
        )
    attacks = None  # (S,), the number of each spoofed trial's attack
    num_attacks = 0
    if spoof_attacks is not None:
        names, attacks = np.unique(np.asarray(spoof_attacks), return_inverse=True)
        if len(attacks) != num_spoof or len(names) < 2:
            raise InputError(
                f"attacks are drawn from at least two, one for each spoof score: {num_spoof} spoof scores, but "
                f"{pluralise(attacks, 'name')} of {pluralise(names, 'attack')}: name each, or remove spoof_attacks"
            )
        num_attacks = len(names)
    drawings = []
    if groups is not None:
        cells_of_classes = np.unique(groups[:num_bonafide]), np.unique(groups[num_bonafide:])
        cells = Cells(groups, int(groups.max()) + 1)
        drawings.append(drawing_of_groups(seed, cells, cells_of_classes, num_attacks))
    if attacks is not None:
        drawings.append(_drawing_of_attacks(seed, attacks, num_bonafide, has_groups=groups is not None))
    return drawings or [drawing_of_trials(seed, num_bonafide, num_spoof)]


def drawing_of_trials(seed: int, *sizes: int) -> Drawing:
    """Draw single trials of classes of ``sizes``, so many of each class."""

    def draw(index: int) -> NDArray:
        # Another order of draws would change every published interval.
        rng = np.random.default_rng([seed, index])
        return np.concatenate([draw_counts(rng, size) for size in sizes])

    return Drawing(single_trials(sum(sizes)), draw, sum(sizes))


def drawing_of_groups(seed: int, cells: Cells, cells_of_classes: Sequence[NDArray], num_attacks: int = 0) -> Drawing:
    """Draw whole cells, again until each class has a trial; ``cells_of_classes`` are the indices of its cells."""

    def draw(index: int) -> NDArray:
        sizes = (num_attacks,) if num_attacks else ()  # skip the random numbers of _drawing_of_attacks()
        # One more size continues the same random numbers: the further draw is new, but its beginning comes from the
        # cache.
        while True:
            sizes = (*sizes, cells.size)
            counts = _last_counts(seed, index, sizes)
            if all(counts[of_class].any() for of_class in cells_of_classes):
                return counts

    return Drawing(cells, draw, cells.size)


def _drawing_of_attacks(seed: int, attacks: NDArray, num_bonafide: int, *, has_groups: bool) -> Drawing:
    # Cells: each attack, and each bona fide trial, or all bona fide trials if groups are drawn.
    num_attacks = int(attacks.max()) + 1
    cells_of_bonafide = np.zeros(num_bonafide, dtype=np.int64) if has_groups else np.arange(num_bonafide)
    num_cells = int(cells_of_bonafide.max()) + 1
    cells = Cells(np.concatenate((cells_of_bonafide, num_cells + attacks)), num_cells + num_attacks)

    def draw(index: int) -> NDArray:
        """Counts of bona fide trials, all 1 if there are groups, then of attacks."""
        times = _last_counts(seed, index, (num_attacks,))
        counts = np.ones(1, dtype=np.int64)
        if not has_groups:
            # After the draw of attacks, so that its random numbers are not used twice.
            counts = _last_counts(seed, index, (num_attacks, num_bonafide))
        return np.concatenate((counts, times))

    return Drawing(cells, draw, num_attacks)


def _number_groups(bonafide_groups: Sequence, spoof_groups: Sequence) -> NDArray:
    number_of: dict[Any, int] = {}  # group → index of the group
    # (B + S,)
    return np.array([number_of.setdefault(group, len(number_of)) for group in (*bonafide_groups, *spoof_groups)])


def _last_counts(seed: int, index: int, sizes: tuple[int, ...]) -> NDArray:
    """Draw each of ``sizes`` in turn and return the last counts, cached: do not change them."""
    draw = _cached_counts if max(sizes) <= _MAX_CACHED else _cached_counts.__wrapped__
    return draw(seed, index, sizes)


@functools.lru_cache(maxsize=4096)
def _cached_counts(seed: int, index: int, sizes: tuple[int, ...]) -> NDArray:
    rng = np.random.default_rng([seed, index])
    return [draw_counts(rng, size) for size in sizes][-1]


def draw_counts(rng: np.random.Generator, size: int) -> NDArray:
    """Count (size,) how often each item is drawn in ``size`` draws with replacement."""
    return np.bincount(rng.integers(size, size=size), minlength=size)
