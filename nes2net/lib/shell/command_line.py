"""The common part of all command lines: one-line errors, exit statuses, interruptions."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import textwrap
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, NoReturn

from nes2net.lib.errors import (
    InputError,
    Unfinished,
    did_you_mean,
    first_line,
    nearest,
    one_line,
    settings_called,
    short_repr,
    with_flag_names,
)
from nes2net.lib.parts.conditions import Condition
from nes2net.lib.parts.contracts import blame_part
from nes2net.lib.process.search_path import remove_current_folder
from nes2net.lib.process.this_process import is_first_to_fail, is_out_of_memory
from nes2net.lib.storage.files import no_empty_folders

#: Exit status if the command finished with a result that is incomplete, or not comparable with
#: published results.
INCOMPLETE = 1
#: Exit status if an input is missing or wrong.
WRONG_INPUT = 2
#: Exit status if a check finished and has findings.
FOUND = 3
#: Exit status after a signal or a full disk (EX_TEMPFAIL of sysexits.h). If the user gives the command again, the work
#: is resumed.
TEMPORARY = 75
#: Exit status after Ctrl-C.
INTERRUPTED = 130


class HelpFormatter(argparse.HelpFormatter):
    """Formats the help of a command: a short usage line, and each flag with its meaning, choices and default."""

    def __init__(self, *args: Any, **options: Any) -> None:
        # With 28 columns for flags, the meaning of most flags begins on the line of the flag.
        super().__init__(*args, **{"max_help_position": 28, **options})

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], groups: Any, *prefix: Any) -> None:
        actions = list(actions)
        needed = [action for action in actions if action.required or not action.option_strings]
        if len(needed) < len(actions):
            # All optional flags together are shown as one "[option ...]".
            needed.insert(0, argparse.Action([], "option", nargs="*", metavar="option"))
        super().add_usage(usage, needed, (), *prefix)

    def add_arguments(self, actions: Iterable[argparse.Action]) -> None:
        super().add_arguments(sorted(actions, key=lambda action: action.dest in ("help", "debug")))

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        short = {int: "N", float: "X"}.get(action.type)  # type: ignore[call-overload]
        return short or super()._get_default_metavar_for_optional(action)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        if action.nargs == argparse.ONE_OR_MORE:
            return "{} ...".format(*self._metavar_formatter(action, default_metavar)(1))  # argparse writes "N [N ...]"
        return super()._format_args(action, default_metavar)

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Callable[[int], tuple[str, ...]]:
        """Show a placeholder for more than a few choices; :meth:`_get_help_string` lists them, unless :class:`Listed`."""
        if action.metavar is None and _has_many_choices(action):
            return lambda size: (default_metavar,) * size
        return super()._metavar_formatter(action, default_metavar)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        default = action.default
        if _has_many_choices(action) and not isinstance(action.choices, Listed):
            text = f"{text}; one of {', '.join(map(str, action.choices or ()))}"
        if not action.option_strings or action.nargs == 0 or default in (None, argparse.SUPPRESS, []):
            return text
        default_text = (
            " ".join(map(str, default)) if isinstance(default, list) else "%(default)s"
        )  # argparse fills in %(default)s
        return f"{text} (default: {default_text})"

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:  # an example, whose lines stay
            return textwrap.indent(text, indent)
        return super()._fill_text(text, width, indent)


def _has_many_choices(action: argparse.Action) -> bool:
    return not isinstance(action, argparse._SubParsersAction) and len(list(action.choices or ())) > 6


class Listed(list[str]):
    """Choices that the help omits, such as the names of all corpora, which `nes2net info` prints."""


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line long and suggest the nearest choice.

    It maps settings of the library (a flag's ``dest``, and ``names``) to flags, for messages. The
    parsed arguments contain it as ``parser``.
    """

    def __init__(self, *args: Any, example: str = "", **options: Any) -> None:
        super().__init__(*args, **{"formatter_class": HelpFormatter, **options})
        #: One or several commands to paste into a shell. If a line ends with a backslash, the next
        #: line is indented and continues the command.
        self.example = example
        if example:
            self.add_argument_group("example", example)
            # The example comes before the arguments.
            self._action_groups.insert(0, self._action_groups.pop())
        # : Setting of the library → its flag.
        self.names: dict[str, str] = {}
        #: Name of an argument → the smallest and the largest number that it allows.
        self.ranges: dict[str, tuple[float, float]] = {}
        #: Flag whose value is optional → regular expression of a value in a word of its own.
        self.patterns: dict[str, str] = {}
        #: Conditions of flags, each with the name of its argument.
        self.conditions: list[tuple[str, Condition]] = []
        #: Whether an interrupted run is resumed if the user gives the command again.
        self.resumes = True
        # ``args.parser`` is then the parser of the chosen subcommand.
        self.set_defaults(parser=self)

    def commands(self) -> dict[str, OneLineParser]:
        """Map the words of each command and subcommand, such as ``data check``, to its parser."""
        parsers = {}
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, parser in action.choices.items():
                    parsers[name] = parser
                    for subcommand, inner_parser in parser.commands().items():
                        parsers[f"{name} {subcommand}"] = inner_parser
        return parsers

    def flags(self) -> Mapping[str, str]:
        """Map each setting of the library to its flag; later changes of ``names`` are seen."""
        return ChainMap(self.names, {a.dest: a.option_strings[-1] for a in self._actions if a.option_strings})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse as argparse does, but exit if a flag is unknown, with the nearest flag.

        With subcommands, flags are checked by their parsers.
        """
        words = list(sys.argv[1:] if args is None else args)
        if not any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in self._actions):
            # Without subcommands, all flags belong to this parser. Check the flags here, because
            # argparse would first report missing arguments.
            actions_by_flag = self._option_string_actions
            own_words = words[: words.index("--")] if "--" in words else words
            # As in argparse, a word with a space is a value, and the beginning of a flag may stand for the flag.
            for word in own_words:
                flag = word.partition("=")[0]
                if (
                    flag.startswith("--")
                    and " " not in word
                    and not any(name.startswith(flag) for name in actions_by_flag)
                ):
                    self.error(f"unrecognized arguments: {flag}{nearest(flag, actions_by_flag, cutoff=0.7)}")
        for flag, pattern in self.patterns.items():
            for number, (word, following) in enumerate(pairwise(words)):
                if len(word) > 2 and flag.startswith(word) and not re.fullmatch(pattern, following):
                    words[number] = f"{word}="
        return super().parse_known_args(words, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            is_command = isinstance(action, argparse._SubParsersAction)
            is_listed = isinstance(action.choices, Listed)
            listing_command = "nes2net info corpora" if is_listed else f"{command_of(self.prog)} --help"
            suggestion = did_you_mean(str(value), map(str, action.choices), listing_command, cutoff=0.5)
            problem = "unknown command" if is_command else "invalid choice:"
            # The message begins with the name of the argument.
            raise argparse.ArgumentError(None if is_command else action, f"{problem} '{value}'{suggestion}")

    def error(self, message: str) -> NoReturn:
        """Exit with one line, without argparse's usage."""
        # The words of :func:`did_you_mean`.
        is_explained = "did you mean" in message or "; known: " in message
        advice = "" if is_explained else " (--help lists what is accepted)"
        self.exit(WRONG_INPUT, f"{self.prog}: error: {one_line(message)}{advice}\n")


