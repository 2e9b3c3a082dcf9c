"""Scoring a corpus: a detector and trials in, a score file out that is complete, in order, and never half written.

While it runs, scores go line by line to ``{out}.partial``; the same command started again goes on from there. The finished file appears
by renaming, with ``{out}.json`` beside it that says what made it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from nes2net import __version__
from nes2net.atomic import replacing
from nes2net.data.audio import load_audio
from nes2net.data.crop import head_crop
from nes2net.data.dataset import worker_options
from nes2net.data.trial import Trial
from nes2net.detector import Detector
from nes2net.errors import InputError


class Scorer(Protocol):
    """What can be scored with: a :class:`Detector`, or an exported one, which has a ``fingerprint`` of its own."""

    device: torch.device
    dtype: torch.dtype
    min_samples: int

    def train(self, mode: bool = True) -> Any: ...

    def scores(self, waveform: Tensor) -> Tensor: ...


@dataclass
class ScoringResult:
    """What :func:`score_trials` did: ``scored`` of ``total`` trials, and why each of the others failed."""

    path: Path
    total: int
    scored: int
    failures: dict[str, str] = field(default_factory=dict)
    already_complete: bool = False


def score_trials(
    detector: Scorer,
    trials: Sequence[Trial],
    out: str | Path,
    *,
    num_samples: int | None,
    batch_size: int = 2,
    num_workers: int = 2,
    on_error: str = "skip",
    overwrite: bool = False,
    legacy_train_mode: bool = False,
) -> ScoringResult:
    """Score ``trials`` into the file ``out``: one line ``utterance score`` per trial, in the order given.

    Args:
        num_samples: the first so many samples of each utterance, repeated when there are fewer ('4sec'); None for whole utterances
            ('full'). Only utterances of one length share a batch, so that every score equals the one computed alone.
        on_error: ``"skip"`` leaves a file that cannot be read out of the score file and names it in the result; ``"raise"`` stops.
        overwrite: start anew over a finished score file or the partial one of another run.
        legacy_train_mode: the published In-the-Wild scoring, which never left train mode: batch statistics of single utterances and
            dropout (deviation 2).

    Raises:
        InputError: ``out`` exists and is another run's, no trials, or not one of them could be scored.
    """
    out = Path(out)
    if not trials:
        raise InputError("there are no trials to score: the protocol is empty")
    run = {
        "model": fingerprint(detector),
        "trials": hashlib.sha256("\n".join(t.id for t in trials).encode()).hexdigest(),
        "num_samples": num_samples,
        "legacy_train_mode": legacy_train_mode,
    }
    record_file, partial = out.with_name(f"{out.name}.json"), out.with_name(f"{out.name}.partial")
    if out.exists() and not overwrite:
        previous = _read_json(record_file)
        if previous.get("run") == run:
            done = ScoringResult(out, len(trials), previous["scored"], previous["failures"], already_complete=True)
            if not done.failures:
                return done
            scores = _read_scores(out)
        else:
            raise InputError(
                f"{out} exists and was made by another run or program: pass --overwrite or name another file"
            )
    else:
        scores = _resume(partial, run, overwrite)

    out.parent.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    left = [t for t in trials if t.id not in scores]
    with open(partial, "a") as journal:
        if journal.tell() == 0:
            journal.write(json.dumps(run) + "\n")
            journal.writelines(_lines(scores))
        batches = _score_batches(detector, left, num_samples, batch_size, num_workers, legacy_train_mode)
        with tqdm(
            total=len(trials), initial=len(scores), desc=f"scoring {out.name}", unit="utt", dynamic_ncols=True
        ) as bar:
            for batch_scores, batch_failures in batches:
                _journal(journal, batch_scores)
                scores |= batch_scores
                for name, reason in batch_failures.items():
                    if on_error == "raise":
                        raise InputError(f"{name}: {reason}")
                    tqdm.write(f"left out: {name}: {reason}")
                failures |= batch_failures
                bar.update(len(batch_scores) + len(batch_failures))
    if not scores:
        raise InputError(f"not one of {len(trials)} trials could be scored; the lines above say why")
    result = ScoringResult(out, len(trials), len(scores), failures)
    _finish(result, [t.id for t in trials if t.id in scores], scores, record_file, partial, run)
    return result


def fingerprint(detector: Scorer) -> str:
    """SHA-256 of a detector's architecture and weights, or of the file that an exported one is run from."""
    if not isinstance(detector, Detector):
        return detector.fingerprint
    digest = hashlib.sha256(json.dumps(detector.config, sort_keys=True).encode())
    for name, tensor in detector.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


