"""Serve WebSocket clients: a client sends live audio, and receives the lines about its channels."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from threading import Condition
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, RootModel
from starlette.websockets import WebSocket, WebSocketDisconnect

from nes2net.apps.listen.channel import Line
from nes2net.apps.listen.listening import MAX_WAIT, AudioBlock, Gone, Listening, LiveJudge, Session
from nes2net.apps.listen.observing import CallMetrics
from nes2net.apps.listen.saved_calls import Parked, SavedCalls
from nes2net.apps.listen.settings import ServerSettings
from nes2net.apps.listen.sources import channel_names
from nes2net.data.audio.pcm import Encoding, PcmDecoder
from nes2net.lib.errors import InputError
from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.process.this_process import most_open_files
from nes2net.lib.storage.files import json_text
from nes2net.lib.storage.plain_data import StrictModel, validate_json
from nes2net.lib.web.guard import Guard
from nes2net.lib.web.http_server import BoundedListener, most_connections
from nes2net.lib.web.server import in_thread, serve
from nes2net.lib.web.service_health import PresentWork
from nes2net.lib.web.service_log import log_event
from nes2net.lib.web.websockets import SETTINGS, TRY_LATER

T = TypeVar("T")
#: Seconds within which a client may resume its session after the connection was lost.
MEMORY = 30.0
_MAX_TEXT = 1 << 16  # largest number of characters in a text message
_MAX_CHANNELS = 8
_LOOK = 0.1  # seconds between two checks whether the calls have ended
# Codes with which a WebSocket connection is closed, from RFC 6455.
_OK = 1000
_GOING_AWAY = 1001
_REFUSED = 1008
_FAILED = 1011
_NO_CODE = 1005  # the client closed without a code, or the connection was lost
_LOST = 1006


# The messages of a client, as in docs/listen.md.


class _Start(StrictModel):
    event: Literal["start"]
    rate: Annotated[float, Field(ge=1000, le=1_000_000)]
    encoding: Encoding = "s16le"
    channels: Annotated[int, Field(ge=1, le=_MAX_CHANNELS)] = 1
    names: list[Annotated[str, Field(max_length=100)]] | None = None
    session: Annotated[str, Field(max_length=100)] | None = None
    person: Annotated[str, Field(max_length=100)] = ""


class _Gap(StrictModel):
    event: Literal["gap"]
    seconds: Annotated[float, Field(gt=0, le=86400)]


class _KeepAlive(StrictModel):
    """No audio is to be expected, such as of a muted caller: the pause until the next audio is a gap."""

    event: Literal["keepalive"]


class _StopMessage(StrictModel):
    event: Literal["stop"]


class _Text(RootModel[Annotated[_Start | _Gap | _KeepAlive | _StopMessage, Field(discriminator="event")]]):
    pass


class Calls(PresentWork):
    """Serves calls of WebSocket clients.

    Args:
        model: name of the detector.
        names: names of this machine, besides those of the settings.

    Raises:
        InputError: if the clients need more file descriptors than this process may have.
    """

    def __init__(self, model: str, settings: ServerSettings, names: Iterable[str] = ()) -> None:
        self._settings = settings
        most = most_connections()
        if settings.clients > most:
            raise InputError(
                f"`clients` must be at most {most}, not {settings.clients}, because this process may open "
                f"only {most_open_files()} files: allow it more with ulimit -n"
            )
        self._judge: LiveJudge | None = None  # None until the detector is loaded
        self._saved_calls: SavedCalls | None = None
        self._callers: set[Caller] = set()  # those that are served; changed by the thread of the server only
        self._changed = Condition()  # guards the following; wakes threads that wait for lost connections
        self._serving: dict[str, Caller] = {}  # token of a session → the only connection that may serve it
        self._parked: dict[str, Parked] = {}  # token → session whose connection was lost, oldest first
        self._is_ending = False  # whether calls are stopped
        self._metrics = CallMetrics(model, lambda: self.num_present)
        self._guard = Guard(self._metrics, [*names, *settings.allow_name], origins=settings.allow_origin)

    @property
    def num_present(self) -> int:  # type: ignore[override]
        """Number of calls that have begun."""
        return sum(caller.listening is not None for caller in list(self._callers))

    def serve(
        self,
        listener: BoundedListener,
        load: Callable[[], LiveJudge],
        tell_ready: Callable[[], object],
        stop: StopSignals,
    ) -> None:
        """Serve clients until a signal, once the detector is loaded.

        Raises:
            InputError: if the states of calls cannot be saved.
        """
        seconds = self._settings.drain
        drain: dict[int, float] = {signal.SIGINT: seconds, signal.SIGTERM: seconds}
        serve(self._guard, listener, partial(self._begin, load), tell_ready, stop, drain, **SETTINGS)

    def _begin(self, load: Callable[[], LiveJudge]) -> Calls:
        judge = load()
        if self._settings.state is not None:
            self._saved_calls = SavedCalls(Path(self._settings.state), judge)
        self._judge = judge
        self._guard.app.add_api_websocket_route("/{path:path}", self._serve)
        self._metrics.begin(judge.scorer.precision, judge.scorer.computes_on)
        return self

    def close(self) -> None:
        """End all calls, also those that begin meanwhile, and wait for their last lines."""
        self._is_ending = True
        ended = set()
        while self.num_present:
            for caller in list(self._callers):
                if caller.listening is not None:
                    caller.listening.stop()
                    ended.add(caller.listening)
            time.sleep(_LOOK)
        for listening in ended:
            listening.wait(MAX_WAIT)

    async def _serve(self, websocket: WebSocket) -> None:
        with suppress(WebSocketDisconnect):
            await websocket.accept()
            if len(self._callers) < self._settings.clients:
                await self._serve_caller(Caller(websocket, self._settings.idle))
                return
            self._metrics.end("refusal", TRY_LATER)
            message = f"busy: {self._settings.clients} clients are served already; try again later"
            await websocket.send_text(json_text({"event": "error", "message": message}))
            await websocket.close(TRY_LATER)

    async def _serve_caller(self, caller: Caller) -> None:
        self._callers.add(caller)
        try:
            code = await in_thread(partial(self._run_session_to_code, caller))
            await caller.websocket.close(_GOING_AWAY if self._is_ending else code)
        except (Gone, WebSocketDisconnect):
            code = caller.code
        finally:  # not before the client has the last lines
            self._callers.remove(caller)
        self._metrics.end("end", code, call=caller.id)

    def _run_session_to_code(self, caller: Caller) -> int:
        try:
            self._run_session(caller)
        except Gone:
            raise
        except Exception as error:
            status, words = self._metrics.failure(error)
            log_event("error", call=caller.id, message=words)
            caller.send({"event": "error", "message": words})
            return _REFUSED if status < 500 else _FAILED
        return _OK

    def _run_session(self, caller: Caller) -> None:
        """Keep the session if the connection is lost."""
        start = caller.receive()
        if not isinstance(start, _Start):
            raise InputError(
                'the first message must be text such as {"event": "start", "rate": 16000}, not audio or another event'
            )
        names = channel_names(start.names, start.channels, "names")
        assert self._judge is not None
        judge = self._judge.claiming(start.person)
        begin = partial(judge.session, start.rate, start.encoding, names, True, "latest")
        parked = self._claim(caller, start, names, begin)
        session = begin() if parked is None else parked.session
        listening = Listening(session, _blocks(caller, start, session, parked))
        token = session.ready["session"]
        self._serving[token] = caller
        caller.listening = listening
        is_resumed = parked is not None
        try:
            log_event("begin", call=caller.id, resumed=is_resumed)
            caller.send(session.ready | {"resumed": is_resumed})
            for line in listening.lines():
                self._metrics.count(line, caller.id)
                if self._saved_calls is not None and line["event"] == "score":
                    self._saved_calls.save(session, listening.tallies())
                caller.send(line)
        except Gone:
            listening.wait()
            with self._changed:
                self._parked[token] = Parked(session, time.monotonic())
            raise
        finally:
            if self._saved_calls is not None:
                # A call that may resume, or that a stop of the server ends, keeps its saved state.
                self._saved_calls.end(token, token in self._parked or self._is_ending)
            with self._changed:
                del self._serving[token]
                self._changed.notify_all()

    def _claim(self, caller: Caller, start: _Start, names: list[str], begin: Callable[..., Session]) -> Parked | None:
        """Return the session that ``start`` continues, for this connection alone; None for a new session."""
        token = start.session
        if not token:
            return None
        with self._changed:
            lost = self._serving.get(token)
            if lost is not None:  # the connection is lost, but the server has not noticed yet
                lost.cut()
                self._changed.wait_for(lambda: self._serving.get(token) is not lost, MEMORY)
            if token in self._serving:  # another connection was faster
                return None
            parked = self._take_parked(token, start, names)
            if parked is None and self._saved_calls is not None:
                parked = self._saved_calls.restore(token, begin)
            if parked is not None:
                self._serving[token] = caller
            return parked

    def _take_parked(self, token: str, start: _Start, names: list[str]) -> Parked | None:
        """Remove and return the session to resume, if kept."""
        # Lost sessions are kept for MEMORY seconds, and at most as many as clients, to bound memory.
        latest = list(self._parked.items())[-self._settings.clients :]
        oldest = time.monotonic() - MEMORY
        self._parked = {name: parked for name, parked in latest if parked.since >= oldest}
        parked = self._parked.get(token)
        if parked is None:
            return None
        ready = parked.session.ready
        person = start.person or ready["person"]
        repeated = (start.rate, start.encoding, names, person)
        if (ready["rate"], ready["encoding"], ready["channels"], ready["person"]) != repeated:
            raise InputError(
                "the session to resume had another rate, encoding, person or other channels: repeat the values of its "
                "first `start`, or begin a new session"
            )
        return self._parked.pop(token)


def _blocks(caller: Caller, start: _Start, session: Session, parked: Parked | None) -> Iterator[AudioBlock]:
    """Yield audio until ``stop``, with the time of its first sample after a gap.

    A gap lasts as long as the client states; to this is added the time without a connection, if the
    session was ``parked``. After ``keepalive`` messages it lasts until the next audio.
    """
    decoder = PcmDecoder(start.encoding, start.channels)
    gap = 0.0
    last_audio = time.monotonic()
    if parked is not None:
        gap = last_audio - parked.since
    is_muted = False  # whether keepalive messages came after the last audio, and no gap was stated
    while not isinstance(message := caller.receive(), _StopMessage):
        if isinstance(message, _Start):
            raise InputError("this session was started already: send `start` only once")
        if isinstance(message, _Gap | _KeepAlive):
            decoder.finish()
            is_muted = isinstance(message, _KeepAlive)
            if isinstance(message, _Gap):
                gap += message.seconds
            continue
        (samples,) = decoder.push(message)
        if not samples.shape[1]:
            continue
        if is_muted:
            gap += time.monotonic() - last_audio
        is_muted = False
        last_audio = time.monotonic()
        start_time = session.channels[0].stream.now + gap if gap else None
        gap = 0.0
        yield AudioBlock(samples, start_time)


class Caller:
    """The connection of a client, for the threads of its call."""

    def __init__(self, websocket: WebSocket, idle: float) -> None:
        self.id = token_hex(16)  # in the log
        self.listening: Listening | None = None  # None until the call begins
        self.code = _LOST  # with which the connection was closed, if it was not this server
        self.websocket = websocket
        self._idle = idle
        self._loop = asyncio.get_running_loop()

    def receive(self) -> bytes | _Start | _Gap | _KeepAlive | _StopMessage:
        """Raise :class:`Gone` if the connection is lost, InputError if the message is unexpected or late."""
        try:
            message = self._wait_for(asyncio.wait_for(self.websocket.receive(), self._idle))
        except asyncio.TimeoutError:
            raise InputError(
                f"nothing came for {self._idle:g} s; send keepalive messages, or set a longer `idle` at the server"
            ) from None
        if message["type"] == "websocket.disconnect":
            if message["code"] != _NO_CODE:
                self.code = message["code"]
            raise Gone
        text = message.get("text")
        if text is None:
            return message["bytes"]
        if len(text) > _MAX_TEXT:
            raise InputError(
                f"a message of text has at most {_MAX_TEXT} characters, not {len(text)}: send audio as bytes"
            )
        try:
            return validate_json(_Text, text.encode()).root
        except ValueError as error:
            raise InputError(f"a message is not understood, {error}: send start, gap, keepalive or stop") from error

    def send(self, line: Line) -> None:
        """Raise :class:`Gone` if the connection is lost."""
        self._wait_for(self.websocket.send_text(json_text(line)))

    def cut(self) -> None:
        """End the connection, so that :meth:`receive` raises Gone."""
        asyncio.run_coroutine_threadsafe(self.websocket.close(_GOING_AWAY), self._loop)

    def _wait_for(self, action: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(action, self._loop).result()
        except (WebSocketDisconnect, RuntimeError, CancelledError) as error:  # it is closed, or the server ends
            raise Gone from error
