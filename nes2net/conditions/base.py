"""The contract of a condition: a change of a recording at one strength."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sources:
    """Recordings that conditions mix in. What is not there is None or empty."""

    musan: Path | None = None
    """Folder of MUSAN (openslr.org/17)."""
    rir: Path | None = None
    """Folder of measured impulse responses, such as RIRS_NOISES (openslr.org/28)."""
    speech: Sequence[Path] = ()
    """Recordings of the corpus itself, of which babble is made."""


class Condition(ABC):
    """A change of a recording at one strength, pickled to the processes that read audio.

    A subclass states its class variables and defines ``__call__``. Its first docstring line is what
    ``nes2net info`` and the manual say of it.

    Args:
        strength: in ``unit``; None for a condition without strengths.
        sources: what it may mix in.

    Raises:
        InputError: if the strength is missing, superfluous or out of its range, or a source or a
            library that it needs is not there.
    """

    unit: ClassVar[str] = ""
    """Unit of the strength, such as ``"dB"``; empty if it is a pure number or there is none."""
    strengths: ClassVar[tuple[float, ...]] = ()
    """Those of ``nes2net robustness`` by default, from mild to hard; empty without strengths."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Names of the :class:`Sources` that it cannot do without."""

    def __init__(self, strength: float | None = None, sources: Sources | None = None) -> None:
        self.strength, self.sources = strength, sources or Sources()

    @abstractmethod
    def __call__(self, x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Change ``x`` (N,), 16 kHz in [−1, 1], N ≥ 1, to (M,), M ≥ 1; ``x`` itself stays as it is.

        All that is random comes from ``rng``. The samples may leave [−1, 1] only if the condition is
        about that; codecs clip as real ones do.
        """
