"""`nes2net reproduce`: measure a published result again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nes2net.cli.entry import INCOMPLETE, WRONG_INPUT, add_device, add_resamples, add_workers, subcommand
from nes2net.errors import InputError, worded
from nes2net.machine.terminal import say_written, text_table

_EXAMPLE = "nes2net reproduce nes2net_x-2021_df --data DB --checkpoint detector.pth"


def add(commands: argparse._SubParsersAction) -> None:
    text = "Measure a published result again, and compare"
    parser = subcommand(commands, "reproduce", _reproduce, text, example=_EXAMPLE)
    parser.epilog = (
        "Exit status 1 means that there is no verdict, because the trials, the architecture or the speaker-verification "
        "system differ from those of the published result."
    )
    parser.add_argument("row", nargs="?", help="which published result; lists all if not given")
    places = parser.add_argument_group("files and folders")
    places.add_argument("--data", type=Path, metavar="ROOT", help="folder that holds the corpora")
    places.add_argument(
        "--keys", type=Path, metavar="DIR", help="folder or file of the keys; searched for in ROOT if not given"
    )
    places.add_argument(
        "--protocols", type=Path, metavar="DIR", help="folder of the protocols; searched for in ROOT if not given"
    )
    places.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="trained detector; if not given, one is trained by the recipe"
    )
    places.add_argument("--recipe", type=Path, metavar="FILE", help="recipe to train by, instead of the published one")
    places.add_argument("--ssl-checkpoint", type=Path, metavar="FILE", help="pre-trained front-end, for training")
    places.add_argument("--out", type=Path, metavar="DIR", help="folder to work in; reproduce/ROW if not given")
    places.add_argument(
        "--rows", type=Path, metavar="FILE", help="your own rows, in the layout of nes2net/experiments/published.yaml"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="utterances per batch in scoring")
    add_workers(parser, 2, "processes that read audio")
    parser.add_argument("--allow-partial", action="store_true", help="evaluate even if files are missing or unreadable")
    parser.add_argument(
        "--overwrite", action="store_true", help="score anew, even over the scores of another checkpoint"
    )
    add_resamples(parser, "bootstrap draws for the interval")
    add_device(parser)
    parser.names |= {"root": "--data", "data.root": "--data", "data.protocols": "--protocols"}


def _reproduce(args: argparse.Namespace) -> int:
    from nes2net.experiments.published import find_row, published_rows

    rows = published_rows(args.rows)
    if args.row is None:
        print("\n".join(text_table([(row.id, row.describe()) for row in rows], "l")))
        return 0
    from nes2net.experiments.reproduce import Places, find_missing, reproduce

    row = find_row(args.row, rows)
    if args.data is None:
        raise InputError("where are the corpora? name the folder that holds them with --data")
    out = args.out or Path("reproduce") / row.id
    places = Places(args.data, out, args.keys, args.protocols, args.checkpoint, args.ssl_checkpoint, args.recipe)
    print(row.describe())
    missing = find_missing(row, places)
    if missing:
        goes_on = args.allow_partial and all(m.spares_some for m in missing)
        head = "warning: the result will be partial, missing are" if goes_on else f"missing, {len(missing)} in all:"
        print(worded("\n".join([head, *map(str, missing)])), file=sys.stderr)
        if not goes_on:
            return WRONG_INPUT
    result = reproduce(
        row,
        places,
        device=args.device,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        allow_partial=args.allow_partial,
        overwrite=args.overwrite,
        num_resamples=args.num_resamples,
    )
    print(result.text())
    for name in ("scores.txt", "scores.txt.json", "report.html", "report.json"):
        say_written(out / name, beside_data=True)
    return INCOMPLETE if result.conditions.differences else 0
