"""docs/published.md has what its generator writes: every published result and every published detector."""

import re
import sys

from conftest import REPOSITORY

from nes2net.published_models import PUBLISHED

PAGE = (REPOSITORY / "docs" / "published.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date(monkeypatch):
    """If it is not: `python scripts/site/published.py docs/published.md`."""
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "site")
    monkeypatch.delitem(sys.modules, "published", raising=False)
    from published import page

    assert page(PAGE) == PAGE


def test_licences_and_training_data_are_on_it():
    for name, row in PUBLISHED.items():
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` | ") and row.source in line]
        assert all(data in line for data in row.trained_on) and (f"**{row.licence}**" in line) == row.non_commercial


def test_every_number_of_a_note_leads_to_a_note():
    text = PAGE.partition("\n## Published figures\n")[2].partition("\n## ")[0]
    numbers = {int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)}
    rows = [line.rsplit("|", 2)[1] for line in text.partition("### Notes")[0].splitlines() if line.startswith("| ")]
    named = {int(number) for cell in rows for number in re.findall(r"\b\d+\b", cell)}
    assert named == numbers != set()
