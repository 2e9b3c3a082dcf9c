"""The page of `nes2net serve` in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from builders import PATIENCE, needs_serve, wait

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Marks of a module whose tests use :func:`opened_page`.
IN_BROWSER = [pytest.mark.slow, needs_serve, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]
ARGUMENTS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required
    --use-fake-device-for-media-stream --use-fake-ui-for-media-stream""".split()
WAIT = 1000 * PATIENCE  # milliseconds
OWN_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/|data:|blob:http://127\.0\.0\.1:")
CARD = "#card:not([hidden])"


@contextmanager
def opened_page() -> Iterator:
    """A page that must ask this machine alone, and make no error; answers to recordings may be refusals."""
    playwright = pytest.importorskip("playwright.sync_api")
    requested_urls = []
    errors = []

    def note(answer):
        if answer.status >= 400 and "/page/score" not in answer.url:
            errors.append(f"{answer.status} {answer.url}")

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=WAIT)
        context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        context.grant_permissions(["microphone"])
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: requested_urls.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("response", note)
        page.on("dialog", lambda dialog: errors.append(dialog.message))
        yield page
        browser.close()
    assert requested_urls
    assert [url for url in requested_urls if not OWN_ADDRESS.match(url)] == []
    assert errors == []


def drop(page, client, *files):
    """Open the page, and drop files on it: paths, or pairs of a name and the content."""
    page.goto(str(client.base_url))
    payloads = []
    for file in files:
        if isinstance(file, tuple):
            payloads.append({"name": file[0], "mimeType": "audio/wav", "buffer": file[1]})
        else:
            payloads.append(str(file))
    page.set_input_files("#files", payloads)


def audio(page, expression):
    """The value of ``expression`` for the player, once the player has its recording."""
    wait(lambda: page.evaluate("audio.readyState") >= 1)
    return page.evaluate(f"audio.{expression}")


def title_of(page):
    """The title of the card, which names the recording that it shows."""
    return page.locator(f"{CARD} h2").inner_text()


def rows_of(page):
    """The cells of the table of all files, as they are shown."""
    return [line.split("\t") for line in page.locator("#table tbody tr").all_inner_texts()]
