"""The page in a real browser: uploads, scores, listening, downloads, and no request to elsewhere.

``NES2NET_PICTURES=FOLDER`` keeps pictures of the page to look at.
"""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, needs_gradio

from nes2net.cli.main import main
from nes2net.decisions import Decider

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, needs_gradio, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]
ARGUMENTS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required
    --use-fake-device-for-media-stream --use-fake-ui-for-media-stream""".split()
WAIT = 1000 * PATIENCE  # milliseconds


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that must ask this machine alone, and make no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.grant_permissions(["microphone"])
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    # Gradio asks for what was recorded, to show it until it is scored; an upload is not given out again.
    page.on("response", lambda a: a.status >= 400 and "/file=" not in a.url and errors.append(f"{a.status} {a.url}"))
    yield page
    context.close()
    assert asked and all(re.match(r"(http://127\.0\.0\.1:\d+/|data:|blob:http://127\.0\.0\.1:)", url) for url in asked)
    assert errors == []


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """Half an hour: noise, with silence in every second minute."""
    path = tmp_path_factory.mktemp("half_an_hour") / "half an hour.flac"
    noise = 0.05 * np.random.default_rng(0).standard_normal(60 * 16000).astype(np.float32)
    with soundfile.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
        for minute in range(30):
            file.write(noise * (minute % 2))
    return path


def drop(page, address, *files):
    page.goto(address)
    page.wait_for_selector("#n2-files input[type=file]", state="attached", timeout=WAIT)
    page.set_input_files("#n2-files input[type=file]", [str(file) for file in files])
    page.wait_for_selector("#n2-results .n2", timeout=WAIT)


def audio(page, expression):
    page.wait_for_function("document.querySelector('.n2-card:not([hidden]) audio')?.readyState >= 1", timeout=WAIT)
    return page.evaluate(f"document.querySelector('.n2-card:not([hidden]) audio').{expression}")


def click_at(page, share):
    picture = page.locator(".n2-card:not([hidden]) .n2-picture")
    box = picture.bounding_box()
    audio(page, "duration")
    picture.click(position={"x": share * box["width"], "y": 0.6 * box["height"]})
    page.wait_for_function("!document.querySelector('.n2-card:not([hidden]) audio').paused", timeout=WAIT)


def take_pictures(page, name):
    for theme in ("light", "dark"):
        for width in (1280, 400):
            page.emulate_media(color_scheme=theme)
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function(f"document.body.classList.contains('dark') == {str(theme == 'dark').lower()}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out
            if folder := os.environ.get("NES2NET_PICTURES"):
                page.screenshot(path=Path(folder) / f"{name}-{width}-{theme}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


def predicted(model, files, capsys, *more):
    main(["predict", *map(str, files), "--model", str(model), "--device", "cpu", "--json", *more])
    return {Path(row["file"]).name: row for row in map(json.loads, capsys.readouterr().out.splitlines())}


def test_several_files(page, serving, model, speech, calibration, capsys):
    address, desk = serving(decider=Decider(calibration))
    files = [speech / name for name in ("talk.wav", "talk.mp3", "talk.m4a", "notes.txt")]
    drop(page, address, *files)
    expected = predicted(model, files, capsys)
    lines = page.locator(".n2-table tbody tr").all_inner_texts()
    assert len(lines) == 4
    for line, file in zip(lines[:3], files):
        score = expected[file.name]["score"]
        probability = 1 / (1 + np.exp(-(calibration.weights[0] * score + calibration.offset)))
        decision = "bona fide" if probability >= 0.5 else "spoof"
        assert [line.split("\t")[n] for n in (0, 1, 4)] == [file.name, decision, f"{score:.4f}".replace("-", "−")]
        assert float(line.split("\t")[2]) == pytest.approx(probability, abs=6e-4)
    assert lines[3].split("\t") == ["notes.txt", "not a recording: neither libsndfile nor FFmpeg reads it"]

    page.click("[data-n2-pick='2']")
    assert page.locator(".n2-card:not([hidden]) h2").inner_text() == "talk.mp3"
    click_at(page, 0.25)
    assert audio(page, "duration") == pytest.approx(expected["talk.mp3"]["duration"], abs=0.01)
    assert 0.25 * audio(page, "duration") - 0.1 < audio(page, "currentTime") < 0.6 * audio(page, "duration")
    page.focus(".n2-card:not([hidden]) .n2-picture")
    audio(page, "pause()")
    before = audio(page, "currentTime")
    page.keyboard.press("ArrowRight")
    assert audio(page, "currentTime") == pytest.approx(before + 0.5, abs=0.05)

    with page.expect_download() as download:
        page.click("a[download='scores.json']")
    rows = json.loads(Path(download.value.path()).read_text())
    assert [row["file"] for row in rows] == [file.name for file in files]
    assert [row.get("score") for row in rows] == [expected[file.name].get("score") for file in files]
    assert len(rows[0]["scores"]) == len(rows[0]["times"]) > 10
    with page.expect_download() as download:
        page.click("a[download='scores.csv']")
    text = Path(download.value.path()).read_text()
    assert text.startswith(
        "file,score,duration,llr,probability,decision,prior,operating_point,llr_threshold,error\ntalk.wav,"
    )
    assert [path for path in desk.folder.rglob("*") if path.is_file()] == []  # all is fetched, nothing is kept
    take_pictures(page, "several")


def test_half_an_hour(page, serving, model, long, capsys):
    address, _ = serving()
    drop(page, address, long)
    row = predicted(model, [long], capsys, "--track")[long.name]
    shown = page.locator(".n2-card").inner_text()
    assert page.locator(".n2-verdict").inner_text() == f"{row['score']:.4f}".replace("-", "−")
    assert f"mean of {len(row['scores'])} windows" in shown and "no calibrated probability" in shown
    click_at(page, 0.5)
    assert audio(page, "duration") == 1800
    assert 898 < audio(page, "currentTime") < 960
    take_pictures(page, "half-an-hour")


def test_the_microphone(page, serving):
    """A browser's fake device beeps; the recording comes as WebM or WAV."""
    address, desk = serving()
    page.goto(address)
    page.locator("#n2-microphone button", has_text="Record").click()
    page.wait_for_timeout(1500)
    page.locator("#n2-microphone button", has_text="Stop").first.click()
    page.wait_for_selector(".n2-card", timeout=WAIT)
    assert 0.5 < audio(page, "duration") < PATIENCE
    assert np.isfinite(float(page.locator(".n2-verdict").inner_text().replace("−", "-")))
    assert not [path for path in desk.folder.rglob("*") if path.is_file()]


def test_an_empty_page_offers_a_sample_and_no_microphone_that_is_not_there(page, serving):
    address, _ = serving()
    page.goto(address)
    page.wait_for_selector("#n2-microphone", timeout=WAIT)
    assert "or record one" in page.locator("header").inner_text()
    page.add_init_script("navigator.mediaDevices.enumerateDevices = async () => []")
    page.reload()
    page.wait_for_selector("[data-n2-sample]", timeout=WAIT)
    assert (
        not page.locator("#n2-microphone").is_visible() and "or record one" not in page.locator("header").inner_text()
    )
    take_pictures(page, "empty")
    page.click("[data-n2-sample]")
    page.wait_for_selector(".n2-card", timeout=WAIT)
    assert page.locator(".n2-card h2").inner_text() == "synthetic vowels.wav" and audio(page, "duration") == 6
    assert page.locator("[data-n2-sample]").count() == 0
