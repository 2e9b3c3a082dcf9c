"""Check where every request comes from and how much it sends, before the application gets it; count the requests."""

from __future__ import annotations

import asyncio
import email.message
import re
import time
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from nes2net.lib.errors import readable_size, visible
from nes2net.lib.web.health_routes import add_health
from nes2net.lib.web.http_server import RefusedRequest, check_site
from nes2net.lib.web.service_health import HEALTH_PATHS, WHY_NOT, Metrics

#: Seconds within which a whole request must arrive.
PATIENCE = 600.0
#: What an :class:`Admission` gets as the method of a request for a WebSocket.
WEBSOCKET = "WEBSOCKET"
_SLACK = 1 << 20  # largest number of bytes of a request besides the file
# Bytes of a refused body that are received and discarded before the answer: a client that is still sending might not
# see it if the connection were closed at once.
_MAX_DISCARDED = 64 << 20
_DISCARD_WITHIN = 60.0  # seconds within which a refused body is received and discarded
# Longer parameters and headers are cut off, before the application gets them.
_MAX_PARAMETER = 100
_MAX_HEADER = 1000
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")  # RFC 2046, Sec. 5.1.1
# The headers that the application gets. It would keep others, which may be as long as a stranger likes.
_HEADERS = frozenset(
    b"host content-length transfer-encoding accept accept-encoding range if-range if-none-match "
    b"if-modified-since".split()
)
_HEADERS_OF_REFUSALS = {503: {"retry-after": "10"}, 426: {"upgrade": "websocket"}}
# Messages with which an answer begins, to HTTP requests and to those for a WebSocket.
_BEGIN = ("http.response.start", "websocket.http.response.start", "websocket.accept")
# The page and all its parts come from this server. Recordings that it plays are blobs, its spectrograms are data.
_POLICY = (
    "default-src 'none'; script-src 'self'{inline}; style-src 'self'{inline}; img-src 'self' data:; media-src blob:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors {frames}"
)


class Admitted(NamedTuple):
    """What a request may hold that was admitted by its method and path."""

    room: int = 0
    """Bytes of the body."""
    parameters: Collection[str] = ()
    is_strict: bool = False
    """Whether other parameters are refused, not ignored."""
    runs_inline_scripts: bool = False


class Admission:
    """Admits requests by method and path, before their bodies are received.

    This one admits those for health and metrics, and WebSockets once the detector is loaded.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def __call__(self, method: str, path: str) -> AbstractContextManager[Admitted]:
        """Raise :class:`RefusedRequest`, or return a context that is open while the request lasts."""
        state = self.metrics.state
        if path not in HEALTH_PATHS:
            if state in WHY_NOT:
                raise RefusedRequest(503, WHY_NOT[state])
            if method != WEBSOCKET:
                raise RefusedRequest(426, "calls are served here: connect with a WebSocket client")
        return nullcontext(Admitted())

    def route_of(self, path: str) -> str:
        """Return one of a few routes. Paths are not counted: they may hold the key of somebody's recording."""
        return path if path in HEALTH_PATHS else "other"


class Guard:
    """ASGI application that checks every request before another application gets it.

    - It must name this machine, and must not come from a page of another site
      (:func:`nes2net.lib.web.http_server.check_site`).
    - A body that is too long, or arrives too slowly, is refused while it arrives.
    - Only a form may be as long as an uploaded file.
    - The application gets only known parameters and headers.
    - Answers forbid the browser to load anything from other servers, and other sites to
      show the page in a frame.

    Args:
        metrics: counts the requests.
        names: names of this machine, besides ``localhost`` and IP addresses.
        frames: the only other sites that may show the page in a frame.
        origins: the only other sites whose pages may use this server.
    """

    def __init__(
        self,
        metrics: Metrics,
        names: Iterable[str],
        frames: Iterable[str] = (),
        origins: Iterable[str] = (),
    ) -> None:
        #: The application behind this one; at first it answers only for health and metrics.
        self.app = FastAPI(openapi_url=None)
        add_health(self.app, metrics)
        self.admission = Admission(metrics)
        self.metrics = metrics
        # As check_site() compares them.
        self.names = {name.lower().rstrip(".") for name in names}
        self.origins = {origin.lower().rstrip("/") for origin in origins}
        self.frames = " ".join(("'self'", *frames))  # for `frame-ancestors` in _POLICY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope.get("method", WEBSOCKET)
        body = _Body(receive, method != WEBSOCKET)
        answer = _Answer(send, body)
        begin = time.monotonic()
        try:
            await self._answer(scope, method, body, answer)
        except RefusedRequest as refusal:
            body.refusal = None
            await _send_refusal(scope["type"], body, answer, refusal)
        finally:
            route = self.admission.route_of(scope["path"])
            self.metrics.note_request(method, route, answer.status, time.monotonic() - begin)

    async def _answer(self, scope: Scope, method: str, body: _Body, answer: _Answer) -> None:
        # Reversed, so that the first of several equal headers counts.
        pairs = reversed(scope["headers"])
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        check_site(headers, self.names, self.origins)
        with self.admission(method, scope["path"]) as admitted:
            query = _filter_query(scope["query_string"], admitted)
            form_type = _form_type(headers.get("content-type", ""))
            body.allow(admitted.room if form_type else min(admitted.room, _SLACK))
            if int(headers.get("content-length", 0)) > body.num_allowed:
                raise body.too_large
            passed = [(name, value[:_MAX_HEADER]) for name, value in scope["headers"] if name in _HEADERS]
            passed_fields = {"query_string": query, "headers": [*passed, (b"content-type", form_type)]}
            inline = " 'unsafe-inline'" if admitted.runs_inline_scripts else ""
            answer.policy = _POLICY.format(inline=inline, frames=self.frames)
            try:
                # The server itself omits the content of an answer to HEAD.
                await self.app({**scope, **passed_fields, "method": method.replace("HEAD", "GET")}, body, answer)
            except Exception as error:
                if not (body.refusal or isinstance(error, ClientDisconnect)):
                    raise
        if body.refusal and not answer.has_begun:
            raise body.refusal


