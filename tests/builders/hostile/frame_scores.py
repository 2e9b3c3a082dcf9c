"""Files of frame scores."""

from __future__ import annotations

from builders.hostile import Case, cases
from builders.hostile.making import each_written, pipe, sparse


def _read(path):
    from nes2net.scoring.segment_file import read_segment_scores

    return list(read_segment_scores(path))


_READ = {}
_READ["two fields later"] = ("a 0 1\na 1 1\nb 1\n", "line 3: expected 3 to 5 fields")
_READ["a gap"] = ("a 0 1\na 2 1\n", "line 2: expected frame 1 of 'a', found '2'")
_READ["an utterance twice"] = ("a 0 1\nb 0 1\na 0 1\n", "line 3: more frames of 'a' after those of another utterance")
_READ["a word"] = ("a 0 one\n", "line 1: expected a number as score")
_READ["null bytes"] = ("a 0 1\n" + "\0" * 10_000, "it holds null bytes")
_READ["controls"] = ("\x1b[2J 1 1\n", r"line 1: the id '\\x1b\[2J' cannot be used: it holds control")
_READ["a long line"] = ("a 0 1\n" + "b" * 5000 + " 0 1\n", None)
_READ["a long line of other fields"] = ("a 0 1\n" + "b " * 5000, "line 2: has more than 4,096 characters")

CASES = cases(_read, each_written("f.txt", _READ))
CASES.append(Case("pipe", pipe("f.txt"), _read, "is not a regular file"))
CASES.append(Case("1 GB without an end of line", sparse("f.txt", 1 << 30), _read, "it holds null bytes"))
