"""Read tables of ids: lines or CSV rows that state a score or a label of each utterance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from nes2net.data.audio.files import AUDIO_SUFFIXES
from nes2net.data.corpora.protocol import read_csv
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, shown
from nes2net.lib.text_files import read_rows

#: Possible names of a column of ids or paths, in lower case, with ``_`` for ``-`` and for a space.
ID_COLUMNS = (
    *("utterance", "utterance_id", "utt", "utt_id", "uttid", "id", "id_audio", "trial", "trial_id"),
    *("path", "file", "filename", "file_name", "file_path", "filepath", "audio", "audio_path", "name"),
)
#: Possible names of a column of labels.
LABEL_COLUMNS = ("label", "cm_label", "key", "class")
#: Delimiter between fields → name of the delimiter in messages. White space is not listed here.
DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "vertical bars"}


def column_name(name: str) -> str:
    """Normalise the name of a column, so that spellings of the same name are equal.

    >>> column_name(" CM-Score ")
    'cm_score'
    """
    return name.strip().strip('"').lower().replace("-", "_").replace(" ", "_")


def column_of(header: Sequence[str], names: Iterable[str]) -> int | None:
    """Find the first of ``names`` that occurs in ``header``, and return its index; None if no name occurs."""
    for name in names:
        if name in header:
            return header.index(name)
    return None


def first_line(path: Path) -> str:
    """Read the first line of ``path`` that is not blank; empty if there is none, or if the file cannot be read."""
    if not path.is_file():  # a pipe is not read, because opening it would block
        return ""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            lines = file.read(4096).split("\n")
    except OSError:
        return ""
    for line in lines:
        if line.strip():
            return line
    return ""


def delimiter_of(line: str) -> str | None:
    """Find the most frequent of ``DELIMITERS`` in ``line``; None if white space separates the fields.

    >>> delimiter_of("path;label"), delimiter_of("LA_E_1 0.5")
    (';', None)
    """
    counts = {delimiter: line.count(delimiter) for delimiter in DELIMITERS}
    most_frequent = max(counts, key=counts.__getitem__)
    return None if counts[most_frequent] == 0 else most_frequent


class IdTable(NamedTuple):
    """The rows of a table of ids, as (line number, fields), and the columns of ids and of values."""

    rows: Iterator[tuple[int, list[str]]]
    id_column: int
    value_column: int


def read_id_table(
    path: Path, value: str, names: Sequence[str], is_value: Callable[[str], bool], between: Sequence[str] = ()
) -> IdTable:
    """Open a table that states one value of each utterance.

    A first line with one of ``names`` is a header. Without a header, the first column holds the id,
    and the last column holds the value. A table without a header may have one or two further
    columns in the middle. One of these columns must then hold a word of ``between``.

    Args:
        value: the name of the value in messages, such as ``"score"``.
        names: possible names of the column of the value, as :func:`column_name` writes them.
        is_value: tells whether a field may be a value.
        between: the words by which a further column is recognised.

    Raises:
        InputError: if no column of ids or of values is found, or if a row has another number of
            fields.
    """
    # Find the delimiter. White space is the delimiter if the last word of the line is a value, or if a word is one of
    # ``names``.
    line = first_line(path)
    words = line.split()
    delimiter = delimiter_of(line)
    if len(words) > 1:
        names_value = bool(set(names) & {column_name(word) for word in words})
        if is_value(words[-1]) or (delimiter != "\t" and names_value):
            delimiter = None
    # Find the columns by a header, or else by their order.
    fields = line.split(delimiter)
    header = [column_name(field) for field in fields]
    value_column = column_of(header, names)
    if len(fields) == 2 and is_value(fields[1].strip()):  # the line is a row, even if its id is "score"
        value_column = None
    id_column = column_of(header, ID_COLUMNS)
    if value_column is not None and id_column is None:
        raise InputError(
            f"{path}: no column of ids in the header {shown(line.strip())} (separated by {_delimiter_name(delimiter)}); "
            f"call it one of {', '.join(ID_COLUMNS)}"
        )
    middle_fields = {field.strip() for field in fields[1:-1]}
    if value_column is None and len(fields) > 2 and (len(fields) > 4 or not middle_fields & set(between)):
        raise InputError(
            f"{path}, line 1: expected 2 fields (utterance {value}), found {len(fields)}: {shown(line.strip())} (separated "
            f"by {_delimiter_name(delimiter)}); keep these two columns, or add a header that names them ({', '.join(names)})"
        )
    num_fields = max(len(fields), 2)
    has_header = value_column is not None
    if value_column is None or id_column is None:
        id_column = 0
        value_column = num_fields - 1
    # Open the rows that follow the header.
    if delimiter is not None:
        rows = _rows_of_csv(path, delimiter, id_column)
    else:
        expected = f"as in line 1: {' '.join(words)}" if len(fields) > 2 else f"utterance {value}"
        rows = read_rows(path, num_fields, expected)
    if has_header:
        next(rows, None)
    return IdTable(rows, id_column, value_column)


def _rows_of_csv(path: Path, delimiter: str, id_column: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of each row of a CSV file; spaces in the column of ids become ``%20``.

    Raises:
        InputError: if a row has no id.
    """
    for line, row in read_csv(path, delimiter):
        row = [field.strip() for field in row]
        row[id_column] = "%20".join(row[id_column].split())
        if not row[id_column]:
            raise InputError(f"{path}, line {line}: names no utterance: {shown(delimiter.join(row))}")
        yield line, row


