"""Find the text files of corpora, split their lines, and check their fields."""

from __future__ import annotations

import csv
import functools
import gc
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, TypeAlias, TypeVar
from unicodedata import normalize

from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, Trials
from nes2net.lib.errors import InputError, join_names, one_line, pluralise, short_repr
from nes2net.lib.output.terminal import note_once
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.text_files import has_control, read_text_with_line_ends
from nes2net.lib.web.remote import RemotePath, is_address

#: In place of the name of a part, this word means the whole corpus.
WHOLE = "all"
ASVSPOOF_LABELS = {"bonafide": BONAFIDE, "spoof": SPOOF}

# Largest number of characters in a row of a CSV file; a row has several lines if its fields contain line breaks.
_MAX_ROW_LENGTH = 1 << 20
_MAX_COLUMNS = 200


_Meaning = TypeVar("_Meaning")
#: The rows of a file: (line number, fields).
NumberedRows: TypeAlias = Iterator[tuple[int, list[str]]]


class NotFound(InputError):
    """A file or folder was not found; ``tried`` holds the paths."""

    def __init__(self, message: str, tried: Sequence[Path] = ()) -> None:
        super().__init__(message)
        # InputError would cut a long message short, but every path should be named.
        self.args = (" ".join(map(one_line, message.split(" "))),)
        self.tried = list(tried)


def corpus_root(root: AnyPath) -> Path:
    """Return ``root`` as a path; raise :class:`NotFound` if it is not a folder."""
    if is_address(root):
        raise NotFound(
            f"{RemotePath(root)} is a remote address, which only the corpus shards reads: copy the folder to this machine, or use shards"
        )
    root = Path(root)
    if not root.is_dir():
        raise NotFound(f"corpus folder {root} not found; give `root` the folder of the corpus", [root])
    return root


def first_file(
    candidates: Iterable[Path],
    *,
    what: str,
    remedy: str,
    exists: Callable[[Path], bool] = os.path.lexists,
) -> Path:
    """Return the first path that exists; raise :class:`NotFound` if none does.

    Args:
        candidates: the possible paths, in order of preference.
        what, remedy: what is missing, and what the user can do, for the message.
        exists: by default, whether anything has this name.
    """
    tried = list(dict.fromkeys(candidates))
    for path in tried:
        if exists(path):
            note_choice(path, tried)
            return path
    raise NotFound(f"{what} not found; looked for {', '.join(map(str, tried))}; {remedy}", tried)


def note_choice(chosen: Path, others: Iterable[Path]) -> None:
    """Print which files are not read instead of ``chosen``."""
    # A disk that ignores case has one file under two names. What stands in the place of the chosen file fails when it is read.
    unread = [str(path) for path in others if chosen.is_file() and path.is_file() and not path.samefile(chosen)]
    if unread:
        note_once(f"{chosen} is read, and not {join_names(unread)}")


class _CsvLines:
    """The lines of a CSV file; raises if a row, which may have several lines, is too long.

    :func:`read_csv` sets ``row_length`` to 0 after each row.
    """

    def __init__(self, text: str) -> None:
        if "\n" not in text:
            text = text.replace("\r", "\n")
        self.lines = text.split("\n")
        self.row_length = 0  # characters; read_csv() resets it after each row

    def __iter__(self) -> Iterator[str]:
        for line in self.lines:
            self.row_length += len(line)
            if self.row_length > _MAX_ROW_LENGTH:
                raise csv.Error(f"it has more than {_MAX_ROW_LENGTH:,} characters")
            yield f"{line}\n"


