"""docs/recipes.md is what its generator writes, and has every packaged recipe."""

import re
import sys

import pytest
from conftest import REPOSITORY

from nes2net.recipes.reading import load_recipe, packaged_recipes
from nes2net.registry import corpora

PAGE = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_is_up_to_date(monkeypatch):
    """If it is not: `python scripts/site/recipes.py docs/recipes.md`."""
    monkeypatch.syspath_prepend(REPOSITORY / "scripts" / "site")
    monkeypatch.delitem(sys.modules, "recipes", raising=False)
    from recipes import page

    assert page() == PAGE


def test_every_recipe_is_there_with_its_corpus_and_parts():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", PAGE.partition("## What they take")[0], re.MULTILINE))
    assert sorted(rows) == packaged_recipes()
    for name, row in rows.items():
        recipe = load_recipe(name)
        assert row.startswith(f"{corpora.get(recipe.data.corpora[0].name).title} |")
        parts = [part if isinstance(part, str) else part["name"] for part in recipe.model.values()]
        assert re.findall(r"`(\w+)`", row) == parts


def test_estimates_are_marked():
    assert "are estimates" in PAGE.partition("## What they take")[2].splitlines()[2]
