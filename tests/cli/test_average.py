"""`nes2net average` of a run folder without a choice averages nothing."""

import shlex


def test_average_without_a_choice_of_epochs_says_how_to_choose_and_averages_nothing(tmp_path, refused):
    folder = tmp_path / "a run"
    folder.mkdir()
    (folder / "epoch_1.pth").touch()
    message = (
        f"choose epochs of the run with --best K, --last K or --ids N …; nes2net info {shlex.quote(str(folder))} lists"
    )
    refused(["average", folder], message)
    assert [path.name for path in folder.iterdir()] == ["epoch_1.pth"]
