"""Load a detector, and serve the page at an address until the server is stopped."""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from nes2net.actions.flags import Loading
from nes2net.apps.serve.app import RequestAdmission, build
from nes2net.apps.serve.desk import Desk
from nes2net.apps.serve.limits import Limits
from nes2net.apps.serve.observing import Observer
from nes2net.lib.output.terminal import print_note
from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.web.guard import Guard
from nes2net.lib.web.http_server import address_of, announce, listening_socket, names_at
from nes2net.lib.web.server import serve as serve_work
from nes2net.lib.web.service_log import LogKind, logging_as, tell
from nes2net.scoring.claimed import PersonDecider
from nes2net.scoring.decisions.decision import Decider

#: The port that the page has unless it is taken.
PORT = 7860
#: Signal → seconds for the recordings that are present when it comes.
DRAIN: dict[int, float] = {signal.SIGINT: 0.0, signal.SIGTERM: math.inf}
_PORTS_TRIED = 20  # number of ports to try, beginning with PORT, if no port is given


@dataclass(frozen=True)
class Address:
    """Where the server listens, and which pages may show it."""

    host: str = "127.0.0.1"
    """Other machines cannot reach a loopback address."""
    port: int | None = None
    """None for the first free port from 7860 on."""
    names: Sequence[str] = ()
    """Further host names of this machine in the page's address."""
    frames: Sequence[str] = ()
    """Sites that may show the page in a frame."""


def serve(
    model: str | Path,
    decider: Decider | None = None,
    address: Address = Address(),
    loading: Loading | None = None,
    evidence: Sequence[str] = (),
    people: PersonDecider | None = None,
    *,
    limits: Limits | None = None,
    log: LogKind = "text",
    stop: StopSignals,
) -> None:
    """Serve the page of ``model`` until Ctrl-C, SIGTERM or SIGHUP.

    Ctrl-C or a second signal ends the server at once, the first SIGTERM or SIGHUP after the present
    recordings are scored.

    Args:
        model: as for :meth:`nes2net.Detector.from_pretrained`, or an exported detector, FILE.onnx.
        decider, evidence, people, limits: as for :class:`Desk`.
        stop: notes signals while the server starts.

    Raises:
        InputError: if the model or the calibration cannot be used, or if no port is free.
    """
    host = address.host
    ports = range(PORT, PORT + _PORTS_TRIED)
    if address.port is not None:
        ports = range(address.port, address.port + 1)
    observer = Observer(Path(model).name)
    guard = Guard(observer, [*names_at(host), *address.names], address.frames)
    listener = listening_socket(host, ports)
    with listener, TemporaryDirectory(prefix="nes2net-serve-") as folder, logging_as(log):

        def begin() -> Desk:
            detector = (loading or Loading()).scorer(str(model))
            stop.check()
            desk = Desk(detector, Path(folder), limits, decider, observer, evidence, people)
            # Divide the processors among the workers, because every worker starts as many torch threads as are set
            # here.
            torch.set_num_threads(max(1, torch.get_num_threads() // desk.limits.workers))
            open_desk(guard, desk)
            for note in desk.notes:
                print_note(note)
            return desk

        def tell_ready() -> None:
            announce(observer.model, address_of(listener, host), host, "page")

        serve_work(guard, listener, begin, tell_ready, stop, DRAIN)
        if stop.number == signal.SIGINT:
            tell("stopped", "\nstopped")
        else:
            stop.check()


def open_desk(guard: Guard, desk: Desk) -> Desk:
    """Answer with the page and the HTTP API from now on."""
    guard.app = build(desk)
    guard.admission = RequestAdmission(desk)
    desk.observer.begin(desk.detector.precision, desk.detector.computes_on)
    return desk
