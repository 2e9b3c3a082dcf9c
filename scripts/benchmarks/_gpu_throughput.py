"""Throughput of the detector alone: every precision against the published way, compiled, as CUDA graph; the kernels."""

from __future__ import annotations

import time
from functools import partial

import torch
from _gpu import Run, Stage, add_kernels, configuration, kernels, scoring
from _published import PublishedDetector
from scoring import PUBLISHED_BATCH
from torch import Tensor, nn

from nes2net.detector import Detector
from nes2net.lib.cuda_graph import Replayed
from nes2net.lib.flops import count_flops
from nes2net.scoring.kernel import scoring_mode

SECTION = "throughput"
REFERENCE = "published way"


def measure(stage: Stage) -> None:
    """Do all measurements."""
    path = stage.published()
    models = {precision: stage.load(path, precision) for precision in stage.precisions}
    published = PublishedDetector(models["float32"]).eval()
    meta = Detector.on_meta(configuration(small=stage.small))
    flops = count_flops(meta, torch.zeros(1, stage.num_samples, device="meta"))
    batches = [2] if stage.small else [64, 128, 32, 8, 1]
    for batch in batches:
        stage.attempt(SECTION, f"batch {batch}", partial(race, stage, published, models, batch, flops), 15)
    for precision in ("bfloat16",) if stage.small else ("bfloat16", "float32"):
        for batch in batches[:1] if stage.small else (64, 8, 1):
            label = f"{precision}, compiled"
            stage.attempt(SECTION, label, partial(compiled, stage, published, models, precision, batch, flops), 60)
    if stage.cuda:
        for batch in (1, 8, 64):
            run = partial(as_graph, stage, published, models["bfloat16"], batch, flops)
            stage.attempt(SECTION, "bfloat16, CUDA graph", run, 10)
    for precision in stage.precisions:
        label = f"kernels, {precision}"
        stage.attempt(label, label, partial(longest_kernels, stage, label, models[precision], batches[0]), 10)


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
        columns = {"utterances/s": speed, "ms": 1e3 * each, "× published": speed / reference}
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
    runs = {precision: scoring(models[precision], waveforms), f"{precision}, compiled": scoring(model, waveforms)}
    finish(stage, published, runs, batch, flops)


def as_graph(stage: Stage, published: nn.Module, model: Detector, batch: int, flops: int) -> None:
    """Measure the forward pass as a CUDA graph, which has no time for launching kernels."""
    waveforms = stage.noise(batch).to(stage.device)
    replayed = Replayed(model.scores)
    with scoring_mode(model), torch.inference_mode():
        largest = (replayed(waveforms) - model.scores(waveforms)).abs().max().item()
    stage.add("CUDA graph against plain", f"batch {batch}", largest=largest)

    def run(count: int) -> None:
        with scoring_mode(model), torch.inference_mode():
            for _ in range(count):
                replayed(waveforms)

    finish(stage, published, {"bfloat16": scoring(model, waveforms), "bfloat16, CUDA graph": run}, batch, flops)


def longest_kernels(stage: Stage, label: str, model: Detector, batch: int) -> None:
    """List the kernels that take longest; the name of attention's kernel shows which implementation it is."""
    run = scoring(model, stage.noise(batch).to(stage.device))
    run(1)
    add_kernels(stage, label, kernels(stage, run), 12)
