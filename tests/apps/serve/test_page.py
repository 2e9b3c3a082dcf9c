"""What the page draws and writes."""

import base64
import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from markupsafe import escape

pytest.importorskip("gradio")

from builders import loud_is_fake

from nes2net.apps.serve.desk import Desk
from nes2net.apps.serve.page import (
    _TEMPLATES,
    _download_urls,
    _picture_facts,
    _score_labels,
    _template_facts,
    _time_labels,
    score_axis,
    thin_out,
)
from nes2net.data.audio.remarks import Remark
from nes2net.scoring.decisions import Decider, Population, Traits
from nes2net.scoring.decisions.calibration import Llrs
from nes2net.scoring.track import Track


def content(found, kind):
    """The text that is downloaded as ``kind``."""
    return base64.b64decode(_download_urls(found)[kind].partition("base64,")[2]).decode()


def table(found):
    return list(csv.DictReader(io.StringIO(content(found, "csv"))))


def render(found, **about):
    template = _TEMPLATES.get_template("results.html.jinja")
    return template.render(
        rows=list(map(_template_facts, found)), about={"calibrated": False, **about}, downloads=_download_urls(found)
    )


@pytest.fixture(scope="module")
def scored(small, speech, tmp_path_factory):
    desk = Desk(small, tmp_path_factory.mktemp("desk"))
    return desk.score(speech / "talk.wav", '"><script>alert(1)</script>&.wav', look=True)


def score_samples(detector, tmp_path, samples):
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    return Desk(detector, tmp_path).score(tmp_path / "a.wav", "a.wav", look=True)


def test_names_and_errors_are_escaped_and_can_be_downloaded(scored):
    html = render([scored, {"file": "<i>", "error": "<u>what</u>"}])
    assert "<script" not in html and "<i>" not in html and "<u>" not in html
    assert html.count("&lt;script&gt;alert(1)") == 3 and "&lt;u&gt;what" in html
    error = {"file": "=1+1.wav", "error": "not a recording, …"}
    assert json.loads(content([scored, error], "json")) == [scored.row(), error]
    first, second = table([scored, error])
    assert float(first["score"]) == scored.judged.value and first["file"] == scored.name and first["error"] == ""
    assert second["file"] == "'=1+1.wav"  # a spreadsheet would compute it
    assert second["error"] == error["error"] and second["score"] == ""


def test_a_remark_is_shown_and_one_window_has_a_message_and_no_line(small, scored, speech, tmp_path):
    silent = score_samples(small, tmp_path, np.zeros(320))
    remark = "digital silence; lasts 0.02 s; in training the detector hears 4.04 s at a time"
    assert silent.row()["remark"] == remark and "remark" not in scored.row()
    html = render([silent])
    assert f"Mind: {remark}." in html and f"({remark})" in render([scored, silent])
    assert [line["remark"] for line in table([scored, silent])] == ["", remark]
    assert len(silent.judged.track) == 1 and "one score stands for all of it" in html
    assert "<polyline" not in html and "n2-level" not in html.partition("n2-frequencies")[0]
    assert "<polyline" in render([scored]) and "one score stands" not in render([scored])


def test_sentences_of_a_card_do_not_touch(scored):
    judged = replace(scored.judged, remark=Remark("no signal above 4.3 kHz"), samples=16000)
    html = render([replace(scored, judged=judged)])
    text = " ".join(re.sub("<[^>]*>", "", html).split())
    assert "Mind: no signal above 4.3 kHz. The score is that of the first 1 s: " in text


def test_axes_stand_beside_the_picture_and_numbers_have_a_minus_sign(scored):
    track = replace(scored.judged.track, scores=scored.judged.track.scores - 10)
    html = render([replace(scored, judged=replace(scored.judged, value=-1.5, track=track))])
    assert '<p class="n2-verdict n2-score">−1.5000</p>' in html
    left, picture, right = re.split('<div class="n2-picture"|<div class="n2-axis n2-frequencies"', html)
    levels = re.findall(r'class="n2-level" style="top:[\d.]+%">([^<]*)<', left)
    assert len(levels) >= 3 and all(text.startswith("−") for text in levels) and "n2-level" not in picture
    assert 'style="top:75.0%">2<' in right and "frequency, kHz" in right
    points = [tuple(map(float, point.split(","))) for point in _picture_facts(scored)["line"].split()]
    assert points[0][0] == 0 and points[-1][0] == 1000 and scored.judged.duration == 10


