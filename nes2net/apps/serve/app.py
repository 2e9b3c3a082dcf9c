"""Build the web application: the page, and the HTTP API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import torch
from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from nes2net.apps.serve.answers import REASONS, Info, JudgedRecording, error_answers
from nes2net.apps.serve.desk import STOPPING, Desk
from nes2net.apps.serve.guard import Admitted, Guard
from nes2net.apps.serve.observing import ObservedRequests
from nes2net.apps.serve.page import lines_of
from nes2net.apps.serve.uploads import Upload, one_upload
from nes2net.lib.output.terminal import printable
from nes2net.lib.web.http_server import Refused
from nes2net.lib.web.service_health import Health
from nes2net.version import __version__

_SCORE_PATH = "/api/score"
_PAGE_PATH = "/page/score"
# The only paths to which the server answers, and the parameters of those that receive a recording.
_PARAMETERS = {_SCORE_PATH: ("track", "channel", "judgement"), _PAGE_PATH: ("each",)}
_API_PATHS = {"/api/info", "/health", "/metrics", "/docs", "/openapi.json"}
_GET_PATHS = {"/", "/page.css", "/page.js", *_API_PATHS}
_GET_PREFIXES = ("/static-offline-docs/", "/heard/")
_MAX_PATH = 250  # largest number of bytes in a path; the page uses shorter paths
_TIDY_EVERY = 20.0  # seconds from one removal of old files to the next


def build(desk: Desk, model: str, names: Iterable[str] = (), frames: Iterable[str] = ()) -> FastAPI:
    """Build the page and the HTTP API, behind a :class:`nes2net.apps.serve.guard.Guard`.

    Args:
        model: name of the detector on the page.
        names: names of this machine, besides ``localhost`` and IP addresses.
        frames: sites that may show the page in a frame.
    """

    @asynccontextmanager
    async def tidy_while_serving(_: FastAPI) -> AsyncIterator[None]:
        # Allow a thread for each worker, beside the threads of recordings that wait.
        current_default_thread_limiter().total_tokens += desk.limits.workers
        task = asyncio.create_task(_tidy_regularly(desk))
        yield
        task.cancel()

    app = FastAPIOffline(
        redoc_url=None,
        title="nes2net",
        version=__version__,
        description="Scores recordings: is the speech bona fide or fake? Higher scores mean bona fide.",
        lifespan=tidy_while_serving,
        swagger_ui_parameters={"validatorUrl": None},  # None, because the default would contact another server
    )

    # The functions `health` and `metrics` are async, because they have to answer while recordings occupy all threads.

    @app.get("/health", responses={503: {"model": Health, "description": "no recordings are accepted now"}})
    async def health(response: Response) -> Health:
        """Tell whether the server accepts recordings."""
        response.status_code, answer = desk.observer.health(model)
        return answer

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Report to Prometheus how many recordings and requests there were, and the use of memory and processor."""
        return PlainTextResponse(desk.observer.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/api/info", responses=error_answers(403, 421))
    def info() -> Info:
        """Return facts about the server."""
        return collect_info(desk, model)

    # The whole body is received before `score` is called; `admit` limits such requests. It is not async, so that it
    # runs in a thread and may wait.
    @app.post(
        _SCORE_PATH,
        response_model=None,
        responses={200: {"model": JudgedRecording}, **error_answers(*REASONS)},
    )
    def score(
        upload: Annotated[Upload, Depends(one_upload)],
        track: bool = Query(True, description="Whether the answer has the scores of the windows."),
        channel: int | None = Query(
            None, ge=0, lt=1000, description="The channel to score, counted from 0; without it, the mean of all."
        ),
        judgement: str = Query(
            "scores",
            max_length=100,
            description="What to say of the recording: scores, frames, classes, embeddings or another.",
        ),
    ) -> JSONResponse:
        """Judge a recording."""
        try:
            with upload.store(desk) as source:
                row = desk.score(source, upload.name, channel=channel, judgement=judgement).row()
        except Exception as error:
            return _answer_failure(desk, error, file=upload.name)
        if not track:
            for key in ("times", "scores", "llrs", "probabilities"):
                row.pop(key, None)
        return JSONResponse(row)

    @app.post(_PAGE_PATH, include_in_schema=False)
    async def score_for_page(upload: Annotated[Upload, Depends(one_upload)], each: bool = False) -> StreamingResponse:
        """Score a recording, or each of its channels, for the page."""
        at_once = {"x-accel-buffering": "no"}  # asks nginx to pass on each line at once
        return StreamingResponse(lines_of(desk, upload, each), media_type="application/x-ndjson", headers=at_once)

    @app.get("/heard/{token}", include_in_schema=False)
    def heard(token: str) -> Any:
        """Send the file for the player to the browser, and remove the file, because the browser keeps a copy."""
        path = desk.player_files.pop(token, None)
        if path is None or not path.is_file():
            return JSONResponse({"error": "no such recording, or it was fetched already"}, 404)
        remove = BackgroundTask(path.unlink, missing_ok=True)  # if sending fails, Desk.tidy removes the file instead
        return FileResponse(path, media_type="audio/wav", background=remove)

    @app.exception_handler(RequestValidationError)
    def answer_malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        text = f"{problem['loc'][-1]}: {problem['msg']}; the recording is expected in the form field file"
        return JSONResponse({"error": printable(text)}, 422)

    @app.exception_handler(HTTPException)
    def answer_error(_: Request, error: HTTPException) -> JSONResponse:
        # FastAPI answers 400 to whatever happens while it stores an upload.
        if isinstance(error.__cause__, OSError):
            return _answer_failure(desk, error)
        return JSONResponse({"error": printable(str(error.detail))}, error.status_code)

    app.mount("/", StaticFiles(packages=[("nes2net.apps.serve", "static")], html=True))
    # The middleware added last gets requests first: it also counts those that Guard refuses.
    app.add_middleware(Guard, names=list(names), admit=RequestAdmission(desk), frames=list(frames))
    app.add_middleware(ObservedRequests, observer=desk.observer, route_of=_route_of)
    desk.observer.describe(model, desk.detector.precision, desk.detector.computes_on)
    return app


def _route_of(path: str) -> str:
    """Return the route of ``path``, or ``"other"``.

    >>> _route_of("/heard/secret"), _route_of("/api/score"), _route_of("/etc/passwd")
    ('/heard/', '/api/score', 'other')
    """
    if path in _GET_PATHS or path in _PARAMETERS:
        return path
    return next((prefix for prefix in _GET_PREFIXES if path.startswith(prefix)), "other")


class RequestAdmission:
    """Checks the path of a request, and whether the desk has room for its recording, before its body is read."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.slots = threading.BoundedSemaphore(desk.max_present)  # one slot for each recording that is being received

    @contextmanager
    def __call__(self, method: str, path: str) -> Iterator[Admitted]:
        """Raise :class:`Refused` for an unknown address (404), or if the desk is full or stopping (503)."""
        desk = self.desk
        is_allowed_get = method == "GET" and (path in _GET_PATHS or path.startswith(_GET_PREFIXES))
        is_allowed_get |= method == "HEAD" and path in {"/", *_API_PATHS}
        is_allowed_post = method == "POST" and path in _PARAMETERS
        if not (is_allowed_get or is_allowed_post) or len(path.encode()) > _MAX_PATH:
            raise Refused(
                404,
                "nothing is at this address: use GET / for the page, POST /api/score for the API, or GET /docs for help",
            )
        if is_allowed_get:
            yield Admitted(0, is_strict=path in _API_PATHS, runs_inline_scripts=path == "/docs")
            return
        if desk.is_finishing:
            raise Refused(503, STOPPING)
        if desk.is_full or not self.slots.acquire(blocking=False):
            raise Refused(503, str(desk.busy_error()))
        try:
            yield Admitted(desk.limits.max_bytes, _PARAMETERS[path], is_strict=True)
        finally:
            self.slots.release()


async def _tidy_regularly(desk: Desk) -> None:
    while True:
        await asyncio.sleep(_TIDY_EVERY)
        desk.tidy()


def _answer_failure(desk: Desk, error: Exception, **facts: str) -> JSONResponse:
    status, words = desk.observer.failure(error)
    headers = {"Retry-After": "10"} if status == 503 else None
    return JSONResponse({**facts, "error": words}, status, headers)


def collect_info(desk: Desk, model: str) -> Info:
    """Collect the facts that the page and ``/api/info`` show."""
    limits = desk.limits
    config = desk.detector.config
    return {
        "version": __version__,
        "model": printable(model),
        "parts": {role: config[role]["name"] for role in ("frontend", "aggregation", "backend")},
        "device": str(desk.detector.computes_on),
        "threads": torch.get_num_threads(),
        "precision": desk.detector.precision,
        "finds_segments": desk.detector.trained_on_segments,
        "calibrated": desk.decider is not None,
        "basis": desk.decider.basis() if desk.decider else None,
        "notes": desk.notes,
        "limits": {
            "max_size_mb": limits.max_size,
            "max_duration_s": limits.max_duration,
            "timeout_s": limits.timeout,
            "waiting": limits.waiting,
            "workers": limits.workers,
        },
    }
