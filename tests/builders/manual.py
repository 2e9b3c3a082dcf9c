"""The Markdown pages, and the blocks of code on them."""

import re
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = []
for _folder in (".", "docs", "tests/golden"):
    PAGES += (_REPOSITORY / _folder).glob("*.md")
PAGES.sort()
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, *languages: str) -> list[str]:
    """The blocks of code in these languages."""
    code = []
    for block in _BLOCK.finditer(text(page)):
        if block["language"] in languages:
            code.append(block["text"])
    return code
