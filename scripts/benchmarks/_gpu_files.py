"""From files to scores: decoding, `judge_trials` end to end, whole utterances, `score_files`, two processes."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _gpu import Stage
from scoring import PUBLISHED_BATCH, PublishedDetector, by_turns, difference, quietly, repeated, score_as_published
from torch import Tensor, nn
from train import generated_trials

from nes2net.data.audio.read import load_audio
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.lib.errors import first_line
from nes2net.scoring.batches import Plan, default_workers, read_batches
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.kernel import default_batch_size
from nes2net.scoring.waveforms import WaveformReader

SECTION = "files to scores"
REFERENCE = "published way"


class Job(NamedTuple):
    """A call of `judge_trials` to measure."""

    model: Detector
    copies: int
    """How often each recording is scored."""
    batch: int
    options: dict[str, Any]


class OnDevice(nn.Module):
    """Moves waveforms to ``device`` for ``model``, as the published program does."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.model = model
        self.device = device

    def forward(self, waveforms: Tensor) -> Tensor:
        """Move the waveforms B×N to the device, and compute logits."""
        return self.model(waveforms.to(self.device))


def measure(stage: Stage) -> None:
    """Measure all ways from files to scores."""
    folder = stage.work / "files"
    folder.mkdir()
    recordings = generated_trials(folder, 12 if stage.small else 512)
    path = stage.published()
    models = {precision: stage.load(path, precision) for precision in stage.precisions}
    low = models["bfloat16"]
    published = OnDevice(PublishedDetector(models["float32"]), stage.device)
    stage.attempt("decoding", "recordings", partial(decoding, stage, recordings, models["float32"]))

    def race(names: str, jobs: dict[str, Job], needs: float) -> None:
        """Measure jobs in turn, each against the published way."""
        stage.attempt(SECTION, names, partial(end_to_end, stage, folder, recordings, published, jobs), needs)

    batch = 4 if stage.small else 64
    copies = {"float32": 1, "tf32": 2} if not stage.small else {}
    by_precision = {p: Job(m, copies.get(p, 1 if stage.small else 8), batch, {}) for p, m in models.items()}
    race("by precision", by_precision, 40)
    stage.attempt("scores", "precisions", partial(compare, stage, folder), 2)
    if not stage.small:
        workers = sorted({1, 4, 8, default_workers(stage.device)})
        jobs = {f"bfloat16, {n} readers": Job(low, 2 if n == 1 else 8, batch, {"num_workers": n}) for n in workers}
        race("by number of readers", jobs, 30)
        race("by batch", {f"bfloat16, batch {n}": Job(low, 2 if n == 8 else 8, n, {}) for n in (8, 32, 128)}, 30)
    stage.attempt("whole utterances", "bfloat16", partial(whole_utterances, stage, folder, recordings, low), 20)
    stage.attempt("score_files", "bfloat16", partial(predicting, stage, recordings, low), 10)
    compiled = stage.load(path, "bfloat16")
    jobs = {"bfloat16": by_precision["bfloat16"]}
    jobs["bfloat16, compiled"] = Job(compiled, jobs["bfloat16"].copies, batch, {"compile": True})
    race("compiled", jobs, 60)
    if not stage.small:
        stage.attempt("two processes", "score file", partial(two_processes, stage, folder, recordings[:64]), 45)


def decoding(stage: Stage, recordings: Sequence[Trial], detector: Detector) -> None:
    """Measure decoding in one thread, and reading to batches by one or more workers."""
    start = time.perf_counter()
    cpu = time.process_time()
    for trial in recordings[:128]:
        load_audio(trial.path)
    count = len(recordings[:128])
    columns = {"files/s": count / (time.perf_counter() - start), "CPU ms": 1e3 * (time.process_time() - cpu) / count}
    stage.add("decoding", "load_audio, one thread", **columns)
    reader = WaveformReader.of(detector, stage.num_samples)
    for workers in (1,) if stage.small else sorted({1, 4, default_workers(stage.device)}):
        plan = Plan(4 if stage.small else 64)
        batches = plan.batches(repeated(recordings, 2 if workers == 1 else 8))
        began = time.perf_counter()
        counts = []
        first = 0.0
        for batch in read_batches(batches, reader, workers, pin_memory=stage.cuda):
            first = first or time.perf_counter()
            counts.append(sum(len(group.waveforms) for group in batch.groups))
        speed = sum(counts[1:]) / (time.perf_counter() - first)
        stage.add(
            "decoding", f"{workers} readers, to batches", **{"files/s": speed, "first batch after s": first - began}
        )


