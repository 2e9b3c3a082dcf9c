"""Progress without a terminal: lines, how often, and into a closed pipe."""

import io
import re
import sys

from nes2net.lib.progress import SECONDS, ProgressDisplay


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


def test_progress_is_printed_as_lines_without_a_terminal(capsys, monkeypatch):
    """The first one after ten seconds, then one a minute."""
    lines = lines_of(capsys, "", monkeypatch)
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in lines] == [
        "scoring: file 2 of 30, 0.2 files/s, 2 min left",
        "scoring: file 14 of 30, 0.2 files/s, 1 min left",
        "scoring: file 26 of 30, 0.2 files/s, 20 s left",
    ]


def test_the_interval_of_progress_lines_can_be_set(capsys, monkeypatch):
    """In seconds, by a variable of the environment; 0 turns them off."""
    assert [len(lines_of(capsys, seconds, monkeypatch)) for seconds in ("5", "1e9", "0")] == [30, 1, 0]


def test_progress_into_a_closed_pipe_does_not_end_the_program(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setenv(SECONDS, "1e-9")
    assert list(ProgressDisplay(range(3), title="scoring", unit="file")) == [0, 1, 2]
