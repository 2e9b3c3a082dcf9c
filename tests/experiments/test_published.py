"""The rows of ``published.yaml``: complete, of models and recipes that exist, and refused if malformed."""

import re

import pytest
import yaml
from builders.experiments import ROW
from builders.files import write
from conftest import REPOSITORY

from nes2net.errors import InputError
from nes2net.experiments.published import published_rows, published_tables
from nes2net.experiments.result_table import numbered_notes, system_rows
from nes2net.published_models import PUBLISHED_MODELS
from nes2net.recipes.reading import packaged_recipes
from nes2net.registry import backends

ROWS = published_rows()
# The comparison tables of arXiv 2504.05657, typed: front-end, parameters, averaged checkpoints, 2021 LA, 2021 DF and
# In-the-Wild.
PAPER = """\
FIR-NB                 | wav2vec 2.0 | –       | –   | 3.54        | 6.18        | –
FIR-WB                 | wav2vec 2.0 | –       | –   | 7.08        | 4.98        | –
LGF                    | wav2vec 2.0 | –       | –   | 9.66        | 4.75        | –
Conformer (fix)        | wav2vec 2.0 | 2,506k  | –   | 1.38        | 2.27        | 8.42
Conformer (var)        | wav2vec 2.0 | 2,506k  | –   | 0.87        | 7.36        | –
Ensembling‡            | wav2vec 2.0 | –       | –   | 2.32 (4.48) | 5.60 (8.74) | –
ASP+MLP                | WavLM       | 1,051k  | –   | 3.31        | 4.47        | –
SLIM                   | wav2vec 2.0 | –       | –   | –           | – (4.4)     | – (12.5)
AttM-LSTM              | WavLM       | 936k    | N/A | 3.50        | 3.19        | –
FTDKD                  | wav2vec 2.0 | –       | –   | 2.96        | 2.82        | –
AASIST2                | wav2vec 2.0 | –       | –   | 1.61        | 2.77        | –
MFA                    | wav2vec 2.0 | –       | –   | 5.08        | 2.56        | –
MoE                    | wav2vec 2.0 | –       | –   | 2.96        | 2.54        | 9.17
OCKD                   | wav2vec 2.0 | –       | –   | 0.90        | 2.27        | 7.68
Pascu et al.           | wav2vec 2.0 | –       | –   | –           | –           | – (7.2)
TCM                    | wav2vec 2.0 | 2,383k  | 5   | 1.03        | 2.06        | 7.79
SLS                    | wav2vec 2.0 | 23,399k | –   | 2.87 (3.88) | 1.92 (2.09) | 7.46 (8.87)
LSR+LSA                | wav2vec 2.0 | –       | –   | 1.19        | 2.43        | 5.92
LSR+LSA ※              | wav2vec 2.0 | –       | –   | 1.05        | 1.86        | 5.54
WaveSpec               | wav2vec 2.0 | –       | –   | –           | 1.90        | 6.58
Mamba                  | wav2vec 2.0 | 1,937k  | 5   | 0.93        | 1.88        | 6.71
SSL-EOW-S‡             | wav2vec 2.0 | –       | –   | –           | 1.75 (2.91) | –
Cal. Ensemble‡         | wav2vec 2.0 | –       | –   | –           | – (2.03)    | –
AASIST                 | wav2vec 2.0 | 447k    | N/A | 0.82 (1.00) | 2.85 (3.69) | 10.46
AASIST (algo4)         | wav2vec 2.0 | 447k    | N/A | 1.13 (1.36) | 3.37 (4.09) | –
AASIST (algo5)         | wav2vec 2.0 | 447k    | N/A | 0.93 (1.40) | 3.56 (5.07) | –
Nes2Net                | wav2vec 2.0 | 511k    | N/A | 1.61 (1.90) | 1.89 (2.12) | –
Nes2Net-X              | wav2vec 2.0 | 511k    | N/A | 1.73 (1.95) | 1.65 (1.91) | –
Nes2Net-X              | wav2vec 2.0 | 511k    | 3   | 1.66 (1.87) | 1.54 (1.98) | –
Nes2Net-X              | wav2vec 2.0 | 511k    | 5   | 1.88 (2.00) | 1.49 (1.78) | –
Nes2Net w/o Val Aug.   | wav2vec 2.0 | –       | –   | –           | –           | 5.80 (7.06)
Nes2Net-X w/o Val Aug. | wav2vec 2.0 | –       | –   | –           | –           | 5.52 (6.60)
Nes2Net-X w/ Val Aug.  | wav2vec 2.0 | –       | –   | –           | –           | 5.15 (6.31)
"""


