"""Progress: lines without a terminal, and a bar that fits its terminal."""

import io
import re
import sys

from builders import input_error

from nes2net.lib.errors import settings_called
from nes2net.lib.progress import LOGGER, SECONDS, ProgressDisplay


class Clock:
    """Time that passes only when told to."""

    now = 0.0

    def __call__(self):
        return self.now


def lines_of(capsys, seconds, monkeypatch):
    """Lines of a pass of 30 steps of 5 seconds each."""
    monkeypatch.setenv(SECONDS, seconds)
    clock = Clock()
    display = ProgressDisplay(range(30), title="scoring", unit="file", clock=clock)
    for _ in display:
        clock.now += 5.0
        display.facts = ["0.2 files/s"]
    return capsys.readouterr().err.splitlines()


def test_progress_is_printed_as_lines_without_a_terminal(capsys, caplog, monkeypatch):
    """The first one after ten seconds, then one a minute; the logger gets the same."""
    monkeypatch.setattr(LOGGER, "propagate", True)
    with caplog.at_level("INFO", LOGGER.name):
        lines = lines_of(capsys, "", monkeypatch)
    assert caplog.messages == [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines]
    assert caplog.messages == [
        "scoring: file 2 of 30, 0.2 files/s, 2 min left",
        "scoring: file 14 of 30, 0.2 files/s, 1 min left",
        "scoring: file 26 of 30, 0.2 files/s, 20 s left",
    ]
    for line in lines:
        assert re.match(r"\d\d:\d\d:\d\d ", line)


def test_the_interval_of_progress_lines_can_be_set(capsys, monkeypatch):
    assert [len(lines_of(capsys, seconds, monkeypatch)) for seconds in ("5", "1e9", "0")] == [30, 1, 0]


def test_an_interval_that_is_no_number_of_seconds_is_refused(monkeypatch):
    for seconds in ("-1", "nan", "a minute"):
        monkeypatch.setenv(SECONDS, seconds)
        with input_error(f"{SECONDS} must be a number of seconds, 0 for no lines, not '{seconds}'"):
            ProgressDisplay(title="scoring", unit="file")


def test_a_closed_pipe_does_not_end_the_program(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setenv(SECONDS, "1e-9")
    assert list(ProgressDisplay(range(3), title="scoring", unit="file")) == [0, 1, 2]


def test_the_time_left_is_estimated_from_the_speed():
    clock = Clock()
    display = ProgressDisplay(title="epoch 3 of 12", unit="step", total=10, start=4, shown=False, clock=clock)
    display.later_steps = 90
    display.later_seconds = 1800.0
    display.update()
    assert display.line() == "epoch 3 of 12: step 5 of 10"  # the speed is not known yet
    clock.now = 60.0
    display.update()
    assert display.line() == "epoch 3 of 12: step 6 of 10, 2 h 4 min left (epoch 4 min)"


def test_long_work_is_announced_after_its_first_step(capsys, monkeypatch):
    """The advice names flags of the program; work of at most ten seconds is not announced."""
    monkeypatch.setenv(SECONDS, "1e9")
    announced = "explaining a.wav: about 1 min for 252 versions"
    for seconds, advice, lines in (
        (0.3, "fewer `draws` take less", [f"{announced}; fewer --draws take less"]),
        (0.3, "", [announced]),
        (0.3, None, []),
        (0.01, "", []),
    ):
        clock = Clock()
        with settings_called({"draws": "--draws"}):
            display = ProgressDisplay(title="explaining a.wav", unit="version", advice=advice, clock=clock)
            display.total = 252
            for _ in range(3):
                clock.now += seconds
                display.update()
        written = capsys.readouterr().err.splitlines()
        assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in written] == lines
