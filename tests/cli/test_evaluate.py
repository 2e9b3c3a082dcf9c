"""`nes2net evaluate`: output, files and errors."""

import json

import numpy as np
import pytest
from builders.report_case import make_case

from nes2net.cli.main import main
from nes2net.errors import InputError


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return make_case(tmp_path_factory.mktemp("case"))


def test_a_file_that_cannot_be_written_is_an_error_before_the_bootstrap(case, tmp_path, monkeypatch):
    def too_late(*args, **options):
        raise AssertionError("evaluated")

    monkeypatch.setattr("nes2net.actions.evaluation.evaluate_systems", too_late)
    (tmp_path / "file").touch()
    assert (
        main(["evaluate", "asvspoof2021_la", str(case / "good.txt"), "--json", str(tmp_path / "file" / "r.json")]) == 2
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_result_is_printed_before_it_is_written(case, tmp_path, monkeypatch, capsys):
    def fails(*args):
        raise InputError("the disk is full")

    monkeypatch.setattr("nes2net.actions.evaluation.write_report", fails)
    arguments = ["--keys", str(case), "--resamples", "5", "--json", str(tmp_path / "r.json")]
    assert main(["evaluate", "asvspoof2021_la", str(case / "good.txt"), *arguments]) == 2
    assert "95 % interval" in capsys.readouterr().out


def test_command_line(case, tmp_path, capsys):
    common = ["--keys", str(case), "--resamples", "20"]
    scores = [str(case / "good.txt"), str(case / "worse.txt")]
    files = ["--html", str(tmp_path / "r.html"), "--json", str(tmp_path / "r.json")]
    assert main(["evaluate", "asvspoof2021_la", *scores, *common, *files]) == 0
    out = capsys.readouterr().out
    assert "good − worse: −" in out and "p " in out
    assert json.loads((tmp_path / "r.json").read_text())["systems"][1]["system"] == "worse"
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert main(["evaluate", "asvspoof2021_la", scores[0], *common, "--exclude", "attack=A08", "codec=gsm"]) == 0
    assert "left out by definition: attack A08, codec gsm" in capsys.readouterr().out
    for wrong, message in (
        (["--exclude", "A08"], "--exclude takes FIELD=VALUE"),
        (["--html", str(tmp_path / "none" / "r.html")], "cannot be written"),
        (["--json", str(tmp_path)], "is a folder; name a file to write"),
        (["--json", scores[0]], "is one of the score files"),
        (["--seed", "-1"], "seed must be 0 or more, got -1"),
    ):
        assert main(["evaluate", "asvspoof2021_la", scores[0], *common, *wrong]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_embeddings_are_drawn_in_the_page(case, tmp_path, capsys):
    ids = [line.split()[0] for line in (case / "good.txt").read_text().splitlines()[:20]]
    np.save(tmp_path / "e.npy", np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32))
    (tmp_path / "e.npy.csv").write_text("id,label\n" + "".join(f"{id},\n" for id in ids))
    arguments = ["evaluate", "asvspoof2021_la", str(case / "good.txt"), "--keys", str(case), "--resamples", "5"]
    page = tmp_path / "r.html"
    assert main([*arguments, "--embeddings", str(tmp_path / "e.npy"), "--html", str(page)]) == 0
    assert "<h2>Embeddings</h2>" in page.read_text() and "All 20 embeddings are drawn" in page.read_text()
    capsys.readouterr()
    assert main([*arguments, "--embeddings", str(tmp_path / "e.npy")]) == 2
    assert "--embeddings are drawn in the page: name it with --html" in capsys.readouterr().err


def test_transferred_thresholds(case, tmp_path, capsys):
    """Both sources of a threshold, a further set, warnings on standard error, and wrong flags."""
    labels = [("real", "fake")[n % 3 > 0] for n in range(90)]
    (tmp_path / "dev.csv").write_text("path,label\n" + "".join(f"D{n},{label}\n" for n, label in enumerate(labels)))
    scores = [4 * (label == "real") + n % 7 / 2 for n, label in enumerate(labels)]
    (tmp_path / "dev.txt").write_text("".join(f"D{n} {score}\n" for n, score in enumerate(scores)))
    dev = ["--dev-corpus", "generic", "--dev-keys", str(tmp_path / "dev.csv"), "--dev-phase", "all"]
    good, keys = str(case / "good.txt"), ["--keys", str(case), "--resamples", "5"]
    also = ["--also", "asvspoof2021_la", str(case / "worse.txt"), str(case)]
    files = [str(tmp_path / f"r.{kind}") for kind in ("html", "json", "md")]
    written = ["--html", files[0], "--json", files[1], "--markdown", files[2]]
    common = ["evaluate", "asvspoof2021_la", good, *keys]
    threshold = ["--threshold-from", str(tmp_path / "dev.txt"), *dev]
    assert main([*common, *threshold, *also, *written, "--operating-point", "fa:10%"]) == 0
    out, err = capsys.readouterr()
    assert "error rates in % at the operating point fa:10% of generic all (30 bona fide, 60 spoof)" in out
    assert "generic, all (development)" in out and "asvspoof2021_la (2)" in out
    assert "warning: calibration made Cllr of asvspoof2021_la worse" in err
    (table,) = json.loads((tmp_path / "r.json").read_text())["transfers"]
    assert table["rows"][0]["false_alarm"]["value"] <= 0.1 and len(table["rows"]) == 3
    assert "At the transferred threshold" in (tmp_path / "r.html").read_text()
    assert "| set | trials | EER | HTER |" in (tmp_path / "r.md").read_text()

    calibration = str(tmp_path / "calibration.json")
    learn = ["generic", str(tmp_path / "dev.txt"), "--keys", str(tmp_path / "dev.csv"), "--phase", "all"]
    assert main(["calibrate", "fit", *learn, "--save", calibration]) == 0
    assert main([*common, "--calibration", calibration, "--operating-point", "fa:10%", "--json", files[1]]) == 0
    (again,) = json.loads((tmp_path / "r.json").read_text())["transfers"]
    for name in ("hter", "miss", "cllr", "act_dcf"):
        assert again["rows"][1][name]["value"] == pytest.approx(table["rows"][1][name]["value"], abs=1e-9)
    capsys.readouterr()
    for wrong, message in (
        ([*threshold[:2]], "--threshold-from needs --dev-keys"),
        ([*also], "go with a transferred threshold: give --threshold-from or --calibration too"),
        ([*threshold, "--also", "generic", "x"], "--also takes CORPUS SCORES KEYS"),
        ([*threshold, "--also", "nothing", "x", "y"], "nothing"),
        ([*threshold, "--operating-point", "best"], "an operating point is 'eer'"),
        ([*threshold, "--calibration", calibration], "--threshold-from and --calibration both give a threshold"),
        ([*threshold, *also, "--json", str(case / "worse.txt")], "is one of the score files"),
        (["--calibration", calibration, "--json", calibration], "is a calibration that is read"),
        (["--calibration", good], "not a calibration"),
    ):
        assert main([*common, *wrong]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_what_a_terminal_obeys_is_escaped(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("path,label,attack\na,real,\nb,fake,\x1b[2J\nc,fake,A\x9b1m\n")
    (tmp_path / "scores.txt").write_text("a 1\nb 0\nc 2\n")
    arguments = ["generic", str(tmp_path / "scores.txt"), "--keys", str(tmp_path / "list.csv"), "--resamples", "5"]
    assert main(["evaluate", *arguments, "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")]) == 0
    printed = capsys.readouterr().out
    assert r"\u001b[2J" in printed and r"A\u009b1m" in printed and not {"\x1b", "\x9b"} & set(printed)
    rows = json.loads((tmp_path / "r.json").read_text())["systems"][0]["tables"][0]["rows"]
    assert [row["group"]["attack"] for row in rows] == ["\x1b[2J", "A\x9b1m"]
    assert not {"\x1b", "\x9b"} & set((tmp_path / "r.html").read_text())
