"""Selection: improved epochs, early stopping, checkpoints to keep, table, averages."""

import pytest
from builders.runs import history_of

from nes2net.cli.main import main
from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.run import train
from nes2net.training.selection import Selection, best_epochs, choices, saved_epochs
from nes2net.training.validation import passes


def make(folder="run", *, algo=4, **sections):
    recipe = recipe_from_dict({"augment": {"algo": algo}, **sections})
    return Selection(folder, recipe.train, recipe.validation, passes(recipe.augment, recipe.validation))


def losses(with_augmentation, without):
    rates = {"val_eer_w_aug": 0.2, "val_eer_wo_aug": 0.1, "val_eer_wo_aug_low": 0.05, "val_eer_wo_aug_high": 0.15}
    values = {"loss": 1.0, "lr": 2.5e-7, "val_loss_w_aug": with_augmentation, "val_loss_wo_aug": without}
    return {**values, **rates, "val_min_dcf_wo_aug": 0.5}


#: (with, without) after each epoch; None where there was no validation.
PAIRS = [(5.0, 5.0), (4.0, 6.0), None, (6.0, 6.0), (4.0, 7.0), (7.0, 4.0), (6.0, 6.0), (3.0, 3.0)]


def update(selection, pair):
    values = losses(*pair) if pair else {"loss": 1.0, "lr": 1e-6}
    return selection.update(len(selection.history) + 1, values)


def run(selection, pairs=PAIRS):
    """Feed ``pairs`` of losses and return the improved epochs."""
    return [epoch for epoch, pair in enumerate(pairs, 1) if update(selection, pair)]


def with_checkpoints(folder, *epochs):
    for epoch in epochs:
        (folder / f"epoch_{epoch}.pth").touch()


def test_an_epoch_is_improved_as_published():
    """An epoch is improved if either loss is at most the best so far, never without validation."""
    assert run(make()) == [1, 2, 5, 6, 8]
    assert make().measures == ["val_loss_w_aug", "val_loss_wo_aug"]
    assert make(algo=0).measures == make(validation={"augmented": False}).measures == ["val_loss_wo_aug"]
    for rate in ("eer", "min_dcf"):  # of the clean pass
        selection, seen = make(validation={"select_on": rate}), []
        for epoch, value in enumerate([0.3, 0.2, 0.2, 0.25, 0.1], 1):
            rates = {f"val_{rate}_wo_aug": value, f"val_{rate}_w_aug": 1 - value}
            seen.append(selection.update(epoch, losses(1.0, 1.0 - epoch / 10) | rates))
        assert seen == [True, True, True, False, True]


def test_selection_on_the_training_loss_needs_no_validation():
    selection = make(validation={"select_on": "train_loss", "patience": 2, "epochs": "all"})
    seen = []
    for epoch, loss in enumerate([0.5, 0.4, 0.45, 0.3, 0.3, 0.31], 1):
        values = losses(1.0, 1.0) if epoch == 1 else {"lr": 1e-6}
        seen.append((selection.update(epoch, {**values, "loss": loss}), selection.is_done))
    assert seen == [(True, False), (True, False), (False, False), (True, False), (True, False), (False, True)]
    assert selection.kept_epochs() == {1, 2, 4, 5}
    table = selection.table()
    assert "0.300000*" in table and table.count("*") == 1 and "to average 3 by loss: epochs 2 4 5" in table


def test_patience_counts_validations_without_a_lower_value():
    for values, patience, stops_after in (
        ([5, 4, 4, 4], 2, 4),  # an equal one is no better one
        ([5, None, None, None, 6, 5], 2, 6),
        ([5, 6, 4, 5, 3, 4, 4], 2, 7),
        ([5, 5, 5], None, None),
        ([(5, 5), (6, 6), (6, 4), (5, 5), (5, 5)], 2, 5),  # either loss
    ):
        selection, seen = make(algo=4 if type(values[0]) is tuple else 0, validation={"patience": patience}), []
        for value in values:
            update(selection, (0, value) if type(value) is int else value)
            seen.append(selection.is_done)
        assert seen == [epoch == stops_after for epoch in range(1, len(values) + 1)], values


