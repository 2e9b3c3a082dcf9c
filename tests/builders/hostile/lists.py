"""Protocols, keys, CSV lists, score files, records of scores and calibrations."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from builders.hostile import Case, nes2net

_LABELS = ("real", "fake")
_NEW = ("llrs", "scored_by", "population")  # null in a calibration that does not know them
_POPULATION = {
    "num_recordings": 1,
    "usual": {name: [0.0, 1.0, 2.0] for name in ("duration", "level", "bandwidth")},
    "distances": [0.5],
}
_CALIBRATION = {
    "format": "nes2net linear calibration",
    **{"weights": [2.0], "offset": 0.5, "prior": 0.5, "l2": 1e-6, "systems": ["a"], "trained_on": {}},
}


def _written(name: str, content: str | bytes | Callable[[], bytes]) -> Callable[[Path], Path]:
    """Make the function that writes a file ``name``; large content is made only then."""

    def make(folder: Path) -> Path:
        made = content() if callable(content) else content
        (folder / name).write_bytes(made.encode("utf-8", "surrogatepass") if isinstance(made, str) else made)
        return folder / name

    return make


def _pipe(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return make


def _link(name: str, target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    return make


def _sparse(name: str, size: int, start: bytes = b"") -> Callable[[Path], Path]:
    """Make the function that writes a file of ``size`` bytes, zeros after ``start``, that takes no room."""

    def make(folder: Path) -> Path:
        with open(folder / name, "wb") as file:
            file.write(start)
            file.truncate(size)
        return folder / name

    return make


def _keys_of(path: Path) -> Any:
    from nes2net.corpora import generic

    return generic.CORPUS.trials(path)


def _protocol_of(path: Path) -> Any:
    from nes2net.corpora import asvspoof5

    return len(asvspoof5.CORPUS.keys(path))


def _arrays_of(path: Path) -> Any:
    from nes2net.corpora.npy_dictionary import read_npy_dictionary

    return read_npy_dictionary(path).keys()


def _evaluated(path: Path) -> Any:
    """Evaluate scores of trials 0, 1, …, every second of them bona fide, with page and JSON."""
    folder = path.parent
    rows = [f"{number},{_LABELS[number % 2]}\n" for number in range(20)]
    (folder / "list.csv").write_text("path,label\n" + "".join(rows))
    page, data = folder / "page.html", folder / "data.json"
    options = ["--keys", folder / "list.csv", "--resamples", 5, "--html", page, "--json", data]
    text = nes2net("evaluate", "generic", path, *options)
    json.loads(data.read_text(), parse_constant=_refuse)
    assert page.read_text().rstrip().endswith("</html>")
    return text


def _refuse(constant: str) -> None:
    raise AssertionError(f"invalid JSON: {constant}")


def _calibrated(path: Path) -> Any:
    folder = path.parent
    rows = [f"{number},{_LABELS[number % 2]}\n" for number in range(20)]
    (folder / "list.csv").write_text("path,label\n" + "".join(rows))
    keys = ["--keys", folder / "list.csv", "--phase", "all"]
    return nes2net("calibrate", "fit", "generic", path, *keys, "--save", folder / "calibration.json")


def _scores_of(path: Path) -> Any:
    from nes2net.scoring.score_file import read_scores

    return read_scores(path)


def _loaded(path: Path) -> Any:
    from nes2net.decisions.calibration import load

    return load(path)


def _rttm_of(path: Path) -> Any:
    from nes2net.localisation import ScoredUtterance, range_eer, read_rttm

    for segments in read_rttm(path).values():
        return range_eer([ScoredUtterance([1.0, -1.0], segments, 4.0)], 1000).eer
    return None


def _applied(path: Path) -> Any:
    scores = path.with_name("a.txt")
    scores.write_text("x 1.5\ny -0.5\n")
    return nes2net("calibrate", "apply", path, scores, "--out", path.with_name("out.txt"))


def _scores(*values: object) -> str:
    """Write a score file of 20 trials, whose scores are ``values`` in turn."""
    return "".join(f"{number} {values[number % len(values)]}\n" for number in range(20))


def _calibration(**changed: Any) -> str:
    return json.dumps({**_CALIBRATION, **changed})


def _npy(content: object) -> bytes:
    program = content if isinstance(content, bytes) else pickle.dumps(content, 4)
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + program


class _Array:
    """Pickled as an array of any shape and data."""

    def __init__(self, shape: tuple[int, ...], data: bytes) -> None:
        self.shape, self.data = shape, data

    def __reduce__(self) -> tuple:
        reconstruct = np.zeros(0).__reduce__()[0]
        return reconstruct, (np.ndarray, (0,), b"b"), (1, self.shape, np.dtype("u1"), False, self.data)


def _nested(levels: int) -> frozenset:
    """Nest a set in itself, twice at each level: its text doubles each time."""
    nested = frozenset({"a"})
    for level in range(levels):
        nested = frozenset({nested, frozenset({nested, level})})
    return nested


_HEADERS = {
    "two labels": ("path,label,label", "line 1: more than one column is called 'label'; rename or remove one"),
    "two labels in other words": ("path,label, LABEL ", "line 1: more than one column is called 'label'"),
    "two paths": ("path,path,label", "more than one column is called 'path'"),
    "two further columns": ("path,label,room,Room", "more than one column is called 'room'"),
    "100,000 columns": ("path," + ",".join(f"c{n}" for n in range(100_000)), "line 1: 100001 columns, more than 200"),
    "one huge name": ("path," + "x" * 140_000, "line 1: not a row of a CSV file .field larger"),
    "a control character": ("\x1b[2J,label", "line 1: expected a column 'path'"),
}
_LISTS = {
    "utf-16 (le)": ("path,label\na,real\n".encode("utf-16"), "is encoded as UTF-16; save it as UTF-8"),
    "utf-16 (be)": (b"\xfe\xff" + "path,label\n".encode("utf-16-be"), "is encoded as UTF-16"),
    "utf-16 without its mark": ("path,label\na,real\n".encode("utf-16-le"), "holds null bytes"),
    "null byte": ("path,label\na\0b.wav,real\n", "holds null bytes"),
    "compressed": (b"\x1f\x8b\x08\x00" + bytes(100), "not a text file .byte 1 is not UTF-8"),
    "lone surrogates": (b"path,label\n\xed\xa0\x80.wav,real\n", "not a text file .byte 11 is not UTF-8"),
    "open quotation mark": ('path,label\n"a.wav,real\n' + "b.wav,real\n" * 100_000, "line 2: not a row"),
    "a row of 2 MB": (
        lambda: b"path,label\n" + b"," * 2_000_000,
        "line 2: not a row .* more than 1,048,576 characters",
    ),
    "a row over many lines": (lambda: b"path,label\n" + b'"\n",' * 1_000_000, "line 2: not a row .* more than"),
    "10,000,000 lines": (lambda: b"path\n" + b"a\n" * 10_000_000, "has more than 5,000,000 lines; split it"),
    "blank lines": (lambda: b"path\n" + b"\n" * 1_000_000, "holds no trials"),
    "a huge label": ("path,label\na.wav," + "x" * 100_000, r"line 2: unknown label '[x.]{98}'; expected one of"),
    "a label with controls": ("path,label\na.wav,\x1b[2J\r\n", r"unknown label '\\x1b\[2j'"),
    "one id 20,000 times": (lambda: b"path\n" + b"a.wav\n" * 20_000, "in it more than once: a"),
    "huge ids twice": ("path\n" + ("a" * 100_000 + ".wav\n") * 2, "in it more than once"),
}
_PROTOCOLS = {
    "many fields": (lambda: b"a " * 20_000_000, "line 1: expected 10 fields"),
    "one huge field": (lambda: b"a" * 20_000_000, "line 1: expected 10 fields .* found 1: 'aaa"),
    "other ends of lines": (lambda: b"a\x0c\x1c" * 5_000_000, "line 1: expected 10 fields"),
    "10,000,000 lines": (lambda: b"a\n" * 10_000_000, "has more than 5,000,000 lines"),
    "an id that leaves the folder": ("s ../../etc/passwd M - - - - - spoof -\n", "cannot be an utterance id"),
    "an absolute id": ("s /etc/passwd M - - - - - spoof -\n", "cannot be an utterance id"),
    "a huge id": ("s /" + "x" * 100_000 + " M - - - - - spoof -\n", "cannot be an utterance id"),
}
_SPECIAL = {
    "1 GB without an end of line": (_sparse("list.csv", 1 << 30, b"path"), "is longer than 268.4 MB"),
    "zeros without end": (_link("list.csv", "/dev/zero"), "is longer than|no list of trials"),
    "pipe": (_pipe("list.csv"), "is a named pipe|no list of trials"),
    "loop of links": (_link("list.csv", "list.csv"), "cannot be read|no list of trials"),
}
_NUMBERS = ("1_0.0", "１.0", "١", "0x1p3", "1,5", "1e", "--1", "1+2j", "½", "None", "1_" * 10_000 + "1", "nаn")
_SCORES = {
    "huge": (_scores("-1.7e308", "1.7e308"), r"the score of 0 is -1.7e\+308; scale the scores to lie within"),
    "huge in one class": (_scores("0", "1.7e308"), "the score of 1 is"),
    "as large as allowed": (_scores("-1e300", "1e300"), None),
    "too many digits": (_scores("1" * 400, "1"), "a score that is not finite"),
    "many digits": (_scores("0." + "1" * 10_000, "1"), None),
    "denormal": (_scores("5e-324", "1e-323"), None),
    "next to each other": (_scores("1", "1.0000000000000002"), None),
    "constant": (_scores("0.5"), None),
    "signed zeros": (_scores("-0.0", "0.0"), None),
    "infinite": (_scores("inf", "-inf"), "20 with a score that is not finite"),
    "NaN": (_scores("nan", "1"), "10 with a score that is not finite"),
    "one trial": ("0 1.0\n", "19 of 20 trials without a score"),
    "empty": ("", "20 of 20 trials without a score"),
    "unknown ids": ("".join(f"x{n} 1\n" for n in range(100_000)), "100,000 scored but not in the key"),
    "one id 100,000 times": ("".join(f"0 {n}\n" for n in range(100_000)), "1 scored twice with different values: 0"),
    "null byte": ("a\0 1\n", "holds null bytes"),
    "a line of 20 MB": (lambda: b"a " * 10_000_000, "line 1: expected 2 fields .* found 524288: 'a a"),
    "a huge number": (lambda: b"a " + b"x" * 10_000_000, "line 1: expected a number as score, found 'xxx"),
    "controls": (
        "\x1b]0;title\x07 1\n" + _scores(0, 1),
        r"line 1: the id '\\x1b\]0;title\\x07' cannot be used: it holds control",
    ),
}
_CALIBRATIONS = {
    "deep lists": ("[" * 200_000, "not a calibration"),
    "deep record": (_calibration()[:-3] + '{"a":' * 50_000, "not a calibration"),
    "closed deep record": (_calibration()[:-3] + '{"a":' * 50_000 + "1" + "}" * 50_002, "not a calibration"),
    "millions of ratios": (
        lambda: _calibration(llrs={"bonafide": "?", "spoof": [0]}).replace('"?"', f"[0{',0' * 3_000_000}]").encode(),
        "not a calibration .llrs.bonafide: List should have at most 2500000 items",
    ),
    "wide embeddings": (
        lambda: _calibration(population={**_POPULATION, "embeddings": {"means": [[0.0] * 70_000]}}).encode(),
        "population.embeddings.means.0: List should have at most 65536 items",
    ),
    "durations of ages": (
        _calibration(population={**_POPULATION, "usual": dict.fromkeys(("duration", "level", "bandwidth"), [1e3] * 3)}),
        "population.usual.duration.0: Input should be less than or equal to 50",
    ),
    "number of 5,000 digits": (_calibration().replace("0.5", "9" * 5000), "not a calibration .*number out of range"),
    "beyond float64": (_calibration().replace("0.5", "1e400"), "not a calibration .offset: "),
    "another format": (_calibration(format="other"), "format: Input should be 'nes2net linear calibration'"),
    "a list": ("[1, 2]", "not a calibration .Input should be an object"),
    "empty": ("", "not a calibration"),
    "no text": (b"\xff\xfe\x00", "not a calibration"),
    "lone surrogate": (_calibration(systems=["\ud800"]), "not a calibration"),
    "no weights": (_calibration(weights=[], systems=[]), "not a calibration .weights: "),
    "2,000 weights": (_calibration(weights=[1.0] * 2000), "not a calibration .weights: "),
    "more systems than weights": (_calibration(systems=["a", "b"]), "1 weights of 2 systems"),
    "60 MB of lists": (lambda: b"[" + b"[]," * 20_000_000 + b"[]]", "not a calibration .it was refused to save memory"),
    "a ratio of 300 digits": (
        _calibration(llrs={"bonafide": [1e300], "spoof": [0]}),
        "llrs.bonafide.0: Input should be",
    ),
    "2^39 samples": (
        _calibration(scored_by={"fingerprint": "0f", "precision": "float32", "num_samples": 1 << 39}),
        "scored_by.num_samples: Input should be less than or equal to 9600000",
    ),
    "prior of 1": (_calibration(prior=1), "not a calibration .prior: Input should be less than 1"),
    "negative penalty": (_calibration(l2=-1), "not a calibration .l2: "),
    "nested record": (_calibration(trained_on={"a": {"b": [1, None]}}), None),
    **{
        f"{name} {value!r}": (_calibration(**{name: value}), f"not a calibration .{name}")
        for name in ("weights", "offset", "prior", "l2", "systems", "trained_on", *_NEW)
        for value in ("1" if name in _NEW else None, {"a": [1]} if name != "trained_on" else [1], float("nan"))
    },
}
_RTTM = {
    "a line of 20 MB": (lambda: b"SPEAKER " * 2_500_000, "line 1: expected 10 fields"),
    "null byte": ("SPEAKER a\0 1 0 1 <NA> <NA> spoof <NA> <NA>\n", "holds null bytes"),
    "an endless segment": ("SPEAKER a 1 0 1e300 <NA> <NA> spoof <NA> <NA>\n", "line 1: a duration is 0 to 10000000 s"),
    "digits of another script": ("SPEAKER a 1 ١ 1 <NA> <NA> spoof <NA> <NA>\n", "expected a number as start"),
    "controls": ("\x1b[2J a 1 0 1 <NA> <NA> spoof <NA> <NA>\n", r"expected SPEAKER .* found '\\x1b\[2J'"),
    "300,000 segments": (lambda: b"SPEAKER a 1 0.5 1 <NA> <NA> spoof <NA> <NA>\n" * 300_000, None),
}
_ARRAYS = {
    "huge shape": (lambda: _npy({"a": _Array((1 << 62,), b"1")}), "an array of shape .* has 1 bytes"),
    "shape of huge numbers": (lambda: _npy({"a": _Array((1 << 20_000,) * 20, b"1")}), "unknown shape"),
    "many dimensions": (lambda: _npy({"a": _Array((1 << 62,) * 100_000, b"1")}), "unknown shape"),
    "names that are nested sets": (lambda: _npy({_nested(60): np.zeros(1)}), "not a .npy file"),
    "names that are numbers": (lambda: _npy({1 << 30_000: np.zeros(1)}), "a key has the type int"),
    "very many memos": (lambda: _npy(b"\x80\x04K\x01" + b"\x94" * 50_000_000 + b"."), "20,000,000 are accepted"),
    "a program": (lambda: _npy({"a": os.getcwd}), "asks for .*getcwd, which has no place.* nothing was run"),
    "cut": (lambda: _npy({"a": np.zeros(100)})[:-50], "is damaged"),
}

CASES = [
    *(Case(f"header: {n}", _written("list.csv", f"{text}\n"), _keys_of, says) for n, (text, says) in _HEADERS.items()),
    *(Case(f"list: {n}", _written("list.csv", content), _keys_of, says) for n, (content, says) in _LISTS.items()),
    *(Case(f"list: {n}", make, _keys_of, says) for n, (make, says) in _SPECIAL.items()),
    *(Case(f"protocol: {n}", _written("p.tsv", made), _protocol_of, says) for n, (made, says) in _PROTOCOLS.items()),
    *(
        Case(f"number {number[:10]}", _written("s", _scores(number)), _scores_of, "line 1: expected a number as score")
        for number in _NUMBERS
    ),
    *(Case(f"scores: {n}", _written("scores.txt", made), _evaluated, says) for n, (made, says) in _SCORES.items()),
    *(
        Case(f"scores: {name}", make, _evaluated, says)
        for name, make, says in (
            ("pipe", _pipe("scores.txt"), "is a named pipe, .*; give the path of a text file"),
            ("zeros without end", _link("scores.txt", "/dev/zero"), "is longer than"),
            ("1 GB without an end of line", _sparse("scores.txt", 1 << 30), "is longer than"),
            ("folder", lambda folder: folder, "cannot be read|is a folder"),
        )
    ),
    *(
        Case(f"scores to calibrate: {name}", _written("scores.txt", _scores(*values)), _calibrated, says)
        for name, values, says in (
            ("huge", ("-1e300", "1e300"), "too large or too close together"),
            ("denormal", ("5e-324", "1e-323"), "too large or too close together"),
            ("next to each other", ("1", "1.0000000000000002"), "too large or too close together"),
            ("constant", ("0.5",), "all trials have the same score"),
        )
    ),
    *(
        Case(f"calibration: {n}", _written("calibration.json", made), _loaded, says)
        for n, (made, says) in _CALIBRATIONS.items()
    ),
    *(
        Case(f"calibration: {name}", make, _loaded, says)
        for name, make, says in (
            ("pipe", _pipe("calibration.json"), "is a named pipe"),
            ("zeros without end", _link("calibration.json", "/dev/zero"), "is longer than 67.1 MB"),
            (
                "too long",
                _sparse("calibration.json", 1 << 30),
                "is longer than 67.1 MB; give the path of a file that calibrate or fuse saved",
            ),
        )
    ),
    *(
        Case(f"calibration to apply: {name}", _written("calibration.json", made), _applied, says)
        for name, made, says in (
            ("deep lists", "[" * 200_000, "not a calibration"),
            (
                "huge weights",
                _calibration(weights=[1.7e308]),
                "weights.0: Input should be less than or equal to 10{30}",
            ),
            ("large weights", _calibration(weights=[1e30]), "2 of 2 log-likelihood ratios are beyond ±1,000,000"),
            ("controls in a name", _calibration(systems=["\x1b[2J"]), None),
        )
    ),
    *(Case(f"rttm: {n}", _written("a.rttm", made), _rttm_of, says) for n, (made, says) in _RTTM.items()),
    *(Case(f"arrays: {n}", _written("a.npy", made), _arrays_of, says) for n, (made, says) in _ARRAYS.items()),
    Case("arrays: 1 GB", _sparse("a.npy", 1 << 30), _arrays_of, "is longer than"),
    Case("arrays: zeros without end", _link("a.npy", "/dev/zero"), _arrays_of, "is longer than"),
    Case("arrays: pipe", _pipe("a.npy"), _arrays_of, "is a named pipe"),
]
