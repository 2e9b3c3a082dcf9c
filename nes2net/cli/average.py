"""`nes2net average`: one checkpoint from several, given as files or chosen from a run folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nes2net.cli.entry import WRONG_INPUT, subcommand
from nes2net.cli.next_commands import after_averaging, print_next
from nes2net.errors import InputError
from nes2net.machine.terminal import printable_name

if TYPE_CHECKING:
    from nes2net.recipes.recipe import Recipe


def add(commands: argparse._SubParsersAction) -> None:
    example = "nes2net average models/0520_nes2net_x --best 5"
    parser = subcommand(commands, "average", _average, "Average checkpoints", example=example)
    parser.names |= {"folder": "checkpoints", "batch_norm_batches": "--update-bn"}
    parser.add_argument(
        "checkpoints",
        nargs="+",
        help="checkpoint files, or one run folder with --ids, --last or --best; without these its epochs are listed",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--ids", type=int, nargs="+", help="epochs N of the run folder's epoch_N.pth")
    which.add_argument(
        "--last", type=int, metavar="K", help="the run folder's last K epochs: stochastic weight averaging (SWA)"
    )
    which.add_argument(
        "--best", type=int, metavar="K", help="the run folder's K epochs with the lowest --by; the papers take 3 or 5"
    )
    parser.add_argument(
        "--by",
        metavar="VALUE",
        help="value for --best: val_loss_wo_aug (if not given), val_loss_w_aug, val_eer_wo_aug, …, loss (of training)",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        help="one weight per checkpoint, in the order given (--last, --best: ascending epochs); equal if not given",
    )
    parser.add_argument(
        "--update-bn",
        type=int,
        metavar="N",
        help="recompute batch statistics from N training batches, as SWA does; run folders only",
    )
    parser.add_argument("--out", help="file to write; a run folder gives it a name if not given")
    parser.add_argument(
        "--mode", default="mean", choices=["mean", "legacy"], help="the mean, or what the published code computes"
    )


def _average(args: argparse.Namespace) -> int:
    if args.by and args.best is None:
        raise InputError("--by goes with --best")
    if args.ids or args.last is not None or args.best is not None:
        path = _average_run(args)
    elif len(args.checkpoints) == 1 and Path(args.checkpoints[0]).is_dir():
        return _say_choices(args.checkpoints[0])
    else:
        path = _average_files(args)
    if recipe := _recipe_of(path):
        print_next(after_averaging(path, recipe))
    return 0


def _say_choices(folder: str) -> int:
    """Print which epochs could be averaged; average nothing."""
    from nes2net.training.selection import choices

    found, table = choices(folder)
    print(f"saved in {printable_name(folder)}, epochs counted from 1; best means the lowest val_loss_wo_aug (--by):")
    print("\n".join(table))
    print_next([["average", folder, f"--{choice.which}", choice.number] for choice in found])
    print("nothing was averaged: choose with --best K, --last K or --ids N …", file=sys.stderr)
    return WRONG_INPUT


def _recipe_of(average: Path) -> Recipe | None:
    """The recipe that the record of ``average`` holds; None for one of another program, or an earlier version."""
    from nes2net.checkpoints.state_dict import load_state_dict, read_record
    from nes2net.recipes.recipe import recipe_from_dict

    try:
        return recipe_from_dict(read_record(load_state_dict(average))["recipe"])
    except (InputError, KeyError):
        return None


def _average_run(args: argparse.Namespace) -> Path:
    from nes2net.training.averaging import average_run

    if len(args.checkpoints) != 1:
        raise InputError("--ids, --last and --best go with one run folder")
    average = average_run(
        args.checkpoints[0],
        args.ids,
        args.mode,
        last=args.last,
        best=args.best,
        by=args.by or "val_loss_wo_aug",
        weights=args.weights,
        batch_norm_batches=args.update_bn,
        out=args.out,
    )
    if average.earlier == "used":
        print(f"{average.path} is there already, made of these checkpoints, and stays; --out names another file")
    else:
        print(f"average written to {average.path}")
    return average.path


def _average_files(args: argparse.Namespace) -> Path:
    from nes2net.checkpoints.averaging import average_checkpoints
    from nes2net.checkpoints.state_dict import save_state_dict
    from nes2net.machine.files import sha256_of
    from nes2net.training.averaging import check_target, record_of_average

    if args.update_bn is not None:
        raise InputError("--update-bn goes with a run folder, whose recipe says what the training data is")
    if not args.out:
        raise InputError("where should the average go? name a file with --out")
    check_target(args.out)
    average = average_checkpoints(args.checkpoints, args.mode, args.weights)
    made = {
        "of": [Path(p).name for p in args.checkpoints],
        "sha256": [sha256_of(p) for p in args.checkpoints],
        "mode": args.mode,
        "weights": args.weights,
    }
    save_state_dict(average, args.out, **record_of_average(average, made))
    print(f"average written to {args.out}")
    return Path(args.out)
