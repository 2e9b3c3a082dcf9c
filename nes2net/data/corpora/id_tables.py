"""Read tables of ids: lines or CSV rows that state a score or a label of each utterance."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from nes2net.data.audio.files import AUDIO_SUFFIXES
from nes2net.data.corpora.protocol import NumberedRows, read_csv
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial
from nes2net.lib.errors import InputError, as_input_error, at_line, concerning, short_repr
from nes2net.lib.storage.plain_data import parse_json
from nes2net.lib.storage.text_files import from_cell, numbered_lines, read_rows, read_text, text_blocks

#: Possible names of a column of paths, in lower case, with ``_`` for ``-`` and for a space.
PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "file_path", "filepath"),
    *("audio_path", "audio_filepath", "audio", "wav"),
)
#: The same of ids or paths.
ID_COLUMNS = (
    *("utterance", "utterance_id", "utt", "utt_id", "uttid", "id", "id_audio", "trial", "trial_id"),
    *(*PATH_COLUMNS, "name"),
)
#: Possible names of a column of labels.
LABEL_COLUMNS = ("label", "cm_label", "key", "class")
#: Word for a class, in lower case → our label.
LABELS = {
    **dict.fromkeys(
        ("bonafide", "bona-fide", "bona_fide", "bona fide", "genuine", "real", "human", "pristine"), BONAFIDE
    ),
    **dict.fromkeys(("spoof", "spoofed", "fake", "deepfake", "synthetic", "generated"), SPOOF),
}
#: Delimiter between fields → name of the delimiter in messages. White space is not listed here. Commas come last,
#: because there are as many in ``a.wav;0,5``.
DELIMITERS = {"\t": "tabs", ";": "semicolons", "|": "vertical bars", ",": "commas"}
_WHITE_SPACE = "white space"
_JSON = "JSON"
_JSON_LINES = (
    'a list or a mapping of all files is not read: write one object in each line, such as {"file": "a.wav", "label": '
    '"spoof"} or {"file": "a.wav", "score": 0.5}'
)
_BEGINNING = 1 << 20  # bytes of a long table in which the first line is looked for
_MAX_COLUMNS = 100  # a first line with more words that are no names of columns is no header


def column_name(name: str) -> str:
    """Normalise spellings of the same column.

    >>> column_name(" CM-Score ")
    'cm_score'
    """
    return name.strip().strip('"').lower().replace("-", "_").replace(" ", "_")


def column_of(header: Sequence[str], names: Iterable[str]) -> int | None:
    """Return the index of the first of ``names`` in ``header``, if any."""
    for name in names:
        if name in header:
            return header.index(name)
    return None


def first_line(path: Path) -> str:
    """Read the first line that is not blank; empty if there is none, or no text."""
    lines = []
    with suppress(InputError):
        if path.is_file():  # a pipe is not read, because opening it would block
            if path.stat().st_size > _BEGINNING:  # it may be a table that is too long to be read as a whole
                lines = next(text_blocks(path, _BEGINNING))[1]
            else:
                lines = read_text(path).split("\n")
    return next(filter(str.strip, lines), "")


def delimiter_of(line: str) -> str | None:
    """Find the most frequent of ``DELIMITERS``; None if white space separates the fields.

    >>> delimiter_of("path;label"), delimiter_of("LA_E_1 0.5"), delimiter_of("a.wav;0,5")
    (';', None, ';')
    """
    counts = {delimiter: line.count(delimiter) for delimiter in DELIMITERS}
    most_frequent = max(counts, key=counts.__getitem__)
    return None if counts[most_frequent] == 0 else most_frequent


class IdTable(NamedTuple):
    """Rows (line number, fields), and the columns of ids and of values."""

    rows: NumberedRows
    id_column: int
    value_column: int


def read_id_table(
    path: Path,
    value: str,
    names: Sequence[str],
    is_value: Callable[[str], bool],
    between: Collection[str] = (),
    advice: Callable[[Sequence[str]], str] = ", ".join,
) -> IdTable:
    """Open a table of one value of each utterance: text with delimiters, or JSON lines.

    Without a header, the first column holds the id, the last the value, and one or two may lie
    between, one of them with a word of ``between``.

    Args:
        value: the name of the value in messages, such as ``"score"``.
        names: possible names of its column, as :func:`column_name` writes them.
        is_value: tells whether a field may be a value.
        between: words, in lower case, that identify a further column.
        advice: which columns may be renamed if none has one of ``names``.

    Raises:
        InputError: if no column of ids or of values is found, or if a row has another number of
            fields.
    """
    line = first_line(path)
    fields, rows, separator = open_rows(path, line, value, is_value)
    # A line of two fields with a value is a row, not a header, even if its id is "score".
    header = list(map(column_name, fields))
    id_column = column_of(header, ID_COLUMNS)
    value_columns = [number for number, name in enumerate(header) if name in names]
    has_value = any(is_value(field.strip()) for field in fields[1:])
    is_named = id_column is not None or value_columns
    found = f"{short_repr(line.strip())} (separated by {separator})"
    if separator == _JSON and (not is_named or len(fields) < 2):
        raise InputError(f"{path}: no key of files or {value}s in {found}; {_JSON_LINES}")
    seems_header = 2 < len(fields) <= _MAX_COLUMNS and (value_columns or not has_value)
    if seems_header or (is_named and not has_value):
        if not value_columns:
            raise InputError(
                f"{path}: no column of {value}s in the header {found}; rename one of its columns to {names[0]}: {advice(header)}"
            )
        if id_column is None:
            raise InputError(
                f"{path}: no column of ids in the header {found}; rename it to one of {', '.join(ID_COLUMNS)}"
            )
        if len(value_columns) > 1:
            raise InputError(f"{path}: several columns of {value}s in the header {found}; rename or remove all but one")
        [value_column] = value_columns
        next(rows)
    else:
        # Without a header, find the columns by their order.
        id_column = 0
        value_column = max(len(fields), 2) - 1
        between_fields = {field.strip().lower() for field in fields[1:-1]}
        if len(fields) not in (0, 2) and (len(fields) not in (3, 4) or between_fields.isdisjoint(between)):
            raise InputError(
                f"{path}, line 1: expected 2 fields (utterance {value}), found {len(fields)}: {found}; keep these two "
                f"columns, or add a header that names them ({', '.join(names)})"
            )
    if separator != _WHITE_SPACE:
        rows = _with_ids(path, rows, id_column)
    return IdTable(rows, id_column, value_column)


def open_rows(
    path: Path, line: str, value: str, is_value: Callable[[str], bool]
) -> tuple[list[str], NumberedRows, str]:
    """Return the fields of the first ``line``, all rows, and what separates fields, in words."""
    words = line.split()
    delimiter = delimiter_of(line)
    # Delimiters may be part of an id or a value such as "0,5": a value behind white space decides.
    if len(words) > 1 and is_value(words[-1]):
        delimiter = None
    elif line.startswith(("{", "[")) and (delimiter is None or '"' in line):
        rows = rows_of_json(path)
        first = next(rows)
        return first[1], itertools.chain([first], rows), _JSON
    if delimiter is not None:
        fields = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
        return fields, read_csv(path, delimiter), DELIMITERS[delimiter]
    expected = f"utterance {value}"
    if len(words) > 2:
        expected = f"as in line 1: {' '.join(words)}"
    return words, read_rows(path, max(len(words), 2), expected), _WHITE_SPACE


def rows_of_json(path: Path, items: Callable[[dict[str, Any]], Iterable[tuple[str, Any]]] = dict.items) -> NumberedRows:
    """Yield all keys, then the values in each line; null and missing ones become empty.

    Args:
        items: gives the keys and values of an object; raises :class:`InputError` or
            :class:`KeyError` if it cannot.

    Raises:
        InputError: if a line is not such a JSON object.
    """
    objects: dict[int, dict[str, str]] = {}
    for line, text in numbered_lines(path):
        where = f"{path}, line {line}"
        problem = f"{where}: not a JSON object of a file"
        with as_input_error(problem, ValueError, KeyError, TypeError, AttributeError, remedy=_JSON_LINES):
            entry = parse_json(text, where)
            if not isinstance(entry, dict):
                raise ValueError("a list or a value")
            with concerning(f"{where}:"):
                objects[line] = {key: str(value) for key, value in items(entry) if value is not None}
    names = list(dict.fromkeys(itertools.chain.from_iterable(objects.values())))
    yield 1, names
    for line, values in objects.items():
        if values:
            yield line, [values.get(name, "") for name in names]


def _with_ids(path: Path, rows: NumberedRows, id_column: int) -> NumberedRows:
    """Strip all fields, and write spaces in ids as ``%20``; raise InputError without an id."""
    for line, row in rows:
        row = [field.strip() for field in row]
        row[id_column] = "%20".join(from_cell(row[id_column]).split())
        if not row[id_column]:
            raise InputError(f"{path}, line {line}: the id is empty: {short_repr(' '.join(row))}; fill it in")
        yield line, row


def read_labels(path: Path) -> Iterator[Trial]:
    """Yield the trials of a file of ids, without suffixes of audio, and labels.

    Raises:
        InputError: for the reasons of :func:`read_id_table`, or if a label is unknown. The labels 0
            and 1 are not accepted either, because bona fide is 0 in some corpora and 1 in others.
    """
    rows, id_column, label_column = read_id_table(path, "label", LABEL_COLUMNS, _is_label)
    for line, row in rows:
        with at_line(path, line):
            label = label_of(row[label_column])
        yield Trial(next(possible_ids(row[id_column])), label=label)


def _is_label(word: str) -> bool:
    return word.lower() in LABELS


def label_of(word: Any) -> str:
    """Return the label that ``word`` means; raise :class:`InputError` if it means none.

    >>> label_of("Real"), label_of("fake")
    ('bonafide', 'spoof')
    """
    word = str(word)
    if _is_label(word):
        return LABELS[word.lower()]
    remedy = "correct it"
    if word in ("0", "1"):
        remedy = "numbers do not say which class is bona fide, so write the words"
    raise InputError(f"unknown label {short_repr(word)}; expected one of bonafide, spoof", remedy=remedy)


def holds_only_labels(path: Path) -> bool:
    """Whether the first line suggests only ids and labels."""
    fields, _, _ = open_rows(path, first_line(path), "label", _is_label)
    names = {column_name(field) for field in fields} - {""}
    # Without a header, there are two fields; a header may also have nameless columns.
    return len(names) == 2 and (len(fields) == 2 or not names.isdisjoint(LABEL_COLUMNS))


def possible_ids(id: str) -> Iterator[str]:
    """Yield the ids that the path of a recording may mean, each with one outer folder less.

    >>> list(possible_ids("D:\\\\data\\\\eval\\\\a.mp3"))
    ['D:/data/eval/a', 'data/eval/a', 'eval/a', 'a']
    """
    name = id.replace("\\", "/")
    stem, suffix = os.path.splitext(name)
    if suffix.lower() in AUDIO_SUFFIXES:
        name = stem
    yield name
    while "/" in name:
        name = name.partition("/")[2]
        yield name
