"""Label files of Audacity."""

from nes2net.localisation import Segment, write_audacity


def test_a_line_for_each_segment(tmp_path):
    segments = [Segment("spoof", 0.123456, 1.5), Segment("a  b\n", 1.5, 3599.999999, -2.5)]
    write_audacity(tmp_path / "a.txt", segments)
    assert (tmp_path / "a.txt").read_text() == "0.123456\t1.500000\tspoof\n1.500000\t3599.999999\ta b\n"
