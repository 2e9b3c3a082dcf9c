"""Check where every request comes from and how much it sends, before the application gets it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager, suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nes2net.lib.errors import readable_size, visible
from nes2net.lib.web.http_server import Refused, check_site

#: Seconds within which a whole request must arrive.
PATIENCE = 600.0
_SLACK = 1 << 20  # largest number of bytes of a request besides the file
# Bytes of a refused body that are received and discarded before the answer: a client that is still sending might not
# see it if the connection were closed at once.
_MAX_DISCARDED = 64 << 20
_DISCARD_WITHIN = 60.0  # seconds within which a refused body is received and discarded
# Longer parameters and headers are cut off, before the application gets them.
_MAX_PARAMETER = 100
_MAX_HEADER = 1000
# The headers that the application gets. It would keep others, which may be as long as a stranger likes.
_HEADERS = frozenset(
    b"host content-length transfer-encoding accept accept-encoding range if-range if-none-match "
    b"if-modified-since".split()
)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{1,70}")  # RFC 2046, Sec. 5.1.1
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


#: Admits a request by method and path, before its body is received, or raises Refused. The returned context is open
#: while the request lasts.
Admit = Callable[[str, str], AbstractContextManager[Admitted]]


class Guard:
    """ASGI middleware that checks every request before the page or the API gets it.

    - It must name this machine, and must not come from a page of another site
      (:func:`nes2net.lib.web.http_server.check_site`).
    - A body that is too long, or arrives too slowly, is refused while it arrives.
    - Only a form may be as long as an uploaded file. It must hold files only, because text fields
      would be kept in memory.
    - The application gets only known parameters and headers.
    - Answers forbid the browser to load anything from other servers, and other sites to
      show the page in a frame.

    Args:
        names: names of this machine, besides ``localhost`` and IP addresses.
        admit: admits or refuses the requests that pass these checks.
        frames: the only other sites that may show the page in a frame.
        patience: seconds within which a whole request must arrive.
    """

    def __init__(
        self, app: ASGIApp, names: Iterable[str], admit: Admit, frames: Iterable[str] = (), patience: float = PATIENCE
    ) -> None:
        self.app = app
        self.admit = admit
        self.patience = patience
        self.names = {name.lower().rstrip(".") for name in names}  # as check_site() compares them
        self.frames = " ".join(("'self'", *frames))  # for `frame-ancestors` in _POLICY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # WebSockets are not served
        # Reversed, so that the first of several equal headers counts.
        pairs = reversed(scope["headers"])
        headers = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in pairs}
        stated = headers.get("content-length", "")
        length = int(stated) if stated.isdecimal() else None
        body = _Body(receive, self.patience)
        try:
            check_site(headers, self.names)
            with self.admit(scope["method"], scope["path"]) as admitted:
                query = _filter_query(scope["query_string"], admitted)
                content_type, body.form = _Form.from_content_type(headers.get("content-type", ""))
                body.allow(admitted.room if body.form else min(admitted.room, _SLACK))
                if (length or 0) > body.num_allowed:
                    raise body.too_large
                passed = [(name, value[:_MAX_HEADER]) for name, value in scope["headers"] if name in _HEADERS]
                known = {"query_string": query, "headers": [*passed, (b"content-type", content_type)]}
                # The server itself omits the content of an answer to HEAD.
                scope = {**scope, **known, "method": scope["method"].replace("HEAD", "GET")}
                inline = " 'unsafe-inline'" if admitted.runs_inline_scripts else ""
                await self._forward(scope, body, send, _POLICY.format(inline=inline, frames=self.frames))
        except Refused as refusal:
            await _send_refusal(body, send, refusal)

    async def _forward(self, scope: Scope, body: _Body, send: Send, policy: str) -> None:
        started = False  # whether the beginning of the answer was sent

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if body.refusal and not started:
                return  # the refusal replaces the answer of the application
            if message["type"] == "http.response.start":
                started = True
                headers = [header for header in message["headers"] if not header[0].startswith(b"access-control-")]
                headers += [
                    (b"content-security-policy", policy.encode()),
                    (b"cache-control", b"no-store"),  # a page of an earlier version must not stay
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self.app(scope, body, send_with_headers)
        except Exception:
            if not (body.refusal or body.is_disconnected):
                raise
        if body.refusal and not started:
            raise body.refusal


class _Body:
    """The body of a request, with limits on bytes and seconds; called instead of ASGI's ``receive``."""

    def __init__(self, receive: Receive, patience: float) -> None:
        self.receive = receive
        self.patience = patience
        self.form: _Form | None = None
        self.deadline = time.monotonic() + patience
        self.is_incomplete = True
        self.is_disconnected = False
        self.refusal: Refused | None = None
        self.allow(0)

    def allow(self, room: int) -> None:
        """Allow a file of ``room`` bytes, and some more for the form around it."""
        self.num_allowed = room + _SLACK
        self.too_large = Refused(413, f"too large: send at most {readable_size(room)} at once")

    async def __call__(self) -> Message:
        """Raise :class:`Refused` if a limit is broken."""
        try:
            message = await self.receive_message()
        except asyncio.TimeoutError:
            self.refusal = Refused(408, f"the request was not complete within {self.patience:g} s: send a smaller file")
            raise self.refusal from None
        content = message.get("body", b"")
        self.num_allowed -= len(content)
        if self.num_allowed < 0:
            self.refusal = self.too_large
        elif self.form:
            self.refusal = self.form.refusal_of(content)
        if self.refusal:
            raise self.refusal
        return message

    async def receive_message(self) -> Message:
        """Receive the next message before the deadline.

        After the body, the only message, without a deadline, says that the connection has ended.
        """
        if not self.is_incomplete:
            return await self.receive()
        message = await asyncio.wait_for(self.receive(), self.deadline - time.monotonic())
        self.is_incomplete = message.get("more_body", False)
        self.is_disconnected = message["type"] == "http.disconnect"
        return message


