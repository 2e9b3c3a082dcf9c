"""Compare training steps of a whole detector, and epochs, with the published program.

A step is forward in train mode, weighted cross-entropy, backward, Adam. The detector is XLS-R 300M
and Nes2Net-X, in batches of --batch; the published one has fairseq's front-end, or a transcription
of it if fairseq is not installed. Both share their weights. bfloat16 is autocast; weights and Adam
stay in float32. It takes 10 GiB of memory and 6 to 8 minutes on two cores.

All rows of a table run in turn (A B A B …). Figures are medians, of CPU time on one thread,
otherwise of wall time; ratios are to the published computation in the same precision. An epoch of
the published recipe with real files is extrapolated from a slice: the trainer and the validation of
the project, and those of the published program, in turn, with one worker each (_epoch.py); in
bfloat16 only if the processor has instructions for it. CPU time excludes the worker's.

    OMP_NUM_THREADS=2 scripts/bench train
    OMP_NUM_THREADS=2 scripts/bench train --parts epoch --batch 12
    scripts/bench train --small              # tiny models, as a test; the figures mean nothing
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from _epoch import STEPS
from _gpu import Stage, configuration
from _gpu_train import measure_epochs
from _harness import first_line, median_seconds, thread_seconds, versions
from _published import PublishedDetector
from torch import Tensor, nn

from nes2net import Detector
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES

CLASS_WEIGHTS = torch.tensor([0.1, 0.9])


def training_step(model: nn.Module, waveforms: Tensor, bfloat16: bool) -> Callable[[], None]:
    """Make a training step of ``model`` with a learning rate of 0, which does not change the weights.

    Args:
        bfloat16: compute under autocast.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, weight_decay=1e-4)
    targets = torch.arange(len(waveforms)) % 2

    def step() -> None:
        model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = F.cross_entropy(model(waveforms), targets, CLASS_WEIGHTS)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def race(models: dict[str, nn.Module], waveforms: Tensor, rounds: int) -> None:
    """Print the times of a step of ``models`` in both precisions; the first model is the reference."""
    reference = next(iter(models))
    published, own_detector = models.values()
    print(f"outputs differ by {largest_difference(published, own_detector, waveforms):.1e}")
    runs = {}
    for precision, bfloat16 in (("float32", False), ("bfloat16", True)):
        for name, model in models.items():
            runs[name, precision] = training_step(model, waveforms, bfloat16)
    seconds = median_seconds(runs, rounds, thread_seconds, warm_up=2)
    for (name, precision), median in seconds.items():
        ratio = seconds[reference, precision] / median
        speed = f"{1000 * median:9.1f} ms  {len(waveforms) / median:8.2f} utterances/s  {ratio:5.2f}×"
        print(f"{name:>24}, {precision:<8}  {speed}")


@torch.no_grad()
def largest_difference(a: nn.Module, b: nn.Module, waveforms: Tensor) -> float:
    """The largest difference of two models' outputs."""
    return (a.eval()(waveforms) - b.eval()(waveforms)).abs().max().item()


def detector(arguments: argparse.Namespace) -> None:
    """Measure the whole detector."""
    samples = 8000 if arguments.small else ASVSPOOF_SAMPLES
    own_detector = Detector.from_config(configuration(small=arguments.small))
    published = PublishedDetector(own_detector)
    print(f"\nwhole detector, batch {arguments.batch}, {samples:,} samples; published: {published.source}")
    models = {"published": published, "nes2net": own_detector}
    race(models, 0.1 * torch.randn(arguments.batch, samples), arguments.rounds)


def epoch(arguments: argparse.Namespace) -> None:
    """Measure an epoch of the published program and of the trainer, in turn."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        stage = Stage("epoch", torch.device("cpu"), arguments.small, seconds=math.inf, out=folder, work=folder)
        num_steps = 4 if arguments.small else 8
        print(f"\nepoch of {STEPS} steps of {arguments.batch} utterances, and its validation")
        measure_epochs(stage, arguments.batch, num_steps, workers=1, rounds=arguments.rounds)


MEASUREMENTS = {"detector": detector, "epoch": epoch}


def main() -> None:
    """Run the chosen measurements."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2, help="utterances in a step of the whole detector")
    parser.add_argument("--parts", nargs="+", choices=list(MEASUREMENTS), default=list(MEASUREMENTS))
    parser.add_argument("--small", action="store_true", help="tiny models on half a second, to see that it runs")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(versions())
    for name in arguments.parts:
        MEASUREMENTS[name](arguments)


if __name__ == "__main__":
    main()
