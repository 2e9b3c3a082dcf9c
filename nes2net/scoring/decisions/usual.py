"""What is usual among the recordings of a calibration, and tests whether new recordings are like them.

In reading order: ``usual_of`` says what is usual by a calibration; ``Usual`` also says how many
recordings lie outside of it by chance; ``compare`` makes a ``Comparison`` by each trait.

New recordings have no labels, so the tests ask how many of them lie outside of the ranges that
hold 95 % of the calibration's recordings. These ranges are themselves estimated, from N recordings.
The share outside of a range between two order statistics has a Beta distribution, however the trait
is distributed: Wilks, "Determination of sample sizes for setting tolerance limits", Annals of
Mathematical Statistics 12, 1941. The number outside among n new recordings is therefore
beta-binomial. A binomial test against 5 % would forget N: with 100 recordings of the calibration and
500 new ones like them, it has p ≤ 0.01 in a third of all cases.
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

# Share of recordings outside of a usual range, as in the ranges of a population.
_OUTSIDE = 0.05
# The most recordings that can be needed to show anything; a calibration of 10 recordings needs 5.
_MOST_NEEDED = 10_000


class Shift(NamedTuple):
    """On which side of the calibration's median most recordings lie, and whether chance explains it."""

    side: str
    """``"below"`` or ``"above"``."""
    share: float
    """Share of the recordings on this side."""
    p_value: float


@dataclass(frozen=True)
class Usual:
    """What is usual among the recordings of a calibration, and how many lie outside of it by chance."""

    name: str
    ranges: tuple[tuple[float, float], ...]
    """Lowest and highest usual value; several ranges that may overlap, if any of them is usual."""
    chance: tuple[tuple[float, float], ...]
    """Parameters of the Beta distribution of the share outside, of each class if they differ."""
    value_of: Callable[[float, Traits], float | None]
    """The value of a recording, from its score and its traits; None if it has none."""
    factor: float = 1
    unit: str = ""
    """Factor and unit in which values are shown."""
    middle: float | None = None
    """The median of the calibration's recordings; None if it holds none."""
    number: int = 0
    """Number of recordings behind ``middle``."""
    words: str = ""
    """What is usual, in words; empty to write the ranges."""
    unusual: str = ""
    """What other recordings do, in words; empty to write that they lie outside."""

    @property
    def is_trait(self) -> bool:
        """Whether values have a scale to show, unlike p-values and answers to a question."""
        return not self.words

    @property
    def expected(self) -> float:
        """Expected share outside for recordings like the calibration's."""
        return max(outside / (outside + inside) for outside, inside in self.chance)

    def shown(self, value: float) -> str:
        """A value in words, without its unit."""
        if not self.unit:
            return f"{value:.3g}"
        return f"{self.factor * value:.1f}"

    @property
    def merged(self) -> list[tuple[float, float]]:
        """The ranges in rising order; those that overlap are joined."""
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
        """Whether each of ``values`` (n,) lies outside of all ranges."""
        is_usual = np.zeros(len(values), bool)
        for low, high in self.ranges:
            is_usual |= (low <= values) & (values <= high)
        return ~is_usual

    def p_values(self, number: int) -> NDArray:
        """Element k of (number + 1,): the probability that k or more of ``number`` recordings lie outside.

        Of several classes, whose proportion is not known, the one decides that has the largest probability.
        """
        return np.max([_tails(number, parameters) for parameters in self.chance], axis=0)

    def least_p(self, number: int) -> float:
        """The p-value if all of ``number`` recordings lie outside, the smallest that there can be."""
        return max(float(betabinom.pmf(number, number, *parameters)) for parameters in self.chance)

    def shift(self, values: NDArray) -> Shift | None:
        """The share of ``values`` (n,) on one side of the middle, and the p-value of a two-sided test against a half."""
        if self.middle is None:
            return None
        below = int((values < self.middle).sum())
        above = int((values > self.middle).sum())
        side = "below" if below > above else "above"
        number_there = max(below, above)
        half = (self.number + 1) / 2
        p_value = min(1.0, 2 * float(_tails(len(values), (half, half))[number_there]))
        return Shift(side, number_there / len(values), p_value)


@dataclass(frozen=True)
class Comparison:
    """A test whether more recordings lie outside of what is usual than chance explains."""

    usual: Usual
    values: NDArray
    """(n,): values of the recordings that have one."""
    p_value: float
    adjusted_p: float
    """The p-value after Holm's correction for the number of tests (Scandinavian Journal of Statistics 6, 1979)."""
    fewest: int
    """Number of recordings outside from which on there is drift, whatever the other tests say; n + 1 if never."""

    @property
    def name(self) -> str:
        return self.usual.name

    @property
    def outside(self) -> float:
        """Share of the recordings outside of what is usual."""
        return float(self.usual.is_outside(self.values).mean())

    @property
    def median(self) -> str:
        """The median of the recordings in words; a dash if values have no scale."""
        if not self.usual.is_trait:
            return "–"
        return f"{self.usual.shown(float(np.median(self.values)))} {self.usual.unit}".strip()

    @property
    def median_before(self) -> str:
        """The median of the calibration's recordings in words; a dash if the calibration holds none."""
        if self.usual.middle is None:
            return "–"
        return f"{self.usual.shown(self.usual.middle)} {self.usual.unit}"

    @property
    def in_words(self) -> str:
        """What was found, a sentence without a full stop."""
        unusual = self.usual.unusual or f"lie outside of {self.usual.in_words}"
        median = f"; their median is {self.median}" if self.usual.is_trait else ""
        shares = (100 * self.outside, 100 * self.usual.expected)
        return f"{self.name}: {shares[0]:.0f} % of the recordings {unusual} ({shares[1]:.0f} % expected){median}"


