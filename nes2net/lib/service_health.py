"""Health and metrics of a server: the answers of ``/health`` and ``/metrics``."""

from __future__ import annotations

from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Info, ProcessCollector, generate_latest
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # before Python 3.12, pydantic refuses the type of `typing`

from nes2net.lib.terminal import printable
from nes2net.version import __version__

#: State of a server.
Status: TypeAlias = Literal["ready", "loading", "stopping"]


@with_config(ConfigDict(extra="forbid", use_attribute_docstrings=True))
class Health(TypedDict):
    """Whether the server accepts recordings or calls."""

    status: Status
    """State of the server: `ready` with HTTP status 200; `loading` and `stopping` with HTTP status 503."""
    model: str
    """Name of the detector."""


def health_of(status: Status, model: str) -> tuple[int, Health]:
    """Return the HTTP status and the answer of ``/health``."""
    return 200 if status == "ready" else 503, Health(status=status, model=printable(model))


class Metrics:
    """Counts for Prometheus; subclasses add counts to :attr:`registry`."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._facts = Info("nes2net", "The detector, and how it computes.", registry=self.registry)
        self.requests = Counter(
            "nes2net_requests", "HTTP requests by route and status.", ["route", "status"], registry=self.registry
        )

    def describe(self, model: str, precision: str, device: object) -> None:
        facts = {"model": printable(model), "version": __version__, "precision": precision, "device": str(device)}
        self._facts.info(facts)

    def text(self) -> bytes:
        return generate_latest(self.registry)
