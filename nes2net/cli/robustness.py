"""`nes2net robustness`: one detector on the same trials, clean and under named conditions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nes2net.cli.entry import (
    INCOMPLETE,
    CorpusNames,
    add_architecture,
    add_device,
    add_dtype,
    add_resamples,
    add_workers,
    corpus_in_place,
    subcommand,
)
from nes2net.cli.score import add_length, num_samples_of
from nes2net.errors import InputError
from nes2net.machine.terminal import print_warnings, printable, say_written

if TYPE_CHECKING:
    from nes2net.decisions import Decider, OperatingPoint
    from nes2net.detector import Detector

_EPILOG = (
    "OUT/scores has a score file for each condition; OUT/report.html, .json and .md have the figures. The same command "
    "resumes an interrupted run, and further conditions are added to an OUT of the same detector, trials and seed. Exit "
    "status 1 means that a condition has no figures, or that files were left out."
)


def add(commands: argparse._SubParsersAction) -> None:
    example = (
        "nes2net robustness in_the_wild DB --model detector.pth --out robustness \\\n"
        "  --trials 2000 --conditions mp3 white:5 telephone"
    )
    text = "Score the same trials clean, coded, noisy and cut, and report what it costs"
    parser = subcommand(commands, "robustness", _robustness, text, example=example)
    parser.epilog = _EPILOG
    parser.names |= {"augment.musan": "--musan", "augment.rir": "--rir"}
    parser.add_argument(
        "corpus", choices=CorpusNames(), help="which corpus, or hub:OWNER/NAME for a data set of the Hugging Face hub"
    )
    parser.add_argument("root", nargs="?", help="its folder; one of the hub is downloaded if not given")
    parser.add_argument("--model", help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(parser)
    parser.add_argument("--out", metavar="DIR", help="folder to write")
    parser.add_argument("--list", action="store_true", help="list trials and conditions, and stop")
    which = parser.add_argument_group("which trials, and how much of them")
    which.add_argument("--split", default="eval", help="train, dev or eval, where the corpus has them")
    which.add_argument("--phase", help="phase of the keys; the split if not given")
    which.add_argument("--keys", metavar="DIR", help="folder or file of the keys; searched for in root if not given")
    which.add_argument("--protocols", help="folder of the protocols; searched for in root if not given")
    which.add_argument(
        "--trials",
        dest="num_trials",
        type=int,
        metavar="N",
        help="a subset of so many trials, in the proportions of labels and attacks; all if not given",
    )
    which.add_argument("--seed", type=int, default=0, help="seed of the subset, of the conditions and of the bootstrap")
    add_length(which)
    under = parser.add_argument_group("conditions")
    under.add_argument(
        "--conditions",
        nargs="+",
        metavar="NAME[:STRENGTH]",
        help="such as mp3:16 white:5 telephone; a name alone stands for all its strengths; all that are possible if not "
        "given",
    )
    under.add_argument("--musan", metavar="DIR", help="folder of MUSAN, for noise, music and speech")
    under.add_argument("--rir", metavar="DIR", help="folder of impulse responses, for rir")
    decisions = parser.add_argument_group("threshold")
    decisions.add_argument(
        "--calibration", metavar="FILE", help="take the threshold of this calibration of the detector"
    )
    decisions.add_argument(
        "--operating-point",
        default="eer",
        metavar="POINT",
        help="which threshold of the clean trials or of --calibration: eer, fa:1%%, miss:1%%, or with --calibration "
        "cost:CMISS,CFA,PRIOR",
    )
    computing = parser.add_argument_group("computing")
    computing.add_argument(
        "--batch-size", type=int, help="utterances of 4 s per batch at most; 8 on the CPU and 64 on a GPU if not given"
    )
    add_workers(computing, None, "processes that read and change audio; one per processor, at most 8, if not given")
    add_device(computing)
    add_dtype(computing, "precision of weights and computation; auto is that of the checkpoint")
    add_resamples(parser, "bootstrap draws for each interval")


def _robustness(args: argparse.Namespace) -> int:
    from nes2net.corpora.part import Part
    from nes2net.decisions import OperatingPoint
    from nes2net.evaluation.robustness_page import write_robustness
    from nes2net.experiments.robustness import plan, run

    point = OperatingPoint.parse(args.operating_point)
    of_corpus = corpus_in_place(args).test_samples
    planned = plan(
        Part(args.corpus, args.root, args.split, args.protocols, args.revision),
        phase=args.phase,
        keys=args.keys,
        wanted=args.conditions,
        num_trials=args.num_trials,
        seed=args.seed,
        musan=args.musan,
        rir=args.rir,
    )
    if args.list:
        print(printable("\n".join(planned.words())))
        return 0
    if not args.model or not args.out:
        raise InputError("name the detector with `model` and a folder with `out`; `list` needs neither")
    detector = _detector(args)
    num_samples = num_samples_of(args, of_corpus, detector.record)
    result = run(
        detector,
        planned,
        args.out,
        num_samples=num_samples,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        rule=_decider(args.calibration, point, detector, num_samples) or point,
        checkpoint=args.model,
        num_resamples=args.num_resamples,
    )
    print(printable(result.text()))
    written = [Path(args.out, f"report.{suffix}") for suffix in ("html", "json", "md")]
    write_robustness(result, *written)
    for path in (*written, Path(args.out, "scores")):
        say_written(path, beside_data=True)
    impossible = result.failed.keys() - planned.left_out.keys()
    return INCOMPLETE if impossible or result.left_out else 0


def _detector(args: argparse.Namespace) -> Detector:
    from nes2net.detector import Detector
    from nes2net.machine.devices import own_device

    return Detector.from_pretrained(args.model, own_device(args.device), args.dtype, args.config, args.base)


def _decider(path: str | None, point: OperatingPoint, detector: Detector, num_samples: int | None) -> Decider | None:
    """The decider of a calibration file, which must be one of this detector."""
    from nes2net.decisions import Decider, load
    from nes2net.scoring.calibrated import check_belongs

    if path is None:
        return None
    decider = Decider(load(path), operating_point=point)
    print_warnings(
        filter(None, [*check_belongs(detector, decider.calibration), decider.calibration.unlike(num_samples)])
    )
    return decider
