"""The runs and jobs of an experiment."""

from builders import input_error
from builders.experiments import experiment_file

from nes2net.apps.experiments.description import load_experiment
from nes2net.apps.experiments.jobs import ScoreJob
from nes2net.apps.experiments.plan import plan_experiment


def planned(tmp_path, **changes):
    return plan_experiment(load_experiment(experiment_file(tmp_path, tmp_path, **changes)), tmp_path / "out")


def test_every_recipe_of_a_grid_has_a_run(tmp_path):
    recipes = ["asvspoof2019_nes2net_x", "asvspoof2019_aasist_rawboost4"]
    plan = planned(tmp_path, grid={"recipe": recipes})
    assert [run.name for run in plan.runs[::2]] == [f"{recipe}_seed1" for recipe in recipes]


def test_every_value_of_a_grid_has_a_run_which_it_describes_and_whose_folder_it_names(tmp_path):
    grid = {"train.weight_decay": [0.1], "model.aggregation": ["last", {"name": "weighted_sum"}]}
    runs = planned(tmp_path, grid=grid, seeds=[1]).runs
    assert [run.recipe.model["aggregation"]["name"] for run in runs] == ["last", "weighted_sum"]
    points = ["weight_decay 0.1, aggregation last", 'weight_decay 0.1, aggregation {"name": "weighted_sum"}']
    assert [run.point for run in runs] == points
    first, second = (run.folder.name for run in runs)
    assert first.endswith("_seed1_weight_decay0.1_aggregationlast")
    assert "_seed1_weight_decay0.1_aggregation-name-weighted" in second


def test_sets_that_differ_only_in_the_trials_that_they_exclude_share_their_scores(tmp_path):
    changes = {"a": {}, "b": {"exclude": {"speaker": ["A"]}}, "c": {"samples": 5}}
    sets = [{"name": name, "corpus": "in_the_wild", "root": "x", **change} for name, change in changes.items()]
    plan = planned(tmp_path, evaluate=sets, seeds=[1], averages=[1])
    scored = [job for job in plan.jobs if isinstance(job, ScoreJob)]
    assert [job.scores.name for job in scored] == ["a.txt", "c.txt"]
    (by_set,) = plan.evaluations().values()
    assert by_set["b"][0].needs is scored[0]


LA = {"name": "asvspoof2019_la", "root": "a"}
WILD = {"name": "in_the_wild", "root": "b", "train_split": "eval", "dev_split": None}
GENERIC = {"name": "generic", "root": "c", "alias": "mine", "train_split": None}
CORPORA = {"data.corpora": [LA, WILD, GENERIC], "data.root": None}
SETS = [{"corpus": "asvspoof2019_la", "root": "a"}, {"name": "wild", "corpus": "in_the_wild", "root": "b"}]


def test_with_leave_one_out_each_training_corpus_is_omitted_and_tested_in_turn(tmp_path):
    plan = planned(tmp_path, overrides=CORPORA, leave_one_out=True, evaluate=SETS, averages=[1])
    names = [f"without-{name}_seed{seed}" for name in ("asvspoof2019_la", "in_the_wild") for seed in (1, 2)]
    assert [run.name for run in plan.runs] == names
    trained = [[data.name for data in run.recipe.data.corpora] for run in plan.runs[1:3]]
    assert trained == [["in_the_wild", "generic"], ["asvspoof2019_la", "generic"]]
    assert [run.sets for run in plan.runs[1:3]] == [{"asvspoof2019_la"}, {"wild"}]
    (by_set,) = plan.evaluations().values()
    assert [job.name for job in by_set["wild"]] == [f"evaluate {name} best1 wild" for name in names[2:]]


def test_with_leave_one_out_a_set_of_a_corpus_that_is_never_omitted_is_refused(tmp_path):
    with_2021 = [*SETS, {"corpus": "asvspoof2021_la", "root": "d"}]
    with input_error("set asvspoof2021_la must belong to exactly one of the corpora that leave_one_out omits in turn"):
        planned(tmp_path, overrides=CORPORA, leave_one_out=True, evaluate=with_2021)


def test_two_runs_that_would_write_one_folder_are_refused(tmp_path):
    with input_error("two runs of experiment .* would write the same folder: list each value"):
        planned(tmp_path, grid={"date": [1, "1"]})
