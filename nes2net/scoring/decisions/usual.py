"""Describe what is usual among a calibration's recordings, and test whether new recordings are like them.

In reading order: ``usual_of`` makes ``UsualValues`` of each trait; ``compare`` makes a
``DriftTest`` of each with new recordings.

New recordings have no labels, so the tests count those outside of the ranges of 95 % of the
calibration's N recordings. If the ends of a range are order statistics, the share outside has a
Beta distribution, whatever the trait's distribution: Wilks, "Determination of sample sizes for
setting tolerance limits", Annals of Mathematical Statistics 12, 1941. The count among n new
recordings is therefore beta-binomial. A binomial test against 5 % would ignore that the range is
estimated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from nes2net.lib.errors import InputError
from nes2net.metrics.intervals import Interval
from nes2net.scoring.decisions.calibration import LinearCalibration
from nes2net.scoring.decisions.population import MIN_REFERENCE, SCALARS, SHOWN, Population, Traits

# Expected share of recordings outside of a usual range. The usual ranges of a :class:`Population` leave out the same
# share.
_OUTSIDE = 0.05
# Most new recordings that :func:`compare` tries, to find the fewest that can show drift; with a calibration on 10, 5
# suffice.
_MAX_MEASURED = 10_000


class Shift(NamedTuple):
    """The side of the calibration's median with most new recordings."""

    side: str
    """``"below"`` or ``"above"``."""
    share: float
    """Share on this side."""
    p_value: float
    """Probability of so many on one side by chance."""


@dataclass(frozen=True)
class UsualValues:
    """Usual values of a trait, and how many recordings are unusual by chance."""

    name: str
    """Such as ``"llr"`` or ``"level"``."""
    ranges: tuple[Interval, ...]
    """The lowest and highest usual value; several ranges are in ascending order, with gaps."""
    beta_parameters: tuple[tuple[float, float], ...]
    """Of the Beta distribution of the share outside of the ranges: one pair, or one for each class."""
    factor: float = 1
    """Values are multiplied by this factor before they are shown in ``unit``."""
    unit: str = ""
    middle: float | None = None
    """Median over the calibration's recordings; None if unknown."""
    number: int = 0
    """Recordings of the calibration."""
    words: str = ""
    """Usual values in words, in place of the ranges."""
    unusual: str = ""
    """Verb phrase about unusual recordings, such as ``"are unfit to decide on"``; by default "lie
    outside of" the ranges."""

    @property
    def is_measured(self) -> bool:
        """Whether values are numbers with a median, such as levels, and not p-values or "unfit"."""
        return not self.words

    @property
    def expected(self) -> float:
        """Expected share outside of the ranges."""
        return max(outside / (outside + inside) for outside, inside in self.beta_parameters)

    def format_value(self, value: float) -> str:
        """Format a value for people, in few digits."""
        return f"{self.factor * value:.1f}" if self.unit else f"{value:.3g}"

    @property
    def in_words(self) -> str:
        """The usual ranges in words."""
        if self.words:
            return self.words
        ranges = [f"{self.format_value(low)} to {self.format_value(high)}" for low, high in self.ranges]
        return f"{' or '.join(ranges)} {self.unit}".strip()

    def is_outside(self, values: NDArray) -> NDArray:
        """Whether ``values`` (n,) lie outside of all :attr:`ranges`."""
        is_usual = np.zeros(len(values), bool)
        for low, high in self.ranges:
            is_usual |= (low <= values) & (values <= high)
        return ~is_usual

    def p_values(self, number: int) -> NDArray:
        """p-values (number + 1,): element k is the probability that k or more of ``number`` like
        recordings lie outside.

        If it differs between bona fide and spoofed recordings, the larger one is taken, because the
        classes of new recordings are unknown.
        """
        return np.max([_tail_probabilities(number, parameters) for parameters in self.beta_parameters], axis=0)

    def least_p(self, number: int) -> float:
        """The p-value if all of ``number`` recordings lie outside."""
        return max(float(betabinom.pmf(number, number, *parameters)) for parameters in self.beta_parameters)

    def shift(self, values: NDArray) -> Shift | None:
        """Test, two-sided, whether most ``values`` (n,) lie on one side of :attr:`middle`; None if that is unknown."""
        if self.middle is None:
            return None
        below = int((values < self.middle).sum())
        above = int((values > self.middle).sum())
        side = "below" if below > above else "above"
        number_there = max(below, above)
        half = (self.number + 1) / 2  # the median is the (N + 1)/2-th lowest of the calibration's N values
        at_least = _tail_probabilities(len(values), (half, half))  # by number on one side
        p_value = min(1.0, 2 * float(at_least[number_there]))
        return Shift(side, number_there / len(values), p_value)


