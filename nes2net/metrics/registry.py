"""The names of metrics, and the facts that a metric declares once for tables, validation, experiments and pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from nes2net.lib.parts.contracts import PartCheck
from nes2net.lib.parts.registry import Registry

_BUILT_IN = ("eer", "min_dcf", "min_tdcf", "act_dcf", "cllr", "min_cllr", "rates")


class Term(NamedTuple):
    """A term that the page of an evaluation explains."""

    name: str
    meaning: str
    source: str = ""
    """The publication that defines the term."""
    sign: str = ""
    """Regular expression that finds the term in a text; by default the name up to its first comma."""


_NO_TERM = Term("", "")


@dataclass(frozen=True)
class Metric:
    """A figure of the scores of two classes, such as an error rate or a cost: at least 0, and lower is better.

    - ``name`` is the key in JSON, in the history of a training run and in an experiment, ``heading``
      the head of a column.
    - ``function`` maps bona fide scores (B,) and spoofed scores (S,) to the figure, or to a tuple that
      begins with it.
    - ``unit``: ``"rate"`` for a fraction that is written in percent, ``"cost"`` or ``"bits"``.
    - ``digits`` are the decimals in tables.
    - ``of``: ``"scores"``, ``"ratios"`` (log-likelihood ratios), ``"tandem"`` (scores beside those of
      speaker verification) or ``"decisions"`` (at a threshold, which ``function`` also gets).
    - ``quick`` makes a fast ``function`` of bootstrap draws, see :mod:`nes2net.metrics.resampling`.
    - ``term`` explains the metric on pages, if its name is not empty.
    - ``has_interval``: whether tables have its 95 % interval.
    """

    name: str
    heading: str
    function: Callable[..., Any]
    unit: Literal["rate", "cost", "bits"] = "rate"
    digits: int = 2
    of: Literal["scores", "ratios", "tandem", "decisions"] = "scores"
    quick: Callable[..., Any] | None = None
    term: Term = _NO_TERM
    has_interval: bool = False


class MetricRegistry(Registry[Metric]):
    """The names of metrics."""

    def check(self, name: str, registered: Any) -> None:
        """Check a metric of another package; its own name must be the name of its entry point."""
        super().check(name, registered)
        check = PartCheck(self.subject(name))
        own_name = registered.name
        check.that(own_name == name, "its 'name' is", own_name, f"the name of its entry point, '{name}'")

    def added(self, *kinds: str) -> list[Metric]:
        """Import the metrics of other packages that are ``of`` one of ``kinds``."""
        names = [name for name in self.names() if not self.is_built_in(name)]
        return [metric for metric in map(self.get, names) if metric.of in kinds]


metrics = MetricRegistry(
    "metric",
    "metrics",
    {name: f"nes2net.metrics.declared:{name.upper()}" for name in _BUILT_IN},
    "nes2net.metrics.registry:Metric",
    registers="instance",
)
