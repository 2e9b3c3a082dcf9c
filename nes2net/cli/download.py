"""`nes2net download`: fetch what is freely available of a corpus, and say how to get the rest."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nes2net.cli.entry import INCOMPLETE, subcommand
from nes2net.errors import InputError, counted, readable_size, worded
from nes2net.machine.terminal import printable, text_table
from nes2net.registry import corpora

if TYPE_CHECKING:
    from nes2net.corpora.corpus import Corpus
    from nes2net.corpora.download import Plan


def add(commands: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    text = "Fetch a corpus, or say how to get it"
    parser = subcommand(commands, "download", _download, text, example="nes2net download asvspoof2021_la DB --dry-run")
    known = [name for name in corpora.names() if name not in ("generic", "shards")]
    parser.add_argument("corpus", choices=known, help="which corpus")
    parser.add_argument("folder", metavar="DIR", help="folder to fetch it into; it is made if it is not there")
    parser.add_argument("--dry-run", action="store_true", help="list files, sizes and licence, and fetch nothing")
    parser.add_argument("--accept-licence", action="store_true", help="accept the licence without being asked")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="PATTERN", help="fetch only files with these names, as 'flac_E*'"
    )
    parser.add_argument("--no-unpack", action="store_true", help="leave archives packed")
    parser.add_argument("--remove-archives", action="store_true", help="remove each archive after it was unpacked")


def _download(args: argparse.Namespace) -> int:
    from nes2net.corpora.download import fetch_all, plan_downloads
    from nes2net.machine.http_files import MOST_TRIES, HttpFiles

    corpus: Corpus = corpora.get(args.corpus)
    with HttpFiles(most_tries=1 if args.dry_run else MOST_TRIES) as client:
        plan = plan_downloads(corpus, client, args.only)
        print(printable(_sheet(corpus, plan)))
        if args.dry_run:
            return 0
        if plan.files or plan.hub_sets:
            _ask(corpus, plan, args.accept_licence)
            fetch_all(
                plan, Path(args.folder), client, unpacking=not args.no_unpack, keep_archives=not args.remove_archives
            )
    if not plan.files and not plan.hub_sets:
        return INCOMPLETE
    return _verdict(corpus, args.folder)


def _sheet(corpus: Corpus, plan: Plan) -> str:
    stated = [licence for licence in plan.licences if licence != corpus.licence]
    rows = [["licence", corpus.licence or "not known; read the page"]]
    rows += [["stated by the server", ", ".join(stated)]] if stated else []
    rows += [["described in", corpus.source]] if corpus.source else []
    lines = [corpus.title, *(f"  {line}" for line in text_table(rows, "l"))]
    if plan.files or plan.hub_sets:
        head = ["file", "size", "checksum", "what"]
        cells = [
            [
                file.name,
                "not stated" if file.remote.size is None else readable_size(file.remote.size),
                ", ".join(name.upper() for name in file.remote.digests) or "none published",
                file.what,
            ]
            for file in plan.files
        ]
        cells += [
            [f"hub:{each.repository}", readable_size(each.size), "by the hub", counted(len(each.files), "file")]
            for each in plan.hub_sets
        ]
        lines += ["", *(f"  {line}" for line in text_table([head, *cells], "lrl"))]
        lines += [f"  {readable_size(plan.size)} in all; unpacked archives take about as much again"]
    if plan.steps:
        what = (
            "To be done by hand, afterwards" if plan.files or plan.hub_sets else "It cannot be fetched freely. By hand"
        )
        lines += ["", f"{what}:", *(f"  {number}. {step}" for number, step in enumerate(plan.steps, 1))]
    return "\n".join(lines)


def _ask(corpus: Corpus, plan: Plan, accepted: bool) -> None:
    """Go on only if the licence is accepted."""
    if accepted:
        return
    if not sys.stdin.isatty():
        raise InputError("pass `accept_licence=True` if you accept the licence above")
    answer = input(f"Do you accept the licence of {corpus.title}? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise InputError("nothing was fetched: the licence was not accepted")


def _verdict(corpus: Corpus, folder: str) -> int:
    from nes2net.cli.check_data import report
    from nes2net.corpora.check import check_corpus

    check = check_corpus(corpus, folder)
    print()
    print(printable(worded(report(check))))
    return 0 if check.complete else INCOMPLETE
