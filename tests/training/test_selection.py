"""Selection: improved epochs, ties, early stopping, checkpoints to keep, table, averages."""

import pytest
from builders.runs import history_of

from nes2net.training.recipes.recipe import recipe_from_dict
from nes2net.training.run import train
from nes2net.training.selection import Selection, best_epochs, choices, saved_epochs
from nes2net.training.validation import passes


def make(folder="run", *, algo=4, **sections):
    recipe = recipe_from_dict({"augment": {"algo": algo}, **sections})
    names = passes(recipe.augment, recipe.validation)
    return Selection(folder, recipe.train, recipe.validation, names)


def losses(with_augmentation, without):
    return {
        "loss": 1.0,
        "lr": 2.5e-7,
        "val_loss_w_aug": with_augmentation,
        "val_loss_wo_aug": without,
        "val_eer_w_aug": 0.2,
        "val_eer_wo_aug": 0.1,
        "val_eer_wo_aug_low": 0.05,
        "val_eer_wo_aug_high": 0.15,
        "val_min_dcf_wo_aug": 0.5,
    }


def pairs_of(text):
    """Read the losses with and without augmentation after each epoch; "–" where there was no validation."""
    pairs = []
    for words in text.split(","):
        if words.strip() == "–":
            pairs.append(None)
        else:
            pairs.append(tuple(float(word) for word in words.split()))
    return pairs


PAIRS = pairs_of("5 5, 4 6, 6 6, 7 4, 6 6, 3 3")


def update(selection, pair):
    values = {"loss": 1.0, "lr": 1e-6} if pair is None else losses(*pair)
    return selection.update(len(selection.history) + 1, values)


def improved_epochs(selection, pairs):
    """Feed ``pairs`` of losses and return the improved epochs."""
    return [epoch for epoch, pair in enumerate(pairs, 1) if update(selection, pair)]


def with_checkpoints(folder, *epochs):
    for epoch in epochs:
        (folder / f"epoch_{epoch}.pth").touch()


def write_run(selection, recipe):
    """Write the history, a recipe, and an empty checkpoint of each epoch."""
    selection.write_history()
    (selection.folder / "recipe.yaml").write_text(recipe)
    with_checkpoints(selection.folder, *range(1, len(selection.history) + 1))


def test_by_default_the_development_losses_with_and_without_augmentation_select_epochs():
    assert make().ranking_keys == ["val_loss_w_aug", "val_loss_wo_aug"]


@pytest.mark.parametrize("settings", [{"algo": 0}, {"validation": {"augmented": False}}])
def test_epochs_without_an_augmented_validation_are_selected_by_the_loss_without_augmentation(settings):
    assert make(**settings).ranking_keys == ["val_loss_wo_aug"]


def test_an_epoch_counts_as_improved_if_its_loss_with_or_without_augmentation_is_the_lowest_so_far():
    assert improved_epochs(make(), PAIRS) == [1, 2, 4, 6]


@pytest.mark.parametrize("ties, improved", [("last", [1, 2]), ("first", [1])])
def test_an_epoch_whose_loss_equals_the_lowest_so_far_counts_as_improved_only_with_ties_last(ties, improved):
    """As published."""
    assert improved_epochs(make(validation={"ties": ties}), [(5, 5), (5, 6)]) == improved


def test_an_epoch_without_validation_does_not_count_as_improved():
    assert improved_epochs(make(), [(5, 5), None]) == [1]


@pytest.mark.parametrize("rate", ["eer", "min_dcf"])
def test_an_epoch_counts_as_improved_by_the_unaugmented_rate_that_select_on_names(rate):
    selection = make(validation={"select_on": rate})
    improved = []
    for epoch, value in enumerate([0.3, 0.2, 0.25, 0.1], 1):
        values = losses(1.0, 1.0 - epoch / 10)
        values[f"val_{rate}_wo_aug"] = value
        values[f"val_{rate}_w_aug"] = 1 - value
        if selection.update(epoch, values):
            improved.append(epoch)
    assert improved == [1, 2, 4]


@pytest.mark.parametrize("ties, best", [("last", 4), ("first", 2)])
def test_the_best_of_equal_epochs_is_the_first_or_the_last_by_ties_of_the_recipe(tmp_path, ties, best):
    """The epoch whose checkpoint stays, that the model card describes, and that is found after training."""
    selection = make(tmp_path, algo=0, train={"keep": "best"}, validation={"ties": ties})
    improved_epochs(selection, pairs_of("0 5, 0 4, 0 6, 0 4"))
    assert selection.kept_epochs() == {best}
    assert selection.described_checkpoint() == f"epoch_{best}.pth"
    write_run(selection, f"validation: {{ties: {ties}}}")
    assert best_epochs(tmp_path, 1, "val_loss_wo_aug") == [best]


@pytest.mark.parametrize("ties, expected", [("last", [2, 3, 4]), ("first", [1, 2, 3])])
def test_an_average_of_three_of_four_equal_epochs_has_the_first_or_the_last_by_ties_of_the_recipe(
    tmp_path, ties, expected
):
    """The average is one of those offered after training."""
    selection = make(tmp_path, algo=0)
    improved_epochs(selection, [(0, 4.0)] * 4)
    write_run(selection, f"validation: {{ties: {ties}}}")
    offered, _ = choices(tmp_path)
    assert offered[2].epochs == expected


