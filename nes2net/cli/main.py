"""The command line `nes2net COMMAND`; each command is a function that is found by its name.

Installed packages add commands by entry points of the group ``nes2net.commands`` (docs/extending.md).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

from nes2net.cli.completion import SHELLS, PrintCompletion
from nes2net.lib.command_line import WRONG_INPUT, OneLineParser, run
from nes2net.lib.commands import add_command
from nes2net.lib.errors import InputError
from nes2net.models.registry import COMMANDS, commands
from nes2net.version import __version__

_EXAMPLE = """nes2net predict recording.wav --model detector.pth
nes2net train asvspoof2019_nes2net_x data.root=DB"""


class _Parser(OneLineParser):
    """A parser that accepts the ``key=value`` arguments of a command also after the options of the command."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse as argparse does, but turn words that argparse cannot parse into overrides of a recipe.

        Words become overrides only if the command takes overrides, and if no such word begins with
        ``-``.
        """
        namespace, unparsed = super().parse_known_args(args, namespace)
        words = [word for word in unparsed if word != "--"]
        if "overrides" in namespace and not any(word.startswith("-") for word in words):
            namespace.overrides = [*namespace.overrides, *words]
            unparsed = []
        return namespace, unparsed


def build_parser() -> OneLineParser:
    """Build the parser of all commands. The help lists the commands by task, and commands of other packages last."""
    parser = _Parser(prog="nes2net", description="Speech anti-spoofing with Nes2Net.", example=_EXAMPLE)
    parser.epilog = "nes2net COMMAND --help says more about a command."
    parser.add_argument("--version", action="version", version=f"nes2net {__version__}")
    shells = ", ".join(SHELLS)
    parser.add_argument(
        "--completion", action=PrintCompletion, choices=SHELLS, metavar="SHELL", help=f"print the script for {shells}"
    )
    subparsers = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    own_names = commands.names(installed=False)
    installed = [name for name in commands.names() if name not in own_names]
    for task, names in [*COMMANDS.items(), ("of other packages", installed)]:
        num_before = len(subparsers._choices_actions)
        for name in names:
            if name in installed:
                add_command(subparsers, _installed_command(name), name)
            elif name in own_names:  # a command is missing if its folder was deleted
                add_command(subparsers, commands.get(name), name)
        if added := subparsers._choices_actions[num_before:]:
            # This makes the help show a group of commands for each task, instead of one list of all commands.
            parser.add_argument_group(task)._group_actions += added
    groups = [group for group in parser._action_groups if group not in (parser._subparsers, parser._optionals)]
    parser._action_groups = [*groups, parser._optionals]
    return parser


def _installed_command(name: str) -> Callable[..., int | None]:
    """Load the function of the command ``name``, which another package adds.

    If the command cannot be loaded, or if a parameter has no annotation, the returned function
    raises an error when it is called. So one faulty package does not stop all other commands.
    """
    try:
        function = commands.get(name)
        typed = get_type_hints(function)
        if untyped := [key for key in inspect.signature(function).parameters if key not in typed]:
            raise InputError(f"command '{name}' does not say of which type `{untyped[0]}` is: annotate its parameters")
    except InputError as error:
        reason = str(error)

        def raise_reason() -> None:
            raise InputError(reason)

        return raise_reason
    return function


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in ``argv``, or in the arguments of this process if ``argv`` is None; return its exit status.

    Without arguments, print the help and return the exit status for wrong input.
    """
    parser = build_parser()
    words = sys.argv[1:] if argv is None else argv
    if not words:
        parser.print_help(sys.stderr)
        return WRONG_INPUT
    return run(lambda args: args.function(args), parser, argv)


if __name__ == "__main__":
    sys.exit(main())
