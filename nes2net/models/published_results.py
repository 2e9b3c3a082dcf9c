"""Published results: the rows of ``published_results.yaml``, or of a file with the same layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from nes2net.lib.errors import InputError, as_input_error, check_known, refuse
from nes2net.lib.parts.options import Options, Takes, check_options, options_of
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.text_files import read_text

_PACKAGED = Path(__file__).with_name("published_results.yaml")


@dataclass(frozen=True)
class PublishedRow:
    """A published result, with facts from its source and the settings to measure it again.

    ``published_results.yaml`` explains the fields. ``best`` and ``mean`` are EERs in percent;
    ``min_tdcf`` is normalised.
    """

    id: str
    system: str
    train: str
    test: str
    metric: Annotated[Literal["EER"], Takes("EER")]
    source: str
    corpus: str
    best: float | None = None
    mean: float | None = None
    digits: Annotated[int, Field(ge=0, le=6)] = 2
    label: str | None = None
    paper: str | None = None
    year: int | None = None
    reported_frontend: str | None = None
    parameters: Annotated[int, Field(ge=1)] | None = None
    averaged: Annotated[int, Field(ge=1)] | None = None
    fusion: bool = False
    by_authors: bool = False
    notes: list[str] = field(default_factory=list)
    model: str | list[str] | None = None
    frontend: str | dict[str, object] | None = None
    here: str | None = None
    split: str = "eval"
    phase: str = "eval"
    exclude: dict[str, list[str]] = field(default_factory=dict)
    protocol: Literal["4sec", "full", "unknown"] = "4sec"
    samples: int | None = None
    checkpoint: str | None = None
    released: dict[Literal["checkpoint", "scores"], str] | None = None
    recipe: str | None = None
    overrides: list[str] = field(default_factory=list)
    select: Literal["val_loss_wo_aug", "val_loss_w_aug", "val_eer_wo_aug"] = "val_loss_wo_aug"
    average: int = 1
    average_mode: Literal["mean", "legacy"] = "mean"
    legacy_train_mode: bool = False
    min_tdcf: float | None = None

    @property
    def ways(self) -> list[str]:
        """Ways to measure the figure again: ``"recipe"``, ``"checkpoint"``, both or none.

        A recipe of this package trains the system, or the authors' checkpoint is public and its
        model can be built.
        """
        ways = []
        if self.recipe:
            ways.append("recipe")
        if self.checkpoint and self.model and self.released != {}:  # {}: none of this result
            ways.append("checkpoint")
        return ways

    @property
    def models(self) -> list[str]:
        """Published architectures of the figure; the recipe trains the first."""
        return [self.model] if isinstance(self.model, str) else self.model or []

    @property
    def remarks(self) -> list[str]:
        """The notes, and what a reproduction assumes or why there is none."""
        return [*self.notes, self.here] if self.here else self.notes

    @property
    def obtain(self) -> str:
        """Where to get the checkpoint, in words."""
        if self.checkpoint is None:
            return "no published checkpoint is known"
        if self.released is None:
            return f"get {self.checkpoint}"
        if not self.released:
            return f"{self.checkpoint} has no checkpoint of this result"
        return (
            f"get {self.released['checkpoint']} by hand, which {self.checkpoint} links; the score file there, "
            f"{self.released['scores']}, needs no audio: nes2net evaluate {self.corpus} SCORES --keys KEYS"
        )

    @property
    def cell(self) -> str:
        """Text for a cell of a table: best EER, mean EER in brackets, min t-DCF."""
        figures = self.percent(self.best)
        if self.mean is not None:
            figures += f" ({self.percent(self.mean)})"
        return figures + self._tdcf_suffix

    def percent(self, figure: float | None) -> str:
        """Write a number in percent with as many digits as the source; a dash for None."""
        return "–" if figure is None else f"{figure:.{self.digits}f}"

    @property
    def figures(self) -> str:
        """Metric, test and figures in words, such as ``EER on in_the_wild 5.15 %, mean 6.6 %``."""
        figures = []
        if self.best is not None:
            figures.append(f"{self.percent(self.best)} %")
        if self.mean is not None:
            figures.append(f"mean {self.percent(self.mean)} %")
        return f"{self.metric} on {self.test} {', '.join(figures)}{self._tdcf_suffix}"

    def describe(self) -> str:
        """Describe system, training data, figures and source in one line."""
        return f"{self.system}, trained on {self.train}: {self.figures} [{self.source}]"

    @property
    def _tdcf_suffix(self) -> str:
        return "" if self.min_tdcf is None else f", min t-DCF {self.min_tdcf:.4f}"


@dataclass(frozen=True)
class PublishedTable:
    """A table of published results, with a row for each system and a column for each test."""

    title: str
    about: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Name of a test → heading of its column."""
    notes: list[str] = field(default_factory=list)
    systems: list[dict[str, PublishedRow]] = field(default_factory=list)
    """For each system: name of a test → result."""

    @property
    def rows(self) -> list[PublishedRow]:
        """All results of the table, system by system."""
        return [row for results in self.systems for row in results.values()]


