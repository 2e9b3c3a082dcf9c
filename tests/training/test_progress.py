"""Progress of a run: the meter of a pass, and advice about workers."""

import os

import pytest

from nes2net.lib.progress import ProgressDisplay
from nes2net.training.progress import Meter, advice


class Clock:
    """Time that passes only when told to."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    "waits, works, measured",
    [([50, 1, 3, 0], [100, 7, 5, 4], (4 / 20, 36 / 20, 4)), ([9], [9], (0, 0, 0)), ([], [], (0, 0, 0))],
)
def test_waiting_and_speed_are_measured_without_the_start_of_the_workers(waits, works, measured):
    """They are those of the last three of four batches."""
    clock = Clock()

    def batches():
        for wait in waits:
            clock.now += wait
            yield wait

    meter = Meter(batches(), ProgressDisplay(title="", unit="step", clock=clock, shown=False))
    for _, work in zip(meter, works):
        clock.now += work
        meter.update(12, loss=0.5, lr=1e-6)
    assert (meter.wait_share, meter.utterances_per_second, meter.waited) == measured


def test_the_line_shows_the_figures_and_the_time_left_of_the_whole_run():
    """Of a resumed epoch."""
    clock = Clock()
    display = ProgressDisplay(title="epoch 1 of 9", unit="step", total=4, start=1, clock=clock, shown=False)
    meter = Meter(range(3), display)
    meter.display.later_steps = 100
    meter.display.later_seconds = 700.0
    lines = []
    for _ in meter:
        clock.now += 5
        meter.update(12, loss=0.5, lr=2.5e-7)
        lines.append(meter.display.line())
    assert lines[0] == "epoch 1 of 9: step 2 of 4, loss 0.5000, lr 2.50e-07"
    remaining = "20 min left (epoch 5 s)"  # 1 + 100 steps of 5 s, and 700 s of validation
    figures = "loss 0.5000, 2.4 utterances/s, data wait 0 %, lr 2.50e-07"
    assert lines[1] == f"epoch 1 of 9: step 3 of 4, {figures}, {remaining}"


@pytest.mark.parametrize(
    "share, workers, options, expected",
    [
        (0.21, 1, {"most": 8, "waited": 1}, "1 worker: try `data.num_workers=2`"),
        (0.75, 0, {"most": 4}, "0 workers: try `data.num_workers=1`"),
        (1.0, 2, {"most": 4}, "try `data.num_workers=4`"),
        (0.5, 4, {"most": 0}, "with 0 workers, the most that can be used: keep decoded audio with"),
        (0.5, 2, {"most": 2, "cached": True}, "the disk or the augmentation is the limit"),
        (0.9, 3, {}, "try `data.num_workers=6`"),
    ],
)
def test_advice_follows_the_share_of_waiting(monkeypatch, share, workers, options, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    message = advice(share, workers, **options)
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize("share, options", [(0.2, {}), (0.9, {"most": 8, "waited": 0.5})])
def test_little_waiting_needs_no_advice(share, options):
    assert advice(share, 1, **options) is None
