"""The pages that the site makes of the code: options of parts, keys of recipes, and files."""

import re

import pytest
from conftest import REPOSITORY

from nes2net.frontends.sizes import SIZES
from nes2net.inspect.part_options import PLURALS, option_rows
from nes2net.recipes.documentation import all_keys
from nes2net.registry import aggregations, backends, frontends, losses
from nes2net.training.tasks.task import tasks


@pytest.fixture(scope="module")
def part_options():
    return made("part_options")


def made(name):
    """What the generator ``name`` writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "scripts" / "site")
        return __import__(name).page()


@pytest.mark.parametrize("registry", [frontends, aggregations, backends, losses, tasks], ids=lambda r: r.kind)
def test_every_part_has_its_options(part_options, registry):
    kind = PLURALS.get(registry.kind, f"{registry.kind}s").capitalize()
    section = part_options.partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
    tables = {
        name: text
        for text in re.split(r"^### ", section, flags=re.MULTILINE)
        for name in re.findall(r"`(\w+)`", text.partition("\n")[0])
    }
    for name in registry.names(installed=False):
        published = registry is frontends and name in SIZES  # with a row in the table of published sizes
        assert not published or re.search(rf"^(\| |### .*)`{name}`", section, re.MULTILINE)
        text = tables[SIZES[name].frontend if published else name]
        for row in option_rows(registry, name):
            assert f"| `{row['option']}` | {row['takes']} | " in text, (name, row)
            assert row["meaning"].replace("|", "\\|") in text, (name, row)


def test_every_key_has_its_facts():
    page = made("recipe_keys")
    for key in all_keys():
        (line,) = [line for line in page.splitlines() if line.startswith(f"**`{key.name}`** ")]
        for fact in (
            key.takes,
            f"default `{key.default}`",
            key.meaning,
            f"*Source: {key.source}.*",
            key.used_with or "",
        ):
            assert fact in line


def test_every_file_has_its_line():
    package = REPOSITORY / "nes2net"
    files = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if path.name != "__init__.py"}
    lines = re.findall(r"^- `([\w/]+\.py)`: \S", made("modules"), re.MULTILINE)
    assert sorted(lines) == sorted(files)
