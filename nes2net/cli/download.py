"""`nes2net download`: fetch what is freely available of a corpus, and say how to get the rest."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from nes2net.cli.entry import INCOMPLETE
from nes2net.cli.flags import Flag, Folder
from nes2net.errors import InputError, counted, readable_size, worded
from nes2net.machine.terminal import printable, text_table
from nes2net.registry import corpora

if TYPE_CHECKING:
    from nes2net.corpora.corpus import Corpus
    from nes2net.corpora.download import Plan


def download(
    corpus: Annotated[
        str, Flag(choices=lambda: [name for name in corpora.names() if name not in ("generic", "shards")])
    ],
    folder: Folder,
    *,
    dry_run: bool = False,
    accept_licence: bool = False,
    only: Annotated[Sequence[str], Flag("PATTERN")] = (),
    no_unpack: bool = False,
    remove_archives: bool = False,
) -> int:
    """Fetch a corpus, or say how to get it.

    Example:
        nes2net download asvspoof2021_la DB --dry-run

    Args:
        corpus: which corpus
        folder: folder to fetch it into; it is made if it is not there
        dry_run: list files, sizes and licence, and fetch nothing
        accept_licence: accept the licence without being asked
        only: fetch only files with these names, as 'flac_E*'
        no_unpack: leave archives packed
        remove_archives: remove each archive after it was unpacked
    """
    from nes2net.cli.check_data import report
    from nes2net.corpora.check import check_corpus
    from nes2net.corpora.download import fetch_all, plan_downloads
    from nes2net.machine.http_files import MOST_TRIES, HttpFiles

    definition: Corpus = corpora.get(corpus)
    with HttpFiles(most_tries=1 if dry_run else MOST_TRIES) as client:
        plan = plan_downloads(definition, client, list(only))
        print(printable(_sheet(definition, plan)))
        if dry_run:
            return 0
        if not plan.files and not plan.hub_sets:
            return INCOMPLETE
        if not accept_licence:
            if not sys.stdin.isatty():
                raise InputError("pass `accept_licence=True` if you accept the licence above")
            answer = input(f"Do you accept the licence of {definition.title}? [y/N] ")
            if answer.strip().lower() not in ("y", "yes"):
                raise InputError("nothing was fetched: the licence was not accepted")
        fetch_all(plan, Path(folder), client, unpacking=not no_unpack, keep_archives=not remove_archives)
    check = check_corpus(definition, folder)
    print(printable(f"\n{worded(report(check))}"))
    return 0 if check.complete else INCOMPLETE


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