def end_to_end(
    stage: Stage, folder: Path, recordings: Sequence[Trial], published: nn.Module, jobs: dict[str, Job]
) -> None:
    """Score with each of ``jobs`` and in the published way, in turn.

    The column "steady" is the speed without the time of a run of a single batch, which has the work
    done once per run.
    """
    few = recordings[: 4 if stage.small else 64]
    runs: dict[Any, Callable[[], Any]] = {
        REFERENCE: lambda: score_as_published(published, few, folder / "published.txt", stage.num_samples),
    }
    quietly(lambda: score_as_published(published, few[:PUBLISHED_BATCH], folder / "warm.txt", stage.num_samples))
    for name, (model, copies, batch, options) in jobs.items():
        trials = repeated(recordings, copies)
        settings = {"num_samples": stage.num_samples, "batch_size": batch, "overwrite": True, **options}
        runs[name] = partial(complete, model, trials, folder / f"{name}.txt", settings)
        runs[name, "first"] = partial(complete, model, trials[:batch], folder / f"{name}, first.txt", settings)
        start = time.perf_counter()
        try:
            quietly(runs[name, "first"])
        except Exception as error:  # the others can be measured all the same
            stage.add(SECTION, name, error=f"{type(error).__name__}: {first_line(error)}")
            del runs[name], runs[name, "first"]
            continue
        if "compiled" in name:
            stage.add("compiling", f"judge_trials, {name}", seconds=time.perf_counter() - start)
    seconds = by_turns(runs, 1 if stage.small else 2)
    reference = len(few) / seconds[REFERENCE]
    stage.add(SECTION, REFERENCE, batch=PUBLISHED_BATCH, trials=len(few), **{"utterances/s": reference})
    for name, (_, copies, batch, _) in jobs.items():
        if name not in seconds:
            continue
        trials = copies * len(recordings)
        speed = trials / seconds[name]
        columns = {"utterances/s": speed, "× published": speed / reference}
        if (
            seconds_after_first := seconds[name] - seconds[name, "first"]
        ) > 0:  # with few trials the difference may be smaller than the noise
            columns |= {
                "steady": (trials - batch) / seconds_after_first,
                "× published, steady": (trials - batch) / seconds_after_first / reference,
            }
        stage.add(SECTION, name, batch=batch, trials=trials, **columns)


def complete(model: Detector, trials: Sequence[Trial], out: Path, settings: dict[str, Any]) -> None:
    """Score all ``trials``.

    Raises:
        RuntimeError: if a trial has no score.
    """
    if failures := judge_trials(model, trials, out, Scores(), settings=ScoringSettings(**settings)).failures:
        raise RuntimeError(f"{len(failures)} trials have no score: {next(iter(failures.values()))}")


def compare(stage: Stage, folder: Path) -> None:
    """Compare the scores of each precision with those in float32, and count the distinct scores."""
    for precision in stage.precisions[1:]:
        path = folder / f"{precision}, first.txt"
        distinct = len({line.split()[-1] for line in path.read_text().splitlines()})
        stage.add(
            "scores", precision, distinct=distinct, against_float32=difference(folder / "float32, first.txt", path)
        )


def whole_utterances(stage: Stage, folder: Path, recordings: Sequence[Trial], model: Detector) -> None:
    """Score whole utterances of hundreds of lengths; the memory of this process must not grow."""
    half = len(recordings) // 2
    for number, part_recordings in enumerate((recordings[:half], recordings[half:], recordings)):
        start = time.perf_counter()
        quietly(
            partial(complete, model, part_recordings, folder / "full.txt", {"num_samples": None, "overwrite": True})
        )
        speed = len(part_recordings) / (time.perf_counter() - start)
        label = f"{len(part_recordings)} lengths, {('all new', 'all new', 'all seen')[number]}"
        stage.add("whole utterances", label, **{"utterances/s": speed, "host memory in GiB": resident()})


def resident() -> float | None:
    """GiB of memory that this process uses; None if the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 2**20


def predicting(stage: Stage, recordings: Sequence[Trial], model: Detector) -> None:
    """Measure `Detector.score_files`, which `nes2net predict` calls."""
    files = [trial.path for trial in repeated(recordings, 1 if stage.small else 4)]
    sizes = [(4, 2)] if stage.small else [(8, 2), (default_batch_size(stage.device), default_workers(stage.device))]
    for batch, workers in sizes:
        start = time.perf_counter()
        scores = list(model.score_files(files, stage.num_samples, batch_size=batch, workers=workers))
        speed = len(scores) / (time.perf_counter() - start)
        stage.add("score_files", f"bfloat16, {workers} threads", batch=batch, **{"utterances/s": speed})


def two_processes(stage: Stage, folder: Path, recordings: Sequence[Trial]) -> None:
    """Check that two processes of torchrun on one GPU write the same file as one process."""
    list_path = folder / "list.csv"
    with open(list_path, "w", newline="") as file:
        csv.writer(file).writerows([["path", "label"], *([t.path.name, t.label] for t in recordings)])
    model = [
        "--model",
        str(stage.published()),
        "--dtype",
        "bfloat16",
        "--batch-size",
        "8",
        "--device",
        str(stage.device),
    ]
    command = ["nes2net.cli.main", "score", "generic", str(list_path), *model, "--out"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    seconds = []
    texts = []
    for name, launcher in (("one.txt", []), ("two.txt", torchrun)):
        start = time.perf_counter()
        full_command = [sys.executable, *launcher, "-m", *command, str(folder / name)]
        finished = subprocess.run(full_command, capture_output=True, text=True, timeout=120, check=False)
        if finished.returncode:
            raise RuntimeError(f"{name} ended with status {finished.returncode}: {finished.stderr[-300:]}")
        seconds.append(time.perf_counter() - start)
        texts.append((folder / name).read_bytes())
    stage.add("two processes", f"{len(recordings)} recordings", **{"one, s": seconds[0], "two, s": seconds[1]},
              holds=texts[0] == texts[1])  # fmt: skip
