"""Read long text files (lists, scores, labels) within limits, and split them into lines and fields."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from nes2net.lib.errors import InputError, counted, shown
from nes2net.lib.files import read_bounded

#: Limits of a list or a score file. The largest published files have 681,000 lines (ASVspoof 5) and 54 MB (ASVspoof
#: 2021 DF).
MOST_BYTES = 256 << 20
MOST_LINES = 5_000_000
#: Limit of a table of numbers, such as 10⁶ rows of 100 numbers.
MOST_TABLE_BYTES = 4 << 30
_LONGEST_LINE = 1 << 20  # largest number of characters of a wrong line that are examined for the message

# Matches the start of a text that a spreadsheet would take for a formula. Apostrophes may come first.
_COMPUTED = re.compile(r"'*[=+\-@\t\r\n]")

_digests: ContextVar[dict[Path, str] | None] = ContextVar("digests", default=None)


@contextmanager
def recorded_digests() -> Iterator[dict[Path, str]]:
    """Within this context, record the digest of each file that the functions of this module read.

    Yields:
        Path of a file → its SHA-256 in hexadecimal. The mapping is complete when the context ends.
    """
    digests: dict[Path, str] = {}
    token = _digests.set(digests)
    try:
        yield digests
    finally:
        _digests.reset(token)
        if (outer_digests := _digests.get()) is not None:
            outer_digests.update(digests)


def read_text(path: Path) -> str:
    """Read a text file (UTF-8, with or without a byte-order mark); its line ends become ``\\n``.

    Raises:
        InputError: if the file cannot be read, is not text, or is longer than the limits.
    """
    text = decoded_text(path)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def decoded_text(path: Path) -> str:
    """Read a text file as :func:`read_text` does, with the same errors, but leave line ends unchanged."""
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
    """Yield the lines of a long table in blocks of about ``size`` bytes: (number of the first line, lines).

    Lines are numbered from 1.

    Raises:
        InputError: if the file cannot be read, is not UTF-8 text, is larger than the limit, or has
            a line of more than ``size`` bytes.
    """
    digest = hashlib.sha256()
    number = 1
    num_bytes = 0
    begun = b""  # the beginning of a line whose end has not been read yet
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
    """Decode ``content`` into lines without their ends.

    Args:
        is_first: whether the lines are the first of a file, which may begin with a byte-order mark.
    """
    text = content.decode("utf-8-sig" if is_first else "utf-8")
    return text.replace("\r\n", "\n").removesuffix("\r").split("\n")


def as_cell(value: Any) -> Any:
    """Convert ``value`` for a CSV file: put an apostrophe before a text that a spreadsheet would take for a formula.

    Numbers are unchanged. When the file is read, :func:`of_cell` removes the apostrophe.

    >>> as_cell("=1+1.wav"), as_cell("LA_E_1"), as_cell(-1.5)
    ("'=1+1.wav", 'LA_E_1', -1.5)
    """
    is_formula = isinstance(value, str) and _COMPUTED.match(value)
    return f"'{value}" if is_formula else value


def of_cell(cell: str) -> str:
    """Recover the text from a cell that :func:`as_cell` wrote.

    >>> of_cell(as_cell("=1+1.wav")), of_cell(as_cell("'=1")), of_cell("'tis")
    ('=1+1.wav', "'=1", "'tis")
    """
    is_quoted = cell.startswith("'") and _COMPUTED.match(cell)
    return cell[1:] if is_quoted else cell


def has_control(id: str) -> bool:
    """Whether ``id`` contains control characters, such as the escape character that terminals obey.

    >>> has_control("LA_E_1"), has_control("a\\x1b[2J")
    (False, True)
    """
    return re.search(r"[\x00-\x1f\x7f-\x9f]", id) is not None


def read_rows(path: Path, num_fields: int, fields: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each line of ``path`` that is not blank; white space separates fields.

    Args:
        fields: the names of the fields, for messages.

    Raises:
        InputError: if a line does not have ``num_fields`` fields.
    """
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        row = line.split(None, num_fields)  # up to num_fields + 1 fields, to notice a line with too many fields
        if len(row) == num_fields:
            yield number, row
        elif row:
            raise InputError(
                f"{path}, line {number}: expected {counted(num_fields, 'field')} ({fields}), "
                f"found {len(line[:_LONGEST_LINE].split())}: {shown(line[:_LONGEST_LINE].strip())}"
            )


def checked_float(number: str, path: Path, line: int, quantity: str = "score") -> float:
    """Read the text ``number`` as a float; unlike Python, accept only ASCII digits, without ``_`` between digits.

    Args:
        path, line: file and line of the number, for the message.
        quantity: name of the quantity, for the message.

    Raises:
        InputError: if the text is not a number in this form; the message states file and line.
    """
    try:
        if number.isascii() and "_" not in number:
            return float(number)
    except ValueError:
        pass
    raise InputError(f"{path}, line {line}: expected a number as {quantity}, found {shown(number)}")


def are_floats(numbers: Sequence[str]) -> bool:
    """Whether :func:`checked_float` accepts each of ``numbers``."""
    text = "".join(numbers)
    if not text.isascii() or "_" in text:
        return False
    try:
        list(map(float, numbers))
    except ValueError:
        return False
    return True
