"""Progress: what is being done after a second, bars on a terminal, lines elsewhere, and a closed pipe."""

import io
import re
import sys
from threading import Timer

import pytest
from builders import wait

from nes2net.lib.output import progress
from nes2net.lib.output.progress import SECONDS, Preparation, ProgressDisplay, Work


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


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def printed(capsys, monkeypatch):
    """A function that returns what stands on standard error, without times; no work is silent for long."""
    monkeypatch.setattr(progress, "SILENCE", 0.0)
    monkeypatch.delenv(SECONDS)
    texts = []

    def read():
        texts.append(capsys.readouterr().err)
        return re.sub(r"\d\d:\d\d:\d\d ", "", "".join(texts))

    return read


def test_work_of_more_than_a_second_says_what_is_being_done(printed):
    with Work("reading labels"):
        wait(lambda: printed() == "reading labels\n")


def test_what_work_says_is_logged_too(printed, caplog):
    caplog.set_level("INFO", "nes2net")
    with Work("reading labels"):
        wait(lambda: caplog.messages == ["reading labels"])


def test_the_steps_of_work_are_counted_before_the_first_of_them_is_done(printed):
    for _ in ProgressDisplay(range(3), title="reading", unit="file"):
        wait(lambda: printed() == "reading: file 0 of 3\n")


def test_a_terminal_shows_a_bar_before_the_first_step_is_done(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "SILENCE", 0.2)  # more than tqdm waits from one look to the next
    monkeypatch.delenv(SECONDS)
    with ProgressDisplay(range(3), title="reading", unit="file"):
        wait(lambda: "reading: 0/3 |" in terminal.getvalue())


def test_work_inside_other_work_speaks_for_both_until_its_end(printed):
    with Work("evaluating"), Work("reading labels"):
        wait(lambda: "reading labels" in printed())
    with Work("evaluating"):
        with Work("reading labels", shown=False):
            assert Work.innermost.title == "reading labels"
        wait(lambda: printed().endswith("evaluating\n"))


@pytest.fixture
def started(monkeypatch):
    """The timers that were started and not cancelled."""
    timers = []

    class Recorded(Timer):
        def start(self):
            timers.append(self)

        def cancel(self):
            timers[:] = [timer for timer in timers if timer is not self]

    monkeypatch.setattr(progress, "Timer", Recorded)
    monkeypatch.delenv(SECONDS)
    return timers


def test_work_that_ends_or_contains_other_work_waits_for_no_moment_to_speak(started):
    with Work("evaluating"):
        assert len(started) == 1
        with Work("reading labels"):
            assert len(started) == 1
    assert not started


def test_the_preparation_of_a_command_ends_with_its_first_work(started):
    with Preparation("nes2net score: loading libraries and inputs"):
        assert len(started) == 1
        with Work("reading labels"):
            pass
        assert not started


def test_work_is_silent_if_lines_are_turned_off(started, monkeypatch):
    monkeypatch.setenv(SECONDS, "0")
    with Work("evaluating"):
        assert not started


def test_the_time_left_includes_later_steps_and_names_the_present_ones(capsys, monkeypatch):
    monkeypatch.setenv(SECONDS, "1")
    clock = Clock()
    display = ProgressDisplay(range(4), title="scoring", unit="file", clock=clock)
    display.later_steps = 4
    for _ in display:
        clock.now += 60.0
    assert capsys.readouterr().err.splitlines()[1].endswith("scoring: file 2 of 4, 6 min left (scoring 2 min)")
