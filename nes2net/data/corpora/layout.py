"""Declarations of corpora with lists: where the files lie, and what the rows mean::

    CORPUS = ListedCorpus(
        title="Mine",
        rows=Columns("utterance, label"),
        parts={"eval": Files(["list.txt"], ["audio"])},
    )

A corpus without lists is a :class:`~nes2net.data.corpora.folders.FolderCorpus`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path, PurePath
from typing import Any, TypeAlias

from nes2net.data.audio.files import is_recording, walk
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Corpus
from nes2net.data.corpora.id_tables import labels_alone, read_labels
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, check_known, shown
from nes2net.lib.text_files import read_rows


@dataclass(frozen=True)
class Columns:
    """The columns of a list without header, separated by white space."""

    names: str
    """The names, separated by ``,`` and a space. ``utterance`` is the id of a trial; ``-`` is not read."""
    labels: Mapping[str, str] = field(default_factory=lambda: files.ASVSPOOF_LABELS)
    """Word in the column ``label`` → our label."""
    phases: Mapping[str, str] = field(default_factory=dict)
    """Word in the column ``phase`` → our phase."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Column → field of :class:`~nes2net.data.corpora.trial.Trial`, if their names differ."""
    words: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """Field → word → its value, if it is not the word itself; ``-`` is None."""

    suffix: str = ".flac"
    """Suffix of the audio files."""

    def __post_init__(self) -> None:
        columns = [name for name in self.names.split(", ") if name not in self.fields]
        _check_fields([*columns, *self.fields.values()], ("utterance", "-"))

    def __call__(self, path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
        """The trials of ``path``; they belong to ``phase`` unless a column states theirs."""
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
            yield Trial(id, None if audio is None else audio / f"{id}{self.suffix}", phase=phase, **values)


def _check_fields(names: Iterable[str], besides: Sequence[str] = ()) -> None:
    check_known(
        names, [*besides, *Trial.__dataclass_fields__], "a trial (nes2net.data.corpora.trial.Trial) has no field"
    )


@dataclass(frozen=True)
class Table:
    """The columns of a list that names recordings by their paths below the folder of the audio.

    An id is such a path without suffix (:func:`~nes2net.data.corpora.protocol.id_of`).
    """

    file: str
    """The column of the paths."""
    fields: Mapping[str, str]
    """Field of :class:`~nes2net.data.corpora.trial.Trial` → column; ``phase`` only if a column tells it."""
    labels: Mapping[str, str | None] = field(default_factory=lambda: files.ASVSPOOF_LABELS)
    """Word in the column of the label → our label; None: the recording is no trial."""
    otherwise: str | None = None
    """Our label for any other word; None if another word is an error."""
    phases: Mapping[str, str | None] = field(default_factory=dict)
    """Word in the column of the phase → our phase; None: the recording is no trial."""
    words: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """Field → word → its value, if it is not the word itself; ``-`` and nothing are None."""
    delimiter: str = ","
    """What separates the fields of a list with a header (:func:`~nes2net.data.corpora.protocol.read_csv`)."""
    names: str = ""
    """The columns of a list without header, separated by ``,`` and a space; white space separates its fields."""
    inner: Callable[[str], str] = str
    """Content of the column of the paths → the path below the folder of the audio, or InputError."""

    def __post_init__(self) -> None:
        _check_fields(self.fields)

    def __call__(self, path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
        """The trials of ``path``; if a column states the phase, only the trials of ``phase`` (None: all)."""
        if self.names:
            header = self.names.split(", ")
            rows = read_rows(path, len(header), self.names)
        else:
            rows = files.read_csv(path, self.delimiter)
            line, header = next(rows, (1, []))
            expected = list(dict.fromkeys([self.file, *self.fields.values()]))
            if set(expected) - set(header):
                raise InputError(
                    f"{path}, line {line}: expected the columns {', '.join(expected)}, found "
                    f"{shown(self.delimiter.join(header))}"
                )
        file = header.index(self.file)
        columns = {name: header.index(column) for name, column in self.fields.items()}
        label = columns.pop("label", None)
        of_phase = columns.pop("phase", None)
        further = [(name, column, self.words.get(name, {})) for name, column in columns.items()]
        for line, row in rows:
            row_phase = phase
            row_label = None
            if of_phase is not None:
                row_phase = self._word(row[of_phase], self.phases, None, "phase", path, line)
                if row_phase is None or phase not in (None, row_phase):
                    continue
            if label is not None:
                row_label = self._word(row[label], self.labels, self.otherwise, "label", path, line)
                if row_label is None:
                    continue
            try:
                inner = self.inner(row[file])
            except InputError as error:
                raise InputError(f"{path}, line {line}: {error}") from error
            name = files.checked_path(inner, path, line)
            values: dict[str, Any] = {
                field: words[row[i]] if row[i] in words else files.or_none(row[i], "") for field, i, words in further
            }
            place = None if audio is None else audio / name
            yield Trial(files.id_of(name), place, row_label, phase=row_phase, **values)

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


#: The trials of a list, of ``phase`` if it does not tell, with paths below ``audio``: ``rows(path, phase, audio)``.
Rows: TypeAlias = Callable[[Path, str | None, Path | None], Iterable[Trial]]


@dataclass(frozen=True)
class Files:
    """Where the files of a split are, in the order in which the places are tried."""

    protocols: Sequence[str]
    """Names of the protocol."""
    audio: Sequence[str]
    """Folders of the audio, below the root. A folder ending in ``/**`` stands for the first folder,
    in it or below, that holds recordings."""
    folders: Sequence[str] = (".",)
    """Folders of the protocol, below the root or the folder of the protocols. A folder ending in
    ``/**`` stands for the first folder, in it or below, that holds the protocol."""
    remedy: str = ""
    """What to do without audio; by default, give the folder that holds the first of ``audio``."""
    holds: Sequence[str] = (".",)
    """Folders; a folder of the audio has to hold one of them."""
    together: bool = False
    """Whether all of ``protocols`` that are there list the split, and their folder stands for them."""
    unlisted: str = ""
    """Suffix of recordings in the folder of the audio that are trials without a list; empty if a list
    is needed."""


@dataclass(frozen=True, kw_only=True)
class ListedCorpus(Corpus):
    """A corpus whose trials stand in lists."""

    parts: Mapping[str, Files]
    """Split → its files."""
    rows: Rows
    """What the rows of a protocol mean: :class:`Columns`, a :class:`Table`, or a function."""
    variants: Sequence[Columns | Table] = ()
    """The columns of protocols whose lines have another number of fields."""
    key: Columns | None = None
    """The columns of the key; None if the protocols hold the labels."""
    folders_of: Callable[[str], Sequence[str]] = lambda stem: (".",)
    """Name of a list without suffix → folders below the audio's; the first that exists, or the last, has the audio."""
    files_are_trials: bool = False
    """Whether all ``unlisted`` recordings are trials, and no others, so that a list only labels them."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of ``parts``."""
        return tuple(self.parts)

    def trials(
        self, root: str | Path | None, split: str = "eval", *, protocols: str | Path | None = None
    ) -> list[Trial]:
        """As for every corpus; ``unlisted`` trials are sorted by path."""
        part, split, _ = self._part(split)
        if not part.unlisted:
            return super().trials(root, split, protocols=protocols)
        audio = self.find_audio(files.corpus_root(self.place(root)), split)
        labelled: dict[Path | None, Trial] = {}
        try:
            listed = self.read_protocol(self.find_protocol(root, split, protocols), split, audio)
            if not self.files_are_trials:
                return listed
            labelled = {trial.path: trial for trial in listed}
        except files.NotFound:
            if self.files_are_trials and protocols is not None:
                raise
        # Archives made on a Mac hold beside 1.wav a file ._1.wav of its attributes.
        names = sorted(name for name in os.listdir(audio) if name.endswith(part.unlisted) and name[0] != ".")
        if not names:
            raise InputError(f"{audio}: holds no {part.unlisted} files; {part.remedy}, or unpack the archive there")
        phase = None if self.files_are_trials else split
        return [
            labelled.get(audio / name) or Trial(files.id_of(PurePath(name)), audio / name, phase=phase)
            for name in names
        ]

    def keys(self, path: str | Path | None, phase: str | None = None) -> list[Trial]:
        """As for every corpus; a file of another name may hold labels alone.

        Its lines are ``utterance label``, or a header names these columns. It names no phases, so its
        trials belong to each.
        """
        path = self.place(path)
        phase = None if phase is None else files.canonical_phase(phase)
        self.check_known_phase(phase)
        official = [Path(name).name for part in self.parts.values() for name in (*self.key_files, *part.protocols)]
        own = self.key or self.rows
        # A list in which any other word is a label cannot be told from labels alone.
        any_word = isinstance(own, Table) and own.otherwise is not None
        if isinstance(own, (Columns, Table)) and not any_word and path.name not in official and labels_alone(path):
            words = files.ASVSPOOF_LABELS | dict(own.labels)
            labels = {word.lower(): label for word, label in words.items() if label}
            return files.checked_trials(read_labels(path, labels), path)
        if self.key is not None:
            path = self.find_key(path)
            return files.select_phase(files.checked_trials(self.key(path, None, None), path), phase)
        if path.is_file():
            splits = [split for split, part in self.parts.items() if path.name in part.protocols]
            # A list of several splits states the split of each trial.
            split = phase if phase in splits else None
            if len(splits) == 1:
                split = splits[0]
            return files.select_phase(self.read_protocol(path, split), phase)
        if phase is not None:
            return self.read_protocol(self.find_protocol(path, phase), phase)
        found = []
        missing = []
        for split in self.parts:
            try:
                found += self.read_protocol(self.find_protocol(path, split), split)
            except files.NotFound as error:
                missing.append(error)
        if not found:
            raise missing[-1]
        return files.checked_trials(found, path)

    def check_known_phase(self, phase: str | None) -> None:
        """Raise :class:`InputError` if no label is of ``phase``."""
        if self.key is None and phase is not None:
            files.known_split(phase, self.splits, self.title)
        elif self.key is not None and phase is not None and phase not in self.key.phases:
            phases = dict.fromkeys(self.key.phases.values())
            raise InputError(f"{self.title} has no phase '{phase}'; it has {', '.join(phases)}")

    def find_protocol(self, root: str | Path | None, split: str = "eval", protocols: str | Path | None = None) -> Path:
        """As for every corpus; if several lists make up the split, their folder."""
        part, _, what = self._part(split)
        if protocols is not None and Path(protocols).is_file():
            return Path(protocols)
        roots = [*([] if protocols is None else [Path(protocols)]), self.place(root)]
        inner = [
            str(_place(place, folder, part.protocols.__contains__)) if folder.endswith(_BELOW) else folder
            for folder in part.folders
            for place in (roots if folder.endswith(_BELOW) else roots[:1])
        ]
        found = files.first_file(
            [folder / place / name for folder, place, name in product(roots, inner, part.protocols)],
            what=f"protocol of {what}",
            remedy=f"give `protocols` the folder that holds {part.protocols[0]}",
            exists=Path.exists,
        )
        return found.parent if part.together else found

    def find_audio(self, root: str | Path | None, split: str = "eval") -> Path:
        """As for every corpus."""
        part, _, what = self._part(split)
        roots = [_place(self.place(root), folder, is_recording) for folder in part.audio]
        places = {place / inner: place for place in roots for inner in part.holds}
        found = files.first_file(
            places,
            what=f"audio of {what}",
            remedy=part.remedy or f"give the folder that holds {part.audio[0].removesuffix(_BELOW)}",
            exists=Path.is_dir,
        )
        return places[found]

    def _part(self, split: str) -> tuple[Files, str, str]:
        """The part ``split``, its name here, and its name in messages."""
        split = files.known_split(split, self.splits, self.title)
        return self.parts[split], split, f"{self.title} {split}" if len(self.parts) > 1 else self.title

    def read_protocol(self, path: Path, split: str | None = None, audio: Path | None = None) -> list[Trial]:
        """As for every corpus; in a folder of lists, the trials of the lists of ``split`` (None: all)."""
        # Trials whose labels come from a key, or whose list only labels files, have no phase of their own.
        phase = None if split is None or self.key or self.files_are_trials else files.canonical_phase(split)
        parts = [self.parts[phase]] if phase is not None and phase in self.parts else self.parts.values()
        lists = [path]
        if path.is_dir():
            together = [path / name for part in parts if part.together for name in part.protocols]
            lists = [file for file in together if file.is_file()] or lists
        number = _num_fields(path) if self.variants else None
        rows = next((one for one in self.variants if len(one.names.split(", ")) == number), self.rows)
        found: list[Iterable[Trial]] = []
        for file in lists:
            places = [] if audio is None else [audio / inner for inner in self.folders_of(file.stem)]
            found.append(rows(file, phase, next((place for place in places if place.is_dir()), (None, *places)[-1])))
        return files.checked_trials(chain.from_iterable(found), path)


def _place(root: Path, folder: str, wanted: Callable[[str], bool]) -> Path:
    """``folder`` below ``root``; for ``folder/**`` the first one in it that holds a ``wanted`` file."""
    if folder.endswith(_BELOW):
        for place, folders, names in walk(root / folder.removesuffix(_BELOW)):
            folders.sort()
            if any(map(wanted, names)):
                return Path(place)
    return root / folder


def _num_fields(path: Path) -> int | None:
    """The number of fields of the first line of ``path``.

    None if it is not a file, cannot be read, or has no first line of less than 64 kB.
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
