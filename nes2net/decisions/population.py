"""What the recordings of a calibration are like, and whether another recording is like them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

#: Names of the scalar traits, in the order of :class:`Traits`.
SCALARS = ("duration", "level", "bandwidth")


class Traits(NamedTuple):
    """What is measured of a recording."""

    duration: float
    """Seconds that the detector heard."""
    level: float
    """Level of its loud parts in dB of full scale."""
    bandwidth: float
    """Frequency in Hz above which there is next to nothing."""
    embedding: NDArray | None = None
    """(E,): its embedding by the detector's back-end; None if it was not computed."""


class Typicality(NamedTuple):
    """How far a recording is from those of a calibration."""

    p_value: float
    """Share of the calibration's recordings that are as far out, conformal, in (0, 1]."""
    trait: str
    """The trait that is farthest out."""
    reason: str
    """In words: that trait, its value, and the usual range."""


@dataclass(frozen=True)
class Population:
    """The traits of a calibration's recordings."""

    num_recordings: int

    @property
    def has_embeddings(self) -> bool:
        """Whether embeddings count."""
        raise NotImplementedError

    def typicality(self, traits: Traits) -> Typicality:
        """Compare a recording with those of the calibration."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON."""
        raise NotImplementedError
