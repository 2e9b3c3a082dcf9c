"""Lists, scores and labels: long text files, read within limits and split into lines and fields."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from nes2net.lib.errors import InputError, counted, shown
from nes2net.lib.files import read_bounded

#: Limits of a list or a score file. The largest published ones, of ASVspoof 5 and of ASVspoof 2021
#: DF, have 681,000 lines and 54 MB.
MOST_BYTES = 256 << 20
MOST_LINES = 5_000_000
#: Limit of a table of numbers, such as 10⁶ rows of 100.
MOST_TABLE_BYTES = 4 << 30
_LONGEST_LINE = 1 << 20  # characters of a line that a message looks at

# What a spreadsheet would compute, or has an apostrophe before it already.
_COMPUTED = re.compile(r"'*[=+\-@\t\r\n]")

_digests: ContextVar[dict[Path, str] | None] = ContextVar("digests", default=None)


@contextmanager
def recorded_digests() -> Iterator[dict[Path, str]]:
    """Path → SHA-256 (hexadecimal) of each file that :func:`read_text` reads in this context."""
    digests: dict[Path, str] = {}
    token = _digests.set(digests)
    try:
        yield digests
    finally:
        _digests.reset(token)


def read_text(path: Path) -> str:
    """The text of ``path`` (UTF-8, with or without a byte-order mark), with ``\\n`` as line ends.

    Raises:
        InputError: if it cannot be read, is not text, or is longer than any list.
    """
    text = decoded_text(path)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def decoded_text(path: Path) -> str:
    """The text of ``path`` as :func:`read_text` reads it, with its own line ends."""
    content = read_bounded(path, MOST_BYTES, "give the path of a text file")
    if (digests := _digests.get()) is not None:
        digests[path] = hashlib.sha256(content).hexdigest()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: is encoded as UTF-16; save it as UTF-8")
    if content.count(b"\n") > MOST_LINES:
        raise InputError(f"{path}: has more than {MOST_LINES:,} lines; split it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a text file (byte {error.start} is not UTF-8); save text of another encoding as UTF-8, or give the "
            "unpacked text file"
        ) from error
    if "\0" in text:
        raise InputError(f"{path}: not a text file (it holds null bytes); give a text file in UTF-8")
    return text


def text_blocks(path: Path, size: int = 16 << 20) -> Iterator[tuple[int, list[str]]]:
    """The lines of a long table, some ``size`` bytes at a time, each block with the number of its first line from 1.

    Raises:
        InputError: if it cannot be read, is not text in UTF-8, or is larger than any table.
    """
    digest = hashlib.sha256()
    number = 1
    num_bytes = 0
    begun = b""  # of a line whose end is not read yet
    try:
        with open(path, "rb") as file:
            while block := file.read(size):
                digest.update(block)
                num_bytes += len(block)
                ended, newline, begun = (begun + block).rpartition(b"\n")
                if num_bytes > MOST_TABLE_BYTES or len(begun) > size or b"\0" in block:
                    raise InputError(
                        f"{path}: is no table in text, or has more than {MOST_TABLE_BYTES >> 30} GB; give another file, or split it"
                    )
                if newline:
                    lines = _lines_of(ended, is_first=number == 1)
                    yield number, lines
                    number += len(lines)
            if begun:
                yield number, _lines_of(begun, is_first=number == 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}): give the path of a table in text") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8; save text of another encoding as UTF-8") from error
    if (digests := _digests.get()) is not None:
        digests[path] = digest.hexdigest()


def _lines_of(content: bytes, *, is_first: bool) -> list[str]:
    """Decode ``content`` into lines without their ends; the first lines of a file may begin with a byte-order mark."""
    text = content.decode("utf-8-sig" if is_first else "utf-8")
    return text.replace("\r\n", "\n").removesuffix("\r").split("\n")


def as_cell(value: Any) -> Any:
    """``value`` for a CSV file: an apostrophe comes before a text that a spreadsheet would compute.

    Numbers stay numbers. :func:`of_cell` gives the same text again.

    >>> as_cell("=1+1.wav"), as_cell("LA_E_1"), as_cell(-1.5)
    ("'=1+1.wav", 'LA_E_1', -1.5)
    """
    computed = isinstance(value, str) and _COMPUTED.match(value)
    return f"'{value}" if computed else value


def of_cell(cell: str) -> str:
    """The text of a cell that :func:`as_cell` wrote.

    >>> of_cell(as_cell("=1+1.wav")), of_cell(as_cell("'=1")), of_cell("'tis")
    ('=1+1.wav', "'=1", "'tis")
    """
    is_quoted = cell.startswith("'") and _COMPUTED.match(cell)
    return cell[1:] if is_quoted else cell


def has_control(id: str) -> bool:
    """Whether ``id`` holds control characters, such as the escape that begins what a terminal obeys.

    >>> has_control("LA_E_1"), has_control("a\\x1b[2J")
    (False, True)
    """
    return re.search(r"[\x00-\x1f\x7f-\x9f]", id) is not None


def read_rows(path: Path, num_fields: int, fields: str) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line of ``path`` that is not blank.

    White space separates the fields.

    Raises:
        InputError: if a line has not ``num_fields`` fields; the message names them (``fields``).
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        row = line.split(None, num_fields)  # just enough fields to see that there are too many
        if len(row) == num_fields:
            yield number, row
        elif row:
            raise InputError(
                f"{path}, line {number}: expected {counted(num_fields, 'field')} ({fields}), "
                f"found {len(line[:_LONGEST_LINE].split())}: {shown(line[:_LONGEST_LINE].strip())}"
            )


def checked_float(number: str, path: Path, line: int, quantity: str = "score") -> float:
    """Read ``number``, in ASCII and without Python's ``_`` between digits, as a float.

    Raises:
        InputError: with file and line, if it is anything else.
    """
    try:
        if number.isascii() and "_" not in number:
            return float(number)
    except ValueError:
        pass
    raise InputError(f"{path}, line {line}: expected a number as {quantity}, found {shown(number)}")
