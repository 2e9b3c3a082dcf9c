"""The rows of results/*.csv: measured again, and compared with what is published."""

import csv
import lzma

import pytest
from builders.files import write
from builders.scripts import loaded

from nes2net.models.published_results import published_rows
from nes2net.scoring.score_file import write_scores

measured = loaded("site/measured.py")
ROWS = measured.read_rows()


def test_a_row_that_answers_a_published_result_has_its_figure_at_the_printed_digits():
    published = {row.id: row for row in published_rows()}
    answering_rows = [row for row in ROWS if row["published"]]
    assert answering_rows
    for row in answering_rows:
        result = published[row["published"]]
        assert result.percent(float(row["eer"])) == result.percent(result.best)


def unpacked(shared, name):
    return lzma.decompress((shared / "real" / "scores" / name).read_bytes())


@pytest.fixture
def folder(shared, tmp_path):
    """The keys and score files that the rows name; in the key of In-the-Wild, nobody knows who speaks."""
    key = "ASVspoof2019.LA.cm.eval.trl.txt"
    asv = "ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
    for name in (key, asv, "AASIST.eval.txt", "MoE.eval.txt"):
        write(tmp_path / "asvspoof2019_la" / name).write_bytes(unpacked(shared, f"asvspoof2019_la/{name}.xz"))
    lines = unpacked(shared, "in_the_wild/in_the_wild_key.txt.xz").decode().splitlines()
    rows = [line.split() for line in lines if line]
    write(tmp_path / "in_the_wild" / "meta.csv", ["file,speaker,label", *(f"{row[1]},x,{row[-1]}" for row in rows)])
    scores = "SLS_paper.scores_Wild.txt"
    (tmp_path / "in_the_wild" / scores).write_bytes(unpacked(shared, f"in_the_wild/{scores}.xz"))
    return tmp_path


@pytest.mark.slow
def test_the_rows_are_identical_if_they_are_measured_again(folder, capsys):
    assert measured.compare(ROWS, folder) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "IDENTICAL"


@pytest.fixture
def with_row(tmp_path):
    """A folder with an own corpus, and a row of it that was added to a file; a quarter of each class is wrong."""
    labels = ["bonafide"] * 4 + ["spoof"] * 4
    ids = [f"u{number}" for number in range(8)]
    corpus_folder = tmp_path / "generic"
    write(corpus_folder / "list.csv", ["path,label", *(f"{id}.wav,{label}" for id, label in zip(ids, labels))])
    write_scores(corpus_folder / "scores.txt", ids, [2.0, 3.0, 4.0, 1.0, 0.0, 1.5, -1.0, -2.0])
    words = [
        str(tmp_path),
        "--add",
        "mine",
        "generic",
        "all",
        "scores.txt",
        "my run",
        "--to",
        str(tmp_path / "own.csv"),
    ]
    assert measured.main(words) == 0
    return tmp_path


def rows_of(folder):
    with open(folder / "own.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_an_added_row_says_what_was_measured_and_by_which_commit(with_row):
    (row,) = rows_of(with_row)
    facts = (row["system"], row["source"], row["published"], row["bonafide"], row["spoof"], row["eer"])
    assert facts == ("mine", "my run", "", "4", "4", "25.0000")
    assert float(row["low"]) <= 25 <= float(row["high"])
    assert len(row["commit"]) == 12


def test_rows_that_differ_are_named(with_row, capsys):
    (row,) = rows_of(with_row)
    assert measured.compare([row], with_row) == 0
    assert measured.compare([row, {**row, "eer": "24.0000"}], with_row) == 1
    last_lines = [line for line in capsys.readouterr().out.splitlines() if "%" not in line]
    assert last_lines == ["IDENTICAL", "differ: mine on generic"]


def test_rows_without_files_are_named(tmp_path, capsys):
    assert measured.compare(ROWS[:1], tmp_path) == 1
    assert capsys.readouterr().out == (
        "AASIST on asvspoof2019_la: not measured, because asvspoof2019_la/AASIST.eval.txt is missing: "
        "see https://github.com/clovaai/aasist\nnothing was measured\n"
    )
