"""What the page draws and writes about a recording, in a real browser."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from builders import loud_is_fake
from builders.browser import CARD, IN_BROWSER, audio, drop, rows_of, title_of
from builders.page_requests import wav

from nes2net.apps.serve.desk import Limits
from nes2net.scoring.decisions import Decider

pytestmark = IN_BROWSER


def card_of(page):
    page.wait_for_selector(CARD)
    return " ".join(page.locator(CARD).inner_text().split())


def downloaded(page, name):
    with page.expect_download() as download:
        page.click(f"a[download='{name}']")
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_names_of_files_are_shown_as_text(page, client):
    name = "<img src=x onerror=alert(1)>,=1+1.wav"
    drop(page, client, (name, wav()), ("=1+1.txt", b"no samples"))
    page.wait_for_selector("#table tr:nth-child(2)")
    assert [row[0].split(" (")[0] for row in rows_of(page)] == [name, "=1+1.txt"]
    assert title_of(page) == name
    assert page.locator("img").count() == 1  # the spectrogram


def test_the_downloaded_csv_and_json_have_the_rows_of_all_files(page, client):
    drop(page, client, ("a.wav", wav()), ("notes.txt", b"no samples"))
    page.wait_for_selector("#table tr:nth-child(2)")
    first, second = csv.DictReader(downloaded(page, "scores.csv").splitlines())
    rows = json.loads(downloaded(page, "scores.json"))
    assert first["file"] == rows[0]["file"] == "a.wav"
    assert float(first["score"]) == rows[0]["score"]
    assert rows[1]["error"] == second["error"]


@pytest.mark.parametrize("fakes", [loud_is_fake.FAKES, []])
def test_fake_stretches_are_shaded_and_listed(page, serving, tmp_path, fakes):
    client, desk = serving()
    desk.detector = loud_is_fake.detector()
    soundfile.write(tmp_path / "a.wav", loud_is_fake.recording(fakes=fakes), 16000)
    drop(page, client, tmp_path / "a.wav")
    card_of(page)
    shapes = [path.get_attribute("d") for path in page.locator("path.fake").all()]
    boxes = re.findall(r"M([\d.]+) 0H([\d.]+)V", shapes[0])
    assert loud_is_fake.near([(float(start) * 0.003, float(end) * 0.003) for start, end in boxes], fakes)
    assert page.locator("#fakes tr").count() == len(fakes)


def test_the_card_says_why_a_recording_is_not_decided(page, serving, speech, calibration, quiet_population):
    decider = Decider(replace(calibration, population=quiet_population), 0.3, abstain=0.05)
    client, _ = serving(decider=decider)
    drop(page, client, speech / "talk.wav")
    text = card_of(page)
    assert page.locator(".verdict").inner_text() == "cannot tell"
    assert "Why: its level" in text


@pytest.mark.parametrize("is_calibrated", [True, False])
def test_the_page_says_before_the_first_recording_whether_it_has_a_calibration(
    page, serving, calibration, is_calibrated
):
    wild_calibration = replace(calibration, trained_on={"corpus": "in_the_wild"})
    client, _ = serving(decider=Decider(wild_calibration, 0.5) if is_calibrated else None)
    page.goto(str(client.base_url))
    page.wait_for_selector("#head p.quiet:not([hidden])")
    head = page.locator("#head").inner_text()
    assert ("It decides by a calibration on in_the_wild, at the operating point" in head) == is_calibrated
    assert ("It has no calibration: it gives scores, but no decisions." in head) != is_calibrated
    assert ("a decision" in page.locator("#empty").inner_text()) == is_calibrated


def test_the_page_shows_the_reason_for_a_refused_upload_in_the_row_of_its_file(page, serving):
    client, _ = serving(Limits(max_size=1))
    drop(page, client, ("large.wav", wav(80)))
    page.wait_for_selector("td.error")
    assert rows_of(page) == [["large.wav", "too large: send at most 1 MB at once"]]


def test_a_row_can_be_chosen_by_keyboard(page, client, speech):
    drop(page, client, speech / "talk.wav", speech / "talk.mp3")
    page.wait_for_selector("#table tr:nth-child(2)")
    page.locator("#table button").last.focus()
    page.keyboard.press("Enter")
    assert title_of(page) == "talk.mp3"


def test_a_place_in_the_recording_can_be_chosen_by_keyboard(page, client, speech):
    drop(page, client, speech / "talk.mp3")
    card_of(page)
    audio(page, "duration")
    page.locator("#picture").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(100)
    slider = page.get_by_role("slider", name="Place in the recording")
    assert slider.get_attribute("aria-valuetext") == "0:01.5"


def test_a_button_of_the_page_scores_synthetic_vowels_without_a_recording(page, client):
    page.goto(str(client.base_url))
    page.click("#sample")
    card_of(page)
    assert title_of(page) == "synthetic vowels.wav"
    assert audio(page, "duration") == 6
