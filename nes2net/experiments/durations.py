"""How long jobs will take, by what earlier ones took: seconds per epoch, trials per second.

Nothing is measured for it. A job of which nothing alike was done is of unknown length, and so it
says; averaging and evaluating take seconds to minutes and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from nes2net.errors import InputError, counted
from nes2net.experiments.jobs import Job, Run, ScoreJob, TrainJob


@dataclass(frozen=True)
class Estimate:
    """Seconds that a job will take, and what that rests on; None if nothing is known."""

    seconds: float | None
    basis: str = ""


def estimates(jobs: Sequence[Job], left: Sequence[Job]) -> dict[str, Estimate]:
    """Estimate the training and scoring jobs among those ``left``, by name, from all ``jobs``."""
    runs = [job.run for job in jobs if isinstance(job, TrainJob)]
    scored = [(job, rate) for job in jobs if isinstance(job, ScoreJob) if (rate := _rate(job)) is not None]
    found = {}
    for job in left:
        if isinstance(job, TrainJob):
            found[job.name] = _training(job.run, runs)
        elif isinstance(job, ScoreJob):
            found[job.name] = _scoring(job, scored)
    return found


def _training(run: Run, runs: Sequence[Run]) -> Estimate:
    """Epochs left × seconds of an epoch: of this run, of one with another seed, without another corpus, or of the grid."""
    alike = sorted(runs, key=lambda other: (other.name != run.name, other.point != run.point, other.sets != run.sets))
    left = run.recipe.train.epochs - len(_history(run))
    for other in alike:
        seconds = [row["seconds"] for row in _history(other) if isinstance(row.get("seconds"), float)]
        if seconds:
            each = median(seconds)
            return Estimate(max(left, 0) * each, f"{counted(left, 'epoch')} of {each:.3g} s, as in {other.name}")
    return Estimate(None)


def _scoring(job: ScoreJob, scored: Sequence[tuple[ScoreJob, tuple[int, float]]]) -> Estimate:
    """Trials ÷ trials per second, as of the same set with another detector."""
    for other, (total, rate) in scored:
        if other.tested == job.tested:
            return Estimate(total / rate, f"{counted(total, 'trial')}, {rate:.3g} a second, as in {other.run.name}")
    return Estimate(None)


def _history(run: Run) -> list[dict[str, Any]]:
    try:
        return run.history()
    except InputError:  # damaged: training will say so
        return []


def _rate(job: ScoreJob) -> tuple[int, float] | None:
    """Trials of a finished scoring, and how many a second; None if it does not say."""
    try:
        record = job.record()
    except InputError:
        return None
    said = (record.model_extra or {}) if record else {}
    total, kept, seconds = (said.get(key) for key in ("total", "kept_from_earlier_runs", "seconds"))
    if not isinstance(total, int) or not isinstance(kept, int) or not isinstance(seconds, (int, float)):
        return None
    return (total, (total - kept) / seconds) if total > kept and seconds > 0 else None


def in_words(seconds: float) -> str:
    """Write a duration for a person.

    >>> in_words(4.2), in_words(150), in_words(8000), in_words(200_000)
    ('4 s', '2.5 min', '2.2 h', '2.3 days')
    """
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
