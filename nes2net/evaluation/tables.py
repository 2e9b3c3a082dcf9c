"""Figures with their 95 % intervals, and tables of figures; every result of an evaluation consists of such tables.

In reading order: ``Figure``, ``Measure``, ``Row`` and ``Table`` define the form of a result;
``Measured`` computes figures from shared bootstrap draws; ``with_best`` marks the best; the
functions of ``UNITS`` write figures as text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from operator import itemgetter
from typing import Any, Literal

from numpy.typing import NDArray
from typing_extensions import Unpack

from nes2net import metrics
from nes2net.lib.output.sheet import FactsDict
from nes2net.metrics import registry
from nes2net.metrics.intervals import Draws, Interval, measure_and_resample, num_trials_by_rate, two_sided_p

#: Trials of each class that the EER of a group needs (an assumption): one trial of 20 is 5 %.
MIN_TRIALS = 20
# With fewer draws, no figure is marked as the best: 2.5 % of them would be less than one draw.
_MIN_DRAWS = 40


@dataclass(frozen=True)
class Figure:
    """A figure and its 95 % interval.

    - ``value``: a fraction for a rate; None if not defined, such as the EER of one class.
    - ``interval``: None if not computed.
    - ``is_best``: marked as the best of several systems.
    - ``is_bound``: the true value is at most ``value``, the smallest that can be measured.
    - ``draws``: the value in each bootstrap resample, (R,), if needed.
    """

    value: float | None = None
    interval: Interval | None = None
    is_best: bool = field(default=False, compare=False)
    is_bound: bool = field(default=False, compare=False)
    draws: NDArray | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> FactsDict:
        """Convert the figure to plain data for JSON, without a missing ``interval``."""
        facts: FactsDict = {"value": self.value}
        if self.interval is not None:
            facts["interval"] = self.interval
        return plain(facts)


@dataclass(frozen=True)
class Measure:
    """The kind of figures in a column of a table, and how they are written.

    - ``name`` is the key in JSON, ``heading`` the head of the column.
    - ``unit`` is a key of :data:`UNITS`.
    - ``digits`` are the decimals on pages, in papers and of intervals; ``text_digits`` those on a
      terminal, by default the same.
    - ``has_heat``: on a page, higher figures have a stronger background.
    """

    name: str
    heading: str
    unit: str = "rate"
    digits: int = 2
    text_digits: int | None = None
    has_heat: bool = False

    def write(self, value: float | None, *, in_text: bool = False) -> str:
        """Write a value for a page or paper, or for a terminal if ``in_text``; a dash for None."""
        if value is None:
            return "–"
        if self.unit == "count" and in_text:
            return str(int(value))
        digits = self.text_digits if in_text and self.text_digits is not None else self.digits
        text = UNITS[self.unit](value, digits)
        return text if in_text else text.replace("-", "−")  # a score on a terminal can be copied to a flag

    def write_interval(self, interval: Interval) -> str:
        between = " to " if self.unit == "points" else "–"
        return between.join(map(self.write, interval))


@dataclass(frozen=True)
class Row:
    """The figures of one system, one attack, one recording or the like.

    - ``labels``: of what, such as ``{"system": "lfcc", "attack": "A07"}``.
    - ``figures``: name of a measure → figure.
    - ``is_shown``: False if the row has too few trials; it is then only in the JSON.
    - ``link``: relative URL of a page about the row.
    """

    labels: Mapping[str, str]
    figures: Mapping[str, Figure]
    is_shown: bool = True
    link: str = ""

    def __getitem__(self, name: str) -> Figure:
        """Return the figure of the measure ``name``, without a value if the row lacks it."""
        return self.figures.get(name, Figure())

    def value(self, name: str) -> float:
        """Return the value of the measure ``name``.

        Raises:
            KeyError: if the row lacks the figure or its value.
        """
        value = self[name].value
        if value is None:
            raise KeyError(f"the row {self.labels} has no value of '{name}': see its figures")
        return value

    @property
    def has_enough_trials(self) -> bool:
        """Whether each class has at least :data:`MIN_TRIALS` trials."""
        return min(self.value("num_bonafide"), self.value("num_spoof")) >= MIN_TRIALS

    def only(self, measures: Sequence[Measure]) -> Row:
        """Return the row with only these figures."""
        names = [measure.name for measure in measures if measure.name in self.figures]
        return replace(self, figures={name: self.figures[name] for name in names})

    def to_dict(self) -> FactsDict:
        """Convert the row to plain data for JSON; ``on`` holds the labels."""
        return {"on": dict(self.labels), **{name: figure.to_dict() for name, figure in self.figures.items()}}


@dataclass(frozen=True)
class Table:
    """Rows with figures of the same measures.

    - ``name`` is unique in a result.
    - ``section``: heading on a page; empty for the top.
    - ``notes`` explain the figures, in sentences.
    - ``hidden``: labels that are not shown, such as the name of the only system.
    - ``across``: a label whose values are columns on pages and in papers; if empty, each row has a
      line.
    - ``readers``: ``"all"``; ``"paper"`` for pages and papers, because the table is long;
      ``"nobody"`` for the JSON, because a plot shows the figures.
    """

    name: str
    caption: str
    measures: Sequence[Measure]
    rows: Sequence[Row]
    section: str = ""
    notes: Sequence[str] = ()
    hidden: Collection[str] = ()
    across: str = ""
    readers: Literal["all", "paper", "nobody"] = "all"

    @property
    def shown(self) -> list[Row]:
        """The rows with enough trials to be shown."""
        return [row for row in self.rows if row.is_shown]

    @property
    def labels(self) -> list[str]:
        """Names of the labels that are shown."""
        names = self.rows[0].labels if self.rows else ()
        return [name for name in names if name not in self.hidden]

    def row(self, **labels: str) -> Row:
        """Return the first row with these labels, and perhaps others.

        Raises:
            KeyError: if there is none.
        """
        for row in self.rows:
            if labels.items() <= row.labels.items():
                return row
        raise KeyError(f"no row of '{self.name}' has the labels {labels}: see its rows")

    def to_dict(self) -> FactsDict:
        """Convert the table to plain data for JSON."""
        units = {measure.name: measure.unit for measure in self.measures}
        rows = [row.to_dict() for row in self.rows]
        # Users' programs read these keys.
        return {"name": self.name, "caption": self.caption, "units": units, "rows": rows, "notes": list(self.notes)}


def join_tables(tables_by_system: Mapping[str, Iterable[Table]]) -> list[Table]:
    """Join tables of one name; the rows get the label ``system``, which is hidden if there is only one."""
    joined: dict[str, Table] = {}
    hidden = () if len(tables_by_system) > 1 else ("system",)
    for system, tables in tables_by_system.items():
        for table in tables:
            earlier = joined.get(table.name, replace(table, rows=[], notes=[], hidden=hidden))
            rows = [replace(row, labels={"system": system, **row.labels}) for row in table.rows]
            notes = list(dict.fromkeys([*earlier.notes, *table.notes]))
            joined[table.name] = replace(earlier, rows=[*earlier.rows, *rows], notes=notes)
    return list(joined.values())


class Measured:
    """Metrics of the scores of two classes, or more, all computed on the same bootstrap draws.

    Args:
        rules: name → metric of the scores of all classes, which returns a number, an EER and its
            threshold, or :class:`~nes2net.metrics.Rates`, whose fields count as metrics.
        classes: finite scores of bona fide, then of spoofed trials, or of other classes.
        num_trials: name of a rate → as for :func:`nes2net.metrics.rate_interval`; None for two
            classes.
        draws: as for :func:`nes2net.metrics.bootstrap_values`.

    Attributes:
        values: name of a metric → value for all trials.
        thresholds: name of an EER → its threshold.
        draws: name of a metric → value for each resample, (R,); resamples of systems with the same
            trials correspond.
    """

    def __init__(
        self,
        rules: Mapping[str, Callable[..., object]],
        *classes: NDArray,
        num_trials: Mapping[str, float] | None = None,
        **draws: Unpack[Draws],
    ) -> None:
        self.values: dict[str, float] = {}
        self.thresholds: dict[str, float] = {}
        results, values = measure_and_resample(list(rules.values()), *classes, **draws)
        for name, measured in zip(rules, results):
            if isinstance(measured, metrics.Rates):
                self.values |= measured._asdict()
            elif isinstance(measured, tuple):
                self.values[name], self.thresholds[name] = measured
            else:
                self.values[name] = measured
        # `values` is (R, M): a column for each number, in the order in which the loop filled self.values.
        self.draws: dict[str, NDArray] = dict(zip(self.values, values.T))
        if num_trials is None:
            num_trials = num_trials_by_rate(*map(len, classes))
        self._num_trials_by_rate = num_trials

    def figure(self, name: str) -> Figure:
        """Return a metric with its 95 % interval: Wilson's for an error rate, otherwise percentiles."""
        value = self.values[name]
        draws = self.draws[name]
        if name in self._num_trials_by_rate:
            interval = metrics.rate_interval(value, draws, self._num_trials_by_rate[name])
        else:
            interval = metrics.percentiles(draws, 0.95)
        return Figure(value, interval, draws=draws)

    def difference(self, first: str, second: str) -> Figure:
        """Compute ``first`` − ``second`` with its 95 % interval."""
        draws = self.draws[first] - self.draws[second]
        return Figure(self.values[first] - self.values[second], metrics.percentiles(draws, 0.95))


