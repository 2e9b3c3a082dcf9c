"""The web application: the page, and the HTTP API."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from fastapi import FastAPI, File, Query, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request

from nes2net.apps.serve.desk import Busy, Closed, Desk, TooLarge, TooSlow, display_name, safe_suffix
from nes2net.apps.serve.drops import ASKED, DATA, HEARTBEAT
from nes2net.apps.serve.guard import Admit, Guard
from nes2net.apps.serve.page import mounted
from nes2net.apps.serve.uploads import Uploads
from nes2net.lib.errors import InputError, readable_size
from nes2net.lib.http_server import Refused
from nes2net.lib.terminal import printable
from nes2net.version import __version__

_STATUS = {TooLarge: 413, Busy: 503, Closed: 503, TooSlow: 504}
_SCORE = "/api/score"
_UPLOAD = "/gradio_api/upload"
# All paths that are answered. Gradio has other routes, which the page does not need.
_SENT_TO = {_SCORE, _UPLOAD, *ASKED}
_FETCHED = {
    *("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt", "/api/info"),
    *(f"/gradio_api/{name}" for name in ("app_id", "info", "startup-events", "theme.css", "upload_progress")),
    DATA,
}
_FETCHED_BELOW = ("/assets/", "/static/", "/svelte/", "/heard/", HEARTBEAT)
_LONGEST_PATH = 250  # bytes; no file of the page has a longer path
_TIDYING = 20.0  # seconds from one removal of old files to the next


def build(desk: Desk, model: str, names: Iterable[str] = (), frames: Iterable[str] = ()) -> FastAPI:
    """Build the application.

    Args:
        model: name of the detector on the page.
        names, frames: see :class:`nes2net.apps.serve.guard.Guard`.
    """
    uploads = Uploads(desk)

    @asynccontextmanager
    async def tidied(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_tidy(desk, uploads))
        yield
        task.cancel()

    app = FastAPI(
        title="nes2net", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, lifespan=tidied
    )

    @app.get("/api/info")
    def info() -> dict[str, Any]:
        return about(desk, model)

    # The whole body is read before this function is called; `admitted` limits the number of such requests.
    # The function is not async, so it runs in a thread, in which it may wait.
    @app.post(_SCORE)
    def score(
        file: UploadFile = File(),  # noqa: B008
        track: bool = Query(True),
        channel: int | None = Query(None, ge=0, lt=1000),
    ) -> JSONResponse:
        name = printable(display_name(file.filename))
        try:
            with desk.work_folder() as folder:
                source = folder / f"upload{safe_suffix(name)}"
                with file.file as sent, source.open("wb") as copy:
                    shutil.copyfileobj(sent, copy)
                if source.stat().st_size > desk.limits.max_bytes:
                    raise TooLarge(f"too large: {readable_size(desk.limits.max_bytes)} are taken here at once")
                row = desk.score(source, name, channel=channel).row()
        except InputError as error:
            status = _STATUS.get(type(error), 422)
            later = {"Retry-After": "10"} if status == 503 else None
            return JSONResponse({"file": name, "error": str(error)}, status, later)
        if not track:
            del row["times"], row["scores"]
        return JSONResponse(row)

    @app.get("/heard/{token}")
    def heard(token: str) -> Any:
        """Send the file for the player, and remove it, because the browser keeps it."""
        path = desk.player_files.pop(token, None)
        if path is None or not path.is_file():
            return JSONResponse({"error": "no such recording, or it was fetched already"}, 404)
        remove = BackgroundTask(path.unlink, missing_ok=True)  # if sending fails, Desk.tidy removes the file instead
        return FileResponse(path, media_type="audio/wav", headers={"cache-control": "no-store"}, background=remove)

    @app.exception_handler(RequestValidationError)
    def misunderstood(_: Request, error: RequestValidationError) -> JSONResponse:
        wrong = error.errors()[0]
        text = f"{wrong['loc'][-1]}: {wrong['msg']}; the recording is expected in the form field file"
        return JSONResponse({"error": printable(text)}, 422)

    @app.exception_handler(HTTPException)
    def failed(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": printable(str(error.detail))}, error.status_code)

    mounted(app, desk, uploads, about(desk, model))
    app.add_middleware(Guard, names=list(names), admit=_admission(desk, uploads), frames=list(frames))
    return app


def _admission(desk: Desk, uploads: Uploads) -> Admit:
    """Make the function that decides which requests are answered, and how many bytes they may have."""
    slots = threading.BoundedSemaphore(desk.limits.waiting + 1)

    @contextmanager
    def admitted(method: str, path: str, length: int | None) -> Iterator[int]:
        is_fetched = method in ("GET", "HEAD") and (path in _FETCHED or path.startswith(_FETCHED_BELOW))
        is_sent = method == "POST" and path in _SENT_TO
        if not (is_fetched or is_sent) or len(path.encode()) > _LONGEST_PATH:
            raise Refused(404, "nothing is at this address; GET / is the page, POST /api/score the API")
        if path == _UPLOAD:
            with uploads.promised(length) as room:
                yield room
        elif path == _SCORE:
            if desk.is_full or not slots.acquire(blocking=False):
                raise Refused(503, str(desk.busy()))
            try:
                yield desk.limits.max_bytes
            finally:
                slots.release()
        else:
            yield 0

    return admitted


async def _tidy(desk: Desk, uploads: Uploads) -> None:
    """Remove old files again and again, while the server runs."""
    while True:
        await asyncio.sleep(_TIDYING)
        with suppress(OSError):  # when the server stops, the folder is removed
            desk.tidy()
            uploads.tidy()


def about(desk: Desk, model: str) -> dict[str, Any]:
    """Facts about the server for the page and for ``/api/info``."""
    limits = desk.limits
    config = desk.detector.config
    return {
        "version": __version__,
        "model": printable(model),
        "parts": {role: config[role]["name"] for role in ("frontend", "aggregation", "backend")},
        "device": str(desk.detector.computes_on),
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
        },
    }
