"""The picture of a run's losses, error rates and learning rates."""

import pytest

from nes2net.training.curves import plot_curves

HISTORY = [
    {"epoch": 1, "loss": 0.7, "lr": 1e-6, "seconds": 3.0},
    {"epoch": 2, "loss": 0.5, "lr": 1e-6, "val_loss_wo_aug": 0.6, "val_eer_wo_aug": 0.2},
    {
        "epoch": 3, "loss": 0.4, "lr": 5e-7, "val_loss_w_aug": 0.7, "val_loss_wo_aug": 0.5, "val_eer_w_aug": 0.3,
        "val_eer_wo_aug": 0.1, "val_eer_wo_aug_low": 0.05, "val_eer_wo_aug_high": 0.2,
    },
]  # fmt: skip


@pytest.mark.parametrize("epochs, panels", [(1, 2), (2, 3), (3, 3)])
def test_curves_of_what_there_is(tmp_path, capsys, epochs, panels):
    from matplotlib.image import imread

    plot_curves(HISTORY[:epochs], tmp_path / "curves.png")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"] and capsys.readouterr().err == ""
    image = imread(tmp_path / "curves.png")
    assert image.shape[0] == pytest.approx(panels * 312, abs=2) and image.min() < 0.1


def test_curves_that_cannot_be_drawn_end_nothing(tmp_path, capsys):
    (tmp_path / "file").touch()
    plot_curves(HISTORY, tmp_path / "file" / "curves.png")
    plot_curves([{"epoch": "x", "loss": 1.0}, {"epoch": 2, "loss": object()}], tmp_path / "curves.png")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(
        line.startswith("warning: ") and "curves.png was not drawn" in line for line in lines
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
