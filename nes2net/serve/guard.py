"""What comes before every request: whose it is, how much it may send, what the page may load."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from nes2net.errors import InputError, readable_size

_SLACK = 1 << 20  # bytes of a request besides the file
# Bytes of a refused body that are read and thrown away: a client that is still sending may never see the answer.
_THROWN_AWAY = 64 << 20
# The page and everything in it comes from this server, so nothing is fetched from elsewhere.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; "
    "worker-src 'self' blob:; form-action 'self'; base-uri 'self'; object-src 'none'; frame-ancestors {}"
)


class _TooLarge(Exception):
    """More bytes came than are taken."""


class Guard:
    """ASGI middleware in front of the page and the API.

    - A request must be addressed to this machine (``Host``) by an address or a known name. A web
      page of a stranger whose name was made to lead here (DNS rebinding) is refused.
    - A request that a browser sends for a page of another site (``Origin``) is refused.
    - A body longer than the largest upload is refused while it comes.
    - The browser may load nothing from elsewhere and show the page in no other site's frame.

    Args:
        names: names of this machine, besides ``localhost`` and addresses.
        room: the most bytes that may be sent to a path.
        frames: sites that may show the page in a frame.
    """

    def __init__(self, app: Any, names: Iterable[str], room: Callable[[str], int], frames: Iterable[str] = ()) -> None:
        self.app, self.room = app, room
        self.names = {"localhost", *(name.lower().rstrip(".") for name in names)}
        self.policy = _POLICY.format(" ".join(("'self'", *frames)))

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no WebSocket is served
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._refusal(headers):
            return await _answer(receive, send, *refusal)
        room = self.room(scope["path"])
        too_large = f"too large: {readable_size(room)} are taken here at once"
        left, more, started = room + _SLACK, True, False
        length = headers.get(b"content-length", "")
        if length.isdecimal() and int(length) > left:
            return await _answer(receive, send, 413, too_large)

        async def counted() -> Any:
            nonlocal left, more
            message = await receive()
            left, more = left - len(message.get("body", b"")), message.get("more_body", False)
            if left < 0:
                raise _TooLarge
            return message

        async def with_policy(message: dict[str, Any]) -> None:
            nonlocal started
            if left < 0 and not started:
                return  # what the application makes of the interrupted body
            if message["type"] == "http.response.start":
                started = True
                kept = [(name, value) for name, value in message["headers"] if not name.startswith(b"access-control-")]
                message = {**message, "headers": [*kept, *self._headers()]}
            await send(message)

        try:
            await self.app(scope, counted, with_policy)
        except Exception:
            if left >= 0:
                raise
        if left < 0 and not started:
            await _answer(receive, send, 413, too_large, more)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-security-policy", self.policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    def _refusal(self, headers: dict[bytes, str]) -> tuple[int, str] | None:
        host = headers.get(b"host", "")
        if not self._is_own(host):
            return 421, (
                "this server is not known by that name: open it by its address, or start it with --allow-name NAME"
            )
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "a page of another site may not use this server"
        if headers.get(b"sec-fetch-site") == "cross-site" and headers.get(b"sec-fetch-mode") != "navigate":
            return 403, "a page of another site may not use this server"
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name.rstrip(".") in self.names or is_address(name)


def is_address(name: str) -> bool:
    """Whether ``name`` is an IP address, which no name server can redirect.

    >>> is_address("127.0.0.1"), is_address("::1"), is_address("127.0.0.1.example.org")
    (True, True, False)
    """
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a server at ``host`` can be reached from this machine alone.

    Raises:
        InputError: if the name has no address.
    """
    try:
        found = socket.getaddrinfo(host, None)
    except OSError as error:
        raise InputError(f"`host` {host} has no address here ({error.strerror})") from error
    return all(ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback for address in found)


async def _answer(receive: Any, send: Any, status: int, error: str, more: bool = True) -> None:
    left = _THROWN_AWAY
    while more and left > 0:
        message = await receive()
        left, more = left - len(message.get("body", b"")), message.get("more_body", False)
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
