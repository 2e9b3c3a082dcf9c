"""The tables of a result: what is marked as the best, and what LaTeX and Markdown make of any text."""

import itertools
import re
import shutil
from dataclasses import replace

import pytest
from builders.files import write
from builders.report_case import make_case, report_of

from nes2net.actions.evaluation import evaluate
from nes2net.evaluation.page import html_page, sections
from nes2net.evaluation.result import Result
from nes2net.evaluation.tables import Figure, Measure, Row, Table
from nes2net.evaluation.writers import grid, latex, latex_text, markdown, text_lines

SPECIALS = r"""a\b{c}$d&e#f^g_h~i%j|k"l[m]n`o'p<q>r--s*t"""


def marks(result, name, table="systems"):
    return [row[name].is_best for row in result.rows(table)]


def compared_with_good(case, score_file, num_resamples):
    return evaluate("asvspoof2021_la", [case / "good.txt", score_file], case, num_resamples=num_resamples)


def test_the_best_figure_of_a_column_is_marked_only_if_it_is_certain(case, several, tmp_path):
    """It is certain if the interval of its difference from the next figure lies below 0."""
    good, worse, _ = several.rows("systems")
    assert good["eer"].value < worse["eer"].value
    assert several.rows("differences")[0]["difference"].interval[1] > 0
    assert marks(several, "eer") == [False] * 3
    assert marks(several, "min_dcf") == [True, False, False]
    useless_and_good = report_of(case, "useless", "good")
    assert useless_and_good["difference"].interval[0] > 0
    assert marks(useless_and_good, "eer") == [False, True]
    assert marks(useless_and_good, "eer", "by attack") == [False, False, True, True]
    shutil.copy(case / "good.txt", tmp_path / "same.txt")
    assert marks(compared_with_good(case, tmp_path / "same.txt", 50), "eer") == [False] * 2


def test_systems_are_compared_alike_whatever_the_order_of_their_score_files(case, tmp_path):
    by_order = []
    for folder, step in (("forward", 1), ("reversed", -1)):
        lines = (case / "useless.txt").read_text().splitlines()
        useless = write(tmp_path / folder / "useless.txt", lines[::step])
        by_order.append(compared_with_good(case, useless, 50))
    forward_order, reversed_order = by_order
    assert True in marks(forward_order, "eer")
    assert [table.to_dict() for table in reversed_order.tables] == [table.to_dict() for table in forward_order.tables]
    assert marks(reversed_order, "eer", "by attack") == marks(forward_order, "eer", "by attack")
    assert marks(reversed_order, "eer") == marks(forward_order, "eer")


def test_no_figure_is_marked_as_the_best_by_fewer_than_40_resamples(case):
    assert marks(compared_with_good(case, case / "useless.txt", 39), "eer") == [False] * 2


def test_hidden_rows_of_a_table_are_only_in_its_json():
    rows = [Row({"attack": "A07"}, {"eer": Figure(0.5)}, is_shown=False), Row({"attack": "A08"}, {"eer": Figure(0.25)})]
    table = Table("by attack", "By attack.", [Measure("eer", "EER %")], rows)
    assert [[cell.text for cell in row] for row in grid(table).rows] == [["A08", "25.00"]]
    assert [row["on"]["attack"] for row in table.to_dict()["rows"]] == ["A07", "A08"]


def test_the_terminal_shows_the_tables_of_two_systems_by_attack_as_those_of_one(single, several):
    for result in (single, several):
        _, _, table = result.text().partition("ASVspoof 2021 LA, eval: EER in %, by attack.\n")
        rows = [line.split() for line in table.partition("\n\n")[0].splitlines()[1:]]
        shown = [row for row in result.rows("by attack")]
        assert [row[-5:-3] for row in rows] == [
            [row.labels["attack"], f"{100 * row.value('eer'):.3f}"] for row in shown
        ]


def test_tables_without_a_group_of_enough_trials_are_named_in_one_line_in_place_of_sections(few):
    note = "no EER by attack, by codec, by attack and codec: each group has fewer than 20 trials of a class"
    for text in (few.text(), html_page(few), few.markdown(), few.latex()):
        assert text.count(note) >= 1
        assert "EER in" not in text
        assert "By attack" not in text
    assert len(few.rows("by codec")) == 3
    assert few.notes[-1].startswith(note)


def test_a_section_of_plots_that_has_none_has_no_heading(single):
    plots = {"DET curves": single.plots()["DET curves and scores"], "Unknown classes": []}
    result = replace(single, tables=single.tables[:1], plots=lambda: plots)
    assert [section.heading for section in sections(result)] == ["", "DET curves"]


def test_labels_of_latex_tables_of_two_results_differ(single, several, few):
    labels = []
    for result in (single, several, replace(few, title="ASVspoof 2021 DF, eval")):
        labels += re.findall(r"\\label{(.*)}", result.latex())
    assert len(set(labels)) == len(labels) > 5
    assert labels[0] == "tab:asvspoof-2021-la-eval-good-systems"


