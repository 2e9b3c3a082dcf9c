"""The tables of published results in a terminal."""

from nes2net.cli.main import main


def test_info_published_prints_a_system_with_its_figures_recipe_and_notes(capsys):
    assert main(["info", "published"]) == 0
    text = capsys.readouterr().out
    tables = text.partition("\nrecipes and code\n")[0]
    (moe,) = [line.split() for line in tables.splitlines() if line.startswith("  MoE ")]
    assert moe == ["MoE", "wav2vec", "2.0", "–", "–", "2.96", "2.54", "9.17", "7,", "12"]
    sources = " ".join(text.partition("\nrecipes and code\n")[2].split())
    assert "MoE recipe asvspoof2019_moe_aasist; code https://github.com/" in sources
    assert " 12 The score file of MoE's authors gives an EER of 12.48 % on In-the-Wild, not 9.17 %." in sources
