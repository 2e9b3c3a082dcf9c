"""Read plain data from untrusted files: small text files and JSON, within limits."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from nes2net.lib.errors import InputError, as_input_error, short_repr
from nes2net.lib.storage.files import Budget, check_arrived, read_bounded
from nes2net.lib.storage.text_files import decode_text, without_contradictions

MAX_BYTES = 1_000_000  # largest size of a configuration file
MAX_VALUES = 100_000  # largest number of values in a configuration file
MAX_DEPTH = 32  # largest nesting of lists and mappings in a configuration file
MAX_NUMBER_BITS = 64  # largest number of bits of a whole number
_MAX_KEYS = 10_000  # largest number of keys of a mapping
_DEEPEST_JSON = 100  # largest nesting of lists and mappings in any JSON

# Character outside of texts → most bytes that a JSON parser needs for what begins with it: "[" a list, "{" a mapping,
# "," a further item, ":" the value of a key, a quotation mark an empty text.
_HELD = {"[": 320, "{": 512, ",": 48, ":": 80, '"': 64}
_MAX_HELD = 1 << 29  # largest number of bytes that a parser may need for all values
_BLOCK = 1 << 20

#: Numbers of a file that a model reads. Sums and powers of these numbers do not overflow.
Natural = Annotated[int, Field(ge=0, le=1e18)]
Seconds = Annotated[FiniteFloat, Field(ge=0, le=1e10)]
#: Any value that training in float32 can compute.
Value = Annotated[FiniteFloat, Field(ge=-1e40, le=1e40)]
NotNegative = Annotated[Value, Field(ge=0)]


def read_small_text(path: Path, max_bytes: int = MAX_BYTES) -> str:
    """Read UTF-8 text; raise :class:`InputError` as :func:`nes2net.lib.storage.files.read_bounded`, or if it is not text."""
    content = read_bounded(path, max_bytes, "give the path of a text file")
    return decode_text(path, content, "{} is not a text file: {}").replace("\r\n", "\n")


def read_json(path: Path) -> dict[str, object]:
    """Read a small JSON file; raise :class:`InputError` if it is not a mapping that :func:`check_plain` accepts."""
    with as_input_error(f"{path} is damaged: it is not valid JSON", ValueError, remedy="correct it, or make it again"):
        text = read_small_text(path)
        check_arrived(path)
        content = parse_json(text, str(path))
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: expected a mapping, found a {type(content).__name__}; make it again")
    check_plain(content, str(path))
    return content


def parse_json(text: str | bytes, name: str) -> Any:
    """Parse JSON after :func:`check_json`; raise ValueError if it is invalid, or gives a key two values."""
    content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    check_json(content, name)
    try:
        return json.loads(text, object_pairs_hook=partial(without_contradictions, subject=name))
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON from character {error.pos + 1} on") from error


def check_json(content: bytes, name: str) -> None:
    """Refuse JSON that could fill the memory or the stack of a parser, because some parsers would end the process.

    Raises:
        InputError: if a parser would need more than 512 MB (2²⁹ bytes) besides the text, or if
            lists and mappings are nested more than 100 deep.

    >>> check_json(b"[" * 5000, "this")
    Traceback (most recent call last):
    nes2net.lib.errors.InputError: this: lists and mappings are nested more than 100 deep; write them flatter
    """
    # A text of at most 1000 bytes with at most 100 opening brackets cannot exceed a limit.
    if len(content) <= 1000 and content.count(b"[") + content.count(b"{") <= _DEEPEST_JSON:
        return
    import numpy as np  # imported late, for a fast start-up: short JSON does not need NumPy

    budget = Budget(name, most_bytes=_MAX_HELD, most_steps=len(content), size=len(content))
    held_bytes = np.zeros(256, np.int64)  # code of a character → its number of bytes in _HELD, or 0
    nesting = np.zeros(256, np.int64)  # code of a character → 1 if it opens a list or a mapping, -1 if it closes one
    held_bytes[[ord(mark) for mark in _HELD]] = list(_HELD.values())
    nesting[[*b"[{"]] = 1
    nesting[[*b"]}"]] = -1
    # Remove escaped backslashes and escaped quotation marks. Each remaining quotation mark then begins or ends a text.
    bare = content.replace(rb"\\", b"").replace(rb"\"", b"")
    in_text = False
    level = 0
    for start in range(0, len(bare), _BLOCK):
        block = np.frombuffer(bare, np.uint8, min(_BLOCK, len(bare) - start), start)
        marks = block[(held_bytes + abs(nesting)).astype(bool)[block]]
        if not len(marks):
            continue
        # For each mark, whether it lies in a text: each quotation mark switches between inside and outside.
        is_text = np.logical_xor.accumulate(marks == ord('"')) ^ in_text
        levels = level + np.cumsum(nesting[marks] * ~is_text)
        in_text = bool(is_text[-1])
        level = int(levels[-1])
        if levels.max() > _DEEPEST_JSON:
            raise InputError(
                f"{name}: lists and mappings are nested more than {_DEEPEST_JSON} deep; write them flatter"
            )
        budget.take("values", bytes=int(held_bytes[marks[~is_text]].sum()))


_Model = TypeVar("_Model", bound=BaseModel)


class StrictModel(BaseModel):
    """Plain data in which unknown keys, and values of a wrong type, are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


