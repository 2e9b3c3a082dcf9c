"""Errors that a user can correct, the wording of their messages, and interruptions from outside."""

from __future__ import annotations

import difflib
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import date, time
from itertools import islice
from pathlib import PurePath
from types import MappingProxyType
from typing import Any
from unicodedata import category


class Explained(Exception):
    """An error that is explained to the user: what it is about, what is wrong, and what to do.

    The message is one line of limited length, without control characters, because it may quote a
    file. Settings stand in backticks: "pass `overwrite=True`"; the command line replaces them by
    its flags (:func:`with_flag_names`).

    Args:
        problem: what is wrong. Without ``remedy``, it also says what to do.
        subject: beginning of the message, such as ``"audio file FILE"``.
        remedy: what to do, after a semicolon.
    """

    def __init__(self, problem: str, *, subject: str = "", remedy: str = "") -> None:
        super().__init__(problem)
        self.subject = subject
        self.problem = problem
        self.remedy = remedy

    def concern(self, subject: str) -> None:
        """Put ``subject``, such as a file and a colon, before the message."""
        self.subject = f"{subject} {self.subject}".strip()

    def reword(self) -> None:
        """Replace the settings in the message by the names of the present :func:`settings_called`."""
        self.subject = with_flag_names(self.subject)
        self.problem = with_flag_names(self.problem)
        self.remedy = with_flag_names(self.remedy)

    @property
    def reason(self) -> str:
        """The message without the subject."""
        return one_line(f"{self.problem}; {self.remedy}" if self.remedy else self.problem)

    def __str__(self) -> str:
        return one_line(f"{self.subject} {self.reason}") if self.subject else self.reason


class InputError(Explained, ValueError):
    """An input of nes2net is missing or wrong; the message names it and says what to do.

    The command line prints it without a traceback, and exits with status 2.
    """

    http_status = 422


class MissingLibrary(InputError):
    """A needed library is not installed, or cannot be imported."""


class BrokenPart(InputError):
    """A part of another package breaks its contract; no other recording or trial would change this."""


def refuse(*rules: tuple[object, str]) -> None:
    """Raise :class:`InputError` with the message of the first rule (condition, message) that holds.

    >>> refuse((1 > 2, "1 is above 2"), (3 > 2, "3 is above 2"))
    Traceback (most recent call last):
    nes2net.lib.errors.InputError: 3 is above 2
    """
    for is_wrong, message in rules:
        if is_wrong:
            raise InputError(message)


@contextmanager
def as_input_error(problem: str, *errors: type[Exception], remedy: str = "") -> Iterator[None]:
    """Within this context, turn ``errors`` into an :class:`InputError`: ``problem (reason); remedy``.

    An :class:`Explained` error is raised unchanged.
    """
    try:
        yield
    except errors as error:
        if isinstance(error, Explained):
            raise
        reason = getattr(error, "strerror", None) or first_line(error)
        raise InputError(f"{problem} ({reason})", remedy=remedy) from error


def expecting(kind: str, path: str | PurePath, remedy: str) -> AbstractContextManager[None]:
    """Make a context for reading ``path`` as a ``kind`` of file, in which every error becomes an :class:`InputError`."""
    return as_input_error(f"{path} is not {kind} or is damaged", Exception, remedy=remedy)


class Unfinished(Explained):
    """Work was interrupted from outside, by a signal, a full disk or a broken connection; the same command resumes it."""


class Unreachable(Unfinished):
    """A remote file cannot be read at present."""


@contextmanager
def concerning(subject: str) -> Iterator[None]:
    """Within this context, put ``subject`` before the message of an :class:`Explained` error."""
    try:
        yield
    except Explained as error:
        error.concern(subject)
        raise


def at_line(file: object, line: int) -> AbstractContextManager[None]:
    """Make a context for a line of a file, which :func:`concerning` names."""
    return concerning(f"{file}, line {line}:")


_MAX_MESSAGE_LENGTH = 1000  # largest number of characters of a message
_MAX_NAME_LENGTH = 100  # largest number of characters of an unknown name that are compared with known names
_MAX_NAMED = 10  # largest number of known names that a message lists


def one_line(text: str) -> str:
    """Put ``text`` on one line of at most 1,000 characters, and escape unprintable characters.

    >>> one_line("a\\x1b[2J\\n  b"), len(one_line("\\0" * 10**6))
    ('a\\\\x1b[2J b', 1000)
    """
    # Cut twice: first to be quick for a huge text, then because escapes lengthen it.
    line = " ".join(filter(None, map(str.strip, _cut_middle(text).splitlines())))
    return _cut_middle(visible(line))


