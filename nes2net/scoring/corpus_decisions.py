"""Decisions on the trials of a score file, in a table beside it.

``{out}.decisions.csv`` has a row for each score, in the order of the score file, and
``{out}.decisions.json`` says what decisions rest on.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from nes2net.corpora.trial import Trial
from nes2net.decisions.decision import CANNOT_TELL, Decider
from nes2net.decisions.population import Traits
from nes2net.machine.files import json_text, read_bounded, sha256_of, write_text
from nes2net.machine.plain_data import parsed_json
from nes2net.scoring.kernel import Scorer
from nes2net.scoring.measuring import Measurer, forget_traits, measure_trials
from nes2net.scoring.score_file import read_scores

#: Columns of the table.
COLUMNS = ("id", "score", "llr", "probability", "decision", "reason", "p_value")
_LARGEST_RECORD = 64 << 20  # bytes


@dataclass(frozen=True)
class CorpusDecisions:
    """The outcome of :func:`decide_trials`."""

    path: Path
    """The table."""
    record_path: Path
    """What the decisions rest on."""
    counts: dict[str, int]
    """How many recordings got each decision."""
    already_complete: bool = False
    """Whether an earlier run had written the same."""


def decide_trials(
    scorer: Scorer,
    decider: Decider,
    trials: Iterable[Trial],
    out: str | Path,
    *,
    num_samples: int | None,
    num_workers: int | None = None,
    about: dict[str, Any] | None = None,
) -> CorpusDecisions:
    """Decide on the trials in the score file ``out``, which ``scorer`` made, and write the table beside it.

    The recordings are measured if the calibration knows what its own were like, and embedded if it
    knows their embeddings. One that cannot be measured is decided by its score, and the record
    names it.

    Args:
        num_samples: leading samples of each recording that were scored; None for all.
        num_workers: processes that read audio; None for a number that suits the machine.
        about: plain data for the record, such as the name of the calibration's file.

    Raises:
        InputError: if a file cannot be read or written.
        Unfinished: if a process that reads audio was killed or hangs; what was measured is kept.
    """
    out = Path(out)
    path, record_path = (out.with_name(f"{out.name}.decisions.{kind}") for kind in ("csv", "json"))
    basis = {**(about or {}), "basis": decider.basis(), "scores_sha256": sha256_of(out)}
    basis = json.loads(json_text(basis))
    if finished := _finished(path, record_path, basis):
        return finished
    ids, scores = read_scores(out)
    scored = set(ids)
    measurer, traits, unmeasured = Measurer.of(scorer, decider), dict[str, Traits](), dict[str, str]()
    if measurer is not None:
        scored_trials = [trial for trial in trials if trial.id in scored]
        traits, unmeasured = measure_trials(
            scored_trials, out, num_samples, scorer=scorer, embed=measurer.embed, num_workers=num_workers
        )
    text, counts = io.StringIO(), Counter(dict.fromkeys(("bonafide", "spoof", CANNOT_TELL), 0))
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for id, score in zip(ids, scores.tolist()):
        found = decider(score, traits.get(id))
        counts[found.decision] += 1
        writer.writerow({"id": id, **found.row()})
    write_text(path, text.getvalue())
    record = {
        **basis,
        "counts": counts,
        "unmeasured": unmeasured,
        "decisions_sha256": sha256_of(path),
        "decided_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_text(record_path, json_text(record, indent=1, ensure_ascii=False) + "\n")
    forget_traits(out)
    return CorpusDecisions(path, record_path, dict(counts))


def _finished(path: Path, record_path: Path, basis: dict[str, Any]) -> CorpusDecisions | None:
    """What an earlier run wrote of the same scores by the same calibration; None if it did not."""
    try:
        if not path.is_file():
            return None
        record = parsed_json(read_bounded(record_path, _LARGEST_RECORD), str(record_path))
        same = all(record[key] == value for key, value in basis.items())
        if not same or record["decisions_sha256"] != sha256_of(path):
            return None
        counts = {str(name): int(count) for name, count in record["counts"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return CorpusDecisions(path, record_path, counts, already_complete=True)
