"""Numbers of a resume file and of a history have ranges."""

import shutil

import pytest
import torch
from builders import input_error
from builders.files import write_json
from builders.recipes import SPECTRAL_RUN, short_run
from builders.runs import folder_of, refused, state_of, stop

from nes2net.training.resume_file import read_resume_file
from nes2net.training.selection import best_epochs, read_history


@pytest.fixture(scope="module")
def stopped_run(corpus, tmp_path_factory):
    """The folder of a run that was stopped in its second epoch."""
    return stop(short_run(corpus, tmp_path_factory.mktemp("stopped"), SPECTRAL_RUN, {}), 2, 1)


@pytest.fixture
def stopped(stopped_run, recipe):
    """The recipe of a copy of this run."""
    shutil.copytree(stopped_run, folder_of(recipe()))
    return recipe()


def put(recipe, path, value):
    """Put ``value`` at ``path`` of the resume file: keys with dots between them."""
    folder = folder_of(recipe)
    content = state_of(folder)
    *parents, last = path.split(".")
    parent = content
    for key in parents:
        parent = parent[int(key) if key.isdigit() else key]
    parent[last] = value
    torch.save(content, folder / "resume.pt")


@pytest.mark.parametrize("step", [-1.0, 1e30, float("inf")])
def test_a_resume_file_with_an_impossible_number_of_steps_of_its_optimiser_is_refused(stopped, step):
    put(stopped, "optimizer.state.0.step", torch.tensor(step))
    refused(stopped, r"resume\.pt does not fit this run \(optimizer; (impossible value|not finite): 0\.step\)")


@pytest.mark.parametrize("path", ["progress.seconds", "progress.lr", "selection.0.seconds", "selection.0.lr"])
@pytest.mark.parametrize("value", [-1.0, 1.7e308])
def test_a_resume_file_with_an_impossible_time_or_learning_rate_is_refused(stopped, path, value):
    put(stopped, path, value)
    refused(stopped, r"resume\.pt is not the state of a run")


@pytest.mark.parametrize("size", [0, 500])
def test_a_resume_file_that_is_empty_or_cut_off_is_refused_with_how_to_go_on(tmp_path, size):
    file = tmp_path / "resume.pt"
    torch.save({"version": 5}, file)
    file.write_bytes(file.read_bytes()[:size])
    remedy = r"copy it again from an intact copy; or move the folder away, .* `train\.init_from`$"
    with input_error(rf"resume\.pt:? is [^;]*; {remedy}"):
        read_resume_file(tmp_path)


def history(folder, **facts):
    """Write a history of one epoch, and read it."""
    path = folder / "history.json"
    write_json(path, [{"epoch": 1, "loss": 0.5, "val_loss_wo_aug": 0.5, **facts}])
    return read_history(path)


@pytest.mark.parametrize(
    "facts",
    [
        {"seconds": 1.7e308},
        {"loss": 1.7e308},
        {"val_loss_wo_aug": 10**400},
        {"val_eer_wo_aug": -0.5},
    ],
)
def test_a_history_with_an_impossible_number_is_refused(tmp_path, facts):
    with input_error(r"history\.json: not a history that training wrote"):
        history(tmp_path, **facts)


def test_reading_a_history_gives_the_rows_that_were_written(tmp_path):
    facts = {"val_eer_wo_aug": 0.25, "val_loss_w_aug": None, "improved": True}
    assert history(tmp_path, **facts) == [{"epoch": 1, "loss": 0.5, "val_loss_wo_aug": 0.5, **facts}]


@pytest.mark.parametrize("key", ["val_loss_w_aug", "seconds"])
def test_ranking_epochs_by_a_value_that_the_history_lacks_or_by_their_time_is_refused(tmp_path, key):
    history(tmp_path, seconds=1.0)
    with input_error("`by` is one of the values of"):
        best_epochs(tmp_path, 1, key)
