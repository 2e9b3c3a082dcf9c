"""Text files of corpora in other encodings and with other line ends."""

import pytest

from nes2net.corpora import (
    asvspoof2021_la,
    in_the_wild,
)
from nes2net.errors import InputError


def test_not_a_text_file(tmp_path):
    (tmp_path / "trial_metadata.txt").write_bytes(b"\x1f\x8b\x08\x00\xff\xfe")
    with pytest.raises(InputError, match=r"not a text file \(byte 1 is not UTF-8\)"):
        asvspoof2021_la.CORPUS.keys(tmp_path / "trial_metadata.txt")


def test_windows_line_ends_and_byte_order_mark(tmp_path):
    (tmp_path / "meta.csv").write_bytes(
        b"\xef\xbb\xbf" + b"file,speaker,label\r\n0.wav,A,spoof\r\n1.wav,B,bona-fide\r\n"
    )
    assert [t.id for t in in_the_wild.CORPUS.keys(tmp_path)] == ["0", "1"]
