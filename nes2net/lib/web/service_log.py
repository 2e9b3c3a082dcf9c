"""The log of a server: text for people, or lines of JSON with what the server does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Literal, TypeAlias

from nes2net.lib.output.progress import only_handler
from nes2net.lib.output.terminal import LOGGER as LINES
from nes2net.lib.output.terminal import print_output
from nes2net.lib.storage.files import json_text
from nes2net.lib.web.repeated_logs import OncePerMinute

#: The form of the log. ``"text"`` prints only notes, warnings and errors, for people. ``"json"`` prints these, and
#: each event of :func:`log_event`, as lines of JSON on standard error.
LogKind: TypeAlias = Literal["text", "json"]
LOGGER = logging.getLogger("nes2net.service")
LOGGER.setLevel(logging.WARNING)


class JsonLines(logging.Formatter):
    """Formats each record of a log as a line of JSON with time, level, name of the event, and facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; without facts, such as a library's, it becomes the event ``"message"``."""
        time_of_day = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        # Users' programs read these keys.
        line = {"time": time_of_day, "level": record.levelname.lower()}
        facts = vars(record).get("facts")
        if facts is None:
            line |= {"event": "message", "logger": record.name, "message": record.getMessage()}
        else:
            line |= {"event": record.getMessage(), **facts}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json_text(line)


@contextmanager
def logging_as(kind: LogKind) -> Iterator[None]:
    """Log to standard error within this context, including the lines of nes2net and what libraries log.

    What strangers can repeat is logged once a minute.
    """
    handler = logging.StreamHandler()
    handler.addFilter(OncePerMinute())
    if kind == "json":
        handler.setFormatter(JsonLines())
        LOGGER.setLevel(logging.INFO)
    logging.captureWarnings(kind == "json")
    logging.getLogger().addHandler(handler)
    try:
        with only_handler(LINES, handler):
            yield
    finally:
        logging.getLogger().removeHandler(handler)
        logging.captureWarnings(False)
        LOGGER.setLevel(logging.WARNING)


def log_event(event: str, **facts: object) -> None:
    """Log an event and its facts if the log is JSON."""
    LOGGER.info(event, extra={"facts": facts})


def tell(event: str, text: str, **facts: object) -> None:
    """Log an event if the log is JSON; otherwise print ``text`` for people."""
    if LOGGER.isEnabledFor(logging.INFO):
        log_event(event, **facts)
    else:
        print_output(text)
