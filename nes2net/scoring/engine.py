"""Run over a corpus: compute a row for each trial, keep the rows, and write the complete file.

An :class:`~nes2net.scoring.output.Output` (scores, class logits, frame scores, embeddings, traits)
defines the value of a trial, its form in the journal, and the finished file. Batch by batch, rows
go to a journal beside the file (:mod:`nes2net.scoring.journal`), from which the same call resumes
after an interruption and gives exactly the same file. The finished file is written under another
name and renamed. Its record ``{out}.json`` states the run, and the trials without a row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Generic, Literal, TypeAlias, TypeVar

from typing_extensions import NamedTuple  # in Python 3.10, NamedTuple of typing cannot be generic

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import Trial, Trials
from nes2net.lib.errors import InputError, check_setting, pluralise, refuse
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.sheet import Facts
from nes2net.lib.output.terminal import say_aside
from nes2net.lib.output.times import utc_now
from nes2net.lib.process.processes import ALONE, Processes, join_processes
from nes2net.lib.storage.claims import Claim
from nes2net.lib.storage.files import AnyPath, check_no_device, exclusive_lock, json_text, replacing, sha256_of, writing
from nes2net.scoring.journal import JournalRow, Reasons, Stamps, journal_path
from nes2net.scoring.output import Keeper, Output
from nes2net.scoring.record import audio_digest, plain, read_record, record_path

_ROWS_AT_ONCE = 1024  # number of rows in memory at once while the rows of a finished file are copied

T = TypeVar("T")
B = TypeVar("B")

#: If the file of a run exists: for the same run, False and ``"others"`` resume; for another run,
#: False raises, and ``"others"`` replaces it. True always replaces it.
Overwrite: TypeAlias = bool | Literal["others"]


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run is computed and resumed.

    Settings change rows only by rounding, except ``batch_size`` with ``normalize: batch``.

    Raises:
        InputError: if ``batch_size`` is below 1.
    """

    batch_size: int | None = None
    """Utterances in a batch; None for 8 on a CPU and 64 on a GPU. Of whole utterances, at most as many
    samples as ``batch_size`` utterances of 4 s. Split if memory is short."""
    num_workers: int | None = None
    """Workers that read audio; 0 for this process, None to suit the device."""
    overwrite: Overwrite = False
    """Replace a finished file or another run's journals; see :data:`Overwrite`."""
    alone: bool = False
    """Work alone even under ``torchrun``; other processes must not call :func:`run_over`."""
    title: str = ""
    """Title of the progress display; empty for the output's word."""
    later_passes: int = 0
    """Later passes over the same trials, included in the time left."""

    def __post_init__(self) -> None:
        check_setting("batch_size", self.batch_size, self.batch_size is None or self.batch_size >= 1, "at least 1")


class NothingDone(InputError):
    """Raised if all trials failed; ``failures`` maps id → reason."""

    def __init__(self, message: str, failures: Reasons) -> None:
        super().__init__(message)
        self.failures = failures


@dataclass
class Finished:
    """The outcome of :func:`run_over`."""

    path: Path
    """The finished file."""
    total: int
    """Number of trials."""
    failures: Reasons = field(default_factory=dict)
    """Id → reason."""
    already_complete: bool = False
    """An earlier run finished the file."""
    what: str = "rows"
    """Kind of the rows, such as ``"scores"``."""

    @property
    def done(self) -> int:
        """Trials with a row."""
        return self.total - len(self.failures)

    @property
    def record_path(self) -> Path:
        """The JSON record beside the file."""
        return record_path(self.path)


class BatchResult(NamedTuple, Generic[T]):
    """The rows and failures of a batch."""

    rows: dict[str, JournalRow[T]]
    """Id → row."""
    failures: Reasons
    """Id → reason of a missing row."""
    num_samples: int = 0
    """Samples in the waveforms."""


#: ``read(trials, done, processes)`` reads the batches of this process, whose rank and number
#: ``processes`` states; it omits batches whose ids are all in ``done``.
BatchReader: TypeAlias = Callable[[Trials, Container[str], Processes], Generator[B, None, None]]


