"""`nes2net published PROGRAM` does what the published script does, without the script."""

from builders import golden_metrics


def test_the_same_lines_and_status_as_the_script(tmp_path, monkeypatch, script, command):
    monkeypatch.chdir(golden_metrics.load("g200", tmp_path).folder)
    for program, arguments in (
        ("evaluate_2021_LA", "scores_LA.txt nowhere eval"),
        ("evaluate_2021_DF", "scores_DF.txt keys/DF --allow-partial eval"),
        ("Cal_EER_in_the_wild", "--path scores_ITW.txt --labels_file meta.csv"),
    ):
        expected = script(f"python {program}.py {arguments}")
        assert command(f"published {program} {arguments}") == expected
        assert any(expected[1:]), "nothing was printed"
