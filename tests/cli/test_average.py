"""`nes2net average` of a run folder without a choice lists what could be chosen, and averages nothing."""

import shlex

import pytest
from builders.files import write_json


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "a run"
    folder.mkdir()
    figures = {"lr": 1e-3, "improved": False, "val_eer_wo_aug": 0.1}
    figures |= {"val_eer_wo_aug_low": 0.05, "val_eer_wo_aug_high": 0.2}
    rows = [{"epoch": n, "loss": 1 / n, "val_loss_wo_aug": abs(n - 4.1), **figures} for n in range(1, 8)]
    write_json(folder / "history.json", rows)
    for epoch in (1, 2, 4, 5, 6, 7):
        (folder / f"epoch_{epoch}.pth").touch()
    return folder


def test_average_without_a_choice_of_epochs_lists_the_choices(folder, command):
    """As commands, below a table."""
    before = sorted(folder.iterdir())
    status, out, err = command(["average", folder])
    assert status == 2
    assert "nothing was averaged" in err
    assert sorted(folder.iterdir()) == before
    lines = out.splitlines()
    choices = ["--best 5", "--last 5", "--best 3", "--last 3"]
    assert lines[-4:] == [f"  nes2net average {shlex.quote(str(folder))} {choice}" for choice in choices]