def run_over(
    trials: Trials,
    read: BatchReader[B],
    compute: Callable[[Iterator[B]], Generator[BatchResult[T], None, None]],
    output: Output[T],
    out: AnyPath,
    *,
    run: Facts,
    about: Facts,
    settings: RunSettings | None = None,
) -> Finished:
    """Read the batches of ``trials``, compute a row for each trial, and write the rows in order to ``out``.

    Args:
        read: reads this process's batches, except those of earlier runs.
        compute: computes the rows batch by batch.
        run: plain data, equal for two runs if and only if their rows may share a file.
        about: further plain data for the record.
        settings: ``batch_size`` and ``num_workers`` are used only by ``read``.

    Raises:
        InputError: if ``out`` is a folder or a device, belongs to another run, or is being written
            by another process; if ``out``, or audio of its trials, was changed after ``out`` was
            finished; if there are no trials, or the file cannot hold an id; if no trial gave a row;
            or if the disk is full.
        Unfinished: if a worker was killed or hangs; the rows so far are kept.
    """
    out = Path(out)
    run = plain(run)
    settings = settings or RunSettings()
    refuse(
        (not trials, "there are no trials to score, because the list is empty: add trials to it"),
        (out.is_dir(), f"{out} is a folder: name a file in it for the {output.what}"),
    )
    output.check(trials, out)
    for path in (*output.files(out), record_path(out)):
        check_no_device(path)
    lock = out.with_name(f".{out.name}.lock")
    refusal = f"another run is writing {out}: wait for it, or name another file"
    with (
        nullcontext(ALONE) if settings.alone else join_processes() as processes,
        exclusive_lock(lock, refusal) if processes.rank == 0 else nullcontext(),
    ):
        began = time.monotonic()
        result = Finished(out, len(trials))
        earlier = _find_earlier_work(result, trials, output, run, settings.overwrite, processes)
        processes.wait()  # barrier: process 0 changes journals only after all processes have read them
        if processes.rank == 0 and earlier.starts_again:
            output.forget(out)
        processes.wait()
        if result.already_complete:
            result.what = output.rows_are(out)
            return result
        failed = earlier.failures
        ids_done = earlier.audio.keys() | failed.keys()
        num_done = sum(trial.id in ids_done for trial in trials)
        bar = _progress_bar(settings.title or output.doing, output.unit, num_done, len(trials), processes)
        bar.later_steps = settings.later_passes * len(trials)
        with output.keeper(out, run, processes.rank) as keeper:
            # Copy the rows of an incomplete finished file to the journal, because the file will be replaced.
            if processes.rank == 0:
                finished_rows = earlier.finished(output)
                while rows := dict(islice(finished_rows, _ROWS_AT_ONCE)):
                    keeper.add(rows)
            with (
                closing(read(trials, ids_done, processes)) as batches,
                closing(compute(batches)) as batch_results,
                bar,
            ):
                process_result = _keep_results(batch_results, keeper, bar, ids_done, processes.rank == 0, output.unit)
        results_of_processes = processes.gather(process_result)
        if processes.rank == 0:
            num_samples = sum(process_result.num_samples for process_result in results_of_processes)
            facts = {
                "run": run,
                "total": result.total,
                **about,
                **_speed(time.monotonic() - began, num_samples / SAMPLE_RATE),
                "processes": processes.count,
                "kept_from_earlier_runs": len(earlier.audio),
            }
            for process_result in results_of_processes:
                failed |= process_result.failures
            _write_finished(result, trials, output, earlier.replaced, failed, facts)
            result.what = output.rows_are(out)
        return processes.broadcast(result)