@pytest.mark.parametrize("fakes", [loud_is_fake.FAKES, []])
def test_fake_stretches_are_shaded_and_listed(tmp_path, fakes):
    html = render([score_samples(loud_is_fake.detector(), tmp_path, loud_is_fake.recording(fakes=fakes))])
    boxes = re.findall(r'<rect class="n2-fake" x="([\d.]+)" y="0" width="([\d.]+)"', html)
    assert len(boxes) == 2 * len(fakes)  # over the waveform and over the spectrogram
    assert loud_is_fake.near([(float(x) * 0.003, (float(x) + float(w)) * 0.003) for x, w in boxes[: len(fakes)]], fakes)
    places = [float(place) for place in re.findall(r'data-n2-at="([\d.]+)"', html)]
    assert places == [pytest.approx(start, abs=0.06) for start, _ in fakes]
    assert ("% of the recording" in html) == bool(fakes) and ("No fake stretch was found" in html) != bool(fakes)
    assert "more are in the JSON" not in html and "goes on up to 0.6" in html
    assert ("0:01.0" in html.partition("fake stretch<")[2]) == bool(fakes)


def test_a_recording_that_is_not_decided(small, speech, calibration, tmp_path):
    """Its reason and what the decision rests on are shown and can be downloaded."""
    population = Population.fit([Traits(4.0 + n / 40, -60.0, 8000.0) for n in range(40)], np.arange(40) < 20)
    about = {"corpus": "<dev>", "phase": "dev", "num_bonafide": 20, "num_spoof": 20, "date": "2026-01-02"}
    decider = Decider(replace(calibration, trained_on=about, population=population), 0.3, abstain=0.05)
    desk = Desk(small, tmp_path, decider=decider)
    found = [desk.score(speech / "talk.wav", "talk.wav", look=True)]
    html, reason = render(found, calibrated=True, notes=desk.notes), found[0].row()["reason"]
    assert 'n2-verdict unsure">cannot tell' in html and f"<b>Why:</b> {escape(reason)}" in html
    assert "&lt;dev&gt;, phase dev, 20 bona fide and 20 spoofed trials, 2026-01-02" in html and "prior of 0.3" in html
    assert str(escape(desk.notes[0])) in html
    (line,) = table(found)
    assert (line["decision"], line["reason"], line["prior"]) == ("cannot tell", reason, "0.3")
    assert float(line["llr_threshold"]) == decider.llr_threshold and float(line["p_value"]) < 0.05


def test_the_errors_of_the_calibration_stand_beside_the_answer(small, speech, calibration, tmp_path):
    llrs = Llrs(np.array([-1.0, 2.0]), np.array([-2.0, 1.0, 3.0]))
    desk = Desk(small, tmp_path, decider=Decider(replace(calibration, llrs=llrs)))
    html = render([desk.score(speech / "talk.wav", "talk.wav", look=True)], calibrated=True, notes=desk.notes)
    assert "Of 2 bona fide recordings of the calibration, it calls 1 spoof." in html
    assert "Of 3 spoof recordings of the calibration, it calls 2 bona fide." in html


def test_an_unfit_recording_has_no_probability(small, calibration, tmp_path):
    """Neither in the card and the table nor in the CSV."""
    desk = Desk(small, tmp_path, decider=Decider(calibration))
    soundfile.write(tmp_path / "a.wav", np.zeros(32000), 16000)
    found = [desk.score(tmp_path / "a.wav", "a.wav", look=True)]
    html = render(found * 2, calibrated=True, notes=desk.notes)
    assert 'n2-verdict unsure">cannot tell' in html and "<b>Why:</b> digital silence" in html
    assert "There is no probability" in html and '<td class="n">–</td><td class="n far">–</td>' in html
    (line,) = table(found)
    assert (line["llr"], line["probability"], line["decision"]) == ("", "", "cannot tell")


def test_the_axes_and_a_long_track_that_is_thinned_to_medians_and_its_ends():
    track = Track(np.array([2.0, 3.0]), np.array([1.0, 1.01], np.float32), 4.0, 5.0)
    assert np.ptp(score_axis(track, None)) == 4  # noise does not look like a cliff
    least, most = score_axis(track, 9.0)
    assert least < 1 and most > 9
    assert _score_labels(-1, 3) == [0, 1, 2] and str(_score_labels(-1, 3)[0]) == "0.0"
    assert _time_labels(5.0) == [0, 1, 2, 3, 4] and _time_labels(1800) == [0, 300, 600, 900, 1200, 1500]
    scores = np.random.default_rng(0).standard_normal(7000).astype(np.float32)
    times, low, middle, high = thin_out(Track(2 + 0.5 * np.arange(7000), scores, 4.0, 3504.0))
    assert len(times) == len(low) == len(middle) == len(high) == 402
    assert (times[0], times[-1]) == (0, 3504) and times == sorted(times)
    assert min(low) == scores.min() and max(high) == scores.max()
    assert all(a <= b <= c for a, b, c in zip(low, middle, high))
