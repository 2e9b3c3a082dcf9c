"""A condition as a change of utterances, seeded by each."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net.data.augment import Effect, Sources
from nes2net.data.augment.conditions import create_condition
from nes2net.data.corpora.trial import Trial, trials_digest


@dataclass(frozen=True)
class UnderCondition:
    """A condition as a transform of utterances (:class:`nes2net.scoring.waveforms.Transform`).

    Random numbers depend only on the seed, the condition and the id of the utterance.
    """

    name: str
    condition: Effect
    seed: int
    sources: str
    """Digest of the paths of the recordings that the condition may mix in."""

    @classmethod
    def of(cls, name: str, sources: Sources, seed: int) -> UnderCondition:
        condition = create_condition(name, sources)
        recordings = [Trial(str(Path(str(path)).resolve())) for path in condition.recordings]
        return cls(name, condition, seed, trials_digest(recordings, lambda trial: trial.id)[:16])

    @property
    def identity(self) -> str:
        """Equal texts mean equal changes of waveforms."""
        return f"{self.name}, seed {self.seed}, recordings {self.sources}"

    def __call__(self, waveform: NDArray, id: str) -> NDArray:
        """Apply the condition to ``waveform`` (N,) of the utterance ``id``."""
        # Other seeds would change published robustness results.
        seeds = [self.seed, _checksum(self.name), _checksum(id)]
        return self.condition(waveform, np.random.default_rng(seeds))


def _checksum(text: str) -> int:
    """Turn a text into a number for a seed; unlike ``hash``, it is the same in every process."""
    return zlib.crc32(text.encode("utf-8", "surrogateescape"))
