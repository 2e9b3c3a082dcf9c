"""Declarations of corpora: where the files lie, what the rows of lists or the names of folders mean, and the facts.

With lists::

    CORPUS = ListedCorpus(
        title="Mine",
        rows=Columns("utterance, label"),
        parts={"eval": Files(["list.txt"], ["audio"])},
    )

Without lists, the folders themselves stand for protocol and key::

    CORPUS = FolderCorpus(
        title="Mine",
        places=(Place("{phase}/real/*", BONAFIDE), Place("{phase}/{attack}/*", SPOOF)),
        split_folders={"train": "train", "test": "eval"},
        remedy="give `root` the folder that holds train and test",
    )

An id is then the path below the folder of the corpus without suffix; recordings that differ only in
their suffix keep it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeAlias

from nes2net.audio.files import is_recording
from nes2net.corpora import protocol as files
from nes2net.corpora.corpus import Corpus
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError, check_known, shown
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
    check_known(names, [*besides, *Trial.__dataclass_fields__], "a trial (nes2net.corpora.trial.Trial) has no field")


@dataclass(frozen=True)
class Table:
    """The columns of a list that names recordings by their paths below the folder of the audio.

    An id is such a path without suffix (:func:`~nes2net.corpora.protocol.id_of`).
    """

    file: str
    """The column of the paths."""
    fields: Mapping[str, str]
    """Field of :class:`~nes2net.corpora.trial.Trial` → column; ``phase`` only if a column tells it."""
    labels: Mapping[str, str | None] = field(default_factory=lambda: files.ASVSPOOF_LABELS)
    """Word in the column of the label → our label; None: the recording is no trial."""
    otherwise: str | None = None
    """Our label for any other word; None if another word is an error."""
    phases: Mapping[str, str | None] = field(default_factory=dict)
    """Word in the column of the phase → our phase; None: the recording is no trial."""
    words: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """Field → word → its value, if it is not the word itself; ``-`` and nothing are None."""
    delimiter: str = ","
    """What separates the fields of a list with a header (:func:`~nes2net.corpora.protocol.read_csv`)."""
    names: str = ""
    """The columns of a list without header, separated by ``, ``; white space separates its fields."""
    inner: Callable[[str], str] = str
    """Content of the column of the paths → the path below the folder of the audio, or InputError."""

    def __post_init__(self) -> None:
        _check_fields(self.fields)

    def __call__(self, path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
        """The trials of ``path``; if a column states the phase, only the trials of ``phase`` (None: all)."""
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
        unlabelled = (Trial(files.id_of(PurePath(name)), audio / name, phase=phase) for name in names)
        return [labelled.get(trial.path, trial) for trial in unlabelled]

    def keys(self, path: str | Path | None, phase: str | None = None) -> list[Trial]:
        """As for every corpus; a file of another name may hold labels alone.

        Its lines are ``utterance label``. It names no phases, so its trials belong to each.
        """
        path, phase = self.place(path), None if phase is None else files.canonical_phase(phase)
        self.check_known_phase(phase)
        official = [Path(name).name for part in self.parts.values() for name in (*self.key_files, *part.protocols)]
        own = self.key or self.rows
        if isinstance(own, Columns) and path.name not in official and _num_fields(path) == 2:
            labels_alone = Columns("utterance, label", labels=own.labels)
            return files.checked_trials(labels_alone(path, None, None), path)
        if self.key is not None:
            path = self.find_key(path)
            return files.select_phase(files.checked_trials(self.key(path, None, None), path), phase)
        if path.is_file():
            splits = [split for split, part in self.parts.items() if path.name in part.protocols]
            # A list of several splits states the split of each trial.
            split = splits[0] if len(splits) == 1 else phase if phase in splits else None
            return files.select_phase(self.read_protocol(path, split), phase)
        if phase is not None:
            return self.read_protocol(self.find_protocol(path, phase), phase)
        found, missing = [], []
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
        for place, folders, names in os.walk(root / folder.removesuffix(_BELOW)):
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


@dataclass(frozen=True)
class Place:
    """Where recordings lie that share a pattern of folders and names."""

    pattern: str
    """Path from the folder of the corpus: ``{name}`` is a field of the trial, or part of one level,
    ``*`` is anything within a level. The last level is the file's name without suffix."""
    label: str | None = None
    """Their label; None if ``{label}`` is in the pattern."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Further fields of their trials."""

    @property
    def levels(self) -> list[str]:
        """The pattern's folders and, last, the file."""
        return self.pattern.split("/")


