"""The command line `nes2net COMMAND`; each command is a function that is found by its name.

Installed packages add commands by entry points of the group ``nes2net.commands`` (docs/extending.md).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from nes2net.apps.registry import COMMANDS, commands
from nes2net.cli.completion import SHELLS, PrintCompletion
from nes2net.lib.errors import InputError
from nes2net.lib.output.terminal import reserved_output
from nes2net.lib.parts.docstrings import read_docstring
from nes2net.lib.parts.source_text import docstring_in_source
from nes2net.lib.shell.command_line import WRONG_INPUT, OneLineParser, run
from nes2net.lib.shell.commands import add_command
from nes2net.version import __version__

_EXAMPLE = """nes2net predict recording.wav --model detector.pth
nes2net train asvspoof2019_nes2net_x data.root=DB"""


class _Parser(OneLineParser):
    """Accepts the ``key=value`` arguments of a command also after its options."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Words that argparse cannot parse become overrides of a recipe, if the command takes any and
        none begins with ``-``.
        """
        namespace, unparsed = super().parse_known_args(args, namespace)
        words = [word for word in unparsed if word != "--"]
        if "overrides" in namespace and not any(word.startswith("-") for word in words):
            namespace.overrides = [*namespace.overrides, *words]
            unparsed = []
        return namespace, unparsed


class _Command(argparse.Action):
    """A command in the help, with the first line of its docstring, which is read only if the help is printed."""

    def __init__(self, name: str, target: str) -> None:
        self.typed = name.replace("_", "-")
        super().__init__([], name, metavar=self.typed)
        self.target = target
        del self.help  # argparse set it; without it, the property below computes it

    @cached_property
    def help(self) -> str:  # type: ignore[override]
        return read_docstring(docstring_in_source(self.target)).title


class _Parsers(dict[str, Any]):
    """What is typed → the parser of the command; until it is asked for, the registered name of the command."""

    def __getitem__(self, typed: str) -> OneLineParser:
        parser = super().__getitem__(typed)
        if isinstance(parser, str):
            subparsers = _Parser(prog="nes2net").add_subparsers()
            self[typed] = parser = add_command(subparsers, commands.get(parser), parser)
        return parser

    def items(self) -> Any:
        for typed in self:
            with suppress(InputError):  # a command of another package that cannot be loaded
                yield typed, self[typed]


def build_parser() -> OneLineParser:
    """Build the parser of all commands; the parser of a command is built, and its module imported, when it is needed.

    The help lists the commands by task, and commands of other packages last.
    """
    parser = _Parser(prog="nes2net", description="Speech anti-spoofing with Nes2Net.", example=_EXAMPLE)
    parser.epilog = "nes2net COMMAND --help says more about a command."
    parser.add_argument("--version", action="version", version=f"nes2net {__version__}")
    shells = ", ".join(SHELLS)
    parser.add_argument(
        "--completion", action=PrintCompletion, choices=SHELLS, metavar="SHELL", help=f"print the script for {shells}"
    )
    subparsers = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    # argparse reads both: `choices` for checks and messages, `_name_parser_map` for the parser, made at its first
    # look-up.
    subparsers.choices = subparsers._name_parser_map = _Parsers()
    registered = commands.names()  # a command is missing if its folder was deleted
    added = [name for name in registered if not commands.is_built_in(name)]
    for task, names in [*COMMANDS.items(), ("of other packages", added)]:
        listed = [_Command(name, commands.target(name)) for name in names if name in registered]
        # Only the name: _Parsers replaces it by the parser.
        subparsers.choices |= {command.typed: command.dest for command in listed}
        subparsers._choices_actions += listed
        if listed:
            # This makes the help show a group of commands for each task, instead of one list of all commands.
            parser.add_argument_group(task)._group_actions += listed
    groups = [group for group in parser._action_groups if group not in (parser._subparsers, parser._optionals)]
    parser._action_groups = [*groups, parser._optionals]
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in ``argv``, or in the arguments of this process if ``argv`` is None; return its exit status.

    Without arguments, print the help and return the exit status for wrong input.
    """
    parser = build_parser()
    words = sys.argv[1:] if argv is None else argv
    if not words:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    return run(_run_command, parser, argv)


def _run_command(args: argparse.Namespace) -> int | None:
    if not commands.is_built_in(args.command):  # it may print as it likes
        return args.function(args)  # type: ignore[no-any-return]
    with reserved_output():
        return args.function(args)  # type: ignore[no-any-return]


if __name__ == "__main__":
    sys.exit(main())
