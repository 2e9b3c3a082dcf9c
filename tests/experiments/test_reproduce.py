"""Reproduction on the tiny corpus: missing files, training, scoring, and the verdict."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from nes2net import Detector
from nes2net.cli.main import main
from nes2net.corpora import asvspoof2021_la, in_the_wild
from nes2net.corpora.corpus import Counts
from nes2net.experiments.published import find_row, published_rows
from nes2net.experiments.reproduce import Places, find_missing, judge
from nes2net.recipes.reading import load_recipe
from nes2net.registry import corpora
from nes2net.scoring.score_file import read_scores
from nes2net.training.selection import best_epochs

ROWS = published_rows()
REPOSITORY = Path(__file__).resolve().parents[2]

ROW = {
    "id": "tiny-2021_la",
    "system": "Tiny",
    "train": "asvspoof2019_la",
    "test": "asvspoof2021_la",
    "metric": "EER",
    "best": 12.34,
    "mean": 99.0,
    "source": "a test",
    "corpus": "tiny_2021_la",
    "protocol": "4sec",
    "samples": 8000,
}


def write_rows(folder: Path, *rows: dict) -> Path:
    path = folder / "rows.yaml"
    systems = {f"row {number}": {"results": {"own": row}} for number, row in enumerate(rows)}
    table = {"title": "Rows", "columns": {"own": "own"}, "systems": systems}
    path.write_text(yaml.safe_dump({"tests": {"own": {}}, "tables": [table]}))
    return path


@pytest.fixture
def official(register_corpus):
    """Register the tiny corpora ``tiny_2021_la`` and ``tiny_wild`` as if they were official."""
    counts = {"eval": Counts(12, 6, 6)}
    register_corpus("tiny_2021_la", replace(asvspoof2021_la.CORPUS, key_counts=counts))
    register_corpus("tiny_wild", replace(in_the_wild.CORPUS, counts=counts, key_digests={}))


@pytest.fixture
def checkpoint(small_model, tmp_path):
    torch.manual_seed(0)
    Detector.from_config(small_model).save(tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


# The rows


def test_every_row_is_listed_with_its_figures(capsys):
    assert main(["experiment", "reproduce"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row.id for row in ROWS]
    nes2net = next(line for line in lines if line.startswith("nes2net_x-2021_df "))
    assert "XLS-R + Nes2Net-X, single" in nes2net and "1.65 %, mean 1.91" in nes2net and "2504.05657" in nes2net


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_every_row_can_be_run(row):
    assert row.split in corpora.get(row.corpus).splits
    assert row.ways or row.here
    if row.recipe:
        recipe = load_recipe(REPOSITORY / row.recipe, row.overrides)
        assert recipe.data.corpora[0].name == row.train
        assert "train" in corpora.get(row.train).splits


def test_rows_that_train_differently_have_different_run_folders():
    tags = {
        (row.recipe, *row.overrides): load_recipe(REPOSITORY / row.recipe, row.overrides).tag
        for row in ROWS
        if row.recipe
    }
    assert len(tags) > 8 and len(set(tags.values())) == len(tags)


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_everything_that_is_missing_is_listed_at_once(row, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", "reproduce", row.id, "--data", str(tmp_path / "none")]) == 2
    captured = capsys.readouterr()
    assert captured.out == f"{row.describe()}\n"
    error, tested = captured.err, corpora.get(row.corpus)
    said = [line.removeprefix("- ") for line in error.splitlines() if line.startswith("- ")]
    assert error.startswith(f"missing, {len(said)} in all:\n")
    expected = [
        f"protocol of {tested.title} {row.split}",
        f"audio of {tested.title} {row.split}",
        *([f"keys of {tested.title}"] if "keys" in tested.obtain else []),  # otherwise the protocol holds the labels
    ]
    if row.recipe:
        recipe = load_recipe(REPOSITORY / row.recipe)
        data, frontend = recipe.data, recipe.model["frontend"]["name"]
        parts = [(corpus.name, corpus.split(part)) for part in ("train", "dev") for corpus in data.parts(part)]
        assert row.train in [name for name, _ in parts]
        expected += [
            f"{kind} of {corpora.get(name).title} {part}" for name, part in parts for kind in ("protocol", "audio")
        ]
        expected += ["or, in place of training, a checkpoint"]
        expected += ["scores of other systems"] if data.train_scores else []
        if frontend == "teacher_student":
            expected += ["trained teacher"]  # which holds the pre-training
        elif frontend != "lps":  # which has no weights
            expected += [f"pre-training of {frontend}"]
    else:
        expected.append("checkpoint")
    assert set(said) == set(expected)
    for obtain in (
        tested.obtain["audio"],
        tested.obtain["protocol"],
        row.checkpoint or "no published checkpoint is known",
    ):
        assert obtain in error
    assert str(tmp_path / "none") in error
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_a_checkpoint_needs_no_training_data(tmp_path):
    row = find_row("nes2net_x-2021_la", ROWS)
    places = Places(tmp_path, tmp_path / "out", checkpoint=tmp_path / "none.pth")
    missing = find_missing(row, places)
    assert [m.what for m in missing] == [
        "checkpoint",
        "protocol of ASVspoof 2021 LA eval",
        "audio of ASVspoof 2021 LA eval",
        "keys of ASVspoof 2021 LA",
    ]
    assert missing[0].problem == f"{tmp_path / 'none.pth'} not found"
    (tmp_path / "none.pth").write_bytes(b"")
    assert len(find_missing(row, places)) == 3


def test_missing_audio_files_are_named(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "DB")
    for number in (1000001, 1000004):
        (tmp_path / "DB" / "ASVspoof2021_LA_eval" / "flac" / f"LA_E_{number}.flac").unlink()
    row = replace(find_row("nes2net_x-2021_la", ROWS), recipe=None)
    missing = find_missing(row, Places(tmp_path / "DB", tmp_path))
    assert [m.what for m in missing] == ["checkpoint", "audio of ASVspoof 2021 LA eval"]
    assert "2 of 12 files are not in" in missing[1].problem
    assert "LA_E_1000001.flac, LA_E_1000004.flac" in missing[1].problem


def test_a_folder_without_a_corpus_and_a_damaged_protocol(corpus, tmp_path):
    row = find_row("sls-in_the_wild", ROWS)
    missing = find_missing(row, Places(tmp_path, tmp_path / "out"))
    assert [m.what for m in missing] == ["checkpoint", "protocol of In-the-Wild eval", "audio of In-the-Wild eval"]
    shutil.copytree(corpus / "release_in_the_wild", tmp_path / "release_in_the_wild")
    assert [m.what for m in find_missing(row, Places(tmp_path, tmp_path / "out"))] == ["checkpoint"]
    (tmp_path / "release_in_the_wild" / "meta.csv").write_text("file,speaker,label\n0.wav,A,real\n")
    _, protocol = find_missing(row, Places(tmp_path, tmp_path / "out"))
    assert protocol.what == "protocol of In-the-Wild eval" and "unknown label 'real'" in protocol.problem


def test_a_corpus_may_lie_in_a_folder_of_its_name(corpus, tmp_path):
    (tmp_path / "asvspoof2021_la").symlink_to(corpus)
    row = find_row("aasist-2021_la", ROWS)
    assert [m.what for m in find_missing(row, Places(tmp_path, tmp_path / "out"))] == ["checkpoint"]


def test_rows_record_what_the_published_code_did():
    """DEVIATIONS.md 1 and 2: averages that alias, and In-the-Wild scored in train mode."""
    assert {row.id for row in ROWS if row.legacy_train_mode} == {
        "nes2net_val-in_the_wild",
        "nes2net_x_val-in_the_wild",
        "nes2net_x_val_aug-in_the_wild",
    }
    assert all((row.average > 1) == (row.average_mode == "legacy") for row in ROWS)


# Whole reproductions


def test_scored_and_judged(corpus, official, checkpoint, tmp_path, capsys):
    rows = write_rows(tmp_path, ROW)
    command = [
        "experiment",
        "reproduce",
        "tiny-2021_la",
        "--data",
        str(corpus),
        "--checkpoint",
        str(checkpoint),
        "--rows",
        str(rows),
    ]
    command += ["--out", str(tmp_path / "out"), "--workers", "0", "--resamples", "50"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "published  best 12.34 %   mean 99.00 %   (EER on asvspoof2021_la, a test)" in out
    ids, scores = read_scores(tmp_path / "out" / "scores.txt")
    assert len(ids) == 12
    detector = Detector.from_pretrained(checkpoint, "cpu")
    first = corpus / "ASVspoof2021_LA_eval" / "flac" / f"{ids[0]}.flac"
    assert scores[0] == pytest.approx(detector.score(first, num_samples=8000), abs=1e-5)
    (result,) = json.loads((tmp_path / "out" / "report.json").read_text())["systems"]
    assert result["system"] == "Tiny"
    low, high = (100 * bound for bound in result["interval"])
    assert f"measured   {100 * result['eer']:.2f} %   95 % interval {low:.2f} to {high:.2f} %   (6 bona fide" in out
    assert f"against the published single best, 12.34 %: {judge(12.34, low, high)}" in out
    assert f"against the published mean over runs, 99.00 %: {judge(99.0, low, high)}" in out
    assert "not checked: the architecture: the row names no model" in out and "no verdict" not in out
    assert "Tiny" in (tmp_path / "out" / "report.html").read_text()

    # The second time nothing is scored, and the files stay the same.
    files = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "out").iterdir()}
    assert main(command) == 0
    assert capsys.readouterr().out == out
    scored = tmp_path / "out" / "scores.txt"
    assert scored.stat().st_mtime_ns == files[scored][0]
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {p: b for p, (_, b) in files.items()}

    # Scores of another checkpoint are not reused.
    torch.manual_seed(1)
    Detector.from_config(detector.config).save(checkpoint)
    assert main(command) == 2
    assert "made by another run" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    other = Detector.from_pretrained(checkpoint, "cpu")
    assert read_scores(scored)[1][0] == pytest.approx(other.score(first, num_samples=8000), abs=1e-5)


def test_scored_in_train_mode_if_the_published_figure_was(corpus, official, checkpoint, tmp_path, capsys):
    wild = {
        **ROW,
        "id": "wild",
        "corpus": "tiny_wild",
        "protocol": "full",
        "samples": None,
        "legacy_train_mode": True,
    }
    command = [
        "experiment",
        "reproduce",
        "wild",
        "--data",
        str(corpus),
        "--checkpoint",
        str(checkpoint),
        "--workers",
        "0",
    ]
    command += ["--rows", str(write_rows(tmp_path, wild)), "--out", str(tmp_path / "out"), "--resamples", "10"]
    assert main(command) == 0
    assert "scored in train mode, as the published figure was (deviation 2)" in capsys.readouterr().out
    ids, scores = read_scores(tmp_path / "out" / "scores.txt")
    detector = Detector.from_pretrained(checkpoint, "cpu")
    in_eval_mode = [detector.score(corpus / "release_in_the_wild" / f"{id}.wav") for id in ids]
    assert max(abs(scores - in_eval_mode)) > 1e-3


def test_missing_files_leave_a_partial_result_if_it_is_allowed(corpus, official, checkpoint, tmp_path, capsys):
    shutil.copytree(corpus, tmp_path / "DB")
    audio = tmp_path / "DB" / "ASVspoof2021_LA_eval" / "flac"
    (audio / "LA_E_1000001.flac").unlink()
    rows = write_rows(tmp_path, {**ROW, "min_tdcf": 0.2557})
    command = ["experiment", "reproduce", ROW["id"], "--data", str(tmp_path / "DB"), "--checkpoint", str(checkpoint)]
    command += ["--rows", str(rows), "--out", str(tmp_path / "out"), "--workers", "0", "--resamples", "10"]
    assert main(command) == 2
    assert "missing, 1 in all:" in capsys.readouterr().err
    assert main([*command, "--allow-partial"]) == 1
    captured = capsys.readouterr()
    assert "warning: the result will be partial" in captured.err and "1 of 12 files are not in" in captured.err
    assert "PARTIAL: rests on 11 of 12 trials" in captured.out
    assert "min t-DCF  published 0.2557   measured " in captured.out
    assert "no verdict, for" in captured.out and "against the published" not in captured.out
    # Without any audio file or without a checkpoint nothing can be measured.
    for path in audio.iterdir():
        path.unlink()
    assert main([*command, "--allow-partial"]) == 2
    assert "missing, 1 in all:" in capsys.readouterr().err


def test_whole_utterances_and_exclusions(corpus, official, checkpoint, tmp_path, capsys):
    wild = {**ROW, "id": "wild", "corpus": "tiny_wild", "protocol": "full", "samples": None, "mean": None}
    wild["exclude"] = {"speaker": ["Speaker 0"]}
    command = [
        "experiment",
        "reproduce",
        "wild",
        "--data",
        str(corpus),
        "--checkpoint",
        str(checkpoint),
        "--workers",
        "0",
    ]
    command += ["--rows", str(write_rows(tmp_path, wild)), "--out", str(tmp_path / "out"), "--resamples", "10"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "(4 bona fide and 4 spoofed trials, bootstrap over trials)" in out and "mean over runs" not in out
    ids, scores = read_scores(tmp_path / "out" / "scores.txt")
    detector = Detector.from_pretrained(checkpoint, "cpu")
    assert scores[0] == pytest.approx(detector.score(corpus / "release_in_the_wild" / f"{ids[0]}.wav"), abs=1e-5)
    assert len(ids) == 12


@pytest.mark.parametrize(
    "change, difference",
    [
        (
            {"corpus": "asvspoof2021_la"},
            "the trials are not the official ones of ASVspoof 2021 LA, phase eval: 12 trials instead of 148,176, ",
        ),
        (
            {"model": "nes2net_x"},
            "the architecture differs from nes2net_x: front-end conv_feature_layers [[32, 16, 8], ",
        ),
        (
            {"min_tdcf": 0.2557, "corpus": "tiny_asv"},
            "the speaker-verification scores are not the organisers': 5 target, 5 nontarget, 5 spoof instead of 6 target, ",
        ),
    ],
)
def test_no_verdict_if_nothing_can_be_compared(
    corpus, official, register_corpus, checkpoint, tmp_path, capsys, change, difference
):
    tiny = corpora.get("tiny_2021_la")
    register_corpus("tiny_asv", replace(tiny, asv_counts={"eval": (6, 7, 8)}))
    row = {**ROW, **change}
    command = [
        "experiment",
        "reproduce",
        row["id"],
        "--data",
        str(corpus),
        "--checkpoint",
        str(checkpoint),
        "--workers",
        "0",
    ]
    command += ["--rows", str(write_rows(tmp_path, row)), "--out", str(tmp_path / "out"), "--resamples", "5"]
    assert main(command) == 1
    out = capsys.readouterr().out
    assert "measured   " in out and "no verdict, for measured and published figures cannot be compared:\n" in out
    (line,) = [line for line in out.splitlines() if line.startswith("- ")]
    assert line.startswith(f"- {difference}")
    assert "against the published" not in out and "The interval covers" not in out
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_architecture_of_the_row(corpus, official, spectral_detector, tmp_path, capsys):
    spectral_detector.save(tmp_path / "spectral.pth")
    row = {**ROW, "model": "asp_mlp", "frontend": {"name": "lps", "n_fft": 128, "num_bins": 20}}
    command = [
        "experiment",
        "reproduce",
        row["id"],
        "--data",
        str(corpus),
        "--checkpoint",
        str(tmp_path / "spectral.pth"),
    ]
    command += ["--rows", str(write_rows(tmp_path, row)), "--out", str(tmp_path / "out"), "--workers", "0"]
    assert main([*command, "--resamples", "5"]) == 0
    out = capsys.readouterr().out
    assert "against the published single best, 12.34 %: " in out and "not checked" not in out


def test_trained_if_there_is_no_checkpoint(corpus, official, small_model, tmp_path, capsys):
    recipe = {
        "name": "tiny",
        "model": small_model,
        "data": {"num_samples": 8000, "num_workers": 0},
        "train": {"epochs": 3, "batch_size": 4, "lr": 1e-4},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    row = {**ROW, "recipe": str(tmp_path / "tiny.yaml"), "overrides": ["augment.algo=5"], "average": 2}
    command = ["experiment", "reproduce", row["id"], "--data", str(corpus), "--rows", str(write_rows(tmp_path, row))]
    command += ["--out", str(tmp_path / "out"), "--workers", "0", "--resamples", "10"]
    assert main(command) == 0
    first = capsys.readouterr().out
    (folder,) = (tmp_path / "out" / "models").iterdir()
    assert "algo5" in folder.name
    epochs = best_epochs(folder, 2, "val_loss_wo_aug")
    average = folder / f"Averaged_Model_IDs_{epochs[0]}_{epochs[1]}.pth"
    assert average.is_file()
    ids, scores = read_scores(tmp_path / "out" / "scores.txt")
    detector = Detector.from_pretrained(average, "cpu")
    file = corpus / "ASVspoof2021_LA_eval" / "flac" / f"{ids[0]}.flac"
    assert scores[0] == pytest.approx(detector.score(file, num_samples=8000), abs=1e-5)
    assert main(command) == 0  # already trained and scored
    assert first.splitlines()[-6:] == capsys.readouterr().out.splitlines()[-6:]
    # Averaged as the published code does, if the row says so.
    (tmp_path / "legacy").mkdir()
    rows = write_rows(tmp_path / "legacy", {**row, "average_mode": "legacy"})
    assert main([*command, "--overwrite", "--rows", str(rows)]) == 0
    assert "the first left out and the second twice (deviation 1)" in capsys.readouterr().out
    legacy = Detector.from_pretrained(average.with_stem(f"{average.stem}_legacy"), "cpu")
    _, scores = read_scores(tmp_path / "out" / "scores.txt")
    assert scores[0] == pytest.approx(legacy.score(file, num_samples=8000), abs=1e-5)
    assert "deviation" not in first


# Verdicts and bad input


@pytest.mark.parametrize(
    "published, words",
    [(1.65, "within"), (1.50, "within"), (1.495, "within"), (1.49, "worse"), (1.805, "within"), (1.81, "better")],
)
def test_verdicts(published, words):
    assert judge(published, 1.50, 1.80).startswith(words)


def test_errors_are_one_line(tmp_path, capsys):
    write_rows(tmp_path, ROW, ROW)
    (tmp_path / "bad.yaml").write_text("[")
    (tmp_path / "text.yaml").write_text("text")
    for arguments, message in (
        (
            ["nes2net_x-2021_lx", "--data", "."],
            "no published row 'nes2net_x-2021_lx'; did you mean 'nes2net_x-2021_la'",
        ),
        (["nes2net_x-2021_la"], "name the folder that holds them with --data"),
        (["a", "--rows", str(tmp_path / "none.yaml")], "cannot be read"),
        (["a", "--rows", str(tmp_path / "bad.yaml")], "is not valid YAML"),
        (["a", "--rows", str(tmp_path / "text.yaml")], "a mapping with notes, tests and tables is expected, found str"),
        (["a", "--rows", str(tmp_path / "rows.yaml")], "two rows have one id"),
    ):
        assert main(["experiment", "reproduce", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def test_a_row_of_an_unknown_corpus(tmp_path):
    row = replace(find_row("aasist-2021_la", ROWS), corpus="asvspoof2031")
    assert find_missing(row, Places(tmp_path, tmp_path))[-1].what == "corpus asvspoof2031"
