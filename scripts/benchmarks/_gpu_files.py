"""From files to scores: `judge_trials` end to end by precision, readers and batch, against the published way."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from _gpu import Stage
from _harness import generated_trials, median_seconds, quietly, repeated
from _published import PublishedDetector
from scoring import PUBLISHED_BATCH, score_as_published, score_trials
from torch import Tensor, nn

from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.scoring.batches import default_workers

SECTION = "files to scores"
REFERENCE = "published way"


class Job(NamedTuple):
    """A call of `judge_trials` to measure; ``copies`` is how often each recording is scored."""

    model: Detector
    copies: int
    batch: int
    num_workers: int | None = None
    compile: bool = False


class OnDevice(nn.Module):
    """Moves waveforms to the device of ``model``, as the published program does."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveforms: Tensor) -> Tensor:
        """Move the waveforms B×N to the device, and compute logits."""
        return self.model(waveforms.to(next(self.model.parameters()).device))


def measure(stage: Stage) -> None:
    """Measure each group of jobs in turn with the published way."""
    folder = stage.work / "files"
    folder.mkdir()
    trials = generated_trials(folder, 12 if stage.small else 512)
    models = {precision: stage.load(stage.published(), precision) for precision in stage.precisions}
    published = OnDevice(PublishedDetector(models["float32"]))
    for name, (jobs, needs) in groups(stage, models).items():
        stage.attempt(SECTION, name, partial(end_to_end, stage, folder, trials, published, jobs), needs)


def groups(stage: Stage, models: dict[str, Detector]) -> dict[str, tuple[dict[str, Job], float]]:
    """Name the groups of jobs, with the seconds that each group needs."""
    if stage.small:
        return {"by precision": ({precision: Job(model, 1, 4) for precision, model in models.items()}, 40)}
    fast = models["bfloat16"]
    copies = {"float32": 1, "tf32": 2}
    by_precision = {precision: Job(model, copies.get(precision, 8), 64) for precision, model in models.items()}
    by_readers = {}
    for readers in sorted({1, 4, 8, default_workers(stage.device)}):
        num_copies = 2 if readers == 1 else 8
        by_readers[f"bfloat16, {readers} readers"] = Job(fast, num_copies, 64, readers)
    by_batch = {"bfloat16, batch 8": Job(fast, 2, 8)}
    for batch in (32, 128):
        by_batch[f"bfloat16, batch {batch}"] = Job(fast, 8, batch)
    compiled = Job(stage.load(stage.published(), "bfloat16"), 8, 64, compile=True)
    return {
        "by precision": (by_precision, 40),
        "by number of readers": (by_readers, 30),
        "by batch": (by_batch, 30),
        "compiled": ({"bfloat16": by_precision["bfloat16"], "bfloat16, compiled": compiled}, 60),
    }


def end_to_end(stage: Stage, folder: Path, trials: Sequence[Trial], published: nn.Module, jobs: dict[str, Job]) -> None:
    """Score with each of ``jobs`` and in the published way, in turn.

    The column "steady" is the speed without the time of a run of a single batch, which has the work
    done once per run.
    """
    few = trials[: 4 if stage.small else 64]
    as_published = partial(score_as_published, published, few, folder / "published.txt", stage.num_samples)
    runs: dict[Any, Callable[[], Any]] = {REFERENCE: partial(quietly, as_published)}
    numbers = {name: job.copies * len(trials) for name, job in jobs.items()}
    for name, job in jobs.items():
        settings: dict[str, Any] = {"num_samples": stage.num_samples, "batch_size": job.batch, "overwrite": True}
        settings |= {"num_workers": job.num_workers, "compile": job.compile}
        copied = repeated(trials, job.copies)
        score_all = partial(score_trials, job.model, copied, folder / "all.txt", **settings)
        score_first = partial(score_trials, job.model, copied[: job.batch], folder / "first.txt", **settings)
        runs[name] = partial(quietly, score_all)
        runs[name, "first"] = partial(quietly, score_first)
    for name in jobs:
        start = time.perf_counter()
        runs[name, "first"]()
        stage.add("first batch", f"judge_trials, {name}", seconds=time.perf_counter() - start)
    seconds = median_seconds(runs, 1 if stage.small else 2)
    reference = len(few) / seconds[REFERENCE]
    stage.add(SECTION, REFERENCE, batch=PUBLISHED_BATCH, trials=len(few), **{"utterances/s": reference})
    for name, job in jobs.items():
        speed = numbers[name] / seconds[name]
        columns = {"utterances/s": speed, "× published": speed / reference}
        seconds_after_first = seconds[name] - seconds[name, "first"]
        if seconds_after_first > 0:  # with few trials the difference may be smaller than the noise
            steady = (numbers[name] - job.batch) / seconds_after_first
            columns |= {"steady": steady, "× published, steady": steady / reference}
        stage.add(SECTION, name, batch=job.batch, trials=numbers[name], **columns)
