"""Scoring a corpus: a detector and trials in, a score file out that is complete, in order, and never half written.

While it runs, scores go batch by batch to a journal beside the file; the same command started again goes on from there, to the very
same file. The finished file appears by renaming, with ``{out}.json`` beside it that says what made it and which trials are missing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from nes2net.batch_scores import BatchScores, Scorer, score_batches, scoring_mode
from nes2net.batching import (
    Reading,
    default_batch_size,
    default_workers,
    header_length,
    plan_batches,
    read_batches,
)
from nes2net.data.audio import SAMPLE_RATE
from nes2net.data.trial import Trial
from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.processes import Processes, alone_at, joined
from nes2net.score_journal import (
    Journal,
    Journalled,
    journal_path,
    read_journals,
    read_scores,
    remove_journals,
    write_scores,
)
from nes2net.score_record import check_names, circumstances, plain, read_record, run_identity


@dataclass
class ScoringResult:
    """What :func:`score_trials` did: ``scored`` of ``total`` trials, and why each of the others failed."""

    path: Path
    total: int
    scored: int
    failures: dict[str, str] = field(default_factory=dict)
    already_complete: bool = False

    @property
    def record_path(self) -> Path:
        """The JSON beside the scores."""
        return self.path.with_name(f"{self.path.name}.json")


@dataclass(frozen=True)
class _Settings:
    """How trials are scored, as :func:`score_trials` was told."""

    num_samples: int | None
    batch_size: int
    num_workers: int | None
    on_error: str
    legacy_train_mode: bool
    compile: bool


class _Kept(NamedTuple):
    """What earlier runs left: the scores of a finished file that lacks some, and journals."""

    finished: dict[str, float]
    journalled: Journalled


class _Part(NamedTuple):
    """What one process scored."""

    scores: dict[int, float]
    failures: dict[int, str]
    num_samples: int


def score_trials(
    detector: Scorer,
    trials: Sequence[Trial],
    out: str | Path,
    *,
    num_samples: int | None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    on_error: str = "skip",
    overwrite: bool = False,
    legacy_train_mode: bool = False,
    compile: bool = False,
    about: Mapping[str, Any] | None = None,
) -> ScoringResult:
    """Score ``trials`` into the file ``out``: one line ``utterance score`` per trial, in the order given.

    Every score is the one computed alone, up to the rounding of float32: utterances share a batch only where they give the detector the
    same number of frames, and no padding is heard. Started by ``torchrun``, each process scores a part and the first one writes the
    file, which is the same to the last bit for any number of processes and interruptions, each process having as many threads. The
    detector is left in the mode that it was in.

    Args:
        num_samples: the first so many samples of each utterance, repeated when there are fewer ('4sec'); None for whole utterances
            ('full').
        batch_size: utterances at once, at most; None: 8 on the CPU, 64 on a GPU. What memory is too small for is scored in parts.
        num_workers: processes that read audio; 0 reads in this one, None chooses by the device.
        on_error: ``"skip"`` leaves a file that cannot be read out of the score file and names it in the result; the same call tries those
            again once the file is finished. ``"raise"`` stops.
        overwrite: start anew over a finished score file or the journals of another run.
        legacy_train_mode: the published In-the-Wild scoring, which never left train mode: batch statistics of single utterances and
            dropout (deviation 2), drawn from a stream of each utterance's own.
        compile: compile the detector (``torch.compile``) for the batches of '4sec', which takes minutes; compiled it stays.
        about: plain data for ``{out}.json``: the corpus, the checkpoint, its recipe.

    Raises:
        InputError: ``out`` exists and is another run's, another run is writing it, no trials or two of one name, not one of them could be
            scored, a number that is none of samples or utterances, or the disk is full.
    """
    out = Path(out)
    if not trials:
        raise InputError("there are no trials to score: the protocol is empty")
    check_names(trials)
    if out.is_dir():
        raise InputError(f"{out} is a folder: name a file in it for the scores")
    for name, number in (("batch_size", batch_size), ("num_samples", num_samples)):
        if number is not None and number < 1:
            raise InputError(f"{name} is at least 1, not {number}")
    if on_error not in ("skip", "raise"):
        raise InputError(f"on_error is 'skip' or 'raise', not {on_error!r}")
    if compile and (num_samples is None or not isinstance(detector, Detector)):
        raise InputError(
            "what is compiled is a detector, not an exported one, and for waveforms of one length: '4sec' only; "
            "leave out --compile"
        )
    about = plain(about or {})
    batch_size = default_batch_size(detector.device) if batch_size is None else batch_size
    settings = _Settings(num_samples, batch_size, num_workers, on_error, legacy_train_mode, compile)
    run = run_identity(detector, trials, num_samples, legacy_train_mode, compile)
    lock = out.with_name(f".{out.name}.lock")
    with scoring_mode(detector, legacy_train_mode), joined() as processes:
        refusal = f"another run is writing {out}: wait for it, or name another file"
        with alone_at(lock, refusal) if processes.rank == 0 else nullcontext():
            return _score(detector, trials, out, run, overwrite, settings, processes, about)


def _score(
    detector: Scorer,
    trials: Sequence[Trial],
    out: Path,
    run: dict[str, Any],
    overwrite: bool,
    settings: _Settings,
    processes: Processes,
    about: dict[str, Any],
) -> ScoringResult:
    """What several processes do together: each scores its share, the first one writes the file."""
    began = time.monotonic()
    result, kept = _what_is_there(out, trials, run, overwrite)
    processes.wait()  # before a journal changes, all have read the same ones
    if processes.rank == 0 and kept is None:
        remove_journals(out)
    processes.wait()
    if result.already_complete:
        return result
    kept = kept or _Kept({}, Journalled({}, {}))
    known = kept.finished | kept.journalled.scores
    failed = {} if settings.on_error == "raise" else kept.journalled.failures

    if settings.compile:
        detector.compile(dynamic=False)
    with Journal(journal_path(out, processes.rank), run) as journal:
        if processes.rank == 0:  # the finished file goes before the new one comes
            journal.add({name: score for name, score in kept.finished.items() if name not in kept.journalled.scores})
        part = _score_share(detector, trials, known.keys() | failed.keys(), journal, settings, processes)

    parts = processes.gather(part)
    if processes.rank == 0:
        scores = _merge(result, trials, known, failed, parts)
        record = {
            "run": run,
            "total": result.total,
            "scored": result.scored,
            "failures": result.failures,
            **about,
            "architecture": detector.config,
            **circumstances(detector, settings.batch_size, processes.count),
            **_speed(parts, time.monotonic() - began, len(known)),
        }
        _finish(result, scores, record)
    return processes.broadcast(result)


def _what_is_there(
    out: Path, trials: Sequence[Trial], run: dict[str, Any], overwrite: bool
) -> tuple[ScoringResult, _Kept | None]:
    """Scores to go on from; None where the journals are wanted no more: another run's, to be overwritten, or of what is complete."""
    result, finished = ScoringResult(out, len(trials), 0), {}
    if out.exists() and not overwrite:
        previous = read_record(result.record_path)
        if previous.get("run") != run:
            raise InputError(
                f"{out} exists and was made by another run or program{_differing(previous.get('run'), run)}: pass --overwrite or name "
                "another file"
            )
        if not previous["failures"]:
            result.scored, result.already_complete = previous["scored"], True
            another = read_journals(out, run) is None  # a run with --overwrite that was interrupted
            return result, _Kept({}, Journalled({}, {})) if another else None
        finished = read_scores(out)
    journalled = read_journals(out, run)
    if journalled is None and not overwrite:
        raise InputError(
            f"{journal_path(out)} was left by a run of another model, protocol or corpus, length, precision or device: pass --overwrite or "
            "remove it"
        )
    return result, None if journalled is None else _Kept(finished, journalled)


