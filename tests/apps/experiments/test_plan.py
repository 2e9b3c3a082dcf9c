"""The runs and jobs of an experiment."""

import pytest
from builders import input_error
from builders.experiments import experiment_file
from builders.files import write

from nes2net.apps.experiments.description import load_experiment
from nes2net.apps.experiments.jobs import ScoreJob
from nes2net.apps.experiments.plan import plan_experiment


def planned(tmp_path, **changes):
    return plan_experiment(load_experiment(experiment_file(tmp_path, tmp_path, **changes)), tmp_path / "out")


def test_recipes_can_be_a_key_of_a_grid(tmp_path):
    recipes = ["asvspoof2019_nes2net_x", "asvspoof2019_aasist_rawboost4"]
    plan = planned(tmp_path, grid={"recipe": recipes})
    assert [run.name for run in plan.runs[::2]] == [f"{recipe}_seed1" for recipe in recipes]


def test_every_combination_of_a_grid_is_run(tmp_path):
    grid = {"train.lr": [0.1], "model.backend": ["mean_linear", {"name": "asp_mlp"}]}
    path = experiment_file(tmp_path, tmp_path, overrides={"comment": "mine"}, grid=grid)
    write(path, path.read_text().replace("  model.backend: mean_linear\n", "", 1).replace("  train.lr: 0.01\n", "", 1))
    plan = plan_experiment(load_experiment(path), tmp_path)
    points = ["lr 0.1, backend mean_linear", 'lr 0.1, backend {"name": "asp_mlp"}']
    assert [run.point for run in plan.runs[::2]] == points
    assert [run.recipe.model["backend"]["name"] for run in plan.runs[1::2]] == ["mean_linear", "asp_mlp"]
    first, _, third, _ = (run.folder.name for run in plan.runs)
    assert first.endswith("_seed1_mine_lr0.1_backendmean_linear")
    assert "_seed1_mine_lr0.1_backend-name-asp" in third
    systems = list(plan.evaluations())
    assert len(systems) == 4
    assert systems[0].title == f"{points[0]}, single"


def test_sets_that_differ_in_labels_alone_share_their_scores(tmp_path):
    changes = {"a": {}, "b": {"exclude": {"speaker": ["A"]}}, "c": {"samples": 5}}
    sets = [{"name": name, "corpus": "in_the_wild", "root": "x", **change} for name, change in changes.items()]
    plan = planned(tmp_path, evaluate=sets, seeds=[1], averages=[1])
    scored = [job for job in plan.jobs if isinstance(job, ScoreJob)]
    assert [job.scores.name for job in scored] == ["a.txt", "c.txt"]
    (by_set,) = plan.evaluations().values()
    (a,), (b,), (c,) = (by_set[name] for name in "abc")
    assert [job.page.name for job in (a, b, c)] == ["a.html", "b.html", "c.html"]
    assert b.needs is scored[0]


LA = {"name": "asvspoof2019_la", "root": "a"}
WILD = {"name": "in_the_wild", "root": "b", "train_split": "eval", "dev_split": None}
GENERIC = {"name": "generic", "root": "c", "alias": "mine", "train_split": None}
CORPORA = {"data.corpora": [LA, WILD, GENERIC], "data.root": None}
SETS = [{"corpus": "asvspoof2019_la", "root": "a"}, {"name": "wild", "corpus": "in_the_wild", "root": "b"}]


def test_each_corpus_is_left_out_in_turn(tmp_path):
    plan = planned(tmp_path, overrides=CORPORA, leave_one_out=True, evaluate=SETS, averages=[1])
    names = [f"without-{name}_seed{seed}" for name in ("asvspoof2019_la", "in_the_wild") for seed in (1, 2)]
    assert [run.name for run in plan.runs] == names
    trained = [[data.name for data in run.recipe.data.corpora] for run in plan.runs[1:3]]
    assert trained == [["in_the_wild", "generic"], ["asvspoof2019_la", "generic"]]
    assert [run.sets for run in plan.runs[1:3]] == [{"asvspoof2019_la"}, {"wild"}]
    (by_set,) = plan.evaluations().values()
    assert [job.name for job in by_set["wild"]] == [f"evaluate {name} best1 wild" for name in names[2:]]


def test_sets_of_other_corpora_than_those_left_out_are_refused(tmp_path):
    twice = {"data.corpora": [LA, WILD, {**WILD, "root": "c", "alias": "wild"}], "data.root": None}
    with_2021 = [*SETS, {"corpus": "asvspoof2021_la", "root": "d"}]
    for changes, evaluated, message in (
        (CORPORA, SETS[:1], "trains without in_the_wild, but no set of evaluate is of that corpus"),
        (twice, SETS, "set wild must belong to exactly one of the corpora that leave_one_out omits in turn, not to 2"),
        (
            CORPORA,
            with_2021,
            "set asvspoof2021_la must belong to exactly one of the corpora that leave_one_out omits in turn, not to 0",
        ),
    ):
        with input_error(message):
            planned(tmp_path, overrides=changes, leave_one_out=True, evaluate=evaluated)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"overrides": {"train.epoch": 3}}, "unknown key 'train.epoch' in the recipe"),
        ({"recipe": "none"}, "recipe none is neither a YAML file nor"),
        ({"leave_one_out": True}, "leave_one_out needs at least two corpora for training in `data.corpora`, not 1"),
        ({"grid": {"date": [1, "1"]}}, "two runs of experiment .* would write the same folder: list each value"),
    ],
)
def test_experiments_that_cannot_be_planned_are_refused(tmp_path, changes, message):
    with input_error(message):
        planned(tmp_path, **changes)
