"""Metadata in files from elsewhere (records, configurations) as plain data, within limits."""

from __future__ import annotations

from typing import Any

from nes2net.checkpoints.unpickling import Record
from nes2net.errors import InputError, shown
from nes2net.machine.budget import Budget
from nes2net.machine.plain_data import LONGEST_NUMBER, MOST_BYTES, MOST_DEPTH, MOST_VALUES


def plain(value: Any, what: str) -> Any:
    """Copy metadata as plain data: mappings from text, lists, tuples, text, numbers, truth values, None.

    An object that was not rebuilt becomes its content (:func:`content_of`). Anything else becomes a
    short description of it. What is used in several places is copied and counted in each, because
    whoever reads the copy meets it there.

    Args:
        what: begins the message, such as the name of the file.

    Raises:
        InputError: if there are more values, characters or levels than any model needs.

    >>> plain({"layers": [(512, 10, 5)], 1: {2}}, "the file")
    {'layers': [(512, 10, 5)], '1': '{2}'}
    """
    budget = Budget(f"{what}: its metadata", MOST_BYTES, MOST_VALUES)

    def copy(value: Any, level: int) -> Any:
        budget.take("values", bytes=len(value) if isinstance(value, str) else 0, steps=1)
        if level > MOST_DEPTH:
            raise InputError(f"{what}: its metadata is nested more than {MOST_DEPTH} deep")
        if isinstance(value, Record):
            return copy(content_of(value), level + 1)
        if isinstance(value, dict):
            return {copy(k if isinstance(k, str) else shown(k), level): copy(v, level + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)([copy(v, level + 1) for v in value])
        if value is None or isinstance(value, (str, float)):
            return value
        return value if isinstance(value, int) and value.bit_length() <= LONGEST_NUMBER else shown(value)

    return copy(value, 0)


def content_of(record: Record) -> Any:
    """Return the attributes of a Namespace, the content of omegaconf's nodes, the value of an enumeration's member."""
    state = record.state if isinstance(record.state, dict) else record.items
    if state or not record.arguments:
        return state.get("_val", state.get("_content", state))
    return record.arguments[0]
