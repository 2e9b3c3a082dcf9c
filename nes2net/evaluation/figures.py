"""Figures with their 95 % intervals, all from the same bootstrap draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from nes2net import metrics
from nes2net.metrics.intervals import Draws, trials_behind

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Figure(NamedTuple):
    """A figure and its 95 % bootstrap interval."""

    value: float
    interval: tuple[float, float]


class Measured:
    """Metrics of the scores of two classes, and of the same resamples of them.

    Args:
        rules: name → metric. :func:`~nes2net.metrics.compute_rates` gives all its rates by their own
            names, and of a metric that gives several numbers the first one counts.
        draws: as for :func:`nes2net.metrics.bootstrap_values`.

    Attributes:
        values: name → figure.
        draws: name → that of each resample, (R,). Two systems on the same trials have the same draws.
    """

    def __init__(
        self, rules: Mapping[str, Callable[..., Any]], bonafide: NDArray, spoof: NDArray, **draws: Unpack[Draws]
    ) -> None:
        self.values: dict[str, float] = {}
        for name, rule in rules.items():
            found = rule(bonafide, spoof)
            is_rates = isinstance(found, metrics.Rates)
            self.values |= found._asdict() if is_rates else {name: found[0] if isinstance(found, tuple) else found}
        columns = metrics.bootstrap_values(list(rules.values()), bonafide, spoof, **draws).T
        self.draws: dict[str, NDArray] = dict(zip(self.values, columns))
        self._numbers = trials_behind(bonafide.size, spoof.size)

    def figure(self, name: str) -> Figure:
        """A metric by its name, with the interval of a rate if it is one."""
        value, draws = self.values[name], self.draws[name]
        if name in self._numbers:
            return Figure(value, metrics.rate_interval(value, draws, self._numbers[name]))
        return Figure(value, metrics.percentiles(draws, 0.95))

    def difference(self, first: str, second: str) -> Figure:
        """The difference of two metrics, first − second."""
        draws = self.draws[first] - self.draws[second]
        return Figure(self.values[first] - self.values[second], metrics.percentiles(draws, 0.95))
