"""`nes2net scale`: score a collection of any size on Ray, shard by shard."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from nes2net.cli.entry import INCOMPLETE, add_architecture, add_device, add_dtype, subcommand
from nes2net.errors import counted, listed
from nes2net.machine.terminal import printable

if TYPE_CHECKING:
    from nes2net.scale.collection import Outcome

_EPILOG = (
    "OUT gets a .parquet file for each shard, with a row for each recording: id, address, seconds, score, or an error "
    "that says why there is none; OUT/scale.json says what made them. The same command goes on after an interruption, and "
    "scores shards that were added or replaced. Exit status 1 means that a recording or a shard could not be read."
)


def add(commands: argparse._SubParsersAction) -> None:
    example = (
        "nes2net scale 's3://bucket/set/*.parquet' --model detector.pth --out DIR\n"
        "nes2net scale files.txt --model detector.pth --out DIR --scores s.txt"
    )
    parser = subcommand(
        commands, "scale", _scale, "Score a collection of any size on Ray, shard by shard", example=example
    )
    parser.epilog = _EPILOG
    parser.names["num_actors"] = "--actors"
    parser.add_argument(
        "source",
        help="folder, file, pattern or URL of .parquet, .arrow or .tar shards; a list (.txt) of paths and URLs; a folder of "
        "recordings; or hub:OWNER/NAME",
    )
    parser.add_argument("--model", required=True, help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(parser)
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the results")
    parser.add_argument("--scores", metavar="FILE", help="write all scores to a score file too, for nes2net evaluate")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="remove the results of another detector or setting, or of shards that are not in the source",
    )
    parser.add_argument(
        "--retry-errors", action="store_true", help="score shards again that have recordings without a score"
    )
    parser.add_argument(
        "--protocol",
        choices=["4sec", "full"],
        help="the first 4 s, or whole recordings; if not given, what the authors of a published detector score, else what "
        "the detector was trained on, else 4sec",
    )
    parser.add_argument("--samples", dest="num_samples", type=int, metavar="N", help="samples of '4sec' (64600)")
    computing = parser.add_argument_group("computing")
    computing.add_argument(
        "--batch-size", type=int, help="recordings in a batch; 8 on the CPU and 64 on a GPU if not given"
    )
    computing.add_argument(
        "--actors",
        dest="num_actors",
        type=int,
        metavar="N",
        help="processes that score; as many as GPUs, or else processors, if not given",
    )
    computing.add_argument("--cpus-per-actor", type=float, default=1, help="threads of each of them without a GPU")
    computing.add_argument("--gpus-per-actor", type=float, help="a part of a GPU, or several; 1 if there are GPUs")
    computing.add_argument(
        "--address", help="of a Ray cluster, such as auto; RAY_ADDRESS or, without it, this machine if not given"
    )
    add_device(computing)
    add_dtype(computing, "precision of weights and computation; auto is that of the checkpoint")


def _scale(args: argparse.Namespace) -> int:
    from nes2net.audio.crop import ASVSPOOF_SAMPLES
    from nes2net.scale.cluster import Resources
    from nes2net.scale.collection import score_collection
    from nes2net.scale.engine import Model
    from nes2net.scale.results import to_score_file

    of_protocol: dict[str | None, Any] = {"4sec": ASVSPOOF_SAMPLES, "full": None, None: "auto"}
    outcome = score_collection(
        args.source,
        Model(args.model, args.device, args.dtype, args.config, args.base),
        args.out,
        num_samples=of_protocol[args.protocol] if args.num_samples is None else args.num_samples,
        batch_size=args.batch_size,
        resources=Resources(args.num_actors, args.cpus_per_actor, args.gpus_per_actor, args.address),
        overwrite=args.overwrite,
        retry_errors=args.retry_errors,
    )
    status = _report(outcome)
    if args.scores and outcome.scored:
        written = to_score_file(outcome.out, args.scores)
        print(f"{counted(written.scored, 'score')} written to {written.path}")
    return status


def _report(outcome: Outcome) -> int:
    """Print what there is and, on standard error, what is missing; return the exit status."""
    read = outcome.shards - len(outcome.unread)
    kept = f", {outcome.kept} of them by earlier runs" if outcome.kept else ""
    scored = f"{outcome.scored:,} of {counted(outcome.rows, 'recording has a score', 'recordings have scores')}"
    print(f"{scored}, in {outcome.out}; {read:,} of {counted(outcome.shards, 'shard')}{kept}")
    if outcome.without_score:
        print(
            f"{counted(outcome.without_score, 'recording has', 'recordings have')} no score: the column `error` says why",
            file=sys.stderr,
        )
    if outcome.unread:
        reasons = printable(listed(list(outcome.unread.values())))
        print(f"{counted(len(outcome.unread), 'shard')} could not be read: {reasons}", file=sys.stderr)
    return 0 if outcome.complete else INCOMPLETE
