"""Published results: the rows of ``published.yaml``, or of a file with the same layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml

from nes2net.corpora.protocol import read_text
from nes2net.errors import InputError, check_known
from nes2net.options import Takes, check_options, declared

_PACKAGED = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class PublishedRow:
    """A published result and what is needed to measure it again.

    The head of ``published.yaml`` explains the fields. ``best``, ``mean`` and EERs in general are
    in percent; ``min_tdcf`` is normalised.
    """

    id: str
    system: str
    train: str
    test: str
    metric: Annotated[Literal["EER"], Takes("EER")]
    best: float
    source: str
    corpus: str
    mean: float | None = None
    model: str | None = None
    frontend: str | dict[str, Any] = "xlsr_300m"
    split: str = "eval"
    phase: str = "eval"
    exclude: dict[str, list[str]] = field(default_factory=dict)
    protocol: Literal["4sec", "full"] = "4sec"
    samples: int | None = None
    checkpoint: str | None = None
    recipe: str | None = None
    overrides: list[str] = field(default_factory=list)
    select: Literal["val_loss_wo_aug", "val_loss_w_aug", "val_eer_wo_aug"] = "val_loss_wo_aug"
    average: int = 1
    average_mode: Literal["mean", "legacy"] = "mean"
    legacy_train_mode: bool = False
    min_tdcf: float | None = None

    def describe(self) -> str:
        """One line: system, corpora, figures, source."""
        mean = "" if self.mean is None else f", mean {self.mean:.2f}"
        figures = f"{self.metric} on {self.test} {self.best:.2f} %{mean}{self._tdcf}"
        return f"{self.system}, trained on {self.train}: {figures} [{self.source}]"

    def describe_result(self) -> str:
        """One line as ``nes2net info`` prints it."""
        mean = "" if self.mean is None else f" (mean {self.mean:.2f})"
        figures = f"{self.metric} {self.best:.2f}{mean} %{self._tdcf}"
        return f"{self.system}: trained on {self.train}, {self.test}: {figures} [{self.source}]"

    @property
    def _tdcf(self) -> str:
        return "" if self.min_tdcf is None else f", min t-DCF {self.min_tdcf:.4f}"


@cache
def published_rows(path: str | Path | None = None) -> tuple[PublishedRow, ...]:
    """Read the packaged ``published.yaml``, or another file of rows.

    Raises:
        InputError: if the file cannot be read or is malformed.
    """
    path = Path(path or _PACKAGED)
    try:
        rows = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(rows, list):
        raise InputError(f"{path}: a list of rows is expected, found {type(rows).__name__}")
    found = tuple(_row(row, f"{path}, row {number}") for number, row in enumerate(rows, start=1))
    if len({row.id for row in found}) < len(found):
        raise InputError(f"{path}: two rows have one id")
    return found


def results_of(model: str) -> list[str]:
    """List the published results of a whole model or back-end, one line each.

    >>> [result.split(" min t-DCF ")[1] for result in results_of("mpif_res2net")]
    ['0.2557 [arXiv 2306.15389]']
    """
    return [row.describe_result() for row in published_rows() if row.model == model]


def _row(values: Any, where: str) -> PublishedRow:
    if not isinstance(values, dict):
        raise InputError(f"{where}: a mapping is expected, found {values!r}")
    options = declared(PublishedRow)
    check_known(values, options, f"{where}: unknown key")
    given = {name: value for name, value in values.items() if value is not None}
    if lacking := [name for name, option in options.items() if option.default is Parameter.empty and name not in given]:
        raise InputError(f"{where}: lacks {', '.join(lacking)}")
    check_options(PublishedRow, given, where)
    row = PublishedRow(**given)
    if row.protocol == "4sec" and row.samples is None:
        raise InputError(f"{where}: protocol 4sec needs the number of samples")
    return row


def find_row(id: str, rows: Sequence[PublishedRow]) -> PublishedRow:
    """Return the row named ``id``.

    Raises:
        InputError: if no row has this id; the message names the nearest.
    """
    by_id = {row.id: row for row in rows}
    check_known([id], by_id, "no published row")
    return by_id[id]
