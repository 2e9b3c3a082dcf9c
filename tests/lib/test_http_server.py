"""Where a server listens, and by which names it is known."""

import socket

import pytest

from nes2net.lib.errors import InputError
from nes2net.lib.http_server import address_of, is_loopback, listening_socket, names_at


def test_the_names_of_this_machine_are_those_by_which_it_can_be_reached():
    own = socket.gethostname()
    assert names_at("127.0.0.1") == names_at("::1") == []
    assert names_at("0.0.0.0")[:2] == names_at("192.168.1.7")[:2] == [own, f"{own}.local"]
    assert names_at("lab.example")[:2] == ["lab.example", own]
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost") and not is_loopback("0.0.0.0")


def test_the_first_free_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port} of 127.0.0.1 is not free \("):
            listening_socket("127.0.0.1", range(port, port + 1))
        with listening_socket("127.0.0.1", range(port, port + 20)) as listener:
            assert port < listener.getsockname()[1] < port + 20
            assert address_of(listener, "::1", "ws") == f"ws://[::1]:{listener.getsockname()[1]}"
