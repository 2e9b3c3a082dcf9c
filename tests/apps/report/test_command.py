"""`nes2net report`: what it says of a recording, that nothing of it is run or fetched, and that it is the same twice."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from builders import loud_is_fake
from builders.known_voices import write_neighbours
from builders.recordings import encode
from builders.two_calibrations import write_detector_and_calibrations
from builders.unfit import write_unfit
from builders.voices import voice
from conftest import load_detector

from nes2net.cli.main import main
from nes2net.lib.output import progress
from nes2net.lib.output.templates import page_templates
from nes2net.scoring.decisions import load

NAME = "<b>x&y.wav"
WINDOW = 16000


@pytest.fixture(scope="module")
def report_folder(tmp_path_factory) -> Path:
    """A small detector, and a calibration of its windows of a second that takes loud speech for bona fide."""
    folder = tmp_path_factory.mktemp("made")
    talk = 0.5 * voice(seconds=10)
    soundfile.write(folder / NAME, talk, 16000)
    write_detector_and_calibrations(folder, talk, WINDOW / 16000, 0.5)
    return folder


@pytest.fixture
def report(output, report_folder, workdir):
    """A function that makes a report, and returns its page."""

    def make(words="--calibration {made}/bonafide.json", recording=None, model="small.pth") -> str:
        files = [recording or report_folder / NAME, "--model", report_folder / model]
        flags = ["--device", "cpu", "--html", "r.html", *words.format(made=report_folder).split()]
        out = output(["report", *files, *flags]).out
        assert "wrote r.html" in out
        return Path("r.html").read_text()

    return make


@pytest.fixture(scope="module")
def page(report_folder) -> str:
    """A report by the calibration that takes the recording for bona fide."""
    flags = ["--calibration", report_folder / "bonafide.json", "--html", report_folder / "r.html"]
    words = ["report", report_folder / NAME, "--model", report_folder / "small.pth", "--device", "cpu", *flags]
    assert main([str(word) for word in words]) == 0
    return (report_folder / "r.html").read_text()


def text_of(page: str) -> str:
    """The text of a page without its pictures, on one line."""
    body = re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"</?\w[^>]*>", " ", body).split()))


def test_a_report_states_its_answer_and_all_that_it_rests_on(page, report_folder):
    """The probability, the speech, the recordings of the calibration and their errors, the command and the detector."""
    text = text_of(page)
    for words in (
        "takes the recording for real speech",
        "95.8 % that a typical window of the recording is",
        "100 % of the recording: 19 windows of 1 s in which there is speech.",
        "100 bona fide and 100 spoofed recordings: so few support 99.0 % at most",
        "Of 100 recordings that are bona fide, it calls 0 spoof: none (95 % interval: 0 % to 3.7 %)",
        "nes2net report '<b>x&y.wav' --model small.pth --device cpu --calibration bonafide.json --html r.html",
    ):
        assert words in text
    assert load_detector(report_folder / "small.pth").fingerprint() in text


def test_if_the_calibration_calls_a_recording_spoof_its_report_takes_it_for_a_fake(report):
    text = text_of(report("--calibration {made}/spoof.json --prior 0.25"))
    assert "takes the recording for a fake: for speech" in text
    assert "if 25 % of such recordings are bona fide" in text


def test_the_progress_of_a_report_advises_no_setting_of_another_command(output, report_folder, monkeypatch, workdir):
    monkeypatch.setenv(progress.SECONDS, "60")
    monkeypatch.setattr(progress, "_FIRST", 0.0)  # so that any work is long
    files = [report_folder / NAME, "--model", report_folder / "small.pth", "--json", "r.json"]
    words = r"..:..:.. <b>x&y.wav: about .* for 10 seconds\n"
    assert re.match(rf"{words}(..:..:.. <b>x&y.wav: .*\n)*$", output(["report", *files, "--device", "cpu"]).err)


def test_the_name_of_a_recording_is_shown_in_a_report_as_text(page):
    assert "&lt;b&gt;x&amp;y.wav" in page
    assert "<b>x" not in page


def test_a_fact_keeps_every_character_of_a_name():
    source = '{% from "facts.html.jinja" import fact %}{% call fact("Name") %}{{ name }}{% endcall %}'
    name = "\x1fa\u3000.wav\x85"
    assert f"<dd>{name}</dd>" in page_templates("nes2net.apps.report").from_string(source).render(name=name)


def test_a_report_has_no_script_and_fetches_nothing(page):
    assert "<script" not in page
    assert "default-src 'none'" in page
    sources = re.findall(r"""(?:src|href)="?([^">]*)|url\(([^)]*)\)""", page)
    assert sources
    assert all(source.startswith(("#", "data:")) for pair in sources for source in pair if source)


def test_reports_on_the_same_recording_differ_only_in_the_time_at_which_they_were_written(report, page):
    pages = [re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", text) for text in (page, report())]
    assert pages[0] == pages[1]
    assert " UTC" not in pages[0]


@pytest.fixture
def page_on_a_fake_part(report, report_folder, workdir):
    """The report on a recording with a loud part, by a detector that takes loud speech for fake."""
    detector = loud_is_fake.detector()
    detector.save("loud.pth")
    soundfile.write("part.wav", loud_is_fake.recording(20.0, [(8.0, 12.0)]), 16000)
    scores = detector.score_track("part.wav", window=1.0, hop=1.0).scores
    median = float(np.median(scores[:8]))
    lowest_median = float(np.median(scores[8:12]))
    calibration = load(report_folder / "bonafide.json")
    scored_by = replace(calibration.scored_by, fingerprint=detector.fingerprint())
    weight = 9 / (median - lowest_median)
    replace(calibration, weights=(weight,), offset=3 - weight * median, scored_by=scored_by).save("part.json")
    return report("--calibration part.json", "part.wav", workdir / "loud.pth")


def test_a_report_names_a_fake_part_of_a_recording(page_on_a_fake_part):
    text = text_of(page_on_a_fake_part)
    assert "takes a part of the recording for a fake" in text
    assert "0:08 to 0:12 speaks against bona fide" in text


def test_a_report_without_a_calibration_has_the_command_to_calibrate_in_place_of_an_answer(report):
    text = text_of(report(""))
    assert "No answer" in text
    assert "nes2net calibrate recordings REAL FAKE --model small.pth --save calibration.json" in text
    assert "Probability" not in text


def test_a_report_by_genuine_recordings_alone_has_no_words_of_fakes_or_ratios(report, report_folder, tmp_path):
    genuine = {"scores": [float(number) for number in range(19)], "alpha": "5%", "groups": None, "assured": False}
    learned = replace(load(report_folder / "bonafide.json"), weights=(1.0,), offset=0.0, llrs=None, genuine=genuine)
    replace(learned, resamples=None).save(tmp_path / "genuine.json")
    text = text_of(report(f"--calibration {tmp_path / 'genuine.json'}"))
    assert "sual for your genuine recordings" in text
    assert "About 5 % of genuine recordings like those of the calibration" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "read nothing into the marks" not in text
    assert not re.search(r"(?i)\b(fakes?|ratios?|probability|llr)\b", text)


def test_a_report_on_an_unfit_recording_has_a_reason_in_place_of_an_answer(report, tmp_path):
    path, reason = next(iter(write_unfit(tmp_path).items()))
    text = text_of(report(recording=path))
    assert f"no answer for this recording: {reason}" in text
    assert "Probability" not in text


@pytest.fixture
def two_speakers(tmp_path):
    """A recording with one speaker in each channel."""
    soundfile.write(tmp_path / "call.wav", np.stack([voice(1, 4.0), voice(2, 4.0)], 1), 16000)
    return tmp_path / "call.wav"


def test_a_report_on_channels_that_differ_says_to_score_each_by_itself_only_if_none_is_chosen(report, two_speakers):
    advice = "its 2 channels differ, as those of two speakers do: score each by itself"
    assert advice in text_of(report(recording=two_speakers))
    text = text_of(report("--channel 1", recording=two_speakers))
    assert advice not in text
    assert "1 (from 0) of 2" in text


def test_a_report_shows_the_fake_stretches_of_a_detector_of_segments(report, tmp_path):
    detector = loud_is_fake.detector()
    detector.save(tmp_path / "segments.pth", **detector.provenance.to_dict())
    soundfile.write(tmp_path / "a.wav", loud_is_fake.recording(), 16000)
    text = text_of(report("", tmp_path / "a.wav", tmp_path / "segments.pth"))
    spans = re.findall(r"0:(\d\d\.\d\d) to 0:(\d\d\.\d\d)", text)
    assert loud_is_fake.near([(float(start), float(end)) for start, end in spans], loud_is_fake.FAKES)


@pytest.mark.slow
def test_only_a_recording_of_at_most_ten_minutes_can_be_played_in_a_report(report, page, tmp_path):
    assert "<audio" in page
    soundfile.write(tmp_path / "long.wav", np.tile(0.5 * voice(seconds=10), 61), 16000)
    assert "<audio" not in report(recording=tmp_path / "long.wav")


def test_a_report_names_a_format_that_only_ffmpeg_reads(report, tmp_path):
    """Also if a title in it is not UTF-8."""
    path = tmp_path / "a.m4a"
    encode(path, 0.5 * voice(seconds=3), "aac", title="Gruss ")
    path.write_bytes(path.read_bytes().replace(b"Gruss ", b"Gr\xfc\xdfe "))
    assert "QuickTime / MOV, AAC (Advanced Audio Coding)" in text_of(report(recording=path))


@pytest.mark.slow
def test_a_report_is_written_as_pdf(report, workdir):
    pytest.importorskip("weasyprint", reason="needs WeasyPrint", exc_type=(ImportError, OSError))
    report("--calibration {made}/bonafide.json --pdf r.pdf")
    assert Path("r.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    "words, message",
    [
        ("", "a report requires a file: name one with --html, --pdf or --json"),
        ("--html no/r.html", "name a file in a folder that exists"),
        ("--html r.html --calibration r.json", "r.json"),
    ],
)
def test_a_report_with_no_file_to_write_or_an_unusable_file_is_refused_before_loading_a_detector(
    refused, report_folder, workdir, words, message
):
    refused(["report", report_folder / NAME, "--model", "missing.pth", *words.split()], message)


def test_a_report_on_a_recording_that_cannot_be_read_is_refused_and_not_written(refused, workdir):
    Path("bad.wav").write_bytes(b"RIFF")
    refused("report bad.wav --model missing.pth --html r.html", "bad.wav")
    assert not Path("r.html").exists()


def test_evidence_stands_beside_the_answer_and_in_the_command(report, report_folder, tmp_path):
    path = write_neighbours(tmp_path, load_detector(report_folder / "small.pth"))
    with_evidence = text_of(report(f"--evidence neighbours:{path} --json r.json"))
    assert with_evidence.count("cosine distance") == 5
    assert "--evidence neighbours:n.json" in with_evidence
    assert len(json.loads(Path("r.json").read_text())["evidence"]) == 5
