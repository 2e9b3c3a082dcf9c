"""Read the labels of a phase of a corpus for an evaluation, and omit the trials that do not count."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nes2net.data.corpora.corpus import Corpus, Excluded, key_digest
from nes2net.data.corpora.protocol import canonical_phase, select_phase
from nes2net.data.corpora.trial import Trial, extra_fields
from nes2net.data.registry import corpora
from nes2net.evaluation.matching import Matched, match_file
from nes2net.evaluation.trial_table import TrialTable
from nes2net.lib.errors import InputError, check_known
from nes2net.lib.storage.files import AnyPath
from nes2net.lib.storage.text_files import reading_once
from nes2net.scoring.judgement import ScoreFile

# Fields of a trial by which none can be excluded: most of them identify a single trial.
_NOT_EXCLUDED_BY = ("id", "path", "phase", "extra", "system_scores", "part")
# A note names at most this many differences from the official trials.
_MAX_DIFFERENCES = 5


class MatchedPhase(NamedTuple):
    """The scored trials of a phase, with and without the excluded trials."""

    matched: Matched
    complete: Matched
    """All scored trials, including the excluded ones."""


@dataclass(frozen=True)
class Key:
    """The labels of a phase of a corpus.

    - ``path`` is the file or folder of the labels, as the user gave it.
    - ``phase`` is the evaluated part; ``trials`` are those of all parts.
    - ``excluded``: field → values of trials that are omitted, but still need scores; empty if the
      phase has no such trial.
    - ``digests``: file that was read → SHA-256.
    """

    corpus: str
    path: Path
    phase: str
    trials: TrialTable
    excluded: Excluded
    digests: Mapping[Path, str]

    @property
    def definition(self) -> Corpus:
        return corpora.get(self.corpus)

    @property
    def title(self) -> str:
        return f"{self.definition.title}, {canonical_phase(self.phase)}"

    def notes(self, further: Iterable[str] = ()) -> list[str]:
        """Note how the trials differ from the official trials, if known; then the notes of ``further``, each once."""
        notes = list(further)
        if self.unofficial:
            differences = "; ".join(self.unofficial[:_MAX_DIFFERENCES])
            num_more = len(self.unofficial) - _MAX_DIFFERENCES
            if num_more > 0:
                differences += f"; and {num_more} more differences"
            notes.insert(
                0,
                f"not the official trials of {self.title}: {differences}. These figures cannot be compared with "
                "published ones",
            )
        return list(dict.fromkeys(filter(None, notes)))

    @functools.cached_property
    def evaluated_trials(self) -> TrialTable:
        """The trials of the phase that are not excluded.

        Raises:
            InputError: if there is none of this phase.
        """
        is_evaluated = self.trials.is_in_phase(self.phase)
        if self.excluded:
            is_evaluated &= np.array([self._keeps(trial) for trial in self.trials], dtype=bool)
        return self.trials.take(np.flatnonzero(is_evaluated))

    @property
    def only_label(self) -> str | None:
        """The label of all :attr:`evaluated_trials`; None if both labels occur."""
        numbers, labels = self.evaluated_trials.column("label")
        label_numbers = np.unique(numbers[numbers >= 0])
        return labels[label_numbers[0]] if len(label_numbers) == 1 else None

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of all trials of the key with their labels."""
        return key_digest(self.trials)

    @functools.cached_property
    def unofficial(self) -> list[str] | None:
        """Differences from the official trials in words; None if not known."""
        return self.definition.differences_from_official(select_phase(self.trials, self.phase), self.phase)

    def match(self, scores: ScoreFile, *, allow_partial: bool = False) -> MatchedPhase:
        """Match the phase with ``scores``, then omit the excluded trials.

        Raises:
            InputError: as :func:`~nes2net.evaluation.matching.match_file`, or if no trial is left.
        """
        complete = match_file(self.trials, scores, self.phase, allow_partial=allow_partial)
        if not self.excluded:
            return MatchedPhase(matched=complete, complete=complete)
        if not self.evaluated_trials:
            raise InputError(f"without {describe_excluded(self.excluded)}, no trials are left: `exclude` fewer")
        matched = complete.where(self._keeps, self.trials, len(self.evaluated_trials))
        return MatchedPhase(matched, complete)

    def input(self, kind: str = "key") -> dict[str, str]:
        """Describe the file of the phase's labels for the list of inputs; ``kind`` is its name there."""
        path = self.path
        if path not in self.digests and not path.is_file():
            # Labels are in a key, in the protocol, or in the names of folders.
            definition = self.definition
            path = definition.find_key(path) if definition.key_files else definition.find_protocol(path, self.phase)
        entry = {"kind": kind, "path": str(path)}
        if path in self.digests:
            entry["sha256"] = self.digests[path]
        return entry | {"trials_sha256": self.digest}

    def _keeps(self, trial: Trial) -> bool:
        return not any(trial.get(name) in values for name, values in self.excluded.items())


def score_input(path: Path, sha256: str, kind: str = "scores") -> dict[str, str]:
    """Describe a file of ``kind`` for ``inputs`` in a result's header."""
    return {"kind": kind, "path": str(path), "sha256": sha256}


def describe_excluded(excluded: Excluded) -> str:
    """Say which trials are omitted.

    >>> describe_excluded({"attack": ["A14"], "source": ["acesinger"]})
    'attack A14, source acesinger'
    """
    return ", ".join(f"{name} {' '.join(values)}" for name, values in excluded.items())


@dataclass(frozen=True)
class Labels:
    """Where the labels of an evaluation are: corpus, files and phase."""

    corpus: str
    keys: AnyPath = "."
    """Folder or file, as ``keys`` of the corpus accepts it."""
    phase: str = "dev"

    def read(self, excluded: Excluded | None = None) -> Key:
        """Read the labels.

        Args:
            excluded: Field → values of trials to omit. None omits what the published figures omit.

        Raises:
            InputError: if a file is missing or malformed, the phase is unknown, or an excluded
                field or value does not occur.
        """
        definition = corpora.get(self.corpus)
        with reading_once() as texts:
            trials = definition.keys(self.keys, self.phase if definition.parts_overlap else None)
        definition.check_phase(self.phase, trials)
        table = TrialTable(trials)
        if excluded is None:
            excluded = definition.excluded
        else:
            names = [field.name for field in fields(Trial) if field.name not in _NOT_EXCLUDED_BY]
            check_known(excluded, [*names, *extra_fields(trials)], "`exclude`: trials have no field")
            for name, values in excluded.items():
                check_known(values, table.column(name).values, f"`exclude`: no trial of the key has {name}")
        key = Key(self.corpus, Path(self.keys), self.phase, table, excluded, texts.digests)
        # No trial of the phase is excluded: pages and notes then mention no exclusion.
        if excluded and len(key.evaluated_trials) == key.trials.is_in_phase(self.phase).sum():
            return replace(key, excluded={})
        return key