@dataclass(frozen=True)
class DriftTest:
    """The test whether more new recordings are unusual than by chance."""

    usual: UsualValues
    values: NDArray
    """(n,): values of the new recordings that have the trait."""
    p_value: float
    """Probability of at least so many unusual recordings by chance."""
    adjusted_p: float
    """After Holm's correction (Scandinavian Journal of Statistics 6, 1979)."""
    fewest: int
    """Smallest number of unusual ones among n that shows drift, whatever other tests find; n + 1 if none does."""
    num_needed: int
    """Smallest n with which this test can show drift."""

    @property
    def is_powerless(self) -> bool:
        """Whether the recordings are too few to show drift, even if all are unusual."""
        return self.fewest > len(self.values)

    @property
    def name(self) -> str:
        """Name of the trait."""
        return self.usual.name

    @property
    def outside(self) -> float:
        """Share of unusual new recordings."""
        return float(self.usual.is_outside(self.values).mean())

    @property
    def median(self) -> str:
        """Median over the new recordings with its unit; a dash if not measured (:attr:`UsualValues.is_measured`)."""
        if not self.usual.is_measured:
            return "–"
        return f"{self.usual.format_value(float(np.median(self.values)))} {self.usual.unit}".strip()

    @property
    def median_before(self) -> str:
        """Median over the calibration's recordings with its unit; a dash if unknown."""
        if self.usual.middle is None:
            return "–"
        return f"{self.usual.format_value(self.usual.middle)} {self.usual.unit}"

    @property
    def in_words(self) -> str:
        """The result as a sentence without full stop."""
        unusual = self.usual.unusual or f"lie outside of {self.usual.in_words}"
        median = f"; their median is {self.median}" if self.usual.is_measured else ""
        expected = f"{100 * self.usual.expected:.0f} % expected"
        return f"{self.name}: {100 * self.outside:.0f} % of the recordings {unusual} ({expected}){median}"


def usual_of(calibration: LinearCalibration) -> list[UsualValues]:
    """Find the usual ranges of ratios, of each trait, of all traits together, and of "unfit".

    Raises:
        InputError: if the calibration holds neither the ratios of 10 trials of each class nor the
            traits of 10 recordings.
    """
    all_usual = []
    # Each class has a range of log-likelihood ratios. A ratio is usual if it lies in the range of either class.
    llrs = calibration.llrs
    if llrs is not None and min(map(len, llrs)) >= MIN_REFERENCE:
        quantiles = (_OUTSIDE / 2, 1 - _OUTSIDE / 2)
        lower, upper = sorted(tuple(np.quantile(class_llrs, quantiles).tolist()) for class_llrs in llrs)
        ranges: tuple[Interval, ...] = (lower, upper)
        if upper[0] <= lower[1]:  # the ranges of the classes overlap
            ranges = ((lower[0], max(lower[1], upper[1])),)
        beta_parameters = tuple(_beta_of_share_outside(len(class_llrs), 2) for class_llrs in llrs)
        all_usual.append(UsualValues("llr", ranges, beta_parameters))
    if rule := calibration.rule:
        beta = (rule.k, rule.number + 1 - rule.k)
        all_usual.append(UsualValues("score", ((rule.threshold, math.inf),), (beta,), unusual="are unusual"))
    population = calibration.population
    if population is not None and population.num_recordings >= MIN_REFERENCE:
        all_usual += _usual_traits(population)
    if not all_usual:
        raise InputError(
            f"the calibration holds no ratios and no traits of at least {MIN_REFERENCE} recordings to compare with: make it "
            "again with `nes2net calibrate recordings`"
        )
    return all_usual


