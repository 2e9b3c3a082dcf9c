"""Declarations of corpora without lists, whose folders stand for protocol and key::

    CORPUS = FolderCorpus(
        title="Mine",
        places=(Place("{phase}/real/*", BONAFIDE), Place("{phase}/{attack}/*", SPOOF)),
        split_folders={"train": "train", "test": "eval"},
        remedy="give `root` the folder that holds train and test",
    )

An id is the path below the folder of the corpus without suffix; recordings that differ only in
their suffix keep it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from nes2net.data.audio.files import is_recording
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Corpus
from nes2net.data.corpora.id_tables import read_labels
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError


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
        """The trials without audio of ``phase`` (None: all), from the folders of the audio or a file of labels alone."""
        phase = None if phase is None else files.known_split(phase, self.splits, self.title)
        place = self.place(path)
        if place.is_file():  # labels alone
            return files.checked_trials(read_labels(place, files.ASVSPOOF_LABELS), place)
        return self.read_protocol(self.find_protocol(path, phase or "eval"), phase)

    def find_protocol(self, root: str | Path | None, split: str = "eval", protocols: str | Path | None = None) -> Path:
        """The folder in which the patterns begin, or :class:`~nes2net.data.corpora.protocol.NotFound`."""
        split = files.known_split(split, self.splits, self.title)
        root = self.place(root if protocols is None else protocols)
        tried = [root / inner for inner in self.roots]
        first = [self._expression(place.levels[0]) for place in self.places if len(place.levels) > 1]
        found = [
            folder
            for folder in tried
            if folder.is_dir()
            and any(entry.is_dir() and any(level.fullmatch(entry.name) for level in first) for entry in _listed(folder))
        ]
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
            for name, values in _matches(path, [self._expression(level) for level in place.levels], wanted, {}):
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
        match = first.fullmatch(entry.name if further else os.path.splitext(entry.name)[0])
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
