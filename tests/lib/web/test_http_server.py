"""Where a server listens, and by which names it is known."""

import resource
import socket
import threading
from contextlib import contextmanager

import pytest
from builders import PATIENCE, input_error, wait

from nes2net.lib.web.http_server import Listener, address_of, is_loopback, listening_socket, names_at


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
    with listening_socket("127.0.0.1", range(0, 1)) as opened:
        opened.most = 3
        opened.settimeout(PATIENCE)
        yield opened


def test_an_ipv6_address_is_written_in_brackets(listener):
    assert address_of(listener, "::1", "ws") == f"ws://[::1]:{listener.getsockname()[1]}"


def connected(listener):
    """A client, and the connection of the server to it."""
    client = socket.create_connection(listener.getsockname(), PATIENCE)
    return client, listener.accept()[0]


def is_cut(client):
    client.settimeout(0.05)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False


def test_one_connection_too_many_closes_the_oldest_idle_one(listener):
    pairs = [connected(listener) for _ in range(3)]
    Listener.served.add(pairs[0][1])
    pairs.append(connected(listener))
    assert [is_cut(client) for client, _ in pairs] == [False, True, False, False]


def test_one_connection_too_many_is_closed_only_while_all_others_are_served(listener):
    pairs = [connected(listener) for _ in range(3)]
    for _, connection in pairs:
        Listener.served.add(connection)
    late = socket.create_connection(listener.getsockname(), PATIENCE)
    accepted = []
    thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
    thread.start()
    wait(lambda: is_cut(late))
    pairs[0][1].close()
    later = socket.create_connection(listener.getsockname(), PATIENCE)
    thread.join(PATIENCE)
    assert len(accepted) == 1
    assert not is_cut(later)


@contextmanager
def no_free_descriptor():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))  # whichever file is closed meanwhile, 0 stays open
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_without_a_free_file_descriptor_a_connection_waits_to_be_accepted(listener, caplog):
    client = socket.create_connection(listener.getsockname(), PATIENCE)
    accepted = []
    thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
    with no_free_descriptor():
        thread.start()
        wait(lambda: caplog.messages)
        assert accepted == []
    thread.join(PATIENCE)
    assert accepted[0][1] == client.getsockname()


def test_without_a_free_file_descriptor_a_socket_that_does_not_block_raises_blocking_io_error(listener):
    """asyncio expects this error."""
    listener.setblocking(False)
    with socket.create_connection(listener.getsockname(), PATIENCE), no_free_descriptor():
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_waiting_for_a_connection_ends_when_the_socket_is_closed(listener):
    listener.settimeout(0.1)
    ended = threading.Event()

    def accept():
        with pytest.raises(OSError):
            listener.accept()
        ended.set()

    threading.Thread(target=accept, daemon=True).start()
    listener.close()
    assert ended.wait(PATIENCE)
