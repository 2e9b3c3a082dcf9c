"""Describe what is usual among a calibration's recordings, and test whether new recordings are like them.

In reading order: ``usual_of`` makes ``UsualValues`` for each trait of a calibration's recordings.
``UsualValues`` holds the range of usual values of a trait, and the distribution of the share of
recordings that lie outside of this range by chance. ``compare`` makes a ``Comparison`` for each
trait.

New recordings have no labels, so the tests count how many new recordings lie outside of the ranges
that hold 95 % of the calibration's recordings. The ranges are estimated from N recordings. If two
order statistics are the ends of a range, the share of recordings outside of the range has a Beta
distribution, whatever the distribution of the trait: Wilks, "Determination of sample sizes for
setting tolerance limits", Annals of Mathematical Statistics 12, 1941. Among n new recordings, the
number of recordings outside of the range is therefore beta-binomial. A binomial test against 5 %
would ignore that the range was estimated from few recordings. With a calibration on 100 recordings
and 500 new recordings like these, a binomial test would give p ≤ 0.01 in a third of all cases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom

from nes2net.lib.errors import InputError
from nes2net.scoring.decisions.calibration import LinearCalibration
from nes2net.scoring.decisions.population import FEWEST, SCALARS, SHOWN, Population, Traits

# Expected share of recordings outside of a usual range. The usual ranges of a :class:`Population` leave out the same
# share.
_OUTSIDE = 0.05
# Largest number of new recordings that :func:`compare` tries when it searches for the smallest number that can show
# drift. With a calibration on 10 recordings, 5 new recordings suffice.
_MOST_NEEDED = 10_000


class Shift(NamedTuple):
    """The side of the calibration's median on which most new recordings lie, and how probable such a majority is."""

    side: str
    """``"below"`` or ``"above"``."""
    share: float
    """Share of the recordings on this side."""
    p_value: float
    """Probability that chance puts so many recordings on one side."""


@dataclass(frozen=True)
class UsualValues:
    """The usual values of one trait among a calibration's recordings, and how many recordings are unusual by chance."""

    name: str
    """Name of the trait, such as ``"llr"`` or ``"level"``."""
    ranges: tuple[tuple[float, float], ...]
    """The lowest and the highest usual value; or several such ranges, which may overlap."""
    chance: tuple[tuple[float, float], ...]
    """The two parameters of the Beta distribution of the share of recordings outside of the ranges:
    one pair, or a pair for each range."""
    value_of: Callable[[float, Traits], float | None]
    """Gives the value of a recording from its score and its traits; None if the recording lacks the trait."""
    factor: float = 1
    unit: str = ""
    """Unit in which values are shown to people, after multiplication by ``factor``; empty for no unit."""
    middle: float | None = None
    """The median of the trait over the calibration's recordings; None if the calibration does not hold the median."""
    number: int = 0
    """Number of recordings in the calibration; ``middle`` is the median of these recordings."""
    words: str = ""
    """The usual values in words; if empty, the ranges are written instead."""
    unusual: str = ""
    """A verb phrase about unusual recordings, such as ``"are unfit to decide on"``; if empty,
    unusual recordings "lie outside of" the ranges."""

    @property
    def is_measured(self) -> bool:
        """Whether the values are measured numbers, such as levels, whose median is shown.

        P-values and the verdict "unfit" are not measured; :attr:`words` describes their usual
        values.
        """
        return not self.words

    @property
    def expected(self) -> float:
        """Expected share of recordings outside of the ranges, among recordings that are like the calibration's."""
        return max(outside / (outside + inside) for outside, inside in self.chance)

    def shown(self, value: float) -> str:
        """Format a value for people: with few digits, and multiplied by the factor if there is a unit."""
        return f"{self.factor * value:.1f}" if self.unit else f"{value:.3g}"

    @property
    def merged(self) -> list[tuple[float, float]]:
        """The ranges in ascending order; ranges that overlap are joined."""
        merged: list[tuple[float, float]] = []
        for low, high in sorted(self.ranges):
            if merged and low <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        return merged

    @property
    def in_words(self) -> str:
        """The usual ranges in words."""
        if self.words:
            return self.words
        ranges = [f"{self.shown(low)} to {self.shown(high)}" for low, high in self.merged]
        return f"{' or '.join(ranges)} {self.unit}".strip()

    def is_outside(self, values: NDArray) -> NDArray:
        """Whether each of ``values`` (n,) lies outside of all :attr:`ranges`."""
        is_usual = np.zeros(len(values), bool)
        for low, high in self.ranges:
            is_usual |= (low <= values) & (values <= high)
        return ~is_usual

    def p_values(self, number: int) -> NDArray:
        """Compute, for k = 0 to ``number``, the probability that k or more recordings lie outside of the ranges.

        The probability may differ between bona fide and spoofed recordings. The share of each class
        among the new recordings is not known, so the larger probability is taken.

        Args:
            number: number of new recordings, which are taken to be like the calibration's.

        Returns:
            (number + 1,): element k is the p-value if k recordings lie outside of the ranges.
        """
        return np.max([_tail_probabilities(number, parameters) for parameters in self.chance], axis=0)

    def least_p(self, number: int) -> float:
        """Compute the smallest possible p-value: all of ``number`` recordings lie outside of the ranges."""
        return max(float(betabinom.pmf(number, number, *parameters)) for parameters in self.chance)

    def shift(self, values: NDArray) -> Shift | None:
        """Test whether more than half of ``values`` (n,) lie on one side of the calibration's median.

        The test is two-sided. The result is None if the calibration's median (:attr:`middle`) is
        not known.
        """
        if self.middle is None:
            return None
        below = int((values < self.middle).sum())
        above = int((values > self.middle).sum())
        side = "below" if below > above else "above"
        number_there = max(below, above)
        half = (self.number + 1) / 2
        p_value = min(1.0, 2 * float(_tail_probabilities(len(values), (half, half))[number_there]))
        return Shift(side, number_there / len(values), p_value)


