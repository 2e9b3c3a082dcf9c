"""docs/published-detectors.md is what its generator writes, and has every published detector."""

import sys

from conftest import REPOSITORY

from nes2net.published_models import PUBLISHED


def test_the_page_is_up_to_date(monkeypatch):
    """If it is not: `python scripts/site/published_detectors.py docs/published-detectors.md`."""
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "site")
    monkeypatch.delitem(sys.modules, "published_detectors", raising=False)
    from published_detectors import page

    assert page() == (REPOSITORY / "docs" / "published-detectors.md").read_text(encoding="utf-8")


def test_licences_and_training_data_are_on_it():
    lines = (REPOSITORY / "docs" / "published-detectors.md").read_text(encoding="utf-8").splitlines()
    for name, row in PUBLISHED.items():
        (line,) = [line for line in lines if line.startswith(f"| `{name}` | ") and row.source in line]
        assert all(data in line for data in row.trained_on) and (f"**{row.licence}**" in line) == row.non_commercial
