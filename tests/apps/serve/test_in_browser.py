"""The page in a real browser: uploads, scores, listening, downloads, and no request to elsewhere."""

import json
import threading
from itertools import count

import numpy as np
import pytest
import soundfile
from builders import PATIENCE, wait
from builders.browser import CARD, IN_BROWSER, audio, drop, rows_of, title_of
from builders.page_requests import left
from builders.voices import voice

from nes2net.cli.main import main
from nes2net.scoring.decisions import Decider

pytestmark = IN_BROWSER


@pytest.fixture
def held_after_one(monkeypatch):
    """An event; the scoring of every recording after the first waits for it."""
    from nes2net.scoring import judging

    may_go_on = threading.Event()
    score_track = judging.score_track
    numbers = count()

    def hold(*arguments, **options):
        assert next(numbers) == 0 or may_go_on.wait(PATIENCE)
        return score_track(*arguments, **options)

    monkeypatch.setattr(judging, "score_track", hold)
    yield may_go_on
    may_go_on.set()


def listen_from(page, share, within):
    """Click into the picture at ``share`` of its width: the player starts there, before ``within`` of the recording."""
    picture = page.locator("#picture")
    duration = audio(page, "duration")
    # The page itself reads the place, because the player goes on while Playwright asks.
    page.evaluate("delete audio.playedFrom")
    read_place = "() => { audio.playedFrom = audio.currentTime; }"
    audio(page, f"addEventListener('playing', {read_place}, {{ once: true }})")
    box = picture.bounding_box()
    picture.click(position={"x": share * box["width"], "y": 0.6 * box["height"]})
    wait(lambda: page.evaluate("'playedFrom' in audio"))
    assert share * duration - 0.1 < page.evaluate("audio.playedFrom") < within * duration


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
    drop(page, client, *files)
    page.wait_for_selector(CARD)  # rows come as files are done
    wait(lambda: "2 of 5, talk.wav" in page.locator("#progress").inner_text())
    assert page.locator("#table tbody tr").count() == 1
    assert title_of(page) == "long.flac"
    held_after_one.set()
    page.wait_for_selector("#progress", state="hidden")
    main(["predict", *map(str, files), "--model", str(model), "--device", "cpu", "--json"])
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    lines = rows_of(page)
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
    page.click("#table tr:nth-child(3) button")
    assert title_of(page) == "talk.mp3"
    assert audio(page, "duration") == pytest.approx(expected[2]["duration"], abs=0.01)
    listen_from(page, 0.25, 0.6)
    wait(lambda: not left(desk))  # all is fetched, nothing is kept
    check_widths(page)


def test_the_page_fits_the_screen_of_a_phone(page, serving, speech, calibration):
    """On the screen of a phone, before and after an upload; the table itself does not stick out."""
    client, _ = serving(decider=Decider(calibration))
    page.set_viewport_size({"width": 400, "height": 900})
    page.goto(str(client.base_url))
    assert "What you get for each recording" in page.locator("main").inner_text()
    first = ("interview_2024_05_minister.wav", (speech / "talk.wav").read_bytes())
    second = ("notes_of_meeting.txt", b"no recording")
    drop(page, client, first, second)
    page.wait_for_selector("#table tr:nth-child(2)")
    assert not page.locator("#empty").is_visible()
    names = page.locator("#table tbody th")
    assert names.all_inner_texts() == [first[0], second[0]]
    lines_of_pieces = """(header) => {
        const walker = document.createTreeWalker(header, NodeFilter.SHOW_TEXT), counts = [];
        while (walker.nextNode()) {
            const range = document.createRange();
            range.selectNodeContents(walker.currentNode);
            if (range.getClientRects().length) counts.push([walker.currentNode.data, range.getClientRects().length]);
        }
        return counts;
    }"""
    pieces = [["interview_", 1], ["2024_", 1], ["05_", 1], ["minister.", 1], ["wav", 1]]
    assert names.first.evaluate(lines_of_pieces) == pieces
    table = page.locator("#table")
    assert table.evaluate("(element) => element.scrollWidth") == table.evaluate("(element) => element.clientWidth")
    check_widths(page)


def test_the_openapi_page_loads_only_from_this_server(page, client):
    """It comes from this server alone, and tries a request."""
    page.goto(f"{client.base_url}/docs")
    page.click("#operations-default-info_api_info_get button")
    page.click("text=Try it out")
    page.click("text=Execute")
    page.wait_for_selector(".live-responses-table >> text=small.pth")
    assert "/api/score" in page.locator("#swagger-ui").inner_text()


def test_a_recording_of_the_microphone_is_scored(page, serving):
    """A browser's fake device beeps; the recording comes as WebM."""
    client, desk = serving()
    page.goto(str(client.base_url))
    page.locator("header .microphone").wait_for()  # shown once the page has found a microphone
    assert "or record one" in page.locator("header").inner_text()
    page.click("#record")
    page.wait_for_timeout(1500)  # records
    page.click("#stop")
    page.wait_for_selector(CARD)
    assert page.locator("#record").is_visible()
    assert not page.locator("#stop").is_visible()
    assert 0.5 < audio(page, "duration") < PATIENCE
    assert np.isfinite(float(page.locator(".verdict").inner_text().replace("−", "-")))
    assert "no calibrated probability" in page.locator(CARD).inner_text()
    wait(lambda: not left(desk))
