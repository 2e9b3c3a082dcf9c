"""The pages that are made of the code, when the site is built or before.

If a stored one is not up to date: `python scripts/site/NAME.py docs/PAGE.md`.
"""

import re
import sys
from fnmatch import fnmatch

import pytest
from conftest import REPOSITORY, repository_text

from nes2net.data.registry import corpora
from nes2net.models.published_models import PUBLISHED
from nes2net.training.recipes.documentation import all_keys


def made(name, *text):
    """What the generator ``name`` writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "scripts" / "site")
        patch.delitem(sys.modules, name, raising=False)
        return __import__(name).page(*text)


def stored(name):
    return repository_text(f"docs/{name}.md")


def test_the_page_of_recipe_keys_has_the_facts_of_every_key():
    page = made("recipe_keys")
    for key in all_keys():
        (line,) = [line for line in page.splitlines() if line.startswith(f"**`{key.name}`** ")]
        facts = (key.takes, f"default `{key.default}`", key.meaning, f"*Source: {key.source}.*", key.used_with or "")
        assert all(fact in line for fact in facts)


def test_the_stored_table_of_corpora_equals_the_generated_one():
    text = stored("data")
    assert made("corpora", text) == text


def test_the_table_of_corpora_has_every_published_corpus():
    rows = [
        line for line in stored("data").partition("<!-- end of corpora -->")[0].splitlines() if line.startswith("| `")
    ]
    assert [row.split("`")[1] for row in rows] == [n for n in corpora.names() if not corpora.get(n).user_defined]


def test_the_stored_page_of_published_detectors_equals_the_generated_one():
    page = stored("published")
    assert made("published", page) == page


def test_the_page_of_published_detectors_has_every_detector_once():
    table = stored("published").partition("<!-- families: ")[2].partition("\n- ")[0]
    names = [
        name
        for line in re.findall("^[|] `.*", table, re.MULTILINE)
        for name in re.findall("`(.*?)`", line.split(" | ")[0])
    ]
    for name in PUBLISHED:
        assert len([pattern for pattern in names if fnmatch(name, pattern)]) == 1, name


@pytest.mark.slow
def test_the_stored_table_of_recipes_equals_the_generated_one():
    page = stored("published")
    assert made("recipes", page) == page
