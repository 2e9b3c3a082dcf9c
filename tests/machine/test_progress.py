"""Progress: lines without a terminal, and a bar that fits its terminal."""

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios

import pytest

from nes2net.errors import InputError
from nes2net.machine.progress import LOGGER, SECONDS, ProgressDisplay
from nes2net.machine.times import readable_duration


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


def test_lines_where_there_is_no_terminal(capsys, caplog, monkeypatch):
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
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)


def test_the_interval_is_set(capsys, monkeypatch):
    assert [len(lines_of(capsys, seconds, monkeypatch)) for seconds in ("5", "1e9", "0")] == [30, 1, 0]
    for seconds in ("-1", "nan", "a minute"):
        monkeypatch.setenv(SECONDS, seconds)
        with pytest.raises(InputError, match=f"{SECONDS} is a number of seconds, 0 for no lines, not '{seconds}'"):
            ProgressDisplay(title="scoring", unit="file")


def test_a_reader_that_went_away_ends_nothing(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setenv(SECONDS, "1e-9")
    assert list(ProgressDisplay(range(3), title="scoring", unit="file")) == [0, 1, 2]


def test_time_left_of_the_run_and_of_the_epoch():
    clock = Clock()
    display = ProgressDisplay(title="epoch 3 of 12", unit="step", total=10, start=4, shown=False, clock=clock)
    display.later_steps, display.later_seconds = 90, 1800.0
    display.update()
    assert display.line() == "epoch 3 of 12: step 5 of 10"  # the speed is not known yet
    clock.now = 60.0
    display.update()
    assert display.line() == "epoch 3 of 12: step 6 of 10, 2 h 4 min left (epoch 4 min)"


def test_a_number_of_steps_that_is_not_known():
    display = ProgressDisplay(iter("abc"), title="reading", unit="file", shown=False)
    assert list(display) == list("abc") and display.line() == "reading: file 3"


def test_durations():
    for seconds, text in ((0, "0 s"), (59.6, "1 min"), (3569, "59 min"), (3580, "1 h 0 min"), (86400, "1 d 0 h")):
        assert readable_duration(seconds) == text


@pytest.mark.parametrize("columns", [0, 30, 80, 200])
def test_the_bar_fits_the_terminal(columns, monkeypatch):
    """What matters most is shown first. A terminal that does not tell its width has 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    monkeypatch.delenv("COLUMNS", raising=False)
    with os.fdopen(theirs, "w") as terminal, os.fdopen(ours), monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        display = ProgressDisplay(range(4), title="epoch 11 of 11", unit="step")
        for _ in display:
            display.facts = ["loss 0.0312", "24.1 utterances/s", "data wait 12 %", "lr 2.50e-07"]
            assert 0 < len(str(display.bar)) < (columns or 80)
        last = str(display.bar)
    assert last.startswith("epoch 11 of 11: 4/4")
    assert ("loss 0.0312, 24.1 utterances/s" in last) == (columns != 30)
    assert ("lr 2.50e-07" in last) == (columns == 200)
    assert ("█" in last) == (columns != 30)
