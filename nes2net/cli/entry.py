"""What every command line of the package shares: one-line errors, exit statuses, and how an interruption is answered."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from nes2net.errors import InputError, Unfinished

#: Exit statuses: some trials could not be scored; something given is missing or wrong; stopped from outside, by a signal or a full disk,
#: and the same command goes on (EX_TEMPFAIL of sysexits.h); interrupted from the keyboard.
INCOMPLETE, WRONG_INPUT, TEMPORARY, INTERRUPTED = 1, 2, 75, 130


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

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
    try:
        return command(args) or 0
    except InputError as error:
        if args.debug:
            raise
        print(f"{parser.prog}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return WRONG_INPUT
    except Unfinished as error:
        print(f"{parser.prog}: {' '.join(str(error).split())}", file=sys.stderr)
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
    parser.add_argument("--architecture", default=None, help=text)
