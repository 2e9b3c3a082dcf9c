"""The command line: `nes2net COMMAND`; each command with many options of its own is a module beside this one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nes2net import __version__
from nes2net.cli import augment, bench, calibrate, check_data, evaluate, export, predict, reproduce, score
from nes2net.cli.entry import OneLineParser, run, subcommand
from nes2net.errors import InputError


class _Parser(OneLineParser):
    """Takes the ``key=value`` of a command that has some after its options too."""

    def parse_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        namespace, left = self.parse_known_args(args, namespace)
        if "overrides" in namespace and not any(word.startswith("-") for word in left):
            namespace.overrides += left
            left = []
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return namespace


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="nes2net", description="Speech anti-spoofing with Nes2Net.")
    parser.add_argument("--version", action="version", version=f"nes2net {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        check_data.add,
        _add_train,
        _add_average,
        score.add,
        predict.add,
        evaluate.add,
        calibrate.add,
        reproduce.add,
        _add_info,
        export.add,
        augment.add,
        bench.add,
    ):
        add(commands)
    return parser


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = subcommand(commands, "train", _train, "Train a detector as a recipe says")
    parser.epilog = (
        "One process trains on one device. For N of them: torchrun --nproc-per-node N -m nes2net.cli.main train RECIPE key=value …, or "
        "accelerate launch -m nes2net.cli.main train …; train.batch_size is that of all together. The same command goes on with a run "
        "that was interrupted (exit status 75 after SIGTERM or with a full disk, 130 after Ctrl-C; torchrun's own is 1 in both cases)."
    )
    parser.add_argument("recipe", help="YAML file, e.g. configs/asvspoof2019_nes2net_x.yaml")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="override a key, e.g. data.root=DB train.lr=1e-6"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.names |= {"root": "data.root", "protocols": "data.protocols"}
    parser.add_argument(
        "--keep",
        metavar="WHICH",
        help="train.keep: improved, all, or any of last, best and a number k, joined by commas",
    )


def _train(args: argparse.Namespace) -> int:
    from nes2net.recipes.recipe import load_recipe
    from nes2net.training.run import train

    keep = [] if args.keep is None else [f"train.keep={args.keep}"]
    train(load_recipe(args.recipe, [*args.overrides, *keep]), args.device)
    return 0


def _add_average(commands: argparse._SubParsersAction) -> None:
    parser = subcommand(commands, "average", _average, "Average checkpoints")
    parser.add_argument(
        "checkpoints", nargs="+", help="checkpoint files, or one run folder with --ids, --last or --best"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--ids", type=int, nargs="+", help="epochs of the run folder's epoch_N.pth")
    which.add_argument(
        "--last", type=int, metavar="K", help="the run folder's last K epochs: stochastic weight averaging (SWA)"
    )
    which.add_argument(
        "--best", type=int, metavar="K", help="the run folder's K epochs with the lowest --by; published are 3 and 5"
    )
    parser.add_argument(
        "--by",
        metavar="VALUE",
        help="value of the development set that --best goes by: val_loss_wo_aug (when not given), val_loss_w_aug, val_eer_wo_aug, …",
    )
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        help="of each checkpoint, as they are given; with --last and --best of the epochs in ascending order; equal when not given",
    )
    parser.add_argument(
        "--update-bn",
        type=int,
        metavar="N",
        help="batch statistics anew from N training batches, as SWA has it; run folders only",
    )
    parser.add_argument("--out", default=None, help="file to write; in a run folder it has a name when not given")
    parser.add_argument(
        "--mode", default="mean", choices=["mean", "legacy"], help="the mean, or what the published code computes"
    )
    parser.names["folder"] = "checkpoints"


def _average(args: argparse.Namespace) -> int:
    from nes2net.checkpoints.state_dict import save_state_dict
    from nes2net.training.averaging import average_checkpoints, average_run, record_of_average

    if args.by and args.best is None:
        raise InputError("--by goes with --best")
    if args.ids or args.last is not None or args.best is not None:
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
    else:
        if args.update_bn is not None:
            raise InputError("--update-bn goes with a run folder, whose recipe says what the training data is")
        if not args.out:
            raise InputError("where should the average go? name a file with --out")
        average = average_checkpoints(args.checkpoints, args.mode, args.weights)
        made = {"of": [Path(p).name for p in args.checkpoints], "mode": args.mode, "weights": args.weights}
        save_state_dict(average, args.out, **record_of_average(average, made))
        print(f"average written to {args.out}")
    return 0


def _add_info(commands: argparse._SubParsersAction) -> None:
    parser = subcommand(commands, "info", _info, "Tell what a model is made of and what was published of it")
    text = "whole-model name, front-end, aggregation, back-end, or a checkpoint; all names when not given"
    parser.add_argument("model", nargs="?", help=text)


def _info(args: argparse.Namespace) -> int:
    from nes2net.inspect import info

    print("\n".join(info.names()) if args.model is None else info.text(args.model))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run(lambda args: args.function(args), build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
