"""Serve WebSocket clients: a client sends live audio, and receives the lines about its channels."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field, RootModel
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as websocket_server

from nes2net.apps.listen.channel import Line
from nes2net.apps.listen.listening import MAX_WAIT, Block, Gone, Listening, LiveJudge, Session
from nes2net.apps.listen.observing import CallMetrics
from nes2net.apps.listen.saved_calls import Parked, SavedCalls
from nes2net.apps.listen.settings import ServerSettings
from nes2net.apps.listen.sources import channel_names
from nes2net.data.audio.pcm import Encoding, PcmDecoder
from nes2net.lib.errors import InputError
from nes2net.lib.process.this_process import most_open_files
from nes2net.lib.storage.files import json_text
from nes2net.lib.storage.plain_data import StrictModel, validate_json
from nes2net.lib.web.http_server import Listener, Refused, check_site, most_connections
from nes2net.lib.web.service_log import log_event

#: Seconds after which a client that sends no message is disconnected, unless the settings state others.
MAX_SILENCE = 30.0
#: Seconds that sending a line to a client may take; after that, the client is disconnected.
MAX_SEND_SECONDS = 30.0
#: Seconds within which a client may resume its session after the connection was lost.
MEMORY = 30.0
_HANDSHAKE = 10.0  # seconds within which a handshake must be complete
_MAX_BYTES = 1 << 20  # largest number of bytes in a message
_MAX_TEXT = 1 << 16  # largest number of characters in a text message
_MAX_CHANNELS = 8
_FILES_EACH = 4  # file descriptors of a connection in websockets 17
_MAX_STRANGERS = 60  # largest number of connections besides those of the clients that are served
_QUEUED = 4  # largest number of WebSocket frames that wait to be read; a client that sends more must wait
_LOOK = 0.1  # seconds between two checks whether the server was stopped or a session has ended
# Codes with which a WebSocket connection is closed, from RFC 6455.
_OK = 1000
_GOING_AWAY = 1001
_REFUSED = 1008
_FAILED = 1011
_TRY_LATER = 1013


# The messages of a client, as in docs/listen.md.


class _Start(StrictModel):
    event: Literal["start"]
    rate: Annotated[float, Field(ge=1000, le=1_000_000)]
    encoding: Encoding = "s16le"
    channels: Annotated[int, Field(ge=1, le=_MAX_CHANNELS)] = 1
    names: list[Annotated[str, Field(max_length=100)]] | None = None
    session: Annotated[str, Field(max_length=100)] | None = None


class _Gap(StrictModel):
    event: Literal["gap"]
    seconds: Annotated[float, Field(gt=0, le=86400)]


class _KeepAlive(StrictModel):
    """No audio is to be expected, such as of a muted caller: the pause until the next audio is a gap."""

    event: Literal["keepalive"]


class _Stop(StrictModel):
    event: Literal["stop"]


class _Text(RootModel[Annotated[_Start | _Gap | _KeepAlive | _Stop, Field(discriminator="event")]]):
    pass


class Server:
    """Serves WebSocket clients until :meth:`stop` is called, and answers ``/health`` and ``/metrics``.

    Args:
        model: name of the detector.

    Raises:
        InputError: if the clients need more file descriptors than this process may have.
    """

    def __init__(self, model: str, settings: ServerSettings, names: Iterable[str] = ()) -> None:
        self._settings = settings
        self._origins = {origin.lower().rstrip("/") for origin in settings.allow_origin}
        self._max_connections = most_connections(_FILES_EACH)
        if settings.clients > self._max_connections:
            raise InputError(
                f"`clients` must be at most {self._max_connections}, not {settings.clients}, because this process may open "
                f"only {most_open_files()} files: allow it more with ulimit -n"
            )
        self._model = model
        self._judge: LiveJudge | None = None  # None until the detector is loaded
        self._saved_calls: SavedCalls | None = None
        self._slots = threading.BoundedSemaphore(settings.clients)
        self._names = {name.lower().rstrip(".") for name in (*names, *settings.allow_name)}
        self._changed = threading.Condition()  # guards the following; wakes threads that wait for lost connections
        self._serving: dict[str, ServerConnection] = {}  # token of a session → the only connection that may serve it
        self._running: dict[ServerConnection, Listening] = {}
        self._parked: dict[str, Parked] = {}  # token → session whose connection was lost, oldest first
        self._is_ending = False  # whether calls are stopped
        self._metrics = CallMetrics(lambda: len(self._running))

    def stop(self) -> None:
        """Refuse new clients, and let :meth:`serve` end. A signal handler may call this."""
        self._metrics.state = "stopping"

    @contextmanager
    def accepting(self, listener: Listener) -> Iterator[None]:
        """Accept connections in this context; clients only after :meth:`begin`."""
        logger = logging.getLogger("nes2net.apps.listen.websockets")
        logger.setLevel(logging.CRITICAL)  # a stranger's failed handshake is no error of this program
        listener.most = min(self._max_connections, self._settings.clients + _MAX_STRANGERS)
        listener.settimeout(1.0)  # so that the thread that accepts connections notices the end
        server = websocket_server(
            self._serve_client,
            sock=listener,
            compression=None,  # a few compressed bytes could decompress to gigabytes
            process_request=self._answer_request,
            process_response=self._count_response,
            open_timeout=_HANDSHAKE,
            max_size=_MAX_BYTES,
            max_queue=_QUEUED,
            logger=logger,
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()

    def begin(self, judge: LiveJudge) -> None:
        """Begin to serve clients.

        Raises:
            InputError: if the states of calls cannot be saved.
        """
        if self._settings.state is not None:
            self._saved_calls = SavedCalls(Path(self._settings.state), judge)
        self._judge = judge
        # Last, because clients are accepted from now on.
        self._metrics.describe(self._model, judge.scorer.precision, judge.scorer.computes_on)

    def serve(self) -> None:
        """Wait for :meth:`stop`, at most ``drain`` seconds for the ends of calls, then for the last lines of others."""
        while self._metrics.state != "stopping":
            time.sleep(_LOOK)
        give_up = time.monotonic() + self._settings.drain
        last_ones = set()
        while running := list(self._running.values()):
            self._is_ending = time.monotonic() >= give_up
            if self._is_ending:  # stop all sessions, also those that begin meanwhile
                for listening in running:
                    listening.stop()
                last_ones.update(running)
            time.sleep(_LOOK)
        for listening in last_ones:
            listening.wait(MAX_WAIT)

    def _answer_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer or refuse a request; None accepts a client."""
        # Reversed, so that the first of several equal headers counts.
        headers = {name.lower(): value for name, value in reversed(list(request.headers.raw_items()))}
        try:
            check_site(headers, self._names, self._origins)
        except Refused as refusal:
            return connection.respond(refusal.status, f"{refusal}\n")
        status, health = self._metrics.health(self._model)
        content_type = "application/json"
        if request.path == "/metrics":
            response = connection.respond(200, self._metrics.text().decode())
            content_type = CONTENT_TYPE_LATEST
        elif request.path == "/health" or status != 200:
            response = connection.respond(status, json_text(health))
        else:
            return None
        # Setting a header adds a second one.
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = content_type
        return response

    def _count_response(self, _: ServerConnection, request: Request, response: Response) -> None:
        # Clients may ask for any path, and each label is a metric that is kept.
        route = request.path if request.path in ("/health", "/metrics") else "other"
        self._metrics.requests.labels(route, response.status_code).inc()
        if route == "other" and response.status_code >= 400:
            self._metrics.end("refusal", response.status_code)

    def _serve_client(self, connection: ServerConnection) -> None:
        with suppress(ConnectionClosed, Gone):
            if not self._slots.acquire(blocking=False):  # released by _run_session_to_code()
                self._metrics.end("refusal", _TRY_LATER)
                message = f"busy: {self._settings.clients} clients are served already; try again later"
                _send(connection, {"event": "error", "message": message})
                connection.close(_TRY_LATER)
                return
            Listener.served.add(connection.socket)
            try:
                code = self._run_session_to_code(connection)
                connection.close(_GOING_AWAY if self._is_ending else code)
            finally:  # not before the client has the last lines
                Listener.served.discard(connection.socket)
                self._metrics.end("end", connection.close_code, call=str(connection.id))

    def _run_session_to_code(self, connection: ServerConnection) -> int:
        try:
            self._run_session(connection)
        except (ConnectionClosed, Gone):
            raise
        except Exception as error:
            status, words = self._metrics.failure(error)
            log_event("error", call=str(connection.id), message=words)
            _send(connection, {"event": "error", "message": words})
            return _REFUSED if status < 500 else _FAILED
        finally:
            self._slots.release()  # _serve_client() took one
        return _OK

    def _run_session(self, connection: ServerConnection) -> None:
        """Keep the session if the connection is lost."""
        start = _receive(connection, self._settings.idle)
        if not isinstance(start, _Start):
            raise InputError(
                'the first message must be text such as {"event": "start", "rate": 16000}, not audio or another event'
            )
        names = channel_names(start.names, start.channels, "names")
        assert self._judge is not None
        begin = partial(self._judge.session, start.rate, start.encoding, names, True, "latest")
        parked = self._claim(connection, start, names, begin)
        session = begin() if parked is None else parked.session
        listening = Listening(session, _blocks(connection, self._settings.idle, start, session, parked))
        token = session.ready["session"]
        self._serving[token] = connection
        self._running[connection] = listening
        is_resumed = parked is not None
        try:
            log_event("begin", call=str(connection.id), resumed=is_resumed)
            _send(connection, session.ready | {"resumed": is_resumed})
            for line in listening.lines():
                self._metrics.count(line, str(connection.id))
                if self._saved_calls is not None and line["event"] == "score":
                    self._saved_calls.save(session, listening.tallies())
                _send(connection, line)
        except (Gone, ConnectionClosed):
            listening.wait()
            with self._changed:
                self._parked[token] = Parked(session, time.monotonic())
            raise
        finally:
            if self._saved_calls is not None:
                # A call that may resume, or that a stop of the server ends, keeps its saved state.
                self._saved_calls.end(token, token in self._parked or self._is_ending)
            del self._running[connection]
            with self._changed:
                del self._serving[token]
                self._changed.notify_all()

    def _claim(
        self, connection: ServerConnection, start: _Start, names: list[str], begin: Callable[..., Session]
    ) -> Parked | None:
        """Return the session that ``start`` continues, for this connection alone; None for a new session."""
        token = start.session
        if not token:
            return None
        lost = self._serving.get(token)
        if lost is not None:  # the connection is lost, but the server has not noticed yet
            with suppress(OSError):
                lost.socket.shutdown(socket.SHUT_RDWR)
            with self._changed:
                self._changed.wait_for(lambda: self._serving.get(token) is not lost, MEMORY)
        if self._serving.setdefault(token, connection) is not connection:  # another connection was faster
            return None
        parked = None
        try:
            parked = self._take_parked(token, start, names)
            if parked is None and self._saved_calls is not None:
                parked = self._saved_calls.restore(token, begin)
            return parked
        finally:
            if parked is None:
                del self._serving[token]

    def _take_parked(self, token: str, start: _Start, names: list[str]) -> Parked | None:
        """Remove and return the session to resume, if kept."""
        with self._changed:
            # Lost sessions are kept for MEMORY seconds, and at most as many as clients, to bound memory.
            latest = list(self._parked.items())[-self._settings.clients :]
            now = time.monotonic()
            self._parked = {name: parked for name, parked in latest if now - parked.since <= MEMORY}
            parked = self._parked.get(token)
            if parked is None:
                return None
            ready = parked.session.ready
            if (ready["rate"], ready["encoding"], ready["channels"]) != (start.rate, start.encoding, names):
                raise InputError(
                    "the session to resume had another rate, encoding or other channels: repeat the values of its first "
                    "`start`, or begin a new session"
                )
            return self._parked.pop(token)


