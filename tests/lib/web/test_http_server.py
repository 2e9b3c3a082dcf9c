"""Where a server listens, and by which names it is known."""

import resource
import socket
from contextlib import suppress

import pytest
from builders import PATIENCE, input_error

from nes2net.lib.web.http_server import BoundedListener, address_of, is_loopback, listening_socket, names_at


def test_a_server_that_other_machines_can_reach_has_the_names_of_its_machine():
    """After its given name, if any."""
    hostname = socket.gethostname()
    assert names_at("0.0.0.0")[:2] == names_at("192.168.1.7")[:2] == [hostname, f"{hostname}.local"]
    assert names_at("lab.example")[:2] == ["lab.example", hostname]


def test_a_server_at_a_loopback_address_has_no_names():
    assert names_at("127.0.0.1") == []
    assert names_at("::1") == []


def test_loopback_addresses_are_recognised():
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")


@pytest.fixture
def busy_port():
    with socket.create_server(("127.0.0.1", 0)) as busy_socket:
        yield busy_socket.getsockname()[1]


def test_a_port_that_another_program_uses_is_refused(busy_port):
    with input_error(rf"port {busy_port} of 127.0.0.1 is not free \("):
        listening_socket("127.0.0.1", range(busy_port, busy_port + 1))


def test_a_free_port_of_a_range_is_taken_if_its_first_is_not_free(busy_port):
    with listening_socket("127.0.0.1", range(busy_port, busy_port + 20)) as listener:
        assert busy_port < listener.getsockname()[1] < busy_port + 20


@pytest.fixture
def listener():
    """One that does not block, as asyncio uses it."""
    with listening_socket("127.0.0.1", range(0, 1)) as opened:
        opened.most = 3
        opened.setblocking(False)
        yield opened


def test_an_ipv6_address_is_written_in_brackets(listener):
    assert address_of(listener, "::1", "ws") == f"ws://[::1]:{listener.getsockname()[1]}"


def accepted(listener):
    """The next connection of the server."""
    while True:
        with suppress(BlockingIOError):
            return listener.accept()[0]


def connected(listener):
    """A client, and the connection of the server to it."""
    return socket.create_connection(listener.getsockname(), PATIENCE), accepted(listener)


def is_cut(client):
    client.settimeout(0.05)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


def test_one_connection_too_many_closes_the_oldest_idle_one(listener):
    pairs = [connected(listener) for _ in range(3)]
    BoundedListener.served.add(pairs[0][1])
    pairs.append(connected(listener))
    assert [is_cut(client) for client, _ in pairs] == [False, True, False, False]


def test_one_connection_too_many_is_closed_only_while_all_others_are_served(listener):
    pairs = [connected(listener) for _ in range(3)]
    BoundedListener.served.update(connection for _, connection in pairs)
    with socket.create_connection(listener.getsockname(), PATIENCE) as late:
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert is_cut(late)
    pairs[0][1].close()
    later, _ = connected(listener)
    assert not is_cut(later)


def test_without_a_free_file_descriptor_a_connection_waits_to_be_accepted(listener, caplog):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(listener.getsockname(), PATIENCE) as client:
        # Whichever file is closed meanwhile, 0 stays open.
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
        try:
            for _ in range(2):
                with pytest.raises(BlockingIOError):
                    listener.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert caplog.messages == ["a connection could not be opened (Too many open files)"]
        assert accepted(listener).getpeername() == client.getsockname()
