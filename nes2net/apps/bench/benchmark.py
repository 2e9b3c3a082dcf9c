"""Measure the speed of a detector's stages: decoding, front-end, back-end, files to scores."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
import transformers
from torch import nn

from nes2net.data.audio.read import SAMPLE_RATE, load_audio
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.lib.computing.flops import count_flops
from nes2net.lib.computing.module_size import count_numbers
from nes2net.lib.errors import InputError, pluralise
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import markdown_table
from nes2net.lib.parts.options import part_names
from nes2net.lib.process.processes import ALONE
from nes2net.lib.process.this_process import peak_bytes, processor_name, usable_processors
from nes2net.models.frontends.onednn import OneDNNLinear
from nes2net.scoring.batches import BatchPlan, Compute, waveforms_for
from nes2net.scoring.engine import BatchResult
from nes2net.scoring.kernel import check_takes_audio_alone, scoring_mode
from nes2net.scoring.waveforms import WaveformReader
from nes2net.version import __version__

# Kind of device → size of the square matrices whose product is timed for comparison.
_PRODUCT_SIZE = {"cpu": 2048, "cuda": 8192}


class TimedStage(NamedTuple):
    """A piece of work to time."""

    name: str
    run: Callable[[], object]
    utterances: int
    """Number of utterances in one run."""
    audio: float
    """Seconds of audio in one run."""
    flops: float | None = None
    """Operations of one run; None if not counted."""


class StageSpeed(NamedTuple):
    """The speed of one stage; ``seconds`` is the median of the rounds, each of which runs the stage once."""

    stage: TimedStage
    seconds: float


def measure(
    detector: Detector,
    files: Sequence[Path],
    num_samples: int,
    batch_sizes: Sequence[int],
    rounds: int,
    num_workers: int | None = None,
) -> tuple[list[StageSpeed], float]:
    """Measure the speed of every stage in ``rounds`` rounds, after one round to warm up.

    Args:
        files: recordings to decode and score, repeated to fill a batch.
        num_samples: number of leading samples to score, at 16 kHz.
        num_workers: processes that read files; None for the default of
            :func:`nes2net.scoring.corpus.judge_trials`.

    Returns:
        The speed of each stage, and the speed of a matrix product in FLOP/s.
    """
    check_takes_audio_alone(detector)
    # Count the operations of an utterance, on the meta device if the detector can be built there.
    copy = Detector.on_meta(detector.config) or detector
    silence = torch.zeros(1, num_samples, device=copy.device, dtype=copy.dtype)
    frontend_flops = count_flops(copy.frontend, silence)
    flops = {"front-end": frontend_flops, "back-end": count_flops(copy, silence) - frontend_flops}
    seconds_of_files = sum(len(load_audio(file)) for file in files) / SAMPLE_RATE
    stages = [
        TimedStage("decode, one thread", lambda: [load_audio(file) for file in files], len(files), seconds_of_files)
    ]
    for size in batch_sizes:
        stages += _network_stages(detector, num_samples, size, flops)
    # The whole way from files to scores; the files are repeated to fill at least one batch.
    largest = max(batch_sizes)
    batch_files = [*files] * -(-largest // len(files))
    count = len(batch_files)
    trials = [Trial(str(number), path) for number, path in enumerate(batch_files)]
    plan = BatchPlan(largest)
    read = waveforms_for(detector.device, WaveformReader.of(detector, num_samples), plan, num_workers)
    score = Compute(detector, plan, Scores())
    stages.append(
        TimedStage(
            f"files to scores, batch {largest}",
            lambda: _wait_for_scores(score(read(trials, (), ALONE))),
            count,
            count * num_samples / SAMPLE_RATE,
            count * sum(flops.values()),
        )
    )
    width = _PRODUCT_SIZE.get(detector.device.type, 2048)
    matrix = torch.randn(width, width).to(detector.device, detector.dtype)
    # On the CPU, by oneDNN if oneDNN computes the layers of the detector.
    linear = OneDNNLinear(width, width, bias=False, device="meta")
    linear.weight = nn.Parameter(matrix, requires_grad=False)
    product = TimedStage("matrix product", partial(linear, matrix), 1, 0.0)
    with scoring_mode(detector), torch.inference_mode():
        *medians, seconds_of_product = _median_seconds_in_turns([*stages, product], rounds, detector.device)
    measured = [StageSpeed(stage, seconds) for stage, seconds in zip(stages, medians)]
    return measured, 2 * width**3 / seconds_of_product


def _network_stages(detector: Detector, num_samples: int, size: int, flops: dict[str, int]) -> list[TimedStage]:
    waveform = 0.1 * torch.randn(size, num_samples).to(detector.device)
    with torch.inference_mode():
        states = detector.hidden_states(waveform)
    computations: dict[str, Callable[[], object]] = {
        "front-end": partial(detector.hidden_states, waveform),
        "back-end": lambda: detector.logits(detector.features(states)),
    }
    seconds = size * num_samples / SAMPLE_RATE
    stages = []
    for name, compute in computations.items():
        stages.append(TimedStage(f"{name}, batch {size}", compute, size, seconds, size * flops[name]))
    return stages


def _median_seconds_in_turns(stages: Sequence[TimedStage], rounds: int, device: torch.device) -> list[float]:
    """The first round only warms up."""
    synchronize = partial(torch.cuda.synchronize, device) if device.type == "cuda" else lambda: None
    durations: list[list[float]] = [[] for _ in stages]
    with ProgressDisplay[None](title="measuring", unit="run", total=(rounds + 1) * len(stages)) as display:
        for number in range(rounds + 1):
            for stage, times in zip(stages, durations):
                synchronize()
                start = time.perf_counter()
                stage.run()
                synchronize()
                if number:
                    times.append(time.perf_counter() - start)
                display.update()
    return [statistics.median(times) for times in durations]


def _wait_for_scores(batch_results: Iterable[BatchResult]) -> None:
    for result in batch_results:
        for name, reason in result.failures.items():
            raise InputError(f"{name}: {reason}")


def speed_table(measured: Sequence[StageSpeed], product: float, detector: Detector) -> list[str]:
    """Write the speeds as a Markdown table; ``product`` is the speed of a matrix product in FLOP/s."""
    rows = []
    for stage, seconds in measured:
        speed = share = "–"
        if stage.flops:
            flops_per_second = stage.flops / seconds
            speed = f"{flops_per_second / 1e9:,.1f}"
            share = f"{flops_per_second / product:.0%}"
        rows.append([stage.name, f"{stage.utterances / seconds:,.2f}", f"{stage.audio / seconds:,.1f}", speed, share])
    product_in = "tf32" if detector.precision == "tf32" else str(detector.dtype).removeprefix("torch.")
    rows.append([f"matrix product, {product_in}", "–", "–", f"{product / 1e9:,.1f}", "100%"])
    return markdown_table(
        ["stage", "utterances / s", "× real time", "GFLOP/s", "of the matrix product"], rows
    ).splitlines()


def environment(detector: Detector) -> list[str]:
    """Describe versions and hardware as lines of a Markdown list."""
    lines = [
        f"nes2net {__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, NumPy {np.__version__}, libsndfile {soundfile.__libsndfile_version__}",
        f"{platform.system()} {platform.release()}, {processor_name()}, "
        f"{pluralise(usable_processors(), 'processor')}, {pluralise(torch.get_num_threads(), 'thread')}",
    ]
    if detector.device.type == "cuda":
        lines.append(
            f"{torch.cuda.get_device_name(detector.device)}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        )
    names = " + ".join(part_names(detector.config))
    size = count_numbers(detector.parameters())
    lines.append(f"{names}, {size:,} parameters, {detector.precision} on {detector.device}")
    peak = peak_bytes()  # None or 0 if the operating system does not report peak memory
    memory = [f"peak memory {peak / 2**30:.2f} GiB"] if peak else []
    if detector.device.type == "cuda":
        memory.append(f"on the GPU {torch.cuda.max_memory_allocated(detector.device) / 2**30:.2f} GiB")
    return [f"- {line}" for line in [*lines, ", ".join(memory)] if line]
