"""Compare a training step with the published computation, for back-end and whole detector, and measure the wait for data.

A step is forward in train mode, weighted cross-entropy, backward, Adam. There are two comparisons.
In each, both programs begin with the same parameters:

* back-end: Nes2Net-X on features of 64,600 samples (201 frames) in batches of 12, against a plain transcription;
* whole detector: XLS-R 300M and Nes2Net-X in batches of --batch, with fairseq's front-end, or a
  transcription of it if fairseq is not installed. bfloat16 is autocast; weights and Adam stay in float32.
  Both detectors share their weights. It takes 10 GiB of memory and 6 to 8 minutes on two cores.

All rows of a table run in turn (A B A B …). Figures are medians, of CPU time on one thread,
otherwise of wall time; ratios are to the published computation in the same precision. Then the
demonstration's small detector (wav2vec2_small, Nes2Net-X) trains on generated recordings with
RawBoost 4 and one worker. It should wait for data less than a fifth of the time. Last is an epoch of
the published recipe with real files, extrapolated from a slice: the trainer and the validation of
the project, and those of the published program, in turn, with one worker each (_epoch.py); in
bfloat16 only if the processor has instructions for it. CPU time excludes the worker's.

    OMP_NUM_THREADS=2 scripts/bench train
    scripts/bench train --parts backend data
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
from _harness import first_line, generated_trials, median_seconds, thread_seconds, versions
from _published import FEATURE_DIM, PublishedDetector, PublishedNes2NetX
from torch import Tensor, nn

from nes2net import Detector
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.data.augment.rawboost import RawBoost
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.models.backends.nes2net import nes2net_x
from nes2net.training.dataset import BatchLoader, Examples, TrainingSet, training_loader
from nes2net.training.progress import WAIT_LIMIT, Meter
from nes2net.training.sampling import EpochBatches

BACKEND_BATCH = 12
FRAMES = 201
CLASS_WEIGHTS = torch.tensor([0.1, 0.9])


def training_step(
    model: nn.Module, called: Callable, inputs: Tensor, bfloat16: bool = False, with_inputs: bool = False
) -> Callable[[], None]:
    """Make a training step of ``model`` with a learning rate of 0, which does not change the weights.

    Args:
        model: the module with the weights.
        called: ``model`` itself, or its compiled form.
        inputs: the batch.
        bfloat16: compute under autocast.
        with_inputs: compute gradients of the inputs, too, as for training a front-end.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, weight_decay=1e-4)
    inputs = inputs.clone().requires_grad_(with_inputs)
    targets = torch.arange(len(inputs)) % 2

    def step() -> None:
        model.train()
        inputs.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = F.cross_entropy(called(inputs), targets, CLASS_WEIGHTS)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def race(models: dict[str, nn.Module], inputs: Tensor, rounds: int, compiled: bool, with_inputs: bool = False) -> None:
    """Print the times of a step of ``models`` in both precisions; the first model is the reference."""
    reference = next(iter(models))
    print(f"outputs differ by {largest_difference(*models.values(), inputs):.1e}")
    runs = {}
    for precision, bfloat16 in (("float32", False), ("bfloat16", True)):
        for name, model in models.items():
            runs[name, precision] = training_step(model, model, inputs, bfloat16, with_inputs)
            if compiled and name != reference:
                compiled_model = torch.compile(model)
                step = training_step(model, compiled_model, inputs, bfloat16, with_inputs)
                runs[f"{name}, compiled", precision] = step
    seconds = median_seconds(runs, rounds, thread_seconds, warm_up=2)
    for (name, precision), median in seconds.items():
        ratio = seconds[reference, precision] / median
        speed = f"{1000 * median:9.1f} ms  {len(inputs) / median:8.2f} utterances/s  {ratio:5.2f}×"
        print(f"{name:>24}, {precision:<8}  {speed}")


