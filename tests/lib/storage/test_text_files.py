"""Files that did not arrive, and text in other encodings, are called what they are."""

import gzip
import io
import pickle
import zipfile
from pathlib import Path

import pytest
from builders import input_error

from nes2net.data.audio.packed import RecordingBytes
from nes2net.data.audio.read import load_audio
from nes2net.data.audio.tables import open_table
from nes2net.data.corpora import generic
from nes2net.data.registry import corpora
from nes2net.lib.storage.files import Budget
from nes2net.lib.storage.plain_data import read_json
from nes2net.lib.storage.text_files import as_cell, from_cell, read_text
from nes2net.lib.storage.unpacking import unpack
from nes2net.lib.storage.yaml_text import read_yaml_file
from nes2net.metrics.localisation.label_files import read_rttm
from nes2net.models.checkpoints.onnx_format import read_onnx
from nes2net.models.checkpoints.state_dict import load_state_dict
from nes2net.models.checkpoints.torch_file import read_torch_file
from nes2net.scoring.class_file import read_class_table
from nes2net.scoring.decisions.calibration import load
from nes2net.scoring.judgement import scores_of
from nes2net.scoring.score_file import read_scores
from nes2net.scoring.segment_file import read_segment_scores

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"

READERS = {
    "scores.txt": read_scores,
    "list.csv": generic.CORPUS.trials,
    "classes.tsv": read_class_table,
    "frames.txt": read_segment_scores,
    "model.pth": read_torch_file,
    "model.safetensors": load_state_dict,
    "model.onnx": read_onnx,
    "a.wav": load_audio,
    "a.flac": load_audio,
    "member.mp3": lambda path: load_audio(RecordingBytes(path.name, path.read_bytes())),
    "record.json": read_json,
    "calibration.json": load,
    "recipe.yaml": lambda path: read_yaml_file(path, "", "recipe"),
    "test.parquet": lambda path: open_table(path, Budget.of("shard", 100)),
    "audio.zip": lambda path: unpack(path, path.parent / "out", "unpack"),
}


@pytest.mark.parametrize("content, message", [(POINTER, "is a Git LFS pointer"), (PAGE, r"is a web page \(HTML\)")])
@pytest.mark.parametrize("name", READERS)
def test_a_git_lfs_pointer_or_a_web_page_in_place_of_a_file_is_refused_and_called_so(
    tmp_path: Path, name, content, message
):
    path = tmp_path / name
    path.write_bytes(content)
    with input_error(f"{name}: {message}"):
        READERS[name](path)


ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w") as archive:
    archive.writestr("model.pth", "weights")
#: Content → what it is called.
NOT_DATA = {
    b"": "is empty",
    gzip.compress(b"text", mtime=0): "is compressed by gzip",
    ZIP.getvalue(): "is (?i:a zip archive)",
}
LISTS = ("scores.txt", "list.csv", "classes.tsv", "frames.txt", "recipe.yaml", "audio.zip")  # may be packed or empty


@pytest.mark.parametrize("content", NOT_DATA)
@pytest.mark.parametrize("name", sorted(READERS.keys() - set(LISTS)))
def test_an_empty_or_packed_file_in_place_of_another_is_refused_and_called_so(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with input_error(NOT_DATA[content]):
        READERS[name](path)


TEXT_READERS = {
    "scores.txt": read_scores,
    "scores.csv": scores_of,
    "classes.tsv": read_class_table,
    "frames.txt": read_segment_scores,
    "labels.txt": generic.CORPUS.keys,
    "list.csv": generic.CORPUS.trials,
    "protocol.txt": corpora.get("asvspoof2019_la").keys,
    "meta.csv": corpora.get("in_the_wild").keys,
    "a.rttm": read_rttm,
    "record.json": read_json,
    "recipe.yaml": lambda path: read_yaml_file(path, "", "recipe"),
}


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "a 0.5\n")
    return buffer.getvalue()


KINDS = {
    "a ZIP archive, or a spreadsheet": zipped("xl/workbook.xml"),
    "compressed by gzip": gzip.compress(b"a 0.5\n"),
    "a pickle of Python": pickle.dumps({"a": 0.5}),
    "a Parquet file": b"PAR1\x15\x04\x15\x10\x00\x00PAR1",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TEXT_READERS)
def test_a_binary_file_in_place_of_a_text_file_is_refused_with_its_kind_named(tmp_path: Path, name, kind):
    path = tmp_path / name
    path.write_bytes(KINDS[kind])
    with input_error(f"{name}.* not a text file.*; it is {kind}.*: unpack it, or save its table as CSV"):
        TEXT_READERS[name](path)


@pytest.mark.parametrize("name", ["PAR1", "Rar!", "BZh9", "PK"])
def test_an_utterance_id_may_begin_with_the_magic_bytes_of_another_file_format(tmp_path: Path, name):
    path = tmp_path / "scores.txt"
    path.write_text(f"{name} 0.5\n")
    assert read_scores(path)[0] == [name]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "latin-1"])
@pytest.mark.parametrize("read", [read_text, read_json])
def test_text_in_another_encoding_is_refused_with_the_advice_to_save_utf8(tmp_path, encoding, read):
    path = tmp_path / "list.csv"
    path.write_bytes("path,label\nü.wav,real\n".encode(encoding))
    with input_error("save .*as UTF-8"):
        read(path)


def test_only_cells_that_a_spreadsheet_would_compute_or_that_look_quoted_already_are_quoted():
    for text in ("=1", "+1", "-1", "@a", "\ta", "\ra", "\na", "'=1", "''@"):
        assert as_cell(text) == f"'{text}"
    for value in ("", "'", "a=1", "'a", " =1", "LA_E_1", -1.5, 3, None):
        assert as_cell(value) is value


@pytest.mark.parametrize("text", ["=1", "\na", "'=1", "''@", "'a", "'", ""])
def test_reading_a_spreadsheet_cell_gives_the_text_from_which_it_was_written(text):
    assert from_cell(as_cell(text)) == text