def _filter_query(query: bytes, admitted: Admitted) -> bytes:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    known = {name: value for name, value in pairs if name in admitted.parameters}
    if admitted.is_strict and len(known) < len(pairs):
        expected = ", ".join(admitted.parameters) or "no parameters"
        came = visible(query[:_MAX_PARAMETER].decode("latin-1"))
        raise Refused(422, f"?{came} is not understood: expected {expected} here, each at most once")
    return urlencode({name: value[:_MAX_PARAMETER] for name, value in known.items()}).encode()


class _Form:
    """Checks that a form, which arrives in pieces, holds files only."""

    def __init__(self, boundary: bytes) -> None:
        self.name = self.value = b""  # name and value of the header that is arriving
        self.is_file = False
        watched = ("part_begin", "header_field", "header_value", "header_end", "headers_finished")
        callbacks: Any = {f"on_{event}": getattr(self, event) for event in watched}
        self.parser = MultipartParser(boundary, callbacks)

    @classmethod
    def from_content_type(cls, content_type: str) -> tuple[bytes, _Form | None]:
        """Return the understood part of the header, and a check of a form.

        Raises :class:`Refused` without the boundary between the parts of the form.
        """
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            return kind[:_MAX_PARAMETER], None
        boundary = options.get(b"boundary", b"")
        if not _BOUNDARY.fullmatch(boundary):
            raise Refused(422, "not a form: its header Content-Type requires a boundary of at most 70 characters")
        return kind + b'; boundary="' + boundary + b'"', cls(boundary)

    def refusal_of(self, content: bytes) -> Refused | None:
        try:
            self.parser.write(content)
        except FormParserError:
            return Refused(422, "not a form: its parts must be divided and headed as in multipart/form-data")
        except Refused as refusal:
            return refusal
        return None

    # The parser calls the following methods, which are named like the parser's events.

    def part_begin(self) -> None:
        self.name = self.value = b""
        self.is_file = False

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        if self.name.lower() == b"content-disposition":
            self.is_file = b"filename" in parse_options_header(self.value)[1]
        self.name = self.value = b""

    def headers_finished(self) -> None:
        if not self.is_file:
            raise Refused(422, "a form field is not a file: send only the recording, in the form field file")


async def _send_refusal(body: _Body, send: Send, refusal: Refused) -> None:
    # A client that still sends might not see the answer.
    num_to_discard = _MAX_DISCARDED
    body.deadline = min(body.deadline, time.monotonic() + _DISCARD_WITHIN)
    with suppress(asyncio.TimeoutError):
        while body.is_incomplete and num_to_discard > 0:
            num_to_discard -= len((await body.receive_message()).get("body", b""))
    headers = {"connection": "close"}
    if refusal.status == 503:
        headers["retry-after"] = "10"
    await JSONResponse({"error": str(refusal)}, refusal.status, headers)({"type": "http"}, body, send)
