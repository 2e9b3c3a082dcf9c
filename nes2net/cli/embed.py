"""`nes2net embed`: embeddings of a corpus or of files, as .npy or .parquet."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nes2net.cli.entry import (
    CorpusNames,
    add_architecture,
    add_batches,
    add_device,
    add_dtype,
    check_at_least,
    corpus_in_place,
    report_finished,
    subcommand,
)
from nes2net.errors import InputError

if TYPE_CHECKING:
    from nes2net.corpora.trial import Trial
    from nes2net.detector import Detector

_EPILOG = (
    "A .npy file is an array with a row per utterance, whose ids and labels are in OUT.csv; a .parquet file has the "
    "columns id, label and embedding. OUT.json says what made them. Exit status 1 means that some files were left out. "
    "The same command resumes an interrupted run."
)


def add(commands: argparse._SubParsersAction) -> None:
    example = (
        "nes2net embed asvspoof2019_la DB --split dev --model model.pth --out dev.npy\n"
        "nes2net embed --files folder/ --frontend lps --out folder.parquet"
    )
    parser = subcommand(commands, "embed", _embed, "Write the embeddings of a corpus or of files", example=example)
    parser.epilog = _EPILOG
    parser.add_argument(
        "corpus",
        nargs="?",
        choices=CorpusNames(),
        help="which corpus, or hub:OWNER/NAME; generic takes a list of yours",
    )
    parser.add_argument("root", nargs="?", help="its folder or list")
    parser.add_argument("--out", required=True, help=".npy or .parquet file to write")
    parser.add_argument(
        "--overwrite", action="store_true", help="embed anew, over a finished file and what another run left"
    )
    parser.add_argument(
        "--on-error", default="skip", choices=["skip", "raise"], help="leave unreadable files out, or stop at the first"
    )
    which = parser.add_argument_group("which utterances, and how much of them")
    which.add_argument(
        "--files", nargs="+", metavar="FILE", help="audio files, or folders of them, instead of a corpus"
    )
    which.add_argument("--split", default="eval", help="train, dev or eval, where the corpus has them")
    which.add_argument("--protocols", help="folder of the protocols; searched for in root if not given")
    which.add_argument(
        "--samples",
        dest="num_samples",
        type=int,
        metavar="N",
        help="the first N samples at 16 kHz, repeating shorter files (64600: the '4sec' protocol); if not given, the number "
        "of a published detector whose authors always score as many, else that of training if it is not about 4 s, else "
        "all samples",
    )
    which.add_argument("--whole", action="store_true", help="all samples of each recording, whatever the detector")
    what = parser.add_argument_group("embeddings of what")
    what.add_argument("--model", help="trained detector: checkpoint (.pth), folder, or name on the Hugging Face hub")
    add_architecture(what)
    what.add_argument(
        "--frontend",
        metavar="NAME|OPTIONS",
        help="a front-end alone instead: its name, or as in a recipe '{name: lps, n_fft: 512}'",
    )
    what.add_argument("--ssl-checkpoint", metavar="FILE", help="pre-training file of --frontend")
    what.add_argument(
        "--of",
        default="frontend",
        choices=["frontend", "aggregation", "backend"],
        help="the mean over time of a hidden state of the front-end, or of the aggregation; or the input of the "
        "back-end's last layer",
    )
    what.add_argument(
        "--layer",
        default="last",
        help="hidden state of the front-end: last, a number from 0 (the input of the first layer), or all of them in a "
        "row",
    )
    computing = parser.add_argument_group("computing")
    add_batches(computing)
    add_device(computing)
    add_dtype(computing, "precision of weights and computation; auto is that of the checkpoint, or float32")


def _embed(args: argparse.Namespace) -> int:
    from nes2net.actions.embedding import check_layer, embed_recordings

    check_at_least(args, num_samples=1, batch_size=1, num_workers=0)
    if args.whole and args.num_samples is not None:
        raise InputError("`whole` takes all samples: leave out `num_samples`")
    layer = int(args.layer) if args.layer.isdecimal() else args.layer
    check_layer(args.of, layer)
    trials, source = _trials(args)
    detector, model = _detector(args)
    result = embed_recordings(
        detector,
        trials,
        args.out,
        of=args.of,
        layer=layer,
        num_samples=None if args.whole else "auto" if args.num_samples is None else args.num_samples,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        on_error=args.on_error,
        overwrite=args.overwrite,
        about={**source, **model},
    )
    return report_finished(result)


def _trials(args: argparse.Namespace) -> tuple[list[Trial], dict[str, object]]:
    """The utterances, and what the record says of where they come from."""
    from nes2net.actions.embedding import trials_of_files

    if (args.corpus is None) == (args.files is None):
        raise InputError("name a corpus and its folder, or audio files with --files, and not both")
    if args.files is not None:
        return trials_of_files(args.files), {"files": [str(name) for name in args.files]}
    trials = corpus_in_place(args).trials(args.root, args.split, protocols=args.protocols)
    return trials, {"corpus": {"name": args.corpus, "root": str(args.root), "split": args.split}}


def _detector(args: argparse.Namespace) -> tuple[Detector, dict[str, object]]:
    """The detector, or a front-end alone, and what the record says of it."""
    from nes2net.actions.embedding import frontend_alone
    from nes2net.detector import Detector
    from nes2net.machine.devices import own_device
    from nes2net.machine.yaml_text import read_value

    if (args.model is None) == (args.frontend is None):
        raise InputError("name a trained detector with `model`, or a front-end with `frontend`, and not both")
    if args.model is not None:
        if args.ssl_checkpoint:
            raise InputError("a trained detector holds its front-end: leave `ssl_checkpoint` out")
        detector = Detector.from_pretrained(args.model, own_device(args.device), args.dtype, args.config, args.base)
        return detector, {"checkpoint": {**detector.record, "path": str(args.model)}}
    if args.base:
        raise InputError("a front-end alone has no base: leave `base` out")
    if args.of != "frontend":
        raise InputError(f"a front-end alone has no {args.of}: take a trained detector with `model`")
    frontend = read_value(args.frontend, None, "`frontend`")
    detector = frontend_alone(frontend, args.ssl_checkpoint, args.device, args.dtype)
    return detector, {"frontend": {"ssl_checkpoint": args.ssl_checkpoint}}
