"""The origin of a score file, as the record beside it tells: model, recipe, date, software."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nes2net.decisions.calibration import ScoredBy
from nes2net.errors import InputError
from nes2net.evaluation.seen import seen
from nes2net.scoring.record import WholeRecord, read_whole_record


@dataclass(frozen=True)
class Origin:
    """What the record of a score file says. None stands for what it does not say."""

    record: str
    """Path of the record."""
    model: str | None
    """Front-end, aggregation and back-end."""
    checkpoint: str | None
    """Path of the checkpoint."""
    recipe: str | None
    """Name of the recipe that the detector was trained by, and the comment of the run."""
    protocol: str | None
    """What was scored of each utterance: ``"4sec"`` or ``"full"``."""
    scored_at: str | None
    """When the scores were finished, as ISO 8601."""
    software: str | None
    """Versions of nes2net and torch."""
    licence: str | None = None
    """Licence of a published detector's weights."""
    seen: tuple[str, ...] | None = None
    """For what the detector has seen the scored trials before, one sentence each."""


def read_origin(scores: Path, sha256: str, corpus: str = "", phase: str = "") -> Origin | None:
    """Read the record beside ``scores``, a file with that SHA-256.

    Args:
        corpus, phase: what is evaluated.

    The result is None if there is no record of these scores: no such file, one of other scores, or
    one of another kind. An evaluation does not depend on it.
    """
    found = _record_of(scores, sha256)
    if found is None:
        return None
    content = found.model_extra or {}
    parts = [_text(content, "architecture", part, "name") for part in ("frontend", "aggregation", "backend")]
    versions = [(name, _text(content, "versions", name)) for name in ("nes2net", "torch")]
    recipe, comment = (_text(content, "checkpoint", "recipe", key) for key in ("name", "comment"))
    record_of_training = found_record if isinstance(found_record := content.get("checkpoint"), dict) else {}
    same = _text(content, "corpus", "name") == corpus
    split = (_text(content, "corpus", "split") if same else None) or ""
    return Origin(
        record=str(_beside(scores)),
        model=" + ".join(filter(None, parts)) or None,
        checkpoint=_text(content, "checkpoint", "path"),
        recipe=f"{recipe} ({comment})" if recipe and comment else recipe,
        protocol=_text(content, "corpus", "protocol"),
        scored_at=_text(content, "scored_at"),
        software=", ".join(f"{name} {version}" for name, version in versions if version) or None,
        licence=_text(content, "published_model", "licence"),
        seen=tuple(seen(record_of_training, corpus, split, _text(content, "corpus", "root") or "", phase)) or None,
    )


def read_scored_by(scores: Path, sha256: str) -> ScoredBy | None:
    """Read which detector made ``scores``, a file with that SHA-256, from the record beside it.

    None if there is no record of these scores, or it does not say.
    """
    found = _record_of(scores, sha256)
    if found is None:
        return None
    run, resolution = found.run, (found.model_extra or {}).get("resolution_ms")
    fingerprint, precision, num_samples = run.get("model"), run.get("dtype"), run.get("num_samples")
    if not isinstance(fingerprint, str) or not isinstance(precision, str) or "num_samples" not in run:
        return None
    if num_samples is not None and (not isinstance(num_samples, int) or num_samples < 1):
        return None
    if not isinstance(resolution, (int, float)) or not 0 < resolution < 1e6:
        resolution = None
    return ScoredBy(fingerprint, precision, num_samples, resolution)


def _beside(scores: Path) -> Path:
    return scores.with_name(f"{scores.name}.json")


def _record_of(scores: Path, sha256: str) -> WholeRecord | None:
    """The record beside ``scores`` if it is one of them."""
    if not _beside(scores).is_file():
        return None
    try:
        found = read_whole_record(_beside(scores))
    except InputError:
        return None
    return found if (found.sha256 or sha256) == sha256 else None


def _text(content: Any, *keys: str) -> str | None:
    """The text at ``keys`` of nested mappings; None if something else or nothing stands there."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content if isinstance(content, str) else None
