"""The tables of a report: what is marked as the best, and what LaTeX and Markdown make of any text."""

import itertools
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from builders.files import write
from builders.report_case import make_case, report_of

from nes2net.evaluation.breakdown import FEWEST, Parts
from nes2net.evaluation.evaluate import evaluate_systems
from nes2net.evaluation.report_tables import breakdowns, paper_tables, summary
from nes2net.evaluation.tables import latex, latex_text, markdown

SPECIALS = r"""a\b{c}$d&e#f^g_h~i%j|k"l[m]n`o'p<q>r--s*t"""


def column(table, name):
    return [row[table.head.index(name)] for row in table.rows]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_of_several_processes_shows_the_progress(case, rank, monkeypatch, capsys):
    settings = {"RANK": f"{rank}", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in (settings | {"NES2NET_PROGRESS_SECONDS": "1e-9"}).items():
        monkeypatch.setenv(name, value)
    report_of(case, "good")
    assert ("bootstrap: draw" in capsys.readouterr().err) == (rank == 0)


def test_the_best_figure_of_a_column_is_marked_if_it_is_certain(case, several, tmp_path):
    """The interval of its difference from the next one is below 0; of few resamples there is none, nor of equal figures."""

    def marks(report, name):
        return [cell.best for cell in column(summary(report), name)]

    good, worse, _ = several.systems
    assert good.eer < worse.eer and several.pairs[0].interval[1] > 0
    assert marks(several, "EER %") == [False] * 3 and marks(several, "minDCF") == [True, False, False]
    found = report_of(case, "useless", "good")
    assert found.pairs[0].interval[0] > 0 and marks(found, "EER %") == [False, True]
    by_attack = next(table for table in paper_tables(found) if table.head[0] == "attack")
    assert [[cell.best for cell in column(by_attack, name)] for name in found.names] == [[False] * 2, [True] * 2]
    assert not any(any(marks(found, name)) for name in ("system", "95 % interval", "trials"))
    shutil.copy(case / "good.txt", tmp_path / "same.txt")
    for path, num_resamples in ((tmp_path / "same.txt", 50), (case / "useless.txt", 39)):
        report = evaluate_systems("asvspoof2021_la", [case / "good.txt", path], case, num_resamples=num_resamples)
        assert marks(report, "EER %") == [False] * 2


def test_an_eer_without_an_interval_needs_trials(single):
    (system,) = single.systems

    def with_few(number):
        """The system with few spoofed trials in this many rows of each table."""
        tables = [
            Parts(
                table.fields, [replace(row, num_spoof=FEWEST - 1) for row in table.rows[:number]] + table.rows[number:]
            )
            for table in system.tables
        ]
        return replace(system, tables=tables)

    for number, left in ((0, [2, 3, 6]), (2, [2, 3, 4]), (6, [2, 3])):
        assert [len(found.largest) for found in breakdowns([with_few(number)])] == left


def test_nothing_is_marked_for_one_system_or_other_trials(single, case, tmp_path):
    part = write(tmp_path / "part.txt", "".join((case / "good.txt").read_text().splitlines(keepends=True)[:-7]))
    paths = [part, case / "worse.txt"]
    for report in (single, evaluate_systems("asvspoof2021_la", paths, case, allow_partial=True, num_resamples=2)):
        assert not any(cell.best for table in paper_tables(report) for row in table.rows for cell in row)


def test_the_tables_hold_the_figures_of_the_report(several):
    figures, ratios, differences, attack, codec = paper_tables(several)
    systems = several.systems
    assert [cell.text for cell in column(figures, "EER %")] == [f"{100 * s.eer:.2f}" for s in systems]
    assert [cell.text for cell in column(ratios, "actDCF")] == [f"{s.act_dcf:.4f}" for s in systems]
    assert differences.rows[0][0].text == "good − worse"
    assert [cell.text for cell in column(attack, "worse")] == [f"{100 * r.eer:.2f}" for r in systems[1].rows("attack")]
    assert codec.caption == "ASVspoof 2021 LA, eval: EER in %, by codec."


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = make_case(tmp_path_factory.mktemp("hostile"), attacks=(SPECIALS, "A08"))
    (folder / "good.txt").rename(folder / f"{SPECIALS}.txt")
    return report_of(folder, SPECIALS, "worse")


def test_latex_escapes_what_it_would_obey(hostile):
    text = latex(paper_tables(hostile))
    assert text.count(latex_text(SPECIALS)) == 6  # 2 tables of figures, a difference, 2 breakdowns, an attack
    body = re.sub(r"\\[a-zA-Z]+|\\[&%$#_{},\\]|\$-\$", " ", text.partition("\n")[2])  # without commands and escapes
    assert not re.search(r"[\\$#^_~%|\"`'<>]", body)
    depths = np.cumsum([1 if bracket == "{" else -1 for bracket in re.findall(r"[{}]", body)])
    assert depths.min() == depths[-1] == 0
    assert not re.search(r"\\\\\s*[\[*]", text)  # which would be an option of the end of a row
    assert "--" not in latex_text(SPECIALS)
    for columns, inner in re.findall(r"\\begin\{tabular\}\{(l[r]+)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in inner.splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 2 and {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}


def test_markdown_is_rendered_as_the_tables(hostile):
    markdown_it = pytest.importorskip("markdown_it")
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(markdown(paper_tables(hostile)))
    found, kinds = [], {child.type for token in tokens for child in token.children or []}
    for opened, inline in itertools.pairwise(tokens):
        if opened.type in ("th_open", "td_open"):
            text = "".join(child.content for child in inline.children if child.type == "text")
            found.append((text, any(child.type == "strong_open" for child in inline.children)))
    expected = []
    for table in paper_tables(hostile):
        expected += [(text, False) for text in table.head]
        expected += [(cell.text, cell.best) for row in table.rows for cell in row]
    assert found == expected and kinds == {"text", "strong_open", "strong_close"}
