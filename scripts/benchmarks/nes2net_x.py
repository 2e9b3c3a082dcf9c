"""Nes2Net-X, compiled, is at least 1.8 times as fast as the published computation forward, and 1.5 times in a training step.

Against a plain transcription of the published computation (:class:`Published`: 1-D convolutions, the columns in a growing fourth
axis, Conv2d with a kernel of (3, 1)), with the same weights and equal outputs, on features of 64,600 samples (201 frames) in batches of 12.
They run by turns (A B A B …); the ratios are of medians, of CPU time on one thread (other programs disturb it little), else of wall time.
A training step is forward in train mode, cross-entropy, backward. Compiling takes a minute a model.

    OMP_NUM_THREADS=2 scripts/bench nes2net_x
    scripts/bench nes2net_x --rounds 31 --no-compile
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net.backends.nes2net import nes2net_x

BATCH, FRAMES, FEATURE_DIM = 12, 201, 1024


class PublishedBlock(nn.Module):
    """The inner block of Nes2Net-X, B×C×T → B×C×T; its columns are concatenated on a last axis N, B×C×T×N."""

    def __init__(self, channels: int, scale: int, dilation: int, activation: nn.Module, se_channels: int) -> None:
        super().__init__()
        self.scale, width = scale, channels // scale
        self.conv1 = nn.Conv1d(channels, channels, 1)
        self.bn1 = nn.BatchNorm1d(channels)
        self.weighted_sum = nn.ParameterList(torch.full((1, 1, 1, i + 2), 1 / (i + 2)) for i in range(scale - 1))
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)) for _ in range(scale - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(scale - 1))
        self.conv3 = nn.Conv1d(channels, channels, 1)
        self.bn3 = nn.BatchNorm1d(channels)
        self.se = nn.Module()
        self.se.se = nn.Sequential(
            nn.AdaptiveAvgPool1d(1), nn.Conv1d(channels, se_channels, 1), nn.ReLU(),
            nn.Conv1d(se_channels, channels, 1), nn.Sigmoid(),
        )  # fmt: skip
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        parts = self.bn1(self.activation(self.conv1(x))).chunk(self.scale, dim=1)
        outputs = []
        columns = parts[-1].unsqueeze(3)
        for part, conv, bn, weight in zip(parts, self.convs, self.bns, self.weighted_sum):
            columns = torch.cat([columns, part.unsqueeze(3)], dim=3)
            columns = bn(self.activation(conv(columns)))
            outputs.append((columns * weight).sum(dim=3))
        y = self.bn3(self.activation(self.conv3(torch.cat([*outputs, parts[-1]], dim=1))))
        return y * self.se.se(y) + x


class Published(nn.Module):
    """Nes2Net-X, B×T×D → B×2, with 8 groups, scale 8, dilation 2 and mean pooling."""

    def __init__(self) -> None:
        super().__init__()
        channels, self.activation = FEATURE_DIM // 8, nn.ReLU(inplace=True)
        self.Build_in_Res2Nets = nn.ModuleList(
            PublishedBlock(channels, 8, 2, self.activation, channels) for _ in range(7)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(7))
        self.bn = nn.BatchNorm1d(FEATURE_DIM)
        self.fc = nn.Linear(FEATURE_DIM, 2)

    def forward(self, features: Tensor) -> Tensor:
        parts = features.transpose(1, 2).chunk(8, dim=1)
        outputs: list[Tensor] = []
        for part, block, bn in zip(parts, self.Build_in_Res2Nets, self.bns):
            x = part + outputs[-1] if outputs else part
            outputs.append(bn(self.activation(block(x))))
        y = self.activation(self.bn(torch.cat([*outputs, parts[-1]], dim=1)))
        return self.fc(y.mean(dim=2))


def forward_pass(model: nn.Module, features: Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            model.eval()(features)

    return run


def training_step(model: nn.Module, features: Tensor, labels: Tensor) -> Callable[[], None]:
    features = features.clone().requires_grad_()  # the front-end is trained too

    def run() -> None:
        model.zero_grad()
        features.grad = None
        F.cross_entropy(model.train()(features), labels).backward()

    return run


def seconds_by_turns(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each, run one after the other in every round."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    for run in runs.values():
        run()
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = clock()
            run()
            taken[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def largest_difference(a: nn.Module, b: nn.Module, features: Tensor) -> float:
    with torch.inference_mode():
        return (a.eval()(features) - b.eval()(features)).abs().max().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-compile", action="store_true", help="measure the eager models only")
    arguments = parser.parse_args()
    torch.manual_seed(0)

    features, labels = torch.randn(BATCH, FRAMES, FEATURE_DIM), torch.arange(BATCH) % 2
    models: dict[str, nn.Module] = {"published": Published(), "nes2net_x": nes2net_x()}
    models["nes2net_x"].load_state_dict(models["published"].state_dict())
    if not arguments.no_compile:
        for name in list(models):
            models[f"{name}, compiled"] = torch.compile(models[name], fullgraph=True)

    print(f"batch {BATCH}, {FRAMES} frames, {torch.get_num_threads()} thread(s), torch {torch.__version__}")
    for name, model in models.items():
        print(f"{name:>22}: outputs differ by {largest_difference(models['published'], model, features):.1e}")
    for what, runs in {
        "forward": {name: forward_pass(model, features) for name, model in models.items()},
        "training step": {name: training_step(model, features, labels) for name, model in models.items()},
    }.items():
        seconds = seconds_by_turns(runs, arguments.rounds)
        for name, median in seconds.items():
            print(f"{what:>14}  {name:>22}  {1000 * median:7.1f} ms  {seconds['published'] / median:5.2f}×")


if __name__ == "__main__":
    main()