def read_json_as(model: type[_Model], path: str | Path, max_bytes: int, kind: str, remedy: str) -> _Model:
    """Read a JSON file, the ``kind`` of which messages name, into ``model``; raise :class:`InputError` if that fails."""
    content = read_bounded(path, max_bytes, remedy)
    check_arrived(path)
    with as_input_error(f"{path}: not {kind}", ValueError, remedy=remedy):
        return validate_json(model, content)


def validate_json(model: type[_Model], content: bytes) -> _Model:
    """Read JSON into ``model`` after :func:`check_json`; raise ValueError with the first problem."""
    try:
        check_json(content, "it")
        return model.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error
    except InputError as error:
        raise ValueError(str(error)) from error


def first_problem(error: ValidationError) -> str:
    """Write the first problem of a validation: key, what was expected, what was found."""
    problem = error.errors(include_url=False)[0]
    key_path = "".join(f"{str(key)[:50]}." for key in problem["loc"]).removesuffix(".")
    if problem["type"] == "value_error":  # this error comes from a validator of a model; its message is complete
        text = str(problem["ctx"]["error"])
    else:
        text = f"{problem['msg']}, not {short_repr(problem['input'])}"
    return f"{key_path}: {text}" if key_path else text


def check_plain(
    value: Any,
    name: str,
    *,
    values: int = MAX_VALUES,
    characters: int = MAX_BYTES,
    depth: int = MAX_DEPTH,
    also: tuple[type, ...] = (),
) -> None:
    """Check that ``value`` is plain data, and that its written form would not be too long.

    Repeated objects count each time: 40 nested lists that each hold the next one twice are small
    only in memory.

    Args:
        depth: largest nesting.
        also: further types that are allowed.

    Raises:
        InputError: for anything but mappings of up to 10,000 keys, lists, text, numbers of up to 64
            bits, true, false and null; above ``depth``, or above so many ``values`` or
            ``characters``.

    >>> double = []
    >>> for _ in range(40):
    ...     double = [double, double]
    >>> check_plain(double, "this", depth=50)
    Traceback (most recent call last):
    nes2net.lib.errors.InputError: this was refused to save memory and time: it grows to 100,002 values, and at most 100,000 are accepted
    """
    budget = Budget(name, most_bytes=characters, most_steps=values)
    pending = [(value, 0)]
    while pending:
        item, level = pending.pop()
        if level > depth:
            raise InputError(f"{name} is nested more than {depth} deep: write it flatter")
        if isinstance(item, dict):
            if len(item) > _MAX_KEYS:
                raise InputError(f"{name} has a mapping of more than {_MAX_KEYS:,} keys: split it")
            item = [*item.keys(), *item.values()]
        if isinstance(item, (list, tuple)):
            budget.take("values", steps=len(item))
            pending += [(item_part, level + 1) for item_part in item]
        elif isinstance(item, str):
            budget.take("text", bytes=len(item))
        elif isinstance(item, int) and item.bit_length() > MAX_NUMBER_BITS:
            raise InputError(f"{name} has the number {short_repr(item)}: expected numbers of at most 64 bits")
        elif item is not None and not isinstance(item, (int, float, *also)):
            raise InputError(
                f"{name} has a value of type {type(item).__name__}: expected text, numbers, true, false, null, lists or mappings"
            )
