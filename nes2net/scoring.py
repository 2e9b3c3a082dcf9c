"""Scoring a corpus: a detector and trials in, a score file out that is complete, in order, and never half written.

While it runs, scores go batch by batch to a journal beside the file; the same command started again goes on from there, to the very
same file. The finished file appears by renaming, with ``{out}.json`` beside it that says what made it and which trials are missing.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm

from nes2net import __version__
from nes2net.atomic import replacing
from nes2net.batch_scores import BatchScores, Scorer, score_batches
from nes2net.batching import Reading, default_workers, header_length, plan_batches, read_batches
from nes2net.data.audio import SAMPLE_RATE
from nes2net.data.trial import Trial
from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.processes import Processes, joined
from nes2net.score_journal import Journal, journal_path, lines, read_journals, read_scores, remove_journals


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


class _Kept(NamedTuple):
    """Scores of earlier runs: those of the finished file, which are in no journal, and those of journals."""

    finished: dict[str, float]
    journalled: dict[str, float]


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
    batch_size: int = 2,
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
    file, which is the same to the last bit for any number of processes and interruptions, each process having as many threads.

    Args:
        num_samples: the first so many samples of each utterance, repeated when there are fewer ('4sec'); None for whole utterances
            ('full').
        num_workers: processes that read audio; 0 reads in this one, None chooses by the device.
        on_error: ``"skip"`` leaves a file that cannot be read out of the score file and names it in the result; ``"raise"`` stops.
        overwrite: start anew over a finished score file or the journals of another run.
        legacy_train_mode: the published In-the-Wild scoring, which never left train mode: batch statistics of single utterances and
            dropout (deviation 2), drawn from a stream of each utterance's own.
        compile: compile the detector (``torch.compile``) for the batches of '4sec', once for each size, which takes minutes; compiled it
            stays.
        about: plain data for ``{out}.json``: the corpus, the checkpoint, its recipe.

    Raises:
        InputError: ``out`` exists and is another run's, no trials, not one of them could be scored, or the disk is full.
    """
    if not trials:
        raise InputError("there are no trials to score: the protocol is empty")
    if batch_size < 1:
        raise InputError(f"a batch has at least one utterance, not {batch_size}")
    if compile and (num_samples is None or not isinstance(detector, Detector)):
        raise InputError(
            "what is compiled is a detector, not an exported one, and for waveforms of one length: '4sec' only; "
            "leave out --compile"
        )
    detector.train(legacy_train_mode)
    settings = _Settings(num_samples, batch_size, num_workers, on_error, legacy_train_mode)
    run = {
        "model": fingerprint(detector),
        "trials": _digest(trials),
        "num_samples": num_samples,
        "legacy_train_mode": legacy_train_mode,
        "dtype": str(detector.dtype).removeprefix("torch."),
    }
    began = time.monotonic()
    with joined() as processes:
        result, kept = _what_is_there(Path(out), trials, run, overwrite)
        processes.wait()  # before a journal changes, all have read the same ones
        if processes.rank == 0 and kept is None:
            remove_journals(result.path)
        processes.wait()
        if result.already_complete:
            return result
        kept = kept or _Kept({}, {})
        known = kept.finished | kept.journalled

        if compile:
            detector.compile(dynamic=False)
        with Journal(journal_path(result.path, processes.rank), run) as journal:
            if processes.rank == 0:
                journal.add(kept.finished)
            part = _score_share(detector, trials, known, journal, settings, processes)

        parts = processes.gather(part)
        if processes.rank == 0:
            scores = _merge(result, trials, known, parts)
            record = {
                "run": run,
                "total": result.total,
                "scored": result.scored,
                "failures": result.failures,
                **(about or {}),
                "architecture": detector.config,
                **_circumstances(detector, batch_size, compile, processes.count),
                **_speed(parts, time.monotonic() - began, len(known)),
            }
            _finish(result, scores, record)
        return processes.broadcast(result)


def fingerprint(detector: Scorer) -> str:
    """SHA-256 of a detector's architecture and weights, or of the file that an exported one is run from."""
    if not isinstance(detector, Detector):
        return detector.fingerprint
    digest = hashlib.sha256(json.dumps(detector.config, sort_keys=True).encode())
    for name, tensor in detector.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _digest(trials: Sequence[Trial]) -> str:
    return hashlib.sha256("\n".join(t.id for t in trials).encode()).hexdigest()


