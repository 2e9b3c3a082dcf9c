"""The web application: the page, and the same over HTTP."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, File, Query, UploadFile
from fastapi.responses import FileResponse, JSONResponse
from starlette.background import BackgroundTask

from nes2net import __version__
from nes2net.errors import InputError
from nes2net.machine.terminal import printable
from nes2net.serve.desk import Busy, Closed, Desk, TooSlow, display_name, safe_suffix
from nes2net.serve.guard import Guard
from nes2net.serve.page import UPLOAD_ROUTE, mounted, room_for_uploads

_STATUS = {Busy: 503, Closed: 503, TooSlow: 504}


def build(desk: Desk, model: str, names: Iterable[str] = (), frames: Iterable[str] = ()) -> FastAPI:
    """Build the application.

    Args:
        model: what the detector is called on the page.
        names, frames: see :class:`nes2net.serve.guard.Guard`.
    """
    app = FastAPI(title="nes2net", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    uploads = threading.BoundedSemaphore(desk.limits.waiting + 1)

    @app.get("/api/info")
    def info() -> dict[str, Any]:
        return about(desk, model)

    # The whole body is read before this function is called; Guard limits it, and `uploads` how many
    # of them are held. A plain function runs in a thread, in which it may wait.
    @app.post("/api/score")
    def score(file: UploadFile = File(), track: bool = Query(True)) -> JSONResponse:  # noqa: B008
        name = printable(display_name(file.filename))
        if desk.is_full or not uploads.acquire(blocking=False):
            return _failed(name, desk.busy())
        try:
            with desk.work_folder() as folder:
                source = folder / f"upload{safe_suffix(name)}"
                with file.file as sent, source.open("wb") as copy:
                    shutil.copyfileobj(sent, copy)
                row = desk.score(source, name).row()
        except InputError as error:
            return _failed(name, error)
        finally:
            uploads.release()
        for key in () if track else ("times", "scores"):
            del row[key]
        return JSONResponse(row)

    @app.get("/heard/{token}")
    def heard(token: str) -> Any:
        """The file for the player, once: the browser keeps it, and the server does not."""
        path = desk.heard.pop(token, None)
        if path is None or not path.is_file():
            return JSONResponse({"error": "no such recording, or it was fetched already"}, 404)
        remove = BackgroundTask(path.unlink, missing_ok=True)
        return FileResponse(path, media_type="audio/wav", headers={"cache-control": "no-store"}, background=remove)

    mounted(app, desk, about(desk, model))

    def room(path: str) -> int:
        return room_for_uploads(desk) if path == UPLOAD_ROUTE else desk.limits.max_bytes

    app.add_middleware(Guard, names=list(names), room=room, frames=list(frames))
    return app


def about(desk: Desk, model: str) -> dict[str, Any]:
    """What is served, as plain data."""
    limits = desk.limits
    config = desk.detector.config
    return {
        "version": __version__,
        "model": printable(model),
        "parts": {part: config[part]["name"] for part in ("frontend", "aggregation", "backend")},
        "device": str(desk.detector.computes_on),
        "precision": desk.detector.precision,
        "calibrated": desk.operation is not None,
        "prior": desk.operation.prior if desk.operation else None,
        "threshold": desk.operation.threshold if desk.operation else None,
        "limits": {
            "max_size_mb": limits.max_size,
            "max_duration_s": limits.max_duration,
            "timeout_s": limits.timeout,
            "waiting": limits.waiting,
        },
    }


def _failed(name: str, error: InputError) -> JSONResponse:
    status = _STATUS.get(type(error), 422)
    headers = {"Retry-After": "10"} if status == 503 else None
    return JSONResponse({"file": name, "error": str(error)}, status, headers)