@dataclass(frozen=True, kw_only=True)
class FolderCorpus(Corpus):
    """A corpus whose trials are the recordings in its folders."""

    places: Sequence[Place]
    """Where recordings are; if several places fit a recording, the first counts."""
    split_folders: Mapping[str, str] = field(default_factory=dict)
    """Name of a folder at ``{phase}`` → split. Empty: all recordings are of the split ``eval``."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Name of a folder at ``{label}`` → our label."""
    roots: Sequence[str] = (".",)
    """Folders below the given one in which the patterns may begin; only one of them may be there."""
    remedy: str
    """What to give as ``root``."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that folders name."""
        return tuple(split for split in ("train", "dev", "eval") if split in self.split_folders.values()) or ("eval",)

    def trials(
        self, root: str | Path | None, split: str = "eval", *, protocols: str | Path | None = None
    ) -> list[Trial]:
        """The trials of ``split``, sorted by path, with label and path of audio.

        ``protocols`` takes the place of ``root`` if given: folders are protocol and audio in one.
        """
        split = files.known_split(split, self.splits, self.title)
        files.corpus_root(self.place(root))
        folder = self.find_protocol(root, split, protocols)
        return self.read_protocol(folder, split, folder)

    def keys(self, path: str | Path | None, phase: str | None = None) -> list[Trial]:
        """The trials without audio of ``phase`` (None: all), from the folders of the audio."""
        phase = None if phase is None else files.known_split(phase, self.splits, self.title)
        return self.read_protocol(self.find_protocol(path, phase or "eval"), phase)

    def find_protocol(self, root: str | Path | None, split: str = "eval", protocols: str | Path | None = None) -> Path:
        """The folder in which the patterns begin, or :class:`~nes2net.corpora.protocol.NotFound`."""
        split = files.known_split(split, self.splits, self.title)
        root = self.place(root if protocols is None else protocols)
        tried = [root / inner for inner in self.roots]
        found = [folder for folder in tried if self._begins(folder)]
        if len(found) > 1:
            raise InputError(f"{root}: holds several editions of {self.title}; {self.remedy}, such as {found[0]}")
        if not found:
            begin = ", ".join(dict.fromkeys(place.levels[0] for place in self.places))
            raise files.NotFound(
                f"audio of {self.title} not found; looked for {begin} in {', '.join(map(str, tried))}; {self.remedy}",
                tried,
            )
        return found[0]

    def find_audio(self, root: str | Path | None, split: str = "eval") -> Path:
        """As :meth:`find_protocol`."""
        return self.find_protocol(root, split)

    def read_protocol(self, path: Path, split: str | None = None, audio: Path | None = None) -> list[Trial]:
        """The trials of the recordings below ``path`` of ``split`` (None: all)."""
        found: dict[str, tuple[Place, dict[str, str]]] = {}
        wanted = frozenset(word for word, phase in self.split_folders.items() if split in (None, phase))
        for place in self.places:
            levels = [self._expression(level) for level in place.levels]
            for name, values in _matches(path, levels, wanted, {}):
                found.setdefault(name, (place, values))
        if not found:
            patterns = ", ".join(place.pattern for place in self.places)
            raise InputError(f"{path}: holds no recordings of {self.title} {split or ''} ({patterns}); {self.remedy}")
        ids = {name: files.id_of(PurePosixPath(name)) for name in found}
        shared = {id for id, number in Counter(ids.values()).items() if number > 1}
        trials = []
        for name, (place, values) in sorted(found.items()):
            values = {**place.values, **values}
            label = self.labels[values.pop("label")] if "label" in values else place.label
            phase = self.split_folders[values.pop("phase")] if "phase" in values else "eval"
            id = "%20".join(name.split()) if ids[name] in shared else ids[name]
            further: dict[str, Any] = values
            trials.append(Trial(id, None if audio is None else audio / name, label, phase=phase, **further))
        return files.checked_trials(trials, path)

    def _begins(self, folder: Path) -> bool:
        first = [self._expression(place.levels[0]) for place in self.places if len(place.levels) > 1]
        if not folder.is_dir():
            return False
        return any(entry.is_dir() and any(level.fullmatch(entry.name) for level in first) for entry in _listed(folder))

    def _expression(self, level: str) -> re.Pattern[str]:
        words = {"phase": self.split_folders, "label": self.labels}
        pattern = ""
        for part in re.split(r"(\{\w+\}|\*)", level):
            name = part.strip("{}")
            if part == "*":
                pattern += ".*"
            elif part.startswith("{"):
                pattern += f"(?P<{name}>{'|'.join(map(re.escape, words[name])) if name in words else '.+?'})"
            else:
                pattern += re.escape(part)
        return re.compile(pattern, re.DOTALL)


def _matches(
    folder: Path, levels: Sequence[re.Pattern[str]], phases: frozenset[str], values: dict[str, str], below: str = ""
) -> Iterator[tuple[str, dict[str, str]]]:
    """Path below the first folder and fields of each recording that ``levels`` fit."""
    first, *further = levels
    for entry in _listed(folder):
        name = entry.name if further else os.path.splitext(entry.name)[0]
        match = first.fullmatch(name)
        if not match or match.groupdict().get("phase") not in {None, *phases}:
            continue
        found = values | match.groupdict()
        if further and entry.is_dir():
            yield from _matches(folder / entry.name, further, phases, found, f"{below}{entry.name}/")
        elif not further and is_recording(entry.name):
            yield f"{below}{entry.name}", found


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InputError(f"folder {folder} cannot be listed ({error.strerror})") from error
