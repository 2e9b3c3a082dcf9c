"""Tables in columns."""

import pytest

from nes2net.machine.terminal import table_line, text_table


def test_columns_are_as_wide_as_their_longest_cell_and_no_line_ends_in_spaces():
    rows = [["codec", "quality", "note"], ["opus", "1", "in part"], ["g.722", "", ""]]
    assert text_table(rows, "lrl") == ["codec  quality  note", "opus         1  in part", "g.722"]
    assert table_line(["recording.wav", "1.5"], [4, 6], "lr") == "recording.wav     1.5"  # a longer cell is not cut
    with pytest.raises(ValueError):
        text_table([["a", "b"], ["c"]])
