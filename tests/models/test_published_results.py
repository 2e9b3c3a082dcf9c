"""The rows of ``published_results.yaml``: complete, of models and recipes that exist, and refused if malformed."""

import re

import pytest
import yaml
from builders import golden
from builders.experiments import ROW
from builders.files import write

from nes2net.lib.errors import InputError
from nes2net.models.published_models import PUBLISHED_MODELS
from nes2net.models.published_results import published_rows, published_tables
from nes2net.models.published_tables import numbered_notes, system_rows
from nes2net.models.registry import backends
from nes2net.training.recipes.reading import packaged_recipes

ROWS = published_rows()
#: The comparison tables of arXiv 2504.05657, typed: front-end, parameters, averaged checkpoints, 2021 LA, 2021 DF and
#: In-the-Wild.
PAPER = (golden.FOLDER / "comparison_tables.txt").read_text(encoding="utf-8")


def test_the_first_table_is_that_of_the_paper():
    tables = published_tables()
    rows = [list(row.values())[:7] for row in system_rows(tables[0], numbered_notes(tables))]
    assert rows == [re.split(r" +\| ", line.rstrip()) for line in PAPER.splitlines()]
    assert [table.title for table in tables[1:4]] == ["CtrSVDD", "ASVspoof 5", "PartialSpoof"]
    assert [row.cell for table in tables[1:4] for row in table.rows] == [
        *("2.53 (2.55)", "2.22 (2.27)", "2.48 (2.51)", "2.20 (2.24)", "2.28 (2.69)", "2.02 (2.37)"),
        *("0.33", "0.64"),
    ]


def test_every_row_is_complete():
    assert {row.id.rpartition("-")[0] for row in ROWS if row.fusion} == {"ensembling", "ssl_eow_s", "cal_ensemble"}
    for row in ROWS:
        figures = [figure for figure in (row.best, row.mean) if figure is not None]
        assert figures and all(0 < figure < 100 for figure in figures) and row.source
        assert figures == sorted(figures)  # the best is not above the mean
        assert row.ways or row.here, "why is it only reported?"
        assert row.protocol != "unknown" or not row.recipe
        assert row.model in (None, *PUBLISHED_MODELS, *backends.names())
        assert not row.recipe or row.recipe in [f"configs/{name}.yaml" for name in packaged_recipes()]
    only_reported = {row.id.rpartition("-")[0] for row in ROWS if not row.ways}
    assert {"slim", "ftdkd", "wavespec", "cal_ensemble", "ssl_eow_s"} < only_reported
    row = next(row for row in ROWS if row.id == "pascu-in_the_wild")  # a mean has as many digits as its source
    assert (row.best, row.cell) == (None, "– (7.2)")
    assert " in_the_wild mean 7.2 % [" in row.describe()


def tables_file(path, **changes):
    """A file with one table of one system, written with ``changes`` of its result's system."""
    facts = {key: value for key, value in ROW.items() if key not in ("id", "test", "corpus")}
    system = {**facts, "notes": ["odd"], "results": {"2021_la": {}}, **changes}
    tests = {"2021_la": {"test": "asvspoof2021_la", "corpus": "asvspoof2021_la", "phase": "progress"}}
    table = {"title": "One", "columns": {"2021_la": "LA"}, "shared": {"year": 2031}, "systems": {"tiny": system}}
    return write(path, yaml.safe_dump({"notes": {"odd": "It is odd."}, "tests": tests, "tables": [table]}))


def test_a_result_has_the_fields_of_its_test_table_and_system(tmp_path):
    own = {"year": 2030, "results": {"2021_la": {"id": "own", "best": 1, "phase": "eval"}}}
    for name, changes, expected in (
        ("a", {}, ("tiny-2021_la", "progress", 2031, 12.34)),
        ("b", own, ("own", "eval", 2030, 1)),
    ):
        (row,) = published_rows(tables_file(tmp_path / f"{name}.yaml", **changes))
        assert (row.id, row.phase, row.year, row.best) == expected and row.notes == ["It is odd."]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"notes": ["od"]}, "tiny-2021_la: no note 'od'; did you mean 'odd'?"),
        ({"bst": 1.0}, "tiny-2021_la: unknown key 'bst'; did you mean 'best'"),
        ({"source": None}, "tiny-2021_la: lacks source"),
        ({"best": None}, "tiny-2021_la: has no figure; give best, mean, or both"),
        ({"samples": None}, "protocol 4sec needs the number of samples"),
    ],
)
def test_a_malformed_table_is_named(change, message, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)):
        published_rows(tables_file(tmp_path / "tables.yaml", **change))
