"""The OpenAPI descriptions of the form with a recording, and of the answers, from ``answers.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_DESCRIPTIONS = json.loads(Path(__file__).with_name("answers.json").read_text(encoding="utf-8"))
#: The form with a recording.
FORM = {"requestBody": _DESCRIPTIONS["form"]}


def answers(name: str, *statuses: str) -> dict[int | str, dict[str, Any]]:
    """Describe for FastAPI an answer, and the errors with these HTTP ``statuses``, by default all."""
    described: dict[int | str, dict[str, Any]] = {200: _content(name)}
    for status in statuses or _DESCRIPTIONS["reasons"]:
        described[status] = {"description": _DESCRIPTIONS["reasons"][status], **_content("problem")}
    return described


def _content(name: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": _DESCRIPTIONS["answers"][name]}}}
