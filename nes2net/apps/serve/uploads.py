"""Take the recording that a request sends as a form."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from nes2net.apps.serve.desk import Desk, TooLarge, display_name, safe_suffix
from nes2net.lib.errors import readable_size
from nes2net.lib.output.terminal import printable


@dataclass(frozen=True)
class Upload:
    name: str
    """Name that can be shown; never a path."""
    file: UploadFile
    person: str
    """Who is said to speak; empty if nobody is claimed."""

    @contextmanager
    def store(self, desk: Desk) -> Iterator[Path]:
        """Store the recording in a folder of the desk for this context.

        Raises:
            TooLarge: if the file is larger than the desk's limit.
        """
        with desk.work_folder() as folder:
            path = folder / f"upload{safe_suffix(self.name)}"
            with self.file.file as sent, path.open("wb") as copy:
                shutil.copyfileobj(sent, copy)
            if path.stat().st_size > desk.limits.max_bytes:
                raise TooLarge(f"too large: send at most {readable_size(desk.limits.max_bytes)} at once")
            yield path


async def one_upload(request: Request) -> Upload:
    """Return the recording of a form, as a dependency of routes.

    Raises:
        HTTPException: if the form has further fields, or is not understood.
    """
    try:
        form = await request.form(max_files=2, max_fields=1)
        texts = [name for name, value in form.multi_items() if isinstance(value, str)]
        if not set(texts) <= {"file", "person"}:
            raise HTTPException(422, "only person has text")
    except HTTPException as error:
        raise HTTPException(
            422,
            f"not a form, or a form field is not a file ({error.detail}): send only the recording, in the form field file, "
            "and perhaps a name, in the form field person",
        ) from None
    if len(form.multi_items()) - texts.count("person") > 1:
        raise HTTPException(422, "only one recording is scored at a time: send only one form field, named file")
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise HTTPException(422, "not a form with a recording: the recording is expected in the form field file")
    return Upload(printable(display_name(file.filename)), file, str(form.get("person", "")))
