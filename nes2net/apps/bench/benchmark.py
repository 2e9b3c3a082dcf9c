"""Measure the speed of a detector's stages: decoding, front-end, back-end, files to scores."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from nes2net.data.audio.read import SAMPLE_RATE, load_audio
from nes2net.detector import Detector
from nes2net.evaluation.tables import words
from nes2net.lib.computing.module_size import count_numbers
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.output.terminal import markdown_table
from nes2net.lib.parts.options import part_names
from nes2net.lib.process.this_process import peak_bytes, processor_name, usable_processors
from nes2net.scoring.kernel import check_takes_audio_alone, scoring_mode
from nes2net.scoring.record import describe_computation


class TimedStage(NamedTuple):
    """A piece of work to time."""

    name: str
    run: Callable[[], object]
    utterances: int
    """Number of utterances in one run."""
    audio: float
    """Seconds of audio in one run."""


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
    workers: int | None = None,
) -> list[StageSpeed]:
    """Measure the speed of every stage in ``rounds`` rounds, after one round to warm up.

    Args:
        files: recordings to decode and score, repeated to fill a batch.
        num_samples: number of leading samples to score, at 16 kHz.
        workers: as for :meth:`nes2net.Detector.score_files`.
    """
    check_takes_audio_alone(detector)
    seconds_of_files = sum(len(load_audio(file)) for file in files) / SAMPLE_RATE
    stages = [
        TimedStage("decode, one thread", lambda: [load_audio(file) for file in files], len(files), seconds_of_files)
    ]
    for size in batch_sizes:
        stages += _network_stages(detector, num_samples, size)
    # The whole way from files to scores; the files are repeated to fill at least one batch.
    largest = max(batch_sizes)
    batch_files = [*files] * -(-largest // len(files))
    count = len(batch_files)
    stages.append(
        TimedStage(
            f"files to scores, batch {largest}",
            lambda: list(detector.score_files(batch_files, num_samples, batch_size=largest, workers=workers)),
            count,
            count * num_samples / SAMPLE_RATE,
        )
    )
    with scoring_mode(detector), torch.inference_mode():
        medians = _median_seconds_in_turns(stages, rounds, detector.device)
    return list(map(StageSpeed, stages, medians))


def _network_stages(detector: Detector, num_samples: int, size: int) -> list[TimedStage]:
    waveform = 0.1 * torch.randn(size, num_samples).to(detector.device)
    with torch.inference_mode():
        states = detector.hidden_states(waveform)
    seconds = size * num_samples / SAMPLE_RATE
    return [
        TimedStage(f"front-end, batch {size}", partial(detector.hidden_states, waveform), size, seconds),
        TimedStage(f"back-end, batch {size}", lambda: detector.logits(detector.features(states)), size, seconds),
    ]


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


def speed_table(measured: Sequence[StageSpeed]) -> list[str]:
    """Write the speeds as a Markdown table."""
    rows = []
    for stage, seconds in measured:
        rows.append([stage.name, f"{stage.utterances / seconds:,.2f}", f"{stage.audio / seconds:,.1f}"])
    return markdown_table(["stage", "utterances / s", "× real time"], rows).splitlines()


def environment(detector: Detector) -> list[str]:
    """Describe software and hardware, as the record of a score file does, in a Markdown list."""
    facts = {
        **describe_computation(detector, 1),
        "architecture": " + ".join(part_names(detector.config)),
        "parameters": f"{count_numbers(detector.parameters()):,}",
        "precision": detector.precision,
        "processors": f"{usable_processors()} of {processor_name()}",
    }
    del facts["batch_size"]
    if peak := peak_bytes():  # None or 0 if the operating system does not report peak memory
        facts["peak_memory"] = f"{peak / 2**30:.2f} GiB"
    if detector.device.type == "cuda":
        facts["peak_memory_of_the_GPU"] = f"{torch.cuda.max_memory_allocated(detector.device) / 2**30:.2f} GiB"
    return [f"- {words(name)}: {fact}" for name, fact in facts.items()]
