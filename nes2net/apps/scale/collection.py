"""A collection to a folder of results, shard by shard; the same call goes on where it was interrupted."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path
from typing import Literal

from nes2net.apps.scale.cluster import Resources, connected
from nes2net.apps.scale.engine import Facts, Model, checked_batch_size, facts_of, pieces_dataset, scored_pieces
from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.pieces import Piece, unpacked
from nes2net.apps.scale.results import Finished, finished, read_record, result_path, write_record, write_results
from nes2net.apps.scale.sources import UNKNOWN, Shard, Source, shards_of
from nes2net.lib.errors import InputError, Unfinished, counted, first_line, listed, worded
from nes2net.lib.files import check_no_device, exclusive_lock
from nes2net.lib.progress import ProgressDisplay
from nes2net.scoring.journal import stamp
from nes2net.training.interruption import StopRequests

_LOST = "a process that read, decoded or scored it was killed, perhaps for memory: the same command tries it again"


@dataclass
class Outcome:
    """What :func:`score_collection` did, and what there is now."""

    out: Path
    """The folder of results."""
    shards: int
    """Shards of the source."""
    kept: int = 0
    """Shards that earlier runs had finished."""
    rows: int = 0
    """Recordings in the shards that are finished."""
    scored: int = 0
    """Recordings with a score."""
    audio_seconds: float = 0.0
    """Total length of the recordings that could be read."""
    unread: dict[str, str] = field(default_factory=dict)
    """Reasons for shards without results, by address."""

    @property
    def without_score(self) -> int:
        """Recordings in finished shards that have an error instead."""
        return self.rows - self.scored

    @property
    def complete(self) -> bool:
        """Whether every recording of every shard has a score."""
        return not self.unread and not self.without_score

    def count(self, done: Finished) -> None:
        """Add a finished shard."""
        self.rows += done.rows
        self.scored += done.scored
        self.audio_seconds += done.seconds


def score_collection(
    source: Source,
    model: str | Path | Model,
    out: str | Path,
    *,
    num_samples: int | Literal["auto"] | None = "auto",
    batch_size: int | None = None,
    resources: Resources | None = None,
    overwrite: bool = False,
    retry_errors: bool = False,
) -> Outcome:
    """Score the shards of ``source`` into the folder ``out``, a Parquet file for each.

    A row has ``id``, ``address``, the plain columns of the shard, ``seconds`` (length of the recording),
    ``score``, higher for bona fide, and ``error``: why there is no score. A file appears complete or not
    at all. The same call, after an interruption or when shards were added or replaced, scores what has
    no results. A recording that cannot be read costs its row; a shard that cannot be read costs that
    shard, and the next call tries it again.

    The scores of a shard equal the scores that `nes2net score` gives its recordings in their order,
    with the same number of threads: to the last bit in '4sec', and to the rounding of float32 for
    whole utterances.

    Args:
        source: see :func:`nes2net.apps.scale.sources.shards_of`.
        model: checkpoint, folder or name on the Hugging Face hub, where every machine finds it; or a
            :class:`~nes2net.apps.scale.engine.Model`, which also says how it computes.
        num_samples: leading samples of each recording, repeated if there are fewer; None for all, "auto"
            as :func:`nes2net.scoring.heard.samples_to_score` chooses, 64,600 for most detectors.
        batch_size: None for 8 on a CPU and 64 on a GPU.
        resources: resources of the actors, and the cluster that has them; by default all of this
            machine.
        overwrite: remove the results of another detector or setting, or of shards that the source does not
            have, first.
        retry_errors: score the shards again that have recordings without a score.

    Raises:
        InputError: if there is no such source or detector, ``out`` has results of another detector or
            setting or of shards that the source does not have, another run is writing it, or an
            argument is out of its range.
        MissingLibrary: if Ray, pyarrow or fsspec is not installed.
        Unfinished: if Ray stops, or SIGTERM comes; what is written is kept.
    """
    out = Path(out)
    check_no_device(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name a folder for the results")
    batch_size = checked_batch_size(batch_size)
    shards, resources = shards_of(source), resources or Resources()
    refusal = f"another run is writing {out}: wait for it, or name another folder"
    with exclusive_lock(out / ".lock", refusal), ExitStack() as stack:
        _check_source(out, shards, overwrite)
        outcome, left = _left(out, shards, retry_errors)
        wanted = Model.of(model)
        files = _stamps(Path(wanted.name))
        asked = {**asdict(wanted), "files": files, "num_samples": num_samples, "batch_size": batch_size}
        before = None if left or overwrite or not files else read_record(out)
        if before is not None and before.asked == asked:
            return outcome  # Ray starts, and the detector is loaded, in half a minute
        stack.enter_context(connected(resources))
        # Instead of Ray's handler of SIGTERM, which prints a stack trace and aborts.
        stack.enter_context(StopRequests())
        resources = resources.on(library("ray").cluster_resources(), wanted.device)
        named = replace(wanted, device=resources.device)
        facts = facts_of(named, num_samples, batch_size, resources)
        _check_run(out, facts, overwrite)
        if words := facts.heard.words:
            print(f"note: {worded(f'{words}; `num_samples` chooses another part')}", file=sys.stderr)
        outcome, left = _left(out, shards, retry_errors)
        _remove_outdated(out, left)
        if isinstance(source, (str, Path)):
            described = str(source)
        else:
            described = counted(len(source), "trial, path or URL", "trials, paths or URLs")
        record = {
            "run": facts.run,
            "asked": asked,
            "checkpoint": {**facts.record, "path": model.name if isinstance(model, Model) else str(model)},
            "corpus": {"root": described, "protocol": "full" if facts.reader.num_samples is None else "4sec"},
            **facts.about,
        }
        write_record(out, record)
        began = time.monotonic()
        if left:
            _score_left(out, left, named, facts, resources, outcome)
        totals = {
            "shards": outcome.shards,
            "rows": outcome.rows,
            "without_score": outcome.without_score,
            "unread": outcome.unread,
            "actors": resources.num_actors,
            "kept_from_earlier_runs": outcome.kept,
            "seconds": round(time.monotonic() - began, 3),
            "scored_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        write_record(out, {**record, **totals})
    return outcome


def _stamps(model: Path) -> str:
    """The stamps of the files of ``model``; empty for a name on the hub, which may mean another one tomorrow."""
    files = sorted(path for path in model.rglob("*") if path.is_file()) if model.is_dir() else [model]
    return " ".join(stamp(path) for path in files if path.is_file())


def _check_source(out: Path, shards: Sequence[Shard], overwrite: bool) -> None:
    """Refuse results of shards that the source does not have, which would get into the scores, or remove them."""
    ours = {result_path(out, shard) for shard in shards}
    others = {path: done for path in out.glob("*.parquet") if path not in ours and (done := finished(path)) is not None}
    if others and not overwrite:
        raise InputError(
            f"{out} has results of {counted(len(others), 'shard')} that the source does not have: "
            f"{listed(sorted(done.shard for done in others.values()))}: pass `overwrite=True` to remove them, or name "
            "another folder"
        )
    for path in others:
        path.unlink()


def _remove_outdated(out: Path, left: Sequence[Shard]) -> None:
    """Remove results of shards that were replaced since, for the new ones may be damaged."""
    for shard in left:
        done = finished(path := result_path(out, shard))
        if done is not None and _is_outdated(done, shard):
            path.unlink()


def _is_outdated(done: Finished, shard: Shard) -> bool:
    return done.stamp != shard.stamp and shard.stamp != UNKNOWN


def _check_run(out: Path, facts: Facts, overwrite: bool) -> None:
    """Refuse to mix the scores of two detectors or settings, or remove the others."""
    try:
        record = read_record(out)
    except InputError:
        if not overwrite:
            raise
        record = None
    if record is not None and record.run == facts.run:
        return
    strangers = [path for path in out.glob("*.parquet") if finished(path) is not None]
    if not strangers:
        return
    if not overwrite:
        differing = sorted(name for name in facts.run if record is None or record.run.get(name) != facts.run[name])
        raise InputError(
            f"{out} has results of another run (another {', '.join(differing)}): pass `overwrite=True` to remove them, or "
            "name another folder"
        )
    for path in strangers:
        path.unlink()


def _left(out: Path, shards: Sequence[Shard], retry_errors: bool) -> tuple[Outcome, list[Shard]]:
    """What is finished, and the shards that are left."""
    outcome, left = Outcome(out, len(shards)), []
    for shard in shards:
        done = finished(result_path(out, shard))
        if done is None or _is_outdated(done, shard) or (retry_errors and done.scored < done.rows):
            left.append(shard)
        else:
            outcome.kept += 1
            outcome.count(done)
    return outcome, left


def _score_left(
    out: Path, shards: list[Shard], model: Model, facts: Facts, resources: Resources, outcome: Outcome
) -> None:
    """Score ``shards`` and write each one's results as soon as they are complete.

    Raises:
        Unfinished: if Ray stops.
    """
    known = {shard.address: shard for shard in shards}
    gathered: dict[str, dict[int, Piece]] = {}
    dataset = scored_pieces(pieces_dataset(shards, facts.batch_size), model, facts, resources, as_rows=False)
    # A process that dies loses its pieces, not the run.
    dataset.context.max_errored_blocks = -1
    display = ProgressDisplay[None](title="scoring", unit="shard", total=outcome.shards, start=outcome.kept, leave=True)
    recordings, errors, began = 0, 0, time.monotonic()
    try:
        with display:
            tables = dataset.iter_batches(batch_size=None, batch_format="pyarrow")
            for piece in chain.from_iterable(map(unpacked, tables)):
                pieces = gathered.setdefault(piece.shard, {})
                pieces[piece.number] = piece
                if piece.table is not None:
                    recordings += piece.table.num_rows
                    errors += piece.table.column("score").null_count
                display.facts = [
                    counted(recordings, "recording"),
                    f"{recordings / max(time.monotonic() - began, 1e-9):.1f} recordings/s",
                    *([f"{errors} without a score"] if errors else []),
                    *([f"{counted(len(outcome.unread), 'shard')} not read"] if outcome.unread else []),
                ]
                complete = _complete(pieces)
                display.update(int(complete is not None))
                if complete is None:
                    continue
                del gathered[piece.shard]
                shard = known.pop(piece.shard)
                if faults := [found.fault for found in complete if found.fault is not None]:
                    outcome.unread[shard.address] = faults[0]
                else:
                    outcome.count(write_results(out, shard, [found.table for found in complete]))
    except library("ray").exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        raise Unfinished(
            f"Ray stopped ({type(cause).__name__}: {first_line(cause)}); what is written is kept, and the same command goes on"
        ) from error
    outcome.unread |= dict.fromkeys(known, _LOST)


def _complete(pieces: Mapping[int, Piece]) -> list[Piece] | None:
    """The pieces of a shard in order; None if one is missing."""
    last = next((number for number, piece in pieces.items() if piece.last), None)
    return [pieces[number] for number in range(last + 1)] if last is not None and len(pieces) == last + 1 else None
