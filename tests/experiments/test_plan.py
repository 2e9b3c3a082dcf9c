"""The runs and jobs of an experiment."""

import pytest
from builders.experiments import experiment_file

from nes2net.errors import InputError
from nes2net.experiments.description import load_experiment
from nes2net.experiments.jobs import ScoreJob
from nes2net.experiments.plan import plan_experiment


def planned(tmp_path, **changes):
    return plan_experiment(load_experiment(experiment_file(tmp_path, tmp_path, **changes)), tmp_path / "out")


def test_every_run_has_its_seed_its_folder_and_its_tasks(tmp_path):
    plan = planned(tmp_path)
    assert [run.name for run in plan.runs] == ["seed1", "seed2"]
    assert [run.recipe.seed for run in plan.runs] == [1, 2]
    assert [run.folder.name for run in plan.runs] == [f"unknown_tiny_e2_bz4_lr0.01_algo0_seed{seed}" for seed in (1, 2)]
    assert all(run.folder.parent == tmp_path / "out" / "models" for run in plan.runs)
    assert [(task.name, task.needs, len(task.jobs)) for task in plan.tasks[:3]] == [
        ("train_seed1", None, 1),
        ("evaluate_seed1_best1", "train_seed1", 2),
        ("evaluate_seed1_best2", "train_seed1", 2),
    ]
    assert [job.name for job in plan.tasks[2].jobs] == [
        "score seed1 best2 wild",
        "evaluate seed1 best2 wild",
    ]
    assert len({job.name for job in plan.jobs}) == len(plan.jobs) == 10


def test_a_grid_is_every_combination(tmp_path):
    grid = {"train.lr": [0.1], "model.backend": ["mean_linear", {"name": "asp_mlp"}]}
    changes = {"overrides": {"comment": "mine"}, "grid": grid}
    path = experiment_file(tmp_path, tmp_path, **changes)
    text = path.read_text().replace("  model.backend: mean_linear\n", "", 1).replace("  train.lr: 0.01\n", "", 1)
    path.write_text(text)
    plan = plan_experiment(load_experiment(path), tmp_path)
    assert [run.point for run in plan.runs[::2]] == [
        "lr 0.1, backend mean_linear",
        'lr 0.1, backend {"name": "asp_mlp"}',
    ]
    assert [run.recipe.model["backend"] for run in plan.runs[1::2]] == ["mean_linear", {"name": "asp_mlp"}]
    first, _, third, _ = (run.folder.name for run in plan.runs)
    assert first.endswith("_seed1_mine_lr0.1_backendmean_linear")
    assert "_seed1_mine_lr0.1_backend-name-asp" in third and len({run.folder for run in plan.runs}) == 4
    assert len(plan.systems) == 4 and plan.systems[0].title == "lr 0.1, backend mean_linear, single"


def test_recipes_can_be_a_grid(tmp_path):
    path = experiment_file(
        tmp_path, tmp_path, grid={"recipe": ["asvspoof2019_nes2net_x", "asvspoof2019_aasist_rawboost4"]}
    )
    plan = plan_experiment(load_experiment(path), tmp_path)
    assert [run.name for run in plan.runs[::2]] == [
        "asvspoof2019_nes2net_x_seed1",
        "asvspoof2019_aasist_rawboost4_seed1",
    ]


def test_sets_that_differ_in_labels_alone_share_their_scores(tmp_path):
    wild = {"corpus": "in_the_wild", "root": "x"}
    sets = [
        {"name": "a", **wild},
        {"name": "b", **wild, "exclude": {"speaker": ["A"]}},
        {"name": "c", **wild, "samples": 5},
    ]
    plan = planned(tmp_path, evaluate=sets, seeds=[1], averages=[1])
    scored = [job for job in plan.jobs if isinstance(job, ScoreJob)]
    assert [job.scores.name for job in scored] == ["a.txt", "c.txt"]
    (system,) = plan.systems
    assert [plan.evaluations(system, one)[0].page.name for one in plan.experiment.evaluate] == [
        "a.html",
        "b.html",
        "c.html",
    ]
    assert plan.evaluations(system, plan.experiment.evaluate[1])[0].needs is scored[0]


def test_each_corpus_is_left_out_in_turn_and_evaluated(tmp_path):
    entries = [
        {"name": "asvspoof2019_la", "root": "a"},
        {"name": "in_the_wild", "root": "b", "train_split": "eval", "dev_split": None},
        {"name": "generic", "root": "c", "alias": "mine", "train_split": None},
    ]
    sets = [{"corpus": "asvspoof2019_la", "root": "a"}, {"name": "wild", "corpus": "in_the_wild", "root": "b"}]
    overrides = {"data.corpora": entries, "data.root": None}
    plan = planned(tmp_path, overrides=overrides, leave_one_out=True, evaluate=sets, averages=[1])
    assert [run.name for run in plan.runs] == [
        f"without-{name}_seed{seed}" for name in ("asvspoof2019_la", "in_the_wild") for seed in (1, 2)
    ]
    assert [[one.name for one in run.recipe.data.corpora] for run in plan.runs[1:3]] == [
        ["in_the_wild", "generic"],
        ["asvspoof2019_la", "generic"],
    ]
    assert [[one.title for one in plan.sets_of(run)] for run in plan.runs[1:3]] == [["asvspoof2019_la"], ["wild"]]
    (system,) = plan.systems
    assert [job.name for job in plan.evaluations(system, plan.experiment.evaluate[1])] == [
        f"evaluate without-in_the_wild_seed{seed} best1 wild" for seed in (1, 2)
    ]
    with pytest.raises(InputError, match="trains without in_the_wild, but no set of evaluate is of that corpus"):
        planned(tmp_path, overrides=overrides, leave_one_out=True, evaluate=sets[:1])
    both = {"data.corpora": [*entries[:2], {**entries[1], "root": "c", "alias": "wild"}], "data.root": None}
    with pytest.raises(InputError, match="set wild is of two corpora that are left out in turn"):
        planned(tmp_path, overrides=both, leave_one_out=True, evaluate=sets)
    further = [*sets, {"corpus": "asvspoof2021_la", "root": "d"}]
    with pytest.raises(InputError, match="has the set asvspoof2021_la, which is of none of the corpora"):
        planned(tmp_path, overrides=overrides, leave_one_out=True, evaluate=further)


def test_what_cannot_be_planned(tmp_path):
    with pytest.raises(InputError, match="unknown key 'train.epoch' in the recipe"):
        planned(tmp_path, overrides={"train.epoch": 3})
    with pytest.raises(InputError, match="recipe none is neither a YAML file nor"):
        planned(tmp_path, recipe="none")
    with pytest.raises(
        InputError, match="leave_one_out needs at least two corpora in `data.corpora` that train, not 1"
    ):
        planned(tmp_path, leave_one_out=True)
    with pytest.raises(InputError, match="two runs of the grid would share a folder"):
        planned(tmp_path, grid={"date": [1, "1"]})
