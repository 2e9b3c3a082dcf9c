"""Count and log what the server of calls does."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from nes2net.apps.listen.channel import Line
from nes2net.lib.web.service_health import Metrics
from nes2net.lib.web.service_log import log_event

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # upper bounds of the histogram's buckets


class CallMetrics(Metrics):
    def __init__(self, model: str, num_running: Callable[[], int]) -> None:
        super().__init__(model)
        # Users' dashboards read these names.
        registry = self.registry
        present = Gauge("nes2net_calls_present", "Calls that are being served.", registry=registry)
        present.set_function(num_running)
        self._calls = Counter(
            "nes2net_calls",
            "Ended or refused calls by WebSocket close code or HTTP status.",
            ["code"],
            registry=registry,
        )
        self._windows = Counter("nes2net_windows", "Windows by outcome.", ["outcome"], registry=registry)
        self._alarms = Counter("nes2net_alarms", "Alarms that began.", registry=registry)
        self._lag = Histogram(
            "nes2net_lag_seconds", "Time from the arrival of a window to its line.", buckets=_SECONDS, registry=registry
        )

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        super().note_request(method, route, status, seconds)
        if route == "other" and status >= 400:
            self.end("refusal", status)

    def end(self, event: str, code: int | None, **call: str) -> None:
        """Count and log an end or refusal by WebSocket close code or HTTP status."""
        log_event(event, code=code, **call)
        self._calls.labels(code).inc()

    def count(self, line: Line, call: str) -> None:
        if line["event"] == "alarm":
            self._alarms.inc()
            log_event("alarm", call=call, seconds=line["time"], because=line["because"])
        elif line["event"] == "skipped":
            self._windows.labels("skipped").inc(line["windows"])
        elif line["event"] == "score":
            self._windows.labels("unscored" if line["score"] is None else "scored").inc()
            if "lag" in line:
                self._lag.observe(line["lag"])
