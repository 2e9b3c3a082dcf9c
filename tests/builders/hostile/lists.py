"""Protocols, keys, CSV lists, score files, segments and calibrations."""

from __future__ import annotations

import json
import pickle

import numpy as np

from builders.hostile import Case, cases, evaluated, nes2net
from builders.hostile.making import each_written, link, pipe, sparse, written

_CALIBRATION = {
    "format": "nes2net linear calibration",
    **{"weights": [2.0], "offset": 0.5, "prior": 0.5, "l2": 1e-6, "systems": ["a"], "trained_on": {}},
}


def _keys_of(path):
    from nes2net.data.corpora import generic

    return generic.CORPUS.trials(path)


def _protocol_of(path):
    from nes2net.data.corpora import asvspoof5

    return len(asvspoof5.CORPUS.keys(path))


def _arrays_of(path):
    from nes2net.data.corpora.npy_dictionary import read_npy_dictionary

    return read_npy_dictionary(path).keys()


def _list_beside(path):
    """Write a list of trials 0, 1, …, every second of them bona fide."""
    rows = [f"{number},{('real', 'fake')[number % 2]}\n" for number in range(20)]
    return written("list.csv", "path,label\n" + "".join(rows))(path.parent)


def _evaluated(path):
    return evaluated("generic", path, "--keys", _list_beside(path))


def _calibrated(path):
    keys = ["--keys", _list_beside(path), "--phase", "all"]
    return nes2net("calibrate", "fit", "generic", path, *keys, "--save", path.parent / "calibration.json")


def _loaded(path):
    from nes2net.scoring.decisions.calibration import load

    return load(path)


def _applied(path):
    scores = written("a.txt", "x 1.5\ny -0.5\n")(path.parent)
    return nes2net("calibrate", "apply", path, scores, "--out", path.with_name("out.txt"))


def _scores(*values):
    """Write a score file of 20 trials, whose scores are ``values`` in turn."""
    return "".join(f"{number} {values[number % len(values)]}\n" for number in range(20))


def _calibration(**changed):
    return json.dumps({**_CALIBRATION, **changed})


def _rttm_of(path):
    from nes2net.metrics.localisation import ScoredUtterance, range_eer, read_rttm

    for segments in read_rttm(path).values():
        return range_eer([ScoredUtterance([1.0, -1.0], segments, 4.0)], 1000).eer
    return None


def _npy(content):
    program = content if isinstance(content, bytes) else pickle.dumps(content, 4)
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + program


class _Array:
    """Pickled as an array of any shape, of a byte."""

    def __init__(self, shape):
        self.shape = shape

    def __reduce__(self):
        reconstruct = np.zeros(0).__reduce__()[0]
        return reconstruct, (np.ndarray, (0,), b"b"), (1, self.shape, np.dtype("u1"), False, b"1")


_LISTS = {
    "100,000 columns": ("path," + ",".join(map(str, range(100_000))) + "\n", "line 1: 100001 columns, more than 200"),
    "utf-16 (le)": ("path,label\na,real\n".encode("utf-16"), "is encoded as UTF-16; save it as UTF-8"),
    "a row over many lines": (lambda: b"path,label\n" + b'"\n",' * 10**6, "line 2: not a row .* more than 1,048,576"),
    "10,000,000 lines": (lambda: b"path\n" + b"a\n" * 10_000_000, "has more than 5,000,000 lines; split it"),
}
_PROTOCOLS = {
    "many fields": (lambda: b"a " * 20_000_000, "line 1: expected 10 fields"),
    "an id that leaves the folder": ("s ../../etc/passwd M - - - - - spoof -\n", "cannot be an utterance id"),
}
_SCORES = {
    "huge": (_scores("-1.7e308", "1.7e308"), r"the score of 0 is -1.7e\+308; scale the scores to lie within"),
    "one id 100,000 times": ("".join(f"0 {n}\n" for n in range(100_000)), "1 scored twice with different values: 0"),
    "a line of 20 MB": (lambda: b"a " * 10_000_000, r"line 1: expected 2 fields .* found \d+: 'a a"),
    "controls": ("\x1b[2J 1\n", r"line 1: the id '\\x1b\[2J' cannot be used: it holds control"),
}
_CALIBRATIONS = {
    "60 MB of lists": (lambda: b"[" + b"[]," * 20_000_000 + b"[]]", "not a calibration .it was refused to save memory"),
    "millions of ratios": (
        lambda: _calibration(llrs={"bonafide": [0] * 3_000_000, "spoof": [0]}),
        "most 2500000 items",
    ),
}
_RTTM = {
    "controls": ("\x1b[2J a 1 0 1 <NA> <NA> spoof <NA> <NA>\n", r"expected 8 to 10 fields .* found '\\x1b\[2J a 1 "),
    "300,000 segments": (lambda: b"SPEAKER a 1 0.5 1 <NA> <NA> spoof <NA> <NA>\n" * 300_000, None),
}
_ARRAYS = {
    "shape of huge numbers": (lambda: _npy({"a": _Array((1 << 20_000,) * 20)}), "impossible shape"),
    "very many memos": (lambda: _npy(b"\x80\x04K\x01" + b"\x94" * 50_000_000 + b"."), "20,000,000 are accepted"),
    "cut": (lambda: _npy({"a": np.zeros(100)})[:-50], "is damaged"),
}

CASES = [
    *cases(_keys_of, each_written("list.csv", _LISTS), "list: "),
    Case("list: 1 GB", sparse("list.csv", 1 << 30, b"path"), _keys_of, "is longer than 268.4 MB"),
    Case("list: pipe", pipe("list.csv"), _keys_of, "is a named pipe|no list of trials"),
    *cases(_protocol_of, each_written("p.tsv", _PROTOCOLS), "protocol: "),
    *cases(_evaluated, each_written("scores.txt", _SCORES), "scores: "),
    Case("scores: zeros without end", link("scores.txt", "/dev/zero"), _evaluated, "is longer than"),
    Case(
        "scores to calibrate", written("scores.txt", _scores("-1e300", "1e300")), _calibrated, "too large or too close"
    ),
    *cases(_loaded, each_written("calibration.json", _CALIBRATIONS), "calibration: "),
    Case("calibration: 1 GB", sparse("c.json", 1 << 30), _loaded, "is longer than 67.1 MB"),
    Case(
        "calibration to apply",
        written("c.json", _calibration(weights=[1e30])),
        _applied,
        "2 of 2 log-likelihood ratios",
    ),
    *cases(_rttm_of, each_written("a.rttm", _RTTM), "rttm: "),
    *cases(_arrays_of, each_written("a.npy", _ARRAYS), "arrays: "),
    Case("arrays: 1 GB", sparse("a.npy", 1 << 30), _arrays_of, "is longer than"),
]
