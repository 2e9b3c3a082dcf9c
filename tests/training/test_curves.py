"""The picture of a run's losses, error rates and learning rates."""

from nes2net.training.curves import plot_curves

HISTORY = [
    {"epoch": 1, "loss": 0.7, "lr": 1e-6, "seconds": 3.0},
    {"epoch": 2, "loss": 0.5, "lr": 1e-6, "val_loss_wo_aug": 0.6, "val_eer_wo_aug": 0.2},
    {"epoch": 3, "loss": 0.4, "lr": 5e-7, "val_loss_w_aug": 0.7, "val_loss_wo_aug": 0.5, "val_eer_w_aug": 0.3}
    | {"val_eer_wo_aug": 0.1, "val_eer_wo_aug_low": 0.05, "val_eer_wo_aug_high": 0.2},
]


def test_curves_of_a_run_that_cannot_be_written_or_drawn_are_only_a_warning(tmp_path, capsys):
    (tmp_path / "file").touch()
    plot_curves(HISTORY, tmp_path / "file" / "curves.png")
    plot_curves([{"epoch": "x", "loss": 1.0}, {"epoch": 2, "loss": object()}], tmp_path / "curves.png")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("warning: ")
        assert "curves.png was not drawn" in line


def test_the_curves_of_a_run_have_the_losses_the_eers_and_the_learning_rate_of_its_history(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: figures.append(figure))
    plot_curves(HISTORY, tmp_path / "curves.png")
    drawn = [[list(line.get_ydata()) for line in axis.lines] for axis in figures[0].axes]
    losses = [[0.7, 0.5, 0.4], [0.7], [0.6, 0.5]]
    assert drawn == [losses, [[30], [20, 10]], [[1e-6, 1e-6, 5e-7]]]