def test_the_first_table_is_that_of_the_paper():
    tables = published_tables()
    rows = [list(row.values())[:7] for row in system_rows(tables[0], numbered_notes(tables))]
    assert rows == [re.split(r" +\| ", line.rstrip()) for line in PAPER.splitlines()]
    assert [table.title for table in tables[1:4]] == ["CtrSVDD", "ASVspoof 5", "PartialSpoof"]
    assert [row.cell for table in tables[1:4] for row in table.rows] == [
        *("2.53 (2.55)", "2.22 (2.27)", "2.48 (2.51)", "2.20 (2.24)", "2.28 (2.69)", "2.02 (2.37)"),
        *("0.33", "0.64"),
    ]


def test_what_cannot_be_compared_is_said():
    notes = {row.id: " ".join(row.notes) for row in ROWS}
    for id, words in (
        ("mfa-2021_la", "WavLM-Large"),
        ("lgf-2021_df", "XLSR-53"),
        ("ensembling-2021_la", "ASVspoof 2019 LA and selected on the progress trials"),
        ("moe-in_the_wild", "12.483084"),
        ("moe-2021_la", "same figure on 2021 LA, 2.96"),
        ("ftdkd-2021_la", "same figure on 2021 LA, 2.96"),
        ("wavespec-in_the_wild", "6.71 is Mamba's"),
    ):
        assert words in notes[id]
    assert "Nes2Net-LA" in published_tables()[0].notes[0]


def test_every_row_is_complete():
    assert {row.id.rpartition("-")[0] for row in ROWS if row.fusion} == {"ensembling", "ssl_eow_s", "cal_ensemble"}
    for row in ROWS:
        figures = [figure for figure in (row.best, row.mean) if figure is not None]
        assert figures and all(0 < figure < 100 for figure in figures) and row.source
        assert figures == sorted(figures)  # the best is not above the mean
        assert row.ways or row.here, "why is it only reported?"
        assert row.protocol != "unknown" or not row.recipe
    only_reported = {row.id.rpartition("-")[0] for row in ROWS if not row.ways}
    assert {"slim", "ftdkd", "wavespec", "cal_ensemble", "ssl_eow_s"} < only_reported
    row = next(row for row in ROWS if row.id == "pascu-in_the_wild")  # a mean has as many digits as its source
    assert (row.best, row.cell) == (None, "– (7.2)")
    assert " in_the_wild mean 7.2 % [" in row.describe()


def test_the_model_and_recipe_of_every_row_exist():
    assert {row.model for row in ROWS if row.model} <= {*PUBLISHED_MODELS, *backends.names()}
    recipes = {row.recipe for row in ROWS if row.recipe}
    assert {recipe.removeprefix("configs/").removesuffix(".yaml") for recipe in recipes} <= {*packaged_recipes()}
    assert recipes and all((REPOSITORY / recipe).is_file() for recipe in recipes)


def tables_file(path, **changes):
    """A file with one table of one system, written with ``changes`` of its result's system."""
    facts = {key: value for key, value in ROW.items() if key not in ("id", "test", "corpus")}
    system = {**facts, "notes": ["odd"], "results": {"2021_la": {}}, **changes}
    test = {"test": "asvspoof2021_la", "corpus": "asvspoof2021_la", "phase": "progress"}
    table = {"title": "One", "columns": {"2021_la": "LA"}, "shared": {"year": 2031}, "systems": {"tiny": system}}
    content = {"notes": {"odd": "It is odd."}, "tests": {"2021_la": test}, "tables": [table]}
    return write(path, yaml.safe_dump(content))


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
        ({"notes": "odd"}, "tiny-2021_la: notes is a list of names, not 'odd'"),
        ({"results": {"2021_lb": {"best": 1.0}}}, "tiny: no column '2021_lb'; did you mean '2021_la'?"),
        ({"results": {"2021_la": 1.0}}, "tiny-2021_la: a mapping is expected, found 1.0"),
        ({"bst": 1.0}, "tiny-2021_la: unknown key 'bst'; did you mean 'best'"),
        ({"source": None}, "tiny-2021_la: lacks source"),
        ({"best": None}, "tiny-2021_la: has no figure; give best, mean, or both"),
        ({"metric": "min t-DCF"}, "metric is EER, not 'min t-DCF'"),
        ({"protocol": "4s"}, "protocol is one of 4sec, full, unknown, not '4s'"),
        ({"samples": None}, "protocol 4sec needs the number of samples"),
        ({"average_mode": "old"}, "average_mode is one of mean, legacy, not 'old'"),
        ({"legacy_train_mode": "yes"}, "legacy_train_mode is true or false, not 'yes'"),
        ({"select": "loss"}, "select is one of val_loss_wo_aug, val_loss_w_aug"),
        ({"averaged": 0}, "averaged is a whole number of at least 1, or null, not 0"),
    ],
)
def test_malformed_tables(change, message, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)):
        published_rows(tables_file(tmp_path / "tables.yaml", **change))