class _ScoringSet(Dataset):
    """Waveforms of trials, or the reason why there is none."""

    def __init__(self, trials: Sequence[Trial], num_samples: int | None, min_samples: int) -> None:
        self.trials, self.num_samples, self.min_samples = trials, num_samples, min_samples

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, index: int) -> tuple[str, Tensor | str]:
        trial = self.trials[index]
        try:
            waveform = load_audio(trial.path)
            # A whole utterance that gives too few frames is repeated as a short one is in '4sec'.
            num_samples = self.num_samples or max(len(waveform), self.min_samples)
            return trial.id, torch.from_numpy(head_crop(waveform, num_samples, trial.id))
        except InputError as error:
            return trial.id, str(error)


def _score_batches(
    detector: Scorer,
    trials: Sequence[Trial],
    num_samples: int | None,
    batch_size: int,
    num_workers: int,
    legacy_train_mode: bool,
) -> Iterator[tuple[dict[str, float], dict[str, str]]]:
    """Scores and failures of one batch after another."""
    detector.train(legacy_train_mode)
    loader = DataLoader(
        _ScoringSet(trials, num_samples, detector.min_samples),
        batch_size=1 if legacy_train_mode else batch_size,
        collate_fn=list,
        **worker_options(num_workers),
    )
    with torch.inference_mode():
        for batch in loader:
            failures = {name: waveform for name, waveform in batch if isinstance(waveform, str)}
            usable = sorted((w.shape[0], name, w) for name, w in batch if not isinstance(w, str))
            scores = {}
            for _, group in itertools.groupby(usable, key=lambda item: item[0]):
                _, names, waveforms = zip(*group)
                try:
                    batch_scores = detector.scores(torch.stack(waveforms).to(detector.device, detector.dtype))
                except InputError as error:  # of a length that this detector does not take
                    failures |= dict.fromkeys(names, str(error))
                    continue
                for name, score in zip(names, batch_scores.float().tolist()):
                    if math.isfinite(score):
                        scores[name] = score
                    else:
                        failures[name] = f"the detector's score is {score}"
            yield scores, failures


def _lines(scores: dict[str, float]) -> Iterator[str]:
    """Lines of a score file; a score is written so that it is read back to the last bit."""
    return (f"{name} {score!r}\n" for name, score in scores.items())


def _journal(journal: TextIO, scores: dict[str, float]) -> None:
    journal.writelines(_lines(scores))
    journal.flush()


def _resume(partial: Path, run: dict, overwrite: bool) -> dict[str, float]:
    """Scores that an interrupted run of the same model and protocol left behind."""
    if not partial.exists():
        return {}
    text = partial.read_text()
    header, _, body = text.partition("\n")
    try:
        same = json.loads(header) == run
    except json.JSONDecodeError:
        same = not body and not header  # stopped before its first line was written
    if not same and overwrite:
        partial.unlink()
        return {}
    if not same:
        raise InputError(
            f"{partial} was left by a run of another model, protocol or length: pass --overwrite or remove it"
        )
    whole, _, torn = body.rpartition("\n")
    if torn:  # stopped in the middle of a line, which is dropped
        partial.write_text(f"{header}\n{whole}\n" if whole else f"{header}\n")
    return _parse(whole)


def _read_scores(path: Path) -> dict[str, float]:
    return _parse(path.read_text().rstrip("\n"))


def _parse(text: str) -> dict[str, float]:
    pairs = (line.rsplit(" ", 1) for line in text.split("\n") if line)
    return {name: float(score) for name, score in pairs}


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _finish(result: ScoringResult, order: list[str], scores: dict, record_file: Path, partial: Path, run: dict) -> None:
    record = {
        "run": run,
        "total": result.total,
        "scored": result.scored,
        "failures": result.failures,
        "nes2net": __version__,
    }
    with replacing(result.path) as scores_file, replacing(record_file) as record_of_them:
        scores_file.write_text("".join(_lines({name: scores[name] for name in order})))
        record_of_them.write_text(json.dumps(record, indent=1))
        result.path.unlink(missing_ok=True)  # so that at no moment old scores stand beside the new record
    partial.unlink(missing_ok=True)
