"""Print a report as a PDF, by WeasyPrint."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from types import ModuleType

from nes2net.lib.errors import MissingLibrary, first_line
from nes2net.lib.process.installation import how_to_install
from nes2net.lib.storage.files import AnyPath, replacing, writing


def weasyprint() -> ModuleType:
    """Import the optional library WeasyPrint.

    Raises:
        MissingLibrary: if WeasyPrint is not installed, or lacks the system library Pango.
    """
    try:
        with redirect_stdout(io.StringIO()):  # WeasyPrint prints a banner if a library is missing
            import weasyprint  # optional dependency
    except ImportError as error:
        raise MissingLibrary(
            f"`pdf` needs WeasyPrint: {how_to_install('report')}; or print the page of `html` from a browser"
        ) from error
    except OSError as error:
        raise MissingLibrary(
            f"`pdf` needs Pango, a library of the system ({first_line(error)}): on Debian and Ubuntu apt-get install "
            "libpango-1.0-0 libpangoft2-1.0-0; or print the page of `html` from a browser"
        ) from error
    return weasyprint


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
