"""The routes ``/health`` and ``/metrics`` of every server."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from nes2net.lib.web.service_health import Health, Metrics


def add_health(app: FastAPI, metrics: Metrics) -> None:
    """Add the routes ``/health`` and ``/metrics``."""

    # These functions are async, because they have to answer while other work occupies all threads.

    @app.get("/health", responses={503: {"model": Health, "description": "no recordings are accepted now"}})
    async def health(response: Response) -> Health:
        """Tell whether the server accepts recordings."""
        response.status_code, answer = metrics.health()
        return answer

    @app.get("/metrics", response_class=PlainTextResponse)
    async def text() -> PlainTextResponse:
        """Report to Prometheus how many recordings and requests there were, and the use of memory and processor."""
        return PlainTextResponse(metrics.text(), media_type=CONTENT_TYPE_LATEST)
