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


@pytest.mark.parametrize("epochs, panels", [(1, 2), (3, 3)])
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
    assert len(lines) == 2 and all(line.startswith("warning: ") for line in lines)
    assert all("curves.png was not drawn" in line for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A function that draws a history, and returns the figure instead of writing a file."""
    figures = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: figures.append(figure))

    def draw(losses, **options):
        history = [{"epoch": n, "loss": loss, "lr": 1e-6} for n, loss in enumerate(losses, 1)]
        plot_curves(history, tmp_path / "curves.png", **options)
        figures[0].canvas.draw()
        return figures[0]

    return draw


def labels(axis):
    """The numbers at the major ticks that are inside of the axis."""
    low, high = axis.get_view_interval()
    texts = [t.label1.get_text() for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
    return [text for text in texts if text]


def test_the_loss_is_logarithmic_and_epochs_are_whole_numbers(drawn):
    figure = drawn([0.7 * 0.5**n for n in range(1, 101)], title="0520_a_$run$", saved={3, 100})
    loss, rate = figure.axes
    assert (loss.get_yscale(), rate.get_yscale()) == ("log", "linear")
    assert figure.get_suptitle() == "0520_a_$run$"
    (marks,) = (line for line in loss.lines if line.get_label() == "saved")
    assert list(marks.get_xdata()) == [3, 100]
    numbers = labels(rate.xaxis)
    assert len(numbers) >= 5 and all(number.isdecimal() for number in numbers)


@pytest.mark.parametrize("losses, least", [([0.7], 1), ([0.34, 0.30], 3), ([0.9, 0.2], 3), ([0.7, 0.001], 3)])
def test_the_axis_of_the_loss_has_numbers(drawn, losses, least):
    loss, rate = drawn(losses).axes
    assert loss.get_yscale() == "log" and len([float(text) for text in labels(loss.yaxis)]) >= least
    assert labels(rate.xaxis) == [str(n) for n in range(1, len(losses) + 1)]


@pytest.mark.parametrize("losses, scale", [([float("nan"), 0.5], "log"), ([0.5, 0.0], "linear"), ([None], "linear")])
def test_losses_that_are_no_positive_numbers(drawn, losses, scale, capsys):
    assert drawn(losses).axes[0].get_yscale() == scale
    assert capsys.readouterr().err == ""
