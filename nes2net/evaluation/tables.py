"""Figures with their 95 % intervals, and tables of figures; every result of an evaluation consists of such tables.

In reading order: ``Figure``, ``Measure``, ``Row`` and ``Table`` define the form of a result;
``Measured`` computes figures, all with the same bootstrap draws; ``with_best`` marks the best
figures; the functions of ``UNITS`` write figures as text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from nes2net import metrics
from nes2net.lib.progress import bootstrap_progress
from nes2net.lib.this_process import usable_processors
from nes2net.metrics.intervals import Draws, measure_and_resample, num_trials_by_rate

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: The EER of a group counts only if each class has at least this many trials (an assumption). If a class has 20 trials,
#: one trial changes the miss or false-alarm rate by 5 %.
FEWEST = 20
# With fewer bootstrap draws, no figure is marked as the best, because 2.5 % of the draws would be less than one draw.
_FEWEST_DRAWS = 40


@dataclass(frozen=True)
class Figure:
    """A figure and its 95 % interval.

    - ``value`` is the number itself, a fraction for a rate; None if the figure is not defined, such
      as the EER of one class.
    - ``interval`` is the 95 % interval; None if no interval was computed.
    - ``is_best`` says that the figure is marked as the best one among several systems.
    - ``is_bound`` says that the true value is at most ``value``, because no smaller value can be measured.
    - ``draws`` holds the value of the figure in each bootstrap resample, (R,); None if these values
      are not needed.
    """

    value: float | None = None
    interval: tuple[float, float] | None = None
    is_best: bool = field(default=False, compare=False)
    is_bound: bool = field(default=False, compare=False)
    draws: NDArray | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Convert the figure to plain data for JSON; ``interval`` is left out if there is no interval."""
        facts: dict[str, Any] = {"value": self.value}
        if self.interval is not None:
            facts["interval"] = self.interval
        return plain(facts)


@dataclass(frozen=True)
class Measure:
    """The kind of figures in a column of a table, and the way in which these figures are written.

    - ``name`` is the key of the figures in JSON, and ``heading`` is the head of their column.
    - ``unit`` is a key of :data:`UNITS`.
    - ``digits`` is the number of decimals of a figure on pages and in papers, and of the ends of an
      interval everywhere. ``text_digits`` is the number of decimals of a figure on a terminal; with
      None, this number is ``digits``, too.
    - ``has_heat`` says that a page gives each figure a coloured background; the higher the figure,
      the stronger the colour.
    """

    name: str
    heading: str
    unit: str = "rate"
    digits: int = 2
    text_digits: int | None = None
    has_heat: bool = False

    def write(self, value: float | None, *, in_text: bool = False) -> str:
        """Write the value of a figure, or a dash for None.

        Args:
            in_text: write the value for a terminal, with ``text_digits``; otherwise for a page or a
                paper.
        """
        if value is None:
            return "–"
        if self.unit == "count" and in_text:
            return str(int(value))
        digits = self.text_digits if in_text and self.text_digits is not None else self.digits
        text = UNITS[self.unit](value, digits)
        return text if in_text else text.replace("-", "−")  # a score on a terminal can be copied to a flag

    def write_interval(self, interval: tuple[float, float]) -> str:
        """Write both ends of an interval."""
        between = " to " if self.unit == "points" else "–"
        return between.join(map(self.write, interval))


@dataclass(frozen=True)
class Row:
    """The figures of one system, one attack, one recording or the like.

    - ``labels`` says to which system, attack and so on the figures belong, such as
      ``{"system": "lfcc", "attack": "A07"}``.
    - ``figures`` maps the name of a measure to its figure.
    - ``is_shown`` is False if the row has too few trials; such a row is only in the JSON.
    - ``link`` is the relative URL of a page about the row.
    """

    labels: Mapping[str, str]
    figures: Mapping[str, Figure]
    is_shown: bool = True
    link: str = ""

    def __getitem__(self, name: str) -> Figure:
        """Return the figure of the measure ``name``; a figure without a value if the row lacks the measure."""
        return self.figures.get(name, Figure())

    def value(self, name: str) -> float:
        """Return the value of the measure ``name``, which the row must have.

        Raises:
            KeyError: if the row lacks the figure, or the figure has no value.
        """
        value = self[name].value
        if value is None:
            raise KeyError(f"the row has no figure '{name}'")
        return value

    @property
    def has_enough_trials(self) -> bool:
        """Whether each class has at least :data:`FEWEST` trials."""
        return min(self.value("num_bonafide"), self.value("num_spoof")) >= FEWEST

    def only(self, measures: Sequence[Measure]) -> Row:
        """Return the row with only the figures of ``measures``."""
        figures = {}
        for measure in measures:
            if measure.name in self.figures:
                figures[measure.name] = self.figures[measure.name]
        return replace(self, figures=figures)

    def to_dict(self) -> dict[str, Any]:
        """Convert the row to plain data for JSON: ``on`` holds the labels, and the name of a
        measure is the key of its figure."""
        return {"on": dict(self.labels), **{name: figure.to_dict() for name, figure in self.figures.items()}}


