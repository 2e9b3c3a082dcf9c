"""Names in the Markdown pages: each path, test and command exists."""

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

from nes2net.cli.main import build_parser

PAGES = sorted(
    page
    for folder in (".", "docs", "tests/golden")
    for page in (REPOSITORY / folder).glob("*.md")
    if page.name != "CHANGELOG.md"  # tells of what was
)
#: Folders whose files a page may name, at the beginning of a word in backticks.
FOLDERS = ("tests/", "nes2net/", "scripts/", "configs/", "docs/", ".ci/")
#: What examples name: a reader's own new part, or a pattern.
EXAMPLE = re.compile(r"[A-Z]{4,}|[*{<…]|/a/|\btoy|\bmy")


def inline(page: Path) -> list[str]:
    """The words in backticks outside of code blocks."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPOSITORY).as_posix())


@every_page
def test_paths_and_tests_exist(page):
    missing = []
    for words in inline(page):
        for word in words.split():
            path, _, test = word.rstrip(",;.").partition("::")
            if not path.startswith(FOLDERS) or EXAMPLE.search(path):
                continue
            file = REPOSITORY / path
            if not file.exists() or (test and f"def {test}(" not in file.read_text(encoding="utf-8")):
                missing.append(word)
    assert missing == []


@every_page
def test_commands_exist(page):
    choices = next(action.choices for action in build_parser()._actions if isinstance(action.choices, dict))
    named = {match[1] for words in inline(page) if (match := re.match(r"nes2net ([a-z][a-z-]*)", words))}
    assert named <= set(choices)


def test_every_row_of_faithfulness_names_a_test():
    text = (REPOSITORY / "docs" / "faithfulness.md").read_text(encoding="utf-8").partition("## What could not")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| behaviour")]
    assert len(rows) > 50
    assert [row for row in rows if "`tests/" not in row.split("|")[4]] == []
