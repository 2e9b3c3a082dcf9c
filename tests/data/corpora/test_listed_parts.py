"""Rows of lists that name parts of recordings."""

import pytest
from builders import input_error
from builders.files import write
from builders.listed_parts import write_lists

from nes2net.data.corpora.check import check_corpus
from nes2net.data.corpora.generic import CORPUS


def parts_of(tmp_path, header, *rows):
    """The parts of the trials of a list with these further columns."""
    lines = [f"u{number},a.wav,{row}" for number, row in enumerate(rows)]
    return [trial.part for trial in CORPUS.trials(write(tmp_path / "list.csv", [f"id,path,{header}", *lines]))]


# Columns, a row of them, and the part in words.
READ = """
start,stop | 16000,32000 | from 16000 samples, lasts 16000 samples
duration,start,stop | 4.5,0,16000 | from 0 samples, lasts 16000 samples
offset,duration | 0.5,1.25 | from 0.5 s, lasts 1.25 s
duration | 2 | from 0.0 s, lasts 2.0 s
offset | 1.5 | from 1.5 s
start,duration | 0.5,1 | from 0.5 s, lasts 1.0 s
Start,END | 0.1,0.3 | from 0.1 s, lasts 0.2 s
begin,end,duration | 1,3,2.005 | from 1.0 s, lasts 2.0 s
start_time,end_time | 1,3 | from 1.0 s, lasts 2.0 s
channel | 1 | channel 1
audio_track | 1 | audio track 1
offset,duration,channel | ,, | None
start | 0 | None
start,stop | 0, | None
"""


@pytest.mark.parametrize("line", READ.strip().split("\n"))
def test_columns_of_several_toolkits_name_a_part_of_a_recording(tmp_path, line):
    header, row, expected = line.split(" | ")
    assert list(map(str, parts_of(tmp_path, header, row))) == [expected]


# Two of these rows state seconds in columns of samples.
REFUSED = """
start 5
begin 5
end 5
stop 16000
offset,stop 0,16000
start,stop 0.0,2.0
start,stop 0,2
start,end 2,1
start,end,duration 0,2,1
start,offset,duration 1,1,1
start,stop,end 0,16000,1
offset,duration -1,2
offset,duration nan,2
offset,duration 0,inf
duration 0:02
channel -1
channel left
segment_start 0
frame_offset 16000
onset,duration 1,2
"""


@pytest.mark.parametrize("line", REFUSED.strip().split("\n"))
def test_a_row_that_does_not_say_which_part_is_meant_is_refused_with_its_line(tmp_path, line):
    header, row = line.split()
    empty = "," * header.count(",")
    with input_error(r"list\.csv, line 3: .* which part of the recording"):
        parts_of(tmp_path, header, empty, row)


def test_the_times_of_parts_are_no_further_columns(tmp_path):
    path = write(tmp_path / "list.csv", "path,start,end,duration,channel,room\na.wav,1,3,2,0,hall\n")
    (trial,) = CORPUS.trials(path)
    assert trial.extra == (("duration", "2"), ("channel", "0"), ("room", "hall"))


def test_parts_of_one_recording_need_ids_of_their_own(tmp_path):
    path = write(tmp_path / "list.csv", "path,start,end\na.wav,0,1\na.wav,1,2\n")
    with input_error(r"a\.wav, from 0\.0 s.* and .*a\.wav, from 1\.0 s.* share the id 'a'.*column id"):
        CORPUS.trials(path)


def findings_of(tmp_path, *rows):
    """What is found in a list with a part in each row."""
    write(tmp_path / "a.wav")
    lines = [f"u{number},a.wav,{row}" for number, row in enumerate(rows)]
    path = write(tmp_path / "list.csv", ["id,path,start,end,channel,label", *lines])
    return [str(finding) for finding in check_corpus(CORPUS, path).findings]


@pytest.mark.parametrize("rows", [(",,,real", ",,,fake"), ("0,2,,real", "1,3,,fake"), ("0,9,1,real", "1,2,1,fake")])
def test_check_names_rows_of_the_same_or_overlapping_parts_with_contrary_labels(tmp_path, rows):
    (problem,) = findings_of(tmp_path, *rows)
    assert [word for word in ("u0", "u1", "contrary labels") if word not in problem] == []


@pytest.mark.parametrize("rows", [("0,1,,real", "1,2,,fake"), ("0,1,0,real", "0,1,1,fake"), ("0,2,,real", "1,3,,real")])
def test_check_accepts_parts_that_do_not_overlap_or_have_one_label(tmp_path, rows):
    assert findings_of(tmp_path, *rows) == []


def test_check_decodes_the_parts_that_a_list_names(tmp_path):
    path = write_lists(tmp_path)
    write(path, f"{path.read_text()}u4,call.wav,1.9,2.2,,spoof\n")
    (split_check,) = check_corpus(CORPUS, path, decode=True, workers=0).splits
    assert round(split_check.decoding.seconds, 3) == 2.2
    (reason,) = split_check.decoding.unreadable.values()
    assert "parts.csv, line 5" in reason


def test_two_columns_of_the_same_meaning_are_refused(tmp_path):
    path = write(tmp_path / "list.csv", "path,start_time,Start Time,duration\na.wav,1,2,1\n")
    with input_error("list.csv, line 1: the header: more than one column is called 'start_time'"):
        CORPUS.trials(path)
