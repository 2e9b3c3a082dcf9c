"""Load a detector, and serve the page at an address until the server is stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import torch
import uvicorn
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from nes2net.actions.flags import Loading
from nes2net.apps.serve.app import build
from nes2net.apps.serve.desk import Desk
from nes2net.apps.serve.guard import Admitted, Guard
from nes2net.apps.serve.limits import Limits
from nes2net.lib.errors import with_flag_names
from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.web.http_server import Listener, Refused, address_of, announce, listening_socket, names_at
from nes2net.lib.web.service_health import Metrics
from nes2net.lib.web.service_log import LOGGER, LogKind, logging_as, tell
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.kernel import check_takes_audio_alone

#: The port that the page has unless it is taken.
PORT = 7860
_PORTS_TRIED = 20  # number of ports to try, beginning with PORT, if no port is given
_HEAD_WITHIN = 20.0  # seconds within which the head of a request must arrive
_GRACE = 2  # seconds within which answers must end after the server is stopped


@dataclass(frozen=True)
class Address:
    """Where the server listens, and which pages may show it."""

    host: str = "127.0.0.1"
    """Other machines cannot reach a loopback address."""
    port: int | None = None
    """None for the first free port from 7860 on."""
    names: Sequence[str] = ()
    """Further host names of this machine in the page's address."""
    frames: Sequence[str] = ()
    """Sites that may show the page in a frame."""


def serve(
    model: str | Path,
    decider: Decider | None = None,
    address: Address = Address(),
    loading: Loading | None = None,
    *,
    limits: Limits | None = None,
    log: LogKind = "text",
    open_browser: bool = False,
    stop: StopSignals,
) -> None:
    """Serve the page of ``model`` until Ctrl-C, SIGTERM or SIGHUP.

    Ctrl-C or a second signal ends the server at once, the first SIGTERM or SIGHUP after the present
    recordings are scored.

    Args:
        model: as for :meth:`nes2net.Detector.from_pretrained`, or an exported detector, FILE.onnx.
        decider: decides by a calibration of this detector; None for raw scores.
        stop: notes signals while the server starts.

    Raises:
        InputError: if the model or the calibration cannot be used, or if no port is free.
    """
    host = address.host
    limits = limits or Limits()
    names = [*names_at(host), *address.names]
    name = Path(model).name
    ports = range(PORT, PORT + _PORTS_TRIED)
    if address.port is not None:
        ports = range(address.port, address.port + 1)
    listener = listening_socket(host, ports)
    with listener, TemporaryDirectory(prefix="nes2net-serve-") as folder, logging_as(log):
        stop.check()
        with _answering_while_loading(listener, name, names):
            # Divide the processors among the workers, because every worker starts as many torch threads as are set
            # here.
            torch.set_num_threads(max(1, torch.get_num_threads() // limits.workers))
            detector = (loading or Loading()).scorer(str(model))
            check_takes_audio_alone(detector)
            detector.check_score()
            stop.check()
            desk = Desk(detector, Path(folder), limits, decider)
            app = build(desk, name, names, address.frames)
        stop.check()
        for note in desk.notes:
            LOGGER.warning("note: %s", with_flag_names(note))
        url = address_of(listener, host)
        announce(name, url, host, "page")
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        try:
            _Server(uvicorn_config(app), desk, stop).run(sockets=[listener])
        finally:
            desk.close()
        if stop.number == signal.SIGINT:
            tell("stopped", "\nstopped")
        else:
            stop.check()


@contextmanager
def _answering_while_loading(listener: socket.socket, model: str, names: Sequence[str]) -> Iterator[None]:
    """Answer with status 503 while the detector is loaded; ``listener`` stays open."""

    status, health = Metrics().health(model)
    answer = JSONResponse(health, status, {"Retry-After": "10"})

    def admit(_: str, path: str) -> AbstractContextManager[Admitted]:
        if path != "/health":
            raise Refused(503, "the detector is being loaded: try again later")
        return nullcontext(Admitted())

    guard = Guard(answer, names, admit)
    server = uvicorn.Server(uvicorn_config(guard, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener.dup()]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def uvicorn_config(app: Any, **settings: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_TimedProtocol,
        loop="asyncio",  # uvloop would not ask the Listener for its connections
        log_config=None,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_GRACE,
        **settings,
    )


class _TimedProtocol(H11Protocol):
    """Closes a connection if the head of a request takes too long; uvicorn would wait without end."""

    timer: asyncio.TimerHandle | None = None  # timer that closes the connection; None while no request is expected

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.socket = transport.get_extra_info("socket")._sock  # asyncio wraps the socket that Listener holds
        self.timer = self.loop.call_later(_HEAD_WITHIN, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._has_request():
            Listener.served.add(self.socket)  # others may be cut off for new ones
            self._stop_timer()
        elif self.timer is None:
            self.timer = self.loop.call_later(_HEAD_WITHIN, self.transport.close)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._has_request():
            Listener.served.discard(self.socket)

    def _has_request(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _should_upgrade(self) -> bool:
        """WebSockets are not served."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None


class _Server(uvicorn.Server):
    """Finishes the present recordings at SIGTERM, and stops scoring at other signals.

    ``stop`` has a signal that came before uvicorn noted signals.
    """

    def __init__(self, config: uvicorn.Config, desk: Desk, stop: StopSignals) -> None:
        super().__init__(config)
        self.desk = desk
        self.stop = stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and not self.desk.is_finishing:
            self.desk.finish()  # `on_tick` stops the server when no recording is left
            return
        self.desk.close()
        # uvicorn cuts off the answers to recordings that are still being scored, and would log this as an error.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self.stop.number and not self.should_exit and not self.desk.is_finishing:
            self.handle_exit(self.stop.number, None)
        if self.desk.is_finishing and not self.desk.num_present and not self.should_exit:
            self.handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)