@dataclass(frozen=True)
class Comparison:
    """The result of a test of one trait: whether more new recordings are unusual than chance explains."""

    usual: UsualValues
    values: NDArray
    """(n,): the values of the new recordings that have the trait."""
    p_value: float
    """Probability that chance makes at least the observed number of new recordings unusual."""
    adjusted_p: float
    """The p-value after Holm's correction for the number of tests (Scandinavian Journal of Statistics 6, 1979)."""
    fewest: int
    """Among n new recordings, the smallest number of unusual recordings that shows drift, whatever
    the tests of other traits find; n + 1 if there is no such number."""
    num_needed: int
    """The smallest n with which this test can show drift."""

    @property
    def is_powerless(self) -> bool:
        """Whether the recordings are too few to show drift, even if all of them are unusual."""
        return self.fewest > len(self.values)

    @property
    def name(self) -> str:
        """Name of the trait."""
        return self.usual.name

    @property
    def outside(self) -> float:
        """Share of the new recordings that are unusual."""
        return float(self.usual.is_outside(self.values).mean())

    @property
    def median(self) -> str:
        """The median of the trait over the new recordings, as a text with its unit.

        The text is a dash if the values are not measured numbers (:attr:`UsualValues.is_measured`).
        """
        if not self.usual.is_measured:
            return "–"
        return f"{self.usual.shown(float(np.median(self.values)))} {self.usual.unit}".strip()

    @property
    def median_before(self) -> str:
        """The median of the trait over the calibration's recordings, as a text with its unit; a dash if not known."""
        if self.usual.middle is None:
            return "–"
        return f"{self.usual.shown(self.usual.middle)} {self.usual.unit}"

    @property
    def in_words(self) -> str:
        """The result of the test as a sentence without a full stop."""
        unusual = self.usual.unusual or f"lie outside of {self.usual.in_words}"
        median = f"; their median is {self.median}" if self.usual.is_measured else ""
        shares = (100 * self.outside, 100 * self.usual.expected)
        return f"{self.name}: {shares[0]:.0f} % of the recordings {unusual} ({shares[1]:.0f} % expected){median}"


def usual_of(calibration: LinearCalibration) -> list[UsualValues]:
    """Find the usual ranges of log-likelihood ratios and traits among the recordings of ``calibration``.

    The list has a :class:`UsualValues` object for the ratios, for each trait, for all traits
    together, and for the verdict "unfit".

    Raises:
        InputError: if the calibration holds neither the ratios of 10 trials of each class nor the
            traits of 10 recordings.
    """
    all_usual = []
    # Each class has a range of log-likelihood ratios. A ratio is usual if it lies in the range of either class.
    llrs = calibration.llrs
    if llrs is not None and min(map(len, llrs)) >= FEWEST:
        ranges = []
        chance = []
        for class_llrs in llrs:
            low, high = np.quantile(class_llrs, (_OUTSIDE / 2, 1 - _OUTSIDE / 2))
            ranges.append((float(low), float(high)))
            chance.append(_beta_of_share_outside(len(class_llrs), 2))

        def llr_of(score: float, traits: Traits) -> float:
            return float(calibration([score])[0])

        all_usual.append(UsualValues("llr", tuple(ranges), tuple(chance), llr_of))
    population = calibration.population
    if population is not None and population.num_recordings >= FEWEST:
        all_usual += _usual_traits(population)
    if not all_usual:
        raise InputError(
            f"the calibration holds no ratios and no traits of at least {FEWEST} recordings to compare with: make it "
            "again with `nes2net calibrate recordings`"
        )
    return all_usual


