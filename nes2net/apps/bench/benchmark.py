"""Measure the speed of a detector's stages: decoding, front-end, back-end, files to scores."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import transformers
from torch import nn

from nes2net.data.audio.read import SAMPLE_RATE, load_audio
from nes2net.data.corpora.trial import Trial
from nes2net.detector import Detector
from nes2net.evaluation.judgements import Scores
from nes2net.lib.errors import InputError, counted
from nes2net.lib.flops import count_flops
from nes2net.lib.processes import ALONE
from nes2net.lib.progress import ProgressDisplay
from nes2net.lib.terminal import markdown_table
from nes2net.lib.this_process import peak_bytes, processor_name, usable_processors
from nes2net.models.frontends.onednn import OneDNNLinear
from nes2net.scoring.batches import Compute, Plan, waveforms_for
from nes2net.scoring.engine import BatchResult
from nes2net.scoring.kernel import check_takes_audio_alone, scoring_mode
from nes2net.scoring.waveforms import WaveformReader
from nes2net.version import __version__

# Kind of device → size of the square matrices whose product is timed for comparison.
_PRODUCT_SIZE = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True)
class Measured:
    """The speed of one stage; a round runs the stage once."""

    stage: str
    seconds: float
    """Median of the rounds."""
    utterances: int
    """Per round."""
    audio: float
    """Seconds per round."""
    flops: float | None = None
    """Per round; None if not counted."""

    @property
    def per_second(self) -> float:
        return self.utterances / self.seconds

    @property
    def times_real_time(self) -> float:
        return self.audio / self.seconds


def measure(
    detector: Detector,
    files: Sequence[Path],
    num_samples: int,
    batch_sizes: Sequence[int],
    rounds: int,
    num_workers: int | None = None,
) -> tuple[list[Measured], float]:
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
    # Count the operations for one utterance, on the meta device if the detector can be built there.
    copy = Detector.on_meta(detector.config) or detector
    silence = torch.zeros(1, num_samples, device=copy.device, dtype=copy.dtype)
    flops = {"front-end": count_flops(copy.frontend, silence)}
    flops["back-end"] = count_flops(copy, silence) - flops["front-end"]
    seconds_of_files = sum(len(load_audio(file)) for file in files) / SAMPLE_RATE
    seconds = num_samples / SAMPLE_RATE
    decoding = {"stage": "decode, one thread", "utterances": len(files), "audio": seconds_of_files}
    stages: list[tuple[Callable[[], Any], dict[str, Any]]] = [(lambda: [load_audio(file) for file in files], decoding)]
    for size in batch_sizes:
        waveform = 0.1 * torch.randn(size, num_samples).to(detector.device)
        with torch.inference_mode():
            states = detector.hidden_states(waveform)
        amount = {"utterances": size, "audio": size * seconds}
        computations: dict[str, Callable[[], Any]] = {
            "front-end": partial(detector.hidden_states, waveform),
            "back-end": lambda states=states: detector.logits(detector.features(states)),  # type: ignore[misc]
        }
        for name, compute in computations.items():
            stages.append((compute, {"stage": f"{name}, batch {size}", **amount, "flops": size * flops[name]}))
    size = max(batch_sizes)
    batch_files = [*files] * -(-size // len(files))  # repeat the files to fill at least one batch
    count = len(batch_files)
    files_to_scores = {"stage": f"files to scores, batch {size}", "utterances": count, "audio": count * seconds}
    files_to_scores["flops"] = count * (flops["front-end"] + flops["back-end"])
    trials = [Trial(str(number), path) for number, path in enumerate(batch_files)]
    reader = WaveformReader.of(detector, num_samples)
    plan = Plan(size, whole=num_samples is None)
    read = waveforms_for(detector.device, reader, plan, num_workers)
    score = Compute(detector, plan, Scores())
    stages.append((lambda: _wait_for_scores(score(read(trials, (), ALONE))), files_to_scores))
    product = _PRODUCT_SIZE.get(detector.device.type, 2048)
    matrix = torch.randn(product, product).to(detector.device, detector.dtype)
    linear = nn.Linear(product, product, bias=False, device="meta")
    linear.weight = nn.Parameter(matrix, requires_grad=False)
    # Use oneDNN for the matrix product if oneDNN computes the layers of the detector.
    stages.append((partial(OneDNNLinear(linear), matrix), {}))

    synchronize = partial(torch.cuda.synchronize, detector.device) if detector.device.type == "cuda" else lambda: None
    durations: list[list[float]] = [[] for _ in stages]
    with (
        scoring_mode(detector),
        torch.inference_mode(),
        ProgressDisplay[None](title="measuring", unit="run", total=(rounds + 1) * len(stages)) as display,
    ):
        for number in range(rounds + 1):
            for (run, _), times in zip(stages, durations):
                synchronize()
                start = time.perf_counter()
                run()
                synchronize()
                if number:
                    times.append(time.perf_counter() - start)
                display.update()
    medians = [statistics.median(times) for times in durations]
    measured = [Measured(seconds=median, **facts) for median, (_, facts) in zip(medians, stages[:-1])]
    return measured, 2 * product**3 / medians[-1]


def _wait_for_scores(batch_results: Iterable[BatchResult]) -> None:
    for result in batch_results:
        for name, reason in result.failures.items():
            raise InputError(f"{name}: {reason}")


def speed_table(measured: Sequence[Measured], product: float, detector: Detector) -> list[str]:
    """Write the speeds as a Markdown table; ``product`` is the speed of a matrix product in FLOP/s."""
    rows = []
    for stage in measured:
        speed = share = "–"
        if stage.flops:
            flops_per_second = stage.flops / stage.seconds
            speed = f"{flops_per_second / 1e9:,.1f}"
            share = f"{flops_per_second / product:.0%}"
        rows.append([stage.stage, f"{stage.per_second:,.2f}", f"{stage.times_real_time:,.1f}", speed, share])
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
        f"{counted(usable_processors(), 'processor')}, {counted(torch.get_num_threads(), 'thread')}",
    ]
    if detector.device.type == "cuda":
        lines.append(
            f"{torch.cuda.get_device_name(detector.device)}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        )
    names = " + ".join(detector.config[role]["name"] for role in ("frontend", "aggregation", "backend"))
    size = sum(p.numel() for p in detector.parameters())
    lines.append(f"{names}, {size:,} parameters, {detector.precision} on {detector.device}")
    peak = peak_bytes()  # None or 0 if the operating system does not report peak memory
    memory = [f"peak memory {peak / 2**30:.2f} GiB"] if peak else []
    if detector.device.type == "cuda":
        memory.append(f"on the GPU {torch.cuda.max_memory_allocated(detector.device) / 2**30:.2f} GiB")
    return [f"- {line}" for line in [*lines, ", ".join(memory)] if line]
