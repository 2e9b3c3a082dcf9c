"""Claim: compiled Nes2Net-X is 1.8 times as fast as published in the forward pass, and 1.5 times in a training step.

The reference is a plain transcription of the published computation (:class:`PublishedNes2NetX`: 1-D
convolutions, the columns in a growing fourth axis, Conv2d with a kernel of (3, 1)), with the same
weights and equal outputs, on features of 64,600 samples (201 frames) in batches of 12. Both run in
turn (A B A B …). Ratios are of medians, of CPU time on one thread (other programs disturb it
little), otherwise of wall time. A training step is forward in train mode, cross-entropy and
backward. Compiling takes a minute per model.

    OMP_NUM_THREADS=2 scripts/bench nes2net_x
    scripts/bench nes2net_x --rounds 31 --no-compile
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from _published import FEATURE_DIM, PublishedNes2NetX, seconds_by_turns
from torch import Tensor, nn

from nes2net.models.backends.nes2net import nes2net_x

BATCH = 12
FRAMES = 201


def forward_pass(model: nn.Module, features: Tensor) -> Callable[[], None]:
    """Make a function that computes the forward pass in eval mode."""

    def run() -> None:
        """Compute the logits once."""
        with torch.inference_mode():
            model.eval()(features)

    return run


def training_step(model: nn.Module, features: Tensor, labels: Tensor) -> Callable[[], None]:
    """Make a function that does a training step, with gradients of the features, too."""
    features = features.clone().requires_grad_()  # the front-end is trained too

    def run() -> None:
        """Compute the gradients once."""
        model.zero_grad()
        features.grad = None
        F.cross_entropy(model.train()(features), labels).backward()

    return run


def largest_difference(a: nn.Module, b: nn.Module, features: Tensor) -> float:
    """The largest difference of two models' outputs."""
    with torch.inference_mode():
        return (a.eval()(features) - b.eval()(features)).abs().max().item()


def main() -> None:
    """Measure both models, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true", help="measure the eager models only")
    arguments = parser.parse_args()
    torch.manual_seed(0)

    features = torch.randn(BATCH, FRAMES, FEATURE_DIM)
    labels = torch.arange(BATCH) % 2
    models: dict[str, nn.Module] = {"published": PublishedNes2NetX(), "nes2net_x": nes2net_x()}
    models["nes2net_x"].load_state_dict(models["published"].state_dict())
    if not arguments.no_compile:
        for name in list(models):
            models[f"{name}, compiled"] = torch.compile(models[name], fullgraph=True)

    print(f"batch {BATCH}, {FRAMES} frames, {torch.get_num_threads()} thread(s), torch {torch.__version__}")
    for name, model in models.items():
        print(f"{name:>22}: outputs differ by {largest_difference(models['published'], model, features):.1e}")
    for kind, runs in {
        "forward": {name: forward_pass(model, features) for name, model in models.items()},
        "training step": {name: training_step(model, features, labels) for name, model in models.items()},
    }.items():
        seconds = seconds_by_turns(runs, arguments.rounds)
        for name, median in seconds.items():
            print(f"{kind:>14}  {name:>22}  {1000 * median:7.1f} ms  {seconds['published'] / median:5.2f}×")


if __name__ == "__main__":
    main()
