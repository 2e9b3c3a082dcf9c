"""A corpus to a score file that is complete, in order, and never half written.

During the run, scores go to a journal beside the file, batch by batch. If the run is interrupted,
the same command continues from the journal and gives exactly the same file. The finished file
appears by renaming. The record ``{out}.json`` beside it tells what made it and which trials are
missing.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.audio.read import SAMPLE_RATE
from nes2net.corpora.trial import Trial
from nes2net.errors import InputError, counted, worded
from nes2net.machine.files import check_no_device
from nes2net.machine.locks import exclusive_lock
from nes2net.machine.processes import Processes, joined
from nes2net.machine.progress import ProgressDisplay
from nes2net.machine.terminal import printable
from nes2net.scoring.batches import (
    Group,
    ReadBatch,
    default_batch_size,
    default_workers,
    filled_rows,
    header_length,
    plan_batches,
    read_batches,
)
from nes2net.scoring.corpus_frames import FramesOfBatch
from nes2net.scoring.journal import (
    Journal,
    Journalled,
    Scored,
    journal_path,
    read_journals,
    remove_journals,
    stamp,
    write_finished,
)
from nes2net.scoring.kernel import Result, scoring_mode, start
from nes2net.scoring.record import (
    audio_digest,
    check_unchanged,
    circumstances,
    plain,
    read_record,
    run_identity,
)
from nes2net.scoring.score_file import check_ids, read_scores
from nes2net.scoring.scorer import Scorer, depends_on_batch
from nes2net.scoring.segment_file import read_segment_scores
from nes2net.scoring.system_scores import check_system_scores
from nes2net.scoring.waveforms import Crop, Transform, WaveformReader


class NothingScored(InputError):
    """Not one trial could be scored."""


@dataclass
class ScoringResult:
    """The outcome of :func:`score_trials`."""

    path: Path
    """The score file."""
    total: int
    """Number of trials."""
    failures: dict[str, str] = field(default_factory=dict)
    """Reasons by id, for the trials without a score."""
    already_complete: bool = False
    """Whether an earlier run had finished the file."""
    resolution_ms: float | None = None
    """Length of a frame in ms; None for scores of utterances."""

    @property
    def scored(self) -> int:
        """Number of trials with a score, or with scores of their frames."""
        return self.total - len(self.failures)

    @property
    def record_path(self) -> Path:
        """The JSON beside the scores."""
        return self.path.with_name(f"{self.path.name}.json")


@dataclass(frozen=True)
class _Settings:
    """The arguments of :func:`score_trials` that say how trials are scored."""

    batch_size: int
    num_workers: int | None
    on_error: str
    legacy_train_mode: bool
    compile: bool
    frames: FramesOfBatch | None
    display: ProgressDisplay[None] | None


class ScoringOptions(TypedDict, total=False):
    """Arguments of :func:`score_trials` that say how to score and nothing of what."""

    crop: Crop
    crop_seed: int
    batch_size: int | None
    num_workers: int | None
    on_error: str
    overwrite: bool
    legacy_train_mode: bool
    compile: bool
    transform: Transform | None
    display: ProgressDisplay[None] | None


#: A group, and the function that waits for its results.
_Started: TypeAlias = tuple[Group, Callable[[], Sequence[Result | NDArray]]]


class Share(NamedTuple):
    """The scores of a batch, or of one process."""

    scores: dict[str, Scored]
    """By id of the trial."""
    failures: dict[str, str]
    """Reasons for missing scores, by id of the trial."""
    num_samples: int
    """How many samples the detector got."""


def score_trials(
    scorer: Scorer,
    trials: Sequence[Trial],
    out: str | Path,
    *,
    num_samples: int | None,
    crop: Crop = "head",
    crop_seed: int = 0,
    batch_size: int | None = None,
    num_workers: int | None = None,
    on_error: str = "skip",
    overwrite: bool = False,
    legacy_train_mode: bool = False,
    compile: bool = False,
    resolution_ms: float | None = None,
    transform: Transform | None = None,
    about: Mapping[str, Any] | None = None,
    display: ProgressDisplay[None] | None = None,
) -> ScoringResult:
    """Score ``trials`` into the file ``out``: one line ``utterance score`` per trial, in order.

    With ``resolution_ms`` it has a line ``utterance frame score`` for each frame of each trial
    (:mod:`nes2net.scoring.segment_file`). A whole utterance of up to 30 s is then scored in one
    piece, and a longer one in windows (:func:`nes2net.scoring.frame_scores.frame_scores`).

    Each score equals the one computed alone, up to the rounding of float32: utterances share a
    batch only if they give the detector the same number of samples, and there is no padding. The
    exception is a front-end with ``normalize: batch``, which is said; the batch size then belongs
    to the run. Under
    ``torchrun`` each process scores a share, and the first one writes the file. The file is the
    same to the last bit for any number of processes and interruptions, if each process has the same
    number of threads. The detector is left in the mode in which it was.

    Args:
        num_samples: how many leading samples of each utterance to take, repeated if there are fewer
            ('4sec'); None for whole utterances ('full').
        crop: ``"random"`` takes them from a start that is drawn for each utterance, as the authors
            of some published detectors do.
        crop_seed: of those starts, which depend on it and on the utterance's file alone.
        batch_size: largest number of utterances in a batch; None for 8 on a CPU and 64 on a GPU.
            Whole utterances of more than 4 s share a batch up to as many samples. A batch that does
            not fit into memory is scored in parts.
        num_workers: processes that read audio; 0 for reading in this process, None for a number
            that suits the device.
        on_error: ``"skip"`` leaves out a file that cannot be read and names it in the result; the
            same call tries it again later. ``"raise"`` stops.
        overwrite: replace a finished score file, or the journals of another run.
        legacy_train_mode: score as the published In-the-Wild scoring, which never left train mode:
            with the batch statistics of single utterances, and with dropout (deviation 2). The
            random numbers come from one stream per utterance.
        compile: compile the detector for the batches of '4sec' (:meth:`nes2net.Detector.compile`).
            It stays compiled.
        resolution_ms: length of the frames to score, one of the detector's; None for one score an
            utterance.
        transform: changes each whole utterance before it is cut; it belongs to the run.
        about: plain data for ``{out}.json``, such as the corpus, the checkpoint and its recipe.
        display: counts the utterances, if several corpora share it; one of this call if not given.

    Raises:
        InputError: if the detector fuses scores of other systems that the trials do not have
            (:func:`nes2net.scoring.system_scores.with_system_scores`); if it does not score frames of
            ``resolution_ms``, or these are not to be of whole utterances; if ``out`` is a folder or a
            device, belongs to another run, or another run is writing it; if it, or audio of its
            trials, was changed since it was finished; if there are no trials, or a score file
            cannot hold an id; if no trial could be scored; if an argument is out of its range; or
            if the disk is full.
        Unfinished: if a process that reads audio was killed or hangs; the scores so far are kept.
    """
    out = Path(out)
    if not trials:
        raise InputError("there are no trials to score: the protocol is empty")
    check_ids(trial.id for trial in trials)
    if out.is_dir():
        raise InputError(f"{out} is a folder: name a file in it for the scores")
    for written in (out, ScoringResult(out, len(trials)).record_path):
        check_no_device(written)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"`batch_size` is at least 1, not {batch_size}")
    reader = replace(WaveformReader.of(scorer, num_samples, crop=crop, seed=crop_seed), transform=transform)
    if on_error not in ("skip", "raise"):
        raise InputError(f"`on_error` is 'skip' or 'raise', not {on_error!r}")
    if compile and num_samples is None:
        raise InputError(
            "a detector can be compiled only for waveforms of one length, as in '4sec': leave out `compile=True`"
        )
    if legacy_train_mode and scorer.precision == "int8":
        raise InputError("a detector in int8 has no train mode: score as published in float32")
    check_system_scores(trials, scorer.num_scores)
    frames = None
    if resolution_ms is not None:
        if num_samples is not None or legacy_train_mode or transform is not None:
            raise InputError(
                "frames are scored of whole utterances as they are, in eval mode: leave `num_samples` out, and the transform"
            )
        frames = FramesOfBatch(scorer, resolution_ms)
        reader = replace(reader, min_samples=1)  # a repeated utterance would have frames behind its end
    about = plain(about or {})
    batch_size = default_batch_size(scorer.computes_on) if batch_size is None else batch_size
    settings = _Settings(batch_size, num_workers, on_error, legacy_train_mode, compile, frames, display)
    run = run_identity(scorer, trials, num_samples, legacy_train_mode, compile)
    if depends_on_batch(scorer):
        run["batch_size"] = batch_size
    if crop != "head":
        run |= {"crop": crop, "crop_seed": crop_seed}
    if transform is not None:
        run["transform"] = transform.identity
    if frames is not None:
        run["resolution_ms"] = frames.resolution_ms
    lock = out.with_name(f".{out.name}.lock")
    with scoring_mode(scorer, legacy_train_mode), joined() as processes:
        refusal = f"another run is writing {out}: wait for it, or name another file"
        with exclusive_lock(lock, refusal) if processes.rank == 0 else nullcontext():
            return _score_together(scorer, trials, out, run, overwrite, settings, reader, processes, about)


def _score_together(
    scorer: Scorer,
    trials: Sequence[Trial],
    out: Path,
    run: dict[str, Any],
    overwrite: bool,
    settings: _Settings,
    reader: WaveformReader,
    processes: Processes,
    about: dict[str, Any],
) -> ScoringResult:
    """Score the share of this process; the first process also writes the file."""
    began = time.monotonic()
    result, finished, journalled = _earlier_scores(out, trials, run, overwrite, processes)
    processes.wait()  # all processes must have read the same journals before one changes
    if processes.rank == 0 and journalled is None:
        remove_journals(out)
    processes.wait()
    if result.already_complete:
        return result
    journalled = journalled or Journalled({}, {})
    if processes.rank == 0 and "batch_size" in run:
        tqdm.write(
            f"the front-end normalises the batch as a whole, so a score depends on the {counted(settings.batch_size, 'utterance')} of its "
            "batch: a front-end without `normalize: batch` has scores that do not",
            file=sys.stderr,
        )
    known = finished | journalled.scores
    failed = {} if settings.on_error == "raise" else journalled.failures

    if settings.compile:
        scorer.compile(dynamic=False)
    with Journal(journal_path(out, processes.rank), run) as journal:
        if processes.rank == 0:  # keep the scores of the finished file, which is removed before the new one appears
            journal.add({name: score for name, score in finished.items() if name not in journalled.scores})
        share = _score_share(scorer, trials, known.keys() | failed.keys(), journal, settings, reader, processes)

    shares = processes.gather(share)
    if processes.rank == 0:
        scores = _merge(result, trials, known, failed, shares)
        record = {
            "run": run,
            "total": result.total,
            "scored": result.scored,
            "failures": result.failures,
            "audio_sha256": audio_digest(
                [trial for trial in trials if trial.id in scores], {id: audio for id, (_, audio) in scores.items()}
            ),
            **({"resolution_ms": settings.frames.resolution_ms} if settings.frames else {}),
            **about,
            "scored_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "architecture": plain(scorer.config),
            "score_rule": scorer.score_rule,
            **circumstances(scorer, settings.batch_size, processes.count),
            **_speed(shares, time.monotonic() - began, len(known)),
        }
        _finish(result, scores, record)
    return processes.broadcast(result)


def _earlier_scores(
    out: Path, trials: Sequence[Trial], run: dict[str, Any], overwrite: bool, processes: Processes
) -> tuple[ScoringResult, dict[str, Scored], Journalled | None]:
    """Find the scores from which to continue: those of an incomplete file, and those of journals.

    None if the journals are to be removed: those of another run that is to be overwritten, or of a
    file that is complete.
    """
    result = ScoringResult(out, len(trials), resolution_ms=run.get("resolution_ms"))
    finished: dict[str, Scored] = {}
    if out.exists() and not overwrite:
        record = read_record(result.record_path, len(trials))
        if record is None or record.run != run:
            raise InputError(
                f"{out} exists and was made by another run or program{_differing(record.run if record else None, run)}: "
                "pass `overwrite=True` or name another file"
            )
        scored = [trial for trial in trials if trial.id not in record.failures]
        stamps = _stamps(scored, processes)
        check_unchanged(out, record, audio_digest(scored, stamps))
        if not record.failures:
            result.already_complete = True
            another = read_journals(out, run) is None  # of an interrupted run that was to overwrite the file
            return result, {}, Journalled({}, {}) if another else None
        earlier: Mapping[str, float | NDArray] = (
            {id: scores.astype(np.float32) for id, scores in read_segment_scores(out).scores.items()}
            if "resolution_ms" in run
            else dict(zip(*read_scores(out)))
        )
        finished = {id: Scored(score, stamps[id]) for id, score in earlier.items() if id in stamps}
    journalled = read_journals(out, run)
    if journalled is None and not overwrite:
        raise InputError(
            f"{journal_path(out)} was left by a run of another model, protocol or corpus, length, precision or device: "
            "pass `overwrite=True` or remove it"
        )
    if journalled is not None:
        journalled = _of_same_audio(journalled, trials, processes)
    return result, finished, journalled


def _of_same_audio(journalled: Journalled, trials: Sequence[Trial], processes: Processes) -> Journalled:
    """Leave out scores of files that were replaced since, or may have been, and say so."""
    stamps = _stamps([trial for trial in trials if trial.id in journalled.scores], processes)
    scores = {id: scored for id, scored in journalled.scores.items() if scored.audio == stamps.get(id)}
    if (replaced := len(journalled.scores) - len(scores)) and processes.rank == 0:
        tqdm.write(
            f"{replaced:,} of {counted(len(journalled.scores), 'file')} scored earlier were replaced since (another size or time of "
            "change), or scored by an earlier version: they are scored again",
            file=sys.stderr,
        )
    return Journalled(scores, journalled.failures)


def _stamps(trials: Sequence[Trial], processes: Processes) -> dict[str, str]:
    """The stamps of the files of ``trials`` by id, as the first process sees them."""
    return processes.broadcast({trial.id: stamp(trial.path) for trial in trials} if processes.rank == 0 else None)


def _differing(theirs: dict[str, Any] | None, ours: dict[str, Any]) -> str:
    """Name the differences between two runs.

    >>> _differing({"model": "a", "resolution_ms": 20.0}, {"model": "b"})
    ' (another model, resolution_ms)'
    """
    if theirs is None:
        return ""
    names = [name for name in theirs | ours if theirs.get(name) != ours.get(name)]
    return f" (another {', '.join(names)})"


def _score_share(
    scorer: Scorer,
    trials: Sequence[Trial],
    done: Container[str],
    journal: Journal,
    settings: _Settings,
    reader: WaveformReader,
    processes: Processes,
) -> Share:
    """Score the trials of this process that are not done."""
    shares = batches_scored(
        scorer,
        trials,
        reader,
        settings.batch_size,
        settings.num_workers,
        legacy_train_mode=settings.legacy_train_mode,
        compiled=settings.compile,
        frames=settings.frames,
        done=done,
        processes=processes,
    )
    with closing(shares):
        return _collect(shares, trials, done, journal, settings, processes)


def batches_scored(
    scorer: Scorer,
    trials: Sequence[Trial],
    reader: WaveformReader,
    batch_size: int,
    num_workers: int | None = None,
    *,
    legacy_train_mode: bool = False,
    compiled: bool = False,
    frames: FramesOfBatch | None = None,
    done: Container[str] = frozenset(),
    processes: Processes | None = None,
) -> Generator[Share, None, None]:
    """Read and score ``trials`` batch by batch, in the current mode of ``scorer``.

    Whole utterances share a batch up to the samples of ``batch_size`` utterances of 4 s.

    Args:
        compiled: compute ``batch_size`` rows for every batch.
        frames: score frames instead of utterances.
        done: ids of trials; a batch that has only such trials is left out.
        processes: score the share of this one of them.

    The other arguments are those of :func:`score_trials`.
    """
    device, processes = scorer.device, processes or Processes()
    whole = reader.num_samples is None and not legacy_train_mode
    if whole and device.type == "cuda":
        # How many plans of convolutions PyTorch keeps, at 200 KiB each; it reads this at the first
        # convolution. Each shape has some 85 plans, and a length hardly ever returns.
        os.environ.setdefault("TORCH_CUDNN_V8_API_LRU_CACHE_LIMIT", "1000")
    most_samples = batch_size * ASVSPOOF_SAMPLES
    batches = plan_batches(
        trials,
        1 if legacy_train_mode else batch_size,
        header_length(reader) if whole else None,
        most_samples=most_samples if whole else None,
        done=done,
        rank=processes.rank,
        num_processes=processes.count,
    )

    rows = rows_to_compute(scorer, batch_size, whole=whole, legacy_train_mode=legacy_train_mode, compiled=compiled)
    workers = default_workers(scorer.computes_on) if num_workers is None else num_workers
    read = read_batches(batches, reader, workers, pin_memory=device.type == "cuda")
    with (
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),  # the device to pin memory for
        closing(read),
    ):
        yield from score_batches(
            scorer,
            read,
            random_streams=legacy_train_mode,
            rows=rows,
            frames=frames,
            system_scores={trial.id: trial.system_scores for trial in trials} if scorer.num_scores else None,
        )


def rows_to_compute(
    scorer: Scorer, batch_size: int, *, whole: bool, legacy_train_mode: bool = False, compiled: bool = False
) -> Callable[[Tensor], int | None]:
    """The ``rows`` for :func:`score_batches`: how many to compute for waveforms B×N.

    Args:
        whole: whether whole utterances are scored, which share a batch up to the samples of
            ``batch_size`` utterances of 4 s.
    """
    batch_matters = depends_on_batch(scorer)

    def rows(waveforms: Tensor) -> int | None:
        if legacy_train_mode or batch_matters:  # the statistics of a batch are those of its own utterances
            return None
        if compiled:
            return batch_size
        most = max(1, batch_size * ASVSPOOF_SAMPLES // waveforms.shape[1]) if whole else batch_size
        return filled_rows(scorer.computes_on, len(waveforms), min(most, batch_size))

    return rows


def score_batches(
    scorer: Scorer,
    batches: Iterable[ReadBatch],
    *,
    random_streams: bool = False,
    rows: Callable[[Tensor], int | None] = lambda _: None,
    ahead: int | None = None,
    frames: FramesOfBatch | None = None,
    system_scores: Mapping[str, Sequence[float]] | None = None,
) -> Generator[Share, None, None]:
    """Score one batch after another, in the current mode of ``scorer``.

    Args:
        random_streams: for a detector in train mode: the first id of a batch names its stream of
            random numbers.
        rows: gives the ``rows`` of :func:`nes2net.scoring.kernel.start` for waveforms B×N.
        ahead: how many further batches are started before the scores of one are waited for; None
            for one on a GPU, which is then never idle, and 0 on a CPU.
        frames: score frames instead of utterances.
        system_scores: by id of the trial, for a detector that takes scores of other systems.
    """
    ahead = int(scorer.device.type == "cuda") if ahead is None else ahead
    under_way: deque[tuple[ReadBatch, list[_Started]]] = deque()
    for batch in batches:
        started: list[_Started] = []
        for group in batch.groups:
            if frames is not None:
                started.append((group, frames.start(group.waveforms, rows=rows(group.waveforms))))
                continue
            stream = group.ids[0] if random_streams else None
            inputs = [group.waveforms]
            if system_scores is not None:
                inputs.append(torch.tensor([system_scores[id] for id in group.ids]))
            started.append((group, start(scorer, *inputs, stream=stream, rows=rows(group.waveforms))))
        under_way.append((batch, started))
        if len(under_way) > ahead:
            yield _wait_for(*under_way.popleft())
    while under_way:
        yield _wait_for(*under_way.popleft())


def _wait_for(batch: ReadBatch, started: list[_Started]) -> Share:
    scores: dict[str, Scored] = {}
    failures = dict(batch.failures)
    for group, wait in started:
        for id, audio, result in zip(group.ids, group.audio, wait()):
            if isinstance(result, str):
                failures[id] = result
            else:
                scores[id] = Scored(result, audio)
    return Share(scores, failures, sum(group.waveforms.numel() for group in batch.groups))


def _collect(
    scored: Iterable[Share],
    trials: Sequence[Trial],
    done: Container[str],
    journal: Journal,
    settings: _Settings,
    processes: Processes,
) -> Share:
    """Put the batches together and into the journal, and show the progress.

    Only the first process shows it, for its share.
    """
    scores: dict[str, Scored] = {}
    failures: dict[str, str] = {}
    num_samples, began = 0, time.monotonic()
    alone, num_done = processes.count == 1, sum(trial.id in done for trial in trials)
    shared = settings.display
    with (
        ProgressDisplay[None](
            title=f"scoring{'' if alone else f' (process 1 of {processes.count})'}",
            unit="utterance",
            total=len(trials) if alone else -(-(len(trials) - num_done) // processes.count),
            start=num_done if alone else 0,
            shown=processes.rank == 0,
            leave=True,
        )
        if shared is None
        else nullcontext(shared) as display
    ):
        for batch in scored:
            journal.add(batch.scores, batch.failures)
            for id, reason in batch.failures.items():
                if settings.on_error == "raise":
                    raise InputError(f"{id}: {reason}")
                if processes.rank == 0:
                    tqdm.write(printable(worded(f"left out: {id}: {reason}")), file=sys.stderr)
            scores |= batch.scores
            failures |= batch.failures
            num_samples += batch.num_samples
            seconds = max(time.monotonic() - began, 1e-9)
            display.facts = [
                f"{len(scores) / seconds:.1f} utterances/s",
                f"{num_samples / SAMPLE_RATE / seconds:.1f}× real time",
            ]
            if failures:
                display.facts.append(f"{len(failures)} left out")
            display.update(sum(id not in done for id in (*batch.scores, *batch.failures)))
    return Share(scores, failures, num_samples)


def _speed(shares: Sequence[Share], seconds: float, num_kept: int) -> dict[str, Any]:
    """Duration of this run and of the audio that it scored, without the runs that it continues."""
    heard = sum(share.num_samples for share in shares) / SAMPLE_RATE
    return {
        "kept_from_earlier_runs": num_kept,
        "seconds": round(seconds, 3),
        "audio_seconds": round(heard, 3),
        "audio_seconds_per_second": round(heard / seconds, 3),
    }


def _merge(
    result: ScoringResult,
    trials: Sequence[Trial],
    known: Mapping[str, Scored],
    failed: Mapping[str, str],
    shares: Sequence[Share],
) -> dict[str, Scored]:
    """Put the scores of all processes and earlier runs in order, and complete ``result``."""
    found, reasons = dict(known), dict(failed)
    for share in shares:
        found |= share.scores
        reasons |= share.failures
    scores = {trial.id: found[trial.id] for trial in trials if trial.id in found}
    result.failures = {trial.id: reasons[trial.id] for trial in trials if trial.id not in found}
    if not scores:
        remove_journals(result.path)  # they hold only failures, which the next run must try again
        some = "; ".join(f"{name}: {reason}" for name, reason in list(result.failures.items())[:3])
        raise NothingScored(f"not one of {counted(len(trials), 'trial')} could be scored: {some}")
    return scores


def _finish(result: ScoringResult, scores: Mapping[str, Scored], record: Mapping[str, Any]) -> None:
    """Write the score file and its record.

    Raises:
        InputError: if they cannot be written; the journals then keep the scores.
    """
    try:
        write_finished(result.path, scores, result.record_path, record)
    except OSError as error:
        raise InputError(
            f"{result.path}: cannot be written ({error.strerror}); every score is kept in "
            f"{journal_path(result.path)}: make room, and the same command goes on"
        ) from error
