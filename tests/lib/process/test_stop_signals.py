"""Signals are noted instead of raising an error wherever the program is."""

import signal

import pytest

from nes2net.lib.process.stop_signals import StopSignals, delaying_signals


class Dying:
    """Python drops errors that are raised while an object is destroyed."""

    def __init__(self, number):
        self.number = number

    def __del__(self):
        signal.raise_signal(self.number)


@pytest.mark.parametrize(
    "number, error, status",
    [(signal.SIGINT, KeyboardInterrupt, ()), (signal.SIGTERM, SystemExit, (143,)), (signal.SIGHUP, SystemExit, (143,))],
)
def test_a_signal_during_a_destructor_is_raised_by_the_next_check(number, error, status):
    with StopSignals() as stop:
        stop.check()
        Dying(number)
        with pytest.raises(error) as raised:
            stop.check()
    assert raised.value.args == status


def test_only_the_second_signal_ends_the_program_at_once():
    """The first one calls the action of the program."""
    calls = []
    with StopSignals() as stop:
        stop.action = lambda: calls.append("stopped")
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGINT)
    assert calls == ["stopped"]


def test_only_the_first_signal_is_delayed():
    events = []
    with pytest.raises(KeyboardInterrupt), delaying_signals():
        signal.raise_signal(signal.SIGINT)
        events.append("delayed")
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            events.append("raised")
    assert events == ["delayed", "raised"]


def test_a_hangup_that_nohup_ignores_stays_ignored():
    hangup_before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.number is None
    finally:
        signal.signal(signal.SIGHUP, hangup_before)


def test_leaving_the_block_stop_signals_restores_the_former_handler_of_sigint():
    before = signal.getsignal(signal.SIGINT)
    with StopSignals():
        pass
    assert signal.getsignal(signal.SIGINT) is before