@dataclass(frozen=True)
class Table:
    """A table: rows that hold figures of the same measures.

    - ``name`` is the name of the table, unique in a result.
    - ``section`` is the heading under which a page shows the table; empty for the top of the page.
    - ``notes`` explains the figures; each note has one or more sentences.
    - ``hidden`` contains the labels that are not shown, such as the name of the only system.
    - ``across`` is the name of a label. On pages and in papers, each value of this label has a
      column. If ``across`` is empty, each of ``rows`` has a line.
    - ``readers`` says where the table is shown. With ``"all"``, the table is shown on terminals, on
      pages and in papers. With ``"paper"``, the table is shown on pages and in papers, but not on
      terminals, because the table is long. With ``"nobody"``, only the JSON holds the table,
      because a plot shows the figures.
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
        """The rows that have enough trials to be shown."""
        return [row for row in self.rows if row.is_shown]

    @property
    def labels(self) -> list[str]:
        """The names of all labels that are shown."""
        names = self.rows[0].labels if self.rows else ()
        return [name for name in names if name not in self.hidden]

    def row(self, **labels: str) -> Row:
        """Return the first row that has these labels; the row may have other labels, too.

        Raises:
            KeyError: if no row has these labels.
        """
        for row in self.rows:
            if labels.items() <= row.labels.items():
                return row
        raise KeyError(f"no row of '{self.name}' has {labels}")

    def to_dict(self) -> dict[str, Any]:
        """Convert the table to plain data for JSON."""
        units = {measure.name: measure.unit for measure in self.measures}
        rows = [row.to_dict() for row in self.rows]
        return {"name": self.name, "caption": self.caption, "units": units, "rows": rows, "notes": list(self.notes)}


def bootstrap_options() -> dict[str, Any]:
    """Return options of a bootstrap for this process: how progress is displayed, and the number of threads."""
    return {"progress": bootstrap_progress, "num_threads": usable_processors()}


class Measured:
    """Metrics of the scores of two classes, all computed on the same bootstrap draws.

    Args:
        rules: name → metric, a function of the bona fide and the spoofed scores. A metric returns a
            number, an EER and its threshold, or :class:`~nes2net.metrics.Rates`. Each field of
            :class:`~nes2net.metrics.Rates` counts as a metric, whose name is the name of the field.
        draws: options of the bootstrap, as for :func:`nes2net.metrics.bootstrap_values`.

    Attributes:
        values: name of a metric → value of the metric for all trials.
        thresholds: name of an EER → threshold of the EER.
        draws: name of a metric → value of the metric for each resample, (R,). If two systems have
            the same trials, resample number r consists of the same trials for both systems.
    """

    def __init__(
        self, rules: Mapping[str, Callable[..., object]], bonafide: NDArray, spoof: NDArray, **draws: Unpack[Draws]
    ) -> None:
        """Compute all metrics, and their values in each bootstrap resample."""
        self.values: dict[str, float] = {}
        self.thresholds: dict[str, float] = {}
        results, values = measure_and_resample(list(rules.values()), bonafide, spoof, **bootstrap_options(), **draws)
        for name, measured in zip(rules, results):
            if isinstance(measured, metrics.Rates):
                self.values |= measured._asdict()
            elif isinstance(measured, tuple):
                self.values[name], self.thresholds[name] = measured
            else:
                self.values[name] = measured
        self.draws: dict[str, NDArray] = dict(zip(self.values, values.T))
        self._num_trials_by_rate = num_trials_by_rate(bonafide.size, spoof.size)

    def figure(self, name: str) -> Figure:
        """Return the figure of the metric ``name`` with its 95 % interval.

        An error rate has Wilson's interval. The ends of the interval of any other metric are
        percentiles of its values in the resamples.
        """
        value = self.values[name]
        draws = self.draws[name]
        if name in self._num_trials_by_rate:
            interval = metrics.rate_interval(value, draws, self._num_trials_by_rate[name])
        else:
            interval = metrics.percentiles(draws, 0.95)
        return Figure(value, interval, draws=draws)

    def difference(self, first: str, second: str) -> Figure:
        """Compute the difference of two metrics, ``first`` − ``second``, with its 95 % interval."""
        draws = self.draws[first] - self.draws[second]
        return Figure(self.values[first] - self.values[second], metrics.percentiles(draws, 0.95))


def with_best(rows: Sequence[Row], label: str) -> list[Row]:
    """Mark the lowest figure of each measure as the best, if this figure is certainly the lowest.

    Rows are compared if they differ only in ``label``, such as ``"system"``. Subtract the second
    lowest figure from the lowest: if the 95 % interval of this difference lies below 0, the lowest
    figure is certainly the lowest. The figures of all rows must come from the same bootstrap draws.
    With fewer than 40 draws, or fewer than 20 trials of a class, no figure is marked.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(rows):
        values = tuple(value for name, value in row.labels.items() if name != label)
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
    """Find the index of the row whose figure is certainly the lowest; None if there is no such row."""
    ranked = []
    for number, figure in figures.items():
        if figure.value is not None and figure.draws is not None and len(figure.draws) >= _FEWEST_DRAWS:
            ranked.append((figure.value, number, figure.draws))
    if len(ranked) < 2:
        return None
    (_, best, lowest), (_, _, next_lowest) = sorted(ranked, key=itemgetter(0))[:2]
    is_certain = metrics.percentiles(lowest - next_lowest, 0.95)[1] < 0
    return best if is_certain else None


