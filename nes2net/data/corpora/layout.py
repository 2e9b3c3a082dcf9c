"""Declare a corpus that has lists: where its files are, and what the columns of the lists mean::

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
from typing import TypeAlias

from nes2net.data.audio.files import is_recording, note_skipped_files, walk
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Corpus, Protocols, Root
from nes2net.data.corpora.trial import Trial, as_claim
from nes2net.lib.errors import InputError, at_line, check_known, join_names, refuse, short_repr
from nes2net.lib.storage.files import is_absent
from nes2net.lib.storage.text_files import read_rows


@dataclass(frozen=True)
class Columns:
    """The columns of a list: without header and separated by white space, or of a CSV file.

    A list names a recording by its id, or by its path below the folder of the audio; the id is
    then this path without suffix (:func:`~nes2net.data.corpora.protocol.id_of`).
    """

    names: str = ""
    """All columns of a list without header, separated by ``", "``; ``-`` is not read."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Field of a :class:`~nes2net.data.corpora.trial.Trial` → its column, if their names differ;
        with a header, all fields to read.
    """
    labels: Mapping[str, str | None] = field(default_factory=lambda: files.ASVSPOOF_LABELS)
    """Word of ``label`` → our label; None if the recording is not a trial."""
    otherwise: str | None = None
    """Our label for other words; None if these are errors."""
    phases: Mapping[str, str | None] = field(default_factory=dict)
    """Word of ``phase`` → our name of the phase; None if the recording is not a trial."""
    words: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict)
    """Field → word → value, if it is not the word itself; ``-`` and an empty field mean None."""
    suffix: str = ".flac"
    """Suffix of the recordings of ids."""
    file: str = ""
    """Column of paths; if empty, the column ``utterance`` has ids."""
    inner: Callable[[str], str] = str
    """Path in the list → path below the folder of the audio, or :class:`InputError`."""
    delimiter: str = ","
    """Delimiter of a list with a header (:func:`~nes2net.data.corpora.protocol.read_csv`)."""

    def __post_init__(self) -> None:
        named_columns = {"utterance", "-", self.file, *self.fields.values()}
        other_names = [name for name in filter(None, self.names.split(", ")) if name not in named_columns]
        problem = "a trial (nes2net.data.corpora.trial.Trial) has no field"
        check_known([*self.fields, *other_names], Trial.__dataclass_fields__, problem)

    def __call__(self, path: Path, phase: str | None, audio: Path | None) -> Iterator[Trial]:
        """Yield the trials of the list ``path``, with recordings below ``audio`` if it is given.

        If a column states the phase, only trials of ``phase`` (None: all) are read; otherwise, all
        trials belong to ``phase``.
        """
        header, rows = self._header_and_rows(path)
        fields = dict(self.fields)
        if self.names:
            fields = {name: name for name in header if name in Trial.__dataclass_fields__} | fields
        columns = {name: header.index(column) for name, column in fields.items()}
        file_column = header.index(self.file or "utterance")
        label_column = columns.pop("label", None)
        phase_column = columns.pop("phase", None)
        field_columns = [(name, column, _Meanings(self.words.get(name, {}))) for name, column in columns.items()]
        # Make a trial of each row. Skip rows of other phases, and recordings that are not trials.
        label = None
        row_phase = phase
        recording = None
        file: PurePath | str
        for line, row in rows:
            if phase_column is not None:
                row_phase = files.look_up_word(row[phase_column], self.phases, "phase", path, line)
                if row_phase is None or phase not in (None, row_phase):
                    continue
            if label_column is not None:
                label = self.otherwise
                if label is None or row[label_column] in self.labels:
                    label = files.look_up_word(row[label_column], self.labels, "label", path, line)
                if label is None:
                    continue
            if self.file:
                with at_line(path, line):
                    path_below = self.inner(row[file_column])
                file = files.check_path(path_below, path, line)
                id = files.id_of(file)
            else:
                id = files.check_id(row[file_column], path, line)
                file = f"{id}{self.suffix}"
            if audio is not None:
                recording = audio / file
            values = {name: meanings[row[column]] for name, column, meanings in field_columns}
            trial = Trial(id, recording, label, phase=row_phase, **values)  # type: ignore[arg-type]  # only text
            if "claim" in columns:
                with at_line(path, line):
                    trial = as_claim(trial)
            yield trial

    def _header_and_rows(self, path: Path) -> tuple[list[str], files.NumberedRows]:
        if self.names:
            header = self.names.split(", ")
            return header, read_rows(path, len(header), self.names)
        rows = files.read_csv(path, self.delimiter)
        line, header = next(rows, (1, []))
        expected = list(dict.fromkeys([self.file, *self.fields.values()]))
        if set(expected) - set(header):
            raise InputError(
                f"{path}, line {line}: expected the columns {', '.join(expected)}, found "
                f"{short_repr(self.delimiter.join(header))}; rename or add columns"
            )
        return header, rows


class _Meanings(dict[str, "str | None"]):
    """Maps each word of a list to the value of a field, None if it is empty, by default itself."""

    def __missing__(self, word: str) -> str | None:
        """Store the value: a million lines have only a few different words."""
        self[word] = files.or_none(word)
        return self[word]


_BELOW = "/**"  # a folder in Files that ends like this stands for itself and all folders below it

#: ``rows(path, phase, audio)`` yields the trials of the list ``path``, with recordings below ``audio``, or without
#: paths if it is None. They belong to ``phase`` if the list states none.
Rows: TypeAlias = Callable[[Path, str | None, Path | None], Iterable[Trial]]


@dataclass(frozen=True)
class Files:
    """Where the files of a split may be. Paths are tried in the given order."""

    protocols: Sequence[str]
    """Possible names of the protocol."""
    audio: Sequence[str]
    """Possible folders of the audio, below the root; ``FOLDER/**`` is the first with recordings,
        in or below ``FOLDER``.
    """
    folders: Sequence[str] = (".",)
    """Possible folders of the protocol, below the root or the folder of the protocols;
        ``FOLDER/**`` as for ``audio``.
    """
    remedy: str = ""
    """Advice if the audio is not found; empty for :attr:`advice`."""
    holds: Sequence[str] = (".",)
    """The folder of the audio must hold at least one of these."""
    together: bool = False
    """Whether all ``protocols`` that exist make up the split; otherwise the first."""
    unlisted: str = ""
    """Suffix of the recordings that are the trials if the list is missing, if any."""
    enrolment: Sequence[str] = ()
    """Lists of people beside the protocol, with lines ``PERSON ID,ID,…`` of FLAC files, if any."""

    @property
    def advice(self) -> str:
        """:attr:`remedy`, by default to give the folder that holds that of the audio."""
        folder = next((name for name in (*self.holds, *self.audio) if name != "."), self.protocols[0])
        return self.remedy or f"give `root` the folder that holds {folder.partition('/')[0]}"


@dataclass(frozen=True, kw_only=True)
class ListedCorpus(Corpus):
    """A corpus whose trials are listed in files."""

    parts: Mapping[str, Files]
    """Split → its files."""
    below: Sequence[str] = (".",)
    """Folders below the root in which the corpus may lie, such as ``LA`` of an official archive."""
    rows: Rows
    """:class:`Columns`, or a function."""
    key: Columns | None = None
    """Columns of the key; None if the protocols hold the labels."""
    folders_of: Callable[[str], Sequence[str]] = lambda stem: (".",)
    """Name of a list without suffix → possible folders of its recordings, below the folder of the
        audio: the first that exists, or else the last one.
    """
    files_are_trials: bool = False
    """Whether all recordings in the folder are the trials, and a list only labels them."""

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.parts)

    def trials(self, root: Root, split: str = "eval", *, protocols: Protocols = None) -> list[Trial]:
        """List the trials as ``Corpus.trials`` does; without a list, the recordings may be the trials.

        If there is no list but ``Files.unlisted``, or ``files_are_trials`` is true, all recordings
        with that suffix are the trials, sorted by name. Only listed trials have labels.

        Raises:
            NotFound: if there is no list, although a list is needed. A list is also needed if
                ``files_are_trials`` is true and ``protocols`` is given.
            InputError: if there are no recordings with the suffix.
        """
        split = self.resolve_split(split)
        split_files = self.parts[split]
        suffix = split_files.unlisted
        listed: list[Trial] = []
        try:
            listed = super().trials(root, split, protocols=protocols)
        except files.NotFound:
            if not suffix or (self.files_are_trials and protocols is not None):
                raise
        if listed and not (suffix and self.files_are_trials):
            return listed
        # Every recording is a trial, but not ._1.wav, in which a Mac's archives hold the attributes of 1.wav.
        labelled = {trial.path: trial for trial in listed}
        audio = self.find_audio(files.corpus_root(self.place(root)), split)
        all_names = os.listdir(audio)
        names = sorted(name for name in all_names if name.lower().endswith(suffix) and name[0] != ".")
        if not names:
            raise InputError(f"{audio}: holds no {suffix} files; {split_files.advice}, or unpack the archive there")
        note_skipped_files(audio, sorted(set(all_names).difference(names)), suffix)
        phase = None if self.files_are_trials else split
        trials = []
        for name in names:
            recording = audio / name
            unlisted = Trial(files.id_of(PurePath(name)), recording, phase=phase)
            trials.append(labelled.get(recording, unlisted))
        return files.check_trials(trials, audio)

    def read_keys(self, path: Root, phase: str | None = None) -> list[Trial]:
        path = self.place(path)
        if phase is not None:
            phase = files.canonical_phase(phase)
            self.check_known_phase(phase)
        if self.key is not None:
            path = self.find_key(path)
            return files.select_phase(files.check_trials(self.key(path, None, None), path), phase)
        if path.is_file():
            splits = [split for split, split_files in self.parts.items() if path.name in split_files.protocols]
            # A protocol of a single split belongs to it. One of several states the split of each trial.
            split = phase if phase in splits else None
            if len(splits) == 1:
                split = splits[0]
            return files.select_phase(self.read_protocol(path, split), phase)
        if phase is not None:
            return self.read_protocol(self.find_protocol(path, phase), phase)
        trials = []
        failures = []
        for split in self.parts:
            try:
                trials += self.read_protocol(self.find_protocol(path, split), split)
            except files.NotFound as error:
                failures.append(error)
        if not trials:
            raise failures[-1]
        if self.parts_overlap:
            trials = list({trial.id: trial for trial in trials}.values())
        return files.check_trials(trials, path)

    def holds_only_labels(self, path: Path) -> bool:
        """Whether ``path`` is a file that is not called like a key or protocol of this corpus."""
        protocols = {Path(name).name for split_files in self.parts.values() for name in split_files.protocols}
        return path.name not in protocols and super().holds_only_labels(path)

    def find_protocol(self, root: Root, split: str = "eval", protocols: Protocols = None) -> Path:
        """Find the file as ``Corpus.find_protocol`` does, or the folder of several lists."""
        split = self.resolve_split(split)
        split_files = self.parts[split]
        roots = [self.place(root)]
        if protocols is not None:
            protocols = Path(protocols)
            if protocols.is_file():
                return protocols
            roots.insert(0, protocols)
        is_protocol = split_files.protocols.__contains__
        places = product(roots, self.below, split_files.folders)
        folders = [_find_folder(base / below, folder, is_protocol) for base, below, folder in places]
        protocol = files.first_file(
            [folder / name for folder, name in product(folders, split_files.protocols)],
            what=f"protocol of {self.title} {split}",
            remedy=f"give `protocols` the folder that holds {split_files.protocols[0]}",
        )
        return protocol.parent if split_files.together else protocol

    def find_audio(self, root: Root, split: str = "eval") -> Path:
        """Find the first folder of ``Files.audio`` that exists."""
        split = self.resolve_split(split)
        split_files = self.parts[split]
        audio_of: dict[Path, Path] = {}  # subfolder to look for (``holds``) → folder of the audio that contains it
        for below, folder in product(self.below, split_files.audio):
            audio = _find_folder(self.place(root) / below, folder, is_recording)
            for subfolder in split_files.holds:
                audio_of[audio / subfolder] = audio
        subfolder_path = files.first_file(
            audio_of,
            what=f"audio of {self.title} {split}",
            remedy=split_files.advice,
            exists=Path.is_dir,
        )
        return audio_of[subfolder_path]

    def enrolment(self, root: Root, split: str = "eval", *, protocols: Protocols = None) -> dict[str, list[Path]]:
        """Read ``Files.enrolment``, by default as ``Corpus.enrolment`` does.

        Raises:
            InputError: also if a claimed person is in no list, or a recording enrols a person and is
                claimed to be of this person.
        """
        split = self.resolve_split(split)
        if not self.parts[split].enrolment:
            return super().enrolment(root, split, protocols=protocols)
        folder = self.find_protocol(root, split, protocols).parent
        audio = self.find_audio(root, split)
        people: dict[str, list[Path]] = {}
        for name in self.parts[split].enrolment:
            for line, (person, ids) in read_rows(folder / name, 2, "person, utterances"):
                recordings = people.setdefault(person, [])
                recordings += [audio / f"{files.check_id(id, folder / name, line)}.flac" for id in ids.split(",")]
        trials = self.trials(root, split, protocols=protocols)
        unknown = {str(trial.speaker) for trial in trials} - people.keys()
        repeated = [trial.id for trial in trials if trial.path in people.get(str(trial.speaker), ())]
        lists = f"{folder}: {', '.join(self.parts[split].enrolment)}"
        refuse(
            (
                unknown,
                f"{lists}: do not enrol {join_names(sorted(unknown))}, who are claimed: use lists of one edition",
            ),
            (repeated, f"{lists}: enrol with recordings of the trials {join_names(repeated)}: remove these trials"),
        )
        return people

    def read_protocol(self, path: Path, split: str | None = None, audio: Path | None = None) -> list[Trial]:
        """Read trials as ``Corpus.read_protocol`` does, also from a folder of several lists.

        Then the lists of ``split`` are read, or of all splits if it is None.
        """
        phase = None
        # No phase if the labels come from a key, or if every file is a trial and the list only labels.
        if split is not None and self.key is None and not self.files_are_trials:
            phase = files.canonical_phase(split)
        lists = [path]
        if path.is_dir():
            lists = self._lists_in(path, phase) or lists
        trials: list[Iterable[Trial]] = []
        for file in lists:
            list_audio = None if audio is None else self._audio_of_list(file, audio)
            trials.append(self.rows(file, phase, list_audio))
        return files.check_trials(chain.from_iterable(trials), path)

    def _lists_in(self, folder: Path, phase: str | None) -> list[Path]:
        """Find the lists of ``phase``, or of all splits with ``Files.together``."""
        splits: Iterable[str] = [phase] if phase is not None and phase in self.parts else self.parts
        lists = []
        for split in splits:
            if self.parts[split].together:
                paths = [folder / name for name in self.parts[split].protocols]
                lists += [path for path in paths if not is_absent(path)]
        return lists

    def _audio_of_list(self, file: Path, audio: Path) -> Path:
        """Return the first of :attr:`folders_of` that exists, or else the last."""
        folders = [audio / folder for folder in self.folders_of(file.stem)]
        return next(filter(Path.is_dir, folders), folders[-1])


def _find_folder(root: Path, folder: str, is_sought: Callable[[str], bool]) -> Path:
    """For ``FOLDER/**``, find the folder, in or below ``FOLDER``, of a file that ``is_sought``."""
    if folder.endswith(_BELOW):
        for path, _, names in walk(root / folder.removesuffix(_BELOW)):
            if any(map(is_sought, names)):
                return Path(path)
    return root / folder
