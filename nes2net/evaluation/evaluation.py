"""What all kinds of evaluation share."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from itertools import chain
from typing import ClassVar, Generic, TypeVar

from nes2net.data.corpora.protocol import canonical_phase
from nes2net.evaluation.breakdown import note_on_empty
from nes2net.evaluation.key import Key, Labels, score_input
from nes2net.evaluation.matching import system_names
from nes2net.evaluation.origin import read_origin
from nes2net.evaluation.result import Result, versions
from nes2net.lib.errors import InputError
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics.intervals import Resampling
from nes2net.scoring.judgement import ScoreFile

#: What is read of one file, different for each kind of evaluation.
S = TypeVar("S")


@dataclass
class Evaluation(Generic[S]):
    """An evaluation of systems on the same trials; a subclass evaluates one kind of files.

    Args:
        files: a file for each system.
        allow_partial: as in :func:`~nes2net.evaluation.matching.match`.
        names: by default, a file's name without suffix, or its path if two share a name.
        metrics: figures that take long and are computed only by name.
        num_resamples, seed: number and seed of the bootstrap draws.

    Raises:
        InputError: if there is no file, or a file is named twice.
    """

    labels: Labels
    files: Sequence[AnyPath | ScoreFile]
    _: KW_ONLY
    allow_partial: bool = False
    names: Sequence[str] = ()
    metrics: Collection[str] = ()
    num_resamples: int = 1000
    seed: int = 0

    #: What the files are called in the list of inputs.
    kind: ClassVar[str] = "scores"

    def __post_init__(self) -> None:
        self.further_inputs: list[dict[str, str]] = []  # of files that are read beside `files`
        self.score_files = list(map(ScoreFile.of, self.files))
        if not self.score_files:
            raise InputError("there is no score file to evaluate: name at least one")
        for real_path, count in Counter(os.path.realpath(file.path) for file in self.score_files).items():
            if count > 1:
                raise InputError(f"score file {real_path} is named more than once: name each system's file only once")

    @cached_property
    def key(self) -> Key:
        return self.labels.read()

    @property
    def part(self) -> str:
        return f"{self.key.corpus}, phase {canonical_phase(self.key.phase)}"

    @property
    def draws(self) -> Resampling:
        return {"num_resamples": self.num_resamples, "seed": self.seed}

    def run(self) -> Result:
        """Evaluate the files.

        Raises:
            InputError: if files and labels cannot be read or do not fit, or a setting does not apply.
        """
        names = system_names([file.path for file in self.score_files], self.names)
        result = self.report(self.read_all(names))
        inputs = [score_input(file.path, file.sha256, self.kind) for file in self.score_files]
        origins = [read_origin(file, self.key.corpus, self.key.phase) for file in self.score_files]
        # Users' programs read these keys.
        header = {
            "corpus": self.key.corpus,
            "phase": canonical_phase(self.key.phase),
            "num_resamples": self.num_resamples,
            "inputs": [*inputs, *self.further_inputs, self.key.input()],
            "versions": versions(),
            "differences_from_official_trials": self.key.unofficial,
            **result.header,
            "sources": {name: origin.facts for name, origin in zip(names, origins)},
        }
        uses = chain.from_iterable(origin.uses for origin in origins)
        return replace(
            result,
            title=self.key.title + result.title,
            header=header,
            notes=self.key.notes([*result.notes, note_on_empty(result.tables)]),
            warnings=[*uses, *filter(None, result.warnings)],
        )

    def read_all(self, names: Sequence[str]) -> list[S]:
        """Read all files before the first figure is computed: errors come early."""
        return list(map(self.read, self.score_files, names))

    @abstractmethod
    def read(self, file: ScoreFile, name: str) -> S:
        """Read the file of the system ``name``, and match it with the labels."""

    @abstractmethod
    def report(self, systems: Sequence[S]) -> Result:
        """Compute the figures; :meth:`run` adds the key's title, and facts, notes and warnings about key and files."""
