"""Read long text files (lists, scores, labels) within limits, and split them into lines and fields."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from nes2net.lib.errors import InputError, as_input_error, pluralise, refuse, short_repr
from nes2net.lib.storage.files import PACKED, check_arrived, read_bounded, sha256_of

#: Limits of a list or a score file. The largest published files have 681,000 lines (ASVspoof 5) and 54 MB (ASVspoof
#: 2021 DF).
MAX_BYTES = 256 << 20
MAX_LINES = 5_000_000
#: Limit of a table of numbers, such as 10⁶ rows of 100 numbers.
MAX_TABLE_BYTES = 4 << 30
_MAX_LINE_LENGTH = 1 << 20  # largest number of characters of a wrong line that are examined for the message

# First bytes of a file that is not text → kind of the file.
_KINDS = {
    **PACKED,
    b"PK\x03\x04": "a ZIP archive, or a spreadsheet",
    b"\x93NUMPY": "a NumPy file",
    b"\x80": "a pickle of Python",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"\x89HDF": "an HDF5 file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
}

# Matches the start of a text that a spreadsheet would take for a formula. Apostrophes may come first.
_COMPUTED = re.compile(r"'*[=+\-@\t\r\n]")


class KeptTexts(NamedTuple):
    """What was read in a context that keeps texts."""

    contents: dict[object, Any]
    """File → its text, or function and arguments → what it read."""
    digests: dict[Path, str]
    """File → SHA-256 in hexadecimal."""


_kept: ContextVar[KeptTexts] = ContextVar("kept")


@contextmanager
def reading_once(texts: KeptTexts | None = None) -> Iterator[KeptTexts]:
    """Keep each text that is read until the end of this context, or of the outermost one, so that it is read once.

    Args:
        texts: texts of an earlier context, which are used instead of those of the outermost one.
    """
    token = _kept.set(texts or _kept.get(KeptTexts({}, {})))
    try:
        yield _kept.get()
    finally:
        _kept.reset(token)


def read_once(read: Callable[..., Iterable[Any]], *arguments: object) -> list[Any]:
    """List what ``read`` yields; within :func:`reading_once`, read only once."""
    with reading_once() as texts:
        key = (read, *arguments)
        if key not in texts.contents:
            texts.contents[key] = list(read(*arguments))
        return texts.contents[key]  # type: ignore[no-any-return]


def sha256_once(path: Path) -> str:
    """Compute the SHA-256 of a file; within :func:`reading_once`, keep its text, so that it is opened once."""
    with reading_once() as texts:
        if path not in texts.digests:
            with suppress(InputError):  # no text, or too long
                read_text_with_line_ends(path)
        return texts.digests.get(path) or sha256_of(path)


def read_text(path: Path) -> str:
    """Read UTF-8 text, without byte-order mark and with ``\\n`` for line ends, or raise :class:`InputError`."""
    text = read_text_with_line_ends(path)
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) of the lines of a text that are not blank; raise as :func:`read_text`."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            yield number, line


def read_text_with_line_ends(path: Path) -> str:
    """Read text as :func:`read_text`, but keep line ends."""
    texts = _kept.get(KeptTexts({}, {}))  # without a context, nothing is kept
    if path in texts.contents:
        return texts.contents[path]  # type: ignore[no-any-return]
    content = read_bounded(path, MAX_BYTES, "give the path of a text file")
    texts.digests[path] = hashlib.sha256(content).hexdigest()
    most_lines = MAX_LINES
    if path.suffix == ".gz":
        most_lines = min(MAX_LINES, max(100_000, len(content) // 2))  # a line of a list takes 2.6 bytes or more
        content = _unzip(path, content)
    if max(content.count(b"\n"), content.count(b"\r")) > most_lines:
        raise InputError(f"{path}: has more than {most_lines:,} lines; split it, or unpack it")
    text = decode_text(path, content)
    texts.contents[path] = text
    return text


def _unzip(path: Path, content: bytes) -> bytes:
    most_bytes = min(MAX_BYTES, max(1 << 27, 16 * len(content)))  # as in Budget.of()
    decompressor = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: a gzip header is expected
    try:
        text = decompressor.decompress(content, most_bytes + 1)
    except zlib.error as error:
        raise InputError(f"{path}: not a gzip file ({error}); compress it again") from error
    refuse(
        (
            len(text) > most_bytes,
            f"{path}: has more than {most_bytes:,} bytes when decompressed, too many for its size; unpack it, or split it",
        ),
        (
            not decompressor.eof or decompressor.unused_data,
            f"{path}: is cut off, or has several gzip members; compress it again",
        ),
    )
    return text


def decode_text(path: Path, content: bytes, message: str = "{}: not a text file ({})") -> str:
    """Decode the ``content`` of the text file ``path``: UTF-8, with or without a byte-order mark.

    Args:
        message: beginning of the error message, with gaps for the path and the problem.

    Raises:
        InputError: if the content is not text, with the kind of file if known.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: is encoded as UTF-16; save it as UTF-8")
    problem = "it holds null bytes"
    try:
        text = content.decode("utf-8-sig")
        if "\0" not in text:
            return text
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
    remedy = "save text of another encoding as UTF-8, or give the unpacked text file"
    for start, kind in _KINDS.items():
        if content.startswith(start):
            remedy = f"it is {kind}: unpack it, or save its table as CSV"
    raise InputError(f"{message.format(path, problem)}; {remedy}")


