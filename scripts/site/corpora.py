"""Write the table of the corpora in the manual: what each is, its parts and numbers, licence, and how to get it.

``python scripts/site/corpora.py docs/data.md`` writes the table again, between its two marks.
"""

from __future__ import annotations

import re

from marked import filled, rewrite

from nes2net.data.corpora.corpus import Corpus
from nes2net.data.registry import corpora

HEAD = ("name", "corpus", "parts and trials", "licence", "where from")


def table() -> str:
    """Write the table in Markdown."""
    rows = [(f"`{name}`", *row(corpora.get(name))) for name in corpora.names() if not corpora.get(name).user_defined]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (HEAD, ("---",) * len(HEAD), *rows)) + "\n"


def row(corpus: Corpus) -> tuple[str, ...]:
    """Make the cells of a corpus: title, parts with numbers of trials, licence, and how to get it."""
    where_from = corpus.obtain["audio"].removesuffix(", unpacked into one folder")  # the page says so for all corpora
    mark = "†" if corpus.counts_from else ""
    counts = [
        f"{split} {corpus.counts[split].trials:,}{mark}" if split in corpus.counts else split for split in corpus.splits
    ]
    return (
        f"[{corpus.title}]({corpus.source})",
        ", ".join(counts),
        re.sub(r"(https://[^\s;,)]+)", r"<\1>", corpus.licence),
        re.sub(r"(https://[^\s;,)]+)", r"<\1>", where_from.replace("|", "\\|")),
    )


def page(text: str) -> str:
    """Replace the table in the page ``text`` by the current table."""
    return filled(text, {"corpora": table()})


if __name__ == "__main__":
    rewrite(page)
