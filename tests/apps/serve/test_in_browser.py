"""The page in a real browser: uploads, scores, listening, downloads, and no request to elsewhere."""

import threading
from itertools import count

import numpy as np
import pytest
from builders import PATIENCE, wait
from builders.browser import CARD, IN_BROWSER, audio, drop, rows_of, title_of
from builders.page_requests import send
from builders.speaker_encoders import installed_encoders

from nes2net.cli.main import main
from nes2net.scoring.claimed import PersonDecider
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
        if next(numbers) > 0:
            assert may_go_on.wait(PATIENCE)
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


def test_rows_appear_as_their_files_are_scored(page, client, held_after_one, speech):
    drop(page, client, speech / "talk.wav", speech / "talk.mp3")
    page.wait_for_selector(CARD)
    wait(lambda: "2 of 2, talk.mp3" in page.locator("#progress").inner_text())
    assert title_of(page) == "talk.wav"
    held_after_one.set()
    page.wait_for_selector("#table tr:nth-child(2)")
    assert [row[0] for row in rows_of(page)] == ["talk.wav", "talk.mp3"]


def test_rows_have_the_answers_that_programs_get(page, serving, speech, calibration):
    client, _ = serving(decider=Decider(calibration))
    files = [speech / name for name in ("talk.wav", "talk.mp3", "talk.m4a")]
    drop(page, client, *files)
    page.wait_for_selector("#table tr:nth-child(3)")
    for line, file in zip(rows_of(page), files, strict=True):
        row = send(client, file).json()
        decision = row["decision"].replace("bonafide", "bona fide")
        assert [line[n] for n in (0, 1, 4)] == [file.name, decision, f"{row['score']:.4f}".replace("-", "−")]
        assert float(line[2]) == pytest.approx(row["probability"], abs=6e-4)


@pytest.fixture
def people(tmp_path, speech):
    """Decides on claims that Anna speaks, who is enrolled by the talk."""
    with installed_encoders(tmp_path):
        words = ["enrol", "add", tmp_path / "people", "anna", speech / "talk.wav", "--consent", "form 1"]
        words += ["--encoder", "pitches", "--accept", "too_little", "narrow", "two_people"]
        assert main([str(word) for word in words]) == 0
        yield PersonDecider.of(str(tmp_path / "people"))


def test_the_person_chosen_on_the_page_is_claimed_for_the_files_dropped_then(page, serving, speech, people):
    client, _ = serving(people=people)
    page.goto(str(client.base_url))
    page.wait_for_selector("#claim:not([hidden])")
    page.set_input_files("#files", [str(speech / "talk.wav")])
    page.wait_for_selector("#table tbody tr", state="attached")
    page.wait_for_selector(CARD)
    assert "cannot tell" not in page.locator(CARD).inner_text()
    page.select_option("#person", "anna")
    page.set_input_files("#files", [str(speech / "talk.mp3"), str(speech / "talk.wav")])
    page.wait_for_selector("#table tbody tr:nth-child(2)")
    names = page.locator("#table thead th").all_inner_texts()
    assert names == ["file", "decision", "probability", "LLR", "score", "length"]
    for row in rows_of(page):
        assert row[1:4] == ["cannot tell", "–", "–"]
    text = page.locator(CARD).inner_text()
    assert "Scores decide nothing without a calibration" in text
    assert "Cosine" in text
    assert "Why:" not in text


def test_a_click_into_the_picture_plays_the_recording_from_there(page, client, speech):
    drop(page, client, speech / "talk.mp3")
    page.wait_for_selector(CARD)
    listen_from(page, 0.25, 0.6)


def test_the_openapi_page_loads_only_from_this_server(page, client):
    """The fixture `page` fails if it asks any other address."""
    page.goto(f"{client.base_url}/docs")
    page.click("#operations-default-info_api_info_get button")
    page.click("text=Try it out")
    page.click("text=Execute")
    page.wait_for_selector(".live-responses-table >> text=small.pth")


def test_a_recording_of_the_microphone_is_scored(page, serving):
    """The browser's fake device beeps."""
    client, _ = serving()
    page.goto(str(client.base_url))
    page.locator("header .microphone").wait_for()  # shown once the page has found a microphone
    page.click("#record")
    page.wait_for_timeout(1500)  # records
    page.click("#stop")
    page.wait_for_selector(CARD)
    assert 0.5 < audio(page, "duration") < PATIENCE
    assert np.isfinite(float(page.locator(".verdict").inner_text().replace("−", "-")))
