"""The history of a run: its best epochs, the checkpoints to keep, and early stopping.

In reading order: ``Selection`` chooses epochs during training; ``choices`` and ``best_epochs``
choose among saved epochs after training; ``columns_of`` lays out the tables.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, FailFast, Field, RootModel, model_validator

from nes2net.evaluation.breakdown import corpora_table
from nes2net.lib.errors import InputError, check_known, pluralise, short_repr
from nes2net.lib.output.terminal import note_once, text_table
from nes2net.lib.storage.files import AnyPath, is_absent, write_json
from nes2net.lib.storage.plain_data import Seconds, Value, read_json_as
from nes2net.training.measures import ERROR_RATES, Figures, Measure
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.recipes.validation import Ties, ValidationConfig

#: File of the run folder with its recipe.
RECIPE_FILE = "recipe.yaml"
#: File of the run folder with a list of rows, one for each epoch.
HISTORY_FILE = "history.json"
_MAX_BYTES = 16 << 20  # largest size of a history in bytes; the row of an epoch takes about 400 bytes

Row = dict[str, Any]
_RANKED_BY = "val_loss_wo_aug"  # value by which :func:`choices` ranks epochs
#: Numbers of checkpoints in the published averages.
AVERAGES = (3, 5)


class HistoryRow(BaseModel):
    """A row of the history: the number of the epoch, and values by name."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, Value | bool | None]
    epoch: Annotated[int, Field(ge=1, lt=10**9)]
    seconds: Seconds = 0.0

    @model_validator(mode="after")
    def _check_rates(self) -> HistoryRow:
        for key, value in self.__pydantic_extra__.items():
            if key.startswith("val_eer") and not 0 <= (value or 0) <= 1:
                raise ValueError(f"{short_repr(key)} must be from 0 to 1, not {value}")
        return self


class _History(RootModel):
    """No two rows are of the same epoch."""

    root: Annotated[list[HistoryRow], FailFast()]

    @model_validator(mode="after")
    def _check_epochs_differ(self) -> _History:
        if len({row.epoch for row in self.root}) < len(self.root):
            raise ValueError("an epoch has two rows: expected one for each epoch")
        return self


def read_history(path: Path) -> list[Row]:
    """Read a history, one row for each epoch.

    Raises:
        InputError: if the file is not a history.
    """
    remedy = "move it away, and name epochs to average with `ids`"
    history = read_json_as(_History, path, _MAX_BYTES, "a history that training wrote", remedy)
    return history.model_dump(exclude_unset=True)