def read_csv(path: Path, delimiter: str = ",") -> NumberedRows:
    """Yield the rows of a CSV file that are not blank, as (number of the first line, fields).

    The first row is the header. A quoted field may have line breaks; between tabs, quotation marks
    count only if the first line has any.

    Raises:
        InputError: if two columns share a name, a row has more or fewer fields than the header,
            or if quotation marks do not match, or join lines that would be rows.
    """
    lines = _CsvLines(read_text_with_line_ends(path))
    quoting: Any = csv.QUOTE_MINIMAL
    if delimiter == "\t" and '"' not in lines.lines[0]:
        quoting = csv.QUOTE_NONE
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True, quoting=quoting)
    line = 1
    header: list[str] = []
    try:
        for row in rows:
            # The first row is the header: check that its names are unique.
            if not header:
                header = row
                check_columns([name.strip().lower() for name in header if name.strip()], f"{path}, line {line}")
                if len(header) > _MAX_COLUMNS:
                    raise InputError(
                        f"{path}, line {line}: {len(header)} columns, more than {_MAX_COLUMNS}; remove some"
                    )
            # Check that each row that is not blank has as many fields as the header.
            if row and len(row) != len(header):
                raise InputError(
                    f"{path}, line {line}: expected {pluralise(header, 'field')} ({', '.join(header)}), found {len(row)}: "
                    f"{short_repr(','.join(row))}; correct the line"
                )
            joined = lines.lines[line - 1 : rows.line_num]
            if len(joined) > 1 and {text.count(delimiter) for text in joined} == {len(header) - 1}:
                raise InputError(
                    f"{path}, line {line}: quotation marks join the lines {line} to {rows.line_num}, each of which would be a "
                    "row; remove or double these marks"
                )
            if row:
                yield line, row
            line = rows.line_num + 1
            lines.row_length = 0
    except csv.Error as error:
        raise InputError(
            f"{path}, line {line}: not a row of a CSV file ({error}); close or double its quotation marks"
        ) from error


def find_repeated(words: Iterable[str]) -> list[str]:
    """List the words that occur more than once, once each.

    >>> find_repeated(["a", "b", "a"])
    ['a']
    """
    return [word for word, number in Counter(words).items() if number > 1]


def check_columns(names: Sequence[str], subject: str) -> None:
    """Raise :class:`InputError`, which begins with ``subject``, if two columns share a name."""
    for name in find_repeated(names):
        raise InputError(f"{subject}: more than one column is called {short_repr(name)}; rename or remove one")


def check_id(utterance: str, path: Path, line: int) -> str:
    """Raise :class:`InputError` if a path made from ``utterance`` would leave the folder."""
    if "/" in utterance or "\\" in utterance or ".." in utterance:
        raise InputError(
            f"{path}, line {line}: {short_repr(utterance)} cannot be an utterance id: path separators and '..' are not allowed"
        )
    return utterance


def check_path(name: str, path: Path, line: int) -> PurePosixPath:
    """Return ``name`` as a path below the folder of the audio.

    Raise :class:`InputError` if it would leave this folder, or has no file name.
    """
    recording = PureWindowsPath(name)  # separators are / and \
    if recording.root or ".." in recording.parts or not recording.name:
        raise InputError(
            f"{path}, line {line}: {short_repr(name)} cannot be a recording of the corpus: expected a path below its folder, without '..'"
        )
    return PurePosixPath(recording.as_posix())


def id_of(path: PurePath) -> str:
    """Make the id of a trial from the ``path`` of its recording, without suffix.

    Spaces become ``%20``, because spaces separate the fields of score files.

    >>> id_of(PurePosixPath("fake/a b.wav"))
    'fake/a%20b'
    """
    return "%20".join(path.as_posix().removesuffix(path.suffix).split())


def look_up_word(word: str, words: Mapping[str, _Meaning], column: str, path: Path, line: int) -> _Meaning:
    """Return ``words[word]``; raise :class:`InputError` if the word is unknown."""
    if word not in words:
        raise InputError(
            f"{path}, line {line}: unknown {column} {short_repr(word)}; expected one of {', '.join(words)}; correct it"
        )
    return words[word]


def or_none(field: str) -> str | None:
    """Return ``field``, or None if it is empty or ``-``."""
    if field in ("", "-"):
        return None
    # Interning keeps only one copy of each word of 600,000 lines in memory, also in the workers.
    return sys.intern(field)


