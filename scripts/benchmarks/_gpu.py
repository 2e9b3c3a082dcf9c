"""Shared by the stages of `scripts/bench gpu`: rows that are written at once, models, and the clock."""

from __future__ import annotations

import gc
import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _harness import median_seconds
from torch import Tensor

from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.detector import Detector
from nes2net.lib.errors import first_line
from nes2net.scoring.kernel import scoring_mode

_SMALL = {
    "encoder_layers": 1, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 4, "conv_pos": 16,
    "conv_feature_layers": [[32, 10, 5], *[[32, 3, 2]] * 4, *[[32, 2, 2]] * 2],
}  # fmt: skip
_BACKEND = {"aggregation": "last", "backend": "nes2net_x"}
_FRONTENDS = {"xlsr_300m": {"pretraining_heads": False}, "wavlm_large": {}}

#: Function that does the measured work so many times, without waiting for the GPU at the end.
Run = Callable[[int], Any]


def configuration(frontend: str = "xlsr_300m", *, small: bool, **options: Any) -> dict[str, Any]:
    """Configure a published detector; if ``small``, with a single thin layer, as wide as the transcription needs."""
    options |= {"name": frontend, **_FRONTENDS[frontend], **(_SMALL if small else {})}
    return {"frontend": options, **_BACKEND}


@dataclass
class Stage:
    """One stage of the benchmark.

    Args:
        name: also the name of its file, ``{out}/{name}.jsonl``, which has a line for each row.
        small: tiny models, as a test.
        seconds: how long the stage may take; measurements for which no time remains are left out.
        work: a folder for models and recordings, which all stages share.
    """

    name: str
    device: torch.device
    small: bool
    seconds: float
    out: Path
    work: Path

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.cuda = self.device.type == "cuda"
        self.num_samples = 8000 if self.small else ASVSPOOF_SAMPLES
        tf32 = ["tf32"] if self.cuda else []
        #: precisions that the device scores in, the exact one first
        self.precisions = ["float32", *tf32, "bfloat16", "float16"]

    def add(self, section: str, label: str, **row: Any) -> None:
        """Write a row of the table ``section`` and print it; values that are None are left out."""
        row = {"section": section, "what": label, **{name: value for name, value in row.items() if value is not None}}
        append(self.out / f"{self.name}.jsonl", row)
        print("  ".join([f"[{section}] {label}:", *(f"{k} {shown(v)}" for k, v in list(row.items())[2:])]), flush=True)

    def attempt(self, section: str, label: str, run: Callable[[], Any], needs: float = 5.0) -> None:
        """Call ``run``; an error becomes a row, and the stage continues.

        Args:
            needs: seconds on a GPU. If less time remains, ``run`` is left out.
        """
        seconds_left = self.seconds - (time.monotonic() - self.began)
        if seconds_left < needs and not (self.small and seconds_left > 0):
            self.add(section, label, note=f"left out: {seconds_left:.0f} s were left for {needs:.0f} s")
            return
        try:
            run()
        except Exception as error:
            traceback.print_exc()
            self.add(section, label, error=f"{type(error).__name__}: {first_line(error)}")
        finally:
            self.release()

    def checkpoint(self, name: str, config: Mapping[str, Any] | None = None) -> Path:
        """Return the file of a detector with random weights; it is made from ``config`` if it does not exist."""
        path = self.work / f"{name}.pth"
        if config is not None and not path.exists():
            torch.manual_seed(0)
            with torch.device(self.device):  # a CPU takes long to draw 300 million numbers
                Detector.from_config(dict(config)).save(path)
        return path

    def load(self, path: Path, precision: str, device: str | None = None) -> Detector:
        """Load a detector in ``precision``, in eval mode."""
        return Detector.from_pretrained(path, device or str(self.device), precision)

    def published(self) -> Path:
        """Return the file of a detector of XLS-R 300M and Nes2Net-X."""
        return self.checkpoint("xlsr_300m", configuration(small=self.small))

    def race(self, section: str, runs: Mapping[str, Run], seconds: float = 0.3, rounds: int = 5) -> dict[str, float]:
        """Measure ``runs`` in turn (A B A B …), and return the median seconds of doing each once.

        A run that fails, such as a batch that does not fit into the memory, becomes a row with its
        error.

        Args:
            seconds: about how long each run lasts in each round.
        """
        seconds, rounds = (0.0, 1) if self.small else (seconds, rounds)
        counts = {}
        for name, run in runs.items():
            try:
                self._timed(run, 1)  # the first call makes plans and compiles
                counts[name] = max(1, round(seconds / self._timed(run, 1)))
            except Exception as error:
                self.add(section, name, error=f"{type(error).__name__}: {first_line(error)}")
                self.release()
        counted_runs = {name: partial(self._timed, runs[name], count) for name, count in counts.items()}
        medians = median_seconds(counted_runs, rounds)
        return {name: medians[name] / count for name, count in counts.items()}

    def _timed(self, run: Run, count: int) -> float:
        """Measure the seconds of ``count`` repetitions, until the GPU has finished."""
        start = time.perf_counter()
        run(count)
        self.synchronise()
        return max(1e-9, time.perf_counter() - start)

    def memory(self, run: Callable[[], Any]) -> float | None:
        """Measure the GiB of GPU memory that ``run`` needs in addition; None on a CPU."""
        if not self.cuda:
            return None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**30

    def synchronise(self) -> None:
        """Wait for the GPU."""
        if self.cuda:
            torch.cuda.synchronize()

    def release(self) -> None:
        """Free unused memory of the GPU."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def noise(self, batch: int, num_samples: int | None = None, seed: int = 0) -> Tensor:
        """Make waveforms B×N of noise on the CPU."""
        shape = batch, self.num_samples if num_samples is None else num_samples
        return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def scoring(detector: Detector, waveforms: Tensor) -> Run:
    """Make a run that scores ``waveforms``, which are on the device."""

    def run(count: int) -> None:
        with scoring_mode(detector), torch.inference_mode():
            for _ in range(count):
                detector.scores(waveforms)

    return run


def relative(a: Tensor, b: Tensor) -> float:
    """‖a − b‖ / ‖b‖ in float64."""
    a, b = (x.detach().double().cpu() for x in (a, b))
    return ((a - b).norm() / b.norm().clamp_min(1e-30)).item()


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Add a line of JSON to ``path``."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def shown(value: Any) -> str:
    """Write a value for the tables."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return str(value)
