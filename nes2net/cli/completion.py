"""`nes2net --completion SHELL`: print the script with which a shell completes commands, flags and files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from nes2net.lib.shell.command_line import OneLineParser

#: The shells for which there is a script.
SHELLS = ("bash", "zsh", "fish")


class PrintCompletion(argparse.Action):
    """Print the script with which the given shell completes commands, and exit."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, shell: Any, __: str | None = None) -> NoReturn:
        import shtab

        assert isinstance(parser, OneLineParser)
        for command_parser in parser.commands().values():
            for action in command_parser._actions:
                # Only an argument without choices can be a file.
                if action.nargs != 0 and not action.choices and action.type in (None, Path):
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell))
        parser.exit()
