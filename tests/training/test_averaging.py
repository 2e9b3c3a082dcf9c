"""Averages of a run folder: which checkpoints are taken, and what the file is called."""

import hashlib
import json
import os

import pytest
import torch

from nes2net import InputError
from nes2net.checkpoints.state_dict import load_state_dict, read_record, save_state_dict
from nes2net.cli.main import main
from nes2net.training.averaging import average_run
from nes2net.training.selection import best_epochs


@pytest.fixture
def states():
    """Three state dicts of one layer with the integer counter of a batch normalisation."""
    torch.manual_seed(0)
    return [
        {"w": torch.randn(4, 3), "n": torch.tensor(10 * k + 1), "half": torch.randn(3).bfloat16()} for k in range(3)
    ]


def save(states, folder, *epochs, **about):
    for number, state in zip(epochs, states):
        save_state_dict(state, folder / f"epoch_{number}.pth", epoch=number, **about)


def test_averaging_a_run(states, tmp_path):
    about = {"model": {"frontend": "x"}, "recipe": {"seed": 1}}
    save(states, tmp_path, 3, 5, 8, **about, loss=0.5, val_loss_wo_aug=0.1)
    target, checkpoints, earlier = average_run(tmp_path, [3, 8])
    assert target.name == "Averaged_Model_IDs_3_8.pth" and earlier == "absent"
    assert [path.name for path in checkpoints] == ["epoch_3.pth", "epoch_8.pth"]
    average = load_state_dict(target)
    torch.testing.assert_close(average["w"], (states[0]["w"] + states[2]["w"]) / 2)
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in checkpoints]
    made = {"ids": [3, 8], "mode": "mean", "sha256": hashes}
    assert read_record(average) == {**about, "average": made}  # and no epoch and losses, which are the first one's
    legacy = average_run(tmp_path, [3, 8], "legacy").path
    assert legacy.name == "Averaged_Model_IDs_3_8_legacy.pth"
    torch.testing.assert_close(load_state_dict(legacy)["w"], states[2]["w"])  # (2·c2)/2
    written = target.stat().st_mtime_ns
    assert average_run(tmp_path, [3, 8]) == (target, checkpoints, "used")
    assert target.stat().st_mtime_ns == written
    with pytest.raises(InputError, match=r"has no epoch_4\.pth; epochs saved there: 3, 5, 8"):
        average_run(tmp_path, [3, 4])
    with pytest.raises(InputError, match=r"run folder .* not found: `folder` is the one"):
        average_run(tmp_path / "none", [1])
    with pytest.raises(
        InputError, match="name of an average of 80 .* is too long: choose one with `nes2net average … --out"
    ):
        average_run(tmp_path, list(range(80)))


def test_contents_decide_whether_an_average_is_used_again(states, tmp_path):
    """Not times, which a copy keeps, nor the name."""
    save(states, tmp_path, 1, 2)
    target = average_run(tmp_path, [1, 2]).path
    assert average_run(tmp_path, [1, 2]).earlier == "used"

    save_state_dict(states[2], tmp_path / "epoch_2.pth")
    os.utime(tmp_path / "epoch_2.pth", (0, 0))  # as cp -p of an older run
    assert average_run(tmp_path, [1, 2]).earlier == "replaced"
    expected = (states[0]["w"].double() + states[2]["w"].double()) / 2
    assert torch.equal(load_state_dict(target)["w"], expected.float())

    target.write_bytes(target.read_bytes()[:-100])
    assert average_run(tmp_path, [1, 2]).earlier == "replaced"
    save_state_dict(states[0], target, average={"ids": [1, 2], "mode": "mean"})  # of an earlier release
    assert average_run(tmp_path, [1, 2]).earlier == "replaced"
    assert average_run(tmp_path, [1, 2]).earlier == "used"

    (tmp_path / "epoch_2.pth").unlink()
    with pytest.raises(InputError, match=r"has no epoch_2\.pth; .*; Averaged_Model_IDs_1_2\.pth exists, but cannot be"):
        average_run(tmp_path, [1, 2])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