class _Body:
    """The body of a request, with limits on bytes and seconds; called instead of ASGI's ``receive``."""

    def __init__(self, receive: Receive, is_incomplete: bool) -> None:
        self.receive = receive
        self.deadline = time.monotonic() + PATIENCE
        self.is_incomplete = is_incomplete
        self.refusal: RefusedRequest | None = None
        self.allow(0)

    def allow(self, room: int) -> None:
        """Allow a file of ``room`` bytes, and some more for the form around it."""
        self.num_allowed = room + _SLACK
        self.too_large = RefusedRequest(413, f"too large: send at most {readable_size(room)} at once")

    async def __call__(self) -> Message:
        """Raise :class:`RefusedRequest` if a limit is broken."""
        try:
            message = await self.receive_message()
        except asyncio.TimeoutError:
            self.refusal = RefusedRequest(
                408, f"the request was not complete within {PATIENCE:g} s: send a smaller file"
            )
            raise self.refusal from None
        content = message.get("body", b"")
        self.num_allowed -= len(content)
        if self.num_allowed < 0:
            self.refusal = self.too_large
            raise self.refusal
        return message

    async def receive_message(self) -> Message:
        """Receive the next message before the deadline.

        Messages after the body have no deadline: the end of the connection, and all of a WebSocket.
        """
        if not self.is_incomplete:
            return await self.receive()
        message = await asyncio.wait_for(self.receive(), self.deadline - time.monotonic())
        self.is_incomplete = message.get("more_body", False)
        return message


class _Answer:
    """The answer to a request; called instead of ASGI's ``send``."""

    def __init__(self, send: Send, body: _Body) -> None:
        self.send = send
        self.body = body
        self.policy = "default-src 'none'"
        self.has_begun = False
        self.status = 500  # if the application fails, the server itself answers with this status

    async def __call__(self, message: Message) -> None:
        if self.body.refusal and not self.has_begun:
            return  # the refusal replaces the answer of the application
        if message["type"] in _BEGIN:
            self.has_begun = True
            self.status = message.get("status", 101)
            headers = [header for header in message["headers"] if not header[0].startswith(b"access-control-")]
            headers += [
                (b"content-security-policy", self.policy.encode()),
                (b"cache-control", b"no-store"),  # a page of an earlier version must not stay
                (b"x-content-type-options", b"nosniff"),
                (b"referrer-policy", b"no-referrer"),
            ]
            message = {**message, "headers": headers}
        await self.send(message)


def _form_type(content_type: str) -> bytes:
    """Return the understood part of a form's header Content-Type; nothing for other content."""
    message = email.message.Message()
    message["content-type"] = content_type
    if message.get_content_type() != "multipart/form-data":
        return b""
    boundary = message.get_boundary("")
    if not _BOUNDARY.fullmatch(boundary):
        raise RefusedRequest(422, "not a form: its header Content-Type requires a boundary of at most 70 characters")
    return f'multipart/form-data; boundary="{boundary}"'.encode()


def _filter_query(query: bytes, admitted: Admitted) -> bytes:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    understood = {name: value for name, value in pairs if name in admitted.parameters}
    if admitted.is_strict and len(understood) < len(pairs):
        expected = ", ".join(admitted.parameters) or "no parameters"
        came = visible(query[:_MAX_PARAMETER].decode("latin-1"))
        raise RefusedRequest(422, f"?{came} is not understood: expected {expected} here, each at most once")
    return urlencode({name: value[:_MAX_PARAMETER] for name, value in understood.items()}).encode()


async def _send_refusal(scope_type: str, body: _Body, answer: _Answer, refusal: RefusedRequest) -> None:
    # A client that still sends might not see the answer.
    num_to_discard = _MAX_DISCARDED
    body.deadline = min(body.deadline, time.monotonic() + _DISCARD_WITHIN)
    with suppress(asyncio.TimeoutError):
        while body.is_incomplete and num_to_discard > 0:
            num_to_discard -= len((await body.receive_message()).get("body", b""))
    headers = {"connection": "close", **_HEADERS_OF_REFUSALS.get(refusal.status, {})}
    await JSONResponse({"error": str(refusal)}, refusal.status, headers)({"type": scope_type}, body, answer)
