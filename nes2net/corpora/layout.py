"""The layout of a corpus, declared: where its files lie, what the columns of its lists hold.

The methods of a :class:`Layout` are the functions of a :class:`~nes2net.corpora.corpus.Corpus`::

    CORPUS = Corpus(**LAYOUT.functions, counts=...)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nes2net.audio.files import is_recording
from nes2net.corpora import protocol as files
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError, shown
from nes2net.machine.text_files import read_rows


@dataclass(frozen=True)
class Columns:
    """The columns of a list without header, separated by white space."""

    names: str
    """The names, separated by ``, ``. ``utterance`` is the id of a trial; ``-`` is not read."""
    labels: Mapping[str, str] = field(default_factory=lambda: files.ASVSPOOF_LABELS)
    """Word in the column ``label`` → our label."""
    phases: Mapping[str, str] = field(default_factory=dict)
    """Word in the column ``phase`` → our phase."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Column → field of :class:`~nes2net.corpora.trial.Trial`, if their names differ."""
    words: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """Field → word → its value, if it is not the word itself; ``-`` is None."""

    def read(self, path: Path, phase: str | None, audio: Path | None, suffix: str) -> Iterator[Trial]:
        """The trials of ``path``, of ``phase`` unless a column tells it."""
        columns = self.names.split(", ")
        fields = [self.fields.get(column, column) for column in columns]
        further = [(i, name, self.words.get(name, {})) for i, name in enumerate(fields) if name not in _CHECKED]
        utterance = fields.index("utterance")
        label, of_phase = (fields.index(name) if name in fields else None for name in ("label", "phase"))
        for line, row in read_rows(path, len(columns), self.names):
            id = files.checked_id(row[utterance], path, line)
            values: dict[str, Any] = {
                name: words[row[i]] if row[i] in words else files.or_none(row[i]) for i, name, words in further
            }
            if label is not None:
                values["label"] = files.checked_word(row[label], self.labels, "label", path, line)
            if of_phase is not None:
                phase = files.checked_word(row[of_phase], self.phases, "phase", path, line)
            yield Trial(id, files.audio_path(audio, id, suffix), phase=phase, **values)