def words(field: str) -> str:
    """Replace the underscores in the name of a field by spaces."""
    return field.replace("_", " ")


def count(number: int) -> str:
    """Write a number with thin spaces between its thousands."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def percent(rate: float, digits: int = 2) -> str:
    """Write a rate in percent, without the percent sign."""
    return f"{100 * rate:.{digits}f}"


def points(difference: float, digits: int = 2) -> str:
    """Write a difference of rates in percent points, with its sign.

    >>> points(-0.0123)
    '−1.23'
    """
    return f"{100 * difference:+.{digits}f}".replace("-", "−")


def format_p(p_value: float) -> str:
    """Write a p-value with three decimals, or ``< 0.001`` if it is lower, because more digits would say little.

    >>> format_p(0.04213), format_p(0.0004)
    ('0.042', '< 0.001')
    """
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def decimal(value: float, digits: int = 2) -> str:
    """Write a number, such as a cost or a correlation, with ``digits`` decimals."""
    return f"{value:.{digits}f}"


#: Unit of figures → function that writes a value with a given number of digits. The value of a rate, or of a difference
#: of rates (unit ``points``), is a fraction; it is written in percent. A time in ``milliseconds`` is stored in seconds
#: and written in milliseconds.
UNITS: dict[str, Callable[[float, int], str]] = {
    "rate": percent,
    "points": points,
    "cost": decimal,
    "bits": decimal,
    "correlation": decimal,
    "seconds": decimal,
    "milliseconds": lambda seconds, digits: decimal(1000 * seconds, digits),
    "count": lambda value, digits: count(int(value)),
    "score": lambda value, digits: f"{value:.{digits}g}",
    "p-value": lambda value, digits: format_p(value),
}

EER = Measure("eer", "EER %", text_digits=3)
THRESHOLD = Measure("threshold", "threshold", "score", 4, 6)
MIN_DCF = Measure("min_dcf", "minDCF", "cost", 4, 5)
NUM_BONAFIDE = Measure("num_bonafide", "bona fide", "count")
NUM_SPOOF = Measure("num_spoof", "spoof", "count")
NUM_TRIALS = Measure("num_trials", "trials", "count")
#: A table with more rows than this is not printed on the terminal; it is only on the page and in the JSON.
MOST_LINES = 150


def plain(value: Any) -> Any:
    """Convert ``value`` to plain data for JSON; a dataclass or a named tuple becomes a mapping of its fields.

    Fields that a dataclass declares with ``repr=False``, such as scores, are left out. A number
    that is not finite becomes None.

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