class Selection:
    """Chooses the best epochs of a run, and the epochs to keep, from the rows of its ``history``.

    An epoch is improved if one of the ``ranking_keys`` is below its lowest value so far, or equal to it
    with ``validation.ties: last``.

    Args:
        passes: passes over the development set (:func:`nes2net.training.validation.passes`).
        task_measures: the measures that the task declares.

    Attributes:
        ranking_keys: keys of the history whose lowest value marks the best epoch: as published, the
            losses of all passes. ``validation.select_on`` instead chooses one key (deviations 13
            and 14): ``loss`` (of training), or a measure without augmentation, by
            ``validation.over`` pooled, or the mean or the highest value of the corpora.
    """

    def __init__(
        self,
        folder: AnyPath,
        train: TrainConfig,
        validation: ValidationConfig,
        passes: Sequence[str],
        task_measures: Sequence[Measure] = ERROR_RATES,
    ) -> None:
        self.folder = Path(folder)
        self.epochs = train.epochs
        self.patience = validation.patience
        self.ties = validation.ties
        self.task_measures = task_measures
        losses = [f"val_loss_{name}" for name in passes]
        variant = "" if validation.over == "pooled" else f"_{validation.over}"
        columns = {measure.name: [measure.column(variant=variant)] for measure in task_measures}
        self.ranking_keys = {"loss": losses, "train_loss": ["loss"], **columns}[validation.select_on]
        self.keep = [word.strip() for word in train.keep.split(",")]
        self.history: list[Row] = []

    def update(self, epoch: int, values: Figures) -> bool:
        """Add ``epoch`` to the history, and return whether it is improved.

        Args:
            values: ``loss``, ``lr``, ``seconds`` and the values of the validation, if any.
        """
        improves = operator.le if self.ties == "last" else operator.lt
        improved = False
        for name in values.keys() & self.ranking_keys:
            best = min((row[name] for row in self._measured_rows()), default=math.inf)
            improved |= improves(values[name], best)
        self.history.append({"epoch": epoch, **values, "improved": improved})
        return improved

    @property
    def is_done(self) -> bool:
        """Whether all epochs are done, or early stopping applies.

        Training stops if no measure has a new lowest value in the last ``patience`` of the epochs
        that have all measures.
        """
        rows = self._measured_rows()
        if len(self.history) >= self.epochs:
            return True
        if self.patience is None or len(rows) <= self.patience:
            return False
        before = rows[: -self.patience]
        last = rows[-self.patience :]
        return not any(min(row[key] for row in last) < min(row[key] for row in before) for key in self.ranking_keys)

    def kept_epochs(self) -> set[int]:
        """Choose the epochs whose checkpoints ``train.keep`` keeps.

        Its words, separated by commas, are ``all``, ``improved``, ``last``, and a number k for the
        k best epochs of each measure; ``best`` is 1.
        """
        improved = [row for row in self.history if row["improved"]]
        rows = {"all": self.history, "improved": improved, "last": self.history[-1:]}
        epochs: set[int] = set()
        for word in self.keep:
            if word in rows:
                epochs.update(row["epoch"] for row in rows[word])
                continue
            for name in self.ranking_keys:
                epochs.update(self._best(1 if word == "best" else int(word), name))
        return epochs

    def described_checkpoint(self) -> str | None:
        """Choose the file name of the best kept checkpoint, else the last; None if none is kept.

        The best has the lowest value of the last of :attr:`ranking_keys`.
        """
        kept_epochs = self.kept_epochs()
        rows = [row for row in self._measured_rows() if row["epoch"] in kept_epochs]
        epochs = _epochs_with_lowest(rows, 1, self.ranking_keys[-1], self.ties) or sorted(kept_epochs)
        return f"epoch_{epochs[-1]}.pth" if epochs else None

    def remove_files(self) -> None:
        """Remove checkpoints that are no longer kept; call this only after the history is saved."""
        for epoch in {row["epoch"] for row in self.history} - self.kept_epochs():
            (self.folder / f"epoch_{epoch}.pth").unlink(missing_ok=True)

    def write_history(self) -> None:
        write_json(self.folder / HISTORY_FILE, self.history)

    def table(self) -> str:
        """Lay out a table of all epochs; ``*`` marks the lowest value of each measure."""
        columns = columns_of(self.history, self.task_measures)
        best = {name: self._best(1, name) for name in self.ranking_keys}
        rows = [[column.heading for column in columns]]
        for row in self.history:
            cells = []
            for column in columns:
                is_lowest = best.get(column.key) == [row["epoch"]]
                cells.append(column.cell(row) + ("*" if is_lowest else ""))
            rows.append(cells)
        return "\n".join(text_table(rows, "r"))

    def corpora_table(self) -> str | None:
        """Lay out the EERs of the best epoch on each development corpus; None without these EERs."""
        # One epoch, or none if no epoch has the measure: by default, the last is the loss without augmentation.
        for epoch in self._best(1, self.ranking_keys[-1]):
            (row,) = (row for row in self.history if row["epoch"] == epoch)
            if eers := _values_by_key(row, _OF_CORPUS):
                table = corpora_table(eers, _values_by_key(row, _OF_GROUP), row.get("val_eer_wo_aug"))
                return f"development corpora after epoch {epoch}:\n{table}"
        return None

    def _best(self, count: int, name: str) -> list[int]:
        return _epochs_with_lowest(self._measured_rows(), count, name, self.ties)

    def _measured_rows(self) -> list[Row]:
        return [row for row in self.history if all(name in row for name in self.ranking_keys)]


# Choosing epochs to average


class Choice(NamedTuple):
    """Saved epochs that could be averaged: the best or the last epochs."""

    which: Literal["best", "last"]
    number: int
    epochs: list[int]


def choices(folder: AnyPath, task_measures: Sequence[Measure] = ERROR_RATES) -> tuple[list[Choice], list[str]]:
    """List the usual choices of epochs to average in a run folder, and a table of its saved epochs.

    Raises:
        InputError: if the folder holds no ``epoch_N.pth``, or its history is damaged.
    """
    path = Path(folder) / HISTORY_FILE
    history = {} if is_absent(path) else {row["epoch"]: row for row in read_history(path)}
    rows = [history.get(epoch, {"epoch": epoch}) for epoch in saved_epochs(Path(folder))]
    if not rows:
        raise InputError(f"{folder} holds no epoch_N.pth: name checkpoint files, or the folder of a run")
    rows_with_value = [row for row in rows if isinstance(row.get(_RANKED_BY), float)]
    averages = []
    for count in sorted({min(count, len(rows)) for count in AVERAGES}, reverse=True):
        if len(rows_with_value) >= count:
            averages.append(Choice("best", count, _best_of_run(Path(folder), rows_with_value, count, _RANKED_BY)))
        averages.append(Choice("last", count, [row["epoch"] for row in rows[-count:]]))
    columns = [column for column in columns_of(rows, task_measures) if column.key != "improved"]
    table = [[column.heading for column in columns] + [f"{choice.which} {choice.number}" for choice in averages]]
    for row in rows:
        marks = ["*" if row["epoch"] in choice.epochs else "" for choice in averages]
        table.append([column.cell(row) for column in columns] + marks)
    return averages, text_table(table, "r")


def saved_epochs(folder: Path) -> list[int]:
    """List the epochs with ``epoch_N.pth`` in ``folder``, in ascending order."""
    numbers = [path.stem.removeprefix("epoch_") for path in folder.glob("epoch_*.pth")]
    return sorted(int(number) for number in numbers if number.isdecimal())


