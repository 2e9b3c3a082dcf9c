"""Count and log recordings and requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from nes2net.lib.web.service_health import Metrics
from nes2net.lib.web.service_log import log_event

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

    def __init__(self, model: str) -> None:
        super().__init__(model)
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
            log_event(
                "recording",
                **facts,
                waited=round(began - times.arrived, 3),
                seconds=round(end - began, 3),
                duration=times.duration,
            )

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        super().note_request(method, route, status, seconds)
        method = method if method in _METHODS else "other"
        log_event("request", method=method, route=route, status=status, seconds=round(seconds, 3))