def _differing(theirs: Any, ours: dict[str, Any]) -> str:
    """In what two runs differ, in words.

    >>> _differing({"model": "a", "dtype": "float32"}, {"model": "a", "dtype": "bfloat16"})
    ' (another dtype)'
    """
    if not isinstance(theirs, dict):
        return ""
    return f" (another {', '.join(name for name in ours if theirs.get(name) != ours[name])})"


def _score_share(
    detector: Scorer,
    trials: Sequence[Trial],
    done: Container[str],
    journal: Journal,
    settings: _Settings,
    processes: Processes,
) -> _Part:
    """Score what is this process's to score and is not done."""
    legacy, device = settings.legacy_train_mode, detector.device
    reading = Reading.of(detector, settings.num_samples)
    batches = plan_batches(
        trials,
        1 if legacy else settings.batch_size,
        None if settings.num_samples is not None or legacy else header_length(reading),
        done=done,
        rank=processes.rank,
        num_processes=processes.count,
    )
    workers = default_workers(device) if settings.num_workers is None else settings.num_workers
    read = read_batches(batches, reading, workers, pin_memory=device.type == "cuda")
    names = [t.id for t in trials] if legacy else None
    rows = settings.batch_size if settings.compile and not legacy else None
    with (
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),  # for which memory is pinned
        closing(read),
        closing(score_batches(detector, read, names, rows=rows)) as scored,
    ):
        return _collect(scored, trials, done, journal, settings.on_error, processes)


