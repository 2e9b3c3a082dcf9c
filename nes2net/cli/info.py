"""`nes2net info`: what a model, a part, a file, a folder or a recipe's key is."""

from __future__ import annotations

import argparse

from nes2net.cli.entry import subcommand
from nes2net.errors import InputError


def add(commands: argparse._SubParsersAction) -> None:
    text = "Describe a model or a file, with the results published for it"
    parser = subcommand(commands, "info", _info, text, example="nes2net info wav2vec2_Nes2Net_X")
    parser.add_argument(
        "model",
        nargs="?",
        help="whole model, front-end, aggregation or back-end by name, or a checkpoint or folder; lists all names if not given; "
        "recipe: the keys of a recipe",
    )
    parser.add_argument("key", nargs="?", help="after recipe: one key or section of a recipe, e.g. train.lr")


def _info(args: argparse.Namespace) -> int:
    if args.model == "recipe":
        from nes2net.recipes.documentation import describe

        print(describe(args.key))
        return 0
    if args.key is not None:
        raise InputError(f"a key goes with recipe, as in 'nes2net info recipe {args.key}', not with {args.model}")
    from nes2net.experiments.published import results_of
    from nes2net.inspect import info

    print("\n".join(info.names()) if args.model is None else info.text(args.model, results_of(args.model)))
    return 0
