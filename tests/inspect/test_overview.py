"""The stored list of all names, which `nes2net info` prints without importing the parts."""

import json

from nes2net.cli.info import published_results
from nes2net.inspect import names
from nes2net.inspect.overview import STORED, stored_overview
from nes2net.registry import backends


def test_the_stored_list_is_the_one_of_now(monkeypatch):
    """Parts of installed packages are not in it."""
    live = names.overview(published_results())
    assert json.loads(STORED.read_text(encoding="utf-8")) == live.tables, "run python scripts/site/overview.py"
    assert stored_overview().text() == live.text()
    assert stored_overview("aggregations").tables["names"][0]["name"] == "attm" and stored_overview("nothing") is None
    monkeypatch.setitem(backends._table, "theirs", "their:Part")
    assert stored_overview() is None
