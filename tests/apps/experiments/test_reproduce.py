"""Reproduction on the tiny corpus: missing files, training, scoring, and the verdict."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from builders.experiments import ROW as PUBLISHED
from builders.files import write
from conftest import REPOSITORY

from nes2net import Detector
from nes2net.apps.experiments.missing import missing_for_training, missing_part
from nes2net.apps.experiments.reproduce import Paths, find_missing, judge
from nes2net.cli.main import main
from nes2net.data.corpora import asvspoof2021_la, in_the_wild
from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.trial import Part
from nes2net.models.published_results import find_row, published_rows
from nes2net.models.registry import corpora
from nes2net.scoring.score_file import read_scores
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.selection import best_epochs

ROWS = published_rows()
ROW = {**PUBLISHED, "mean": 99.0, "corpus": "tiny_2021_la"}
SPECTRUM = {"name": "lps", "n_fft": 128, "num_bins": 20}


def write_rows(folder: Path, *rows: dict) -> Path:
    systems = {f"row {number}": {"results": {"own": row}} for number, row in enumerate(rows)}
    table = {"title": "Rows", "columns": {"own": "own"}, "systems": systems}
    path = folder / f"rows{len(list(folder.glob('rows*')))}.yaml"  # a file is read once
    return write(path, yaml.safe_dump({"tests": {"own": {}}, "tables": [table]}))


@pytest.fixture
def checkpoint(spectral_detector, tmp_path):
    spectral_detector.save(tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


@pytest.fixture
def reproduce(corpus, register_corpus, tmp_path, capsys):
    """A function that reproduces a row with changes, and gives status, output and errors.

    The tiny corpora ``tiny_2021_la`` and ``tiny_wild`` are registered as if they were official.
    """
    counts = {"eval": Counts(12, 6, 6)}
    register_corpus("tiny_2021_la", replace(asvspoof2021_la.CORPUS, key_counts=counts))
    register_corpus("tiny_wild", replace(in_the_wild.CORPUS, counts=counts, key_digests={}))

    def run(*flags, checkpoint=None, data=corpus, **changes):
        row = {**ROW, **changes}
        words = ["experiment", "reproduce", row["id"], "--data", str(data), "--rows", str(write_rows(tmp_path, row))]
        words += ["--out", str(tmp_path / "out"), "--workers", "0", "--resamples", "10", *flags]
        words += [] if checkpoint is None else ["--checkpoint", str(checkpoint)]
        return main(words), *capsys.readouterr()

    return run


#: A row of In-the-Wild.
WILD = {"id": "wild", "corpus": "tiny_wild", "protocol": "full", "samples": None}


def first_score(tmp_path):
    """How many scores were written, and the first of them with its utterance."""
    ids, scores = read_scores(tmp_path / "out" / "scores.txt")
    return len(ids), ids[0], scores[0]


def test_every_row_is_listed_with_its_figures_and_can_be_run(capsys):
    """Rows that train differently have different run folders."""
    assert main(["experiment", "reproduce"]) == 0
    lines, tags = capsys.readouterr().out.splitlines(), {}
    assert [line.split()[0] for line in lines] == [row.id for row in ROWS]
    (nes2net,) = [line for line in lines if line.startswith("nes2net_x-2021_df ")]
    assert all(words in nes2net for words in ("XLS-R + Nes2Net-X, single", "1.65 %, mean 1.91", "2504.05657"))
    for row in ROWS:
        assert row.split in corpora.get(row.corpus).splits, row.id
        if row.recipe:
            recipe = load_recipe(REPOSITORY / row.recipe, row.overrides)
            assert recipe.data.corpora[0].name == row.train and "train" in corpora.get(row.train).splits, row.id
            tags[(row.recipe, *row.overrides)] = recipe.tag
    assert len(set(tags.values())) == len(tags) > 8


TRAINING = {"or, in place of training, a checkpoint"}
TRAINING |= {f"{kind} of ASVspoof 2019 LA {part}" for kind in ("protocol", "audio") for part in ("train", "dev")}


def test_rows_record_what_the_published_code_did():
    """docs/deviations.md 1 and 2: averages that alias, and In-the-Wild scored in train mode."""
    in_train_mode = {f"{system}-in_the_wild" for system in ("nes2net_val", "nes2net_x_val", "nes2net_x_val_aug")}
    assert {row.id for row in ROWS if row.legacy_train_mode} == in_train_mode
    assert all((row.average > 1) == (row.average_mode == "legacy") for row in ROWS)


@pytest.mark.parametrize(
    "id, expected",
    [
        ("slim-2021_df", {"checkpoint", "keys of ASVspoof 2021 DF"}),
        ("nes2net_x-2021_df", {"keys of ASVspoof 2021 DF", "pre-training of xlsr_300m", *TRAINING}),
        ("ockd-in_the_wild", {"trained teacher", *TRAINING}),
    ],
)
def test_everything_that_is_missing_is_listed_at_once(id, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", "reproduce", id, "--data", str(tmp_path / "none")]) == 2
    out, error = capsys.readouterr()
    row = find_row(id, ROWS)
    head, *items = " ".join(error.split()).split(" - ")
    said = [item.partition(": ")[0] for item in items]
    tested = corpora.get(row.corpus)
    assert out == f"{row.describe()}\n" and head == f"missing, {len(said)} in all:"
    assert set(said) == {f"protocol of {tested.title} eval", f"audio of {tested.title} eval", *expected}
    checkpoint = row.checkpoint or "no published checkpoint is known"
    for obtain in (tested.obtain["audio"], tested.obtain["protocol"], checkpoint, str(tmp_path / "none")):
        assert any(obtain in item for item in items)
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def missing_of(id, data, out, checkpoint=None, **changes):
    """What is missing for a row, and what is said about it."""
    missing = find_missing(replace(find_row(id, ROWS), **changes), Paths(data, out, checkpoint=checkpoint))
    return [m.subject for m in missing], [m.problem for m in missing]


@pytest.mark.parametrize("id", sorted({row.recipe or row.corpus: row.id for row in ROWS}.values()))
def test_something_is_missing_for_every_recipe_and_corpus(id, tmp_path):
    what, problems = missing_of(id, tmp_path, tmp_path / "out")
    assert len(what) == len(set(what)) >= 3 and all(problems)


def test_what_a_folder_of_data_lacks_is_named(corpus, tmp_path):
    """A checkpoint needs no training data."""
    row, given = "nes2net_x-2021_la", (tmp_path / "out", tmp_path / "none.pth")
    what, problems = missing_of(row, tmp_path, *given)
    tested = ["protocol of ASVspoof 2021 LA eval", "audio of ASVspoof 2021 LA eval", "keys of ASVspoof 2021 LA"]
    assert what == ["checkpoint", *tested] and problems[0] == f"{tmp_path / 'none.pth'} not found"
    write(tmp_path / "none.pth")
    assert missing_of(row, tmp_path, *given)[0] == tested
    data = shutil.copytree(corpus, tmp_path / "DB")
    for number in (1000001, 1000004):
        (data / "ASVspoof2021_LA_eval" / "flac" / f"LA_E_{number}.flac").unlink()
    what, problems = missing_of(row, data, *given)
    assert what == ["audio of ASVspoof 2021 LA eval"]
    assert "2 of 12 files are missing in " in problems[0] and "LA_E_1000001.flac, LA_E_1000004.flac" in problems[0]
    wild = ("sls-in_the_wild", data, *given)
    assert missing_of(*wild)[0] == []
    write(data / "release_in_the_wild" / "meta.csv", "file,speaker,label\n0.wav,A,real\n")
    what, problems = missing_of(*wild)
    assert what == ["protocol of In-the-Wild eval"] and "unknown label 'real'" in problems[0]
    shutil.rmtree(data / "release_in_the_wild")
    assert missing_of(*wild)[0] == ["protocol of In-the-Wild eval", "audio of In-the-Wild eval"]
    (data / "asvspoof2021_la").symlink_to(corpus)  # a corpus may lie in a folder of its name
    assert missing_of("aasist-2021_la", data, tmp_path / "out")[0] == ["checkpoint"]
    assert missing_of("aasist-2021_la", data, *given, corpus="asvspoof2031")[0] == ["corpus asvspoof2031"]


def test_training_needs_every_file_of_its_data_and_its_pre_training(recipe, corpus, tmp_path):
    """A part of the files is enough to score, not to train."""
    data = shutil.copytree(corpus, tmp_path / "DB")
    next(data.rglob("LA_D_*.flac")).unlink()
    (missing,) = missing_part(Part("asvspoof2019_la", data, "dev"))
    assert missing.spares_some and "1 of 12 files are missing in " in missing.problem
    tiny = recipe(data={"root": str(data)})
    assert missing_for_training(tiny, "tiny") == [replace(missing, spares_some=False)]
    for frontend, remedy in (("wav2vec2", "get it from its authors"), ("xlsr_300m", "get xlsr2_300m.pt from https://")):
        other = recipe(model={"frontend": frontend, "backend": "asp_mlp"}, ssl_checkpoint=str(tmp_path / "none.pt"))
        (missing,) = missing_for_training(other, "tiny")
        assert missing.subject == f"pre-training of {frontend}" and missing.remedy.startswith(remedy)


def test_a_checkpoint_is_scored_and_judged_by_the_published_figures(corpus, reproduce, checkpoint, tmp_path):
    status, out, _ = reproduce(checkpoint=checkpoint)
    assert status == 0
    assert "published  best 12.34 %   mean 99.00 %   (EER on asvspoof2021_la, a test)" in out
    number, id, score = first_score(tmp_path)
    detector = Detector.from_pretrained(checkpoint, "cpu")
    first = corpus / "ASVspoof2021_LA_eval" / "flac" / f"{id}.flac"
    assert number == 12 and score == pytest.approx(detector.score(first, num_samples=8000), abs=1e-5)
    (result,) = json.loads((tmp_path / "out" / "report.json").read_text())["tables"][0]["rows"]
    low, high = (100 * bound for bound in result["eer"]["interval"])
    assert (
        f"measured   {100 * result['eer']['value']:.2f} %   95 % interval {low:.2f} to {high:.2f} %   (6 bona fide"
        in out
    )
    assert f"against the published single best, 12.34 %: {judge(12.34, low, high)}" in out
    assert f"against the published mean over runs, 99.00 %: {judge(99.0, low, high)}" in out
    assert "not checked: the architecture: the row names no model" in out and "no verdict" not in out
    assert "Tiny" in (tmp_path / "out" / "report.html").read_text() and result["on"]["system"] == "Tiny"

    # The second time nothing is scored, and the files stay the same.
    def files():
        time = (tmp_path / "out" / "scores.txt").stat().st_mtime_ns
        return time, {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    before = files()
    assert reproduce(checkpoint=checkpoint)[:2] == (0, out) and files() == before

    # Scores of another checkpoint are not reused.
    torch.manual_seed(1)
    Detector.from_config(detector.config).save(checkpoint)
    status, _, error = reproduce(checkpoint=checkpoint)
    assert status == 2 and "made by another run" in error
    assert reproduce("--overwrite", checkpoint=checkpoint)[0] == 0
    other = Detector.from_pretrained(checkpoint, "cpu").score(first, num_samples=8000)
    assert first_score(tmp_path)[2] == pytest.approx(other, abs=1e-5) != score


def test_whole_utterances_exclusions_and_train_mode(corpus, reproduce, tmp_path):
    """In train mode, if the published figure was measured so."""
    model = {"frontend": SPECTRUM | {"num_bins": 32}, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
    detector = Detector.from_config(model).eval()
    detector.save(checkpoint := tmp_path / "nes2net.pth")
    excluded = {"mean": None, "exclude": {"speaker": ["Speaker 0"]}}
    status, out, _ = reproduce(checkpoint=checkpoint, **WILD, **excluded)
    assert status == 0
    assert "(4 bona fide and 4 spoofed trials, bootstrap over trials)" in out and "mean over runs" not in out
    number, id, score = first_score(tmp_path)
    in_eval_mode = detector.score(corpus / "release_in_the_wild" / f"{id}.wav")
    assert number == 12 and score == pytest.approx(in_eval_mode, abs=1e-5)
    status, out, _ = reproduce("--overwrite", checkpoint=checkpoint, **WILD, legacy_train_mode=True)
    assert status == 0 and "scored in train mode, as the published figure was (deviation 2)" in out
    assert abs(first_score(tmp_path)[2] - in_eval_mode) > 1e-3


def test_missing_files_leave_a_partial_result_if_it_is_allowed(corpus, reproduce, checkpoint, tmp_path):
    where = {"data": shutil.copytree(corpus, tmp_path / "DB"), "checkpoint": checkpoint, "min_tdcf": 0.2557}
    audio = tmp_path / "DB" / "ASVspoof2021_LA_eval" / "flac"
    (audio / "LA_E_1000001.flac").unlink()
    status, _, error = reproduce(**where)
    assert status == 2 and "missing, 1 in all:" in error
    status, out, error = reproduce("--allow-partial", **where)
    assert status == 1
    assert "warning: the result will be partial" in error and "1 of 12 files are missing in" in error
    assert "PARTIAL: rests on 11 of 12 trials" in out and "min t-DCF  published 0.2557   measured " in out
    assert "no verdict, for" in out and "against the published" not in out
    # Without any audio file nothing can be measured.
    for path in audio.iterdir():
        path.unlink()
    status, _, error = reproduce("--allow-partial", **where)
    assert status == 2 and "missing, 1 in all:" in error


def test_no_verdict_if_nothing_can_be_compared_but_one_for_the_same_architecture(reproduce, checkpoint, tmp_path):
    status, out, _ = reproduce(checkpoint=checkpoint, model="asp_mlp", frontend=SPECTRUM)
    assert status == 0 and "against the published single best, 12.34 %: " in out and "not checked" not in out
    status, out, _ = reproduce(checkpoint=checkpoint, model="mean_linear", frontend=SPECTRUM)
    assert status == 1
    assert "measured   " in out and "no verdict, for measured and published figures cannot be compared:\n" in out
    assert "\n- the architecture differs from mean_linear: back-end asp_mlp instead of mean_linear" in out
    assert "against the published" not in out and "The interval covers" not in out
    assert (tmp_path / "out" / "report.html").is_file()


def test_trained_if_there_is_no_checkpoint(corpus, reproduce, tmp_path):
    recipe = {"name": "tiny", "model": {"frontend": SPECTRUM, "backend": "asp_mlp"}}
    recipe |= {"data": {"num_samples": 8000, "num_workers": 0}}
    recipe |= {"train": {"epochs": 3, "batch_size": 4, "lr": 1e-2, "keep": "all"}}
    path = write(tmp_path / "tiny.yaml", yaml.safe_dump(recipe))
    row = {"recipe": str(path), "overrides": ["augment.algo=5"], "average": 2}
    status, first, error = reproduce(**row)
    assert status == 0 and "deviation" not in first, error
    (folder,) = (tmp_path / "out" / "models").iterdir()
    assert "algo5" in folder.name
    average = folder / "Averaged_Model_IDs_{}_{}.pth".format(*best_epochs(folder, 2, "val_loss_wo_aug"))
    _, id, score = first_score(tmp_path)
    file = corpus / "ASVspoof2021_LA_eval" / "flac" / f"{id}.flac"
    assert score == pytest.approx(Detector.from_pretrained(average, "cpu").score(file, num_samples=8000), abs=1e-5)
    status, again, _ = reproduce(**row)  # already trained and scored
    assert status == 0 and first.splitlines()[-6:] == again.splitlines()[-6:]
    # Averaged as the published code does, if the row says so.
    status, out, _ = reproduce("--overwrite", **row, average_mode="legacy")
    assert status == 0 and "the first left out and the second twice (deviation 1)" in out
    legacy = Detector.from_pretrained(average.with_stem(f"{average.stem}_legacy"), "cpu")
    assert first_score(tmp_path)[2] == pytest.approx(legacy.score(file, num_samples=8000), abs=1e-5)


@pytest.mark.parametrize(
    "published, words",
    [(1.65, "within"), (1.50, "within"), (1.495, "within"), (1.49, "worse"), (1.805, "within"), (1.81, "better")],
)
def test_a_figure_is_judged_against_the_published_one(published, words):
    assert judge(published, 1.50, 1.80).startswith(words)


def test_errors_are_one_line(tmp_path, capsys):
    bad, text = write(tmp_path / "bad.yaml", "["), write(tmp_path / "text.yaml", "text")
    for arguments, message in (
        (["nes2net_x-2021_lx", "--data=."], "no published row 'nes2net_x-2021_lx'; did you mean 'nes2net_x-2021_la'"),
        (["nes2net_x-2021_la"], "name the folder that holds them with --data"),
        (["a", "--rows", tmp_path / "none.yaml"], "cannot be read"),
        (["a", "--rows", bad], "is not valid YAML"),
        (["a", "--rows", text], "a mapping with notes, tests and tables is expected, found str"),
        (["a", "--rows", write_rows(tmp_path, ROW, ROW)], "two rows have one id"),
    ):
        assert main(["experiment", "reproduce", *map(str, arguments)]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
