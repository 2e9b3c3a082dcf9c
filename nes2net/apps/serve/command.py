"""`nes2net serve`: a page that plays recordings and shows their scores, and an HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Annotated, Literal

from nes2net.actions.flags import Deciding, Loading, ScorerName
from nes2net.apps.serve.limits import Limits
from nes2net.lib.commands import Flag, command_facts
from nes2net.lib.errors import MissingLibrary
from nes2net.lib.installation import how_to_install
from nes2net.lib.stop_signals import StopSignals


@command_facts(
    about="Programs use the server over HTTP: curl -F file=@talk.wav http://127.0.0.1:7860/api/score",
    resumes=False,
)
def serve(
    *,
    model: ScorerName,
    loading: Loading,
    deciding: Deciding,
    port: Annotated[int | None, Flag("N", minimum=0, maximum=65_535)] = None,
    host: str = "127.0.0.1",
    allow_name: Annotated[Sequence[str], Flag("NAME", repeated=True)] = (),
    open_: bool = False,
    log: Literal["text", "json"] = "text",
    limits: Limits,
) -> None:
    """Open a page that plays recordings and shows their scores over time.

    Example:
        nes2net serve --model detector.pth --open

    Where the page is:
        port: port to listen at; the first free port from 7860 on if not given
        host: address to listen at
        allow_name: a further name of this machine, with --host
        open_: open the page in a browser
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
            if find_spec(library) is None:
                raise MissingLibrary(f"the page needs {library}, which is not installed: {how_to_install('serve')}")
        from nes2net.apps.serve.server import Address
        from nes2net.apps.serve.server import serve as served

        served(
            model,
            deciding.decider(),
            Address(host, port, allow_name),
            loading,
            limits=limits,
            log=log,
            open_browser=open_,
            stop=stop,
        )
