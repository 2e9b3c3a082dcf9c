"""Text for a terminal: notes and warnings, tables, printable names, and messages about written files.

What commands compute is printed; other lines are logged, and command lines print them, too.
"""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import TextIO

from nes2net.lib.errors import InputError, short_repr, visible, with_flag_names
from nes2net.lib.process.this_process import is_first

#: Logger of notes, warnings and failures, all of which are warnings; below it, those of progress and of the results of
#: runs, which are information.
LOGGER = logging.getLogger("nes2net")
PROGRESS = logging.getLogger("nes2net.progress")
RESULTS = logging.getLogger("nes2net.results")
#: Functions that store each line, such as in the log of a run.
STORES: list[Callable[[str], None]] = []
_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}

# The standard output of a running command of nes2net, whose parts print on standard error.
_reserved: list[TextIO] = []


@contextmanager
def reserved_output() -> Iterator[None]:
    """Let ``print`` print on standard error; only functions of this module still print on standard output."""
    _reserved.append(standard_output())
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _reserved.pop()


def standard_output() -> TextIO:
    """Return standard output, also if it is a :func:`reserved_output`."""
    return [sys.stdout, *_reserved][-1]


def print_output(text: object) -> None:
    """Print :func:`printable` ``text`` on standard output."""
    print(printable(text), file=standard_output(), flush=True)


def print_note(text: str) -> None:
    """Log a note by :func:`say_aside`, unless empty; only the first process does."""
    if text and is_first():
        say_aside(f"note: {text}")


@cache
def note_once(text: str) -> None:
    print_note(text)


def print_warnings(lines: Iterable[str]) -> None:
    """Log warnings by :func:`say_aside`; only the first process does."""
    if is_first():
        say_aside(*(f"warning: {line}" for line in lines))


def say(*lines: object, file: TextIO | None = None) -> None:
    """Print each of ``lines`` as one line, whatever names of strangers it holds."""
    print(*map(printable_name, lines), sep="\n", file=file or standard_output(), flush=True)


def say_aside(*lines: str) -> None:
    """Log warnings, each of which is one line, whatever names of strangers it holds."""
    for line in lines:
        log_line(printable_name(line), LOGGER, logging.WARNING)


def log_line(text: str, logger: logging.Logger, level: int = logging.INFO) -> None:
    """Store and log ``text``, with settings :func:`with_flag_names`."""
    text = with_flag_names(text)
    for store in STORES:
        store(text)
    logger.log(level, "%s", text)


def table_line(cells: Sequence[str], widths: Sequence[int], align: str = "lr") -> str:
    """Pad ``cells`` to columns, escape control characters, and join them as a line of a table.

    Args:
        widths: number of characters of each column, the last for all further ones; longer cells
            stay.
        align: ``l`` or ``r`` for each column, the last for all further ones.

    >>> table_line(["a.wav", "0.5", "3 s"], [8, 6], "lr")
    'a.wav        0.5     3 s'
    """
    cells = [printable(cell).replace("\n", "\\n") for cell in cells]
    padded = []
    for number, cell in enumerate(cells):
        width = widths[min(number, len(widths) - 1)]
        is_left = align[min(number, len(align) - 1)] == "l"
        padded.append(cell.ljust(width) if is_left else cell.rjust(width))
    return "  ".join(padded).rstrip()


def text_table(rows: Sequence[Sequence[str]], align: str = "lr") -> list[str]:
    """Lay out ``rows`` of equal length as a table; ``align`` as for :func:`table_line`.

    >>> print(*text_table([["attack", "EER %"], ["A07", "0.5"], ["A08", "12.25"]]), sep="\\n")
    attack  EER %
    A07       0.5
    A08     12.25
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [table_line(row, widths, align) for row in rows]


def wrap_text(text: str, first: str, continuation: str, width: int = 120) -> list[str]:
    """Wrap ``text`` after ``first`` and ``continuation``, but break no long word, so that a path can be copied."""
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=continuation,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [first.rstrip()]


def markdown_text(text: str) -> str:
    r"""Escape ``text`` for Markdown, also in a cell of a table.

    >>> markdown_text("a|b *c* <d>")
    'a\\|b \\*c\\* \\<d\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>#|~&!$])", r"\\\1", printable_name(text))


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of cells in Markdown; only the first column is aligned to the left.

    >>> print(markdown_table(["system", "EER in %"], [["Nes2Net-X", "1.65"]]))
    | system | EER in % |
    | --- | ---: |
    | Nes2Net-X | 1.65 |
    """
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def printable_name(name: object) -> str:
    r"""Escape all unprintable characters, including line breaks and tabs, which a file name may contain.

    >>> printable_name("a\x1b[2J\n.wav")
    'a\\x1b[2J\\n.wav'
    """
    text = str(name)
    if text.isprintable():
        return text
    return visible(text)


def check_one_line(names: Iterable[str], owner: str) -> None:
    """Raise InputError if a name does not fit a line, or a column between tabs, as it is."""
    for name in names:
        if printable_name(name).strip() != name:
            raise InputError(
                f"{owner} has the name {short_repr(name)}: remove tabs, line breaks, control characters, and spaces at its ends"
            )


def printable(text: object) -> str:
    r"""Escape, as in JSON, control characters except line breaks and tabs, and bytes that are not UTF-8 (``\udcff``).

    >>> printable(b"take\xff.wav".decode("utf-8", "surrogateescape")), printable("\x1b[2J")
    ('take\\udcff.wav', '\\u001b[2J')
    """
    return str(text).translate(_ESCAPES).encode("utf-8", "backslashreplace").decode()


def say_written(path: object, *, beside_data: bool = False) -> None:
    """Print that ``path`` was written; with ``beside_data`` on standard output, print on standard error.

    >>> say_written("scores.txt")
    wrote scores.txt
    """
    say(f"wrote {path}", file=sys.stderr if beside_data else None)
