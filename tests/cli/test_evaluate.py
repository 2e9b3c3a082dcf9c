"""`nes2net evaluate`: output, files and errors."""

import csv
import re
from pathlib import Path

import pytest
from builders.files import read_json, write, write_scores
from builders.report_case import make_case
from conftest import REPOSITORY

from nes2net.lib.storage.files import sha256_of


@pytest.fixture
def good(tmp_path, monkeypatch):
    """The words that evaluate one system of a case in the working folder."""
    monkeypatch.chdir(make_case(tmp_path))
    return "evaluate asvspoof2021_la good.txt --keys . --resamples 5"


@pytest.fixture
def refused_flags(good, refused):
    """A function that asserts that the words of :func:`good` are refused with these flags."""
    return lambda flags, message: refused(f"{good} {flags}", message)


@pytest.fixture
def two_systems(good):
    """The words that compare two systems."""
    return good.replace("good.txt", "good.txt worse.txt")


def test_the_flags_json_and_html_write_a_comparison_of_two_score_files(two_systems, tmp_path, output):
    output(f"{two_systems} --json r.json --html r.html")
    assert read_json(tmp_path / "r.json")["systems"][1]["system"] == "worse"
    assert "worse" in (tmp_path / "r.html").read_text()


def test_the_flag_names_gives_the_printed_systems_their_names(two_systems, output):
    out = output(f"{two_systems} --names Ours Theirs").out
    assert re.search(r"^Ours +Theirs +−", out, re.MULTILINE)


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_of_the_systems_are_appended_to_a_file_once(good, two_systems, output):
    output(f"{good} --append own.csv")
    assert "wrote own.csv" in output(f"{two_systems} --append own.csv --json r.json").err
    rows = rows_of("own.csv")
    assert [row["system"] for row in rows] == ["good", "worse"]
    figures = read_json(Path("r.json"))["tables"][0]["rows"]
    for row, measured in zip(rows, figures):
        assert (row["corpus"], row["phase"], row["scores"]) == ("asvspoof2021_la", "eval", f"{row['system']}.txt")
        assert int(row["bonafide"]) == measured["num_bonafide"]["value"]
        assert int(row["spoof"]) == measured["num_spoof"]["value"]
        assert float(row["eer"]) == pytest.approx(100 * measured["eer"]["value"], abs=1e-4)
        interval = [100 * bound for bound in measured["eer"]["interval"]]
        assert [float(row["low"]), float(row["high"])] == pytest.approx(interval, abs=0.01)
        assert row["sha256"] == sha256_of(row["scores"])


def test_a_file_with_the_columns_of_the_stored_results_takes_rows(good, output):
    header, *stored = (REPOSITORY / "results" / "measured.csv").read_text().splitlines()
    write(Path("own.csv"), [header, *stored])
    output(f"{good} --append own.csv")
    assert [row["system"] for row in rows_of("own.csv")][-1] == "good"
    assert len(rows_of("own.csv")) == len(stored) + 1


def test_rows_are_not_appended_to_a_file_of_other_columns(good, refused):
    write(Path("own.csv"), ["system,eer", "a,1"])
    refused(f"{good} --append own.csv", "own.csv: begins with ['system,eer'], not with system,corpus,phase")
    assert rows_of("own.csv") == [{"system": "a", "eer": "1"}]


def test_rows_require_eers(refused_flags):
    refused_flags("--append own.csv --metric min_dcf", "--append stores EERs of recordings, which the result lacks")


def test_fewer_names_than_systems_are_refused(two_systems, refused):
    refused(f"{two_systems} --names Ours", "--names must have a different name for each of 2 files, not Ours")


def test_the_report_names_the_attacks_and_codecs_that_were_excluded(good, output):
    out = output(f"{good} --exclude attack=A08 codec=gsm").out
    assert "excluded by definition: attack A08, codec gsm" in out


def test_flags_that_do_not_fit_the_scores_or_each_other_are_refused(refused_flags):
    for flags, message in (
        ("--json good.txt", "is one of the files that are read"),
        ("--json r.json --html ./r.json", "r.json is named for two outputs"),
        ("--threshold 0.5", "--threshold has no effect on scores, which good.txt holds"),
        ("--metric eeer", "--metric names figures of this result, not 'eeer'; did you mean 'eer'"),
        ("--draw attacks", "--draw attacks needs at least 10 speakers"),
    ):
        refused_flags(flags, message)


def test_with_the_flag_draw_trials_the_bootstrap_is_over_trials(good, output):
    assert "bootstrap over 240 trials, 5 draws" in output(f"{good} --draw trials").out


