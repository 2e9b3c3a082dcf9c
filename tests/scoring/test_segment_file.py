"""Files of frame scores: read and written to the last bit, and refused where they are wrong."""

import numpy as np
import pytest
from builders import input_error
from builders.files import write

from nes2net.data.corpora.id_tables import first_line
from nes2net.lib.storage import text_files
from nes2net.scoring import segment_file
from nes2net.scoring.judgement import scores_of
from nes2net.scoring.segment_file import begins_frames, lines, read_segment_scores


def test_written_scores_of_frames_are_read_back_to_the_last_bit(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    scores = {f"u{n}": rng.normal(size=n + 1) * 10.0 ** rng.integers(-300, 300) for n in range(20)}
    path = write(tmp_path / "f.txt", "".join(lines(id, row) for id, row in scores.items()))
    for block in (1 << 22, 64):  # the second one cuts lines
        monkeypatch.setattr(segment_file, "_BLOCK", block)
        content = read_segment_scores(path)
        assert list(content) == list(scores)
        assert all(np.array_equal(content[id], row) for id, row in scores.items())


def test_a_file_of_frames_is_refused_where_scores_of_recordings_are_read(tmp_path):
    path = write(tmp_path / "f.txt", "a 0 1\na 1 1\n")
    with input_error("holds scores of frames, not one score of each recording"):
        scores_of(path)


def test_of_the_two_columns_of_wedefense_the_score_is_the_first_minus_the_second(tmp_path):
    content = read_segment_scores(write(tmp_path / "f.txt", "a\t0\t1.5\t-0.5\ta\na\t1\t0\t3\n\nb\t0\t1\t1"))
    assert {id: row.tolist() for id, row in content.items()} == {"a": [2.0, -3.0], "b": [0.0]}


@pytest.mark.parametrize("content", [b"a 0.5\nb 1\n", b"", b"\n", b"a 1 0.5\n", b"a 0 1 2 3 4\n", b"\xff\x00\x01"])
def test_a_file_that_does_not_begin_with_a_line_of_frame_0_holds_no_frames(tmp_path, content):
    (tmp_path / "f.txt").write_bytes(content)
    assert not begins_frames(first_line(tmp_path / "f.txt"))


def test_a_folder_holds_no_frames(tmp_path):
    assert not begins_frames(first_line(tmp_path))


def test_frames_are_recognised_in_a_table_of_more_lines_than_a_list_may_have(tmp_path, monkeypatch):
    monkeypatch.setattr(text_files, "MAX_LINES", 10)
    path = write(tmp_path / "f.txt", "".join(f"utterance_{n} 0 0.5\n" for n in range(60_000)))
    assert begins_frames(first_line(path))
