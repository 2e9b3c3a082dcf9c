"""The table of docs/data.md is what its generator writes, and has every published corpus."""

import sys

from conftest import REPOSITORY

from nes2net.registry import corpora


def test_the_table_is_up_to_date(monkeypatch):
    """If it is not: `python scripts/site/corpora.py docs/data.md`."""
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "site")
    monkeypatch.delitem(sys.modules, "corpora", raising=False)
    from corpora import page

    text = (REPOSITORY / "docs" / "data.md").read_text(encoding="utf-8")
    assert page(text) == text
    rows = [line for line in text.partition("<!-- end of corpora -->")[0].splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [n for n in corpora.names() if not corpora.get(n).user_defined]
    (spoofceleb,) = [row for row in rows if row.startswith("| `spoofceleb`")]
    assert "| train 2,540,421†, dev 55,741†, eval 91,130† |" in spoofceleb
