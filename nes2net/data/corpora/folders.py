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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nes2net.data.audio.files import is_recording, note_skipped_files, walk
from nes2net.data.corpora import protocol as files
from nes2net.data.corpora.corpus import Corpus
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import AnyPath


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

    def read_keys(self, path: AnyPath | None, phase: str | None = None) -> list[Trial]:
        """Read the labels of the trials in the folder ``path``, as ``Corpus.read_keys`` does."""
        if phase is not None:
            phase = self.resolve_split(phase)
        # One folder holds all splits, so any split finds it.
        return self.read_protocol(self.find_protocol(path, phase or "eval"), phase)

    def holds_only_labels(self, path: Path) -> bool:
        """Whether ``path`` is a file: a corpus of folders has no other files."""
        return path.is_file()

    def find_protocol(self, root: AnyPath | None, split: str = "eval", protocols: AnyPath | None = None) -> Path:
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
        first_levels = [place.levels[0] for place in self.places if len(place.levels) > 1]
        expressions = [_expression(level, self.split_folders) for level in first_levels]
        _, subfolders, _ = next(walk(folder))
        for name in subfolders:
            if any(expression.fullmatch(name) for expression in expressions):
                return True
        return False

    def find_audio(self, root: AnyPath | None, split: str = "eval") -> Path:
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
        phases = [word for word, phase in self.split_folders.items() if split in (None, phase)]
        expressions = [(place, _expression(place.pattern, phases)) for place in self.places]
        for folder, _, names in walk(path):
            below = Path(folder).relative_to(path)
            for name in sorted(names):
                file = (below / name).as_posix()
                for place, expression in expressions:
                    match = expression.fullmatch(os.path.splitext(file)[0])
                    if match is None:
                        continue
                    if is_recording(name):
                        recordings[file] = (place, match.groupdict())
                    else:
                        unread_names.append(file)
                    break
        note_skipped_files(path, unread_names)
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
            recording = audio and audio / name
            trials.append(Trial(id, recording, place.label, phase=phase, **fields))  # type: ignore[arg-type]  # only text
        return files.check_trials(trials, path)


def _expression(pattern: str, phases: Iterable[str]) -> re.Pattern[str]:
    """Make a regular expression for paths without suffix, or for a level of them; one of ``phases`` is ``{phase}``."""
    expression = ""
    for token in re.split(r"(\{\w+\}|\*)", pattern):
        if token == "*":
            expression += "[^/]*"
        elif token == "{phase}":
            expression += f"(?P<phase>{'|'.join(map(re.escape, phases))})"
        elif token.startswith("{"):
            expression += f"(?P<{token[1:-1]}>[^/]+?)"
        else:
            expression += re.escape(token)
    return re.compile(expression)
