"""What the page draws and writes about a recording, in a real browser."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import loud_is_fake, wait
from builders.browser import CARD, IN_BROWSER, audio, drop, rows_of, title_of
from builders.page_requests import wav
from builders.voices import voice

from nes2net.apps.serve.desk import Limits
from nes2net.scoring.decisions import Decider
from nes2net.scoring.decisions.calibration import Llrs

pytestmark = IN_BROWSER


def card_of(page):
    page.wait_for_selector(CARD)
    return " ".join(page.locator(CARD).inner_text().split())


def downloaded(page, name):
    with page.expect_download() as download:
        page.click(f"a[download='{name}']")
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_names_of_files_are_shown_as_text(page, client, speech):
    name = "<img src=x onerror=alert(1)>,=1+1.wav"
    drop(page, client, (name, wav()), ("=1+1.txt", b"no samples"))
    page.wait_for_selector("#table tr:nth-child(2)")
    assert [row[0].split(" (")[0] for row in rows_of(page)] == [name, "=1+1.txt"]
    assert title_of(page) == name
    assert page.locator("img").count() == 1  # the spectrogram
    first, second = csv.DictReader(downloaded(page, "scores.csv").splitlines())
    rows = json.loads(downloaded(page, "scores.json"))
    assert first["file"] == rows[0]["file"] == name
    assert float(first["score"]) == rows[0]["score"]
    assert second["file"] == "'=1+1.txt"  # a spreadsheet would compute it
    assert second["score"] == ""
    assert rows[1]["error"] == second["error"]
    assert "llr" not in first


def test_one_window_has_a_message_instead_of_a_line(page, client):
    drop(page, client, ("silence.wav", wav(0.02, pitch=0)))
    text = card_of(page)
    remark = "digital silence; lasts 0.02 s; in training the detector hears 4.04 s at a time"
    assert f"Mind: {remark}." in text
    assert "one score stands for all of it" in text
    assert "over it the score" not in text
    assert page.locator("polyline.line").get_attribute("points") == ""
    assert not page.locator("#levels span").count()
    assert not page.locator("#table").is_visible()  # one recording needs none


def test_the_picture_has_labelled_axes(page, serving, speech, calibration):
    client, _ = serving(decider=Decider(calibration))
    drop(page, client, speech / "talk.wav")
    card_of(page)
    levels = page.locator("#levels span").all_inner_texts()
    assert len(levels) >= 3
    assert "-" not in "".join(levels)
    assert page.locator("#ticks span").all_inner_texts() == ["0:00", "0:02", "0:04", "0:06", "0:08"]
    points = page.locator("polyline.line").get_attribute("points").split()
    assert points[0].startswith("0,")
    assert points[-1].startswith("1000,")
    limit = float(re.search(r"M0 ([\d.]+)H", page.locator("#threshold").get_attribute("d"))[1])
    heights = [float(point.split(",")[1]) for point in points]
    assert min(heights) < limit < max(heights)  # the calibration's threshold is the median score


@pytest.mark.parametrize("fakes", [loud_is_fake.FAKES, []])
def test_fake_stretches_are_shown(page, serving, tmp_path, fakes):
    client, desk = serving()
    desk.detector = loud_is_fake.detector()
    soundfile.write(tmp_path / "a.wav", loud_is_fake.recording(fakes=fakes), 16000)
    drop(page, client, tmp_path / "a.wav")
    text = card_of(page)
    shapes = [path.get_attribute("d") for path in page.locator("path.fake").all()]
    assert len(shapes) == 2  # over the waveform and over the spectrogram
    assert shapes[0] == shapes[1]
    boxes = re.findall(r"M([\d.]+) 0H([\d.]+)V", shapes[0])
    assert loud_is_fake.near([(float(start) * 0.003, float(end) * 0.003) for start, end in boxes], fakes)
    assert page.locator("#fakes tr").count() == len(fakes)
    assert ("% of the recording" in text) == bool(fakes)
    assert ("No fake stretch was found" in text) != bool(fakes)
    assert "continues up to 0.6," in text
    if fakes:
        page.click("#fakes tr:last-child button")
        wait(lambda: audio(page, "currentTime") >= fakes[-1][0] - 0.1)


def test_the_card_says_why_a_recording_is_not_decided(page, serving, speech, calibration, quiet_population):
    llrs = Llrs(np.array([-1.0, 2.0]), np.array([-2.0, 1.0, 3.0]))
    decider = Decider(replace(calibration, population=quiet_population, llrs=llrs), 0.3, abstain=0.05)
    client, desk = serving(decider=decider)
    drop(page, client, speech / "talk.wav")
    text = card_of(page)
    assert page.locator(".verdict").inner_text() == "cannot tell"
    assert "Why: its level" in text
    assert "There is no probability and no log-likelihood ratio of such a recording" in text
    assert "Of 2 bona fide recordings of the calibration, it calls 1 spoof." in text
    assert "Of 3 spoof recordings of the calibration, it calls 2 bona fide." in text
    page.click("summary")
    assert desk.notes[0] in page.locator("#basis").inner_text()


def test_the_box_scores_each_channel_by_itself(page, client, tmp_path):
    soundfile.write(tmp_path / "call.wav", np.stack([voice(1, 4.0), voice(2, 4.0)], 1), 16000)
    page.goto(str(client.base_url))
    page.check("#each")
    page.set_input_files("#files", str(tmp_path / "call.wav"))
    page.wait_for_selector("#table tr:nth-child(2)")
    assert [row[0] for row in rows_of(page)] == ["call.wav, channel 0", "call.wav, channel 1"]


def test_an_upload_without_an_answer_is_an_error_of_the_file(page, serving):
    client, _ = serving(Limits(max_size=1))
    drop(page, client, ("large.wav", wav(80)))
    page.wait_for_selector("td.error")
    assert rows_of(page) == [["large.wav", "too large: send at most 1 MB at once"]]
    page.route("**/page/score*", lambda route: route.abort())
    page.set_input_files("#files", [{"name": "a.wav", "mimeType": "audio/wav", "buffer": wav()}])
    page.get_by_role("cell", name="the server does not answer").wait_for()
    assert [row[0] for row in rows_of(page)] == ["a.wav"]  # a new drop replaces what was shown


def test_the_page_can_be_used_without_a_mouse_or_screen(page, client, speech):
    drop(page, client, speech / "talk.wav", speech / "notes.txt", speech / "talk.mp3")
    page.wait_for_selector("#table tr:nth-child(3)")
    name, score, _ = rows_of(page)[-1]
    assert page.get_by_role("status").inner_text() == f"{name}: {score}"
    page.locator("#files").focus()
    outline = "getComputedStyle(document.querySelector('.drop')).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.locator("#table button").last.focus()
    page.keyboard.press("Enter")
    assert title_of(page) == "talk.mp3"
    assert page.locator("#table button").last.get_attribute("aria-pressed") == "true"
    audio(page, "duration")
    page.locator("#picture").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(100)
    slider = page.get_by_role("slider", name="Place in the recording")
    assert slider.get_attribute("aria-valuetext") == "0:01.5"
    assert page.locator("#place").inner_text().startswith("0:01.5  score ")


def test_the_page_follows_the_scheme_of_the_system(page, client):
    page.goto(str(client.base_url))
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) == "rgb(20, 23, 28)"


def test_synthetic_vowels_need_no_recording(page, client):
    page.goto(str(client.base_url))
    page.click("#sample")
    card_of(page)
    assert title_of(page) == "synthetic vowels.wav"
    assert audio(page, "duration") == 6


def test_labels_of_axes_are_round(page, client):
    page.goto(str(client.base_url))
    low, high = page.evaluate("scoreAxis([1, 1.01], null)")
    assert high - low == pytest.approx(4)  # noise does not look like a cliff
    low, high = page.evaluate("scoreAxis([1, 1.01], 9)")
    assert low < 1
    assert high > 9
    assert page.evaluate("scoreLabels(-1, 3)") == [0, 1, 2]
    assert page.evaluate("timeLabels(5)") == [0, 1, 2, 3, 4]
    assert page.evaluate("timeLabels(1800)") == [0, 300, 600, 900, 1200, 1500]
    assert page.evaluate("[clock(59.96), clock(3725.5), clock(75, 0)]") == ["1:00.0", "1:02:05.5", "1:15"]
    assert page.evaluate("[4.0375, 90, 7200].map(duration)") == ["4.04 s", "1 min 30 s", "2 h"]


def test_a_long_track_is_thinned_to_medians(page, client):
    page.goto(str(client.base_url))
    scores = np.random.default_rng(0).standard_normal(7000)
    track = {"times": (2 + 0.5 * np.arange(7000)).tolist(), "scores": scores.tolist(), "duration": 3504}
    points = page.evaluate("thinned", track)
    times = [point["time"] for point in points]
    assert len(points) == 402
    assert times == sorted(times)
    assert [times[0], times[-1]] == [0, 3504]
    assert min(point["low"] for point in points) == scores.min()
    assert max(point["high"] for point in points) == scores.max()
    group = sorted(scores[:17])  # 7000 windows in 400 groups
    assert points[1]["middle"] == group[8]
