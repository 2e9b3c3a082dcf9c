"""Use a calibration with a detector: check that the two belong together, and decide on recordings.

``{out}.decisions.csv`` has a decision for each row of the score file ``out``, in the same order;
``{out}.decisions.json`` states their basis.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import Trial
from nes2net.lib.errors import InputError
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.times import utc_now
from nes2net.lib.storage.claims import Claim
from nes2net.lib.storage.files import AnyPath, Unchanged, json_text, sha256_of, write_json, write_text
from nes2net.lib.storage.plain_data import Natural, read_json_as
from nes2net.lib.storage.text_files import as_cell
from nes2net.models.provenance import Provenance
from nes2net.scoring.decisions.calibration import LinearCalibration, ScoredBy, load
from nes2net.scoring.decisions.decision import Decider
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.measuring import Measurer, forget_traits, measure_trials
from nes2net.scoring.score_file import read_scores
from nes2net.scoring.score_length import RequestedSamples, ScoreLength, length_of_training, samples_to_score


def as_decider(calibration: LinearCalibration | Decider | AnyPath) -> Decider:
    """Make a decider at the default operating point, also from a file; return a decider unchanged.

    Raises:
        InputError: if the file is not a calibration.
    """
    if isinstance(calibration, AnyPath):
        calibration = load(calibration)
    return calibration if isinstance(calibration, Decider) else Decider(calibration)


def check_belongs(
    scorer: Scorer, calibration: LinearCalibration, resolution_ms: float | None = None, judgement: str | None = None
) -> list[str]:
    """Check that ``calibration`` is of ``scorer`` (:meth:`LinearCalibration.check_fits`); return uncertain facts.

    Args:
        resolution_ms: length in ms of the scored frames; None for scores of recordings.
    """
    scored_by = calibration.scored_by
    precision = scored_by.precision if scored_by else scorer.precision
    return calibration.check_fits(
        ScoredBy(scorer.fingerprint(), scorer.precision, None, resolution_ms, judgement),
        f"use the detector of the calibration, with `dtype={precision}`",
    )


def choose_num_samples(
    decider: Decider | None, provenance: Provenance, requested: RequestedSamples = "auto"
) -> ScoreLength:
    """Choose how many samples to score: as ``requested``, as for the calibration, or by :func:`samples_to_score`."""
    if requested == "auto" and decider is not None and (scored_by := decider.calibration.scored_by) is not None:
        return ScoreLength(scored_by.num_samples, "for the calibration" if scored_by.num_samples else "")
    return samples_to_score(provenance, requested)


def check_decider(
    scorer: Scorer,
    decider: Decider,
    num_samples: int | None,
    resolution_ms: float | None = None,
    judgement: str = "scores",
) -> list[str]:
    """Check that the calibration belongs to ``scorer``; return notes on what makes decisions uncertain.

    Args:
        num_samples: leading samples that are scored; None for all, 0 for windows along a recording.
        resolution_ms: length in ms of frames, which get only the notes of :func:`check_belongs`.

    Raises:
        InputError: as :func:`check_belongs`.
    """
    notes = check_belongs(scorer, decider.calibration, resolution_ms, judgement)
    if resolution_ms is None:
        notes += filter(None, (decider.calibration.warning_on_length(num_samples), decider.note))
    return notes


def default_window(scorer: Scorer, decider: Decider | None) -> float:
    """Choose the window in seconds: as scored for the calibration, else as long as a training crop."""
    num_samples = decider and choose_num_samples(decider, scorer.provenance).num_samples
    return (num_samples or length_of_training(scorer.provenance)) / SAMPLE_RATE  # None and 0: unknown


#: Columns of the table that :func:`decide_trials` writes.
COLUMNS = ("id", "score", "llr", "probability", "decision", "reason", "p_value", "judged", "p_genuine")


@dataclass(frozen=True)
class CorpusDecisions:
    """The outcome of :func:`decide_trials`."""

    path: Path
    """The table of decisions."""
    record_path: Path
    """The record beside the table."""
    counts: dict[str, int]
    """Decision → number of recordings."""
    already_complete: bool = False
    """The table existed, so nothing was done."""


def decide_trials(
    scorer: Scorer,
    decider: Decider,
    trials: Iterable[Trial],
    out: AnyPath,
    *,
    num_samples: int | None,
    num_workers: int | None = None,
    facts: Facts | None = None,
) -> CorpusDecisions:
    """Decide on each trial of the score file ``out`` of ``scorer``; write a table of decisions beside it.

    Recordings are measured, and embedded if the calibration has embeddings. A recording that cannot
    be measured is decided by its score and listed as ``unmeasured`` in the record. Measurements are
    removed when the table is complete. A table of the same scores and basis is kept.

    Args:
        num_samples: leading samples of each recording that were scored; None for all.
        facts: plain data for the record beside the table.

    Raises:
        InputError: if a file cannot be read or written.
        Unfinished: if a worker was killed or hangs; the measurements so far are kept.
    """
    out = Path(out)
    path, record_path = (out.with_name(f"{out.name}.decisions.{kind}") for kind in ("csv", "json"))
    file = Unchanged(out)
    basis = {**(facts or {}), "basis": decider.basis(), "scores_sha256": file.digests()[out]}
    basis = json.loads(json_text(basis))  # as it is read from the record, for comparison
    if (earlier_decisions := _earlier_decisions(path, record_path, basis)) is not None:
        return earlier_decisions
    ids, scores = read_scores(out)
    file.check()
    scored = set(ids)
    measurer = Measurer.of(scorer, decider)
    traits, unmeasured = measure_trials(
        [trial for trial in trials if trial.id in scored],
        out,
        num_samples,
        scorer=scorer,
        embed=measurer.embed,
        num_workers=num_workers,
    )
    text = io.StringIO()
    counts = Counter[str]()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for id, score in zip(ids, scores.tolist()):
        decision = decider(score, traits.get(id))
        counts[decision.decision] += 1
        row = {"id": id, **decision.row()}
        writer.writerow({key: as_cell(value) for key, value in row.items()})
    write_text(path, text.getvalue())
    record = {
        **basis,
        "counts": counts,
        "unmeasured": unmeasured,
        "decisions_sha256": sha256_of(path),
        "decided_at": utc_now(),
    }
    write_json(record_path, record)
    forget_traits(out)
    return CorpusDecisions(path, record_path, dict(counts))


class _DecisionsRecord(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    counts: dict[str, Natural]
    decisions_sha256: str


def _earlier_decisions(path: Path, record_path: Path, basis: Facts) -> CorpusDecisions | None:
    """None unless the table is complete and of this ``basis``."""
    with suppress(OSError, InputError):  # the files are missing, or of another program
        earlier = read_json_as(_DecisionsRecord, record_path, 64 << 20, "a record of decisions", "remove it")
        facts = earlier.model_extra or {}
        is_unchanged = earlier.decisions_sha256 == sha256_of(path)
        if Claim(path, basis, {key: facts.get(key) for key in basis}, is_unchanged).is_done:
            return CorpusDecisions(path, record_path, earlier.counts, already_complete=True)
    return None
