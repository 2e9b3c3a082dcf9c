"""Build the web application: the page, and the HTTP API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any

import torch
from fastapi import Depends, FastAPI, Query
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request

from nes2net.apps.serve.answers import FORM, REASONS, Info, JudgedRecording, error_answers
from nes2net.apps.serve.desk import Desk
from nes2net.apps.serve.page import lines_of
from nes2net.apps.serve.uploads import Upload, one_upload
from nes2net.lib.output.terminal import printable
from nes2net.lib.parts.options import PARTS, part_names
from nes2net.lib.web.guard import Admission, Admitted
from nes2net.lib.web.health_routes import add_health
from nes2net.lib.web.http_server import RefusedRequest
from nes2net.lib.web.server import in_thread
from nes2net.lib.web.service_health import HEALTH_PATHS, WHY_NOT
from nes2net.version import __version__

_SCORE_PATH = "/api/score"
_PAGE_PATH = "/page/score"
# The only paths to which the server answers, and the parameters of those that receive a recording.
_PARAMETERS = {_SCORE_PATH: ("track", "channel", "judgement", "marks"), _PAGE_PATH: ("each",)}
_API_PATHS = {"/api/info", "/docs", "/openapi.json", *HEALTH_PATHS}
_GET_PATHS = {"/", "/page.css", "/page.js", *_API_PATHS}
_GET_PREFIXES = ("/static-offline-docs/", "/heard/")


def build(desk: Desk) -> FastAPI:
    """Build the page and the HTTP API, which belong behind a :class:`nes2net.lib.web.guard.Guard`."""
    app = FastAPIOffline(
        redoc_url=None,
        title="nes2net",
        version=__version__,
        description="Scores recordings: is the speech bona fide or fake? Higher scores mean bona fide.",
        swagger_ui_parameters={"validatorUrl": None},  # None, because the default would contact another server
    )
    add_health(app, desk.observer)
    _add_api(app, desk)
    _add_page(app, desk)
    _add_errors(app, desk)
    return app


def _add_api(app: FastAPI, desk: Desk) -> None:
    @app.get("/api/info", responses=error_answers(403, 421))
    def info() -> Info:
        """Return facts about the server."""
        limits = desk.limits
        return {
            "version": __version__,
            "model": desk.observer.model,
            "parts": dict(zip(PARTS, part_names(desk.detector.config))),
            "device": str(desk.detector.computes_on),
            "threads": torch.get_num_threads(),
            "precision": desk.detector.precision,
            "finds_segments": desk.detector.trained_on_segments,
            "calibrated": desk.decider is not None,
            "basis": desk.decider.basis() if desk.decider else None,
            "people": desk.people.store.names() if desk.people else [],
            "notes": desk.notes,
            "limits": {
                "max_size_mb": limits.max_size,
                "max_duration_s": limits.max_duration,
                "timeout_s": limits.timeout,
                "waiting": limits.waiting,
                "workers": limits.workers,
            },
        }

    # The whole body is received before `score` is called; RequestAdmission limits such requests.
    @app.post(
        _SCORE_PATH,
        response_model=None,
        openapi_extra=FORM,
        responses={200: {"model": JudgedRecording}, **error_answers(*REASONS)},
    )
    async def score(
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
        marks: bool = Query(False, description="Whether to read marks, beside scores."),
    ) -> JSONResponse:
        """Judge a recording."""
        return await in_thread(partial(_answer_score, desk, upload, track, channel, judgement, marks))


def _answer_score(
    desk: Desk, upload: Upload, track: bool, channel: int | None, judgement: str, marks: bool
) -> JSONResponse:
    try:
        with upload.store(desk) as source:
            scored = desk.score(
                source, upload.name, channel=channel, judgement=judgement, marks=marks, person=upload.person
            )
            row = scored.row()
    except Exception as error:
        return _answer_failure(desk, error, file=upload.name)
    if not track:
        for key in ("times", "scores", "llrs", "probabilities"):
            row.pop(key, None)
    return JSONResponse(row)


def _add_page(app: FastAPI, desk: Desk) -> None:
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

    app.mount("/", StaticFiles(packages=[("nes2net.apps.serve", "static")], html=True))


def _add_errors(app: FastAPI, desk: Desk) -> None:
    @app.exception_handler(RequestValidationError)
    def answer_malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        problem = error.errors()[0]
        return JSONResponse({"error": printable(f"{problem['loc'][-1]}: {problem['msg']}")}, 422)

    @app.exception_handler(HTTPException)
    def answer_error(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": printable(str(error.detail))}, error.status_code)

    @app.exception_handler(OSError)  # while an upload is stored
    def answer_fault(_: Request, error: OSError) -> JSONResponse:
        return _answer_failure(desk, error)


class RequestAdmission(Admission):
    """Checks the path of a request, and whether the desk has room for its recording, before its body is read."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.slots = threading.BoundedSemaphore(desk.max_present)  # one slot for each recording that is being received

    def route_of(self, path: str) -> str:
        if path in _GET_PATHS or path in _PARAMETERS:
            return path
        return next((prefix for prefix in _GET_PREFIXES if path.startswith(prefix)), "other")

    @contextmanager
    def __call__(self, method: str, path: str) -> Iterator[Admitted]:
        """Raise :class:`RefusedRequest` for an unknown address (404), or if the desk is full or stopping (503)."""
        desk = self.desk
        is_allowed_get = method == "GET" and (path in _GET_PATHS or path.startswith(_GET_PREFIXES))
        is_allowed_get |= method == "HEAD" and path in {"/", *_API_PATHS}
        is_allowed_post = method == "POST" and path in _PARAMETERS
        if not (is_allowed_get or is_allowed_post):
            raise RefusedRequest(
                404,
                "nothing is at this address: use GET / for the page, POST /api/score for the API, or GET /docs for help",
            )
        if is_allowed_get:
            yield Admitted(0, is_strict=path in _API_PATHS, runs_inline_scripts=path == "/docs")
            return
        if desk.observer.state == "stopping":
            raise RefusedRequest(503, WHY_NOT["stopping"])
        if not self.slots.acquire(blocking=False):
            raise RefusedRequest(503, str(desk.busy_error()))
        try:
            yield Admitted(desk.limits.max_bytes, _PARAMETERS[path], is_strict=True)
        finally:
            self.slots.release()


def _answer_failure(desk: Desk, error: Exception, **facts: str) -> JSONResponse:
    status, words = desk.observer.failure(error)
    headers = {"Retry-After": "10"} if status == 503 else None
    return JSONResponse({**facts, "error": words}, status, headers)
