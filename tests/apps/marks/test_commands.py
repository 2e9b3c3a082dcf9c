"""Marks beside the answers of `nes2net predict`, `report` and `serve`, and the rules of evidence."""

import json
import shutil
import sys

import pytest
from builders import needs_serve
from conftest import seeded_detector

#: Beginnings of the names of modules that read marks.
READERS = ("nes2net.apps.marks", "encypher_c2pa", "c2pa", "perth")
SCRIPT = "<script>alert(1)</script>"
NOTE = "note: the score says bona fide, the mark says AI: the mark is the stronger evidence if it is real"


@pytest.fixture(scope="module")
def detector():
    return seeded_detector({"frontend": "lfcc", "backend": "asp_mlp"})


@pytest.fixture
def folder(golden, detector, tmp_path, monkeypatch):
    """The current folder, with a detector and marked recordings."""
    for name in ("c2pa_signed.wav", "c2pa_signed.flac", "c2pa_signed.m4a", "c2pa_plain.wav", "perth_marked_4.flac"):
        shutil.copyfile(golden / name, tmp_path / name)
    detector.save(tmp_path / "m.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def needs_c2pa():
    pytest.importorskip("encypher_c2pa", reason="encypher-c2pa is not installed")


@pytest.fixture
def predict(folder, output):
    """A function that runs `nes2net predict` with the detector; returns what it prints."""
    return lambda *words: output(["predict", "--model", "m.pth", *words]).out


@pytest.fixture
def rows(predict):
    """A function that returns the objects that `nes2net predict --json` prints."""
    return lambda *words: [json.loads(line) for line in predict("--json", *words).splitlines()]


def test_marks_stand_below_the_answer_which_stays(needs_perth, needs_c2pa, predict):
    plain = predict("perth_marked_4.flac").splitlines()
    lines = predict("--marks", "perth_marked_4.flac").splitlines()
    assert [line for line in lines if not line.startswith("  - mark: ")] == plain
    assert "  - mark: no Content Credentials; says nothing" in lines
    assert any(line.startswith("  - mark: Perth (Resemble AI) found, 1.000") for line in lines)


@pytest.mark.parametrize("words", [["--marks", "c2pa"], ["--marks=c2pa"], ["--evidence", "c2pa"]], ids=" ".join)
def test_one_kind_is_asked_for(needs_c2pa, rows, words):
    (row,) = rows(*words, "c2pa_signed.wav")
    (mark,) = row["marks"]
    assert mark["kind"] == "c2pa"
    assert mark["state"] == "untrusted"
    assert mark["value"] is None


def test_a_kind_takes_a_file(needs_c2pa, rows, golden):
    (row,) = rows(f"--marks=c2pa:{golden / 'c2pa_root.pem'}", "c2pa_signed.wav")
    assert row["marks"][0]["state"] == "trusted"


@pytest.mark.parametrize("words", [["--marks", "c2pa_plain.wav"], ["c2pa_plain.wav", "--marks"]], ids=" ".join)
def test_a_file_behind_the_flag_is_no_kind(needs_c2pa, rows, words):
    (row,) = rows(*words)
    assert "c2pa" in [mark["kind"] for mark in row["marks"]]


def test_a_shortened_flag_takes_no_file_for_a_kind_either(needs_c2pa, rows):
    (row,) = rows("--mark", "c2pa_plain.wav")
    assert row["file"] == "c2pa_plain.wav"


def test_an_unknown_kind_is_refused_with_the_known_ones(folder, refused):
    message = refused(["predict", folder / "c2pa_plain.wav", "--model", folder / "m.pth", "--marks=nope"])
    assert "unknown evidence 'nope'; known: c2pa, neighbours, perth" in message


def test_without_the_flag_nothing_is_read_or_imported(rows, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(READERS)]:
        monkeypatch.delitem(sys.modules, name)
    (row,) = rows("c2pa_signed.wav")
    assert not {"marks", "evidence"} & set(row)
    assert not [name for name in sys.modules if name.startswith(READERS)]


@pytest.mark.parametrize("words", [[], ["--json"], ["--csv"]], ids=["text", "json", "csv"])
def test_without_the_flag_the_output_is_that_of_a_copy_without_readers(predict, without_readers, words):
    files = ["c2pa_signed.wav", "c2pa_signed.flac", "perth_marked_4.flac"]
    printed = predict(*words, *files)
    without_readers()
    assert predict(*words, *files) == printed


def test_a_missing_library_is_a_note_unless_its_kind_is_named(folder, output, refused, monkeypatch):
    for library in ("encypher_c2pa", "c2pa"):
        monkeypatch.setitem(sys.modules, library, None)
    command = ["predict", "c2pa_plain.wav", "--model", "m.pth"]
    printed = output([*command, "--marks"])
    assert "note: c2pa is not read: " in printed.err
    assert "Content Credentials need encypher-c2pa" in printed.err
    assert "c2pa_plain.wav" in printed.out
    message = refused([*command, "--marks", "c2pa"])
    assert "Content Credentials need encypher-c2pa" in message
    assert "[marks]" in message


def test_without_the_readers_one_note_says_so(folder, output, without_readers):
    without_readers()
    printed = output(["predict", "c2pa_plain.wav", "--model", "m.pth", "--marks"])
    notes = [line for line in printed.err.splitlines() if "read" in line]
    assert notes == ["note: marks are not read: this copy of nes2net lacks the folder apps/marks"]
    assert "c2pa_plain.wav" in printed.out


@pytest.mark.parametrize("words", [["--marks", "perth"], ["--evidence", "perth:marks.json"]], ids=" ".join)
def test_without_the_readers_a_named_kind_is_an_error(folder, refused, without_readers, words):
    without_readers()
    message = refused(["predict", "c2pa_plain.wav", "--model", "m.pth", *words])
    assert "perth is not read: this copy of nes2net lacks the folder apps/marks" in message


def test_each_reader_is_built_once(predict, needs_c2pa, monkeypatch):
    from nes2net.apps.marks.credentials import ContentCredentials

    built = []
    init = ContentCredentials.__init__
    monkeypatch.setattr(ContentCredentials, "__init__", lambda self, *rest: built.append(rest) or init(self, *rest))
    predict("--marks", "c2pa_plain.wav", "c2pa_signed.wav")
    assert len(built) == 1


@pytest.mark.parametrize("suffix", ["wav", "flac", "m4a"])
def test_credentials_in_a_file_do_not_change_its_score(rows, golden, folder, suffix):
    shutil.copyfile(golden / f"c2pa_plain.{suffix}", folder / f"plain.{suffix}")
    plain, signed = rows(f"plain.{suffix}", f"c2pa_signed.{suffix}")
    assert plain["score"] == signed["score"]


@pytest.mark.parametrize("threshold, decision", [("-1000", "bonafide"), ("1000", "spoof")])
def test_a_mark_changes_no_decision_and_a_contradiction_is_told(needs_perth, rows, threshold, decision):
    words = ["perth_marked_4.flac", "--threshold", threshold]
    (plain,) = rows(*words)
    (row,) = rows(*words, "--marks", "perth")
    assert row.pop("marks")[0]["claim"] == "ai"
    notes = [finding["finding"] for finding in row.pop("evidence")]
    assert row == plain
    assert row["decision"] == decision
    assert [note.startswith(NOTE) for note in notes] == [True] * (decision == "bonafide")


def test_a_page_escapes_the_texts_of_a_manifest(needs_c2pa, folder, output):
    output("report c2pa_signed.wav --model m.pth --html r.html --json r.json --marks")
    page = (folder / "r.html").read_text()
    assert SCRIPT not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.index("A mark that is found speaks") < page.index("claims to be made by AI")
    assert json.loads((folder / "r.json").read_text())["marks"][-1]["title"] == SCRIPT


@needs_serve
def test_a_server_reads_marks_only_if_it_is_asked_to(needs_c2pa, golden, detector, tmp_path):
    from nes2net.apps.serve.desk import Desk

    path = golden / "c2pa_signed.wav"
    desk = Desk(detector, tmp_path)
    plain = desk.score(path, "a.wav").row()
    assert not {"marks", "evidence"} & set(plain)
    row = desk.score(path, "a.wav", marks=True).row()
    assert row["marks"][-1]["state"] == "untrusted"
    assert row["score"] == plain["score"]
    assert "marks" not in desk.score(path, "a.wav").row()


@needs_serve
def test_an_address_asks_for_marks(needs_c2pa, golden, detector, tmp_path):
    from fastapi.testclient import TestClient

    from nes2net.apps.serve.app import build
    from nes2net.apps.serve.desk import Desk

    client = TestClient(build(Desk(detector, tmp_path)))
    content = (golden / "c2pa_signed.wav").read_bytes()
    plain, off, on = [
        client.post(f"/api/score{query}", files={"file": ("a.wav", content)}).json()
        for query in ("", "?marks=0", "?marks=1")
    ]
    assert "marks" not in plain
    assert off["score"] == plain["score"]
    assert "marks" not in off
    assert on["marks"][-1]["state"] == "untrusted"
    assert on["score"] == plain["score"]


@needs_serve
def test_a_server_that_always_reads_marks_reads_each_kind_once(needs_c2pa, golden, detector, tmp_path):
    from nes2net.apps.serve.desk import Desk

    desk = Desk(detector, tmp_path, evidence=["c2pa"])
    row = desk.score(golden / "c2pa_signed.wav", "a.wav", marks=True).row()
    assert [mark["kind"] for mark in row["marks"]].count("c2pa") == 1


@needs_serve
def test_a_server_keeps_no_second_judge_of_what_has_no_marks(needs_c2pa, golden, detector, tmp_path):
    from nes2net.apps.serve.desk import Desk

    path = golden / "c2pa_signed.wav"
    desk = Desk(detector, tmp_path, evidence=["marks"])
    desk.score(path, "a.wav", marks=True)
    for marks in (False, True):
        desk.score(path, "a.wav", judgement="embeddings", marks=marks)
    assert len(desk._judges) == 2
