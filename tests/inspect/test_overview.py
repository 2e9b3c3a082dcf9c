"""The stored list of all names, which `nes2net info` prints without importing the parts."""

import json

from nes2net.cli.info import published_results
from nes2net.cli.main import main
from nes2net.inspect import names
from nes2net.inspect.overview import STORED, stored_overview
from nes2net.registry import backends


def test_the_stored_list_is_the_one_of_now():
    live = names.overview(published_results())
    assert json.loads(STORED.read_text(encoding="utf-8")) == live.tables, "run python scripts/site/overview.py"
    assert stored_overview().text() == live.text()


def test_parts_of_installed_packages_are_not_in_the_list(monkeypatch):
    assert stored_overview() is not None and stored_overview("aggregations").tables["names"][0]["name"] == "attm"
    assert stored_overview("nothing") is None
    monkeypatch.setitem(backends._table, "theirs", "their:Part")
    assert stored_overview() is None


def test_info_as_json(capsys):
    assert main(["info", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["corpora"][0]["name"] == "add2022"