def run(
    command: Callable[[argparse.Namespace], int | None], parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parse the arguments, run ``command`` and return the exit status.

    An :class:`InputError`, a lack of memory and an error of the operating system become one line on
    standard error, or are raised with ``--debug``. :class:`Unfinished` and Ctrl-C always become one
    line. If the program that reads the output ends first, such as ``head``, the status is
    :data:`INCOMPLETE`. At the end, folders made for outputs are removed if they are empty.

    Args:
        command: takes the parsed arguments and returns an exit status; None means 0.
        argv: the words after the program's name; None for ``sys.argv``, and then no modules are
            imported from the current folder.
    """
    if argv is None:
        remove_current_folder()
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without UTF-8 cannot show '–' and some file names.
            stream.reconfigure(errors="backslashreplace")
    try:
        args = parser.parse_args(argv)
    except InputError as error:  # a command of another package cannot be loaded
        if "--debug" in (argv or sys.argv):
            raise
        _print_error(f"{parser.prog}: error: {error}")
        return WRONG_INPUT
    from nes2net.lib.output.progress import Preparation, printing_lines  # start-up

    texts = [value for value in vars(args).values() if isinstance(value, str)]
    preparation = Preparation(f"{args.parser.prog}: loading libraries and inputs")
    with printing_lines(), settings_called(args.parser.flags()), no_empty_folders(*texts), preparation:
        try:
            with blame_part():
                status = command(args) or 0
            sys.stdout.flush()
            return status
        except InputError as error:
            if args.debug:
                raise
            _print_error(f"{parser.prog}: error: {with_flag_names(str(error))}")
            return WRONG_INPUT
        except Unfinished as error:
            _print_error(f"{parser.prog}: {one_line(with_flag_names(str(error)))}")
            return TEMPORARY
        except BrokenPipeError:  # the program that reads the output, such as `head`, has ended
            _discard_closed_output()
            return INCOMPLETE
        except (MemoryError, RuntimeError, OSError) as error:
            is_explained = is_out_of_memory(error) or getattr(error, "errno", None)
            # A process of torchrun that loses contact to one that failed before is silent.
            if args.debug or (not is_explained and is_first_to_fail()):
                raise
            text = f"memory ran out ({first_line(error)})"
            if isinstance(error, OSError):
                text = _path_problem(error)
            _discard_closed_output()
            _print_error(f"{parser.prog}: error: {one_line(text)}")
            return WRONG_INPUT
        except KeyboardInterrupt:
            resumes = "; the same command resumes from what is done" if args.parser.resumes else ""
            _print_error(f"\n{parser.prog}: interrupted{resumes}")
            return INTERRUPTED


def _print_error(text: str) -> None:
    if is_first_to_fail():
        with suppress(OSError):
            print(text, file=sys.stderr)


def _path_problem(error: OSError) -> str:
    if error.filename is None:
        return f"a file or the standard output cannot be read or written: {error.strerror} (--debug shows where)"
    return f"{short_repr(os.fsdecode(error.filename))} cannot be read or written: {error.strerror}; name another path"


def _open_closed_streams() -> None:
    """Open closed standard streams on the null device, or the next file would get their descriptor."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))


def _discard_closed_output() -> None:
    """Redirect closed standard output to the null device, or Python would print a traceback at its exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):  # the stream has no descriptor, as in a notebook
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command_of(prog: str) -> str:
    """Write the command that starts the program ``prog``.

    >>> command_of("main.py"), command_of("nes2net published main")
    ('python main.py', 'nes2net published main')
    """
    return f"python {prog}" if prog.endswith(".py") else prog


def add_debug(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