def text_blocks(path: Path, size: int = 16 << 20) -> Iterator[tuple[int, list[str]]]:
    """Yield a long table in blocks of about ``size`` bytes: (number of the first line, from 1; lines).

    Raises:
        InputError: if the file cannot be read, is not UTF-8 text, is larger than the limit, or has
            a line of more than ``size`` bytes.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a regular file; give the path of a table in text")
    check_arrived(path, packed=True)
    number = 1
    num_bytes = 0
    begun = b""  # the beginning of a line whose end has not been read yet
    with as_input_error(f"{path}: cannot be read", OSError, remedy="give the path of a table in text"):
        with open(path, "rb") as file:
            while block := file.read(size):
                num_bytes += len(block)
                ended, newline, begun = (begun + block).rpartition(b"\n")
                if num_bytes > MAX_TABLE_BYTES or len(begun) > size:
                    decode_text(path, begun)  # a file that is not text gets the error that says so
                    raise InputError(
                        f"{path}: is larger than {MAX_TABLE_BYTES >> 30} GB, or one line is longer than {size:,} bytes; split the file or "
                        "the line"
                    )
                if newline:
                    lines = _lines_of(path, ended)
                    yield number, lines
                    number += len(lines)
            if begun:
                yield number, _lines_of(path, begun)


def _lines_of(path: Path, content: bytes) -> list[str]:
    return decode_text(path, content).replace("\r\n", "\n").removesuffix("\r").split("\n")


def as_cell(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would take for a formula; :func:`from_cell` removes it.

    >>> as_cell("=1+1.wav"), as_cell("LA_E_1"), as_cell(-1.5)
    ("'=1+1.wav", 'LA_E_1', -1.5)
    """
    is_formula = isinstance(value, str) and _COMPUTED.match(value)
    return f"'{value}" if is_formula else value


def from_cell(cell: str) -> str:
    """Recover the text from a cell that :func:`as_cell` wrote.

    >>> from_cell(as_cell("=1+1.wav")), from_cell(as_cell("'=1")), from_cell("'tis")
    ('=1+1.wav', "'=1", "'tis")
    """
    is_quoted = cell.startswith("'") and _COMPUTED.match(cell)
    return cell[1:] if is_quoted else cell


def has_control(id: str) -> bool:
    """Whether ``id`` contains control characters, which a terminal may obey.

    >>> has_control("LA_E_1"), has_control("a\\x1b[2J")
    (False, True)
    """
    return re.search(r"[\x00-\x1f\x7f-\x9f]", id) is not None


def check_utf8(names: Iterable[str]) -> None:
    """Raise :class:`InputError` if a name is not UTF-8."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(f"{short_repr(name)} is not UTF-8, which this output requires: rename the file") from None


def read_rows(path: Path, num_fields: int, fields: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields, separated by white space, of each line that is not blank.

    Args:
        fields: names of the fields, for messages.

    Raises:
        InputError: if a line does not have ``num_fields`` fields.
    """
    for number, line in numbered_lines(path):
        row = line.split(None, num_fields)  # up to num_fields + 1 fields, to notice a line with too many fields
        if len(row) != num_fields:
            beginning = line[:_MAX_LINE_LENGTH]
            raise InputError(
                f"{path}, line {number}: expected {pluralise(num_fields, 'field')} ({fields}), "
                f"found {len(beginning.split())}: {short_repr(beginning.strip())}; correct the line"
            )
        yield number, row


def without_contradictions(pairs: Iterable[Any], subject: object) -> dict[str, Any]:
    """Map keys to values; raise :class:`InputError`, which begins with ``subject``, if a key has two different values."""
    mapping: dict[str, Any] = {}
    for key, value in pairs:
        values = [mapping.setdefault(key, value), value]
        if values[:1] != values[1:]:  # in lists, NaN equals itself
            raise InputError(
                f"{subject}: {short_repr(key)} has different values, {short_repr(values)}; keep one of them"
            )
    return mapping


def parse_float(number: str, path: Path, line: int, quantity: str = "score") -> float:
    """Read a float; unlike Python, accept only ASCII digits, without ``_`` between them.

    Raises:
        InputError: with ``path``, ``line`` and ``quantity``, if the text is not such a number.
    """
    if are_floats([number]):
        return float(number)
    hint = "; correct it"
    if are_floats([number.replace(",", ".")]):
        hint = ", with a decimal comma: write a point"
    elif are_floats([number.strip("\"'")]):
        hint = ": remove the quotation marks"
    raise InputError(f"{path}, line {line}: expected a number as {quantity}, found {short_repr(number)}{hint}")


def are_floats(numbers: Sequence[str]) -> bool:
    text = "".join(numbers)
    if not text.isascii() or "_" in text:
        return False
    try:
        list(map(float, numbers))
    except ValueError:
        return False
    return True
