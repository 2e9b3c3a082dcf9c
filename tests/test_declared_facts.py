"""`info`, the help and the site write what is declared: no sentence of a docstring or comment is read besides."""

import json

import pytest
from builders.declared_only import WORD, copy_without_prose
from builders.scripts import python
from conftest import REPOSITORY

pytestmark = pytest.mark.slow
#: Writes all that the facts of parts, corpora, metrics, recipes and commands become, as JSON.
WRITE = """
import json, sys
from pathlib import Path

root = Path.cwd()
sys.path.insert(0, str(root / "scripts" / "site"))
import commands, corpora, part_options, recipe_keys, recipe_schema

from nes2net.apps.info import names
from nes2net.cli.main import build_parser

kinds = names.names()
wanted = [name for known in kinds.values() for name in known]
written = {
    "overview": names.overview().to_dict(),
    "help": {name: parser.format_help() for name, parser in build_parser().commands().items()},
    "keys": names.keys_sheet(None).to_dict(),
    "schema": recipe_schema.json_schema(),
    "site": [commands.page(), part_options.page(), recipe_keys.page(), corpora.table()],
}
for name in wanted:
    sheets = names.sheets(name)
    written[f"info {name}"] = [sheet.text().replace(str(root), "") for sheet in sheets]
    written[f"info {name} --json"] = [sheet.to_dict() for sheet in sheets]
print(json.dumps(written, default=str).replace(json.dumps(str(root))[1:-1], ""))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    copy_without_prose(REPOSITORY, folder)
    return folder


def written(folder):
    variables = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "80"}
    return json.loads(python("-c", WRITE, cwd=folder, **variables))


def test_copy_without_prose_leaves_the_first_line_of_a_class_docstring_but_no_module_docstring_or_comment(copy):
    """Shown on the copy of mamba.py."""
    module = (copy / "nes2net" / "models" / "backends" / "mamba.py").read_text(encoding="utf-8")
    assert module.startswith(f"'{WORD}'\n")
    assert "XLSR-Mamba: two columns of Mamba blocks" in module
    assert "size of the state of each channel" not in module


def test_info_help_and_site_are_the_same_from_a_copy_without_undeclared_docstrings_and_comments(copy):
    of_package = written(REPOSITORY)
    of_copy = written(copy)
    assert of_copy.keys() == of_package.keys()
    for name, text in of_package.items():
        assert of_copy[name] == text, name