def compare_figures(first: Figure, second: Figure) -> dict[str, Figure]:
    """Compute ``first`` − ``second``, and a two-sided p-value, from their draws of the same trials."""
    assert first.value is not None and second.value is not None and first.draws is not None and second.draws is not None
    draws = first.draws - second.draws
    p_value = two_sided_p(draws)
    return {
        "difference": Figure(first.value - second.value, metrics.percentiles(draws, 0.95)),
        "p_value": Figure(p_value, is_bound=p_value <= 2 / (draws.size + 1)),
    }


def with_best(rows: Sequence[Row]) -> list[Row]:
    """Mark the lowest figure of each measure if it is certainly the lowest.

    Figures must be error rates or costs. Compares rows that differ only in the system, and share
    bootstrap draws. It is certain if the 95 % interval of lowest − second lowest lies below 0.
    Needs 40 draws, and 20 trials of each class.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(rows):
        values = tuple(value for name, value in row.labels.items() if name != "system")
        if row.has_enough_trials:
            groups.setdefault(values, []).append(number)
    marked = list(rows)
    for numbers in groups.values():
        for name in rows[numbers[0]].figures:
            best = _certain_best({number: rows[number][name] for number in numbers})
            if best is not None:
                figure = replace(rows[best][name], is_best=True)
                marked[best] = replace(marked[best], figures={**marked[best].figures, name: figure})
    return marked


def _certain_best(figures: Mapping[int, Figure]) -> int | None:
    ranked = []
    for number, figure in figures.items():
        if figure.value is not None and figure.draws is not None and len(figure.draws) >= _MIN_DRAWS:
            ranked.append((figure.value, number, figure.draws))
    if len(ranked) < 2:
        return None
    (_, best, lowest), (_, _, next_lowest) = sorted(ranked, key=itemgetter(0))[:2]
    # Draws of both systems correspond, so their difference is paired.
    is_certain = metrics.percentiles(lowest - next_lowest, 0.95)[1] < 0
    return best if is_certain else None


def words(field: str) -> str:
    """Replace underscores in the name of a field by spaces."""
    return field.replace("_", " ")


def count(number: int) -> str:
    """Write a number with thin spaces between its thousands."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(rate: float, digits: int = 2) -> str:
    """Write a rate in percent, without the sign."""
    return f"{100 * rate:.{digits}f}"


