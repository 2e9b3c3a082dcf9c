"""Progress of a run: the meter of a pass, and advice about workers."""

import io
import os

import pytest

from nes2net.training.progress import Meter, advice


class Clock:
    """Time that passes only when told to."""

    now = 0.0

    def __call__(self):
        return self.now


def passed(clock, waits, works, utterances=12, **options):
    """Run a pass with ``waits[i]`` seconds of waiting and ``works[i]`` of work for batch i."""

    def batches():
        for wait in waits:
            clock.now += wait
            yield wait

    meter = Meter(batches(), total=len(waits), clock=clock, shown=False, **options)
    for _, work in zip(meter, works):
        clock.now += work
        meter.update(utterances, loss=0.5, lr=1e-6)
    return meter


def test_waiting_and_speed_without_the_start_of_the_workers():
    meter = passed(Clock(), waits=[50, 1, 3, 0], works=[100, 7, 5, 4])
    assert meter.wait_share == 4 / 20  # of the last three batches
    assert meter.utterances_per_second == 36 / 20
    assert meter.waited == 4


def test_one_batch_or_none_tells_nothing():
    for batches in ([], [9]):
        meter = passed(Clock(), batches, batches)
        assert (meter.wait_share, meter.utterances_per_second) == (0, 0)


def in_place_of_standard_error(monkeypatch):
    """A terminal of 150 columns."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr("sys.stderr", terminal)
    return terminal


def test_a_pass_that_is_broken_off_closes_its_bar(monkeypatch):
    terminal = in_place_of_standard_error(monkeypatch)
    meter = Meter([1, 2, 3], title="epoch 4 of 9")
    with pytest.raises(KeyboardInterrupt):
        for _ in meter:
            meter.display.bar.refresh()
            assert not meter.display.bar.disable
            raise KeyboardInterrupt
    assert meter.display.bar.disable
    *_, last, cleared, rest = terminal.getvalue().split("\r")
    assert "epoch 4 of 9" in last and not cleared.strip() and rest == ""


@pytest.mark.parametrize("shown", [True, False])
def test_the_bar_shows_everything_on_the_main_process(monkeypatch, shown):
    """It goes on from where the run was: steps 3 to 9 of 10."""
    terminal = in_place_of_standard_error(monkeypatch)
    meter = Meter(range(7), title="epoch 4 of 9", total=10, start=3, shown=shown)
    for _ in meter:
        meter.update(12, loss=0.25, lr=2.5e-7)
        meter.display.bar.refresh()
    text = terminal.getvalue()
    found = ("epoch 4 of 9", "3/10", "10/10", "loss 0.2500", "lr 2.50e-07", " utterances/s", "data wait ", " s left")
    assert all(part in text for part in found) if shown else text == ""
    assert "2/10" not in text


def test_time_left_of_the_whole_run():
    clock = Clock()
    meter = Meter(range(4), title="epoch 1 of 9", clock=clock, shown=False)
    meter.display.later_steps, meter.display.later_seconds = 100, 700.0
    lines = []
    for _ in meter:
        clock.now += 5
        meter.update(12, loss=0.5)
        lines.append(meter.display.line())
    assert lines[0] == "epoch 1 of 9: step 1 of 4, loss 0.5000"
    left = "20 min left (epoch 10 s)"  # 2 + 100 steps of 5 s, and 700 s of validation
    assert lines[1] == f"epoch 1 of 9: step 2 of 4, loss 0.5000, 2.4 utterances/s, data wait 0 %, {left}"


def test_no_bar_where_there_is_no_terminal(capsys):
    meter = Meter(range(3))
    for _ in meter:
        meter.update(1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "share, workers, options, expected",
    [
        (0.2, 1, {}, None),
        (0.9, 1, {"most": 8, "waited": 0.5}, None),
        (0.21, 1, {"most": 8, "waited": 2}, "1 reading process: try `data.num_workers=2`"),
        (0.75, 1, {"most": 8}, "try `data.num_workers=4`"),
        (0.75, 1, {"most": 3}, "try `data.num_workers=3`"),
        (0.5, 4, {"most": 16}, "4 reading processes: try `data.num_workers=8`"),
        (0.3, 0, {"most": 4}, "0 reading processes: try `data.num_workers=1`"),
        (0.75, 0, {"most": 4}, "try `data.num_workers=3`"),
        (1.0, 2, {"most": 4}, "try `data.num_workers=4`"),
        (0.5, 2, {"most": 2}, "the most that can be used: keep decoded audio with `data.cache=DIR`"),
        (0.5, 4, {"most": 0}, "with 0 reading processes, the most that can be used: keep decoded audio"),
        (0.5, 2, {"most": 2, "cached": True}, "the disk or the augmentation is the limit"),
        (0.5, 1, {"most": 2, "cached": True}, "try `data.num_workers=2`"),
    ],
)
def test_advice(share, workers, options, expected):
    said = advice(share, workers, **options)
    assert (said is None) if expected is None else (expected in said and "\n" not in said)


def test_advice_knows_the_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert "try `data.num_workers=6`" in advice(0.9, 3)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert "the most that can be used" in advice(0.9, 3)
