"""`nes2net serve`: a page that plays recordings and shows their scores, and an HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from nes2net.actions.flags import Deciding, EvidenceFlags, Loading, ModelName
from nes2net.apps.serve.limits import Limits
from nes2net.lib.errors import InputError
from nes2net.lib.process.installation import optional
from nes2net.lib.process.stop_signals import StopSignals
from nes2net.lib.shell.commands import Flag, command_facts
from nes2net.lib.web.service_log import LogKind


@command_facts(
    about="With --person STORE, each request claims a person. Programs use the server over HTTP: "
    "curl -F file=@talk.wav -F person=NAME http://127.0.0.1:7860/api/score",
    resumes=False,
)
def serve(
    *,
    model: ModelName,
    loading: Loading,
    deciding: Deciding,
    evidence: EvidenceFlags,
    port: Annotated[int | None, Flag("N", minimum=0, maximum=65_535)] = None,
    host: str = "127.0.0.1",
    allow_name: Annotated[Sequence[str], Flag("NAME", repeated=True)] = (),
    log: LogKind = "text",
    limits: Limits,
) -> None:
    """Open a page that plays recordings and shows their scores over time.

    Example:
        nes2net serve --model detector.pth

    Where the page is:
        port: port to listen at; the first free port from 7860 on if not given
        host: address to listen at
        allow_name: a further name of this machine, with --host
        log: json: a line of JSON for every recording and request

    Limits, which protect this machine:
        max_size: size of the largest file
        max_duration: duration of the longest recording
        timeout: seconds that one recording may take
        waiting: recordings that may wait, at most 30
        workers: recordings that are scored at once
    """
    with StopSignals() as stop:
        for library in ("fastapi", "uvicorn", "python_multipart", "prometheus_client", "fastapi_offline"):
            optional(library, f"the page needs {library}", "serve")
        # A wrong calibration is found before PyTorch is imported.
        people = deciding.person_decider()
        if people and people.name:
            raise InputError("`person` must be a folder of people here, STORE: each request names a person")
        decider = deciding.decider
        from nes2net.apps.serve.server import Address
        from nes2net.apps.serve.server import serve as served

        served(
            model,
            decider,
            Address(host, port, allow_name),
            loading,
            evidence.requests(),
            people,
            limits=limits,
            log=log,
            stop=stop,
        )
