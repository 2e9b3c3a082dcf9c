"""Weights & Biases and MLflow: the real libraries, without a network."""

import sys
from unittest import mock

import pytest
from builders.files import read_json
from builders.runs import folder_of, history_of, refused

from nes2net.lib.errors import MissingLibrary
from nes2net.training import tracker
from nes2net.training.run import train
from nes2net.training.tracker import TRACKER_FILE


def ended_after_an_epoch(recipe):
    """Train until the first epoch is saved and tracked, and fail; the folder, and the id of the tracker's run."""
    call = tracker.Tracker.__call__

    def log_and_fail(self, event, facts):
        call(self, event, facts)
        if event != "epoch":
            return
        assert (folder_of(recipe) / "resume.pt").is_file()  # the tracker's server may let this wait
        raise RuntimeError("as if it was killed")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(tracker.Tracker, "__call__", log_and_fail)
        train(recipe)
    return folder_of(recipe), read_json(folder_of(recipe) / TRACKER_FILE)[recipe.tracker]


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    mlflow.set_tracking_uri(None)
    yield mlflow
    mlflow.end_run()


@pytest.mark.slow
def test_mlflow_has_the_settings_and_every_epoch_of_a_killed_and_resumed_run_under_the_id_of_its_first_part(
    recipe, mlflow
):
    """Here a setting has changed, of which MLflow takes no new value."""
    folder, id = ended_after_an_epoch(recipe(tracker="mlflow"))
    client = mlflow.MlflowClient()
    assert client.get_run(id).info.status == "KILLED"
    train(recipe(tracker="mlflow", data={"num_workers": 1}))
    run = client.get_run(id)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == "0.001"
    for name in ("loss", "val_loss_wo_aug", "val_eer_wo_aug", "lr"):
        logged = [(m.step, m.value) for m in client.get_metric_history(id, name)]
        assert logged == [(row["epoch"], pytest.approx(row[name])) for row in history_of(folder)]


@pytest.fixture(scope="module")
def wandb_folder(tmp_path_factory):
    """The folder to which Weights & Biases writes, without a network: a process keeps the first."""
    pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("MODE", "offline"), ("DIR", str(folder)), ("SILENT", "true")):
            patch.setenv(f"WANDB_{name}", value)
        yield folder / "wandb"


@pytest.mark.slow
def test_a_resumed_wandb_run_keeps_the_id_of_its_first_part(recipe, wandb_folder):
    folder, id = ended_after_an_epoch(recipe(tracker="wandb"))
    train(recipe(tracker="wandb"))
    assert read_json(folder / TRACKER_FILE) == {"wandb": id}


@pytest.mark.slow
def test_wandb_has_the_project_the_name_and_keys_of_the_settings_and_measures_of_a_run(recipe, wandb_folder):
    folder = train(recipe(tracker="wandb", train={"epochs": 1}))
    id = read_json(folder / TRACKER_FILE)["wandb"]
    sys.modules["wandb"].teardown()  # waits for the library's process, which may write the file after the run's end
    content = b"".join(file.read_bytes() for file in wandb_folder.glob(f"offline-run-*-{id}/run-{id}.wandb"))
    for text in (b"nes2net", folder.name.encode(), b"augment.algo", b"val_loss_wo_aug"):
        assert text in content


@pytest.mark.slow
def test_training_continues_with_a_warning_without_a_tracker_that_failed_amid_a_run(
    recipe, mlflow, monkeypatch, capsys
):
    logged = mock.Mock(side_effect=ConnectionError("the server went away"))
    monkeypatch.setattr(mlflow, "log_metrics", logged)
    train(recipe(tracker="mlflow"))
    told = "warning: MLflow failed (ConnectionError: the server went away); training continues without it"
    assert capsys.readouterr().err.count(told) == 1
    assert logged.call_count == 1


@pytest.mark.slow
def test_a_finished_run_whose_recipe_no_longer_names_a_tracker_is_not_taken_for_another_run(recipe, mlflow):
    assert train(recipe(tracker="mlflow")) == train(recipe())


@pytest.mark.slow
def test_a_new_run_whose_tracker_cannot_start_is_refused(recipe, mlflow, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense:")
    refused(recipe(tracker="mlflow"), r"MLflow failed \(.*: correct that, or remove `tracker=mlflow`")


@pytest.mark.slow
def test_a_resumed_run_whose_tracker_cannot_start_goes_on_without_it(recipe, mlflow, monkeypatch, capsys):
    folder, _ = ended_after_an_epoch(recipe(tracker="mlflow"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense:")
    assert train(recipe(tracker="mlflow")) == folder
    assert "training continues without it" in capsys.readouterr().err


def test_a_tracker_without_its_library_is_refused_before_anything_is_written(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingLibrary, match=r"`tracker=wandb` needs a library .*: pip install wandb"):
        train(recipe(tracker="wandb"))
    assert not folder_of(recipe()).parent.exists()
