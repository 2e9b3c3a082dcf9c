"""The rows of ``published_results.yaml``: complete, of models and recipes that exist, and refused if malformed."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import golden, input_error
from builders.experiments import ROW
from builders.files import write

from nes2net.models.published_models import PUBLISHED_MODELS
from nes2net.models.published_results import published_rows, published_tables
from nes2net.models.published_tables import number_notes, system_rows
from nes2net.models.registry import backends
from nes2net.training.recipes.reading import packaged_recipes

ROWS = published_rows()
RECIPES = {f"configs/{name}.yaml" for name in packaged_recipes()}
#: The comparison tables of arXiv 2504.05657, typed: front-end, parameters, averaged checkpoints, 2021 LA, 2021 DF and
#: In-the-Wild.
PAPER = (golden.FOLDER / "comparison_tables.txt").read_text(encoding="utf-8")


def test_the_first_table_of_published_results_is_that_of_the_paper_of_nes2net():
    tables = published_tables()
    rows = [list(row.values())[:7] for row in system_rows(tables[0], number_notes(tables))]
    assert rows == [re.split(r" +\| ", line.rstrip()) for line in PAPER.splitlines()]


def test_the_tables_of_ctrsvdd_and_partialspoof_have_the_published_cells():
    ctrsvdd, _, partialspoof = published_tables()[1:4]
    cells = ["2.53 (2.55)", "2.22 (2.27)", "2.48 (2.51)", "2.20 (2.24)", "2.28 (2.69)", "2.02 (2.37)"]
    assert [row.cell for row in ctrsvdd.rows] == cells
    assert [row.cell for row in partialspoof.rows] == ["0.33", "0.64"]


def test_every_published_result_tells_how_to_check_it_or_why_it_is_only_reported():
    """One with a recipe names its protocol."""
    for row in ROWS:
        assert row.ways or row.here, "why is it only reported?"
    assert [row.id for row in ROWS if row.recipe and row.protocol == "unknown"] == []


def test_models_and_recipes_that_a_published_result_names_exist():
    models = {*PUBLISHED_MODELS, *backends.names()}
    for row in ROWS:
        assert models.issuperset(row.models)
    assert {row.recipe for row in ROWS if row.recipe} <= RECIPES


def test_published_figures_are_percentages_of_which_the_best_is_not_above_the_mean():
    for row in ROWS:
        figures = [figure for figure in (row.best, row.mean) if figure is not None]
        assert all(0 <= figure <= 100 for figure in figures)
        assert figures == sorted(figures)


def test_the_rows_of_the_four_released_checkpoints_have_their_published_eers():
    page = "https://github.com/Liu-Tianchi/Nes2Net_ASVspoof_ITW"
    rows = {row.id: row for row in ROWS if row.checkpoint == page and row.released}
    assert {id: row.best for id, row in rows.items()} == {
        "nes2net_x-2021_df": 1.65,
        "nes2net_x_mean5-2021_df": 1.49,
        "nes2net_x_val-in_the_wild": 5.52,
        "nes2net_x_val_aug-in_the_wild": 5.15,
    }


def tables_file(path: Path, **changes: Any) -> Path:
    """A file with one table of one system, written with ``changes`` of its result's system."""
    facts = {key: value for key, value in ROW.items() if key not in ("id", "test", "corpus")}
    system = {**facts, "notes": ["odd"], "results": {"2021_la": {}}, **changes}
    tests = {"2021_la": {"test": "asvspoof2021_la", "corpus": "asvspoof2021_la", "phase": "progress"}}
    table = {"title": "One", "columns": {"2021_la": "LA"}, "shared": {"year": 2031}, "systems": {"tiny": system}}
    return write(path, yaml.safe_dump({"notes": {"odd": "It is odd."}, "tests": tests, "tables": [table]}))


def test_a_published_result_has_the_fields_of_its_system_and_table(tmp_path):
    (row,) = published_rows(tables_file(tmp_path / "a.yaml"))
    assert (row.id, row.phase, row.year, row.best) == ("tiny-2021_la", "progress", 2031, 12.34)
    assert row.notes == ["It is odd."]


def test_fields_of_a_system_or_result_override_those_of_its_table(tmp_path):
    changes = {"year": 2030, "results": {"2021_la": {"id": "named", "best": 1, "phase": "eval"}}}
    (row,) = published_rows(tables_file(tmp_path / "b.yaml", **changes))
    assert (row.id, row.phase, row.year, row.best) == ("named", "eval", 2030, 1)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"bst": 1.0}, "unknown key 'bst'; did you mean 'best'"),
        ({"source": None}, "lacks source"),
        ({"best": None}, "has no figure; give best, mean, or both"),
    ],
)
def test_a_published_result_with_an_unknown_key_or_without_source_or_figure_is_refused(tmp_path, changes, message):
    with input_error(f"tiny-2021_la: {message}"):
        published_rows(tables_file(tmp_path / "tables.yaml", **changes))
