"""The picture of a run's losses, error rates and learning rates."""

import pytest

from nes2net.training.curves import plot_curves

HISTORY = [
    {"epoch": 1, "loss": 0.7, "lr": 1e-6, "seconds": 3.0},
    {"epoch": 2, "loss": 0.5, "lr": 1e-6, "val_loss_wo_aug": 0.6, "val_eer_wo_aug": 0.2},
    {"epoch": 3, "loss": 0.4, "lr": 5e-7, "val_loss_w_aug": 0.7, "val_loss_wo_aug": 0.5, "val_eer_w_aug": 0.3}
    | {"val_eer_wo_aug": 0.1, "val_eer_wo_aug_low": 0.05, "val_eer_wo_aug_high": 0.2},
]


def test_curves_that_cannot_be_drawn_are_only_a_warning(tmp_path, capsys):
    (tmp_path / "file").touch()
    plot_curves(HISTORY, tmp_path / "file" / "curves.png")
    plot_curves([{"epoch": "x", "loss": 1.0}, {"epoch": 2, "loss": object()}], tmp_path / "curves.png")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("warning: ")
        assert "curves.png was not drawn" in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def drawn(monkeypatch, tmp_path, capsys):
    """A function that draws a history, or its losses, and returns the figure instead of writing a file."""
    figures = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: figures.append(figure))

    def draw(losses, **options):
        rows = [loss if isinstance(loss, dict) else {"loss": loss, "lr": 1e-6} for loss in losses]
        plot_curves([{"epoch": n, **row} for n, row in enumerate(rows, 1)], tmp_path / "curves.png", **options)
        figures[0].canvas.draw()
        assert capsys.readouterr().err == ""
        return figures[0]

    return draw


def test_the_picture_has_a_curve_of_each_value_in_the_history(drawn):
    losses, eers, rates = drawn(HISTORY, title="0520_a_$run$", saved={1, 3}).axes
    assert len(losses.lines) == 4
    assert len(eers.lines) == 2
    assert len(eers.collections) == len(rates.lines) == 1
    assert rates.figure.get_suptitle() == "0520_a_$run$"
    assert rates.get_yscale() == "linear"
    (marks,) = (line for line in losses.lines if line.get_label() == "saved")
    assert list(marks.get_xdata()) == [1, 3]
    assert list(eers.lines[1].get_ydata()) == [20, 10]


def test_legends_do_not_cover_the_curves(drawn):
    *with_legend, rates = drawn(HISTORY, title="run", saved={1, 3}).axes
    assert rates.get_legend() is None
    for axes in with_legend:
        assert axes.get_legend().get_window_extent().y0 >= axes.bbox.y1


@pytest.mark.parametrize(
    "losses, scale", [([0.7], "log"), ([0.34, 0.3], "log"), ([float("nan"), 0.5], "log"), ([0.5, 0], "linear")]
)
def test_the_axes_of_losses_and_epochs_have_numbers(drawn, losses, scale):
    loss, rate = drawn(losses).axes
    low, high = loss.yaxis.get_view_interval()
    assert loss.get_yscale() == scale
    assert any(low <= tick.get_loc() <= high for tick in loss.yaxis.get_major_ticks())
    assert [n for n in rate.get_xticks() if 0.5 < n < len(losses) + 0.5] == list(range(1, len(losses) + 1))
    drawn([None])