def _usual_traits(population: Population) -> list[UsualValues]:
    number = population.num_recordings
    edges = population.edges()
    usual_traits = []
    # The scalar traits.
    for name in SCALARS:
        factor, unit = SHOWN[name]

        def scalar_of(score: float, traits: Traits, name: str = name) -> float:
            return float(getattr(traits, name))

        low, middle, high = edges[name]
        chance = (_beta_of_share_outside(number, 2),)
        usual_traits.append(UsualValues(name, ((low, high),), chance, scalar_of, factor, unit, middle, number))
    # The distance of the embedding, if the calibration has embeddings.
    if (model := population.embeddings) is not None:

        def distance_of(score: float, traits: Traits) -> float | None:
            """Compute how far an embedding is from the nearer class mean of the calibration's embeddings.

            For :attr:`UsualValues.value_of`; None if the recording has no embedding.
            """
            if traits.embedding is None:
                return None
            return float(model.distance(traits.embedding[None].astype(np.float64))[0])

        low, _, high = edges["embedding"]
        chance = (_beta_of_share_outside(number, 1),)
        usual_traits.append(UsualValues("embedding", ((low, high),), chance, distance_of))
    # A conformal p-value is at most 0.05 if the recording is among the ``num_unusual`` most unusual recordings.
    if (num_unusual := math.floor(_OUTSIDE * (number + 1))) > 0:
        usual_p = (math.nextafter(num_unusual / (number + 1), 1), 1.0)
        chance = ((float(num_unusual), float(number + 1 - num_unusual)),)

        def p_value_of(score: float, traits: Traits) -> float:
            return population.typicality(traits).p_value

        words = f"p > {_OUTSIDE:g}"
        unusual = f"are unusual, with p ≤ {_OUTSIDE:g}"
        usual_traits.append(UsualValues("all traits", (usual_p,), chance, p_value_of, words=words, unusual=unusual))

    def unfit_of(score: float, traits: Traits) -> float:
        return float(bool(traits.unfit))

    # A calibration does not state how many of its recordings are unfit; a share of 5 % is an assumption.
    chance = ((_OUTSIDE * (number + 1), (1 - _OUTSIDE) * (number + 1)),)
    unfit = UsualValues("unfit", ((0.0, 0.0),), chance, unfit_of, words="fit", unusual="are unfit to decide on")
    return [*usual_traits, unfit]


def _beta_of_share_outside(number: int, num_tails: int) -> tuple[float, float]:
    """Compute the two parameters of the Beta distribution of the share of recordings outside of a usual range.

    The ends of the range are quantiles of a trait over the ``number`` recordings of a calibration.
    The sorted values of the trait leave ``number`` + 1 gaps: before the first value, between two
    values and after the last value. On average, each gap holds the same share of new recordings.
    Below the 2.5 % quantile, there are 1 + 0.025 · (``number`` − 1) gaps.

    Args:
        number: number of recordings of the calibration.
        num_tails: 2 for a range with two ends, 1 for a range that only has an upper end.
    """
    outside = num_tails * (1 + _OUTSIDE / 2 * (number - 1))
    return outside, number + 1 - outside


def _tail_probabilities(number: int, parameters: tuple[float, float]) -> NDArray:
    """Compute, for k = 0 to ``number``, the probability that a beta-binomial count out of ``number`` is at least k.

    The probabilities have the shape (number + 1,). ``parameters`` are the two parameters of the
    Beta distribution.
    """
    probabilities = betabinom.pmf(np.arange(number + 1), number, *parameters)
    return np.minimum(1.0, np.cumsum(probabilities[::-1])[::-1])


def compare(all_usual: Sequence[UsualValues], values: Mapping[str, NDArray], alpha: float) -> list[Comparison]:
    """Test, for each trait, whether new recordings are like a calibration's; find how few recordings can show drift.

    Traits without values are left out; at least one trait must have values.

    Args:
        all_usual: the usual ranges, as :func:`usual_of` returns them.
        values: name of a trait (:attr:`UsualValues.name`) → values (n,) of the new recordings.
        alpha: probability that at least one test finds drift if there is no drift.

    Returns:
        The comparisons, in the order of ``all_usual``; the search for their ``num_needed`` stops at
        10,000.
    """
    # Compare only the traits that new recordings have.
    compared = [usual for usual in all_usual if len(values.get(usual.name, ()))]
    # For each trait, compute an array of p-values: element k is the p-value if k recordings lie outside of the usual
    # ranges.
    all_p_values = [usual.p_values(len(values[usual.name])) for usual in compared]
    p_values = []
    for usual, by_number in zip(compared, all_p_values):
        p_values.append(float(by_number[usual.is_outside(values[usual.name]).sum()]))
    comparisons = []
    for usual, by_number, p_value, adjusted_p in zip(compared, all_p_values, p_values, holm(p_values)):
        fewest = int((len(compared) * by_number > alpha).sum())  # p-values fall as more recordings lie outside
        num_needed = 1
        while num_needed < _MOST_NEEDED and len(compared) * usual.least_p(num_needed) > alpha:
            num_needed += 1
        comparisons.append(Comparison(usual, values[usual.name], p_value, adjusted_p, fewest, num_needed))
    return comparisons


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for the number of tests, by Holm's step-down procedure.

    >>> [round(p, 3) for p in holm([0.01, 0.5, 0.04])]
    [0.03, 0.5, 0.08]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.array(p_values)[order]))
    return adjusted.tolist()
