"""The tables of published results: in a terminal, and as plain data."""

from nes2net.cli.main import main
from nes2net.models.published_results import published_rows


def printed(capsys, *arguments):
    assert main(["info", "published", *arguments]) == 0
    return capsys.readouterr().out


def test_every_row_of_every_table_is_printed(capsys):
    text = printed(capsys)
    assert max(map(len, text.splitlines())) <= 100
    tables = text.partition("\nASVspoof 2021 and In-the-Wild\n")[2].partition("\nrecipes and code\n")[0]
    words = " ".join(tables.split())
    for row in published_rows():
        assert (row.label or row.system).split()[0] in tables
        assert row.cell.split(",")[0] in words


def test_a_system_is_printed_with_its_figures_recipe_and_notes(capsys):
    text = printed(capsys)
    tables = text.partition("\nrecipes and code\n")[0]
    (moe,) = [line.split() for line in tables.splitlines() if line.startswith("  MoE ")]
    assert moe == ["MoE", "wav2vec", "2.0", "–", "–", "2.96", "2.54", "9.17", "7,", "12"]
    sources = " ".join(text.partition("\nrecipes and code\n")[2].split())
    assert "MoE recipe asvspoof2019_moe_aasist; code https://github.com/" in sources
    assert "FTDKD only reported" in sources
    assert " 8 We know only the title of FTDKD's paper." in sources
    assert " 12 The score file of MoE's authors gives an EER of 12.48 % on In-the-Wild, not 9.17 %." in sources