def test_the_later_of_equal_epochs_is_preferred_with_a_note_in_a_run_folder_without_a_recipe(tmp_path, capsys):
    selection = make(tmp_path, algo=0)
    improved_epochs(selection, [(0, 4.0)] * 2)
    selection.write_history()
    with_checkpoints(tmp_path, 1, 2)
    assert best_epochs(tmp_path, 1, "val_loss_wo_aug") == [2]
    assert "has no recipe.yaml, so later epochs are preferred" in capsys.readouterr().err


def test_an_epoch_counts_as_improved_by_the_training_loss_if_select_on_names_it():
    selection = make(validation={"select_on": "train_loss"})
    are_improved = [selection.update(epoch, {"loss": loss}) for epoch, loss in enumerate([0.5, 0.4, 0.45, 0.3])]
    assert are_improved == [True, True, False, True]


def test_a_run_is_done_after_patience_epochs_without_a_lower_training_loss_if_select_on_names_it():
    selection = make(validation={"select_on": "train_loss", "patience": 2})
    are_done = []
    for epoch, loss in enumerate([0.5, 0.4, 0.45, 0.42]):
        selection.update(epoch, {"loss": loss})
        are_done.append(selection.is_done)
    assert are_done == [False, False, False, True]


@pytest.mark.parametrize(
    "algo, pairs, patience, stops_after",
    [
        (0, "0 5, 0 4, 0 4, 0 4", 2, 4),  # an equal one is no better one
        (0, "0 5, –, –, –, 0 6, 0 5", 2, 6),
        (0, "0 5, 0 6, 0 4, 0 5, 0 3, 0 4, 0 4", 2, 7),
        (4, "5 5, 6 6, 6 4, 5 5, 5 5", 2, 5),  # either loss
    ],
)
def test_a_run_is_done_after_patience_validations_in_a_row_without_a_new_lowest_loss(
    algo, pairs, patience, stops_after
):
    selection = make(algo=algo, validation={"patience": patience})
    for epoch, pair in enumerate(pairs_of(pairs), 1):
        update(selection, pair)
        assert selection.is_done == (epoch == stops_after)


@pytest.mark.parametrize(
    "keep, expected",  # the two best by each loss
    [("improved", [1, 2, 4, 6]), ("all", range(1, 7)), ("last", [6]), ("best", [6]), ("last,best,2", [2, 4, 6])],
)
def test_only_checkpoints_that_the_setting_keep_names_stay_in_the_run_folder(keep, expected, tmp_path):
    selection = make(tmp_path, train={"keep": keep})
    for epoch, pair in enumerate(PAIRS, 1):
        update(selection, pair)
        if epoch in selection.kept_epochs():
            with_checkpoints(tmp_path, epoch)
        selection.remove_files()
    assert saved_epochs(tmp_path) == [*expected]


def test_a_checkpoint_of_an_epoch_that_the_run_has_not_reached_is_not_removed(tmp_path):
    selection = make(tmp_path, train={"keep": "last"})
    improved_epochs(selection, PAIRS)
    with_checkpoints(tmp_path, 6, 99)
    selection.remove_files()
    assert saved_epochs(tmp_path) == [6, 99]


def test_a_run_ends_when_its_patience_is_over(recipe):
    settings = {"epochs": 12, "batch_size": 6}
    folder = train(recipe(train=settings, validation={"select_on": "min_dcf", "patience": 2}), "cpu")
    minima = [row["val_min_dcf_wo_aug"] for row in history_of(folder)]
    assert len(minima) < 12
    assert min(minima[-2:]) >= min(minima[:-2])


def rates_of_corpora(la, wild):
    """The rates of two development corpora, their mean and the worst."""
    values = {"val_eer_wo_aug/la": la, "val_eer_wo_aug/w_low": wild, "val_eer_wo_aug/la/A07": la + 0.1}
    for rate in ("eer", "min_dcf"):
        values[f"val_{rate}_wo_aug_mean"] = (la + wild) / 2
        values[f"val_{rate}_wo_aug_worst"] = max(la, wild)
    return values


@pytest.mark.parametrize(
    "select_on, over, improved", [("eer", "mean", [1, 2]), ("min_dcf", "worst", [1, 3]), ("eer", "pooled", [1, 2, 3])]
)
def test_an_epoch_counts_as_improved_by_the_rate_over_corpora_that_select_on_and_over_name(
    tmp_path, select_on, over, improved
):
    selection = over_two_corpora(tmp_path, select_on, over)
    improved_epochs = [row["epoch"] for row in selection.history if row["improved"]]
    assert improved_epochs == improved


def over_two_corpora(folder, select_on, over):
    """The selection after three epochs with the rates of two corpora."""
    corpora = [{"name": "generic", "alias": alias} for alias in ("la", "w_low")]
    validation = {"select_on": select_on, "over": over, "patience": 1}
    selection = make(folder, data={"corpora": corpora}, validation=validation)
    for epoch, (la, wild) in enumerate([(0.2, 0.3), (0.05, 0.31), (0.27, 0.25)], 1):
        values = losses(1.0, 1.0)
        values.update(rates_of_corpora(la, wild))
        selection.update(epoch, values)
    return selection


def test_epochs_can_be_ranked_by_the_rate_of_one_corpus_or_of_the_worst_corpus(tmp_path):
    selection = over_two_corpora(tmp_path, "eer", "mean")
    write_run(selection, "")
    for key in ("val_eer_wo_aug_worst", "val_eer_wo_aug/w_low"):
        assert best_epochs(tmp_path, 1, key) == [3]
