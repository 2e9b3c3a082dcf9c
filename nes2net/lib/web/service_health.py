"""Health, metrics and present work of a server, and whether a failure is the request's fault or the server's."""

from __future__ import annotations

import time
from tempfile import gettempdir
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Info, ProcessCollector, generate_latest
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # before Python 3.12, pydantic refuses the type of `typing`

from nes2net.lib.errors import BrokenPart, InputError
from nes2net.lib.output.terminal import printable
from nes2net.lib.process.this_process import is_out_of_memory
from nes2net.lib.storage.files import FULL_DISK
from nes2net.lib.web.service_log import LOGGER
from nes2net.version import __version__

#: Paths to which every server answers.
HEALTH_PATHS = frozenset({"/health", "/metrics"})
#: State of a server.
Status: TypeAlias = Literal["ready", "loading", "stopping", "full"]
#: State of a server → why it serves nothing.
WHY_NOT = {
    "loading": "the detector is being loaded: try again later",
    "stopping": "the server is being stopped",
}
_OF_SERVER = (OSError, MemoryError, ImportError, BrokenPart)  # no request is at fault for these errors
_FULL_FOR = 60.0  # seconds after a full disk in which a server says so


@with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True))
class Health(TypedDict):
    """Whether the server accepts recordings or calls."""

    status: Status
    """State of the server: `ready` with HTTP status 200; `loading`, `stopping` and `full` (in the last minute, its disk
    was full) with HTTP status 503."""
    model: str
    """Name of the detector."""


class Metrics:
    """Counts for Prometheus; subclasses add counts to :attr:`registry`.

    Args:
        model: name of the detector.
    """

    _full_until = 0.0  # by the monotonic clock
    state: Status = "loading"

    def __init__(self, model: str) -> None:
        self.model = printable(model)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._facts = Info("nes2net", "The detector, and how it computes.", registry=self.registry)
        self.requests = Counter(
            "nes2net_requests", "HTTP requests by route and status.", ["route", "status"], registry=self.registry
        )
        self._faults = Counter("nes2net_faults", "Faults of the server by error.", ["error"], registry=self.registry)

    def begin(self, precision: str, device: object) -> None:
        """Note that the detector is loaded, and how it computes."""
        facts = {"model": self.model, "version": __version__, "precision": precision, "device": str(device)}
        self._facts.info(facts)
        self.state = "ready"

    def note_request(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(route, status).inc()

    def health(self) -> tuple[int, Health]:
        """HTTP status and answer of ``/health``."""
        status = self.state
        if status == "ready" and time.monotonic() < self._full_until:
            status = "full"
        return 200 if status == "ready" else 503, Health(status=status, model=self.model)

    def failure(self, error: Exception) -> tuple[int, str]:
        """Return the HTTP status, below 500 if the request is at fault, and the words; log a fault of the server."""
        cause = error.__cause__ or error
        if isinstance(error, InputError) and not (isinstance(cause, _OF_SERVER) or is_out_of_memory(cause)):
            return error.http_status, str(error)
        name = type(cause).__name__
        self._faults.labels(name).inc()
        LOGGER.error("the server failed (%s)", name, exc_info=error)
        if isinstance(cause, OSError) and cause.errno in FULL_DISK:
            self._full_until = time.monotonic() + _FULL_FOR
            return 507, f"not scored: the disk of the server is full ({gettempdir()}); try again later"
        return 500, f"not scored: the server failed ({name})"

    def text(self) -> bytes:
        return generate_latest(self.registry)


class PresentWork:
    """What a server does for its clients."""

    #: Number of recordings or calls that are being served, or wait.
    num_present = 0

    def tidy(self) -> None:
        """Called several times a second until the server is stopped."""

    def close(self) -> None:
        """End the present work."""
