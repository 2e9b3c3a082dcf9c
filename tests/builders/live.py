"""What `nes2net listen` has to say of a call: short windows, and their scores."""

import json
import signal
import socket
import threading
from contextlib import contextmanager

from builders import PATIENCE
from nes2net.apps.listen.listening import Listening, LiveJudge
from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.storage.files import json_text
from nes2net.lib.web.http_server import address_of, listening_socket

WINDOW = 0.5
HOP = 0.25


def judge_of(detector, decider=None, **settings):
    return LiveJudge(detector, "small.pth", decider, None, **{"window": WINDOW, "hop": HOP, **settings})


def session_of(judge, rate=16000, names=("mix",), is_live=True):
    return judge.session(rate, "s16le", names, is_live, "all")


def heard(judge, blocks, rate=16000, names=("mix",)):
    """The lines of blocks, as they are read from JSON."""
    return [json.loads(json_text(line)) for line in Listening(session_of(judge, rate, names), blocks).lines()]


def lines_of(lines, *events):
    """The lines of some kinds of event."""
    return [line for line in lines if line["event"] in events]


def windows(lines, channel="mix"):
    """Start, end and score of each window of a channel."""
    scores = [line for line in lines_of(lines, "score") if line["channel"] == channel]
    return [(line["start"], line["end"], line["score"]) for line in scores]


def expected(detector, samples, rate=16000):
    """The windows of samples (N,) by Python."""
    stream = detector.stream(rate, window=WINDOW, hop=HOP)
    return [tuple(window) for window in stream.push(samples) + stream.finish()]


@contextmanager
def serving(judge, clients=4, load=None, **settings):
    """The address of a server, and the signals that stop it; ``load`` loads the judge."""
    from nes2net.apps.listen.server import Calls
    from nes2net.apps.listen.settings import ServerSettings

    listener = listening_socket("127.0.0.1", range(0, 1))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # few lines wait for who does not read
    url = address_of(listener, "127.0.0.1", "ws")
    calls = Calls("small.pth", ServerSettings(clients=clients, **settings))
    stop = StopSignals()
    is_ready = threading.Event()
    thread = threading.Thread(target=calls.serve, args=(listener, load or (lambda: judge), is_ready.set, stop))
    thread.start()
    try:
        if load is None:
            is_ready.wait(PATIENCE)
        yield url, stop
    finally:
        assert is_ready.wait(PATIENCE)
        stop.number = signal.SIGTERM
        thread.join(PATIENCE)
    assert not thread.is_alive()
