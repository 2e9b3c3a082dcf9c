"""The published detectors that can be downloaded by name, with their facts and published figures."""

from __future__ import annotations

from dataclasses import dataclass

from nes2net.models.published_models import PUBLISHED
from nes2net.models.published_results import published_rows


@dataclass(frozen=True)
class ListedModel:
    """A detector that :meth:`nes2net.Detector.from_pretrained` downloads by its ``name``."""

    name: str
    good_for: str
    parameters: int
    size: int
    """Size of the download in bytes; if unknown, 4 bytes per parameter."""
    trained_on: tuple[str, ...]
    """Corpora whose trials trained the detector."""
    until: int | None
    """Year of the newest attacks that may be in the training data."""
    reported: tuple[str, ...]
    """Published figures, as in ``nes2net info published``."""
    licence: str
    score: str
    """The kind of score: ``logit``, ``probability``, …"""
    scored: str
    """How the authors score: which samples they read, and the score rule."""
    source: str
    address: str
    """Web address of the file."""
    known_by: str
    """Digest or commit on the hub that identifies the file; ``not pinned`` if unknown."""


def list_models() -> list[ListedModel]:
    """List the published detectors that can be downloaded, smallest first.

    >>> [model.name for model in list_models()][:2]
    ['AASIST-L', 'AASIST']
    """
    listed = []
    for name, model in PUBLISHED.items():
        # Models without an address are omitted, because users must fetch their files by hand.
        if (file := model.file) is None or (parameters := model.parameters) is None:
            continue
        rows = [row for row in published_rows() if name in row.models]
        listed.append(
            ListedModel(
                name=name,
                good_for=model.good_for,
                parameters=parameters,
                size=file.size or 4 * parameters,  # bytes, float32
                trained_on=model.trained_on,
                until=model.until,
                reported=tuple(row.figures for row in rows),
                licence=model.licence,
                score=model.score_rule,
                scored=model.scored,
                source=model.source,
                address=file.address,
                known_by=file.pinned or "not pinned",
            )
        )
    return sorted(listed, key=lambda model: model.parameters)
