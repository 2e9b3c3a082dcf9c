"""Averages of a run folder: which checkpoints are taken, and what the file is called."""

import hashlib
import os

import pytest
import torch
from builders import input_error
from builders.files import read_json, write_json

from nes2net.cli.main import main
from nes2net.models.checkpoints.state_dict import load_state_dict, read_record, save_state_dict
from nes2net.training.averaging import average as average_run


def save(folder, *epochs, **facts):
    """A checkpoint for each epoch, whose weight is the epoch's number."""
    for epoch in epochs:
        save_state_dict({"w": torch.tensor([float(epoch)])}, folder / f"epoch_{epoch}.pth", epoch=epoch, **facts)


def weight_in(path):
    return load_state_dict(path)["w"].item()


def test_an_average_records_its_epochs_the_hashes_of_their_checkpoints_and_the_model_and_recipe(tmp_path):
    """The number and the losses of a single epoch are left out."""
    facts = {"model": {"frontend": "x"}, "recipe": {"seed": 1}}
    save(tmp_path, 3, 5, 8, **facts, loss=0.5, val_loss_wo_aug=0.1)
    target = average_run(tmp_path, [3, 8]).path
    hashes = [hashlib.sha256((tmp_path / f"epoch_{epoch}.pth").read_bytes()).hexdigest() for epoch in (3, 8)]
    average_record = {"ids": [3, 8], "mode": "mean", "sha256": hashes}
    assert read_record(load_state_dict(target)) == {**facts, "average": average_record}


def test_a_legacy_average_of_n_checkpoints_is_n_times_the_last_one_divided_by_n_as_published(tmp_path):
    save(tmp_path, 3, 8)
    assert weight_in(average_run(tmp_path, [3, 8], "legacy").path) == 8  # (2·c2)/2


def test_the_file_of_an_average_is_named_after_its_epochs_and_how_they_were_averaged(tmp_path):
    save(tmp_path, 3, 8)
    names = [average_run(tmp_path, [3, 8], **how).path.name for how in ({"mode": "legacy"}, {"weights": [0.25, 1]})]
    assert names == ["Averaged_Model_IDs_3_8_legacy.pth", "Averaged_Model_IDs_3_8_weighted_0.25_1.pth"]


def test_the_option_last_averages_that_many_of_the_last_saved_epochs(tmp_path):
    save(tmp_path, 3, 9, 10)
    assert weight_in(average_run(tmp_path, last=2).path) == 9.5


def test_a_weighted_average_weighs_its_epochs_with_the_factors_that_its_record_states(tmp_path):
    save(tmp_path, 9, 10)
    weighted = average_run(tmp_path, [9, 10], weights=[0.25, 1]).path
    assert read_record(load_state_dict(weighted))["average"]["weights"] == [0.25, 1]
    assert weight_in(weighted) == pytest.approx(9.8)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"ids": [3, 4]}, r"has no epoch_4\.pth: choose among the saved epochs, 3, 9, 10"),
        ({"last": 4}, r"has 3 epochs saved \(3, 9, 10\): `last` must be from 1"),
    ],
)
def test_an_average_of_epochs_that_are_not_saved_is_refused(tmp_path, options, message):
    save(tmp_path, 3, 9, 10)
    with input_error(message):
        average_run(tmp_path, **options)


def test_an_average_refuses_to_choose_epochs_by_the_options_ids_as_well_as_last(tmp_path):
    with input_error("`ids` and `last` both choose"):
        average_run(tmp_path, [3], last=2)


def test_an_average_of_checkpoints_that_have_changed_is_replaced(tmp_path):
    """Here the changed checkpoint is older than the average, as a copy that keeps its time may be."""
    save(tmp_path, 1, 2)
    target = average_run(tmp_path, [1, 2]).path
    save_state_dict({"w": torch.tensor([4.0])}, tmp_path / "epoch_2.pth")
    os.utime(tmp_path / "epoch_2.pth", (0, 0))
    assert average_run(tmp_path, [1, 2]).earlier == "replaced"
    assert weight_in(target) == 2.5


def test_a_damaged_average_is_replaced(tmp_path):
    save(tmp_path, 1, 2)
    target = average_run(tmp_path, [1, 2]).path
    target.write_bytes(target.read_bytes()[:-100])
    average_run(tmp_path, [1, 2])
    assert weight_in(target) == 1.5


@pytest.fixture
def average(tmp_path, capsys):
    """A function that runs `nes2net average` on a run of saved epochs, and returns its status and what it prints."""
    values = ((3, 0.3, 0.1), (9, 0.1, 0.4), (10, 0.2, 0.3), (11, 0.05, 0.05))
    rows = [{"epoch": epoch, "val_loss_w_aug": a, "val_loss_wo_aug": b} for epoch, a, b in values]
    write_json(tmp_path / "history.json", rows)
    save(tmp_path, 3, 9, 10)  # epoch 11, the best, was not kept

    def run(*options):
        status = main(["average", str(tmp_path), *options])
        message = capsys.readouterr()
        return status, message.out + message.err

    return run


def test_the_best_saved_epochs_by_a_value_of_the_history_are_averaged(average, tmp_path):
    average("--best", "2", "--by", "val_loss_w_aug")
    assert weight_in(tmp_path / "Averaged_Model_IDs_9_10.pth") == 9.5


@pytest.mark.parametrize("by, noted", [("val_loss_w_aug", True), ("val_loss_wo_aug", False)])
def test_a_note_names_an_epoch_without_a_checkpoint_that_would_be_among_the_best(average, tmp_path, by, noted):
    rows = read_json(tmp_path / "history.json")
    write_json(tmp_path / "history.json", [{**row, "val_loss_wo_aug": row["epoch"] / 100} for row in rows])
    text = average("--best", "2", "--by", by)[1]
    note = f"{tmp_path} has no checkpoint of epoch 11, which would be among the 2 best by {by}: the next best are used"
    assert (note in text) == noted


def test_an_epoch_that_is_named_twice_is_not_averaged(average):
    status, text = average("--ids", "3", "9", "3")
    assert status == 2
    assert "epoch_3.pth: one of these checkpoints is repeated" in text


def test_a_new_average_replaces_the_file_that_the_option_out_names(average, tmp_path):
    out = tmp_path / "mine.pth"
    for first, mean in ((3, 6.0), (10, 9.5)):
        assert average("--ids", str(first), "9", "--out", str(out)) == (0, f"average written to {out}\n")
        assert weight_in(out) == mean


def test_an_average_of_unchanged_epochs_that_exists_is_not_made_again(average, tmp_path):
    average("--ids", "3", "10")
    path = tmp_path / "Averaged_Model_IDs_3_10.pth"
    os.utime(path, (0, 0))
    assert "Averaged_Model_IDs_3_10.pth already holds the average" in average("--ids", "3", "10")[1]
    assert path.stat().st_mtime == 0