def usual_of(calibration: LinearCalibration) -> list[Usual]:
    """What is usual among the recordings of ``calibration``: ratios, traits, all traits together, and being fit.

    Raises:
        InputError: if the calibration holds neither ratios nor traits of 10 recordings.
    """
    all_usual = []
    llrs = calibration.llrs
    if llrs is not None and min(map(len, llrs)) >= FEWEST:
        ranges = []
        chance = []
        for class_llrs in llrs:
            low, high = np.quantile(class_llrs, (_OUTSIDE / 2, 1 - _OUTSIDE / 2))
            ranges.append((float(low), float(high)))
            chance.append(_chance(len(class_llrs), 2))

        def llr_of(score: float, traits: Traits) -> float:
            return float(calibration([score])[0])

        all_usual.append(Usual("llr", tuple(ranges), tuple(chance), llr_of))
    population = calibration.population
    if population is not None and population.num_recordings >= FEWEST:
        all_usual += _usual_traits(population)
    if not all_usual:
        raise InputError(
            f"the calibration holds no ratios and no traits of at least {FEWEST} recordings to compare with: make it "
            "again with `nes2net calibrate recordings`"
        )
    return all_usual


def _usual_traits(population: Population) -> list[Usual]:
    """What is usual among the recordings of ``population``."""
    number = population.num_recordings
    edges = population.edges()
    usual_traits = []
    for name in SCALARS:
        factor, unit = SHOWN[name]

        def scalar_of(score: float, traits: Traits, name: str = name) -> float:
            return float(getattr(traits, name))

        low, middle, high = edges[name]
        chance = (_chance(number, 2),)
        usual_traits.append(Usual(name, ((low, high),), chance, scalar_of, factor, unit, middle, number))
    if (model := population.embeddings) is not None:

        def distance_of(score: float, traits: Traits) -> float | None:
            if traits.embedding is None:
                return None
            return float(model.distance(traits.embedding[None].astype(np.float64))[0])

        low, _, high = edges["embedding"]
        chance = (_chance(number, 1),)
        usual_traits.append(Usual("embedding", ((low, high),), chance, distance_of))
    # A conformal p-value is at most 0.05 if the recording is among so many most unusual ones.
    if (num_unusual := math.floor(_OUTSIDE * (number + 1))) > 0:
        usual_p = (math.nextafter(num_unusual / (number + 1), 1), 1.0)
        chance = ((float(num_unusual), float(number + 1 - num_unusual)),)

        def p_value_of(score: float, traits: Traits) -> float:
            return population.typicality(traits).p_value

        words = f"p > {_OUTSIDE:g}"
        unusual = f"are unusual, with p ≤ {_OUTSIDE:g}"
        usual_traits.append(Usual("all traits", (usual_p,), chance, p_value_of, words=words, unusual=unusual))

    def unfit_of(score: float, traits: Traits) -> float:
        return float(bool(traits.unfit))

    # An assumption: a calibration does not keep the number of its unfit recordings.
    chance = ((_OUTSIDE * (number + 1), (1 - _OUTSIDE) * (number + 1)),)
    unfit = Usual("unfit", ((0.0, 0.0),), chance, unfit_of, words="fit", unusual="are unfit to decide on")
    return [*usual_traits, unfit]


def _chance(number: int, num_tails: int) -> tuple[float, float]:
    """Parameters of the Beta distribution of the share outside of a range between quantiles of ``number`` recordings.

    Each of the ``number`` + 1 gaps between the sorted recordings holds the same share on average. Outside
    of a quantile lie 1 + 0.025 · (number − 1) of them.
    """
    outside = num_tails * (1 + _OUTSIDE / 2 * (number - 1))
    return outside, number + 1 - outside


def _tails(number: int, parameters: tuple[float, float]) -> NDArray:
    """Element k of (number + 1,): the probability that a beta-binomial count of ``number`` is k or more."""
    probabilities = betabinom.pmf(np.arange(number + 1), number, *parameters)
    return np.minimum(1.0, np.cumsum(probabilities[::-1])[::-1])


def compare(all_usual: Sequence[Usual], values: Mapping[str, NDArray], alpha: float) -> tuple[list[Comparison], int]:
    """Test by each trait in ``values`` whether recordings are like those of a calibration.

    Args:
        values: name of a :class:`Usual` → values (n,) of the recordings.
        alpha: probability that any test finds drift where there is none.

    Returns:
        The comparisons, in the order of ``all_usual``, and the fewest recordings that can show any drift.
    """
    compared = [usual for usual in all_usual if len(values.get(usual.name, ()))]
    all_p_values = [usual.p_values(len(values[usual.name])) for usual in compared]
    p_values = []
    for usual, by_number in zip(compared, all_p_values):
        p_values.append(float(by_number[usual.is_outside(values[usual.name]).sum()]))
    comparisons = []
    for usual, by_number, p_value, adjusted_p in zip(compared, all_p_values, p_values, holm(p_values)):
        fewest = int((len(compared) * by_number > alpha).sum())  # p-values fall with the number outside
        comparisons.append(Comparison(usual, values[usual.name], p_value, adjusted_p, fewest))
    num_needed = 1
    while num_needed < _MOST_NEEDED and len(compared) * min(usual.least_p(num_needed) for usual in compared) > alpha:
        num_needed += 1
    return comparisons, num_needed


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, by Holm's step-down procedure.

    >>> [round(p, 3) for p in holm([0.01, 0.5, 0.04])]
    [0.03, 0.5, 0.08]
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.array(p_values)[order]))
    return adjusted.tolist()
