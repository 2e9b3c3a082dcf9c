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
    log = tracker.Tracker.log

    def log_and_fail(self, values, epoch):
        assert (folder_of(recipe) / "resume.pt").is_file()  # the tracker's server may let this wait
        log(self, values, epoch)
        raise RuntimeError("as if it was killed")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(tracker.Tracker, "log", log_and_fail)
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
def test_an_interrupted_mlflow_run_is_resumed_with_its_settings_and_every_epoch(recipe, mlflow):
    """Under the same id."""
    folder, id = ended_after_an_epoch(recipe(tracker="mlflow"))
    client = mlflow.MlflowClient()
    assert client.get_run(id).info.status == "KILLED"
    assert train(recipe(tracker="mlflow", data={"num_workers": 1})) == folder  # MLflow takes no new value of it
    run = client.get_run(id)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.lr"] == "0.001"
    for name in ("loss", "val_loss_wo_aug", "val_eer_wo_aug", "lr"):
        logged = [(m.step, m.value) for m in client.get_metric_history(id, name)]
        assert logged == [(row["epoch"], pytest.approx(row[name])) for row in history_of(folder)]


@pytest.mark.slow
def test_an_interrupted_wandb_run_is_resumed_under_its_id_with_name_settings_and_measures(
    recipe, monkeypatch, tmp_path
):
    """Offline, in a folder of its own."""
    pytest.importorskip("wandb")
    for name, value in (("MODE", "offline"), ("DIR", str(tmp_path)), ("SILENT", "true")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    folder, id = ended_after_an_epoch(recipe(tracker="wandb"))
    train(recipe(tracker="wandb"))
    assert read_json(folder / TRACKER_FILE) == {"wandb": id}
    content = b"".join(file.read_bytes() for file in tmp_path.glob(f"wandb/offline-run-*-{id}/run-{id}.wandb"))
    for text in (b"val_loss_wo_aug", b"nes2net", folder.name.encode(), b"augment.algo"):
        assert text in content


def test_a_tracker_that_fails_amid_a_run_is_one_warning_and_not_tried_again(recipe, mlflow, monkeypatch, capsys):
    logged = mock.Mock(side_effect=ConnectionError("the server went away"))
    monkeypatch.setattr(mlflow, "log_metrics", logged)
    train(recipe(tracker="mlflow"))
    told = "warning: MLflow failed (ConnectionError: the server went away); training continues without it"
    assert capsys.readouterr().err.count(told) == 1
    assert logged.call_count == 1


def test_a_finished_run_is_the_same_run_without_its_tracker(recipe, mlflow):
    assert train(recipe(tracker="mlflow")) == train(recipe())


def test_a_new_run_whose_tracker_cannot_start_is_refused(recipe, mlflow, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense:")
    refused(recipe(tracker="mlflow"), r"MLflow failed \(.*: correct that, or remove `tracker=mlflow`")


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
