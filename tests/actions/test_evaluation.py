"""Python evaluates what the command evaluates, and writes the same files."""

import pytest
from builders.report_case import make_case

from nes2net import InputError
from nes2net.actions.evaluation import Pages, evaluate
from nes2net.cli.main import main
from nes2net.evaluation.key import Labels
from nes2net.machine.terminal import printable


def test_text_and_files_are_those_of_the_command(tmp_path, capsys):
    case = make_case(tmp_path)
    labels, scores = Labels("asvspoof2021_la", case, "eval"), [case / "good.txt", case / "worse.txt"]
    pages = Pages(*(tmp_path / f"a.{kind}" for kind in ("html", "json", "tex", "md")))
    report, warnings = evaluate(labels, scores, num_resamples=5)
    pages.write(report, labels)
    command = (
        f"evaluate asvspoof2021_la {case}/good.txt {case}/worse.txt --keys {case} --resamples 5 --html {case}/b.html"
    )
    assert main(f"{command} --json {case}/b.json --latex {case}/b.tex --markdown {case}/b.md".split()) == 0
    assert warnings == [] and capsys.readouterr().out == printable(report.text()) + "\n"
    for kind in ("html", "json", "tex", "md"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    with pytest.raises(InputError, match="`threshold` and `resolution_ms` are for scores of frames"):
        evaluate(labels, scores[:1], threshold=0.5)
