"""A stand-in for a publisher's server: programs that are told of it ask it for the addresses of the publisher."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

from builders.http_server import Server, running


@contextmanager
def publishing(host: str, pages: dict[str, bytes], folder: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    """Serve ``pages`` (path → content) as ``https://{host}``; yield the server, and the variables that lead a program there.

    The certificate of its authority is written to ``folder``.
    """
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    with running(context=context) as server, _Proxy(("127.0.0.1", 0), _Tunnel) as proxy:
        server.pages = pages
        proxy.address_of = {f"{host}:443": server.server_address}
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        yield server, {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}", "SSL_CERT_FILE": str(trusted)}
        proxy.shutdown()


class _Proxy(ThreadingTCPServer):
    daemon_threads = True
    address_of: dict[str, tuple]


class _Tunnel(StreamRequestHandler):
    """Connects the client with the stand-in for the host that it asks for, and with nothing else."""

    server: _Proxy

    def handle(self) -> None:
        _, host, _ = self.rfile.readline().decode().split()  # CONNECT host:port HTTP/1.1
        while self.rfile.readline().strip():
            pass
        address = self.server.address_of.get(host)
        if address is None:
            self.wfile.write(b"HTTP/1.1 502 Not there\r\n\r\n")
            return
        with socket.create_connection(address) as there, there.makefile("rwb", buffering=0) as end:
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=_pump, args=(end, self.wfile), daemon=True)
            back.start()
            _pump(self.connection.makefile("rb", buffering=0), end)
            there.shutdown(socket.SHUT_WR)
            back.join()


def _pump(source, target) -> None:
    try:
        shutil.copyfileobj(source, target)
    except OSError:  # the other end has gone
        pass
