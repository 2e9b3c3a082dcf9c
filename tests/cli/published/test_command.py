"""`nes2net published PROGRAM` does what the published script does, without the script."""

from typing import get_args

from builders import golden_metrics

from nes2net.cli.published.command import Program


def test_the_same_lines_and_status_as_the_script(tmp_path, monkeypatch, script, command):
    monkeypatch.chdir(golden_metrics.load("g200", tmp_path).folder)
    for program, arguments in (
        ("evaluate_2021_LA", "scores_LA.txt nowhere eval"),
        ("evaluate_2021_DF", "scores_DF.txt keys/DF --allow-partial eval"),
        ("Cal_EER_in_the_wild", "--path scores_ITW.txt --labels_file meta.csv"),
    ):
        expected = script(f"python {program}.py {arguments}")
        assert command(f"published {program} {arguments}") == expected and (expected[1] or expected[2])


def test_help_and_errors_have_the_name_that_was_typed(command, refused):
    listed = command("published --help")[1]
    for program in get_args(Program):
        status, text, _ = command(f"published {program} --help")
        assert status == 0 and f"example:\n  nes2net published {program}" in text and program in listed
    for program, words in (("main", "--eval"), ("easy_inference_demo", "--file_to_test none.wav")):
        words = f"published {program} --model_name wav2vec2_Nes2Net_X --model_path none.pth {words}"
        assert refused(words).startswith(f"nes2net published {program}: error: ")
