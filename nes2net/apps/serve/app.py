"""Build the web application: the page, and the HTTP API."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import torch
from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI, File, Query, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from nes2net.apps.serve.answers import Health, Info, JudgedRecording, error_answers
from nes2net.apps.serve.desk import STOPPING, Busy, Closed, Desk, TooLarge, TooSlow, display_name, safe_suffix
from nes2net.apps.serve.drops import DATA, HEARTBEAT, KEYS_OF_PATH
from nes2net.apps.serve.guard import Admit, Admitted, Guard
from nes2net.apps.serve.observing import ObservedRequests
from nes2net.apps.serve.page import forget_requests, mount_page
from nes2net.apps.serve.uploads import Uploads
from nes2net.lib.errors import InputError, readable_size
from nes2net.lib.http_server import Refused
from nes2net.lib.terminal import printable
from nes2net.version import __version__

_STATUS = {TooLarge: 413, Busy: 503, Closed: 503, TooSlow: 504}
_SCORE_PATH = "/api/score"
_UPLOAD_PATH = "/gradio_api/upload"
_PROGRESS_PATH = "/gradio_api/upload_progress"
# The only paths to which the server answers. Gradio has further routes, which the page does not need.
_POST_PATHS = {_SCORE_PATH, _UPLOAD_PATH, *KEYS_OF_PATH}
_API_PATHS = {"/api/info", "/health", "/metrics", "/docs", "/openapi.json"}
_GET_PATHS = {
    *("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt"),
    *(f"/gradio_api/{name}" for name in ("app_id", "info", "startup-events", "theme.css")),
    *_API_PATHS,
    _PROGRESS_PATH,
    DATA,
}
_PARAMETERS = {_SCORE_PATH: ("track", "channel", "judgement"), DATA: ("session_hash",)}
_PARAMETERS |= dict.fromkeys((_UPLOAD_PATH, _PROGRESS_PATH), ("upload_id",))
_GET_PREFIXES = ("/assets/", "/static/", "/static-offline-docs/", "/svelte/", "/heard/", HEARTBEAT)
_LONGEST_PATH = 250  # largest number of bytes in a path; the page uses shorter paths
_TIDY_EVERY = 20.0  # seconds from one removal of old files to the next


def build(desk: Desk, model: str, names: Iterable[str] = (), frames: Iterable[str] = ()) -> FastAPI:
    """Build the web application: the page and the HTTP API, behind a :class:`nes2net.apps.serve.guard.Guard`.

    Args:
        desk: scores the recordings.
        model: name of the detector on the page.
        names: names of this machine, besides ``localhost`` and IP addresses.
        frames: sites that may show the page in a frame.
    """
    uploads = Uploads(desk)

    @asynccontextmanager
    async def tidy_while_serving(_: FastAPI) -> AsyncIterator[None]:
        # Allow a thread for each worker, beside the threads of recordings that wait.
        current_default_thread_limiter().total_tokens += desk.limits.workers
        task = asyncio.create_task(_tidy(desk, uploads, blocks))
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

    @app.get("/health", responses={503: {"model": Health, "description": "no recordings are taken now"}})
    async def health(response: Response) -> Health:
        """Tell whether the server accepts recordings."""
        if desk.is_finishing:
            response.status_code = 503
            return Health(status="stopping", model=printable(model))
        return Health(status="ready", model=printable(model))

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Report to Prometheus how many recordings and requests there were, and the use of memory and processor."""
        return PlainTextResponse(desk.observer.metrics(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/api/info", responses=error_answers(403, 421))
    def info() -> Info:
        """Return facts about the server."""
        return collect_info(desk, model)

    # The whole body is received before `score` is called; `admit` limits the number of such requests. `score` is not
    # async, so it runs in a thread and may wait for a free worker.
    @app.post(
        _SCORE_PATH,
        response_model=None,
        responses={200: {"model": JudgedRecording}, **error_answers(403, 408, 413, 421, 422, 503, 504)},
    )
    def score(
        request: Request,
        file: UploadFile = File(description="The recording, in any format that libsndfile or FFmpeg reads."),  # noqa: B008
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
        name = printable(display_name(file.filename))
        if len(request._form.multi_items()) > 1:  # type: ignore[union-attr]  # FastAPI has read the form
            return JSONResponse({"error": "one recording is scored at a time: send one form field, file"}, 422)
        try:
            with desk.work_folder() as folder:
                source = folder / f"upload{safe_suffix(name)}"
                with file.file as sent, source.open("wb") as copy:
                    shutil.copyfileobj(sent, copy)
                if source.stat().st_size > desk.limits.max_bytes:
                    raise TooLarge(f"too large: {readable_size(desk.limits.max_bytes)} are taken here at once")
                row = desk.score(source, name, channel=channel, judgement=judgement).row()
        except InputError as error:
            status = _STATUS.get(type(error), 422)
            headers = {"Retry-After": "10"} if status == 503 else None
            return JSONResponse({"file": name, "error": str(error)}, status, headers)
        if not track:
            for key in ("times", "scores", "llrs", "probabilities"):
                row.pop(key, None)
        return JSONResponse(row)

    @app.get("/heard/{token}", include_in_schema=False)
    def heard(token: str) -> Any:
        """Send the file for the player to the browser, and remove the file, because the browser keeps a copy."""
        path = desk.player_files.pop(token, None)
        if path is None or not path.is_file():
            return JSONResponse({"error": "no such recording, or it was fetched already"}, 404)
        remove = BackgroundTask(path.unlink, missing_ok=True)  # if sending fails, Desk.tidy removes the file instead
        return FileResponse(path, media_type="audio/wav", headers={"cache-control": "no-store"}, background=remove)

    @app.exception_handler(RequestValidationError)
    def answer_malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        text = f"{problem['loc'][-1]}: {problem['msg']}; the recording is expected in the form field file"
        return JSONResponse({"error": printable(text)}, 422)

    @app.exception_handler(HTTPException)
    def answer_error(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": printable(str(error.detail))}, error.status_code)

    blocks = mount_page(app, desk, uploads, collect_info(desk, model))
    app.add_middleware(Guard, names=list(names), admit=_make_admit(desk, uploads), frames=list(frames))
    app.add_middleware(ObservedRequests, observer=desk.observer, route_of=_route_of)
    detector = desk.detector
    facts = {"model": printable(model), "version": __version__, "precision": detector.precision}
    desk.observer.facts.info({**facts, "device": str(detector.computes_on)})
    return app


def _route_of(path: str) -> str:
    """Return the name of the route that answers requests for ``path``, or ``"other"`` if there is no such route.

    >>> _route_of("/heard/secret"), _route_of("/api/score"), _route_of("/etc/passwd")
    ('/heard/', '/api/score', 'other')
    """
    if path in _GET_PATHS or path in _POST_PATHS:
        return path
    return next((prefix for prefix in _GET_PREFIXES if path.startswith(prefix)), "other")


def _make_admit(desk: Desk, uploads: Uploads) -> Admit:
    slots = threading.BoundedSemaphore(desk.most_present)  # one slot for each request to the API that may run at once

    @contextmanager
    def admit(method: str, path: str, length: int | None) -> Iterator[Admitted]:
        is_allowed_get = method == "GET" and (path in _GET_PATHS or path.startswith(_GET_PREFIXES))
        is_allowed_get |= method == "HEAD" and path in {"/", *_API_PATHS}
        is_allowed_post = method == "POST" and path in _POST_PATHS
        if not (is_allowed_get or is_allowed_post) or len(path.encode()) > _LONGEST_PATH:
            raise Refused(
                404, "nothing is at this address; GET / is the page, POST /api/score the API, GET /docs says more"
            )
        if is_allowed_post and desk.is_finishing:
            raise Refused(503, STOPPING)
        parameters = _PARAMETERS.get(path, ())
        if path == _UPLOAD_PATH:
            with uploads.reserve_room(length) as room:
                yield Admitted(room, parameters)
        elif path == _SCORE_PATH:
            if desk.is_full or not slots.acquire(blocking=False):
                raise Refused(503, str(desk.busy_error()))
            try:
                yield Admitted(desk.limits.max_bytes, parameters, is_strict=True)
            finally:
                slots.release()
        else:
            yield Admitted(0, parameters, is_strict=path in _API_PATHS)

    return admit


async def _tidy(desk: Desk, uploads: Uploads, blocks: Any) -> None:
    """Remove old files, and what ``blocks`` keep, every :data:`_TIDY_EVERY` seconds."""
    while True:
        await asyncio.sleep(_TIDY_EVERY)
        forget_requests(blocks)
        with suppress(OSError):  # the folder is removed when the server stops
            desk.tidy()
            uploads.tidy()


def collect_info(desk: Desk, model: str) -> Info:
    """Collect the facts about the server that the page and ``/api/info`` show."""
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