def test_cards_of_a_single_row_have_the_caption_above_and_call_only_intervals_so(single):
    page = html_page(single)
    assert page.index(single.tables[0].caption) < page.index('<dl class="tiles">')
    measures = [Measure("eer", "EER %"), Measure("mean", "mean %")]
    rows = []
    for name, mean in (("LA", 0.25), ("DF", 0.5)):
        rows.append(Row({"system": "a", "set": name}, {"eer": Figure(0.125), "mean": Figure(mean)}))
    crossed = html_page(Result("An experiment", {}, [], [Table("eer", "EER %.", measures, rows, across="set")]))
    assert '<dd class="small">mean % 25.00</dd>' in crossed


def test_systems_side_by_side_share_the_columns_of_equal_figures():
    """The figures that differ stand together in a column of each system."""
    measures = [Measure("eer", "EER %"), Measure("num_spoof", "spoof", "count"), Measure("p", "p", "p-value")]
    rows = []
    for system, eers in (("a", (0.1, 0.2)), ("b", (0.3, None))):
        for attack, eer in zip(("A07", "A08"), eers):
            figures = {"eer": Figure(eer, (0.0, 0.5)), "num_spoof": Figure(5), "p": Figure(eer)}
            rows += [Row({"system": system, "attack": attack}, figures)] if eer else []
    table = Table("by attack", "By attack.", measures, rows, across="system")
    layout = grid(table)
    assert layout.head == ["attack", "a", "b", "spoof"]
    first, second = ([cell.text_with_details for cell in row] for row in layout.rows)
    assert first == ["A07", "10.00 (0.00–50.00, p 0.100)", "30.00 (0.00–50.00, p 0.300)", "5"]
    assert second == ["A08", "20.00 (0.00–50.00, p 0.200)", "–", "5"]


def test_a_p_value_that_is_an_upper_bound_is_shown_with_a_less_or_equal_sign():
    figures = {"p_value": Figure(2 / 1001, is_bound=True)}
    table = Table("differences", "Differences", [Measure("p_value", "p", "p-value")], [Row({"first": "a"}, figures)])
    assert "≤ 0.002" in text_lines(table)[-1]
    assert r"$\leq$ 0.002" in latex([table])
    assert "≤ 0.002" in markdown([table])


def check_no_figure_is_marked(report):
    for row in itertools.chain(*(table.rows for table in report.tables)):
        for figure in row.figures.values():
            assert not figure.is_best


def test_no_figure_of_a_single_system_is_marked_as_the_best(single):
    check_no_figure_is_marked(single)


def test_no_figure_of_systems_with_different_trials_is_marked_as_the_best(case, tmp_path):
    partial_scores = write(
        tmp_path / "part.txt", "".join((case / "good.txt").read_text().splitlines(keepends=True)[:-7])
    )
    paths = [partial_scores, case / "worse.txt"]
    check_no_figure_is_marked(evaluate("asvspoof2021_la", paths, case, allow_partial=True, num_resamples=2))


def test_the_result_gives_by_name_the_figure_of_the_first_row_that_has_it(several):
    assert several["eer"] == several.rows("systems")[0]["eer"]
    assert several["p_value"] == several.rows("differences")[0]["p_value"]


def test_the_result_has_no_figure_of_an_unknown_name(several):
    with pytest.raises(KeyError, match="no figure 'macro_f1'"):
        several["macro_f1"]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = make_case(tmp_path_factory.mktemp("hostile"), attacks=(SPECIALS, "A08"))
    (folder / "good.txt").rename(folder / f"{SPECIALS}.txt")
    return report_of(folder, SPECIALS, "worse")


def test_latex_escapes_special_characters(hostile):
    """So the rows of each table have as many cells as columns."""
    text = latex(hostile.printed)
    # 2 tables of figures, a difference; the heads of 2 breakdowns and an attack; 2 rows by attack and codec, and the attack
    # of 2 systems there
    assert text.count(latex_text(SPECIALS)) == 10
    body = re.sub(r"\\[a-zA-Z]+|\\[&%$#_{},\\]|\$-\$", " ", text.partition("\n")[2])  # without commands and escapes
    assert not re.search(r"[\\$#^_~%|\"`'<>]", body)
    assert not re.search(r"\\\\\s*[\[*]", text)  # which would be an option of the end of a row
    assert "--" not in latex_text(SPECIALS)
    tables = re.findall(r"\\begin\{tabular\}\{(l+[r]+)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert tables
    for columns, tabular_body in tables:
        rows = [line for line in tabular_body.splitlines() if line.endswith(r"\\")]
        assert len(rows) >= 2
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}


def test_rendered_markdown_has_the_cells_of_the_tables(hostile):
    markdown_it = pytest.importorskip("markdown_it")
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(markdown(hostile.printed))
    rendered_cells = []
    for opened, inline in itertools.pairwise(tokens):
        if opened.type in ("th_open", "td_open"):
            text = "".join(child.content for child in inline.children if child.type == "text")
            rendered_cells.append((text, any(child.type == "strong_open" for child in inline.children)))
    expected = []
    for table in hostile.printed:
        layout = grid(table)
        expected += [(text, False) for text in layout.head]
        expected += [(cell.text_with_details, cell.is_best) for row in layout.rows for cell in row]
    assert rendered_cells == expected