def published_rows(path: AnyPath | None = None) -> tuple[PublishedRow, ...]:
    """Read the results of ``published_results.yaml``, or of another file of tables.

    Raises:
        InputError: if the file cannot be read or is malformed.
    """
    return _read(Path(path or _PACKAGED))[0]


def published_tables() -> tuple[PublishedTable, ...]:
    """Return the tables of ``published_results.yaml``."""
    return _read(_PACKAGED)[1]


_TABLE_KEYS = ("title", "about", "columns", "notes", "shared", "systems")


@cache
def _read(path: Path) -> tuple[tuple[PublishedRow, ...], tuple[PublishedTable, ...]]:
    with as_input_error(f"{path} is not valid YAML", yaml.YAMLError):
        content = yaml.safe_load(read_text(path))
    remedy = f"correct it: the comment at the top of {_PACKAGED} explains the keys"
    with as_input_error(
        f"{path} lacks a key, or one has another type", LookupError, TypeError, AttributeError, remedy=remedy
    ):
        tables = tuple(_read_tables(content, path))
    rows = tuple(row for table in tables for row in table.rows)
    ids = [row.id for row in rows]
    for id in ids:
        if ids.count(id) > 1:
            raise InputError(f"{path}: two rows have the id {id}: rename one of their systems or tests")
    return rows, tables


def _read_tables(content: Any, path: Path) -> Iterator[PublishedTable]:
    """The result's own fields take precedence, then the system's, the table's and the test's."""
    check_known(content, ("notes", "tables", "tests"), f"{path}: unknown key")
    texts = content.get("notes", {})
    for table in content["tables"]:
        check_known(table, _TABLE_KEYS, f"{path}: unknown key of a table")
        columns = table.get("columns", {})
        rows_of_systems = []
        for name, system in table.get("systems", {}).items():
            shared = {**table.get("shared", {}), **system}
            rows = {}
            for test, result in shared.pop("results", {}).items():
                id = f"{name}-{test}"
                where = f"{path}, {id}"
                check_known([test], columns, f"{where}: no column")
                fields = {"id": id, **content["tests"][test], **shared, **result}
                fields["notes"] = [texts[note] for note in fields.get("notes") or []]
                rows[test] = _check_row(fields, where)
            rows_of_systems.append(rows)
        notes = [texts[note] for note in table.get("notes", [])]
        yield PublishedTable(table["title"], table.get("about", ""), columns, notes, rows_of_systems)


def _check_row(values: Options, where: str) -> PublishedRow:
    options = options_of(PublishedRow)
    check_known(values, options, f"{where}: unknown key")
    fields = {name: value for name, value in values.items() if value is not None}
    if lacking := [
        name for name, option in options.items() if option.default is Parameter.empty and name not in fields
    ]:
        raise InputError(f"{where}: lacks {', '.join(lacking)}: add what is missing")
    check_options(PublishedRow, fields, where)
    row = PublishedRow(**fields)  # type: ignore[arg-type]  # the line above has checked them
    refuse(
        (row.best is None and row.mean is None, f"{where}: has no figure; give best, mean, or both"),
        (
            row.protocol == "4sec" and row.samples is None,
            f"{where}: protocol 4sec requires the number of samples: add `samples`",
        ),
    )
    return row


def find_row(id: str, rows: Sequence[PublishedRow]) -> PublishedRow:
    """Return the row with this ``id``.

    Raises:
        InputError: if there is none; the message suggests the most similar id.
    """
    by_id = {row.id: row for row in rows}
    check_known([id], by_id, "no published row", "nes2net experiment reproduce")
    return by_id[id]
