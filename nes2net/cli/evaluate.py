"""`nes2net evaluate`."""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from nes2net.cli.entry import subcommand
from nes2net.errors import InputError
from nes2net.registry import corpora


def add(commands: argparse._SubParsersAction) -> None:
    parser = subcommand(
        commands, "evaluate", _evaluate, "Evaluate score files against a corpus's keys, and compare them"
    )
    parser.add_argument("corpus", choices=corpora.names(), help="which corpus")
    parser.add_argument("scores", nargs="+", help="score file; several are compared on the same trials")
    parser.add_argument("--keys", default=".", metavar="DIR", help="folder or file of the keys")
    parser.add_argument(
        "--phase",
        default="eval",
        help="phase or split, where the keys have them: eval, progress, hidden, dev; all of a corpus of your own",
    )
    parser.add_argument(
        "--allow-partial", action="store_true", help="evaluate what is scored although trials are missing"
    )
    parser.add_argument(
        "--exclude",
        nargs="*",
        default=None,
        metavar="FIELD=VALUE",
        help="leave trials out, e.g. attack=A14 source=acesinger; what the published headline leaves out when not given, "
        "nothing with no values",
    )
    parser.add_argument("--html", default=None, metavar="FILE", help="write a page with tables and plots")
    parser.add_argument("--json", default=None, metavar="FILE", help="write all figures and the hashes of the inputs")
    text = "bootstrap draws behind an interval"
    parser.add_argument("--resamples", dest="num_resamples", type=int, default=1000, metavar="N", help=text)
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    parser.names |= {"root": "--keys", "protocols": "--keys"}  # labels that stand in protocols are keys


def _evaluate(args: argparse.Namespace) -> int:
    from nes2net.evaluation.compare import evaluate_systems
    from nes2net.evaluation.page import write_report
    from nes2net.machine.files import check_writable

    for path in filter(None, (args.html, args.json)):
        if Path(path).resolve() in {Path(scores).resolve() for scores in args.scores}:
            raise InputError(f"{path} is one of the score files; name another file to write")
        check_writable(path)
    report = evaluate_systems(
        args.corpus,
        args.scores,
        args.keys,
        args.phase,
        allow_partial=args.allow_partial,
        exclude=None if args.exclude is None else _fields(args.exclude),
        num_resamples=args.num_resamples,
        seed=args.seed,
    )
    print(report.text())
    write_report(report, args.html, args.json)
    return 0


def _fields(pairs: list[str]) -> dict[str, list[str]]:
    """
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