def visible(text: str) -> str:
    """Escape unprintable characters, because a terminal may obey them; all kinds of spaces (category Zs) stay."""
    return "".join(c if c.isprintable() or category(c) == "Zs" else ascii(c)[1:-1] for c in text)


def _cut_middle(text: str) -> str:
    half = _MAX_MESSAGE_LENGTH // 2
    if len(text) <= _MAX_MESSAGE_LENGTH:
        return text
    return f"{text[: half - 1]} … {text[-half + 2 :]}"  # exactly the greatest length


_SETTING = re.compile(r"`([\w.]+)(?:=([^`]+))?`")
_flags: ContextVar[Mapping[str, str]] = ContextVar("flags", default=MappingProxyType({}))


@contextmanager
def settings_called(flags: Mapping[str, str]) -> Iterator[None]:
    """Within this context, :func:`with_flag_names` replaces settings by ``flags``: name of a setting → its flag."""
    token = _flags.set(flags)
    try:
        yield
    finally:
        _flags.reset(token)


def with_flag_names(text: str) -> str:
    """Replace the settings in a message by the flags of the running program.

    A setting without a flag stays; one that is mapped to a key of a recipe becomes this key in
    backticks. A flag may stand for a setting and its value.

    >>> flags = {"overwrite": "--overwrite", "data.root": "--root", "data.crop": "--set data.crop"}
    >>> with settings_called(flags | {"model.frontend=lps": "--frontend lps"}):
    ...     print(with_flag_names("pass `overwrite=True`, `data.root=…` or `data.crop=random`"))
    ...     print(with_flag_names("take `model.frontend=lps`, not `model.backend`"))
    pass --overwrite, --root … or --set data.crop=random
    take --frontend lps, not `model.backend`
    """
    flags = _flags.get()

    def flag_of(match: re.Match[str]) -> str:
        setting, value = match.groups()
        if value is not None and (whole_setting := f"{setting}={value}") in flags:
            return flags[whole_setting]
        if setting not in flags:
            return match[0]
        flag = flags[setting]
        if not flag.startswith("--"):  # a key of a recipe
            return match[0].replace(setting, flag, 1)
        if value is None or value == "True":
            return flag
        if " " in flag:
            return f"{flag}={value}"
        return f"{flag} {value}"

    return _SETTING.sub(flag_of, text)


def nearest(word: str, known_names: Iterable[str], cutoff: float = 0.6) -> str:
    """Suggest the nearest of ``known_names`` for a wrong ``word``, as the end of a message; empty if none is near.

    Args:
        cutoff: smallest similarity from 0 to 1 (:func:`difflib.get_close_matches`).

    >>> nearest("dilaton", ["dilation", "pool"]), nearest("POOL", ["dilation", "pool"]), nearest("zzz", ["pool"])
    ("; did you mean 'dilation'?", "; did you mean 'pool'?", '')
    """
    known_names = list(known_names)
    word = word[:_MAX_NAME_LENGTH]
    close = [name for name in known_names if name.casefold() == word.casefold()]
    close = close or difflib.get_close_matches(word, known_names, n=1, cutoff=cutoff)
    return f"; did you mean '{close[0]}'?" if close else ""


def did_you_mean(
    name: str, known_names: Iterable[str], command: str = "", *, cutoff: float = 0.6, meant: str | None = None
) -> str:
    """End a message about an unknown ``name`` with the nearest known name, and up to ten known names.

    Args:
        command: a command that lists all names, printed if there are more than ten.
        meant: the suggestion; None for :func:`nearest`.

    >>> did_you_mean("dilaton", ["pool", "dilation"])
    "; did you mean 'dilation'? Known: dilation, pool"
    >>> did_you_mean("zzz", "abcdefghijk", "nes2net info")
    '; known: a, b, c, d, e, f, g, h, i, j, … (11 in all; `nes2net info` lists them)'
    """
    known_names = sorted(set(known_names))
    if not known_names:
        return ""
    meant = nearest(name, known_names, cutoff) if meant is None else meant
    names = known_names
    ending = ""
    if len(known_names) > _MAX_NAMED:
        near = difflib.get_close_matches(name[:_MAX_NAME_LENGTH], known_names, n=_MAX_NAMED, cutoff=0)
        names = sorted(near) if meant else known_names[:_MAX_NAMED]
        command_advice = f"; `{command}` lists them" if command else ""
        ending = f", … ({len(known_names)} in all{command_advice})"
    opening = f"{meant} Known" if meant else "; known"
    return f"{opening}: {', '.join(names)}{ending}"


