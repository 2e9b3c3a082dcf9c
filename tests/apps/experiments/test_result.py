"""Best, mean and deviation over seeds, and the tables of an experiment."""

from dataclasses import replace
from statistics import stdev

import pytest

from nes2net.apps.experiments.page import experiment_page, write_experiment
from nes2net.apps.experiments.result import ExperimentResult, Measured, ResultCell, ResultRow, comparability


def measured(seed: int, eer: float, **changes) -> Measured:
    figures = {"metrics": {"eer": eer, "min_dcf": 2 * eer}, "interval": (eer - 0.001, eer + 0.001)}
    counts = {"interval_over": "trials", "num_bonafide": 6, "num_spoof": 1200, "left_out": ""}
    files = {"trials": "t", "key": "k", "page": f"reports/seed{seed}/a b.html"}
    return Measured(run=f"seed{seed}", seed=seed, **figures | counts | files | changes)


@pytest.fixture
def result() -> ExperimentResult:
    first = [measured(1, 0.0195), measured(2, 0.0173), measured(3, 0.02)]
    rows = [
        ResultRow("single", {"LA": ResultCell(first, 3), "DF": ResultCell([measured(1, 0.01)], 3)}),
        ResultRow("3 <averaged>", {"LA": ResultCell([measured(1, 0.0166)], 3), "DF": ResultCell([], 3)}),
    ]
    return ExperimentResult("Title & <b>", ["LA", "DF"], rows, ["eer", "min_dcf"], [1, 2, 3], 100, notes=["a *note*"])


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_the_table_has_the_form_of_the_paper(result):
    eer, dcf, details = result.tables()
    assert eer.head == ["system", "LA", "DF"]
    assert texts(eer) == [["single", "1.73 (1.89)", "1.00"], ["3 <averaged>", "1.66", "–"]]
    assert [[cell.best for cell in row] for row in eer.rows] == [[False, False, False], [False, True, False]]
    assert texts(dcf)[0] == ["single", "0.0346 (0.0379)", "0.0200"]
    deviation, trials = f"{100 * stdev([0.0195, 0.0173, 0.02]):.2f}", "6 + 1\u202f200"
    first, second, _, last = texts(details)
    assert first == ["single", "LA", "1.73", "1.63–1.83", "2", "1.89", deviation, trials, "3 of 3"]
    assert second == ["single", "DF", "1.00", "0.90–1.10", "1", "1.00", "–", trials, "1 of 3"]
    assert last == ["3 <averaged>", "DF", *["–"] * 6, "0 of 3"] and not result.is_complete


def test_mean_and_worst_corpus_are_taken_of_each_seed_before_the_best_of_them(result):
    columns = {"LA": (0.01, 0.02), "DF": (0.05, 0.03, 0.001)}
    cells = {name: ResultCell([measured(n, eer) for n, eer in enumerate(eers, 1)], 2) for name, eers in columns.items()}
    result = replace(result, rows=[ResultRow("single", cells)], left_out_in_turn=True, metrics=["eer"])
    (table, _) = result.tables()
    assert table.head == ["system", "LA", "DF", "mean", "worst"]
    assert texts(table) == [["single", "1.00 (1.50)", "0.10 (2.70)", "2.50 (2.75)", "3.00 (4.00)"]]
    across = result.to_dict()["rows"][0]["across"]["eer"]
    assert across["worst"]["best_seed"] == 2 and across["mean"]["num_seeds"] == 2


def test_what_cannot_be_compared_is_said(result):
    other = measured(2, 0.1, trials="u", num_spoof=1, left_out="1 trial")
    rows = [ResultRow("x", {"LA": ResultCell([measured(1, 0.1), other])})]
    assert comparability(["LA"], rows) == [
        "LA: the detectors were measured on different recordings: do not compare them",
        "LA: the detectors were measured on different numbers of trials: do not compare them",
        "LA: a partial result, because scores are missing: seed2",
    ]
    assert comparability(["LA", "DF"], result.rows) == []


def test_the_files(result, tmp_path):
    paths = write_experiment(result, tmp_path)
    page, data, markdown, latex = (path.read_text() for path in paths)
    assert [path.name for path in paths] == ["table.html", "table.json", "table.md", "table.tex"]
    assert page == experiment_page(result) and "<b>&" not in page and "Title &amp; &lt;b&gt;" in page
    assert 'href="reports/seed1/a%20b.html"' in page and "1.73 (1.89)" in page and "<script" not in page
    assert '"best_seed": 2' in data and '"complete": false' in data
    assert "**1.66**" in markdown and "- a \\*note\\*" in markdown
    assert r"\textbf{1.66}" in latex and r"single & 1.73 (1.89) & 1.00 \\" in latex
