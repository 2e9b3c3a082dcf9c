"""Print a report as a PDF, by WeasyPrint."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from typing import Any

from nes2net.lib.process.installation import optional
from nes2net.lib.storage.files import AnyPath, replacing, writing


def weasyprint() -> Any:
    """Import the optional library WeasyPrint.

    Raises:
        MissingLibrary: if WeasyPrint is not installed, or lacks the system library Pango.
    """
    instead = (
        ", and its system library Pango (on Debian and Ubuntu apt-get install libpango-1.0-0 libpangoft2-1.0-0); "
        "or print the page of `html` from a browser"
    )
    with redirect_stdout(io.StringIO()):  # WeasyPrint prints a banner if a library is missing
        return optional("weasyprint", "`pdf` needs WeasyPrint", "report", instead)


def write_pdf(page: str, path: AnyPath) -> None:
    """Print a report in HTML on A4; no file or address is read.

    Raises:
        InputError: if the file cannot be written.
        MissingLibrary: as :func:`weasyprint`.
    """
    library = weasyprint()
    fetcher = library.urls.URLFetcher(allowed_protocols=("data",))
    content = library.HTML(string=page, url_fetcher=fetcher).write_pdf()
    with writing(path), replacing(path, durable=True) as temporary:
        temporary.write_bytes(content)
