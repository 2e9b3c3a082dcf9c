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


def test_a_warning_of_a_library_is_logged_once_a_minute(log_as, caplog, monkeypatch):
    logger = log_as("library.once")
    seconds = 0.0
    monkeypatch.setattr(repeated_logs.time, "monotonic", lambda: seconds)
    for number in range(5):
        logger.warning("a stranger sent %d", number)
    logger.warning("another line of the program")
    seconds = 61.0
    logger.error("a stranger sent %d", 5)
    assert caplog.messages == ["a stranger sent 0", "another line of the program", "a stranger sent 5"]


def test_a_repeated_traceback_is_logged_once(log_as, caplog):
    logger = log_as("nes2net.traceback")
    for _ in range(3):
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            logger.exception("a request failed")
    assert len(caplog.records) == 1


def test_messages_of_the_package_without_a_traceback_are_never_dropped(log_as, caplog):
    logger = log_as("nes2net.notes")
    logger.setLevel(logging.INFO)
    for note in ("one", "two"):
        logger.warning("note: %s", note)
        logger.info("request")
    assert caplog.messages == ["note: one", "request", "note: two", "request"]