def _what_is_there(
    out: Path, trials: Sequence[Trial], run: dict[str, Any], overwrite: bool
) -> tuple[ScoringResult, _Kept | None]:
    """Scores to go on from; None where the journals are wanted no more: another run's, to be overwritten, or of what is complete."""
    result, finished = ScoringResult(out, len(trials), 0), {}
    if out.exists() and not overwrite:
        previous = _read_json(result.record_path)
        if previous.get("run") != run:
            raise InputError(
                f"{out} exists and was made by another run or program: pass --overwrite or name another file"
            )
        if not previous["failures"]:
            result.scored, result.already_complete = previous["scored"], True
            another = read_journals(out, run) is None  # a run with --overwrite that was interrupted
            return result, _Kept({}, {}) if another else None
        finished = read_scores(out)
    journalled = read_journals(out, run)
    if journalled is None and not overwrite:
        raise InputError(
            f"{journal_path(out)} was left by a run of another model, protocol, length or precision: pass --overwrite or remove it"
        )
    return result, None if journalled is None else _Kept(finished, journalled)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _score_share(
    detector: Scorer,
    trials: Sequence[Trial],
    known: Mapping[str, float],
    journal: Journal,
    settings: _Settings,
    processes: Processes,
) -> _Part:
    """Score what is this process's to score and is not known."""
    legacy, device = settings.legacy_train_mode, detector.device
    reading = Reading.of(detector, settings.num_samples)
    batches = plan_batches(
        trials,
        1 if legacy else settings.batch_size,
        None if settings.num_samples or legacy else header_length(reading),
        done=frozenset(known),
        rank=processes.rank,
        num_processes=processes.count,
    )
    workers = default_workers(device) if settings.num_workers is None else settings.num_workers
    read = read_batches(batches, reading, workers, pin_memory=device.type == "cuda")
    scored = score_batches(detector, read, [t.id for t in trials] if legacy else None)
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():  # for which memory is pinned
        return _collect(scored, trials, known, journal, settings.on_error, processes)


def _collect(
    scored: Iterable[BatchScores],
    trials: Sequence[Trial],
    known: Mapping[str, float],
    journal: Journal,
    on_error: str,
    processes: Processes,
) -> _Part:
    """All that this process scores, in the journal batch by batch. The first process has a bar and names failures, of its own share."""
    scores: dict[int, float] = {}
    failures: dict[int, str] = {}
    num_samples, began = 0, time.monotonic()
    alone = processes.count == 1
    with tqdm(
        total=len(trials) if alone else -(-(len(trials) - len(known)) // processes.count),
        initial=len(known) if alone else 0,
        desc=f"scoring{'' if alone else f' (process 1 of {processes.count})'}",
        unit="utt",
        dynamic_ncols=True,
        disable=processes.rank > 0,
    ) as bar:
        for batch in scored:
            journal.add({trials[i].id: score for i, score in batch.scores.items()})
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
            bar.update(sum(trials[i].id not in known for i in (*batch.scores, *batch.failures)))
        bar.total = bar.n
    return _Part(scores, failures, num_samples)


def _circumstances(detector: Scorer, batch_size: int, compiled: bool, num_processes: int) -> dict[str, Any]:
    """With what scores were computed; it may change their last digits."""
    packages = ("torch", "transformers", "onnxruntime", "numpy")
    versions = {name: sys.modules[name].__version__ for name in packages if name in sys.modules}
    device = detector.device
    return {
        "versions": {"nes2net": __version__, "python": platform.python_version(), **versions},
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "batch_size": batch_size,
        "compiled": compiled,
        "processes": num_processes,
    }


def _processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        named = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        return named[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


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
    result: ScoringResult, trials: Sequence[Trial], known: Mapping[str, float], parts: Sequence[_Part]
) -> dict[str, float]:
    """Scores of all processes and of earlier runs in protocol order; counts and failures go into ``result``."""
    scores: dict[str, float] = {}
    for i, trial in enumerate(trials):
        for part in parts:
            if i in part.scores:
                scores[trial.id] = part.scores[i]
            elif i in part.failures and trial.id not in known:
                result.failures[trial.id] = part.failures[i]
        if trial.id not in scores and trial.id in known:
            scores[trial.id] = known[trial.id]
    if not scores:
        raise InputError(f"not one of {len(trials)} trials could be scored; the lines above say why")
    result.scored = len(scores)
    return scores


def _finish(result: ScoringResult, scores: Mapping[str, float], record: Mapping[str, Any]) -> None:
    """The score file and its record, complete or not at all; then the journals go."""
    try:
        with replacing(result.path) as scores_file, replacing(result.record_path) as record_of_them:
            with open(scores_file, "w", encoding="utf-8", newline="\n") as file:
                file.writelines(lines(scores.items()))
            record_of_them.write_text(json.dumps(record, indent=1), encoding="utf-8")
            result.path.unlink(missing_ok=True)  # so that at no moment old scores stand beside the new record
    except OSError as error:
        raise InputError(
            f"{result.path}: cannot be written ({error.strerror}); every score is kept in {journal_path(result.path)}: make room, "
            "and the same command goes on"
        ) from error
    remove_journals(result.path)