def _usual_traits(population: Population) -> list[UsualValues]:
    number = population.num_recordings
    edges = population.edges()
    usual_traits = []
    for name in SCALARS:
        factor, unit = SHOWN[name]
        low, middle, high = edges[name]
        beta = _beta_of_share_outside(number, 2)
        usual_traits.append(UsualValues(name, ((low, high),), (beta,), factor, unit, middle, number))
    if population.has_embeddings:
        low, _, high = edges["embedding"]
        usual_traits.append(UsualValues("embedding", ((low, high),), (_beta_of_share_outside(number, 1),)))
    # A conformal p-value is at most 0.05 if the recording is among the ``num_unusual`` most unusual recordings.
    if (num_unusual := math.floor(_OUTSIDE * (number + 1))) > 0:
        usual_p = (math.nextafter(num_unusual / (number + 1), 1), 1.0)
        beta = (num_unusual, number + 1 - num_unusual)
        unusual = f"are unusual, with p ≤ {_OUTSIDE:g}"
        words = f"p > {_OUTSIDE:g}"
        usual_traits.append(UsualValues("all traits", (usual_p,), (beta,), words=words, unusual=unusual))
    # A calibration does not state how many of its recordings are unfit; a share of 5 % is an assumption.
    beta = (_OUTSIDE * (number + 1), (1 - _OUTSIDE) * (number + 1))
    unfit = UsualValues("unfit", ((0.0, 0.0),), (beta,), words="fit", unusual="are unfit to decide on")
    return [*usual_traits, unfit]


def trait_values(calibration: LinearCalibration, score: float, traits: Traits) -> dict[str, float]:
    """Trait (:attr:`UsualValues.name`) → value of a recording, for those that it and the calibration have."""
    name = "score" if calibration.genuine else "llr"
    values = {name: float(calibration([score])[0]), "unfit": float(bool(traits.unfit))}
    population = calibration.population
    if population is None:
        return values
    values |= {name: float(getattr(traits, name)) for name in SCALARS}
    values["all traits"] = population.typicality(traits).p_value
    if population.embeddings is not None and traits.embedding is not None:
        values["embedding"] = population.embeddings.distance_of(traits.embedding)
    return values


def _beta_of_share_outside(number: int, num_tails: int) -> tuple[float, float]:
    """Beta parameters of the share of recordings outside of a usual range with ``num_tails`` ends, 1 or 2.

    The ``number`` sorted values leave ``number`` + 1 gaps, which hold equal shares on average;
    1 + 0.025 · (``number`` − 1) gaps lie below the 2.5 % quantile.
    """
    outside = num_tails * (1 + _OUTSIDE / 2 * (number - 1))
    return outside, number + 1 - outside


def _tail_probabilities(number: int, parameters: tuple[float, float]) -> NDArray:
    """(number + 1,): probability that a beta-binomial count out of ``number`` is at least k."""
    probabilities = betabinom.pmf(np.arange(number + 1), number, *parameters)
    return np.minimum(1.0, np.cumsum(probabilities[::-1])[::-1])


def compare(all_usual: Sequence[UsualValues], values: Mapping[str, NDArray], alpha: float) -> list[DriftTest]:
    """Test each trait of new recordings; find how few recordings can show drift.

    Args:
        values: trait (:attr:`UsualValues.name`) → values (n,); at least one trait, others are
            omitted.
        alpha: probability that any test finds drift if there is none.

    Returns:
        Comparisons in the order of ``all_usual``; ``num_needed`` is searched up to 10,000.
    """
    compared = [usual for usual in all_usual if len(values.get(usual.name, ()))]
    # For each trait, element k is the p-value if k recordings lie outside of the usual ranges.
    all_p_values = [usual.p_values(len(values[usual.name])) for usual in compared]
    p_values = [
        float(by_number[usual.is_outside(values[usual.name]).sum()]) for usual, by_number in zip(compared, all_p_values)
    ]
    comparisons = []
    for usual, by_number, p_value, adjusted_p in zip(compared, all_p_values, p_values, holm(p_values)):
        fewest = int((len(compared) * by_number > alpha).sum())  # p-values fall as more recordings lie outside
        num_needed = 1
        while num_needed < _MAX_MEASURED and len(compared) * usual.least_p(num_needed) > alpha:
            num_needed += 1
        comparisons.append(DriftTest(usual, values[usual.name], p_value, adjusted_p, fewest, num_needed))
    return comparisons


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down procedure.

    >>> [round(p, 3) for p in holm([0.01, 0.5, 0.04])]
    [0.03, 0.5, 0.08]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.array(p_values)[order]))
    return adjusted.tolist()
