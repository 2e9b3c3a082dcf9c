"""Count and log what the server does: counts at ``/metrics``, and a log of JSON lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal, TypeAlias

from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nes2net.lib.files import json_text
from nes2net.lib.repeated_logs import OncePerMinute
from nes2net.lib.service_health import Metrics

#: The form of the log. ``"text"`` prints only notes, warnings and errors, for people. ``"json"`` prints these, and
#: each recording and request, as lines of JSON on standard error.
LogKind: TypeAlias = Literal["text", "json"]
LOGGER = logging.getLogger("nes2net.serve")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # others may be as long as a stranger likes
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 600)  # upper bounds in seconds of the histograms' buckets


@dataclass
class RecordingTimes:
    """When a recording arrived, when its scoring began, and how long it lasts."""

    arrived: float
    """By the monotonic clock."""
    began: float | None = None
    """Time when a worker began with the recording, by the monotonic clock; None while it waits."""
    duration: float = 0.0
    """Duration of the recording in seconds; 0 until it is decoded."""


class Observer(Metrics):
    """Counts recordings and requests for ``/metrics``, and logs each."""

    def __init__(self) -> None:
        super().__init__()
        # Users' dashboards read these names.
        registry = self.registry
        self.present = Gauge("nes2net_recordings_present", "Recordings by state.", ["state"], registry=registry)
        self.recordings = Counter(
            "nes2net_recordings",
            "Recordings by outcome: scored, or the name of an error.",
            ["outcome"],
            registry=registry,
        )
        self.audio = Counter("nes2net_audio_seconds", "Duration of the scored recordings.", registry=registry)
        self.waiting = Histogram(
            "nes2net_waiting_seconds", "Time that a recording waits.", buckets=_SECONDS, registry=registry
        )
        self.scoring = Histogram(
            "nes2net_scoring_seconds", "Time to decode and score a recording.", buckets=_SECONDS, registry=registry
        )

    @contextmanager
    def recording(self) -> Iterator[RecordingTimes]:
        """Count and log the recording of this context, which yields an object for its times.

        The logged outcome is "scored", or the name of the exception that ends the context.
        """
        times = RecordingTimes(time.monotonic())
        facts = {"outcome": "scored"}
        try:
            yield times
        except BaseException as error:
            facts = {"outcome": type(error).__name__, "error": str(error)}
            raise
        finally:
            end = time.monotonic()
            began = times.began or end
            self.recordings.labels(facts["outcome"]).inc()
            if times.began is not None:
                self.waiting.observe(began - times.arrived)
                self.scoring.observe(end - began)
            if facts["outcome"] == "scored":
                self.audio.inc(times.duration)
            durations = {"waited": round(began - times.arrived, 3), "seconds": round(end - began, 3)}
            LOGGER.info("recording", extra={"facts": {**facts, **durations, "duration": times.duration}})


@dataclass
class ObservedRequests:
    """ASGI middleware that counts and logs every request.

    Args:
        route_of: maps the path of a request to one of a few routes. Paths are not logged, because
            they may hold the key of somebody's recording.
    """

    app: ASGIApp
    observer: Observer
    route_of: Callable[[str], str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        begin = time.monotonic()
        status = 500  # if the application fails, the server itself answers with this status

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        finally:
            route = self.route_of(scope["path"])
            self.observer.requests.labels(route, status).inc()
            method = scope["method"] if scope["method"] in _METHODS else "other"
            facts = {"method": method, "route": route, "status": status}
            LOGGER.info("request", extra={"facts": {**facts, "seconds": round(time.monotonic() - begin, 3)}})


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
    """Log to standard error within this context, including what libraries log.

    ``"text"`` prints notes, warnings and errors as text. ``"json"`` prints these, and also each
    recording, request and Python warning, as lines of JSON. What strangers can repeat is logged
    once a minute.
    """
    handler = logging.StreamHandler()
    handler.addFilter(OncePerMinute())
    if kind == "json":
        handler.setFormatter(JsonLines())
        LOGGER.setLevel(logging.INFO)
    logging.captureWarnings(kind == "json")
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        logging.captureWarnings(False)
        LOGGER.setLevel(logging.NOTSET)


def tell(event: str, text: str, **facts: str) -> None:
    """Log an event and its facts if the log is JSON; otherwise print ``text`` for people."""
    if LOGGER.isEnabledFor(logging.INFO):
        LOGGER.info(event, extra={"facts": facts})
    else:
        print(text, flush=True)
