"""Open lists of recordings in the forms of other toolkits as a header and rows.

====================== =========================================================================
CSV, TSV               a header, also SpeechBrain's ``ID,duration,wav,label``
JSON lines             an object in each line: NeMo's manifests, ``metadata.jsonl`` of an
                       AudioFolder, Lhotse's cuts of single recordings; also compressed (``.gz``)
Kaldi                  ``wav.scp``, with ``utt2label`` and ``utt2spk`` beside it
====================== =========================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nes2net.data.corpora.id_tables import delimiter_of, first_line, rows_of_json
from nes2net.data.corpora.lhotse import cut_fields, is_cut
from nes2net.data.corpora.protocol import NumberedRows, note_choice, read_csv
from nes2net.lib.errors import InputError, short_repr
from nes2net.lib.storage.files import is_absent
from nes2net.lib.storage.text_files import numbered_lines, read_rows, without_contradictions

#: Name of Kaldi's list of recordings.
KALDI = "wav.scp"
_USUAL_NAMES = ("metadata.csv", "meta.csv", "list.csv", "metadata.jsonl", "cuts.jsonl", "cuts.jsonl.gz", KALDI)
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".jsonl.gz")
# Kaldi's list beside wav.scp → the column that it becomes. Both have lines ``ID VALUE``.
_KALDI_COLUMNS = {"utt2label": "label", "utt2spk": "speaker"}
# Text in a recording of wav.scp → what the recording then is.
_REFUSED = {"|": "is a command, which is never run", ".ark:": "lies in an archive, which is not read"}


def is_list(path: Path) -> bool:
    """Whether ``path`` is called like a list.

    >>> [is_list(Path(name)) for name in ("train.jsonl.gz", "wav.scp", "text")]
    [True, True, False]
    """
    return path.name == KALDI or path.name.lower().endswith(_SUFFIXES)


def find_list(folder: Path) -> Path | None:
    """Find the list with a usual name, or the only one."""
    lists = sorted(path for path in folder.iterdir() if is_list(path))
    for name in _USUAL_NAMES:
        if folder / name in lists:
            note_choice(folder / name, lists)
            return folder / name
    return lists[0] if len(lists) == 1 else None


def open_list(path: Path) -> NumberedRows:
    """Yield the header of a list, and then its rows, as (line number, fields).

    Raises:
        InputError: if a line is malformed, or names a command or an archive.
    """
    if path.name == KALDI:
        return _rows_of_kaldi(path)
    line = first_line(path)
    if path.suffix == ".gz" or line.startswith(("{", "[")):
        return rows_of_json(path, _flat_object)
    return read_csv(path, "\t" if path.suffix == ".tsv" else delimiter_of(line) or ",")


def _rows_of_kaldi(path: Path) -> NumberedRows:
    if not is_absent(path.with_name("segments")):
        raise InputError(
            f"{path}: the file segments beside it cuts recordings into parts, which are not read; cut the audio "
            "files themselves, and remove segments"
        )
    columns = {}
    for name, column in _KALDI_COLUMNS.items():
        file = path.with_name(name)
        if not is_absent(file):
            rows = [row for _, row in read_rows(file, 2, f"utterance {column}")]
            columns[column] = without_contradictions(rows, file)
    yield 1, ["id", "path", *columns]
    for line, text in numbered_lines(path):
        id, *rest = text.split(None, 1)
        recording = "".join(rest).strip()
        for mark, fault in _REFUSED.items():
            if mark in recording:
                raise InputError(f"{path}, line {line}: {short_repr(recording)} {fault}; write the path of a file")
        yield line, [id, recording, *(values.get(id, "") for values in columns.values())]


def _flat_object(entry: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Return keys and values; raise ValueError if the object holds others that are not read."""
    if is_cut(entry):
        return cut_fields(entry).items()
    for key, value in entry.items():
        values = value if isinstance(value, list) else [value]
        if any(isinstance(item, dict) for item in values):
            raise ValueError(f"its {key} holds further objects, which are not read")
    return entry.items()
