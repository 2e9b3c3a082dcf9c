"""`nes2net evaluate`: evaluate score files against a key, and compare them."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from nes2net.cli.entry import CorpusNames, add_resamples, subcommand
from nes2net.errors import InputError
from nes2net.machine.files import check_writable
from nes2net.machine.terminal import print_warnings, printable, say_written
from nes2net.registry import corpora

if TYPE_CHECKING:
    from nes2net.evaluation.embedding_map import EmbeddingMap
    from nes2net.evaluation.transfer import ThresholdSource


def add(commands: argparse._SubParsersAction) -> None:
    text = "Evaluate score files against a key, and compare them"
    example = "nes2net evaluate asvspoof2021_df scores.txt --keys keys --html report.html"
    parser = subcommand(commands, "evaluate", _evaluate, text, example=example)
    parser.add_argument(
        "corpus", choices=CorpusNames(), help="which corpus, or hub:OWNER/NAME for a data set of the Hugging Face hub"
    )
    parser.add_argument("scores", nargs="+", help="score file; several are compared on the same trials")
    parser.add_argument("--keys", default=".", metavar="DIR", help="folder or file of the keys")
    parser.add_argument(
        "--phase",
        default="eval",
        help="phase or split of the keys: eval, progress, hidden or dev; 'all' for your own corpus without parts",
    )
    parser.add_argument(
        "--allow-partial", action="store_true", help="leave out trials whose scores are missing or unusable"
    )
    parser.add_argument(
        "--exclude",
        nargs="*",
        metavar="FIELD=VALUE",
        help="leave trials out, e.g. attack=A14 source=acesinger; if not given, those that the published figures leave "
        "out; without values, none",
    )
    frames = parser.add_argument_group("scores of frames, from nes2net score --segments")
    frames.add_argument(
        "--threshold", type=float, help="frames at or below it are spoof; besides, that of the EER is taken"
    )
    frames.add_argument(
        "--resolution", type=float, metavar="MS", help="length of a frame, if no record beside the file says it"
    )
    transfer = parser.add_argument_group("a threshold chosen on other trials")
    transfer.add_argument(
        "--threshold-from",
        nargs="+",
        default=[],
        metavar="DEV_SCORES",
        help="judge at the threshold of these development scores, one file for each score file, in their order",
    )
    transfer.add_argument("--dev-corpus", choices=CorpusNames(), help="their corpus; the evaluated one if not given")
    transfer.add_argument("--dev-keys", metavar="DIR", help="folder or file of their keys")
    transfer.add_argument("--dev-phase", default="dev", help="their phase or split")
    transfer.add_argument(
        "--calibration", nargs="+", default=[], metavar="FILE", help="calibrations instead, made by nes2net calibrate"
    )
    transfer.add_argument(
        "--operating-point",
        default="eer",
        metavar="POINT",
        help="eer, cost:CMISS,CFA,PRIOR, fa:RATE%% or miss:RATE%%, on the development scores",
    )
    transfer.add_argument(
        "--also",
        nargs="+",
        action="append",
        default=[],
        metavar=("CORPUS SCORES KEYS", "PHASE"),
        help="a further test set at the same threshold; repeatable",
    )
    parser.add_argument("--html", metavar="FILE", help="write an HTML page with tables and plots")
    parser.add_argument("--json", metavar="FILE", help="write all figures, and hashes of the inputs, as JSON")
    parser.add_argument(
        "--latex", metavar="FILE", help="write the tables of the page in LaTeX, for the package booktabs"
    )
    parser.add_argument("--markdown", metavar="FILE", help="write the tables of the page in Markdown")
    maps = parser.add_argument_group("a map of embeddings, in the page")
    maps.add_argument(
        "--embeddings",
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of nes2net embed, which --html draws by class, attack and corpus",
    )
    add_resamples(parser, "bootstrap draws for each interval")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.names |= {"root": "--keys", "protocols": "--keys"}  # some protocols hold the labels


def _evaluate(args: argparse.Namespace) -> int:
    from nes2net.evaluation.compare import evaluate_systems
    from nes2net.scoring.score_file import holds_frames

    files = (args.html, args.json, args.latex, args.markdown)
    read = [*args.scores, *args.threshold_from, *(scores for place in args.also for scores in place[1:2])]
    for path in filter(None, files):
        if Path(path).resolve() in {Path(scores).resolve() for scores in read}:
            raise InputError(f"{path} is one of the score files; name another file to write")
        if Path(path).resolve() in {Path(calibration).resolve() for calibration in args.calibration}:
            raise InputError(f"{path} is a calibration that is read; name another file to write")
        check_writable(path, stream=True)
    if args.embeddings and not args.html:
        raise InputError("`embeddings` are drawn in the page: name it with `html`")
    source = _threshold_source(args)
    if any(map(holds_frames, args.scores)):
        if args.embeddings:
            raise InputError(f"{args.scores[0]} holds scores of frames, whose page has no map: leave `embeddings` out")
        return _evaluate_segments(args)
    if args.threshold is not None or args.resolution is not None:
        raise InputError(
            "`threshold` and `resolution` are those of frames, but these are scores of utterances: leave them out"
        )
    report = evaluate_systems(
        args.corpus,
        args.scores,
        args.keys,
        args.phase,
        allow_partial=args.allow_partial,
        exclude=None if args.exclude is None else _fields(args.exclude),
        num_resamples=args.num_resamples,
        seed=args.seed,
        threshold_source=source,
    )
    print(printable(report.text()))
    print_warnings(line for origin in report.origins if origin for line in origin.seen or ())
    print_warnings(line for table in report.transfers for line in table.warnings)
    if any(files):
        from nes2net.evaluation.page import write_report

        write_report(report, *files, _embedding_map(args))
        for path in filter(None, files):
            say_written(path, beside_data=True)
    return 0


def _embedding_map(args: argparse.Namespace) -> EmbeddingMap | None:
    """The map of embeddings, with the attacks of the key; None if there are no embeddings."""
    from nes2net.evaluation.embedding_map import map_embeddings

    if not args.embeddings:
        return None
    return map_embeddings(args.embeddings, corpora.get(args.corpus).keys(args.keys))


def _threshold_source(args: argparse.Namespace) -> ThresholdSource | None:
    """Where the flags take thresholds from; None if nowhere."""
    from nes2net.decisions.operating_point import OperatingPoint
    from nes2net.evaluation.transfer import FurtherSet, ThresholdSource

    point = OperatingPoint.parse(args.operating_point)
    if not args.threshold_from and not args.calibration:
        if args.also or args.dev_keys or args.dev_corpus or args.operating_point != "eer":
            raise InputError(
                "`also`, `dev_keys`, `dev_corpus` and `operating_point` go with a transferred threshold: give "
                "`threshold_from` or `calibration` too"
            )
        return None
    if args.threshold_from and not args.dev_keys:
        raise InputError("`threshold_from` needs `dev_keys`, the labels of its scores")
    for place in args.also:
        if len(place) not in (3, 4):
            raise InputError(f"`also` takes CORPUS SCORES KEYS, and PHASE if it is not eval, not '{' '.join(place)}'")
        corpora.get(place[0])  # raises if there is no such corpus
    return ThresholdSource(
        dev_scores=args.threshold_from,
        dev_keys=args.dev_keys or ".",
        dev_corpus=args.dev_corpus,
        dev_phase=args.dev_phase,
        calibrations=args.calibration,
        operating_point=point,
        further=[FurtherSet(*place) for place in args.also],
    )


def _evaluate_segments(args: argparse.Namespace) -> int:
    """Evaluate a file of frame scores."""
    from nes2net.evaluation.segments import evaluate_segments

    if len(args.scores) > 1:
        raise InputError(f"one of {len(args.scores)} files holds scores of frames: evaluate such a file alone")
    for name in ("exclude", "latex", "markdown"):
        if getattr(args, name) is not None:
            raise InputError(
                f"`{name}` is for scores of utterances, but {args.scores[0]} holds scores of frames: leave it out"
            )
    if args.threshold_from or args.calibration:
        raise InputError(
            f"{args.scores[0]} holds scores of frames: its threshold is `threshold`; leave out `threshold_from` and "
            "`calibration`"
        )
    result = evaluate_segments(
        args.corpus,
        args.scores[0],
        args.keys,
        args.phase,
        resolution_ms=args.resolution,
        threshold=args.threshold,
        allow_partial=args.allow_partial,
        num_resamples=args.num_resamples,
        seed=args.seed,
    )
    print(printable(result.text()))
    print_warnings((result.origin and result.origin.seen) or ())
    if args.html or args.json:
        from nes2net.evaluation.segment_page import write_segment_report

        write_segment_report(result, args.html, args.json)
        for path in filter(None, (args.html, args.json)):
            say_written(path, beside_data=True)
    return 0


def _fields(pairs: list[str]) -> dict[str, list[str]]:
    """Read FIELD=VALUE pairs.

    >>> _fields(["attack=A14", "attack=A13", "source=acesinger"])
    {'attack': ['A14', 'A13'], 'source': ['acesinger']}
    """
    values = defaultdict(list)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name or not value:
            raise InputError(f"--exclude takes FIELD=VALUE, e.g. attack=A14, not '{pair}'")
        values[name].append(value)
    return dict(values)
