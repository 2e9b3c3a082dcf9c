"""`nes2net train`: train a detector from a recipe."""

from __future__ import annotations

import argparse

from nes2net.cli.entry import add_device, subcommand
from nes2net.cli.next_commands import after_training, print_next

_EPILOG = (
    "One process trains on one device. For N devices: torchrun --nproc-per-node N -m nes2net train RECIPE "
    "key=value …, or accelerate launch -m nes2net train …; train.batch_size counts the utterances of all "
    "processes together. The same command resumes an interrupted run (exit status 75 after SIGTERM or on a full disk, "
    "130 after Ctrl-C; torchrun itself exits with 1 in both cases)."
)


def add(commands: argparse._SubParsersAction) -> None:
    example = "nes2net train asvspoof2019_nes2net_x data.root=DB"
    parser = subcommand(commands, "train", _train, "Train a detector from a recipe", example=example)
    parser.epilog = _EPILOG
    parser.add_argument("recipe", help="YAML file, or name of a packaged recipe, e.g. asvspoof2019_nes2net_x")
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],  # otherwise they would be named if the recipe is missing
        metavar="key=value",
        help="override a key, e.g. data.root=DB train.lr=1e-6; nes2net info recipe lists them",
    )
    add_device(parser)
    parser.add_argument(
        "--keep",
        metavar="WHICH",
        help="train.keep: improved, all, or any of last, best and a number k, joined by commas",
    )
    parser.names |= {"root": "data.root", "protocols": "data.protocols"}


def _train(args: argparse.Namespace) -> int:
    from nes2net.recipes.reading import load_recipe
    from nes2net.training.run import train

    keep = [] if args.keep is None else [f"train.keep={args.keep}"]
    recipe = load_recipe(args.recipe, [*args.overrides, *keep])
    print_next(after_training(train(recipe, args.device), recipe))
    return 0
