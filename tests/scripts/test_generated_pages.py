"""The pages that are made of the code, when the site is built or before.

If a stored one is not up to date: `python scripts/site/NAME.py docs/PAGE.md`.
"""

import re
import sys
from fnmatch import fnmatch

import pytest
from conftest import REPOSITORY, repository_text

from nes2net.apps.info.part_options import PLURALS, option_rows
from nes2net.data.registry import corpora
from nes2net.models.frontends.sizes import SIZES
from nes2net.models.published_models import PUBLISHED
from nes2net.models.registry import aggregations, backends, frontends
from nes2net.training.recipes.documentation import all_keys
from nes2net.training.recipes.reading import packaged_recipes
from nes2net.training.registry import losses, tasks


@pytest.fixture(scope="module")
def part_options():
    return made("part_options")


def made(name, *text):
    """What the generator ``name`` writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "scripts" / "site")
        patch.delitem(sys.modules, name, raising=False)
        return __import__(name).page(*text)


def stored(name):
    return repository_text(f"docs/{name}.md")


@pytest.mark.parametrize("registry", [frontends, aggregations, backends, losses, tasks], ids=lambda r: r.kind)
def test_the_page_of_part_options_has_every_option_of_every_part(part_options, registry):
    kind = PLURALS.get(registry.kind, f"{registry.kind}s").capitalize()
    section = part_options.partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
    tables = {
        name: text
        for text in re.split(r"^### ", section, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", text.partition("\n")[0])
    }
    for name in registry.names(installed=False):
        published = registry is frontends and name in SIZES  # with a row in the table of published sizes
        if published:
            assert re.search(rf"^(\| |### .*)`{name}`", section, re.MULTILINE)
        text = tables[SIZES[name].frontend if published else name]
        for row in option_rows(registry, name):
            assert f"| `{row['option']}` | {row['takes']} | " in text, (name, row)
            assert row["meaning"].replace("|", "\\|") in text, (name, row)


def test_the_page_of_recipe_keys_has_the_facts_of_every_key():
    page = made("recipe_keys")
    for key in all_keys():
        (line,) = [line for line in page.splitlines() if line.startswith(f"**`{key.name}`** ")]
        facts = (key.takes, f"default `{key.default}`", key.meaning, f"*Source: {key.source}.*", key.used_with or "")
        assert all(fact in line for fact in facts)


def test_the_table_of_corpora_is_as_generated_and_has_every_corpus():
    text = stored("data")
    assert made("corpora", text) == text
    rows = [line for line in text.partition("<!-- end of corpora -->")[0].splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [n for n in corpora.names() if not corpora.get(n).user_defined]
    (spoofceleb,) = [row for row in rows if row.startswith("| `spoofceleb`")]
    assert "| train 2,540,421†, dev 55,741†, eval 91,130† |" in spoofceleb


def test_the_page_of_published_detectors_is_as_generated_and_has_every_detector():
    page = stored("published")
    assert made("published", page) == page
    table = page.partition("<!-- families: ")[2].partition("\n- ")[0]
    lines_by_name = {}
    for line in re.findall("^[|] `.*", table, re.MULTILINE):
        for name in re.findall("`(.*?)`", line.split(" | ")[0]):
            lines_by_name[name] = line
    families = [name for name in lines_by_name if name.endswith("*")]
    assert "antideepfake_*" in families
    for name, row in PUBLISHED.items():
        (family,) = [family for family in [*families, name] if fnmatch(name, family) and family in lines_by_name]
        line = lines_by_name[family]
        assert all(words in line for words in (*row.trained_on, *row.source.split(", "), row.code_licence))
        assert (f"**{row.licence}**" in line) == row.non_commercial


def test_each_number_in_a_published_figure_is_that_of_a_note():
    text = stored("published").partition("\n## Published figures\n")[2].partition("\n## ")[0]
    numbers = {int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)}
    cells = [line.rsplit("|", 2)[1] for line in text.partition("### Notes")[0].splitlines() if line.startswith("| ")]
    named = {int(number) for cell in cells for number in re.findall(r"\b\d+\b", cell)}
    assert named == numbers != set()


@pytest.mark.slow
def test_the_table_of_recipes_is_as_generated_and_has_every_recipe():
    page = stored("published")
    assert made("recipes", page) == page
    table = page.partition("<!-- recipes: ")[2].partition("<!-- end of recipes -->")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == [
        name.removesuffix(".yaml") for name in packaged_recipes()
    ]
