"""Check that a form holds files only, while it arrives: text fields would be kept in memory."""

from __future__ import annotations

import re
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from nes2net.lib.web.guard import FormCheck
from nes2net.lib.web.http_server import Refused

_MAX_TYPE = 100  # largest number of bytes of a content type that the application gets
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{1,70}")  # RFC 2046, Sec. 5.1.1


def form_of(content_type: str) -> tuple[bytes, FormCheck | None]:
    """Return the understood part of the header Content-Type, and a check of a form.

    Raises:
        Refused: if a form has no boundary between its parts.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return kind[:_MAX_TYPE], None
    boundary = options.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise Refused(422, "not a form: its header Content-Type requires a boundary of at most 70 characters")
    return kind + b'; boundary="' + boundary + b'"', Form(boundary).refusal_of


class Form:
    """Checks that a form, which arrives in pieces, holds files only."""

    def __init__(self, boundary: bytes) -> None:
        self.name = self.value = b""  # name and value of the header that is arriving
        self.is_file = False
        watched = ("part_begin", "header_field", "header_value", "header_end", "headers_finished")
        callbacks: Any = {f"on_{event}": getattr(self, event) for event in watched}
        self.parser = MultipartParser(boundary, callbacks)

    def refusal_of(self, content: bytes) -> Refused | None:
        try:
            self.parser.write(content)
        except FormParserError:
            return Refused(422, "not a form: its parts must be divided and headed as in multipart/form-data")
        except Refused as refusal:
            return refusal
        return None

    # The parser calls the following methods, which are named like the parser's events.

    def part_begin(self) -> None:
        self.name = self.value = b""
        self.is_file = False

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        if self.name.lower() == b"content-disposition":
            self.is_file = b"filename" in parse_options_header(self.value)[1]
        self.name = self.value = b""

    def headers_finished(self) -> None:
        if not self.is_file:
            raise Refused(422, "a form field is not a file: send only the recording, in the form field file")
