"""Decisions on the trials of a score file, in a table beside it.

``{out}.decisions.csv`` has a row for each score, in the order of the score file, and
``{out}.decisions.json`` says what decisions rest on. While recordings are measured, what is known
is in ``{out}.traits.partial``, so that an interrupted run measures the others only.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter

from nes2net.corpora.trial import Trial, trials_digest
from nes2net.decisions.decision import CANNOT_TELL, Decider
from nes2net.decisions.population import SCALARS, Traits
from nes2net.errors import InputError
from nes2net.machine.files import json_text, read_bounded, sha256_of, write_text
from nes2net.machine.plain_data import check_json, parsed_json
from nes2net.machine.text_files import MOST_BYTES
from nes2net.scoring.embedding import embed_trials
from nes2net.scoring.journal import stamp
from nes2net.scoring.measuring import measure_trials
from nes2net.scoring.score_file import read_scores
from nes2net.scoring.scorer import Scorer
from nes2net.scoring.traits import Measurer

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
    traits, unmeasured = _traits(
        scorer, decider, [trial for trial in trials if trial.id in scored], out, num_samples, num_workers
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
    for left in (_Measured.place(out), *_embeddings(out)):
        left.unlink(missing_ok=True)
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


def _traits(
    scorer: Scorer,
    decider: Decider,
    trials: Sequence[Trial],
    out: Path,
    num_samples: int | None,
    num_workers: int | None,
) -> tuple[dict[str, Traits], dict[str, str]]:
    """Traits by id, and the reasons by id for those that cannot be measured; both empty if none are needed."""
    measurer = Measurer.of(scorer, decider)
    if measurer is None:
        return {}, {}
    with _Measured(out, trials, num_samples) as known:
        missing = [trial for trial in trials if trial.id not in known.traits]
        found, failures = measure_trials(missing, num_samples, num_workers=num_workers, keep=known.add)
        traits = known.traits | found
    if measurer.embed is None:
        return traits, failures
    embeddings, *_ = _embeddings(out)
    result = embed_trials(
        scorer,
        measurer.embed,
        trials,
        embeddings,
        what="backend",
        num_samples=num_samples,
        num_workers=num_workers,
        overwrite=True,
    )
    rows = np.load(result.path, mmap_mode="r")
    embedded = [trial.id for trial in trials if trial.id not in result.failures]
    traits |= {id: traits[id]._replace(embedding=np.array(row)) for id, row in zip(embedded, rows) if id in traits}
    return traits, {**result.failures, **failures}


def _embeddings(out: Path) -> list[Path]:
    """The files of embeddings that stand beside ``out`` until the table is written."""
    return [out.with_name(f"{out.name}.embeddings.npy{suffix}") for suffix in ("", ".csv", ".json")]


class _Measured:
    """What was measured so far: a line of JSON that identifies the run, and one for each recording."""

    @staticmethod
    def place(out: Path) -> Path:
        """The file beside ``out``."""
        return out.with_name(f"{out.name}.traits.partial")

    def __init__(self, out: Path, trials: Sequence[Trial], num_samples: int | None) -> None:
        path = self.place(out)
        run = json_text([num_samples, trials_digest(trials, lambda trial: f"{trial.id} {stamp(trial.path)}")])
        self.traits: dict[str, Traits] = {}
        try:
            lines = read_bounded(path, MOST_BYTES).decode(errors="replace").split("\n")
        except InputError:
            lines = []
        same = lines[:1] == [run]
        for line in lines[1:-1] if same else ():  # the last one may be cut
            try:
                check_json(line.encode(), "a line")
                id, duration, level, bandwidth = _LINE.validate_json(line)
            except ValueError:  # such as after a loss of power: it is measured again
                continue
            self.traits[id] = Traits(duration, level, bandwidth)
        write_text(path, "\n".join([run, *(_line(id, one) for id, one in self.traits.items()), ""]))
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{path} cannot be written ({error.strerror}): make room, or name another `out`"
            ) from error

    def add(self, found: Iterable[tuple[str, Traits | str]]) -> None:
        """Keep what was found."""
        for id, one in found:
            if isinstance(one, Traits):
                self._file.write(_line(id, one) + "\n")
        self._file.flush()

    def __enter__(self) -> _Measured:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


_Finite = Annotated[FiniteFloat, Field(strict=True)]
_LINE = TypeAdapter(tuple[str, Annotated[_Finite, Field(gt=0)], _Finite, _Finite])


def _line(id: str, traits: Traits) -> str:
    return json_text([id, *(getattr(traits, name) for name in SCALARS)])
