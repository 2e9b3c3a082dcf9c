"""The file of an experiment: places, overrides, the packaged ones, and what is refused."""

from math import prod
from pathlib import Path

import pytest
import yaml
from builders import input_error
from builders.experiments import experiment_file
from builders.files import write
from conftest import REPOSITORY

from nes2net.apps.experiments.description import PACKAGED, load_experiment
from nes2net.apps.experiments.plan import plan_experiment


def test_a_place_is_read_from_the_command_before_the_environment_before_the_file(tmp_path, monkeypatch):
    """A place is a folder that the file of an experiment names as `${NAME}`."""
    path = experiment_file(tmp_path, Path("of_file"))
    assert load_experiment(path).evaluate[0].root == "of_file/release_in_the_wild"
    monkeypatch.setenv("data", "of_environment")
    assert load_experiment(path).evaluate[0].root == "of_environment/release_in_the_wild"
    assert load_experiment(path, ["data=of_command"]).evaluate[0].root == "of_command/release_in_the_wild"


def test_an_experiment_reads_only_declared_names_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    path = experiment_file(tmp_path, tmp_path, title="Results ${HF_TOKEN}")
    with input_error(r"has no value for \$\{HF_TOKEN\}: add `set` HF_TOKEN=VALUE, or a default"):
        load_experiment(path)


def test_overrides_of_the_command_come_on_top_of_those_of_the_file_of_an_experiment(tmp_path):
    path = experiment_file(tmp_path, tmp_path)
    overrides = load_experiment(path, overrides=["train.epochs=7"]).overrides
    assert (overrides["train.epochs"], overrides["train.batch_size"]) == (7, 4)


def test_settings_of_slurm_in_the_file_replace_the_defaults(tmp_path):
    experiment = load_experiment(experiment_file(tmp_path, tmp_path, slurm={"partition": "gpu", "minutes": 5}))
    assert (experiment.slurm.partition, experiment.slurm.minutes, experiment.slurm.cpus) == ("gpu", 5, 8)


def test_empty_sections_of_an_experiment_are_as_if_left_out_and_a_list_is_refused(tmp_path):
    path = experiment_file(tmp_path, tmp_path)
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    write(path, yaml.safe_dump(values | {"overrides": None, "slurm": None}))
    experiment = load_experiment(path)
    assert (experiment.overrides, experiment.slurm.cpus) == ({}, 8)
    write(path, yaml.safe_dump(values | {"overrides": ["train.lr=1"]}))
    with input_error("overrides: Input should be a valid dictionary"):
        load_experiment(path, overrides=["train.weight_decay=0"])


def test_a_recipe_beside_the_file_of_an_experiment_is_found(tmp_path):
    write(tmp_path / "mine.yaml", "name: mine\n")
    experiment = load_experiment(experiment_file(tmp_path, tmp_path, recipe="mine.yaml"))
    assert experiment.recipe == str(tmp_path / "mine.yaml")


def test_a_data_set_of_the_hub_needs_no_folder_and_its_title_has_hyphens_in_place_of_colon_and_slash(tmp_path):
    hub = {"corpus": "hub:OWNER/set", "split": "eval"}
    (hub_set,) = load_experiment(experiment_file(tmp_path, tmp_path, evaluate=[hub])).evaluate
    assert (hub_set.root, hub_set.title) == (".", "hub-OWNER-set")


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"seed": [1]}, "there is no key 'seed'; did you mean 'seeds'?"),
        ({"seeds": [1, 1]}, "the seed 1 is named twice"),
        ({"evaluate": [{"corpus": "in_the_wild", "split": "dev"}]}, "In-the-Wild has no split 'dev'"),
        ({"grid": {"train.epochs": [1, 2]}}, "train.epochs stands in both overrides and grid"),
    ],
    ids=str,
)
def test_a_mistake_in_the_file_of_an_experiment_is_refused_with_the_file_and_a_reason(tmp_path, changes, problem):
    path = experiment_file(tmp_path, tmp_path, **changes)
    with input_error() as caught:
        load_experiment(path)
    assert str(caught.value).startswith(f"experiment {path}: ")
    assert problem in str(caught.value)


def test_experiments_of_this_repository_train_each_grid_point_and_seed_on_corpora_in_their_folder_of_data(tmp_path):
    for path in (*PACKAGED.glob("*.yaml"), REPOSITORY / "scripts/demonstration/experiment.yaml"):
        experiment = load_experiment(path)
        runs = plan_experiment(experiment, tmp_path).runs
        assert len(runs) == prod(map(len, experiment.grid.values())) * len(experiment.seeds), path
        assert {corpus.root for run in runs for corpus in run.recipe.data.corpora} == {experiment.places["data"]}


def test_the_packaged_experiments_have_the_averages_seeds_and_modes_of_the_papers():
    """Of arXiv 2504.05657 and its code, which scores only In-the-Wild whole and in train mode; and of CtrSVDD."""
    experiment = load_experiment("nes2net_x_2019")
    averages = [(1, "mean"), (3, "legacy"), (5, "legacy"), (1, "mean")]
    assert [(row.best, row.mode) for row in experiment.averages] == averages
    modes = [(row.protocol, row.legacy_train_mode) for row in experiment.evaluate]
    assert modes == [(None, False), (None, False), ("full", True)]
    assert load_experiment("nes2net_ctrsvdd").seeds == [4, 42, 420]
