"""Tables in columns, and names that can be printed."""

import pytest

from nes2net.machine.terminal import printable, printable_name, table_line, text_table


def test_columns_are_as_wide_as_their_longest_cell():
    rows = [["codec", "quality", "EER %"], ["opus", "1", "0.5"], ["g.722", "", "100.00"]]
    assert text_table(rows, "llr") == [
        "codec  quality   EER %",
        "opus   1           0.5",
        "g.722           100.00",
    ]


def test_no_line_ends_in_spaces():
    assert text_table([["train", "yes"], ["evaluate", "in part"], ["score", ""]], "l") == [
        "train     yes",
        "evaluate  in part",
        "score",
    ]


def test_a_cell_longer_than_its_width_is_not_cut():
    assert table_line(["recording.wav", "1.5"], [4, 6], "lr") == "recording.wav     1.5"


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError):
        text_table([["a", "b"], ["c"]])


@pytest.mark.parametrize("name", ["plain.wav", "Füße.wav", "録音.wav"])
def test_names_that_are_text_stay(name):
    assert printable(name) == printable_name(name) == name