def best_epochs(folder: AnyPath, count: int, by: str) -> list[int]:
    """Find the ``count`` epochs with a checkpoint in ``folder`` and the lowest ``by``, ascending.

    ``validation.ties`` of the recipe ranks equal values. A note names better epochs without a checkpoint.

    Args:
        by: a key of ``history.json``, such as ``loss`` (of training) or ``val_loss_w_aug``.

    Raises:
        InputError: if the folder has no history, if no row has the key ``by``, or if fewer than
            ``count`` epochs have both a value and a checkpoint.
    """
    folder = Path(folder)
    path = folder / HISTORY_FILE
    if not path.is_file():
        raise InputError(f"{folder} has no {HISTORY_FILE}, which training writes: name the epochs with `ids`")
    history = read_history(path)
    columns = {key for key in chain.from_iterable(history) if _RANKED.fullmatch(key)}
    check_known([by], columns, f"`by` is one of the values of {path}, not")
    epochs = saved_epochs(folder)
    measured = [row for row in history if isinstance(row.get(by), float)]
    saved = [row for row in measured if row["epoch"] in epochs]
    if not 0 < count <= len(saved):
        ids = ", ".join(str(row["epoch"]) for row in saved) or "none"
        remedy = f"choose 1 to {len(saved)}" if saved else "rank by another value with `by`"
        raise InputError(
            f"{folder} has checkpoints of {pluralise(saved, 'epoch')} with {by} ({ids}), not of {count}: {remedy}"
        )
    missing = [str(epoch) for epoch in _best_of_run(folder, measured, count, by) if epoch not in epochs]
    if missing:
        note_once(
            f"{folder} has no checkpoint of epoch {', '.join(missing)}, which would be among the {count} best by {by}: the "
            "next best are used"
        )
    return _best_of_run(folder, saved, count, by)


def _best_of_run(folder: Path, rows: Sequence[Row], count: int, by: str) -> list[int]:
    """Choose the epochs with the lowest ``by``; the recipe's ``validation.ties`` decides between equal ones.

    Without a recipe in ``folder``, later epochs are preferred; a note is printed if this matters.
    """
    path = folder / RECIPE_FILE
    if not is_absent(path):
        return _epochs_with_lowest(rows, count, by, load_recipe(path).validation.ties)
    best = _epochs_with_lowest(rows, count, by, "last")
    if best != _epochs_with_lowest(rows, count, by, "first"):
        note_once(f"{folder} has no {RECIPE_FILE}, so later epochs are preferred to earlier ones with equal {by}")
    return best


def _epochs_with_lowest(rows: Sequence[Row], count: int, by: str, ties: Ties) -> list[int]:
    order = -1 if ties == "last" else 1
    lowest = sorted(rows, key=lambda row: (row[by], order * row["epoch"]))[:count]
    return sorted(row["epoch"] for row in lowest)


def _values_by_key(row: Row, pattern: re.Pattern[str]) -> Figures:
    return {match[1]: row[match[0]] for match in map(pattern.fullmatch, row) if match}


# Keys of the history that rank epochs: all but limits of intervals, which end in "_low" and "_high"; so may a corpus or
# attack behind "/".
_RANKED = re.compile(r"loss|val_.*/.*|val_.*(?<!_low)(?<!_high)")
# Keys of the history for the EERs of a development corpus and of an attack in it; the groups match alias, and
# alias/attack.
_OF_CORPUS = re.compile(r"val_eer_wo_aug/([^/]+)")
_OF_GROUP = re.compile(r"val_eer_wo_aug/([^/]+/.+)")


# Tables of epochs


class EpochColumn(NamedTuple):
    """A column of the table of epochs."""

    #: key of the history
    key: str
    heading: str
    #: format string of a value
    form: str

    def cell(self, row: Row) -> str:
        """Write the value of ``row``, with its interval if any, or a dash."""
        if self.key == "improved":
            return "improved" if row[self.key] else ""
        if row.get(self.key) is None:
            return "–"
        text = self.form.format(row[self.key]).removesuffix("%")
        low: Any = row.get(f"{self.key}_low")
        high: Any = row.get(f"{self.key}_high")
        if low is not None and high is not None:
            text += f" ({100 * low:.2f}–{100 * high:.2f})"
        return text


def columns_of(history: Sequence[Row], task_measures: Sequence[Measure]) -> list[EpochColumn]:
    """List the columns of the table of epochs that have values in ``history``."""
    columns = [EpochColumn("epoch", "epoch", "{:d}")]
    columns += [EpochColumn(key, key, "{:.6f}") for key in ("loss", "val_loss_w_aug", "val_loss_wo_aug")]
    for measure in task_measures:
        for key, heading in measure.headings(history).items():
            title, form = (f"{heading} %", "{:.3%}") if measure.percent else (heading, "{:.5f}")
            columns.append(EpochColumn(key, title, form))
    columns += [EpochColumn("lr", "lr", "{:.3g}"), EpochColumn("improved", "", "")]
    return [column for column in columns if any(row.get(column.key) is not None for row in history)]
