"""`nes2net published PROGRAM` does what the published script does, without the script."""


def test_nes2net_published_prints_what_each_evaluation_script_prints(g200, script, output):
    for program, arguments, status in (
        ("evaluate_2021_LA", "scores_LA.txt nowhere eval", 1),
        ("evaluate_2021_DF", "scores_DF.txt keys/DF --allow-partial eval", 0),
        ("Cal_EER_in_the_wild", "--path scores_ITW.txt --labels_file meta.csv", 0),
    ):
        expected = script(f"python {program}.py {arguments}", status)
        assert output(f"published {program} {arguments}", status) == expected
        assert any(expected), "nothing was printed"
