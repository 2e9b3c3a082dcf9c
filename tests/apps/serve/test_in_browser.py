"""The page in a real browser: uploads, scores, listening, downloads, and no request to elsewhere."""

import json
import re
import shutil
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, needs_gradio, wait
from builders.page_requests import left
from builders.voices import voice

from nes2net.cli.main import main
from nes2net.scoring.decisions import Decider

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, needs_gradio, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]
ARGUMENTS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required
    --use-fake-device-for-media-stream --use-fake-ui-for-media-stream""".split()
WAIT = 1000 * PATIENCE  # milliseconds
CARD = ".n2-card:not([hidden])"


@pytest.fixture
def page():
    """A page that must ask this machine alone, and make no error."""
    asked, errors = [], []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=WAIT)
        context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        context.grant_permissions(["microphone"])
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        # Gradio asks for what was recorded, to show it until it is scored; an upload is not given out again.
        page.on("response", lambda a: a.status < 400 or "/file=" in a.url or errors.append(f"{a.status} {a.url}"))
        yield page
        browser.close()
    assert asked and all(re.match(r"(http://127\.0\.0\.1:\d+/|data:|blob:http://127\.0\.0\.1:)", url) for url in asked)
    assert errors == []


@pytest.fixture
def held_after_one(monkeypatch):
    """An event; the scoring of every recording after the first waits for it."""
    from nes2net.scoring import judging

    may_go_on, score_track, numbers = threading.Event(), judging.score_track, count()

    def hold(*arguments, **options):
        assert next(numbers) == 0 or may_go_on.wait(PATIENCE)
        return score_track(*arguments, **options)

    monkeypatch.setattr(judging, "score_track", hold)
    yield may_go_on
    may_go_on.set()


def audio(page, expression):
    page.wait_for_function(f"document.querySelector('{CARD} audio')?.readyState >= 1")
    return page.evaluate(f"document.querySelector('{CARD} audio').{expression}")


def listen_from(page, share, within):
    """Click into the picture at ``share`` of its width: the player starts there, before ``within`` of the recording."""
    picture, duration = page.locator(f"{CARD} .n2-picture"), audio(page, "duration")
    # The page itself reads the place, because the player goes on while Playwright asks.
    read_place = "(event) => { event.target.playedFrom = [event.target.currentTime]; }"
    audio(page, f"addEventListener('playing', {read_place}, {{ once: true }})")
    box = picture.bounding_box()
    picture.click(position={"x": share * box["width"], "y": 0.6 * box["height"]})
    (place,) = page.wait_for_function(f"document.querySelector('{CARD} audio').playedFrom").json_value()
    assert share * duration - 0.1 < place < within * duration


def check_widths(page):
    """Nothing sticks out on wide and narrow screens."""
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_rows_of_several_files_appear_as_they_are_scored(
    page, serving, held_after_one, model, speech, calibration, tmp_path, capsys
):
    client, desk = serving(decider=Decider(calibration))
    names = ("talk.wav", "talk.mp3", "talk.m4a", "notes.txt")
    files = [tmp_path / "long.flac", *(speech / name for name in names)]
    minute = voice(seconds=60)
    soundfile.write(files[0], np.concatenate([0 * minute, minute, 0 * minute]), 16000)
    page.goto(str(client.base_url))
    page.wait_for_selector("#n2-files input[type=file]", state="attached")
    page.set_input_files("#n2-files input[type=file]", [str(file) for file in files])
    page.wait_for_selector("[data-n2-unscored]")  # rows come as files are done
    early = page.locator(".n2-table tbody tr").all_inner_texts()
    assert len(early) == 1 and early[0].startswith("long.flac") and not page.locator(CARD).count()
    held_after_one.set()
    page.wait_for_selector(CARD)
    main(["predict", *map(str, files), "--model", str(model), "--device", "cpu", "--json"])
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    lines = [line.split("\t") for line in page.locator(".n2-table tbody tr").all_inner_texts()]
    assert len(lines) == 5
    for line, file, row in zip(lines[:4], files, expected):
        probability = 1 / (1 + np.exp(-calibration([row["score"]])[0]))
        decision = "bona fide" if probability >= 0.5 else "spoof"
        assert [line[n] for n in (0, 1, 4)] == [file.name, decision, f"{row['score']:.4f}".replace("-", "−")]
        assert float(line[2]) == pytest.approx(probability, abs=6e-4)
    assert lines[4] == ["notes.txt", "not a recording: neither libsndfile nor FFmpeg reads it"]

    assert f"mean of {expected[0]['windows']} windows" in page.locator(CARD).inner_text()
    assert audio(page, "duration") == 180
    listen_from(page, 0.5, 0.6)
    page.click("[data-n2-pick='3']")
    assert page.locator(f"{CARD} h2").inner_text() == "talk.mp3"
    assert audio(page, "duration") == pytest.approx(expected[2]["duration"], abs=0.01)
    listen_from(page, 0.25, 0.6)
    with page.expect_download() as found:
        page.click("a[download='scores.json']")
    rows = json.loads(Path(found.value.path()).read_text())
    assert [(row["file"], row.get("score")) for row in rows] == [
        (file.name, row.get("score")) for file, row in zip(files, expected)
    ]
    wait(lambda: not left(desk))  # all is fetched, nothing is kept
    check_widths(page)


def test_the_page_says_what_comes_and_breaks_names_of_files_at_their_separators_only(
    page, serving, speech, calibration, tmp_path
):
    """On the screen of a phone, before and after an upload; the table itself does not stick out."""
    client, _ = serving(decider=Decider(calibration))
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(str(client.base_url))
    assert "What you get for each recording" in page.locator("#n2-results").inner_text()
    files = [tmp_path / name for name in ("interview_2024_05_minister.wav", "notes_of_meeting.txt")]
    files[0].write_bytes((speech / "talk.wav").read_bytes())
    files[1].write_text("no recording")
    page.wait_for_selector("#n2-files input[type=file]", state="attached")
    page.set_input_files("#n2-files input[type=file]", [str(file) for file in files])
    page.wait_for_selector(CARD)
    names = page.locator(".n2-table tbody th")
    assert names.all_inner_texts() == [file.name for file in files]
    lines_of_pieces = """(header) => {
        const walker = document.createTreeWalker(header, NodeFilter.SHOW_TEXT), counts = [];
        while (walker.nextNode()) {
            const range = document.createRange();
            range.selectNodeContents(walker.currentNode);
            counts.push([walker.currentNode.data, range.getClientRects().length]);
        }
        return counts;
    }"""
    pieces = [["interview_", 1], ["2024_", 1], ["05_", 1], ["minister.", 1], ["wav", 1]]
    assert names.first.evaluate(lines_of_pieces) == pieces
    table = page.locator(".n2-wide").first
    assert table.evaluate("(element) => element.scrollWidth") == table.evaluate("(element) => element.clientWidth")
    check_widths(page)


def test_the_openapi_page_tries_a_request_of_this_server_alone(page, serving):
    """It comes from this server alone, and tries a request."""
    client, _ = serving()
    page.goto(f"{client.base_url}/docs")
    page.click("#operations-default-info_api_info_get button")
    page.click("text=Try it out")
    page.click("text=Execute")
    page.wait_for_selector(".live-responses-table >> text=small.pth")
    assert "/api/score" in page.locator("#swagger-ui").inner_text()


def test_a_recording_of_the_microphone_is_scored(page, serving):
    """A browser's fake device beeps; the recording comes as WebM or WAV."""
    client, desk = serving()
    page.goto(str(client.base_url))
    page.locator("header .n2-microphone").wait_for()  # shown once the page has found a microphone
    assert "or record one" in page.locator("header").inner_text()
    page.locator("#n2-microphone button", has_text="Record").click()
    page.locator("#n2-microphone .duration", has_not_text="0:00").wait_for()  # a second is recorded
    page.locator("#n2-microphone button", has_text="Stop").first.click()
    page.wait_for_selector(".n2-card")
    assert 0.5 < audio(page, "duration") < PATIENCE
    assert np.isfinite(float(page.locator(".n2-verdict").inner_text().replace("−", "-")))
    assert "no calibrated probability" in page.locator(CARD).inner_text()
    wait(lambda: not left(desk))
