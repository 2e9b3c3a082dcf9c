"""The file ``history.json``: a list with a row per epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, TypeAdapter, ValidationError

from nes2net.errors import InputError, readable_size, shown

HISTORY_FILE = "history.json"
_LARGEST = 16 << 20  # bytes; the row of an epoch has some 400

Row = dict[str, Any]


class HistoryRow(BaseModel):
    """A row: its epoch, and values by name. Earlier versions numbered epochs from 0."""

    model_config = ConfigDict(extra="allow", strict=True)
    epoch: Annotated[int, Field(ge=0, lt=10**9)]


_ROWS = TypeAdapter(Annotated[list[HistoryRow], FailFast()])


def read_history(path: Path) -> list[Row]:
    """Read the rows of a history, each of another epoch, from a file of unknown origin.

    Raises:
        InputError: if the file is not a history.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it has {readable_size(path.stat().st_size)}")
        rows = [row.model_dump() for row in _ROWS.validate_json(path.read_bytes())]
        if len({row["epoch"] for row in rows}) < len(rows):
            raise ValueError("an epoch has two rows")
    except ValueError as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else error
        raise InputError(
            f"{path} is not a history that training wrote ({problem}): move it away, and name epochs to average with `ids`"
        ) from error
    return rows


def first_problem(error: ValidationError) -> str:
    """Say where the first problem is, what was expected there, and what stands there."""
    problem = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(key)[:50] for key in problem["loc"])
    return f"{place}: {problem['msg']}, not {shown(problem['input'])}".removeprefix(": ")
