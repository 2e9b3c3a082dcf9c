"""Label files of Audacity: both forms, what comes back, and what is refused."""

import pytest
from builders.files import write

from nes2net.errors import InputError
from nes2net.localisation import Segment, read_audacity, write_audacity


def test_both_forms(tmp_path):
    text = "0.000000\t0.500000\tbonafide\n\\\t100.0\t2000.0\n0.500000\t0.750000\ta fake\tword\n1.0\t1.0\t\n2\t3\n"
    assert read_audacity(write(tmp_path / "a.txt", text)) == [
        Segment("bonafide", 0.0, 0.5),
        Segment("a fake\tword", 0.5, 0.75),
        Segment("", 1.0, 1.0),
        Segment("", 2.0, 3.0),
    ]


def test_what_is_written_is_read_again(tmp_path):
    segments = [Segment("spoof", 0.123456, 1.5), Segment("a  b\n", 1.5, 3599.999999, -2.5)]
    write_audacity(tmp_path / "a.txt", segments)
    assert (tmp_path / "a.txt").read_text() == "0.123456\t1.500000\tspoof\n1.500000\t3599.999999\ta b\n"
    assert read_audacity(tmp_path / "a.txt") == [segments[0], Segment("a b", 1.5, 3599.999999)]


@pytest.mark.parametrize(
    "line, message",
    [
        ("0.5 0.75 spoof", "expected start, end and label with tabs between, found '0.5 0.75 spoof'"),
        ("0.5\tx\tspoof", "expected a number as time, found 'x'"),
        ("-0.5\t1\tspoof", "a time is 0 to 10000000 s, not '-0.5'"),
        ("2\t1\tspoof", "ends before it starts"),
        ("\\\t100\t200", "expected a number as time"),
    ],
)
def test_malformed_lines(tmp_path, line, message):
    with pytest.raises(InputError, match=rf"a\.txt, line 2: {message}"):
        read_audacity(write(tmp_path / "a.txt", f"\n{line}\n"))
