"""Throughput of the detector alone: every precision against the published way, and compiled."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch
from _gpu import Run, Stage, configuration, scoring
from _published import PublishedDetector
from scoring import PUBLISHED_BATCH
from torch import Tensor, nn

from nes2net.detector import Detector
from nes2net.lib.computing.flops import count_flops

SECTION = "throughput"
REFERENCE = "published way"


def measure(stage: Stage) -> None:
    """Do all measurements."""
    path = stage.published()
    models = {precision: stage.load(path, precision) for precision in stage.precisions}
    published = PublishedDetector(models["float32"]).eval()
    meta = Detector.on_meta(configuration(small=stage.small))
    assert meta is not None
    flops = count_flops(meta, torch.zeros(1, stage.num_samples, device="meta"))
    batches = [2] if stage.small else [64, 128, 32, 8, 1]
    for batch in batches:
        stage.attempt(SECTION, f"batch {batch}", partial(race, stage, published, models, batch, flops), 15)
    for precision in ("bfloat16",) if stage.small else ("bfloat16", "float32"):
        for batch in batches[:1] if stage.small else (64, 8, 1):
            label = f"{precision}, compiled"
            stage.attempt(SECTION, label, partial(compiled, stage, published, models, precision, batch, flops), 60)


def forward_with_autograd(model: nn.Module, waveforms: Tensor) -> Run:
    """Make a run of the published computation."""

    def run(count: int) -> None:
        for _ in range(count):
            model(waveforms)[:, 1].detach()

    return run


def race(stage: Stage, published: nn.Module, models: dict[str, Detector], batch: int, flops: int) -> None:
    """Score batches with each of ``models`` and in the published way, in turn."""
    waveforms = stage.noise(batch).to(stage.device)
    finish(stage, published, {name: scoring(model, waveforms) for name, model in models.items()}, batch, flops)


def finish(stage: Stage, published: nn.Module, runs: dict[str, Run], batch: int, flops: int) -> None:
    """Measure ``runs`` of a batch, and add a row for each.

    Args:
        flops: operations of one utterance.
    """
    few = forward_with_autograd(published, stage.noise(PUBLISHED_BATCH).to(stage.device))
    runs = {REFERENCE: few, **runs}
    seconds = stage.race(SECTION, runs)
    reference = PUBLISHED_BATCH / seconds[REFERENCE]
    for name, each in seconds.items():
        size = PUBLISHED_BATCH if name == REFERENCE else batch
        speed = size / each
        columns: dict[str, Any] = {"utterances/s": speed, "ms": 1e3 * each, "× published": speed / reference}
        columns |= {"TFLOP/s": speed * flops / 1e12, "GiB added": stage.memory(partial(runs[name], 1))}
        stage.add(SECTION, name, batch=size, **columns)


def compiled(
    stage: Stage, published: nn.Module, models: dict[str, Detector], precision: str, batch: int, flops: int
) -> None:
    """Measure a compiled detector, as `nes2net score --compile` uses it."""
    model = stage.load(stage.published(), precision)
    model.compile(dynamic=False)
    waveforms = stage.noise(batch).to(stage.device)
    start = time.perf_counter()
    scoring(model, waveforms)(1)
    stage.synchronise()
    stage.add("compiling", f"{precision}, batch {batch}", seconds=time.perf_counter() - start)
    runs = {precision: scoring(models[precision], waveforms)}
    runs[f"{precision}, compiled"] = scoring(model, waveforms)
    finish(stage, published, runs, batch, flops)