def test_only_chosen_metrics_and_numbers_of_trials_are_reported(good, tmp_path, output):
    output(f"{good} --metric eer min_dcf --json r.json")
    (systems, *_) = read_json(tmp_path / "r.json")["tables"]
    assert set(systems["units"]) == {"eer", "min_dcf", "num_bonafide", "num_spoof", "num_expected"}


def test_the_flag_draw_is_refused_for_scores_of_frames(good, tmp_path, refused):
    (tmp_path / "frames.txt").write_text("LA_E_1 0 0.5\nLA_E_1 1 0.5\n")
    of_frames = good.replace("good.txt", "frames.txt")
    refused(f"{of_frames} --draw speakers", "--draw has no effect on scores of frames, which")


def test_a_plot_is_written_in_the_format_of_its_suffix(good, tmp_path, output):
    beginnings = {"svg": b"<?xml", "png": b"\x89PNG"}
    for suffix, beginning in beginnings.items():
        path = tmp_path / f"plot.{suffix}"
        output(f"{good} --plot {path}")
        assert path.read_bytes().startswith(beginning)


def transferred(path):
    """The figures of each set at the transferred threshold, as the JSON has them."""
    tables = {table["name"]: table["rows"] for table in read_json(path)["tables"]}
    return [rates | costs for rates, costs in zip(tables["rates"], tables["costs"])]


@pytest.fixture
def threshold(good, tmp_path):
    """The flags of a threshold from development scores."""
    write(tmp_path / "dev.csv", ["path,label", *(f"D{n},{('real', 'fake')[n % 3 > 0]}" for n in range(90))])
    write_scores(tmp_path / "dev.txt", {f"D{n}": 4 * (n % 3 == 0) + n % 7 / 2 for n in range(90)})
    return "--threshold-from dev.txt --dev-corpus generic --dev-keys dev.csv --dev-phase all --operating-point fa:10%"


ALSO = "--also asvspoof2021_la worse.txt . eval"


def test_the_threshold_of_development_scores_is_printed(good, threshold, output):
    out = output(f"{good} {threshold}").out
    assert "threshold of good: operating point fa:10% of generic all (30 bona fide, 60 spoof): " in out


def test_the_threshold_of_development_scores_is_applied_to_each_evaluation_set(good, threshold, tmp_path, output):
    output(f"{good} {threshold} {ALSO} --json r.json")
    rows = transferred(tmp_path / "r.json")
    assert rows[0]["false_alarm"]["value"] <= 0.1
    assert len(rows) == 3


def test_a_calibration_gives_the_threshold_of_the_scores_it_was_learned_from(good, threshold, tmp_path, output):
    output(f"{good} {threshold} --json r.json")
    rows = transferred(tmp_path / "r.json")
    output("calibrate fit generic dev.txt --keys dev.csv --phase all --save c.json")
    output(f"{good} --calibration c.json --operating-point fa:10% --json r.json")
    again = transferred(tmp_path / "r.json")
    for name in ("hter", "miss", "cllr", "act_dcf"):
        assert again[1][name]["value"] == pytest.approx(rows[1][name]["value"], abs=1e-9)


def test_flags_of_a_threshold_that_do_not_fit_together_are_refused(threshold, refused_flags):
    for wrong, message in (
        ("--threshold-from dev.txt", "--threshold-from is used only with --dev-keys"),
        (ALSO, "--also is used only with --threshold-from or --calibration: remove it"),
        (f"{threshold} --calibration c.json", "--threshold-from and --calibration exclude each other"),
    ):
        refused_flags(wrong, message)


def test_control_characters_of_attack_names_are_escaped_on_the_terminal_but_not_in_json(workdir, output):
    rows = [f"a{n},real,\nb{n},fake,\x1b[2J\nc{n},fake,A\x9b1m" for n in range(20)]
    write(workdir / "list.csv", ["path,label,attack", *rows])
    write(workdir / "scores.txt", [f"a{n} 1\nb{n} 0\nc{n} 2" for n in range(20)])
    words = "evaluate generic scores.txt --keys list.csv --resamples 5 --json r.json"
    printed = output(words).out
    assert r"\u001b[2J" in printed
    assert r"A\u009b1m" in printed
    assert not {"\x1b", "\x9b"} & set(printed)
    attacks = read_json(workdir / "r.json")["tables"][-1]["rows"]
    assert [row["on"]["attack"] for row in attacks] == ["\x1b[2J", "A\x9b1m"]
