"""Files that did not arrive, and text in other encodings, are called what they are."""

from pathlib import Path

import pytest

from nes2net.data.audio.read import load_audio
from nes2net.data.audio.tables import open_table
from nes2net.data.corpora import generic
from nes2net.lib.errors import InputError
from nes2net.lib.files import Budget
from nes2net.lib.plain_data import read_json
from nes2net.lib.text_files import as_cell, of_cell, read_text
from nes2net.lib.unpacking import unpack
from nes2net.lib.yaml_text import read_yaml_file
from nes2net.models.checkpoints.torch_file import read_torch_file
from nes2net.scoring.score_file import read_scores

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><body>Sign in</body></html>\n"

READERS = {
    "scores.txt": read_scores,
    "list.csv": generic.CORPUS.trials,
    "model.pth": read_torch_file,
    "a.wav": load_audio,
    "a.flac": load_audio,
    "record.json": read_json,
    "recipe.yaml": lambda path: read_yaml_file(path, "", "recipe"),
    "test.parquet": lambda path: open_table(path, Budget.of("shard", 100)),
    "audio.zip": lambda path: unpack(path, path.parent / "out", "unpack"),
}


@pytest.mark.parametrize("content, message", [(POINTER, "is a Git LFS pointer"), (PAGE, r"is a web page \(HTML\)")])
@pytest.mark.parametrize("name", READERS)
def test_what_did_not_arrive_is_called_so(tmp_path: Path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: {message}"):
        READERS[name](path)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "latin-1"])
@pytest.mark.parametrize("read", [read_text, read_json])
def test_text_in_another_encoding_is_to_be_saved_as_utf8(tmp_path, encoding, read):
    path = tmp_path / "list.csv"
    path.write_bytes("path,label\nü.wav,real\n".encode(encoding))
    with pytest.raises(InputError, match="save .*as UTF-8"):
        read(path)


def test_cells_that_a_spreadsheet_would_compute_are_quoted_and_numbers_are_not():
    for text in ("=1", "+1", "-1", "@a", "\ta", "\ra", "\na", "'=1", "''@"):
        assert as_cell(text) == f"'{text}" and of_cell(as_cell(text)) == text
    for value in ("", "'", "a=1", "'a", " =1", "LA_E_1", -1.5, 3, None):
        assert as_cell(value) is value
    assert [of_cell(text) for text in ("", "'", "'a", "=1", "a")] == ["", "'", "'a", "=1", "a"]