def check_trials(trials: Iterable[Trial], path: Path) -> list[Trial]:
    """List the ``trials`` of the file ``path``, with existing recordings.

    Raise :class:`InputError` if there are none, or if an id occurs twice or has control characters.
    """
    collecting = gc.isenabled()
    gc.disable()  # for speed: the garbage collector would search the growing list again and again
    try:
        trials = list(trials)
    finally:
        if collecting:
            gc.enable()
    for trial in trials:
        if has_control(trial.id):
            raise InputError(
                f"{path}: the id {short_repr(trial.id)} holds control characters, which a terminal may obey: "
                "rename the utterance"
            )
    if not trials:
        raise InputError(f"{path}: holds no trials; give a list or folder of the corpus that has some")
    if len({trial.id for trial in trials}) < len(trials):
        # If two recordings with the same id differ in their suffix, the message has both paths.
        repeated_ids = find_repeated(trial.id for trial in trials)
        paths = dict.fromkeys(str(trial.recording()) for trial in trials if trial.id == repeated_ids[0] and trial.path)
        remedy = "; remove the repeated lines"
        if len(paths) > 1:
            first, second, *_ = paths
            shared = short_repr(repeated_ids[0])
            remedy = f"; {first} and {second} share the id {shared}: rename one, or give each its own in a column id"
        times = f"lists {pluralise(repeated_ids, 'utterance')} more than once"
        raise InputError(f"{path}: {times}: {join_names(repeated_ids)}{remedy}")
    return _with_found_names(trials)


def _with_found_names(trials: list[Trial]) -> list[Trial]:
    """Let a list name ``a\\\\b.flac`` if the recording is ``a/b.FLAC``, or accents in another form of Unicode."""
    names_in = functools.cache(_names_by_form)
    for index, trial in enumerate(trials):
        if trial.path is None:
            continue
        path = str(trial.path)
        posix_path = path.replace("\\", "/")
        for spelling in (path, normalize("NFC", posix_path), normalize("NFD", posix_path)):
            folder, name = os.path.split(spelling)
            names = names_in(folder)
            found_name = names.get(name) or names.get(_usual_form(name))
            if found_name:
                if os.path.join(folder, found_name) != path:
                    trials[index] = replace(trial, path=Path(folder, found_name))
                break
    return trials


def _names_by_form(folder: str) -> dict[str, str]:
    """Map the names in ``folder``, and their usual forms, to the names."""
    try:
        names = os.listdir(folder or ".")
    except (OSError, ValueError):  # a shard is no folder
        return {}
    return {_usual_form(name): name for name in names} | dict(zip(names, names))  # equal names come first


def _usual_form(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return normalize("NFC", f"{stem}{suffix.lower()}")


def canonical_phase(phase: str) -> str:
    """Return this package's name of a phase or split.

    The published scripts call ``hidden`` of ASVspoof 2021 ``hidden_track``, and CtrSVDD calls its
    evaluation part ``test``.

    >>> canonical_phase("hidden_track"), canonical_phase("test"), canonical_phase("progress")
    ('hidden', 'eval', 'progress')
    """
    return {"hidden_track": "hidden", "test": "eval"}.get(phase, phase)


def select_phase(trials: Trials, phase: str | None) -> list[Trial]:
    """Select the trials of ``phase`` (None, ``"all"``: all), and trials without a phase.

    Raises:
        InputError: if no trial has this phase; the message lists the phases of ``trials``.
    """
    if phase in (None, WHOLE):
        return list(trials)
    phases = (None, canonical_phase(phase))
    selected = [trial for trial in trials if trial.phase in phases]
    if not selected:
        stated_phases = sorted({str(trial.phase) for trial in trials})
        raise InputError(f"no trials in phase '{phase}'; the key has {', '.join(stated_phases)}: choose one of these")
    return selected
