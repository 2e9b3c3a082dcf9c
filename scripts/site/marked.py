"""Replace tables in a page of the manual; marks separate what a program writes from what a person writes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path


def filled(text: str, blocks: Mapping[str, str]) -> str:
    """Replace each block between ``<!-- NAME: PROGRAM -->`` and ``<!-- end of NAME -->`` in a page.

    Args:
        text: the page.
        blocks: NAME → the new block.

    Raises:
        ValueError: if the page lacks the marks of a block.
    """
    for name, block in blocks.items():
        marks = re.compile(rf"(<!-- {name}: [^\n]* -->\n).*?(<!-- end of {name} -->\n)", re.DOTALL)
        if not marks.search(text):
            raise ValueError(f"the page has no mark of {name} with its end behind it")
        text = marks.sub(partial(_marked, block), text)
    return text


def _marked(block: str, marks: re.Match[str]) -> str:
    return f"{marks[1]}\n{block.strip()}\n\n{marks[2]}"


def rewrite(page: Callable[[str], str]) -> None:
    """Replace the page whose path the command line gives by what ``page`` makes of it."""
    path = Path(sys.argv[1])
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")


def joined(blocks: Sequence[str]) -> str:
    """Join blocks of Markdown to a page, with an empty line between them."""
    return "\n\n".join(block.strip() for block in blocks) + "\n"
