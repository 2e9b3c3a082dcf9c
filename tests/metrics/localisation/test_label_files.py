"""RTTM, reco2dur and label files of Audacity: the text of WeDefense, what comes back, and what is refused."""

import os

import pytest
from builders import input_error, zoo
from builders.files import write

from nes2net.metrics.localisation import Segment, read_reco2dur, read_rttm, segments_of_frames, write_rttm
from nes2net.metrics.localisation.label_files import (
    map_rttm,
    read_audacity,
    read_textgrid,
    rttm_text,
    write_audacity,
)


def test_rttm_of_frames_is_the_text_that_wedefense_writes():
    golden = zoo.read("localisation_rttm")
    for resolution in (10, 20, 160):
        segments = {name: segments_of_frames(logits, resolution) for name, logits in golden["logits"].items()}
        assert rttm_text(segments) == golden[f"rttm_{resolution}ms"]


def test_an_rttm_file_with_mapped_labels_is_the_text_that_wedefense_writes(tmp_path):
    golden = zoo.read("localisation_rttm")
    map_rttm(write(tmp_path / "in.rttm", golden["map_input"]), tmp_path / "out.rttm", golden["map"])
    assert (tmp_path / "out.rttm").read_text() == golden["map_output"]


def test_a_written_rttm_file_is_read_back_to_the_millisecond(tmp_path):
    segments = [Segment("bonafide", 0.0, 0.3334), Segment("spoof", 0.3334, 0.6667)]
    write_rttm(tmp_path / "a.rttm", {"take": segments})
    assert read_rttm(tmp_path / "a.rttm") == {"take": [("bonafide", 0, 0.333, None), ("spoof", 0.333, 0.667, None)]}


def test_names_that_rttm_cannot_hold_are_written_with_escapes(tmp_path):
    """Labels with white space, and file names that are no UTF-8."""
    write_rttm(tmp_path / "a.rttm", {"take\udcff": [Segment("A  1\n", 0.0, 1.0)]})
    assert read_rttm(tmp_path / "a.rttm") == {r"take\udcff": [("A%201", 0, 1, None)]}


def test_durations_are_read_from_a_reco2dur_file(tmp_path):
    assert read_reco2dur(write(tmp_path / "reco2dur", "a 1.7047\nb 3599.98\n")) == {"a": 1.7047, "b": 3599.98}


def test_no_segment_of_frames_lasts_beyond_the_end_of_the_utterance():
    segments = segments_of_frames([1, 0, 0], 20, duration=0.045)
    assert segments == [("bonafide", 0.0, 0.02, None), ("spoof", 0.02, 0.045, None)]
    assert segments_of_frames([1, 0, 0], 20, duration=0.02) == segments[:1]


def test_a_malformed_line_of_rttm_is_refused_with_its_number(tmp_path):
    for line, message in (
        ("SPEAKER a 1 0 1 <NA> <NA>", "expected 8 to 10 fields .* found 'SPEAKER a 1 0 1 <NA> <NA>'"),
        ("LEXEME a 1 0 1 <NA> <NA> spoof <NA> <NA>", "expected 8 to 10 fields .SPEAKER, .* found 'LEXEME a"),
        ("SPEAKER a 1 x 1 <NA> <NA> spoof <NA> <NA>", "expected a number as start, found 'x'"),
        ("SPEAKER a 1 -1 1 <NA> <NA> spoof <NA> <NA>", "a start must be 0 to 10000000 s, not '-1'"),
        ("SPEAKER a 1 0 nan <NA> <NA> spoof <NA> <NA>", "a duration must be 0 to 10000000 s, not 'nan'"),
    ):
        with input_error(rf"a\.rttm, line 2: {message}"):
            read_rttm(write(tmp_path / "a.rttm", f"SPEAKER a 1 0 1 <NA> <NA> spoof <NA> <NA>\n{line}\n"))


def test_comments_and_lines_of_spkr_info_in_an_rttm_file_are_skipped(tmp_path):
    lines = [";; made by another program", "SPKR-INFO a 1 <NA> <NA> <NA> unknown ann <NA> <NA>"]
    assert read_rttm(write(tmp_path / "a.rttm", lines)) == {}


def test_a_malformed_line_of_reco2dur_is_refused_with_its_number(tmp_path):
    with input_error(r"line 1: a duration must be 0 to 10000000 s, not '-2'"):
        read_reco2dur(write(tmp_path / "reco2dur", "a -2\n"))


def test_the_last_two_fields_of_a_line_of_rttm_may_be_missing(tmp_path):
    lines = ["SPEAKER a 1 0.0 0.5 <NA> <NA> bonafide", "SPEAKER a 1 0.5 0.5 <NA> <NA> spoof <NA>"]
    assert read_rttm(write(tmp_path / "a.rttm", lines)) == {
        "a": [Segment("bonafide", 0.0, 0.5), Segment("spoof", 0.5, 1.0)]
    }


def test_a_written_label_file_of_audacity_is_read_back(tmp_path):
    segments = [Segment("bonafide", 0.0, 0.5), Segment("spoof", 0.5, 1.25)]
    path = tmp_path / "a.labels.txt"
    write_audacity(path, segments)
    assert read_audacity(path) == segments


