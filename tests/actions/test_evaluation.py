"""Python evaluates what the command evaluates, and writes the same files."""

import pytest
from builders.report_case import make_case

from nes2net import InputError
from nes2net.actions.calibration import Labels
from nes2net.actions.evaluation import Pages, evaluate
from nes2net.cli.main import main
from nes2net.machine.terminal import printable


@pytest.fixture
def case(tmp_path):
    return make_case(tmp_path)


def test_text_and_files_are_those_of_the_command(case, tmp_path, capsys):
    labels, scores = Labels("asvspoof2021_la", case, "eval"), [case / "good.txt", case / "worse.txt"]
    pages = Pages(tmp_path / "a.html", tmp_path / "a.json", tmp_path / "a.tex", tmp_path / "a.md")
    pages.check(scores)
    report, warnings = evaluate(labels, scores, num_resamples=5)
    pages.write(report, labels)
    flags = ["--html", "b.html", "--json", "b.json", "--latex", "b.tex", "--markdown", "b.md"]
    flags = [str(tmp_path / word) if word.startswith("b.") else word for word in flags]
    command = ["evaluate", "asvspoof2021_la", *map(str, scores), "--keys", str(case), "--resamples", "5", *flags]
    assert main(command) == 0 and warnings == []
    assert capsys.readouterr().out == printable(report.text()) + "\n"
    for kind in ("html", "json", "tex", "md"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_scores_of_utterances_have_no_frames(case):
    with pytest.raises(InputError, match="`threshold` and `resolution_ms` are for scores of frames"):
        evaluate(Labels("asvspoof2021_la", case, "eval"), [case / "good.txt"], threshold=0.5)