def _progress_bar(title: str, unit: str, num_done: int, num_trials: int, processes: Processes) -> ProgressDisplay[None]:
    # Only the first process shows progress, and counts only its own trials besides those done before.
    if processes.count > 1:
        title = f"{title} (process 1 of {processes.count})"
    num_own = -(-(num_trials - num_done) // processes.count)
    return ProgressDisplay(title=title, unit=unit, total=num_done + num_own, start=num_done, leave=True)


def _speed(seconds: float, audio_seconds: float) -> dict[str, float]:
    # Without the rows of earlier runs.
    return {
        "seconds": round(seconds, 3),
        "audio_seconds": round(audio_seconds, 3),
        "audio_seconds_per_second": round(audio_seconds / seconds, 3),
    }


class _EarlierWork(NamedTuple):
    """Rows of earlier runs with the same identity."""

    audio: Stamps
    """Id → :func:`~nes2net.scoring.journal.stamp` of the audio, for trials with a row."""
    failures: Reasons
    """Id → reason, from an interrupted run."""
    replaced: set[tuple[str, str]]
    """(id, stamp) of journal rows whose audio was replaced later."""
    starts_again: bool
    """Remove the journals, from which this run cannot resume."""
    out: Path | None = None
    """A finished file that lacks rows, if any."""
    in_journals: Container[str] = frozenset()
    """Ids with a row in a journal."""

    def finished(self, output: Output[T]) -> Iterator[tuple[str, JournalRow[T]]]:
        """Yield usable (id, row) of :attr:`out` that are in no journal."""
        for id, value in output.read(self.out) if self.out else ():
            if id in self.audio and id not in self.in_journals:
                yield id, JournalRow(value, self.audio[id])


def _find_earlier_work(
    result: Finished,
    trials: Trials,
    output: Output[T],
    run: Facts,
    overwrite: Overwrite,
    processes: Processes,
) -> _EarlierWork:
    """Find rows in a finished file and in journals.

    Sets ``result.already_complete`` if no row is missing. Rows whose audio was replaced are
    outdated.
    """
    out = result.path
    nothing = _EarlierWork({}, {}, set(), True)
    stamps = None  # id → stamp, for the rows of a finished file; None if the file cannot be used
    if out.exists() and overwrite is not True:
        try:
            stamps = _stamps_of_finished(result, trials, output, run, processes)
        except InputError:
            if not overwrite:
                raise
    # A complete file needs no journals of this run; those of another run stay, because it was started to overwrite this
    # file.
    claim = output.claim(out, run)
    if result.already_complete:
        return nothing._replace(starts_again=claim.is_same)
    finished = None if stamps is None else out
    if not claim.is_same and overwrite:
        # The other run's journals are removed; rows of the finished file are used.
        return nothing._replace(audio=stamps or {}, out=finished)
    claim.check("pass `overwrite=True` or remove it")
    with output.open_kept(out) as kept_rows:
        pass  # its stamps and failures stay after closing
    now = _stamps_by_id([trial for trial in trials if trial.id in kept_rows.stamps], output, processes)
    kept = {id: kept_rows.stamps[id] for id in now}
    replaced = {(id, audio) for id, audio in kept.items() if audio != now[id]}
    if replaced and processes.rank == 0:
        say_aside(
            f"{len(replaced):,} of {pluralise(kept, 'file')} {output.done} earlier were replaced since (another size "
            f"or time of change): they are {output.done} again"
        )
    in_journals = {id: audio for id, audio in kept.items() if (id, audio) not in replaced}
    audio = {**(stamps or {}), **in_journals}
    return _EarlierWork(audio, dict(kept_rows.failures), replaced, False, finished, in_journals.keys())


def _stamps_of_finished(
    result: Finished, trials: Trials, output: Output[T], run: Facts, processes: Processes
) -> Stamps:
    """Return id → stamp of the finished file's rows; set ``result.already_complete``."""
    out = result.path
    remedy = "pass `overwrite=True` to replace it, or name another file"
    record = read_record(result.record_path, len(trials), output.what, remedy)
    claim = Claim(out, run, record and record.run, bool(record and not record.failures))
    claim.check(remedy)
    assert record is not None  # otherwise, nobody knows which run made the file
    with_row = [trial for trial in trials if trial.id not in record.failures]
    stamps = _stamps_by_id(with_row, output, processes)
    if sha256_of(out) != record.sha256:
        raise InputError(f"{out}: was cut, edited or replaced since it was written (another SHA-256): {remedy}")
    if audio_digest(with_row, stamps) != record.audio_sha256:
        raise InputError(
            f"{out}: audio of its trials was replaced since then (a file has another size or time of change): {remedy}"
        )
    result.already_complete = claim.is_done
    return stamps


def _stamps_by_id(trials: Iterable[Trial], output: Output[T], processes: Processes) -> Stamps:
    """Read the stamps in the first process, so that all processes agree."""
    stamps_of_rank_0 = None
    if processes.rank == 0:
        stamps_of_rank_0 = {trial.id: output.stamp(trial) for trial in trials}
    return processes.broadcast(stamps_of_rank_0)


def _keep_results(
    batch_results: Iterator[BatchResult[T]],
    keeper: Keeper,
    display: ProgressDisplay[None],
    ids_done: Container[str],
    report_failures: bool,
    unit: str,
) -> BatchResult[T]:
    """Return the failures and the number of samples of all batches; the progress begins with ``ids_done``."""
    failures: Reasons = {}
    count = 0
    num_samples = 0
    began = time.monotonic()
    for result in batch_results:
        keeper.add(result.rows, result.failures)
        for id, reason in result.failures.items():
            if report_failures:
                say_aside(f"failed: {id}: {reason}")
        failures |= result.failures
        count = count + len(result.rows)
        num_samples = num_samples + result.num_samples
        seconds = max(time.monotonic() - began, 1e-9)
        display.facts = [f"{count / seconds:.1f} {unit}s/s"]
        if num_samples:
            display.facts.append(f"{num_samples / SAMPLE_RATE / seconds:.1f}× real time")
        if failures:
            display.facts.append(f"{len(failures)} failed")
        display.update(sum(id not in ids_done for id in (*result.rows, *result.failures)))
    return BatchResult({}, failures, num_samples)


def _write_finished(
    result: Finished,
    trials: Trials,
    output: Output[T],
    replaced: Container[tuple[str, str]],
    reasons: Reasons,
    facts: Facts,
) -> None:
    """Write the finished files and the record, all or none; then remove the journals.

    Files are on the disk before, so that a power cut loses no rows. Sets ``result.failures``.

    Args:
        replaced: (id, stamp) of outdated rows, which are not written.
    """
    out = result.path
    with output.open_kept(out, replaced) as kept_rows:
        used = [trial for trial in trials if trial.id in kept_rows.stamps]
        # A trial that did not fail may have no row: a journal was damaged meanwhile, or the row is too long.
        lost = "its row in the journal is damaged or too long"
        without_row = [trial.id for trial in trials if trial.id not in kept_rows.stamps]
        result.failures = {id: reasons.get(id, lost) for id in without_row}
        if not used:
            output.forget(out)  # the journals hold only failures, and the next run must try these trials again
            some = "; ".join(f"{name}: {reason}" for name, reason in list(result.failures.items())[:3])
            raise NothingDone(
                f"not one of {pluralise(trials, output.unit)} could be {output.done}: {some}", result.failures
            )
        audio = audio_digest(used, kept_rows.stamps)
        remedy = (
            f"all {output.what} are kept in {journal_path(out)}: make room, and run the same command again to resume"
        )
        with writing(out, remedy), ExitStack() as stack:
            files = [stack.enter_context(replacing(path, durable=True)) for path in output.files(out)]
            record_file = stack.enter_context(replacing(result.record_path, durable=True))
            content = output.write(files, len(used), ((trial, kept_rows.value(trial.id)) for trial in used))
            now = utc_now()
            done = {output.done: result.done, f"{output.done}_at": now, "audio_sha256": audio}
            record = {**facts, **done, **content, "failures": result.failures}
            if files:
                record["sha256"] = sha256_of(files[0])
            record_file.write_text(json_text(record, indent=1), encoding="utf-8")
            out.unlink(missing_ok=True)  # the new record must never stand beside an old file
    if files:  # otherwise, the rows stay where they are kept
        output.forget(out)
