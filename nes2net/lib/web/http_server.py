"""Addresses at which a server of this machine listens, and a check that refuses requests from other sites' pages."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import urlsplit
from weakref import WeakSet

from nes2net.lib.errors import InputError, as_input_error
from nes2net.lib.output.terminal import printable_name
from nes2net.lib.process.this_process import most_open_files
from nes2net.lib.web.service_log import LOGGER, tell

_PAUSE = 0.005  # seconds in which a connection that was cut off usually ends


class RefusedRequest(Exception):
    """Refuses a request with the HTTP status ``status`` and the message ``error``."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


def check_site(headers: Mapping[str, str], names: Collection[str], origins: Collection[str] = ()) -> None:
    """Check that a request names this machine, and does not come from a page of another site.

    ``Host`` must be an IP address, ``localhost`` or one of ``names``, against DNS rebinding.
    Browsers state the page's site in ``Origin`` and ``Sec-Fetch-Site``.

    Args:
        headers, names: names of headers, and of hosts, in lower case.
        origins: sites whose pages may use this server, in lower case.

    Raises:
        RefusedRequest: if a header does not meet these conditions.
    """
    host = headers.get("host", "").lower()
    name = ""
    with suppress(ValueError):
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    if not (name in names or name == "localhost" or is_address(name)):
        advice = "open it by its address, or start it with --allow-name NAME"
        raise RefusedRequest(421, f"this server does not accept the host name of this request: {advice}")
    origin = headers.get("origin", "").lower()
    if origin in (f"http://{host}", f"https://{host}", *origins):
        return
    if origin or (headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"):
        raise RefusedRequest(
            403,
            "a page of another site may not use this server. Behind a proxy, let the proxy pass on the header Host that "
            "it got (nginx: proxy_set_header Host $http_host)",
        )


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
    """Whether only this machine can reach ``host``; raise :class:`InputError` if it has no address."""
    with as_input_error(f"`host` {host} has no address here", OSError, remedy="name an address of this machine"):
        addresses = socket.getaddrinfo(host, None)
    return all(ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback for address in addresses)


def names_at(host: str) -> list[str]:
    """List the host names of a server at ``host``, for :func:`check_site`; none for a loopback IP address."""
    if is_address(host) and is_loopback(host):
        return []
    name = socket.gethostname()
    names = [name, f"{name}.local", socket.getfqdn()]
    return names if is_address(host) else [host, *names]


def address_to_serve(text: str) -> tuple[str, int]:
    """Read ``[HOST:]PORT``, or raise :class:`InputError`; the default host 127.0.0.1 serves only this machine.

    >>> address_to_serve("7861"), address_to_serve("[::]:80")
    (('127.0.0.1', 7861), ('::', 80))
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise InputError(f"`serve` must be a port, or HOST:PORT, not '{text}'")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


class BoundedListener(socket.socket):
    """A listening socket with at most :attr:`most` connections, each of which needs a file descriptor.

    Another one cuts off the oldest outside :attr:`served`, or is closed. Without a descriptor,
    :meth:`accept` waits a little: asyncio would log a traceback for every connection that waits.
    """

    #: Connections of all listeners with a request or a call under way.
    served: ClassVar[WeakSet[socket.socket]] = WeakSet()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.most = most_connections()
        self._connections: list[socket.socket] = []  # the oldest first
        self._must_pause = False  # before the next connection

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection.

        Raises:
            BlockingIOError: if no connection can be accepted now.
        """
        if self._must_pause:  # so that connections that were cut off end
            self._must_pause = False
            time.sleep(_PAUSE)
            raise BlockingIOError
        try:
            connection, address = super().accept()
        except BlockingIOError:
            raise
        except OSError as error:
            LOGGER.warning("a connection could not be opened (%s)", error.strerror)
            self._must_pause = True
            raise BlockingIOError from error
        if not self._makes_room():
            connection.close()
            raise BlockingIOError
        self._connections.append(connection)
        return connection, address

    def _makes_room(self) -> bool:
        # Cuts off the oldest idle connection if there are too many; returns false if all are in use.
        self._connections = [connection for connection in self._connections if connection.fileno() >= 0]
        if len(self._connections) < self.most:
            return True
        LOGGER.warning("more than %d connections: idle ones are closed", self.most)
        idle = [connection for connection in self._connections if connection not in self.served]
        if not idle:
            return False
        self._connections.remove(idle[0])
        self._must_pause = True  # accept() then waits, so that the connection ends
        with suppress(OSError):  # the client was faster
            idle[0].shutdown(socket.SHUT_RDWR)
        return True


def most_connections() -> int:
    """Bound the connections of a server: 500, or as many as half of the files that it may open."""
    return min(500, most_open_files() // 2)


def listening_socket(host: str, ports: range) -> BoundedListener:
    """Listen at the first free port of ``ports``.

    Raises:
        InputError: if ``host`` has no address here, or if none of the ports is free.
    """
    is_loopback(host)  # raises the error about an unknown host
    family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    reason = None
    for port in ports:
        listener = BoundedListener(family)
        try:
            if os.name == "posix":  # on Windows, the option would let two servers share a port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address[0], port))
            listener.listen()
            return listener
        except OSError as error:
            listener.close()
            reason = error.strerror
    refusal = f"port {ports[0]} of {host} is not free"
    if len(ports) > 1:
        refusal = f"none of the ports {ports[0]} to {ports[-1]} of {host} is free"
    raise InputError(f"{refusal} ({reason}): name another `port`")


def address_of(listener: socket.socket, host: str, scheme: str = "http") -> str:
    """Write the address by which clients reach ``listener``."""
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}:{listener.getsockname()[1]}"


def announce(model: str, url: str, host: str, what: str) -> None:
    """Say that a server is ready; warn if other machines can reach ``host``."""
    if not is_loopback(host):
        LOGGER.warning(
            "warning: everyone who can reach %s can use this %s; there is no password and no encryption", url, what
        )
    tell("ready", f"{printable_name(model)} is served at {url} (Ctrl-C ends it)", model=model, url=url)