def test_lines_with_ranges_of_frequencies_in_label_files_of_audacity_are_skipped(tmp_path):
    path = write(tmp_path / "a.labels.txt", "0.5\t1.0\tspoof\n\\\t100.0\t8000.0\n")
    assert read_audacity(path) == [Segment("spoof", 0.5, 1.0)]


@pytest.mark.parametrize(
    "line, message", [("0.5 1.0 spoof", "between tabs"), ("x\t1\tspoof", "expected a number as start")]
)
def test_a_malformed_line_of_audacity_is_refused_with_its_number(tmp_path, line, message):
    path = write(tmp_path / "a.labels.txt", f"0.0\t0.5\treal\n{line}\n")
    with input_error(rf"line 2: .*{message}"):
        read_audacity(path)


def write_textgrid(path, *tiers, form="short_textgrid"):
    textgrid = pytest.importorskip("praatio.textgrid")
    grid = textgrid.Textgrid()
    for name, entries in tiers:
        grid.addTier(textgrid.IntervalTier(name, entries, 0, 2))
    grid.save(str(path), form, includeBlankSpaces=True)
    return path


INTERVALS = [(0.5, 1.25, "spoof"), (1.5, 2, "real")]
SEGMENTS = [Segment("spoof", 0.5, 1.25), Segment("real", 1.5, 2.0)]


@pytest.mark.parametrize("form", ["short_textgrid", "long_textgrid"])
def test_a_textgrid_of_praatio_is_read_without_empty_intervals(tmp_path, form):
    path = write_textgrid(tmp_path / "a.TextGrid", ("labels", INTERVALS), form=form)
    assert read_textgrid(path) == SEGMENTS


HEAD_OF_TEXTGRID = """File type = "ooTextFile"
Object class = "TextGrid"

0
2
<exists>
2
"TextTier"
"clicks"
0
2
1
0.7
"click"
"IntervalTier"
"labels"
0
2
"""


def short_textgrid(*intervals, size=None):
    """The text that the library tgt writes, without a line break at the end."""
    number = size or len(intervals)
    text = f"{HEAD_OF_TEXTGRID}{number}"
    for start, end, label in intervals:
        text += f'\n{start}\n{end}\n"{label}"'
    return text


def read_text_of_textgrid(folder, text):
    return read_textgrid(write(folder / "a.TextGrid", text))


def test_the_last_interval_of_a_textgrid_without_a_final_line_break_is_read(tmp_path):
    assert read_text_of_textgrid(tmp_path, short_textgrid(*INTERVALS)) == SEGMENTS


def test_a_time_of_a_textgrid_may_have_an_exponent(tmp_path):
    assert read_text_of_textgrid(tmp_path, short_textgrid(("4.5e-05", 1, "spoof"))) == [Segment("spoof", 4.5e-05, 1.0)]


def test_a_textgrid_in_utf_16_is_read(tmp_path):
    path = tmp_path / "a.TextGrid"
    path.write_text(short_textgrid((0, 1, "spöof")), encoding="utf-16")
    assert read_textgrid(path) == [Segment("spöof", 0.0, 1.0)]


REFUSED_TEXTGRIDS = [
    (short_textgrid((-0.5, 1, "spoof")), "line 20: a start must be 0 to .* not '-0.5'"),
    (short_textgrid(*INTERVALS, size=1), "with other numbers of tiers and intervals"),
    (short_textgrid(*INTERVALS, size=3), "with other numbers of tiers and intervals"),
    ('{"a":' * 100000, "not a TextGrid of Praat"),
    (" " * ((8 << 20) + 1), "is longer than 8.4 MB"),
    (HEAD_OF_TEXTGRID.removesuffix("2\n"), "with other numbers of tiers and intervals"),
    ("", "not a TextGrid of Praat"),
    ("no TextGrid", "not a TextGrid of Praat"),
    ('File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n', "not a TextGrid of Praat"),
]


@pytest.mark.parametrize("text, message", REFUSED_TEXTGRIDS, ids=[message for _, message in REFUSED_TEXTGRIDS])
def test_a_textgrid_that_cannot_be_read_as_it_states_is_refused(tmp_path, text, message):
    with input_error(rf"a\.TextGrid\b.* {message}"):
        read_text_of_textgrid(tmp_path, text)


def test_a_textgrid_that_is_a_named_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.TextGrid")
    with input_error("is a named pipe"):
        read_textgrid(tmp_path / "a.TextGrid")


def test_a_textgrid_with_two_interval_tiers_is_refused(tmp_path):
    path = write_textgrid(tmp_path / "a.TextGrid", ("labels", INTERVALS), ("words", INTERVALS))
    with input_error("not a TextGrid of Praat with one interval tier"):
        read_textgrid(path)


def test_two_durations_of_one_utterance_are_refused(tmp_path):
    with input_error(r"reco2dur: 'a' has different values, \[1\.5, 2\.5\]"):
        read_reco2dur(write(tmp_path / "reco2dur", "a 1.5\nb 1\na 2.5\n"))