@dataclass(frozen=True)
class Table:
    """The columns of a list that names recordings by their paths below the folder of the audio.

    An id is such a path without suffix (:func:`~nes2net.corpora.protocol.id_of`).
    """

    file: str
    """The column of the paths."""
    fields: Mapping[str, str]
    """Field of :class:`~nes2net.corpora.trial.Trial` → column; ``label`` and ``phase`` among them."""
    labels: Mapping[str, str | None] = field(default_factory=lambda: files.ASVSPOOF_LABELS)
    """Word in the column of the label → our label; None: the recording is no trial."""
    otherwise: str | None = None
    """Our label for any other word; None: it is an error."""
    phases: Mapping[str, str | None] = field(default_factory=dict)
    """Word in the column of the phase → our phase; None: the recording is no trial."""
    words: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """Field → word → its value, if it is not the word itself; ``-`` and nothing are None."""
    delimiter: str = ","
    """What separates the fields of a list with a header (:func:`~nes2net.corpora.protocol.read_csv`)."""
    names: str = ""
    """The columns of a list without header, separated by ``, ``; white space separates its fields."""

    def read(self, path: Path, phase: str | None, audio: Path | None, suffix: str = "") -> Iterator[Trial]:
        """The trials of ``path``; if a column tells the phase, those of ``phase`` (None: all)."""
        header, rows = self._rows(path)
        file = header.index(self.file)
        columns = {name: header.index(column) for name, column in self.fields.items()}
        label, of_phase = columns.pop("label", None), columns.pop("phase", None)
        further = [(name, column, self.words.get(name, {})) for name, column in columns.items()]
        for line, row in rows:
            row_phase, row_label = phase, None
            if of_phase is not None:
                row_phase = self._word(row[of_phase], self.phases, None, "phase", path, line)
                if row_phase is None or phase not in (None, row_phase):
                    continue
            if label is not None:
                row_label = self._word(row[label], self.labels, self.otherwise, "label", path, line)
                if row_label is None:
                    continue
            name = files.checked_path(row[file], path, line)
            values: dict[str, Any] = {
                field: words[row[i]] if row[i] in words else files.or_none(row[i], "") for field, i, words in further
            }
            place = None if audio is None else audio / f"{name}{suffix}"
            yield Trial(files.id_of(name), place, row_label, phase=row_phase, **values)

    def _rows(self, path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
        if self.names:
            names = self.names.split(", ")
            return names, read_rows(path, len(names), self.names)
        rows = files.read_csv(path, self.delimiter)
        line, header = next(rows, (1, []))
        expected = list(dict.fromkeys([self.file, *self.fields.values()]))
        if set(expected) - set(header):
            raise InputError(
                f"{path}, line {line}: expected the columns {', '.join(expected)}, found {shown(self.delimiter.join(header))}"
            )
        return header, rows

    def _word(
        self, word: str, known: Mapping[str, str | None], otherwise: str | None, what: str, path: Path, line: int
    ) -> str | None:
        if word in known:
            return known[word]
        if otherwise is None:
            files.checked_word(word, list(known), what, path, line)
        return otherwise


_CHECKED = ("utterance", "label", "phase", "-")
_SNIFFED = 1 << 16  # bytes, in which the first line of labels ends
_BELOW = "/**"


@dataclass(frozen=True)
class Part:
    """Where the files of a split are, in the order in which the places are tried."""

    protocols: Sequence[str]
    """Names of the protocol."""
    audio: Sequence[str]
    """Folders of the audio, below the root. One that ends in ``/**`` stands for the first folder, in
    it or below, that holds recordings."""
    folders: Sequence[str] = (".",)
    """Folders of the protocol, below the root or the folder of the protocols. One that ends in
    ``/**`` stands for the first folder, in it or below, that holds the protocol."""
    remedy: str = ""
    """What to do without audio; by default, give the folder that holds the first of ``audio``."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the files of a corpus are and how they are read.

    Methods raise as the functions of a :class:`~nes2net.corpora.corpus.Corpus` do. They touch no
    audio file.
    """

    title: str
    parts: Mapping[str, Part]
    """Split → its files."""
    columns: Columns | Table
    """The columns of the protocols."""
    variants: Sequence[Columns | Table] = ()
    """The columns of protocols whose lines have another number of fields."""
    suffix: str = ".flac"
    """Suffix of the audio files; empty if the protocols name it."""
    key: Columns | None = None
    """The columns of the key; None if the protocols hold the labels."""
    key_files: Sequence[str] = ()
    """Where the key may be, below the folder of keys."""

    @property
    def functions(self) -> dict[str, Any]:
        """Title, splits and functions, as arguments of :class:`~nes2net.corpora.corpus.Corpus`."""
        names = ("title", "trials", "keys", "find_protocol", "find_audio", "read_protocol")
        functions = {name: getattr(self, name) for name in names}
        return functions | {"splits": tuple(self.parts), "find_key": self.find_key if self.key else None}

    def trials(self, root: str | Path, split: str = "eval", *, protocols: str | Path | None = None) -> list[Trial]:
        """The trials of ``split`` in the order of the protocol, with the paths of their audio.

        Args:
            root: The folder of the corpus.
            protocols: The folder of the protocols; ``root`` is searched after it.
        """
        files.check_split(split, tuple(self.parts), self.title)
        files.corpus_root(root)
        path = self.find_protocol(root, split, protocols)
        return self.read_protocol(path, split, self.find_audio(root, split))

    def keys(self, path: str | Path, phase: str | None = None) -> list[Trial]:
        """The labelled trials of ``phase`` without audio, for evaluation.

        Args:
            path: A key or protocol, a folder in which it is sought, or a file of another name with
                labels alone: lines ``utterance label``. Such a file names no phases, so its trials
                belong to each.
            phase: None for all phases, or all splits of which there is a protocol.
        """
        official = [
            Path(name).name for name in (*self.key_files, *(n for p in self.parts.values() for n in p.protocols))
        ]
        own = self.key or self.columns
        if isinstance(own, Columns) and Path(path).name not in official and _num_fields(Path(path)) == 2:
            columns = Columns("utterance, label", labels=own.labels)
            if self.key is not None:
                self.check_phase(phase)
            elif phase is not None:
                files.check_split(phase, tuple(self.parts), self.title)
            return files.checked_trials(columns.read(Path(path), None, None, self.suffix), Path(path))
        if self.key is None:
            names = {split: part.protocols for split, part in self.parts.items()}
            return files.keys_of_splits(path, phase, self.title, names, self.find_protocol, self.read_protocol)
        self.check_phase(phase)
        path = self.find_key(path)
        labelled = self.key.read(path, None, None, self.suffix)
        return files.select_phase(files.checked_trials(labelled, path), phase)

    def check_phase(self, phase: str | None) -> None:
        """Raise :class:`InputError` if the key has no ``phase``."""
        known = self.key.phases if self.key else {}
        if phase is not None and phase not in known:
            phases = dict.fromkeys(known.values())
            raise InputError(f"{self.title} has no phase '{phase}'; it has {', '.join(phases)}")

    def find_protocol(self, root: str | Path, split: str = "eval", protocols: str | Path | None = None) -> Path:
        """The protocol of ``split``, or :class:`~nes2net.corpora.protocol.NotFound`."""
        part, what = self._part(split)
        roots = [Path(root)] if protocols is None else [Path(protocols), Path(root)]
        inner = [
            str(_place(place, folder, part.protocols.__contains__)) if folder.endswith(_BELOW) else folder
            for folder in part.folders
            for place in (roots if folder.endswith(_BELOW) else roots[:1])
        ]
        return files.first_protocol(root, protocols, inner, part.protocols, what)

    def find_audio(self, root: str | Path, split: str = "eval") -> Path:
        """The folder of the audio of ``split``, or :class:`~nes2net.corpora.protocol.NotFound`."""
        part, what = self._part(split)
        return files.first_folder(
            [_place(Path(root), folder, is_recording) for folder in part.audio],
            what=f"audio of {what}",
            remedy=part.remedy or f"give the folder that holds {part.audio[0].removesuffix(_BELOW)}",
        )

    def _part(self, split: str) -> tuple[Part, str]:
        split = files.known_split(split, tuple(self.parts), self.title)
        return self.parts[split], f"{self.title} {split}" if len(self.parts) > 1 else self.title

    def read_protocol(self, path: Path, split: str | None = None, audio: Path | None = None) -> list[Trial]:
        """The trials of a protocol. :class:`InputError` names the file and line that is malformed."""
        phase = None if self.key else split
        number = _num_fields(path) if self.variants else None
        columns = next((one for one in self.variants if len(one.names.split(", ")) == number), self.columns)
        return files.checked_trials(columns.read(path, phase, audio, self.suffix), path)

    def find_key(self, path: str | Path) -> Path:
        """The key, or :class:`~nes2net.corpora.protocol.NotFound`."""
        path = Path(path)
        if path.is_file():
            return path
        return files.first_file(
            [path / file for file in self.key_files],
            what=f"key of {self.title}",
            remedy=f"give the folder of keys that holds {self.key_files[0]}",
        )


def _place(root: Path, folder: str, wanted: Callable[[str], bool]) -> Path:
    """``folder`` below ``root``; for ``folder/**`` the first one in it that holds a ``wanted`` file."""
    if folder.endswith(_BELOW):
        for place, folders, names in os.walk(root / folder.removesuffix(_BELOW)):
            folders.sort()
            if any(map(wanted, names)):
                return Path(place)
    return root / folder


def _num_fields(path: Path) -> int | None:
    """The number of fields of the first line of ``path``.

    None if it is no file, cannot be read, or has no such line of less than 64 kB.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            start = file.read(_SNIFFED)
    except OSError:
        return None  # the reader of the file will say why
    lines = start.splitlines() if len(start) < _SNIFFED else start.splitlines()[:-1]  # the last one may be cut
    return next((len(line.split()) for line in lines if line.strip()), None)
