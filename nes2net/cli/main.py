"""The command line: `nes2net COMMAND`; each command with many options of its own is a module beside this one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nes2net import __version__
from nes2net.cli import augment, calibrate, check_data, evaluate, export, reproduce
from nes2net.cli.entry import INCOMPLETE, OneLineParser, add_architecture, run, subcommand
from nes2net.errors import InputError
from nes2net.registry import corpora

if TYPE_CHECKING:
    from nes2net.scoring import Scorer, ScoringResult


def build_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(prog="nes2net", description="Speech anti-spoofing with Nes2Net.")
    parser.add_argument("--version", action="version", version=f"nes2net {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (
        check_data.add,
        _add_train,
        _add_average,
        _add_score,
        evaluate.add,
        calibrate.add,
        reproduce.add,
        _add_info,
        export.add,
        augment.add,
    ):
        add(commands)
    return parser


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = subcommand(commands, "train", _train, "Train a detector as a recipe says")
    parser.epilog = (
        "One process trains on one device. For N of them: torchrun --nproc-per-node N -m nes2net.cli.main train RECIPE key=value …, or "
        "accelerate launch -m nes2net.cli.main train …; train.batch_size is that of all together. The same command goes on with a run "
        "that was interrupted."
    )
    parser.add_argument("recipe", help="YAML file, e.g. configs/asvspoof2019_nes2net_x.yaml")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="override a key, e.g. data.root=DB train.lr=1e-6"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--keep",
        metavar="WHICH",
        help="train.keep: improved, all, or any of last, best and a number k, joined by commas",
    )


def _train(args: argparse.Namespace) -> int:
    from nes2net.config import load_recipe
    from nes2net.training.run import train

    keep = [] if args.keep is None else [f"train.keep={args.keep}"]
    train(load_recipe(args.recipe, [*args.overrides, *keep]), args.device)
    return 0


def _add_score(commands: argparse._SubParsersAction) -> None:
    parser = subcommand(commands, "score", _score, "Score a corpus with a trained detector")
    parser.add_argument("corpus", choices=corpora.names(), help="which corpus")
    parser.add_argument("root", help="its folder")
    parser.add_argument("--model", required=True, help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(parser)
    parser.add_argument(
        "--engine", default="torch", choices=["torch", "onnx"], help="what computes; onnx reads an exported FILE.onnx"
    )
    parser.add_argument("--out", required=True, help="score file to write")
    parser.add_argument("--split", default="eval", help="train, dev or eval, where the corpus has them")
    parser.add_argument("--protocols", default=None, help="folder of the protocols; looked for in root when not given")
    parser.add_argument(
        "--protocol", default="4sec", choices=["4sec", "full"], help="the first 4 s, or whole utterances"
    )
    parser.add_argument(
        "--samples", type=int, default=None, help="samples of '4sec'; the corpus's published number when not given"
    )
    parser.add_argument("--batch-size", type=int, default=8, help="utterances per batch")
    parser.add_argument("--workers", type=int, default=2, help="processes that read audio")
    parser.add_argument("--overwrite", action="store_true", help="replace a score file that another run made")
    parser.add_argument(
        "--on-error", default="skip", choices=["skip", "raise"], help="leave unreadable files out, or stop"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def _score(args: argparse.Namespace) -> int:
    from nes2net.scoring import score_trials

    corpus = corpora.get(args.corpus)
    trials = corpus.trials(args.root, args.split, protocols=args.protocols)
    result = score_trials(
        _scorer(args),
        trials,
        args.out,
        num_samples=None if args.protocol == "full" else args.samples or corpus.TEST_SAMPLES,
        batch_size=args.batch_size,
        num_workers=args.workers,
        on_error=args.on_error,
        overwrite=args.overwrite,
    )
    return report_scoring(result)


def _scorer(args: argparse.Namespace) -> Scorer:
    if args.engine == "onnx":
        from nes2net.onnx_engine import OnnxDetector

        return OnnxDetector(args.model, args.device)
    if Path(args.model).suffix == ".onnx":
        raise InputError(f"{args.model} is an exported detector: add --engine onnx")
    from nes2net.detector import Detector

    return Detector.from_pretrained(args.model, args.device, config=args.architecture)


def report_scoring(result: ScoringResult) -> int:
    """Say what was written and what is missing; the exit status."""
    if result.already_complete:
        print(f"{result.path} is complete already: {result.scored} scores of this very detector")
        return 0
    print(f"{result.scored} of {result.total} scores written to {result.path}")
    if not result.failures:
        return 0
    names = list(result.failures)
    more = f" and {len(names) - 10} more (all in {result.path}.json)" if len(names) > 10 else ""
    print(f"{len(names)} files were left out: {', '.join(names[:10])}{more}", file=sys.stderr)
    return INCOMPLETE


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
    parser.add_argument("--weights", type=float, nargs="+", help="of each checkpoint; equal when not given")
    parser.add_argument(
        "--update-bn",
        type=int,
        metavar="N",
        help="batch statistics anew from N training batches, as SWA has it; run folders only",
    )
    parser.add_argument("--out", default=None, help="file to write; a run folder has its own name for it")
    parser.add_argument(
        "--mode", default="mean", choices=["mean", "legacy"], help="the mean, or what the published code computes"
    )


def _average(args: argparse.Namespace) -> int:
    from nes2net.checkpoint import read_record, save_state_dict
    from nes2net.training.averaging import average_checkpoints, average_run

    if args.by and args.best is None:
        raise InputError("--by goes with --best")
    if args.ids or args.last is not None or args.best is not None:
        if len(args.checkpoints) != 1:
            raise InputError("--ids, --last and --best go with one run folder")
        path = average_run(
            args.checkpoints[0],
            args.ids,
            args.mode,
            last=args.last,
            best=args.best,
            by=args.by or "val_loss_wo_aug",
            weights=args.weights,
            batch_norm_batches=args.update_bn,
        )
    else:
        if args.update_bn is not None:
            raise InputError("--update-bn goes with a run folder, whose recipe says what the training data is")
        if not args.out:
            raise InputError("where should the average go? name a file with --out")
        average = average_checkpoints(args.checkpoints, args.mode, args.weights)
        record = {
            **read_record(average),
            "average": {"of": [Path(p).name for p in args.checkpoints], "mode": args.mode, "weights": args.weights},
        }
        path = args.out
        save_state_dict(average, path, **record)
    print(f"average written to {path}")
    return 0


def _add_info(commands: argparse._SubParsersAction) -> None:
    parser = subcommand(commands, "info", _info, "Tell what a model is made of and what was published of it")
    text = "whole-model name, front-end, aggregation, back-end, or a checkpoint; all names when not given"
    parser.add_argument("model", nargs="?", help=text)


def _info(args: argparse.Namespace) -> int:
    from nes2net import info

    print("\n".join(info.names()) if args.model is None else info.text(args.model))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run(lambda args: args.function(args), build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
