"""What a stranger can repeat is logged once a minute."""

import logging

import pytest

from nes2net.lib import repeated_logs
from nes2net.lib.repeated_logs import OncePerMinute


@pytest.fixture
def log_as(caplog):
    """A function that makes a logger whose records pass the filter."""

    def make(name):
        logger = logging.getLogger(name)
        logger.addFilter(OncePerMinute())
        return logger

    return make


def test_a_warning_is_logged_once_and_then_with_its_number(log_as, caplog, monkeypatch):
    logger = log_as("library.once")
    seconds = 0.0
    monkeypatch.setattr(repeated_logs.time, "monotonic", lambda: seconds)
    for number in range(5):
        logger.warning("a stranger sent %d", number)
    assert caplog.messages == ["a stranger sent 0"]
    seconds = 61.0
    logger.warning("another line of the program")
    for number in range(5, 7):
        seconds += 61.0
        logger.warning("a stranger sent %d", number)
    assert caplog.messages[1:] == ["another line of the program", "a stranger sent 5", "a stranger sent 6"]


def test_the_number_of_those_in_between_is_said(log_as, caplog, monkeypatch):
    logger = log_as("library.number")
    seconds = 0.0
    monkeypatch.setattr(repeated_logs.time, "monotonic", lambda: seconds)
    for _ in range(4):
        logger.warning("a stranger sent %s", "x" * 10)
        seconds += 20.0
    assert caplog.messages == ["a stranger sent xxxxxxxxxx", "a stranger sent xxxxxxxxxx (2 more of these since the last)"]


def test_a_traceback_is_logged_once(log_as, caplog):
    logger = log_as("nes2net.traceback")
    for _ in range(3):
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            logger.exception("a request failed")
    assert len(caplog.records) == 1


def test_different_notes_of_the_package_and_events_all_pass(log_as, caplog):
    logger = log_as("nes2net.notes")
    logger.setLevel(logging.INFO)
    for note in ("one", "two"):
        logger.warning("note: %s", note)
        logger.info("request")
    assert caplog.messages == ["note: one", "request", "note: two", "request"]
