"""One trial: an utterance, where its audio lies, and all that its corpus says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BONAFIDE, SPOOF = "bonafide", "spoof"


@dataclass(frozen=True)
class Trial:
    """An utterance of a corpus. Fields a corpus does not have, or that its protocol leaves open, are None.

    ``id`` stands in protocol and score files; ``label`` is ``"bonafide"`` or ``"spoof"`` whatever the corpus calls it.
    """

    id: str
    path: Path | None = None
    label: str | None = None
    speaker: str | None = None
    attack: str | None = None
    codec: str | None = None
    transmission: str | None = None
    source: str | None = None
    vocoder: str | None = None
    phase: str | None = None

    @property
    def target(self) -> int | None:
        """1 for bona fide, 0 for spoof, None where the label is not known."""
        return None if self.label is None else int(self.label == BONAFIDE)
