"""What every command line of the package shares: one-line errors, exit statuses, and how an interruption is answered."""

from __future__ import annotations

import argparse
import sys
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from nes2net.errors import InputError, Unfinished, nearest, settings_called, worded

#: Exit statuses: done, but something is left out, incomplete or not comparable; something given is
#: missing or wrong; stopped from outside, by a signal or a full disk, and the same command goes on
#: (EX_TEMPFAIL of sysexits.h); interrupted from the keyboard.
INCOMPLETE, WRONG_INPUT, TEMPORARY, INTERRUPTED = 1, 2, 75, 130


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and name the nearest choice.

    It also knows what its program calls the settings of the library: a flag's ``dest`` is the name of
    the setting, and ``names`` holds the others. The parsed arguments hold the parser as ``parser``.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.names: dict[str, str] = {}
        self.set_defaults(parser=self)

    def flags(self) -> Mapping[str, str]:
        """Setting of the library → what this program calls it. A later change of ``names`` shows."""
        return ChainMap(self.names, {a.dest: a.option_strings[-1] for a in self._actions if a.option_strings})

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += nearest(str(value), map(str, action.choices or ()), cutoff=0.5)
            raise

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_INPUT, f"{self.prog}: error: {message} (--help lists what is accepted)\n")


def run(
    command: Callable[[argparse.Namespace], int | None], parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> int:
    """Parse and run; return the exit status. :class:`InputError` becomes one line on standard error unless ``--debug`` is given."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a terminal that is not UTF-8 has no '–' and not every file's name
    args = parser.parse_args(argv)
    with settings_called(args.parser.flags()):
        try:
            return command(args) or 0
        except InputError as error:
            if args.debug:
                raise
            print(f"{parser.prog}: error: {' '.join(worded(str(error)).split())}", file=sys.stderr)
            return WRONG_INPUT
        except Unfinished as error:
            print(f"{parser.prog}: {' '.join(worded(str(error)).split())}", file=sys.stderr)
            return TEMPORARY
        except BrokenPipeError:
            return INCOMPLETE
        except KeyboardInterrupt:
            goes_on = "; the same command goes on from what is done" if getattr(args, "resumes", True) else ""
            print(f"\n{parser.prog}: interrupted{goes_on}", file=sys.stderr)
            return INTERRUPTED


def add_debug(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def subcommand(
    commands: argparse._SubParsersAction, name: str, function: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    """A subcommand ``name`` that runs ``function``; ``text`` says what it does, without a full stop."""
    parser = commands.add_parser(
        name, help=text, description=f"{text}.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.set_defaults(function=function)
    add_debug(parser)
    return parser


def add_architecture(parser: argparse.ArgumentParser) -> None:
    text = "what a checkpoint is that does not say it itself: a published model's name, or a recipe; recognised when not given"
    parser.add_argument("--architecture", dest="config", default=None, metavar="NAME|RECIPE", help=text)
