"""Files of frame scores, and the records beside them."""

from __future__ import annotations

import numpy as np

from builders.hostile import cases, evaluated
from builders.hostile.making import each_written, maker, pipe, sparse, written

_FRAMES = 50


def _read(path):
    from nes2net.scoring.segment_file import read_segment_scores

    return list(read_segment_scores(path))


def _rows(*values):
    """Frame scores of four utterances, which are ``values`` in turn."""
    rows = []
    for utterance in range(4):
        for frame in range(_FRAMES):
            rows.append(f"u{utterance} {frame} {values[(utterance + frame) % len(values)]}\n")
    return "".join(rows)


@maker
def _with_record(folder, record):
    written("f.txt.json", record)(folder)
    return written("f.txt", _rows(1, 2))(folder)


def _evaluated(path):
    """Evaluate against labels of 20 ms frames half of which are spoof."""
    folder = path.parent
    halves = np.array(list("1" * _FRAMES + "0" * _FRAMES))
    labels = dict.fromkeys(["u0", "u1", "u2", "u3"], halves)
    np.save(folder / "eval_seglab_0.01.npy", labels)  # type: ignore[arg-type]
    rows = "".join(f"LA_0 {id} - CON spoof\n" for id in labels)
    (folder / "PartialSpoof.LA.cm.eval.trl.txt").write_text(rows)
    return evaluated("partialspoof", path, "--keys", folder, "--resolution", 20)


_READ = {}
_READ["two fields later"] = ("a 0 1\na 1 1\nb 1\n", "line 3: expected 3 to 5 fields")
_READ["a gap"] = ("a 0 1\na 2 1\n", "line 2: expected frame 1 of 'a', found '2'")
_READ["an utterance twice"] = ("a 0 1\nb 0 1\na 0 1\n", "line 3: more frames of 'a' after those of another utterance")
_READ["a word"] = ("a 0 one\n", "line 1: expected a number as score")
_READ["null bytes"] = ("a 0 1\n" + "\0" * 10_000, "not a text file .it holds null bytes")
_READ["controls"] = ("\x1b[2J 1 1\n", r"line 1: the id '\\x1b\[2J' cannot be used: it holds control")
_READ["a long line"] = ("a 0 1\n" + "b" * 5000 + " 0 1\n", None)
_READ["a long line of other fields"] = ("a 0 1\n" + "b " * 5000, "line 2: has more than 4,096 characters")
_RESULTS = {}
_RESULTS["huge"] = (_rows("-1.7e308", "1.7e308"), "scale the scores to lie within")
_RESULTS["not finite"] = (_rows("nan", "inf", "-inf", 1), "4 with a score that is not finite: u0, u1, u2, u3")
_SPECIAL = {}
_SPECIAL["pipe"] = (pipe("f.txt"), "is not a regular file")
_SPECIAL["1 GB without an end of line"] = (sparse("f.txt", 1 << 30), "not a text file .it holds null bytes")
_RECORDS = {}
_RECORDS["not JSON"] = ("{", "not a record of scores")
_RECORDS["not a number"] = ('{"run": {}, "failures": {}, "resolution_ms": NaN}', "a number of ms above 0|not a record")

CASES = []
CASES += cases(_read, each_written("f.txt", _READ) | _SPECIAL, "frames: ")
CASES += cases(_evaluated, each_written("f.txt", _RESULTS), "evaluated: ")
CASES += cases(_evaluated, _RECORDS, "record: ", _with_record)
