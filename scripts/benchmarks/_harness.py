"""The harness of the benchmarks: runs in turn, their clocks, recordings, and what is printed."""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile
import torch

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.corpora.trial import Trial

Name = TypeVar("Name")
Measure = TypeVar("Measure")
REPOSITORY = Path(__file__).resolve().parents[2]


def seconds_by(clock: Callable[[], float]) -> Callable[[Callable[[], Any]], float]:
    """Make a function that calls a run, and returns its seconds by ``clock``."""

    def seconds(run: Callable[[], Any]) -> float:
        start = clock()
        run()
        return clock() - start

    return seconds


wall_seconds = seconds_by(time.perf_counter)


def thread_clock() -> Callable[[], float]:
    """Choose processor time if PyTorch has one thread, otherwise wall time: other programs disturb the former little."""
    return time.thread_time if torch.get_num_threads() == 1 else time.perf_counter


def thread_seconds(run: Callable[[], Any]) -> float:
    """Measure the seconds of a run by :func:`thread_clock`."""
    return seconds_by(thread_clock())(run)


def in_turn(
    runs: Mapping[Name, Callable[[], Any]], rounds: int, measure: Callable[[Callable[[], Any]], Measure]
) -> dict[Name, list[Measure]]:
    """Measure all runs in turn in every round (A B A B …), and list what ``measure`` returns of each."""
    measured: dict[Name, list[Measure]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            measured[name].append(measure(run))
    return measured


def median_seconds(
    runs: Mapping[Name, Callable[[], Any]],
    rounds: int,
    measure: Callable[[Callable[[], Any]], float] = wall_seconds,
    warm_up: int = 0,
) -> dict[Name, float]:
    """Measure all runs in turn, and return the median seconds of each; first, each runs ``warm_up`` times."""
    in_turn(runs, warm_up, measure)
    return {name: statistics.median(seconds) for name, seconds in in_turn(runs, rounds, measure).items()}


def quietly(run: Callable[[], Any]) -> Any:
    """Call ``run`` without its progress bar."""
    with contextlib.redirect_stderr(io.StringIO()):
        return run()


def generated_trials(folder: Path, count: int) -> list[Trial]:
    """Write FLAC files of noise in syllables, 1.5 to 5 s, on average as long as those of ASVspoof 2019."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(count):
        length = int(rng.uniform(1.5, 5) * SAMPLE_RATE)
        noise = np.convolve(rng.standard_normal(length), np.hanning(16), "same")
        syllables = np.sin(2 * np.pi * 2 * np.arange(length) / SAMPLE_RATE) ** 2
        path = folder / f"{number}.flac"
        soundfile.write(path, 0.05 * noise * syllables, SAMPLE_RATE)
        trials.append(Trial(str(number), path, ("bonafide", "spoof")[number % 2]))
    return trials


def recordings(folder: Path, count: int) -> list[Trial]:
    """Choose ``count`` real FLAC files of NES2NET_SHARED from the shortest to the longest, or generate files."""
    shared = Path(os.environ.get("NES2NET_SHARED", REPOSITORY.parent / "shared"))
    files = sorted((shared / "real" / "audio").rglob("*.flac"), key=lambda path: path.stat().st_size)
    if not files:
        print(f"{count} generated recordings")
        return generated_trials(folder, count)
    print(f"{count} real recordings")
    ranks = np.linspace(0, len(files) - 1, count).round().astype(int)
    return [Trial(f"{number:04d}", files[rank]) for number, rank in enumerate(ranks)]


def repeated(trials: Sequence[Trial], copies: int) -> list[Trial]:
    """Repeat the recordings as trials with different ids."""
    copied = []
    for copy in range(copies):
        for trial in trials:
            copied.append(Trial(f"{copy:03d}_{trial.id}", trial.path, trial.label))
    return copied


def name_of(dtype: torch.dtype) -> str:
    """The name of a type, without ``torch.``."""
    return str(dtype).removeprefix("torch.")


def versions() -> str:
    """Name what figures depend on."""
    return f"{torch.get_num_threads()} thread(s) of {os.cpu_count()} processors, torch {torch.__version__}"


def first_line(docstring: str | None) -> str:
    """The first line of a benchmark's docstring, for its help."""
    return (docstring or "").partition("\n")[0]
