"""Replace tables in a page of the manual; marks separate what a program writes from what a person writes."""

from __future__ import annotations

import re
from collections.abc import Mapping


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
        text = marks.sub(lambda mark, block=block: f"{mark[1]}\n{block.strip()}\n\n{mark[2]}", text)
    return text
