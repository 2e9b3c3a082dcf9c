"""Score a collection shard by shard into a folder of results; the same call resumes after an interruption."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, TypeAlias

from nes2net.apps.scale.cluster import Resources, connected
from nes2net.apps.scale.engine import Facts, Model, facts_of, pieces_dataset, scored_pieces
from nes2net.apps.scale.libraries import library
from nes2net.apps.scale.reading import Piece
from nes2net.apps.scale.results import (
    ShardScores,
    finished_shards,
    judgement_of_recordings,
    read_record,
    result_path,
    write_record,
    write_results,
)
from nes2net.apps.scale.sources import UNKNOWN, Shard, Source, shards_of
from nes2net.lib.claims import differences_in_words
from nes2net.lib.errors import InputError, Unfinished, counted, first_line, listed, worded
from nes2net.lib.files import check_no_device, exclusive_lock, remove_leftovers
from nes2net.lib.progress import ProgressDisplay
from nes2net.scoring.engine import RunSettings
from nes2net.scoring.journal import stamp
from nes2net.scoring.judgement import Judgement
from nes2net.training.interruption import StopRequests

_KILLED = "a process that read, decoded or scored it was killed, perhaps for memory: the same command tries it again"


#: Path of the results of a finished shard → facts about them.
Done: TypeAlias = dict[Path, ShardScores]


@dataclass
class Outcome:
    """Result of :func:`score_collection`."""

    out: Path
    """The folder of results."""
    shards: int
    """Number of shards of the source."""
    kept: int = 0
    """Number of shards whose results are from earlier runs."""
    rows: int = 0
    """Number of recordings in finished shards."""
    scored: int = 0
    """Number of recordings with a score."""
    audio_seconds: float = 0.0
    """Total duration in seconds of the recordings that could be read."""
    unread: dict[str, str] = field(default_factory=dict)
    """Address of a shard without results → reason why the results are missing."""

    @property
    def without_score(self) -> int:
        """Number of recordings in finished shards that have an error instead of a score."""
        return self.rows - self.scored

    @property
    def complete(self) -> bool:
        """Whether every recording of every shard has a score."""
        return not self.unread and not self.without_score

    def count(self, done: ShardScores) -> None:
        """Add the numbers of a finished shard to the counts."""
        self.rows += done.rows
        self.scored += done.scored
        self.audio_seconds += done.seconds


def score_collection(
    source: Source,
    model: str | Path | Model,
    out: str | Path,
    *,
    judgement: str | Mapping[str, Any] | Judgement[Any] = "scores",
    num_samples: int | Literal["auto"] | None = "auto",
    batch_size: int | None = None,
    resources: Resources | None = None,
    overwrite: bool = False,
    retry_errors: bool = False,
) -> Outcome:
    """Score the shards of ``source`` into the folder ``out``, which gets a Parquet file for each shard.

    Each file has the columns ``id``, ``address``, ``seconds`` (duration of the recording), ``score``
    (higher for bona fide), and ``error`` (reason for a missing score). The shard's own columns of
    texts, numbers and booleans follow after ``address``. Each file is written atomically. After
    an interruption, or if shards were added or replaced, the same call scores the shards without
    results. A recording that cannot be read has an error in its row. A shard that cannot be read
    has no results; the next call tries the shard again.

    `nes2net score` gives the same scores for the recordings of a shard, if it reads the recordings
    in the same order and uses the same number of threads. The scores agree bit for bit if a fixed
    number of samples is scored. If whole utterances are scored, the scores agree up to the rounding
    of float32.

    Args:
        source: see :func:`nes2net.apps.scale.sources.shards_of`.
        model: a checkpoint or folder that every machine can read; a name on the Hugging Face hub;
            or a :class:`~nes2net.apps.scale.engine.Model`, which also has device and precision.
        judgement: the kind of result, such as ``"classes"``: a judgement, the name of a judgement,
            or a mapping of ``name`` and options. Judgements of frames and embeddings raise
            :class:`InputError`. If a judgement gives several numbers for a recording, the column
            ``score`` has a list of numbers.
        num_samples: number of leading samples to score; shorter recordings are repeated. None takes
            all samples; "auto" leaves the choice to
            :func:`nes2net.scoring.score_length.samples_to_score`, which takes 64,600 for most
            detectors.
        batch_size: recordings in a batch; None for 8 on a CPU and 64 on a GPU.
        resources: number and resources of the actors, and the Ray cluster; by default all resources
            of this machine.
        overwrite: first remove results of another detector or other settings, and results of shards
            that the source does not have.
        retry_errors: score a shard again if some of its recordings have no score.

    Raises:
        InputError: if there is no such source or detector; if ``out`` has results that only
            ``overwrite`` would remove; if another run is writing to ``out``; or if an argument is
            out of range.
        MissingLibrary: if Ray, pyarrow or fsspec is not installed.
        Unfinished: if Ray stops, or SIGTERM comes; finished shards are kept.
    """
    out = Path(out)
    check_no_device(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: name a folder for the results")
    RunSettings(batch_size=batch_size)  # raises an error if the batch size is wrong
    chosen_judgement = judgement_of_recordings(judgement)
    shards = shards_of(source)
    resources = resources or Resources()
    refusal = f"another run is writing {out}: wait for it, or name another folder"
    with exclusive_lock(out / ".lock", refusal), ExitStack() as stack:
        remove_leftovers(out)
        # Return at once if an earlier call with the same arguments has done everything.
        done = finished_shards(out)
        _check_source(out, done, shards, overwrite)
        outdated = _outdated_results(done, shards)
        for path in outdated:
            del done[path]
        outcome, unfinished = _unfinished_shards(out, done, shards, retry_errors)
        chosen_model = Model.of(model)
        files = _stamps_of_model(Path(chosen_model.name))
        request = {**asdict(chosen_model), "files": files, "num_samples": num_samples, "batch_size": batch_size}
        request |= chosen_judgement.identity()
        before = None if unfinished or overwrite or not files else read_record(out)
        if before is not None and (before.model_extra or {}).get("asked") == request:
            return outcome  # starting Ray and loading the detector would take half a minute
        stack.enter_context(connected(resources))
        # Replace Ray's handler of SIGTERM, which prints a stack trace and aborts.
        stack.enter_context(StopRequests())
        facts = facts_of(chosen_model, num_samples, batch_size, resources, chosen_judgement)
        _check_run(out, done, facts.run, overwrite)
        for path in outdated:
            path.unlink()  # the old results must not stay, even if the new shard cannot be read
        if words := facts.score_length.words:
            print(f"note: {worded(f'{words}; `num_samples` chooses another part')}", file=sys.stderr)
        # Write the record, score the unfinished shards, and complete the record.
        outcome, unfinished = _unfinished_shards(out, done, shards, retry_errors)
        described = str(source)
        if not isinstance(source, (str, Path)):
            described = counted(len(source), "trial, path or URL", "trials, paths or URLs")
        protocol = "full" if facts.reader.num_samples is None else "4sec"
        record = {
            "run": facts.run,
            "asked": request,
            "judgement": facts.judgement.described(),
            "corpus": {"root": described, "protocol": protocol},
            **facts.record,
            "shards": outcome.shards,
            "actors": facts.resources.num_actors,
            "kept_from_earlier_runs": outcome.kept,
            "failures": {},
        }
        record["checkpoint"]["path"] = model.name if isinstance(model, Model) else str(model)
        write_record(out, record)
        began = time.monotonic()
        if unfinished:
            _score_shards(out, unfinished, facts, outcome)
        record |= {
            "total": outcome.rows,
            "scored": outcome.scored,
            "failures": outcome.unread,
            "seconds": round(time.monotonic() - began, 3),
            "scored_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        write_record(out, record)
    return outcome


def _stamps_of_model(model: Path) -> str:
    """Return a text that changes if a file of ``model`` changes; return "" if ``model`` is a name on the hub.

    Therefore a change of a model on the hub is not noticed.
    """
    if model.is_dir():
        files = sorted(path for path in model.rglob("*") if path.is_file())
    else:
        files = [model]
    return " ".join(stamp(path) for path in files if path.is_file())


def _check_source(out: Path, done: Done, shards: Sequence[Shard], overwrite: bool) -> None:
    """Check that all results in ``out`` belong to shards of the source.

    Other results are removed if ``overwrite`` is true; otherwise :class:`InputError` is raised. If
    they stayed, the scores would contain recordings that the source does not have.
    """
    foreign_results = list(done.keys() - {result_path(out, shard) for shard in shards})
    names = listed(sorted(done[path].shard for path in foreign_results))
    _remove_or_refuse(
        out,
        done,
        foreign_results,
        f"{counted(len(foreign_results), 'shard')} that the source does not have: {names}",
        overwrite,
    )


def _outdated_results(done: Done, shards: Sequence[Shard]) -> list[Path]:
    stamps = {shard.address: shard.stamp for shard in shards if shard.stamp != UNKNOWN}
    return [path for path, result in done.items() if stamps.get(result.shard, result.stamp) != result.stamp]


def _check_run(out: Path, done: Done, run: dict[str, Any], overwrite: bool) -> None:
    """Check that the results in ``out`` come from the detector and the settings of the present run.

    Other results are removed if ``overwrite`` is true; otherwise :class:`InputError` is raised.

    Args:
        run: identity of the present run, see :class:`nes2net.apps.scale.engine.Facts`.
    """
    try:
        record = read_record(out)
    except InputError:
        if not overwrite:
            raise
        record = None
    if record is None or record.run != run:
        _remove_or_refuse(
            out, done, list(done), f"another run{differences_in_words(record and record.run, run)}", overwrite
        )


def _remove_or_refuse(out: Path, done: Done, paths: list[Path], origin: str, overwrite: bool) -> None:
    """Remove the results ``paths`` if ``overwrite`` is true; otherwise raise :class:`InputError`.

    Args:
        done: the finished shards; removed results are removed from this mapping, too.
        origin: origin of these results in words, for the error message.
    """
    if paths and not overwrite:
        raise InputError(f"{out} has results of {origin}: pass `overwrite=True` to remove them, or name another folder")
    for path in paths:
        path.unlink()
        del done[path]


def _unfinished_shards(
    out: Path, done: Done, shards: Sequence[Shard], retry_errors: bool
) -> tuple[Outcome, list[Shard]]:
    """Count the finished shards, and list the unfinished shards; with ``retry_errors``, list shards with errors, too.

    Returns:
        The outcome so far, and the shards that have to be scored.
    """
    outcome = Outcome(out, len(shards))
    unfinished = []
    for shard in shards:
        result = done.get(result_path(out, shard))
        if result is None or (retry_errors and result.scored < result.rows):
            unfinished.append(shard)
        else:
            outcome.kept += 1
            outcome.count(result)
    return outcome, unfinished


def _score_shards(out: Path, shards: list[Shard], facts: Facts, outcome: Outcome) -> None:
    """Score ``shards``; write the results of a shard as soon as the shard is complete, and count them in ``outcome``.

    If a shard cannot be read, no results are written, and ``outcome`` gets the reason.

    Raises:
        Unfinished: if Ray stops.
    """
    incomplete = {shard.address: shard for shard in shards}
    pieces_by_shard = defaultdict(list)
    dataset = scored_pieces(pieces_dataset(shards, facts.batch_size), facts)
    # The value -1 lets Ray continue if a process dies. The pieces that the dead process was computing are then missing.
    dataset.context.max_errored_blocks = -1
    display = ProgressDisplay[None](title="scoring", unit="shard", total=outcome.shards, start=outcome.kept, leave=True)
    recordings = 0
    began = time.monotonic()
    try:
        with display:
            for row in dataset.iter_rows():
                piece = row["piece"]
                pieces_by_shard[piece.shard].append(piece)
                recordings += len(piece.rows)
                speed = recordings / max(time.monotonic() - began, 1e-9)
                display.facts = [counted(recordings, "recording"), f"{speed:.1f} recordings/s"]
                if outcome.unread:
                    display.facts.append(f"{counted(len(outcome.unread), 'shard')} not read")
                pieces = _in_order_if_complete(pieces_by_shard[piece.shard])
                display.update(int(pieces is not None))
                if pieces is None:
                    continue
                del pieces_by_shard[piece.shard]
                shard = incomplete.pop(piece.shard)
                if pieces[-1].fault is not None:
                    outcome.unread[shard.address] = pieces[-1].fault
                else:
                    rows = [row for piece in pieces for row in piece.rows]
                    outcome.count(write_results(out, shard, rows, has_lists=not facts.judgement.is_score))
    except library("ray").exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        raise Unfinished(
            f"Ray stopped ({type(cause).__name__}: {first_line(cause)}); what is written is kept, and the same command resumes"
        ) from error
    outcome.unread |= dict.fromkeys(incomplete, _KILLED)


def _in_order_if_complete(pieces: Sequence[Piece]) -> list[Piece] | None:
    in_order = sorted(pieces, key=lambda piece: piece.number)
    last = in_order[-1]
    return in_order if last.last and len(in_order) == last.number + 1 else None
