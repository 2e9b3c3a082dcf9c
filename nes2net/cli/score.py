"""`nes2net score`: score a corpus; `main.py --eval` shares its report and flags."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nes2net.cli.calibrated import add_calibration, decider_of
from nes2net.cli.entry import (
    CorpusNames,
    add_architecture,
    add_batches,
    add_device,
    add_dtype,
    corpus_in_place,
    report_finished,
    subcommand,
)
from nes2net.cli.next_commands import after_scoring, print_next
from nes2net.errors import InputError
from nes2net.machine.terminal import print_note
from nes2net.published_models import samples_to_score

if TYPE_CHECKING:
    from nes2net.scoring.scorer import Scorer

_EPILOG = (
    "On several GPUs or processes, torchrun --nproc-per-node N -m nes2net score … writes the same file; the "
    "progress bar counts the share of the first process. Exit status 1 means that some files were left out; torchrun "
    "reports it as FAILED. The same command resumes an interrupted run, with any number of processes."
)


def add(commands: argparse._SubParsersAction) -> None:
    example = "nes2net score asvspoof2021_df DB --model detector.pth --out scores_DF.txt"
    parser = subcommand(commands, "score", _score, "Score a corpus with a trained detector", example=example)
    parser.epilog = _EPILOG
    parser.add_argument(
        "corpus", choices=CorpusNames(), help="which corpus, or hub:OWNER/NAME for a data set of the Hugging Face hub"
    )
    parser.add_argument("root", nargs="?", help="its folder; one of the hub is downloaded if not given")
    parser.add_argument("--model", required=True, help="checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(parser)
    parser.add_argument(
        "--engine", default="torch", choices=["torch", "onnx"], help="PyTorch, or onnxruntime for an exported FILE.onnx"
    )
    parser.add_argument("--out", required=True, help="score file to write")
    which = parser.add_argument_group("which trials, and how much of them")
    which.add_argument("--split", default="eval", help="train, dev or eval, where the corpus has them")
    which.add_argument("--protocols", help="folder of the protocols; searched for in root if not given")
    add_length(which)
    which.add_argument(
        "--crop",
        default="head",
        choices=["head", "random"],
        help="where the samples of '4sec' are cut out; random is how the authors of some published detectors score",
    )
    which.add_argument("--crop-seed", type=int, default=0, metavar="N", help="seed of --crop random")
    which.add_argument(
        "--segments",
        dest="resolution_ms",
        nargs="?",
        type=float,
        const=0.0,
        metavar="MS",
        help="score frames of MS milliseconds of whole utterances instead, lines 'utterance frame score'; the shortest "
        "ones of the detector if MS is not given",
    )
    systems = parser.add_argument_group("scores of other systems, for a detector that fuses them")
    systems.add_argument(
        "--system-scores",
        nargs="+",
        metavar="FILE",
        help="a score file of this corpus for each system, in the order of training",
    )
    systems.add_argument(
        "--score-range",
        nargs="+",
        metavar="FILE",
        help="a score file of a development set for each system, whose lowest and highest score normalise; or 'test' for "
        "those of --system-scores themselves, as published; what training kept if not given",
    )
    computing = parser.add_argument_group("computing")
    add_batches(computing)
    add_device(computing)
    add_calibration(
        parser,
        "say what each score means, by what `nes2net calibrate … --save FILE` wrote for this detector: in OUT.decisions.csv "
        "and OUT.decisions.json",
    )
    add_scoring(parser, computing)


def add_length(parser: argparse._ActionsContainer) -> None:
    """Add the flags of :func:`num_samples_of`."""
    parser.add_argument(
        "--protocol",
        choices=["4sec", "full"],
        help="the first 4 s, or whole utterances; if not given, what the authors of a published detector score, else what "
        "the detector was trained on, else 4sec",
    )
    parser.add_argument(
        "--samples",
        dest="num_samples",
        type=int,
        metavar="N",
        help="samples of '4sec'; if not given, the number of a published detector, else that of training if it is not "
        "about 4 s, else that of the corpus",
    )


def add_scoring(parser: argparse._ActionsContainer, computing: argparse._ActionsContainer) -> None:
    """Add the flags of the score file, and of precision and compilation.

    The latter two change the last digits of scores (bfloat16, tf32 and int8: more).
    """
    parser.add_argument("--overwrite", action="store_true", help="replace a score file that another run made")
    parser.add_argument(
        "--on-error", default="skip", choices=["skip", "raise"], help="leave unreadable files out, or stop at the first"
    )
    add_dtype(
        computing,
        "precision of weights and computation; auto is that of the checkpoint, float32 in the published ones; tf32 is "
        "for GPUs, int8 for the CPU",
    )
    computing.add_argument(
        "--compile",
        action="store_true",
        help="compile the detector first (torch.compile), which takes a while and pays for a large corpus "
        "scored in '4sec'",
    )


def _score(args: argparse.Namespace) -> int:
    from nes2net.actions.scoring import score_corpus
    from nes2net.corpora.part import Part

    decider = decider_of(args)
    trials = corpus_in_place(args).trials(
        args.root, args.split, protocols=args.protocols
    )  # before a large model is read
    scores, decisions = score_corpus(
        _scorer(args),
        Part(args.corpus, args.root, args.split, args.protocols, args.revision),
        args.out,
        checkpoint=args.model,
        trials=trials,
        num_samples="auto" if args.num_samples is None else args.num_samples,
        protocol=args.protocol,
        resolution_ms="shortest" if args.resolution_ms == 0 else args.resolution_ms,
        system_scores=args.system_scores or (),
        score_range=args.score_range or (),
        decider=decider,
        calibration=args.calibration or "",
        crop=args.crop,
        crop_seed=args.crop_seed,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        on_error=args.on_error,
        overwrite=args.overwrite,
        compile=args.compile,
    )
    status = report_finished(scores)
    if decider and decisions:
        for line in decider.described():
            print(line)
        counts = ", ".join(f"{count} {name}" for name, count in decisions.counts.items())
        print(
            f"decisions: {counts}, {'complete already' if decisions.already_complete else 'written'} in {decisions.path}"
        )
    commands = after_scoring(args.corpus, args.root, args.split, args.out, args.protocols)
    print_next([[*words, *(["--allow-partial"] if scores.failures else [])] for words in commands])
    return status


def num_samples_of(args: argparse.Namespace, of_corpus: int, record: Mapping[str, Any]) -> int | None:
    """How many samples to score: what the flags say, else what goes with the detector, which is printed."""
    asked: Any = "auto" if args.num_samples is None else args.num_samples
    heard = samples_to_score(record, asked, of_corpus, args.protocol)
    print_note(heard.words and f"{heard.words}; --samples and --protocol choose another part")
    return heard.num_samples


def _scorer(args: argparse.Namespace) -> Scorer:
    from nes2net.machine.devices import own_device

    if args.engine == "onnx":
        from nes2net.export.onnx_detector import OnnxDetector

        if args.base:
            raise InputError("an exported detector holds all its weights: leave `base` out")
        detector = OnnxDetector(args.model, own_device(args.device))
        if args.dtype not in ("auto", detector.precision):
            raise InputError(f"{args.model} computes in {detector.precision}, not in {args.dtype}: leave out --dtype")
        return detector
    if Path(args.model).suffix == ".onnx":
        raise InputError(f"{args.model} is an exported detector: add --engine onnx")
    from nes2net.detector import Detector

    return Detector.from_pretrained(args.model, own_device(args.device), args.dtype, args.config, args.base)
