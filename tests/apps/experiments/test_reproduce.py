"""Reproduction on the tiny corpus: missing files, training, scoring, and the verdict; a row is a published result."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from builders.experiments import ROW as PUBLISHED
from builders.files import folder as new_folder
from builders.files import read_json, write, write_scores
from builders.small_parts import SPECTRAL_MODEL, SPECTRUM
from conftest import REPOSITORY, load_detector, seeded_detector

from nes2net import Detector
from nes2net.apps.experiments.missing import Paths, Search, find_missing, missing_for_training, missing_part
from nes2net.apps.experiments.reproduce import Conditions, compare_weights, judge
from nes2net.cli.main import main
from nes2net.data.corpora import asvspoof2021_la, in_the_wild
from nes2net.data.corpora.corpus import Counts
from nes2net.data.corpora.part import Part
from nes2net.data.registry import corpora
from nes2net.models.provenance import Provenance
from nes2net.models.published_models import PUBLISHED_MODELS
from nes2net.models.published_results import PublishedRow, find_row, published_rows
from nes2net.scoring.score_file import read_scores
from nes2net.training.averaging import average
from nes2net.training.recipes.reading import load_recipe
from nes2net.training.selection import best_epochs

ROWS = published_rows()
ROW = {**PUBLISHED, "mean": 99.0, "corpus": "tiny_2021_la"}
#: A row of In-the-Wild.
WILD = {"id": "wild", "corpus": "tiny_wild", "protocol": "full", "samples": None}
#: A detector of Nes2Net-X that is built quickly.
NES2NET_X = {"frontend": SPECTRUM | {"num_bins": 32}, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}


def write_row(folder: Path, row: dict) -> Path:
    """Write a table of one published result."""
    table = {"title": "Rows", "columns": {"own": "own"}, "systems": {"Tiny": {"results": {"own": row}}}}
    path = folder / f"rows{len(list(folder.glob('rows*')))}.yaml"  # a file is read once
    return write(path, yaml.safe_dump({"tests": {"own": {}}, "tables": [table]}))


@pytest.fixture
def checkpoint(spectral_detector, tmp_path):
    spectral_detector.save(tmp_path / "tiny.pth")
    return tmp_path / "tiny.pth"


@pytest.fixture
def reproduce(corpus, register_corpus, tmp_path, output):
    """A function that reproduces a row with changes, which must end with this status; gives output and errors.

    The tiny corpora ``tiny_2021_la`` and ``tiny_wild`` are registered as if they were official.
    """
    counts = {"eval": Counts(12, 6, 6)}
    register_corpus("tiny_2021_la", replace(asvspoof2021_la.CORPUS, key_counts=counts))
    register_corpus("tiny_wild", replace(in_the_wild.CORPUS, counts=counts, key_digests={}))

    def run(*flags, checkpoint=None, data=corpus, out="out", status=0, **changes):
        row = {**ROW, **changes}
        words = ["experiment", "reproduce", row["id"], "--data", data, "--rows", write_row(tmp_path, row)]
        words += ["--out", tmp_path / out, "--workers", 0, "--resamples", 10, *flags]
        if checkpoint is not None:
            words += ["--checkpoint", checkpoint]
        return output(words, status)

    return run


def first_score(folder: Path) -> tuple[str, float]:
    """The first of the scores of the twelve utterances in ``folder``, and its utterance."""
    ids, scores = read_scores(folder / "scores.txt")
    assert len(ids) == 12
    return ids[0], scores[0]


def test_experiment_reproduce_alone_lists_every_published_result_with_its_figures(output):
    """The figures are checked for one result."""
    lines = output("experiment reproduce").out.splitlines()
    assert [line.split()[0] for line in lines] == [row.id for row in ROWS]
    (nes2net,) = [line for line in lines if line.startswith("nes2net_x-2021_df ")]
    assert "1.65 %, mean 1.91" in nes2net


def test_every_published_result_is_of_a_split_of_its_corpus():
    for row in ROWS:
        assert row.split in corpora.get(row.corpus).splits, row.id


@pytest.fixture(scope="module")
def recipes():
    """Each row that can be trained, and its recipe."""
    return [(row, load_recipe(REPOSITORY / row.recipe, row.overrides)) for row in ROWS if row.recipe]


def test_the_recipe_of_a_published_result_trains_on_the_training_corpus_of_the_result(recipes):
    for row, recipe in recipes:
        assert recipe.data.corpora[0].name == row.train, row.id


def test_published_results_of_different_recipes_or_overrides_are_trained_in_different_folders(recipes):
    tags = {(row.recipe, *row.overrides): recipe.tag for row, recipe in recipes}
    assert len(set(tags.values())) == len(tags)
    assert len(tags) > 8


#: What is printed in place of a verdict, before the differences.
NO_VERDICT = "no verdict, for measured and published figures cannot be compared:\n"
TRAINING = {"or, in place of training, a checkpoint"}
TRAINING |= {f"{kind} of ASVspoof 2019 LA {split}" for kind in ("protocol", "audio") for split in ("train", "dev")}


def test_three_published_results_of_in_the_wild_are_recorded_as_scored_in_train_mode():
    """docs/deviations.md, 2."""
    in_train_mode = {f"{system}-in_the_wild" for system in ("nes2net_val", "nes2net_x_val", "nes2net_x_val_aug")}
    assert {row.id for row in ROWS if row.legacy_train_mode} == in_train_mode


def test_exactly_the_published_results_of_averages_are_recorded_as_averaged_by_the_published_code():
    """docs/deviations.md, 1: the averages of that code alias."""
    for row in ROWS:
        assert (row.average > 1) == (row.average_mode == "legacy")


@pytest.mark.parametrize(
    "id, expected",
    [
        ("nes2net_x-2021_df", {"keys of ASVspoof 2021 DF", "pre-training of xlsr_300m", *TRAINING}),
        ("ockd-in_the_wild", {"trained teacher", *TRAINING}),
    ],
)
def test_everything_that_a_reproduction_lacks_is_listed_before_anything_begins(id, expected, workdir, output):
    printed = output(f"experiment reproduce {id} --data {workdir}/none", 2)
    _, *items = " ".join(printed.err.split()).split(" - ")
    tested = corpora.get(find_row(id, ROWS).corpus)
    subjects = {item.partition(": ")[0] for item in items}
    assert subjects == {f"protocol of {tested.title} eval", f"audio of {tested.title} eval", *expected}
    assert list(workdir.iterdir()) == []


@pytest.fixture
def data(corpus, tmp_path):
    """A copy of the corpora, to damage."""
    return shutil.copytree(corpus, tmp_path / "DB")


def test_a_malformed_protocol_is_listed_with_its_fault_among_what_a_reproduction_lacks(data, checkpoint, tmp_path):
    write(data / "release_in_the_wild" / "meta.csv", "file,speaker,label\n0.wav,A,real\n")
    paths = Paths(data, tmp_path / "out", checkpoint=checkpoint)
    (finding,) = find_missing(find_row("sls-in_the_wild", ROWS), paths, Search())
    assert finding.subject == "protocol of In-the-Wild eval"
    assert "unknown label 'real'" in finding.problem


def test_a_reproduction_finds_a_corpus_in_a_folder_of_its_name(corpus, tmp_path):
    (tmp_path / "asvspoof2021_la").symlink_to(corpus)
    (missing,) = find_missing(find_row("aasist-2021_la", ROWS), Paths(tmp_path, tmp_path / "out"), Search())
    assert missing.subject == "checkpoint"


def test_a_missing_recording_is_reported_to_leave_the_others_usable_only_in_scoring(recipe, data):
    next(data.rglob("LA_D_*.flac")).unlink()
    (missing,) = missing_part(Part("asvspoof2019_la", data, "dev"))
    assert missing.spares_some
    tiny = recipe(data={"root": str(data)})
    assert missing_for_training(tiny, "tiny", Search()) == [replace(missing, spares_some=False)]


def test_a_reproduction_prints_the_published_and_the_measured_eer_and_its_verdicts(reproduce, checkpoint, tmp_path):
    out = reproduce(checkpoint=checkpoint).out
    assert "published  best 12.34 %   mean 99.00 %   (EER on asvspoof2021_la, a test)" in out
    (result,) = read_json(tmp_path / "out" / "report.json")["tables"][0]["rows"]
    low, high = (100 * bound for bound in result["eer"]["interval"])
    measured = f"measured   {100 * result['eer']['value']:.2f} %   95 % interval {low:.2f} to {high:.2f} %"
    assert f"{measured}   (6 bona fide" in out
    assert f"against the published single best, 12.34 %: {judge(12.34, low, high)}" in out
    assert f"against the published mean over runs, 99.00 %: {judge(99.0, low, high)}" in out


@pytest.fixture
def reproduce_all(corpus, checkpoint, tmp_path, reproduce, output):
    """A function that measures all rows of a file; ``measured`` has a checkpoint, ``absent`` has none."""

    def run(status, **changes):
        rows = {name: ROW | {"id": name} | changes for name in ("measured", "absent")}
        table = {"title": "Rows", "columns": {"own": "own"}}
        table["systems"] = {name: {"results": {"own": row}} for name, row in rows.items()}
        path = tmp_path / f"all{len(list(tmp_path.glob('all*')))}.yaml"  # a file is read once
        write(path, yaml.safe_dump({"tests": {"own": {}}, "tables": [table]}))
        shutil.copy(checkpoint, new_folder(tmp_path / "detectors") / "measured.pth")
        words = ["experiment", "reproduce", "--all", "--data", corpus, "--rows", path, "--workers", 0]
        words += ["--checkpoint", tmp_path / "detectors", "--out", tmp_path / "out", "--resamples", 10]
        return output(words, status).out.splitlines()

    return run


def test_all_rows_with_a_checkpoint_are_measured_and_those_that_differ_are_named(reproduce_all, tmp_path):
    lines = reproduce_all(1)
    (absent,) = [line for line in lines if line.startswith("absent: not measured: checkpoint: ")]
    assert f"{tmp_path}/detectors/absent.pth not found" in absent
    assert lines[-1] == "differ or failed: measured"


def test_all_rows_are_identical_if_the_measured_figures_are_the_published_ones(reproduce_all, tmp_path):
    reproduce_all(1)
    (row,) = read_json(tmp_path / "out" / "measured" / "report.json")["tables"][0]["rows"]
    assert reproduce_all(0, best=100 * row["eer"]["value"])[-1] == "IDENTICAL"


def test_a_damaged_checkpoint_of_a_row_does_not_stop_the_others(reproduce_all, tmp_path):
    write(new_folder(tmp_path / "detectors") / "absent.pth", "no checkpoint")
    assert reproduce_all(1)[-1] == "differ or failed: absent, measured"


def test_without_any_checkpoint_no_row_is_measured(tmp_path, output):
    out = output(f"experiment reproduce --all --data {tmp_path} --checkpoint {tmp_path}", 1).out
    assert out.splitlines()[-1] == "nothing was measured"


def test_a_finished_reproduction_is_not_scored_again_and_refuses_another_checkpoint(reproduce, checkpoint, tmp_path):
    scores = tmp_path / "out" / "scores.txt"
    reproduce(checkpoint=checkpoint)
    scored_at = scores.stat().st_mtime_ns
    reproduce(checkpoint=checkpoint)
    assert scores.stat().st_mtime_ns == scored_at
    seeded_detector(load_detector(checkpoint).config, 1).save(checkpoint)
    assert "made by another run" in reproduce(checkpoint=checkpoint, status=2).err


def test_trials_that_a_published_result_excludes_are_not_evaluated(reproduce, checkpoint):
    out = reproduce(checkpoint=checkpoint, **WILD, exclude={"speaker": ["Speaker 0"]}).out
    assert "(4 bona fide and 4 spoofed trials, bootstrap over trials)" in out


def test_a_reproduction_scores_in_train_mode_only_if_the_published_code_did(corpus, reproduce, tmp_path):
    detector = Detector.from_config(NES2NET_X).eval()
    checkpoint = tmp_path / "nes2net.pth"
    detector.save(checkpoint)
    reproduce(checkpoint=checkpoint, **WILD)
    id, score = first_score(tmp_path / "out")
    in_eval_mode = detector.score(corpus / "release_in_the_wild" / f"{id}.wav")
    assert score == pytest.approx(in_eval_mode, abs=1e-5)
    reproduce("--overwrite", checkpoint=checkpoint, **WILD, legacy_train_mode=True)
    assert abs(first_score(tmp_path / "out")[1] - in_eval_mode) > 1e-3


def test_a_missing_recording_leaves_a_partial_result_without_a_verdict_if_that_is_allowed(
    data, reproduce, checkpoint, tmp_path
):
    (data / "ASVspoof2021_LA_eval" / "flac" / "LA_E_1000001.flac").unlink()
    reproduce(data=data, checkpoint=checkpoint, status=2)
    assert not (tmp_path / "out").exists()
    out = reproduce("--allow-partial", data=data, checkpoint=checkpoint, status=1).out
    assert "PARTIAL: rests on 11 of 12 trials" in out
    assert "no verdict, for" in out


def test_only_a_checkpoint_of_the_published_architecture_gets_a_verdict(reproduce, checkpoint):
    out = reproduce(checkpoint=checkpoint, model="asp_mlp", frontend=SPECTRUM, mean=None).out
    assert "against the published single best, 12.34 %: " in out
    assert "mean over runs" not in out  # none is published
    out = reproduce(checkpoint=checkpoint, model="mean_linear", frontend=SPECTRUM, status=1).out
    assert "\n- the architecture differs from mean_linear: back-end asp_mlp instead of mean_linear" in out
    assert "against the published" not in out


def test_weights_without_a_record_are_judged_if_they_have_one_of_the_published_architectures(
    reproduce, monkeypatch, tmp_path
):
    """Here two, of one logit and of two."""
    for name, num_logits in (("tiny_two", 2), ("tiny_one", 1)):
        model = {**NES2NET_X, "backend": {**NES2NET_X["backend"], "num_logits": num_logits}}
        monkeypatch.setitem(PUBLISHED_MODELS, name, {**model, "aggregation": "last"})
    released = tmp_path / "released.pth"
    torch.save(dict(seeded_detector(model).state_dict()), released)
    out = reproduce(checkpoint=released, model=["tiny_two", "tiny_one"]).out
    assert "against the published single best, 12.34 %: " in out


def compared(provenance: Provenance, **row) -> Conditions:
    """The origins of weights, compared with those of a published result."""
    conditions = Conditions()
    compare_weights(PublishedRow(**PUBLISHED | row), provenance, conditions)
    return conditions


def test_weights_without_a_record_are_not_judged_if_no_checkpoint_was_released():
    (difference,) = compared(Provenance(), released={}).differences
    assert difference.startswith("no checkpoint of this row was released, and this file records no training")


def test_weights_without_a_record_may_not_be_the_released_ones():
    conditions = compared(Provenance(), released={"checkpoint": "https://files/1", "scores": "https://files/2"})
    unchecked = ["whether the checkpoint is the file that was released for this row"]
    assert (conditions.differences, conditions.unchecked) == ([], unchecked)


def test_the_command_for_a_released_score_file_evaluates_it_without_audio(corpus, tmp_path, output):
    command = find_row("nes2net_x-2021_df", ROWS).obtain.partition("needs no audio: nes2net ")[2]
    rows = [line.split() for line in (corpus / "keys" / "DF" / "CM" / "trial_metadata.txt").read_text().splitlines()]
    # One of six spoofed utterances has the highest score.
    scores = {row[1]: number + 100 * (row[5] == "bonafide") for number, row in enumerate(rows)}
    scores[next(row[1] for row in rows if row[5] == "spoof")] = 1000
    file = write_scores(tmp_path / "theirs.txt", scores)
    words = command.replace("SCORES", str(file)).replace("KEYS", str(corpus / "keys"))
    assert " 16.667 " in output(f"{words} --resamples 10").out


@pytest.fixture(scope="module")
def tiny_recipe(tmp_path_factory):
    """Fields of a row whose recipe trains in a second."""
    recipe = {"name": "tiny", "model": SPECTRAL_MODEL}
    recipe |= {"data": {"num_samples": 8000, "num_workers": 0}}
    recipe |= {"train": {"epochs": 3, "batch_size": 4, "lr": 1e-2, "keep": "all"}}
    path = write(tmp_path_factory.mktemp("recipe") / "tiny.yaml", yaml.safe_dump(recipe))
    return {"recipe": str(path), "overrides": ["augment.algo=5"]}


@pytest.fixture
def score_of(corpus, tmp_path):
    """A function that asserts that the first score in the folder ``out`` is that of a checkpoint."""

    def check(checkpoint: Path, out: str) -> None:
        id, score = first_score(tmp_path / out)
        recording = corpus / "ASVspoof2021_LA_eval" / "flac" / f"{id}.flac"
        expected = load_detector(checkpoint).score(recording, num_samples=8000)
        assert score == pytest.approx(expected, abs=1e-5)

    return check


@pytest.fixture(scope="module")
def run_folder(corpus, tiny_recipe, tmp_path_factory):
    """A finished run, by the reproduction of a result of a single epoch."""
    folder = tmp_path_factory.mktemp("reproduced")
    rows = write_row(folder, {**ROW, "corpus": "asvspoof2021_la", **tiny_recipe})
    words = f"experiment reproduce {ROW['id']} --data {corpus} --rows {rows} --out {folder / 'row'} --workers 0"
    assert main([*words.split(), "--resamples", "10"]) == 1  # not the official trials
    (run,) = (folder / "training").glob("*algo5*")
    return run


def test_an_average_and_a_single_epoch_of_the_same_recipe_are_reproduced_by_one_training(
    reproduce, tiny_recipe, run_folder
):
    history = run_folder / "history.json"
    trained_at = history.stat().st_mtime_ns
    reproduce(out=run_folder.parents[1] / "averaged", average=2, **tiny_recipe)
    assert history.stat().st_mtime_ns == trained_at


def test_of_a_run_folder_the_best_epoch_or_the_average_is_scored_as_the_published_result_says(
    reproduce, run_folder, score_of
):
    reproduce(checkpoint=run_folder, released={})
    (best,) = best_epochs(run_folder, 1, "val_loss_wo_aug")
    score_of(run_folder / f"epoch_{best}.pth", "out")
    reproduce(checkpoint=run_folder, out="averaged", average=2, average_mode="legacy")
    epochs = best_epochs(run_folder, 2, "val_loss_wo_aug")
    score_of(average(run_folder, epochs, "legacy").path, "averaged")


AS_PUBLISHED = (
    "3 checkpoints averaged as the published code does, without the first, with the second twice (deviation 1)"
)
AVERAGED = {"average": 3, "average_mode": "legacy"}


def test_an_average_of_other_epochs_or_in_another_mode_than_the_published_one_is_a_difference(run_folder):
    for mode, ids, row, measured in (
        ("mean", [1, 2, 3], AVERAGED, f"the true mean of 3 checkpoints instead of {AS_PUBLISHED}"),
        ("legacy", [1, 2], AVERAGED, f"{AS_PUBLISHED.replace('3', '2', 1)} instead of {AS_PUBLISHED}"),
        ("mean", [1, 2], {}, "the true mean of 2 checkpoints instead of a single epoch"),
    ):
        detector = load_detector(average(run_folder, ids, mode).path)
        assert compared(detector.provenance, **row).differences == [f"the checkpoint is {measured}"]
    detector = load_detector(average(run_folder, [1, 2, 3], "legacy").path)
    assert compared(detector.provenance, **AVERAGED).differences == []


def test_an_unreadable_record_of_an_average_is_a_difference():
    difference = "the checkpoint is the true mean of 0 checkpoints instead of a single epoch"
    assert compared(Provenance(facts={"average": {"sha256": 5, "mode": 7}})).differences == [difference]


def test_a_reproduction_writes_no_file_through_a_link(reproduce, checkpoint, tmp_path):
    elsewhere = write(tmp_path / "elsewhere", "precious")
    out = new_folder(tmp_path / "out")
    for name in ("report.html", "report.json", "scores.txt"):
        (out / name).symlink_to(elsewhere)
    reproduce("--overwrite", checkpoint=checkpoint)
    assert elsewhere.read_text() == "precious"


@pytest.mark.parametrize("name", ["training", "training/logs"])
def test_a_reproduction_does_not_train_in_a_linked_folder(reproduce, tiny_recipe, tmp_path, name):
    elsewhere = new_folder(tmp_path / "elsewhere")
    link = tmp_path / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    error = reproduce(status=2, **tiny_recipe).err
    assert f"{name}: is a link" in error
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    "published, words",
    [(1.65, "within"), (1.50, "within"), (1.495, "within"), (1.49, "worse"), (1.805, "within"), (1.81, "better")],
)
def test_a_measured_interval_is_judged_against_a_published_figure_of_two_decimal_places(published, words):
    """The figure is within the interval if a number that rounds to it is."""
    assert judge(published, 1.50, 1.80).startswith(words)
