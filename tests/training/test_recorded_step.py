"""Steps that a CUDA graph replays equal steps without one, bit for bit, on the simulated CUDA device."""

import shutil
import sys

import pytest
from builders.files import read_json
from builders.scripts import run
from conftest import REPOSITORY

PRECISIONS = ("fp32", "tf32", "bf16")
#: Systems and settings that the slow tests try in two precisions; the weekly tests try all in three.
TRIED = ("back-end nes2net_x", "accumulate", "layer drop")
#: Why a step is not recorded, by the beginning of the name.
REASONS = {
    "adversarial training": "`augment.adversarial` attacks the detector in each step",
    "aggregation moe": "the computation waits for the GPU",
    "latent augmentation": "`augment.latent` draws random numbers on the CPU",
    "layer drop": "layers are dropped at random",
    "loss angular_softmax": "the loss changes from step to step",
}

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ for the simulated CUDA device")


def checked(folder, *names):
    """What builders/graph_checks.py found."""
    file = folder / "found.json"
    program = REPOSITORY / "tests" / "builders" / "graph_checks.py"
    done = run("simulated_cuda", "--run", sys.executable, program, file, *names, PYTHONPATH=str(REPOSITORY / "tests"))
    assert done.returncode == 0, done.stderr[-2000:]
    return read_json(file)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return checked(tmp_path_factory.mktemp("graphs"), *TRIED)


@pytest.fixture(scope="module")
def all_outcomes(tmp_path_factory):
    return checked(tmp_path_factory.mktemp("all"))


def steps_in(outcomes):
    """What was found for each kind of step."""
    steps = {name: row for name, row in outcomes.items() if name.endswith(PRECISIONS)}
    assert steps
    return steps


def assert_equal_to_the_bit(outcomes):
    steps = steps_in(outcomes)
    for name, row in steps.items():
        assert row.get("error") is None, name
        assert row["different"] == [], name
        assert row["trained"], name
        assert row["refused"] == [], name
    return len(steps)


def assert_recorded_or_told_why_not(outcomes):
    for name, row in steps_in(outcomes).items():
        reason = REASONS.get(name.rpartition(", ")[0], "")
        told = [line.partition("because ")[2] for line in row["told"]] or [row["why not"]]
        assert told == [reason], name
        assert row["recorded"] == (not reason), name


def assert_resumed_to_the_bit(outcomes, precisions):
    for precision in precisions:
        assert set(outcomes["resumed"][precision].values()) == {True}, precision


@pytest.mark.slow
def test_steps_replayed_from_a_cuda_graph_equal_steps_without_one(outcomes):
    """Two steps before the recording, three replayed, and one of another shape between them."""
    assert assert_equal_to_the_bit(outcomes) == 2 * len(TRIED)


@pytest.mark.slow
def test_a_step_is_recorded_as_a_cuda_graph_or_the_reason_against_it_is_told(outcomes):
    assert_recorded_or_told_why_not(outcomes)


@pytest.mark.slow
def test_nothing_is_recordable_as_a_cuda_graph_before_the_first_step_of_a_run(outcomes):
    """So a run that resumes at its validation does not record that validation."""
    assert [row["recordable"][0] for row in steps_in(outcomes).values()] == [False] * 2 * len(TRIED)


@pytest.mark.weekly
def test_steps_of_every_system_task_and_loss_are_equal_with_and_without_a_cuda_graph(all_outcomes):
    assert assert_equal_to_the_bit(all_outcomes) > 150


@pytest.mark.weekly
def test_a_step_of_every_system_task_and_loss_is_recorded_as_a_cuda_graph_or_the_reason_is_told(all_outcomes):
    assert_recorded_or_told_why_not(all_outcomes)


@pytest.mark.weekly
def test_a_run_in_each_precision_resumes_as_if_uninterrupted_with_and_without_a_cuda_graph(all_outcomes):
    assert_resumed_to_the_bit(all_outcomes, PRECISIONS)


@pytest.mark.slow
def test_a_run_in_fp32_or_bf16_resumes_as_if_uninterrupted_with_and_without_a_cuda_graph(outcomes):
    assert_resumed_to_the_bit(outcomes, ("fp32", "bf16"))


@pytest.mark.slow
def test_a_step_whose_loss_is_not_finite_changes_no_weight_with_or_without_a_cuda_graph(outcomes):
    assert [step["changed"] for step in outcomes["not finite"].values()] == [[], []]


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["auto", "never"])
def test_a_step_whose_loss_is_not_finite_is_named_in_the_error_with_or_without_a_cuda_graph(outcomes, graph):
    row = outcomes["not finite"][graph]
    assert f"the loss is nan in epoch 1, step 4 (utterances {row['utterances']})" in row["message"]


@pytest.mark.slow
def test_a_detector_that_draws_random_numbers_on_the_cpu_trains_without_a_cuda_graph_and_says_why(outcomes):
    reason = "the computation draws random numbers on the CPU"
    assert outcomes["drawing on the CPU"] == [f"steps are not captured as a CUDA graph, because {reason}"]


@pytest.mark.slow
def test_a_loss_that_changes_by_step_undeclared_ends_the_run_with_advice_to_set_train_graph_never(outcomes):
    assert "cannot be recorded as a CUDA graph" in outcomes["undeclared"]
    assert "`train.graph=never`" in outcomes["undeclared"]


@pytest.mark.slow
def test_runs_with_cuda_graphs_train_and_validate_with_the_same_results_as_runs_without(outcomes):
    assert [run["same"] for run in outcomes["runs"].values()] == [True, True]


@pytest.mark.slow
def test_each_epoch_of_a_run_records_a_cuda_graph_of_its_steps_and_one_of_its_validation(outcomes):
    assert [run["recorded"] for run in outcomes["runs"].values()] == [4, 4]  # of two epochs