def read_labels(path: Path, labels: Mapping[str, str]) -> Iterator[Trial]:
    """Yield the trials of a file that holds only ids and labels; suffixes of audio are removed from ids.

    Args:
        labels: word, in lower case → our label.

    Raises:
        InputError: for the reasons of :func:`read_id_table`, or if a label is unknown. The labels 0
            and 1 are not accepted either, because bona fide is 0 in some corpora and 1 in others.
    """
    rows, id_column, label_column = read_id_table(path, "label", LABEL_COLUMNS, lambda word: word.lower() in labels)
    for line, row in rows:
        word = row[label_column].lower()
        if word not in labels:
            raise InputError(f"{path}, line {line}: {unknown_label(row[label_column], labels)}")
        yield Trial(next(possible_ids(row[id_column])), label=labels[word])


def unknown_label(word: str, labels: Iterable[str]) -> str:
    """Write the message about a ``word`` that is not one of ``labels``.

    >>> unknown_label("x", ["bonafide", "spoof"])
    "unknown label 'x'; expected one of bonafide, spoof"
    """
    message = f"unknown label {shown(word)}; expected one of {', '.join(labels)}"
    if word in ("0", "1"):
        return f"{message}: numbers do not say which class is bona fide, so write the words"
    return message


def holds_only_labels(path: Path) -> bool:
    """Whether ``path`` seems to hold only ids and labels, judging by its first line."""
    line = first_line(path)
    fields = line.split()
    if len(fields) != 2:
        fields = line.split(delimiter_of(line))
    names = {column_name(field) for field in fields} - {""}
    return len(names) == 2 and (len(fields) == 2 or not names.isdisjoint(LABEL_COLUMNS))


def _delimiter_name(delimiter: str | None) -> str:
    return "white space" if delimiter is None else DELIMITERS[delimiter]


def possible_ids(id: str) -> Iterator[str]:
    """Yield the ids that ``id`` may mean if it is the path of a recording; a suffix of audio is removed.

    The first id is the whole path. Each further id lacks one more of the outer folders.

    >>> list(possible_ids("D:\\\\data\\\\eval\\\\a.mp3"))
    ['D:/data/eval/a', 'data/eval/a', 'eval/a', 'a']
    """
    name = id.replace("\\", "/")
    stem, dot, suffix = name.rpartition(".")
    if stem and f"{dot}{suffix.lower()}" in AUDIO_SUFFIXES:
        name = stem
    yield name
    while "/" in name:
        name = name.partition("/")[2]
        yield name
