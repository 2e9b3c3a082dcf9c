"""`nes2net info`: what a model, a part, a file or a folder is."""

from __future__ import annotations

import argparse

from nes2net.cli.entry import subcommand


def add(commands: argparse._SubParsersAction) -> None:
    parser = subcommand(commands, "info", _info, "Describe a model or a file, with the results published for it")
    parser.add_argument(
        "model",
        nargs="?",
        help="whole model, front-end, aggregation or back-end by name, or a checkpoint or folder; lists all names if not given",
    )


def _info(args: argparse.Namespace) -> int:
    from nes2net.inspect import info

    print("\n".join(info.names()) if args.model is None else info.text(args.model))
    return 0
