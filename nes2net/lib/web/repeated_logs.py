"""Bound the log of a server that runs for months, whatever strangers send."""

from __future__ import annotations

import logging
import time


class OncePerMinute(logging.Filter):
    """Passes warnings and errors once a minute for each line of code.

    Their text is ignored, because it may quote a stranger, except in nes2net's own warnings.
    """

    def __init__(self) -> None:
        super().__init__()
        self._minute = 0.0  # number of the minute on the monotonic clock
        self._logged: set[object] = set()  # the lines of this minute, so that memory stays bounded

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        # A line of nes2net with other arguments is another message; servers log arbitrary
        # arguments.
        words = str(record.args) if record.name.startswith("nes2net") else ""
        line = (record.pathname, record.lineno, words)
        minute = time.monotonic() // 60
        if minute != self._minute:
            self._minute = minute
            self._logged.clear()
        is_first = line not in self._logged
        self._logged.add(line)
        return is_first