def points(difference: float, digits: int = 2) -> str:
    """Write a difference of rates in percent points, with its sign.

    >>> points(-0.0123)
    '−1.23'
    """
    return f"{100 * difference:+.{digits}f}".replace("-", "−")


def format_p(p_value: float) -> str:
    """Write a p-value with three decimals, or ``< 0.001``.

    >>> format_p(0.04213), format_p(0.0004)
    ('0.042', '< 0.001')
    """
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def decimal(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}"


#: Unit → writer of a value with a number of digits. Rates and their differences (``points``) are fractions, written in
#: percent; ``milliseconds`` are stored in seconds.
UNITS: dict[str, Callable[[float, int], str]] = {
    "rate": percent,
    "points": points,
    "cost": decimal,
    "bits": decimal,
    "correlation": decimal,
    "decibels": decimal,
    "seconds": decimal,
    "milliseconds": lambda seconds, digits: decimal(1000 * seconds, digits),
    "count": lambda value, digits: count(int(value)),
    "score": lambda value, digits: f"{value:.{digits}g}",
    "p-value": lambda value, digits: format_p(value),
}


def column(metric: str, **changes: Any) -> Measure:
    """Make the column of a metric by name; ``changes`` are fields of :class:`Measure`."""
    declared = registry.metrics.get(metric)
    return replace(Measure(declared.name, declared.heading, declared.unit, declared.digits), **changes)


EER = column("eer", text_digits=3)
THRESHOLD = Measure("threshold", "threshold", "score", 4, 6)
MIN_DCF = column("min_dcf", text_digits=5)
NUM_BONAFIDE = Measure("num_bonafide", "bona fide", "count")
NUM_SPOOF = Measure("num_spoof", "spoof", "count")
NUM_TRIALS = Measure("num_trials", "trials", "count")
#: Longer tables are not printed on the terminal, but on the page and in the JSON.
MAX_LINES = 150


def plain(value: Any) -> Any:
    """Convert ``value`` to plain data for JSON; dataclasses and named tuples become mappings.

    Fields of a dataclass with ``repr=False``, such as scores, are omitted; NaN and infinity become
    None.

    >>> plain({"interval": (0.25, math.inf)})
    {'interval': [0.25, None]}
    """
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.repr}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