@pytest.mark.parametrize(
    "keep, expected",  # of two by each loss and of equal ones the earlier
    [("improved", [1, 2, 5, 6, 8]), ("all", range(1, 9)), ("last", [8]), ("best", [8]), ("last,best,2", [2, 6, 8])],
)
def test_a_keep_policy_decides_which_epochs_stay(keep, expected, tmp_path):
    """Epochs are saved when they are to be kept; the whole run decides which stay."""
    selection = make(tmp_path, train={"keep": keep})
    for epoch, pair in enumerate(PAIRS, 1):
        update(selection, pair)
        if epoch in selection.kept_epochs():
            with_checkpoints(tmp_path, epoch)
        for file in selection.files_to_remove():
            file.unlink()
    with_checkpoints(tmp_path, 99)  # of no epoch of this run: not ours to remove
    assert selection.files_to_remove() == []
    assert saved_epochs(tmp_path) == [*expected, 99]


def test_a_run_ends_early_keeps_what_it_should_and_is_averaged(recipe, capsys):
    """A run is trained, then averaged by the command that its table names."""
    validation = {"select_on": "min_dcf", "patience": 2}
    folder = train(recipe(train={"epochs": 12, "batch_size": 6, "keep": "last,3"}, validation=validation), "cpu")
    minima = [row["val_min_dcf_wo_aug"] for row in history_of(folder)]
    assert len(minima) < 12 and min(minima[-2:]) >= min(minima[:-2])
    lowest = sorted(range(1, len(minima) + 1), key=lambda epoch: (minima[epoch - 1], epoch))[:3]
    assert saved_epochs(folder) == sorted({*lowest, len(minima)})
    (line,) = (s for s in capsys.readouterr().out.splitlines() if "average 3 by val_min_dcf_wo_aug" in s)
    assert main(line.partition(": nes2net ")[2].split()) == 0
    assert (folder / f"Averaged_Model_IDs_{'_'.join(map(str, sorted(lowest)))}.pth").is_file()


@pytest.mark.parametrize(
    "select_on, over, improved, best",
    [("eer", "mean", [1, 2], 2), ("min_dcf", "worst", [1, 3], 3), ("eer", "pooled", [1, 2, 3], 1)],
)
def test_the_best_epoch_is_that_of_the_mean_or_of_the_worst_corpus(tmp_path, select_on, over, improved, best):
    """On the mean the second epoch is the best, on the worst the third, and the pooled EER stays."""
    corpora = [{"name": "generic", "alias": alias} for alias in ("la", "w_low")]
    validation = {"select_on": select_on, "over": over, "patience": 1}
    selection, seen = make(tmp_path, data={"corpora": corpora}, validation=validation), []
    for epoch, (la, wild) in enumerate([(0.2, 0.3), (0.05, 0.31), (0.27, 0.25)], 1):
        values = {"val_eer_wo_aug/la": la, "val_eer_wo_aug/w_low": wild, "val_eer_wo_aug/la/A07": la + 0.1}
        for rate in ("eer", "min_dcf"):
            values |= {f"val_{rate}_wo_aug_mean": (la + wild) / 2, f"val_{rate}_wo_aug_worst": max(la, wild)}
        seen.append(selection.update(epoch, losses(1.0, 1.0) | values))
    assert [epoch for epoch, better in enumerate(seen, 1) if better] == improved
    assert selection.is_done == (over != "worst")
    table = selection.table().splitlines()
    columns = "la % w_low % EER_mean % EER_worst % minDCF_wo_aug minDCF_mean minDCF_worst lr".split()
    assert table[0].split()[-12:] == columns
    assert "la/A07" not in table[0] and "20.000" in table[1] and "0.18000" in table[2]
    assert selection.corpora_table().splitlines()[0] == f"development corpora after epoch {best}:"
    assert any(line.startswith("worst group (la/A07)") for line in selection.corpora_table().splitlines())
    selection.write_history()
    with_checkpoints(tmp_path, 1, 2, 3)
    assert [best_epochs(tmp_path, 1, by) for by in ("val_eer_wo_aug_worst", "val_eer_wo_aug/w_low")] == [[3], [3]]
    assert "w_low %" in choices(tmp_path, "val_eer_wo_aug_mean")[1][0]