def check_known(names: Iterable[str], known_names: Iterable[str], problem: str, command: str = "") -> None:
    """Raise :class:`InputError` (``problem``, name, :func:`did_you_mean`) for the first name not among ``known_names``.

    >>> check_known(["pool"], ["dilation", "pool"], "there is no option")
    """
    known_names = list(known_names)
    for name in names:
        if name not in known_names:
            raise InputError(f"{problem} '{name}'{did_you_mean(str(name), known_names, command)}")


_LARGEST_SETTING = 2**63  # files and libraries hold signed numbers of 64 bits


def check_setting(name: str, value: object, fits: bool, expected: str) -> None:
    """Raise :class:`InputError` unless ``fits`` and below 2⁶³: the setting ``name`` is ``expected``.

    >>> check_setting("batch_size", 8, 8 >= 1, "at least 1")
    """
    if fits and isinstance(value, (int, float)) and not abs(value) < _LARGEST_SETTING:
        fits = False
        expected += " and below 2⁶³"
    if not fits:
        raise InputError(f"`{name}` must be {expected}, not {short_repr(value)}")


def join_names(names: Sequence[str], limit: int = 10) -> str:
    """Join up to ``limit`` of ``names`` with commas; if there are more, also state how many.

    >>> join_names(["a", "b", "c"], limit=2)
    'a, b, … (3 in all)'
    """
    if len(names) <= limit:
        return ", ".join(names)
    return f"{', '.join(names[:limit])}, … ({len(names)} in all)"


def pluralise(number: int | Sized, singular: str, plural: str | None = None) -> str:
    """Write ``number``, or the length of a collection, and a noun, in the plural unless ``number`` is 1.

    >>> pluralise(1, "epoch"), pluralise(2, "epoch"), pluralise(4000, "process is", "processes are")
    ('1 epoch', '2 epochs', '4,000 processes are')
    """
    if isinstance(number, Sized):
        number = len(number)
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


_MAX_BITS = 512  # largest number of bits of a whole number that is written out; longer numbers take too much time
_MAX_SHOWN = 6  # largest number of items of a container that are written out
_BRACKETS = {list: "[]", tuple: "()", dict: "{}", set: "{}", frozenset: "{}", deque: "[]"}


def short_repr(value: Any, levels: int = 4) -> str:
    """Write a short ``repr`` of a wrong ``value``, for a message.

    It is quick even for a huge value, and calls no method of an unknown class: an unknown object is
    shown by its class. Values inside more than ``levels`` containers are omitted.

    >>> short_repr({"max": (1,)}), len(short_repr("x" * 10**6)), short_repr(10**5000)
    ("{'max': (1,)}", 100, '<a number of 16610 bits>')
    """
    for kind, brackets in _BRACKETS.items():
        if isinstance(value, kind):
            # ``kind.items``, not ``value.items``: a subclass may override methods.
            items = kind.items(value) if kind is dict else zip(kind.__iter__(value))
            texts = []
            for pair_or_item in islice(items, _MAX_SHOWN if levels else 0):
                texts.append(": ".join(short_repr(item, levels - 1) for item in pair_or_item))
            if len(texts) < kind.__len__(value):
                texts.append("...")
            elif kind is tuple and len(texts) == 1:
                texts = [f"{texts[0]},"]
            return f"{brackets[0]}{', '.join(texts)}{brackets[1]}"
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        return f"<a number of {value.bit_length()} bits>"
    if isinstance(value, (str, bytes)):
        value = value[:_MAX_NAME_LENGTH]  # the ``repr`` of bytes may be several times as long as the bytes
    elif value is not None and not isinstance(value, (int, float, date, time, PurePath)):
        return f"<{type(value).__name__}>"
    text = repr(value)
    return text if len(text) <= _MAX_NAME_LENGTH else f"{text[:48]}...{text[-49:]}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, at most 200 characters, or the name of its class.

    >>> first_line(ValueError("no such size")), first_line(KeyError())
    ('no such size', 'KeyError')
    """
    # The argument of an error may be any object, such as the missing key of a KeyError.
    is_object = len(error.args) == 1 and not isinstance(error.args[0], str)
    text = short_repr(error.args[0]) if is_object else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0][:200]


_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def readable_size(size: float) -> str:
    """Write ``size``, in bytes, with a unit.

    >>> readable_size(3_812_000_000)
    '3.8 GB'
    """
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.1f} {_UNITS[unit]}" if unit else f"{size:.0f} {_UNITS[unit]}"