@torch.no_grad()
def largest_difference(a: nn.Module, b: nn.Module, inputs: Tensor) -> float:
    """The largest difference of two models' outputs."""
    return (a.eval()(inputs) - b.eval()(inputs)).abs().max().item()


def backend(arguments: argparse.Namespace) -> None:
    """Measure the back-end."""
    batch = 2 if arguments.small else BACKEND_BATCH
    frames = 20 if arguments.small else FRAMES
    print(f"\nback-end, batch {batch}, {frames} frames")
    models = {"published": PublishedNes2NetX(), "nes2net_x": nes2net_x()}
    models["nes2net_x"].load_state_dict(models["published"].state_dict())
    features = torch.randn(batch, frames, FEATURE_DIM)
    race(models, features, arguments.rounds, arguments.compile, with_inputs=True)


def detector(arguments: argparse.Namespace) -> None:
    """Measure the whole detector."""
    samples = 8000 if arguments.small else ASVSPOOF_SAMPLES
    own_detector = Detector.from_config(configuration(small=arguments.small))
    published = PublishedDetector(own_detector)
    print(f"\nwhole detector, batch {arguments.batch}, {samples:,} samples; published: {published.source}")
    models = {"published": published, "nes2net": own_detector}
    race(models, 0.1 * torch.randn(arguments.batch, samples), arguments.rounds, arguments.compile)


def train_small(loader: BatchLoader) -> Meter:
    """Train the small detector for an epoch."""
    backend_config = {"name": "nes2net_x", "nes_ratio": [4, 4]}
    small = Detector.from_config({"frontend": "wav2vec2_small", "backend": backend_config})
    optimizer = torch.optim.Adam(small.train().parameters(), lr=1e-3, weight_decay=1e-4)
    meter = Meter(loader, ProgressDisplay(title="train", unit="step"))
    for batch in meter:
        loss = F.cross_entropy(small(batch.part.inputs), batch.part.targets, CLASS_WEIGHTS)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        meter.update(len(batch.part.targets), loss=loss.item())
    return meter


def data(arguments: argparse.Namespace) -> None:
    """Train a small detector, and print how long it waits for data."""
    count = 24 if arguments.small else 360
    batch = 4 if arguments.small else 12
    with tempfile.TemporaryDirectory() as folder:
        trials = generated_trials(Path(folder), count)
        batches = EpochBatches(count, batch, seed=0, shuffle=True)
        dataset = TrainingSet(Examples(trials), 32000, [RawBoost(4)])
        meter = train_small(training_loader(dataset, batches, 1, False))
    print(f"\nsmall detector, batch {batch}, 32,000 samples, RawBoost 4, 1 reading process")
    print(f"  training {meter.utterances_per_second:8.1f} utterances/s")
    print(f"  waiting for data {meter.wait_share:.1%} of its time (data-bound from {WAIT_LIMIT:.0%} on)")


def epoch(arguments: argparse.Namespace) -> None:
    """Measure an epoch of the published program and of the trainer, in turn."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        stage = Stage("epoch", torch.device("cpu"), arguments.small, seconds=math.inf, out=folder, work=folder)
        num_steps = 4 if arguments.small else 8
        print(f"\nepoch of {STEPS} steps of {arguments.batch} utterances, and its validation")
        measure_epochs(stage, arguments.batch, num_steps, workers=1, rounds=arguments.rounds)


MEASUREMENTS = {"backend": backend, "detector": detector, "data": data, "epoch": epoch}


def main() -> None:
    """Run the chosen measurements."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2, help="utterances in a step of the whole detector")
    parser.add_argument("--parts", nargs="+", choices=list(MEASUREMENTS), default=list(MEASUREMENTS))
    parser.add_argument("--compile", action="store_true", help="measure the compiled models too")
    parser.add_argument("--small", action="store_true", help="tiny models on half a second, to see that it runs")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    print(versions())
    for name in arguments.parts:
        MEASUREMENTS[name](arguments)


if __name__ == "__main__":
    main()
