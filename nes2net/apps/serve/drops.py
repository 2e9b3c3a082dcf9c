"""Check and rewrite the page's requests to Gradio's queue before Gradio gets them.

A drop is a request to score uploaded files. The page starts a drop when the user has dropped files
or has recorded speech. A session is an open page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi.responses import JSONResponse
from starlette.requests import Request

from nes2net.lib.http_server import Refused
from nes2net.lib.plain_data import parsed_json
from nes2net.lib.terminal import printable
from nes2net.lib.text_files import has_control

#: Path to which the page sends a drop.
JOIN = "/gradio_api/queue/join"
#: Path from which the page gets progress and result of a drop.
DATA = "/gradio_api/queue/data"
#: Beginning of the path for the heartbeats of an open page; the name of the page's session follows.
HEARTBEAT = "/gradio_api/heartbeat/"
#: Path of a request → keys of the JSON in the request.
KEYS_OF_PATH = {
    JOIN: ("fn_index", "session_hash", "data"),
    "/gradio_api/cancel": ("fn_index", "session_hash", "event_id"),
    "/gradio_api/reset": ("event_id",),
}
_LONGEST_NAME = 255  # largest number of bytes in the name of a file
_GRADIO_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")  # a name that Gradio gives to a session or a drop


@dataclass
class DropsCheck:
    """ASGI middleware that passes on only well-formed requests of the page, because Gradio may fail on other requests.

    Args:
        events: Gradio's ``fn_index`` of each event → whether the event takes a list of files.
        sessions: mapping whose keys are the names of the open pages.
        folder: folder of the uploads, which are ``folder/SHA-256/NAME``.
    """

    app: Any
    events: Mapping[int, bool]
    sessions: Mapping[str, Any]
    folder: Path

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        path = scope["path"]
        session = None
        # Check the request by its path.
        try:
            if path in KEYS_OF_PATH:
                request = parsed_json(await Request(scope, receive).body(), "it")
                if not isinstance(request, dict):
                    raise ValueError("it is no JSON object")
                values = {key: self._checked_value(key, request) for key in KEYS_OF_PATH[path]}
                receive = _receive_again(json.dumps(values).encode(), receive)
            elif path.startswith(HEARTBEAT):
                _checked_name("session_hash", path.removeprefix(HEARTBEAT))
            elif path == DATA:
                session = _checked_name("session_hash", Request(scope).query_params.get("session_hash"))
                if session not in self.sessions:
                    raise Refused(404, "there is no such session: nothing was dropped in it")
        except ValueError as error:
            text = printable(f"not a drop of the page: {error}")
            return await JSONResponse({"error": text}, 422)(scope, receive, send)
        except Refused as refusal:
            return await JSONResponse({"error": str(refusal)}, refusal.status)(scope, receive, send)
        # Pass the request on.
        try:
            await self.app(scope, receive, send)
        except Exception:
            if session is None or session in self.sessions:
                raise
            # If another request has ended the session, the application may fail; this is not an error.
            await send({"type": "http.response.body", "body": b""})

    def _checked_value(self, key: str, request: Mapping[str, Any]) -> Any:
        value = request.get(key)
        if key == "data":
            return self._checked_data(value, self.events[request["fn_index"]])
        if key != "fn_index":
            return _checked_name(key, value)
        if type(value) is not int or value not in self.events:
            raise ValueError("there is no such event (fn_index)")
        return value

    def _checked_data(self, data: Any, takes_list: bool) -> list[Any]:
        """Check and return the data of a drop as Gradio takes them: its files, and the box for channels.

        The files are a list, a single file, or None for no file.

        Raises:
            ValueError: if ``data`` are other values, or a file is not an upload.
        """
        if not isinstance(data, list) or len(data) != 2 or type(data[1]) is not bool:
            raise ValueError("data is no list of files and a box")
        files, each_channel = data
        if files is None:
            return data
        if not takes_list:
            return [self._checked_file(files), each_channel]
        if not isinstance(files, list):
            raise ValueError("data holds no list of files")
        return [[self._checked_file(item) for item in files], each_channel]

    def _checked_file(self, item: Any) -> dict[str, Any]:
        path = item.get("path") if isinstance(item, dict) else None
        if not isinstance(path, str) or has_control(path):
            raise ValueError("data holds what is no file")
        name = Path(path).name.encode()  # raises a ValueError if no file can have this name
        if len(name) > _LONGEST_NAME or Path(path).resolve().parent.parent != self.folder:
            raise ValueError("data names a file that is not an uploaded one")
        return {"path": path, "meta": {"_type": "gradio.FileData"}}


def _checked_name(key: str, value: Any) -> str:
    """Return ``value`` if it looks like a name made by Gradio; else raise ValueError with a message about ``key``."""
    if not isinstance(value, str) or not _GRADIO_NAME.fullmatch(value):
        raise ValueError(f"{key} is not 1 to 100 letters, digits, _ and -")
    return value


def _receive_again(content: bytes, receive: Any) -> Any:
    """Make an ASGI ``receive`` that gives ``content`` as the body, then the messages of ``receive``."""
    messages = iter([{"type": "http.request", "body": content}])

    async def receive_content_first() -> Any:
        return next(messages, None) or await receive()

    return receive_content_first