def _collect(
    scored: Iterable[BatchScores],
    trials: Sequence[Trial],
    done: Container[str],
    journal: Journal,
    on_error: str,
    processes: Processes,
) -> _Part:
    """All that this process scores, in the journal batch by batch. The first process has a bar and names failures, of its own share."""
    scores: dict[int, float] = {}
    failures: dict[int, str] = {}
    num_samples, began = 0, time.monotonic()
    alone, num_done = processes.count == 1, sum(trial.id in done for trial in trials)
    with tqdm(
        total=len(trials) if alone else -(-(len(trials) - num_done) // processes.count),
        initial=num_done if alone else 0,
        desc=f"scoring{'' if alone else f' (process 1 of {processes.count})'}",
        unit="utt",
        dynamic_ncols=True,
        disable=processes.rank > 0,
    ) as bar:
        for batch in scored:
            journal.add(
                *({trials[i].id: found for i, found in kind.items()} for kind in (batch.scores, batch.failures))
            )
            for i, reason in batch.failures.items():
                if on_error == "raise":
                    raise InputError(f"{trials[i].id}: {reason}")
                if processes.rank == 0:
                    tqdm.write(f"left out: {trials[i].id}: {reason}", file=sys.stderr)
            scores |= batch.scores
            failures |= batch.failures
            num_samples += batch.num_samples
            speed = num_samples / SAMPLE_RATE / max(time.monotonic() - began, 1e-9)
            bar.set_postfix_str(f"{speed:.1f}× real time", refresh=False)
            bar.update(sum(trials[i].id not in done for i in (*batch.scores, *batch.failures)))
        bar.total = bar.n
    return _Part(scores, failures, num_samples)


def _speed(parts: Sequence[_Part], seconds: float, num_kept: int) -> dict[str, Any]:
    """How long this run took and how much audio it heard in that time; earlier runs of a resumed one are not counted."""
    heard = sum(part.num_samples for part in parts) / SAMPLE_RATE
    return {
        "kept_from_earlier_runs": num_kept,
        "seconds": round(seconds, 3),
        "audio_seconds": round(heard, 3),
        "audio_seconds_per_second": round(heard / seconds, 3),
    }


def _merge(
    result: ScoringResult,
    trials: Sequence[Trial],
    known: Mapping[str, float],
    failed: Mapping[str, str],
    parts: Sequence[_Part],
) -> dict[str, float]:
    """Scores of all processes and of earlier runs in protocol order; counts and failures go into ``result``."""
    found = {i: score for part in parts for i, score in part.scores.items()}
    reasons = {i: reason for part in parts for i, reason in part.failures.items()}
    scores: dict[str, float] = {}
    for i, trial in enumerate(trials):
        if i in found:
            scores[trial.id] = found[i]
        elif trial.id in known:
            scores[trial.id] = known[trial.id]
        else:
            result.failures[trial.id] = reasons[i] if i in reasons else failed[trial.id]
    if not scores:
        remove_journals(result.path)  # with nothing but failures, which the next run must try again
        some = "; ".join(f"{name}: {reason}" for name, reason in list(result.failures.items())[:3])
        raise InputError(f"not one of {len(trials)} trials could be scored: {some}")
    result.scored = len(scores)
    return scores


def _finish(result: ScoringResult, scores: Mapping[str, float], record: Mapping[str, Any]) -> None:
    try:
        write_scores(result.path, scores, result.record_path, record)
    except OSError as error:
        raise InputError(
            f"{result.path}: cannot be written ({error.strerror}); every score is kept in {journal_path(result.path)}: make room, "
            "and the same command goes on"
        ) from error