@pytest.mark.parametrize("which", ["files", "run folder"])
def test_an_output_that_is_no_file_is_refused_before_the_work(states, tmp_path, which, capsys):
    save_state_dict(states[0], tmp_path / "epoch_1.pth")
    os.mkfifo(tmp_path / "pipe")
    sources = [str(tmp_path / "epoch_1.pth")] if which == "files" else [str(tmp_path), "--ids", "1"]
    for out in ("pipe", "."):
        assert main(["average", *sources, "--out", str(tmp_path / out)]) == 2
        assert "name a file" in capsys.readouterr().err
    assert main(["average", *sources, "--out", str(tmp_path / "new" / "mean.pth")]) == 0


def test_the_last_epochs_of_a_run(states, tmp_path):
    save(states, tmp_path, 3, 9, 10)
    target = average_run(tmp_path, last=2).path
    assert target.name == "Averaged_Model_IDs_9_10.pth"
    weighted = average_run(tmp_path, last=2, weights=[0.25, 1]).path
    assert weighted.name == "Averaged_Model_IDs_9_10_weighted_0.25_1.pth"
    made = read_record(load_state_dict(weighted))["average"]
    assert made.pop("sha256") and made == {"ids": [9, 10], "mode": "mean", "weights": [0.25, 1]}
    for last in (0, 4, -1):
        with pytest.raises(InputError, match=r"has 3 epochs saved \(3, 9, 10\), not"):
            average_run(tmp_path, last=last)
    with pytest.raises(InputError, match="name epochs"):
        average_run(tmp_path)
    with pytest.raises(InputError, match=r"need checkpoints of this package and their recipe\.yaml"):
        average_run(tmp_path, last=2, batch_norm_batches=1)


def test_the_best_epochs_of_a_run(states, tmp_path, capsys):
    """They go by a value of the history; the file has the published name, with ascending ids."""
    history = [
        {"epoch": epoch, "loss": 1.0, "val_loss_w_aug": a, "val_loss_wo_aug": b}
        for epoch, a, b in ((3, 0.3, 0.1), (9, 0.1, 0.4), (10, 0.2, 0.3), (11, 0.05, 0.05))
    ]
    (tmp_path / "history.json").write_text(json.dumps(history))
    save(states, tmp_path, 3, 9, 10)  # epoch 11, the best, was not kept
    target = average_run(tmp_path, best_epochs(tmp_path, 2, "val_loss_wo_aug")).path
    assert target.name == "Averaged_Model_IDs_3_10.pth"  # by val_loss_wo_aug
    assert average_run(tmp_path, best_epochs(tmp_path, 2, "val_loss_w_aug")).path.name == "Averaged_Model_IDs_9_10.pth"
    with pytest.raises(InputError, match="both ids and last"):
        average_run(tmp_path, [3], last=2)

    run = ["average", str(tmp_path)]
    assert main([*run, "--best", "2", "--by", "val_loss_w_aug", "--weights", "1", "3"]) == 0
    assert "Averaged_Model_IDs_9_10_weighted_1_3.pth" in capsys.readouterr().out
    out = tmp_path / "mine.pth"
    assert main([*run, "--ids", "3", "9", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"average written to {out}\n"
    assert not (tmp_path / "Averaged_Model_IDs_3_9.pth").exists()
    torch.testing.assert_close(load_state_dict(out)["w"], (states[0]["w"] + states[1]["w"]) / 2)
    assert main([*run, "--ids", "9", "10", "--out", str(out)]) == 0  # whatever is there
    torch.testing.assert_close(load_state_dict(out)["w"], (states[1]["w"] + states[2]["w"]) / 2)
    assert main([*run, "--ids", "3", "9"]) == main([*run, "--ids", "3", "9"]) == 0
    assert "Averaged_Model_IDs_3_9.pth is there already" in capsys.readouterr().out
    assert main([*run, "--best", "4"]) == 2
    assert "has checkpoints of 3 epochs with val_loss_wo_aug (3, 9, 10), not of 4" in capsys.readouterr().err
    assert main([*run, "--last", "2", "--by", "val_loss_w_aug"]) == 2
    assert "--by goes with --best" in capsys.readouterr().err
    for other in (["--last", "2"], ["--ids", "3", "9"]):
        assert main([*run, "--best", "2", *other]) == 2
        assert "argument --best: not allowed with argument" in capsys.readouterr().err
