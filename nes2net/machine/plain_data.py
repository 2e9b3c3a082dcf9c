"""Plain data from files of others: small text files, JSON, and limits on what data expands to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nes2net.errors import InputError, first_line, shown
from nes2net.machine.files import read_bounded

MOST_BYTES = 1_000_000  # of a configuration's file
MOST_VALUES, MOST_DEPTH = 100_000, 32  # of the data in it
LONGEST_NUMBER = 64  # bits
_MOST_KEYS = 10_000  # of one mapping


def read_small_text(path: Path, most: int = MOST_BYTES) -> str:
    """Read a text file in UTF-8 that has at most ``most`` bytes.

    Raises:
        InputError: as :func:`nes2net.machine.files.read_bounded`, or if the file is not UTF-8.
    """
    content = read_bounded(path, most, "give the path of a text file")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file: byte {error.start} is not UTF-8") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a small JSON file that holds a mapping.

    Raises:
        InputError: if it is not such a file, or :func:`check_plain` refuses its data.
    """
    try:
        content = json.loads(read_small_text(path), object_pairs_hook=_without_repeated_keys)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: it is not valid JSON ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: a mapping is expected")
    check_plain(content, str(path))
    return content


_Model = TypeVar("_Model", bound=BaseModel)


def read_json_as(model: type[_Model], path: str | Path, most: int, kind: str, remedy: str) -> _Model:
    """Read a JSON file of at most ``most`` bytes as ``model`` describes it.

    Args:
        kind: what the file should be, such as ``"a calibration"``.
        remedy: ends the message with what to do.

    Raises:
        InputError: as :func:`nes2net.machine.files.read_bounded`, or if the file is no such JSON.
    """
    content = read_bounded(path, most, remedy)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{path}: not {kind} ({first_problem(error)}); {remedy}") from error


def first_problem(error: ValidationError) -> str:
    """Say where the first problem is, what was expected there, and what stands there."""
    problem = error.errors(include_url=False)[0]
    place = "".join(f"{str(key)[:50]}." for key in problem["loc"]).removesuffix(".")
    if problem["type"] == "value_error":  # raised by a model, which says it all
        text = str(problem["ctx"]["error"])
    else:
        text = f"{problem['msg']}, not {shown(problem['input'])}"
    return f"{place}: {text}" if place else text


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {shown(next(k for k in keys if keys.count(k) > 1))} stands there twice")
    return content


def check_plain(
    value: Any,
    what: str,
    *,
    values: int = MOST_VALUES,
    characters: int = MOST_BYTES,
    depth: int = MOST_DEPTH,
    also: tuple[type, ...] = (),
) -> None:
    """Check that ``value`` is plain data, and not too much of it when it is written out.

    A value that stands in several places counts in each: a list that is doubled 40 times is small
    in memory and in a file, but endless for whoever walks through it.

    Args:
        what: names the data in messages.
        values, characters, depth: how much of it there may be.
        also: further types that may be in it.

    Raises:
        InputError: if there are other objects than mappings, lists, text, numbers, true, false and
            null in it, too many of them, too many characters, a mapping or list too deep or a
            mapping of more than 10,000 keys, or a number of more than 64 bits.

    >>> double = []
    >>> for _ in range(40):
    ...     double = [double, double]
    >>> check_plain(double, "this", depth=50)
    Traceback (most recent call last):
    nes2net.errors.InputError: this has more than 100,000 values when it is written out
    """
    left, characters_left = values, characters
    pending = [(value, 0)]
    while pending:
        item, level = pending.pop()
        left -= 1
        if left < len(pending):
            raise InputError(f"{what} has more than {values:,} values when it is written out")
        if level > depth:
            raise InputError(f"{what} is nested more than {depth} deep")
        if isinstance(item, dict):
            if len(item) > _MOST_KEYS:
                raise InputError(f"{what} has a mapping of more than {_MOST_KEYS:,} keys")
            pending += [(part, level + 1) for pair in item.items() for part in pair]
        elif isinstance(item, (list, tuple)):
            pending += [(part, level + 1) for part in item]
        elif isinstance(item, str):
            characters_left -= len(item)
            if characters_left < 0:
                raise InputError(f"{what} has more than {characters:,} characters when it is written out")
        elif isinstance(item, int) and item.bit_length() > LONGEST_NUMBER:
            raise InputError(f"{what} has the number {shown(item)}: numbers of at most 64 bits are expected")
        elif item is not None and not isinstance(item, (int, float, *also)):
            raise InputError(f"{what} has a value of type {type(item).__name__}: plain data is expected")
