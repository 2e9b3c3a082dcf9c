"""The file ``history.json``: a list with a row per epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, RootModel, model_validator

from nes2net.machine.plain_data import read_json_as

HISTORY_FILE = "history.json"
_LARGEST = 16 << 20  # bytes; the row of an epoch has some 400

Row = dict[str, Any]


class HistoryRow(BaseModel):
    """A row: its epoch, and values by name."""

    model_config = ConfigDict(extra="allow", strict=True)
    epoch: Annotated[int, Field(ge=1, lt=10**9)]


class _History(RootModel):
    root: Annotated[list[HistoryRow], FailFast()]

    @model_validator(mode="after")
    def _check(self) -> _History:
        if len({row.epoch for row in self.root}) < len(self.root):
            raise ValueError("an epoch has two rows")
        return self


def read_history(path: Path) -> list[Row]:
    """Read the rows of a history, each of another epoch, from a file of unknown origin.

    Raises:
        InputError: if the file is not a history.
    """
    remedy = "move it away, and name epochs to average with `ids`"
    return read_json_as(_History, path, _LARGEST, "a history that training wrote", remedy).model_dump()
