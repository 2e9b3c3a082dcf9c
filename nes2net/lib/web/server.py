"""Serve an application over HTTP, and over WebSockets if asked, until a signal; answer health checks from the start."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import uvicorn
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from uvicorn.protocols.http.h11_impl import H11Protocol

from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.web.guard import Guard
from nes2net.lib.web.http_server import BoundedListener
from nes2net.lib.web.service_health import PresentWork

T = TypeVar("T")
_HEAD_WITHIN = 20.0  # seconds within which the head of a request must arrive
_GRACE = 2  # seconds within which answers must end after the server is stopped
_LOOK = 0.1  # seconds between two checks whether the server was stopped or its work is done


async def in_thread(function: Callable[[], T]) -> T:
    """Call ``function`` in a thread for it; the usual threads may all be occupied."""
    return await run_sync(function, limiter=CapacityLimiter(1))


def serve(
    guard: Guard,
    listener: BoundedListener,
    begin: Callable[[], PresentWork],
    tell_ready: Callable[[], object],
    stop: StopSignals,
    drain: Mapping[int, float],
    **settings: Any,
) -> None:
    """Serve until a signal; from then on refuse new work, and wait for the present work.

    Args:
        begin: loads the detector and begins the work; meanwhile, health checks are answered.
        drain: signal → the most seconds to wait for the present work.
        settings: of :class:`uvicorn.Config`.
    """
    config = uvicorn.Config(
        guard,
        http=_TimedProtocol,
        loop="asyncio",  # uvloop would not ask the BoundedListener for its connections
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE,
        **settings,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    work = PresentWork()
    try:
        stop.check()
        work = begin()
        stop.check()
        tell_ready()
        while stop.number is None:
            work.tidy()
            time.sleep(_LOOK)
        guard.metrics.state = "stopping"
        give_up = time.monotonic() + drain[stop.number]
        while work.num_present and time.monotonic() < give_up:
            time.sleep(_LOOK)
    finally:
        work.close()
        # uvicorn cuts off the answers that are not complete, and would log this as an error.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        server.should_exit = True
        thread.join()


class _TimedProtocol(H11Protocol):
    """Closes a connection if the head of a request takes too long; uvicorn would wait without end."""

    timer: asyncio.TimerHandle  # closes the connection unless a head comes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.socket = transport.get_extra_info("socket")._sock  # asyncio wraps the socket that BoundedListener holds
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._has_request():
            BoundedListener.served.add(self.socket)  # others may be cut off for new ones

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._has_request():
            BoundedListener.served.discard(self.socket)
            self.timer.cancel()
            self._expect_head()

    def _has_request(self) -> bool:
        is_answering = self.cycle is not None and not self.cycle.response_complete
        return is_answering or self.transport.get_protocol() is not self  # a WebSocket has another protocol

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as usual; a stranger may ask for it."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.timer.cancel()  # it holds the latest head, which may be long
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self.timer = self.loop.call_later(_HEAD_WITHIN, self._close_without_head, self.scope)

    def _close_without_head(self, latest: Any) -> None:
        if self.scope is latest:  # uvicorn makes a scope of each head
            self.transport.close()
