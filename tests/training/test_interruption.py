"""Signals to a run: what they wait for is said at once."""

import io
import os
import signal
import sys

import pytest

from nes2net.lib.errors import Unfinished
from nes2net.training.interruption import StopRequests


@pytest.mark.parametrize("number, error", [(signal.SIGTERM, Unfinished), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_says_at_once_and_only_once_what_it_waits_for(number, error, capsys):
    with StopRequests() as stop, pytest.raises(error), stop.defer("the end of this step, and a save"):
        for _ in range(2):
            os.kill(os.getpid(), number)
        assert capsys.readouterr().err == f"note: {number.name}: waiting for the end of this step, and a save\n"
    assert not capsys.readouterr().err


def test_a_signal_that_all_processes_have_to_know_waits_for_the_others(capsys):
    with StopRequests() as stop:
        stop.agree = max
        os.kill(os.getpid(), signal.SIGTERM)
        assert capsys.readouterr().err == "note: SIGTERM: waiting for the other processes\n"


def test_a_signal_that_ends_a_run_at_once_waits_for_nothing(capsys):
    with StopRequests(), pytest.raises(Unfinished):
        os.kill(os.getpid(), signal.SIGTERM)
    assert not capsys.readouterr().err


def test_a_signal_with_a_closed_standard_error_ends_the_run_only_after_the_step(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    steps = []
    with StopRequests() as stop, pytest.raises(Unfinished), stop.defer("a step"):
        os.kill(os.getpid(), signal.SIGTERM)
        steps.append("done")
    assert steps == ["done"]
