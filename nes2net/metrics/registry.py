"""The names of metrics, and what a metric declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from nes2net.lib.parts.registry import Registry

_BUILT_IN = ("eer", "min_dcf", "min_tdcf", "act_dcf", "cllr", "min_cllr", "rates")
_OF_CLAIMS = ("sasv_eer", "sv_eer", "spf_eer", "min_a_dcf", "act_a_dcf")


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
    """An error rate or cost of bona fide and spoofed scores: at least 0, and lower is better.

    - ``name`` is the key in JSON, ``heading`` the head of a column, ``digits`` its decimals.
    - ``function`` maps scores (B,) and (S,) to the figure, or to a tuple that begins with it;
      ``options`` are its further arguments.
    - ``unit``: ``"rate"`` is a fraction, written in percent.
    - ``of``: ``"ratios"`` are log-likelihood ratios; ``"tandem"`` and ``"decisions"`` need further
      arguments; ``"claims"`` have scores of targets (T,), nontargets (N,) and spoofed trials (S,).
    - ``quick`` makes a fast ``function`` of bootstrap draws, see :mod:`nes2net.metrics.resampling`.
    - ``term`` explains the metric on pages; ``has_interval``: whether tables have its 95 % interval,
      which ``"claims"`` always have.
    """

    name: str
    heading: str
    function: Callable[..., Any]
    unit: Literal["rate", "cost", "bits"] = "rate"
    digits: int = 2
    of: Literal["scores", "ratios", "tandem", "decisions", "claims"] = "scores"
    quick: Callable[..., Any] | None = None
    term: Term = _NO_TERM
    has_interval: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


class MetricRegistry(Registry[Metric]):
    """The names of metrics."""

    def of_kind(self, kind: str) -> list[Metric]:
        """Import all metrics that are ``of`` a kind."""
        return [metric for metric in map(self.get, self.names()) if metric.of == kind]

    def added(self, *kinds: str) -> list[Metric]:
        """Import the metrics of other packages that are ``of`` one of ``kinds``."""
        names = [name for name in self.names() if not self.is_built_in(name)]
        return [metric for metric in map(self.get, names) if metric.of in kinds]


metrics = MetricRegistry(
    "metric",
    "metrics",
    {name: f"nes2net.metrics.declared:{name.upper()}" for name in (*_BUILT_IN, *_OF_CLAIMS)},
    "nes2net.metrics.registry:Metric",
    registers="instance",
)
