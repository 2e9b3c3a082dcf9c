"""Bound the log of a server that runs for months, whatever strangers send."""

from __future__ import annotations

import logging
import time

_INTERVAL = 60.0  # seconds


class OncePerMinute(logging.Filter):
    """Passes a warning or an error once a minute, and then says how often it came since.

    Two records are the same if one line of the program logs them, because the rest may quote a
    stranger. Only warnings of nes2net differ by what they say. Other levels pass.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[object, list[float]] = {}  # of each kind: when it last passed, and how many came since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether ``record`` passes; handlers and loggers call this."""
        if record.levelno < logging.WARNING:
            return True
        said = record.args if record.name.startswith("nes2net") else None
        seen = self._seen.setdefault((record.pathname, record.lineno, str(said)), [-_INTERVAL, 0])
        now = time.monotonic()
        if now - seen[0] < _INTERVAL:
            seen[1] += 1
            return False
        if seen[1]:
            record.msg = f"{record.getMessage()} ({seen[1]:.0f} more of these since the last)"
            record.args = ()
        seen[:] = [now, 0]
        return True