def _blocks(
    connection: ServerConnection, idle: float | None, start: _Start, session: Session, parked: Parked | None
) -> Iterator[Block]:
    """Yield audio until ``stop``, with the time of its first sample after a gap.

    A gap lasts as long as the client states; to this is added the time without a connection, if the
    session was ``parked``. After ``keepalive`` messages it lasts until the next audio.
    """
    decoder = PcmDecoder(start.encoding, start.channels)
    gap = 0.0
    last_audio = time.monotonic()
    is_muted = False  # whether keepalive messages came after the last audio, and no gap was stated
    while not isinstance(message := _receive(connection, idle), _Stop):
        if isinstance(message, _Start):
            raise InputError("this session was started already: send `start` only once")
        if isinstance(message, _Gap):
            decoder.finish()
            gap += message.seconds
            is_muted = False
            continue
        if isinstance(message, _KeepAlive):
            decoder.finish()
            is_muted = True
            continue
        (samples,) = decoder.push(message)
        if not samples.shape[1]:
            continue
        if parked is not None:
            gap += time.monotonic() - parked.since
            parked = None
        elif is_muted:
            gap += time.monotonic() - last_audio
        is_muted = False
        last_audio = time.monotonic()
        start_time = session.channels[0].stream.now + gap if gap else None
        gap = 0.0
        yield Block(samples, start_time)


def _receive(connection: ServerConnection, idle: float | None) -> bytes | _Start | _Gap | _KeepAlive | _Stop:
    """Raise :class:`Gone` if the connection is lost, InputError if the message is unexpected or late."""
    seconds = MAX_SILENCE if idle is None else idle
    try:
        message = connection.recv(seconds)
    except TimeoutError:
        raise InputError(
            f"nothing came for {seconds:g} s; send keepalive messages, or set a longer `idle` at the server"
        ) from None
    except ConnectionClosed as error:
        raise Gone from error
    if isinstance(message, bytes):
        return message
    if len(message) > _MAX_TEXT:
        raise InputError(
            f"a message of text has at most {_MAX_TEXT} characters, not {len(message)}: send audio as bytes"
        )
    try:
        return validate_json(_Text, message.encode()).root
    except ValueError as error:
        raise InputError(f"a message is not understood, {error}: send start, gap, keepalive or stop") from error


def _send(connection: ServerConnection, line: Line) -> None:
    # Disconnect a client that does not receive the line in time.
    cut = threading.Timer(MAX_SEND_SECONDS, connection.socket.shutdown, [socket.SHUT_RDWR])
    cut.start()
    try:
        connection.send(json_text(line))
    finally:
        cut.cancel()
