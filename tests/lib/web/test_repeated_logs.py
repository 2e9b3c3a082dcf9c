"""What a stranger can repeat is logged once a minute."""

import logging

import pytest

from nes2net.lib.web import repeated_logs
from nes2net.lib.web.repeated_logs import OncePerMinute


@pytest.fixture
def log_as(caplog):
    """A function that makes a logger whose records pass the filter."""

    def make(name):
        logger = logging.getLogger(name)
        logger.addFilter(OncePerMinute())
        return logger

    return make


def test_a_line_of_code_of_a_library_logs_at_most_one_warning_a_minute(log_as, caplog, monkeypatch):
    """Also with other arguments."""
    logger = log_as("library.once")

    def warn(number):
        logger.warning("a stranger sent %d", number)

    seconds = 0.0
    monkeypatch.setattr(repeated_logs.time, "monotonic", lambda: seconds)
    for number in range(3):
        warn(number)
    logger.warning("another line of the program")
    seconds = 61.0
    warn(3)
    assert caplog.messages == ["a stranger sent 0", "another line of the program", "a stranger sent 3"]


def test_a_repeated_traceback_is_logged_once(log_as, caplog):
    logger = log_as("nes2net.traceback")
    for _ in range(3):
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            logger.exception("a request failed")
    assert len(caplog.records) == 1


def test_warnings_from_one_line_of_code_of_the_package_are_all_logged_if_their_words_differ(log_as, caplog):
    logger = log_as("nes2net.notes")
    for note in ("one", "two"):
        logger.warning("note: %s", note)
    assert caplog.messages == ["note: one", "note: two"]


def test_repeated_messages_below_warnings_are_all_logged(log_as, caplog):
    logger = log_as("nes2net.requests")
    logger.setLevel(logging.INFO)
    for _ in range(2):
        logger.info("request")
    assert caplog.messages == ["request", "request"]
