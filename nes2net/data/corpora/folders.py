"""Declare a corpus without lists, whose folders state the labels and other fields of the trials::

    CORPUS = FolderCorpus(
        title="Mine",
        places=(Place("{phase}/real/*", BONAFIDE), Place("{phase}/{attack}/*", SPOOF)),
        split_folders={"train": "train", "test": "eval"},
        remedy="give `root` the folder that holds train and test",
    )

The id of a trial is the path of its recording below the folder of the corpus, without suffix. If
recordings differ only in the suffix, their ids keep the suffix.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nes2net.data.audio.files import is_recording, note_skipped_files
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Corpus, Protocols, Root
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError, as_input_error


@dataclass(frozen=True)
class Place:
    """A pattern of the paths of recordings, and fields of their trials."""

    pattern: str
    """Pattern of paths below the corpus's folder: ``{name}`` matches a field's value, ``*`` all
        else, neither a ``/``. The last level is the file's name without suffix.
    """
    label: str
    values: Mapping[str, str] = field(default_factory=dict)
    """Further fields of the trials."""

    @property
    def levels(self) -> list[str]:
        """The folders, then the name of the file."""
        return self.pattern.split("/")


@dataclass(frozen=True, kw_only=True)
class FolderCorpus(Corpus):
    """A corpus whose trials are the recordings in its folders."""

    places: Sequence[Place]
    """The first pattern that matches a recording decides."""
    split_folders: Mapping[str, str] = field(default_factory=dict)
    """Folder at ``{phase}`` in a pattern → split. If empty, all belongs to ``eval``."""
    roots: Sequence[str] = (".",)
    """Folders below the corpus's folder in which the patterns may begin; only one may match."""
    remedy: str
    """Advice in error messages: which folder to give as ``root``."""

    @property
    def splits(self) -> tuple[str, ...]:
        split_names = self.split_folders.values()
        return tuple(split for split in ("train", "dev", "eval") if split in split_names) or ("eval",)

    def read_keys(self, path: Root, phase: str | None = None) -> list[Trial]:
        """Read the labels of the trials in the folder ``path``, as ``Corpus.read_keys`` does."""
        if phase is not None:
            phase = self.resolve_split(phase)
        # One folder holds all splits, so any split finds it.
        return self.read_protocol(self.find_protocol(path, phase or "eval"), phase)

    def holds_only_labels(self, path: Path) -> bool:
        """Whether ``path`` is a file: a corpus of folders has no other files."""
        return path.is_file()

    def find_protocol(self, root: Root, split: str = "eval", protocols: Protocols = None) -> Path:
        """Find the folder, among :attr:`roots`, in which the patterns of paths begin.

        Raises:
            NotFound: if there is no such folder.
            InputError: if there are several such folders.
        """
        split = self.resolve_split(split)
        root = self.place(root if protocols is None else protocols)
        candidates = [root / folder for folder in self.roots]
        editions = [folder for folder in candidates if folder.is_dir() and self._patterns_begin_in(folder)]
        if len(editions) > 1:
            raise InputError(f"{root}: holds several editions of {self.title}; {self.remedy}, such as {editions[0]}")
        if not editions:
            first_levels = ", ".join(dict.fromkeys(place.levels[0] for place in self.places))
            tried = ", ".join(map(str, candidates))
            raise files.NotFound(
                f"audio of {self.title} not found; looked for {first_levels} in {tried}; {self.remedy}", candidates
            )
        return editions[0]

    def _patterns_begin_in(self, folder: Path) -> bool:
        first_levels = [self._level_expression(place.levels[0]) for place in self.places if len(place.levels) > 1]
        for entry in _folder_entries(folder):
            if entry.is_dir() and any(level.fullmatch(entry.name) for level in first_levels):
                return True
        return False

    def find_audio(self, root: Root, split: str = "eval") -> Path:
        # The folders of the recordings are also their labels.
        """Return the result of :meth:`find_protocol`."""
        return self.find_protocol(root, split)

    def read_protocol(self, path: Path, split: str | None = None, audio: Path | None = None) -> list[Trial]:
        """List the trials of ``split`` (None: all) below ``path``.

        Paths begin with ``audio``; a trial has no path if it is None.

        Raises:
            InputError: if there are no such recordings, or if two recordings get the same id.
        """
        recordings: dict[str, tuple[Place, dict[str, str]]] = {}
        unread_names: list[str] = []
        for place in self.places:
            levels = [self._level_expression(level, split) for level in place.levels]
            for name, values in _matching_files(path, levels, {}):
                if is_recording(os.path.basename(name)):
                    recordings.setdefault(name, (place, values))
                else:
                    unread_names.append(name)
        note_skipped_files(path, sorted(set(unread_names)))
        if not recordings:
            patterns = ", ".join(place.pattern for place in self.places)
            raise InputError(f"{path}: holds no recordings of {self.title} {split or ''} ({patterns}); {self.remedy}")
        ids = {name: files.id_of(PurePosixPath(name)) for name in recordings}
        numbers = Counter(ids.values())
        trials = []
        for name, (place, values) in sorted(recordings.items()):
            fields = {**place.values, **values}
            phase = self.split_folders[fields.pop("phase")] if "phase" in fields else "eval"
            id = ids[name]
            if numbers[id] > 1:  # other recordings have the same path without suffix
                id = "%20".join(name.split())
            recording = audio / name if audio is not None else None
            trials.append(Trial(id, recording, place.label, phase=phase, **fields))  # type: ignore[arg-type]  # only text
        return files.check_trials(trials, path)

    def _level_expression(self, level: str, split: str | None = None) -> re.Pattern[str]:
        # Matches the names in a folder that fit a level of a pattern, ``{phase}`` only those of ``split`` (None: all).
        phases = [re.escape(folder) for folder, name in self.split_folders.items() if split in (None, name)]
        expression = re.escape(level).replace(r"\*", ".*")
        expression = expression.replace(r"\{phase\}", f"(?P<phase>{'|'.join(phases)})")
        expression = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", expression)
        return re.compile(expression, re.DOTALL)


def _matching_files(
    folder: Path, levels: Sequence[re.Pattern[str]], values: dict[str, str], below: str = ""
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (path, fields) of each file that matches; recursive.

    Args:
        levels: a regular expression for the names in ``folder``, and one for each level below.
        values: the fields that the folders above state.
        below: path of ``folder`` below the outermost one, with ``/`` at the end, or empty.
    """
    first, *lower_levels = levels
    for entry in _folder_entries(folder):
        name = entry.name
        if not lower_levels:
            name = os.path.splitext(name)[0]
        match = first.fullmatch(name)
        if match is None:
            continue
        fields = values | match.groupdict()
        path = f"{below}{entry.name}"
        if not lower_levels:
            if not entry.is_dir():
                yield path, fields
        elif entry.is_dir():
            yield from _matching_files(folder / entry.name, lower_levels, fields, f"{path}/")


def _folder_entries(folder: Path) -> list[os.DirEntry[str]]:
    with as_input_error(f"folder {folder} cannot be listed", OSError):
        with os.scandir(folder) as entries:
            return list(entries)
