"""The command line: `nes2net COMMAND`; each command is a module beside this one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from nes2net import __version__
from nes2net.cli import (
    augment,
    average,
    bench,
    calibrate,
    check_data,
    evaluate,
    export,
    info,
    predict,
    reproduce,
    score,
    serve,
    train,
)
from nes2net.cli.entry import OneLineParser, run


class _Parser(OneLineParser):
    """Accept the ``key=value`` arguments of a command after its options too."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        namespace, left = super().parse_known_args(args, namespace)
        if "overrides" in namespace and not any(word.startswith("-") for word in left):
            namespace.overrides += left
            left = []
        return namespace, left


def build_parser() -> OneLineParser:
    parser = _Parser(prog="nes2net", description="Speech anti-spoofing with Nes2Net.")
    parser.add_argument("--version", action="version", version=f"nes2net {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        check_data.add,
        train.add,
        average.add,
        score.add,
        predict.add,
        serve.add,
        evaluate.add,
        calibrate.add,
        reproduce.add,
        info.add,
        export.add,
        augment.add,
        bench.add,
    ):
        add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    return run(lambda args: args.function(args), build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
