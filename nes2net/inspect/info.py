"""Description of a model: parameters, multiply-adds, receptive field and published results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from os.path import exists
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nes2net.aggregations.base import Aggregation
from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.audio.read import SAMPLE_RATE
from nes2net.backends.base import Backend
from nes2net.detector import PUBLISHED_MODELS, Detector
from nes2net.errors import InputError, did_you_mean
from nes2net.frontends.base import Frontend
from nes2net.registry import (
    Registry,
    aggregations,
    backends,
    create_aggregation,
    create_backend,
    create_frontend,
    frontends,
)

#: Frames at which the paper counts a back-end's cost: 4 s of XLS-R or WavLM features (arXiv
#: 2504.05657).
PAPER_FRAMES = 200
_DIM, _LAYERS = 1024, 25  # XLS-R 300M and WavLM-Large


@dataclass
class PartInfo:
    """A part of a detector, with ``multiply_adds`` per second of audio and ``notes`` as lines."""

    role: str
    name: str
    parameters: int
    multiply_adds: float
    notes: list[str] = field(default_factory=list)


def count_flops(module: nn.Module, *inputs: Any) -> int:
    """Count the operations of matrix products and convolutions in one forward pass.

    A multiply-add counts as two.

    >>> count_flops(nn.Linear(10, 5), torch.zeros(2, 10))
    200
    """
    module.eval()
    trained = [p for p in module.parameters() if p.requires_grad]
    try:
        for parameter in trained:  # the counter would hook into autograd
            parameter.requires_grad_(False)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(*inputs)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return counter.get_total_flops()


def describe(name: str, registry: Registry | None = None) -> list[PartInfo]:
    """Describe the parts of a model, front-end, aggregation or back-end, or of a checkpoint.

    Front-ends are counted on 64,600 samples, back-ends and aggregations on the resulting frames.

    Args:
        name: a registered or published name, or a file or folder.
        registry: that of the name, if parts of several kinds are called so.

    Raises:
        InputError: if the name is unknown; the message has the nearest one.
    """
    if registry is None and name in PUBLISHED_MODELS:
        with torch.device("meta"):
            return _describe_detector(Detector.from_config(PUBLISHED_MODELS[name]))
    if name not in names() and exists(name):
        return _describe_detector(Detector.from_pretrained(name, device="cpu"))
    with torch.device("meta"):
        if registry in (None, frontends) and name in frontends.names():
            return [_describe_frontend(create_frontend(name))]
        if registry in (None, backends) and name in backends.names():
            backend = create_backend(name)
            if backend.feature_dim == 1:  # it reads the waveform
                waveform = torch.zeros(1, ASVSPOOF_SAMPLES, 1)
                return [_describe_head("back-end", backend, waveform, ASVSPOOF_SAMPLES, ASVSPOOF_SAMPLES / SAMPLE_RATE)]
            frames = backend.fixed_frames or PAPER_FRAMES
            features = torch.zeros(1, frames, backend.feature_dim)
            inputs = [features] * backend.num_states if backend.wants_layers == "all" else features
            return [_describe_head("back-end", backend, inputs, frames)]
        if registry in (None, aggregations) and name in aggregations.names():
            part = create_aggregation(name, _LAYERS, _DIM)
            return [_describe_head("aggregation", part, [torch.zeros(1, PAPER_FRAMES, _DIM)] * _LAYERS, PAPER_FRAMES)]
    raise InputError(f"'{name}' is neither a model nor a checkpoint{did_you_mean(name, names())}")


def names() -> list[str]:
    """All names that :func:`describe` knows."""
    return [*PUBLISHED_MODELS, *frontends.names(), *aggregations.names(), *backends.names()]


def _describe_detector(detector: Detector) -> list[PartInfo]:
    parts = [_describe_frontend(detector.frontend)]
    with torch.no_grad():
        states = detector.eval().hidden_states(torch.zeros(1, ASVSPOOF_SAMPLES))
        features = detector.features(states)
    frames = states[0].shape[1]
    seconds = ASVSPOOF_SAMPLES / SAMPLE_RATE
    if detector.backend.wants_layers == "last":
        parts.append(_describe_head("aggregation", detector.aggregation, states, frames, seconds))
    return [*parts, _describe_head("back-end", detector.backend, features, frames, seconds)]


def _describe_frontend(frontend: Frontend) -> PartInfo:
    flops = count_flops(frontend, torch.zeros(1, ASVSPOOF_SAMPLES), "all")
    hop, width = 1e3 * frontend.hop_length / SAMPLE_RATE, 1e3 * frontend.min_samples / SAMPLE_RATE
    notes = [
        f"{_counted(frontend.num_layers, 'hidden state')} of {frontend.out_dim}, a frame of {width:g} ms every {hop:g} ms"
    ]
    if frontend.num_unused:
        notes.append(f"its files hold {frontend.num_unused:,} more numbers, used in pre-training only")
    notes += _never_trained(frontend)
    return PartInfo(
        "front-end", frontend.config["name"], _parameters(frontend), flops / 2 * SAMPLE_RATE / ASVSPOOF_SAMPLES, notes
    )


def _describe_head(
    role: str, part: Aggregation | Backend, inputs: Any, frames: int, seconds: float | None = None
) -> PartInfo:
    count = part.num_scores if isinstance(part, Backend) else 0
    flops = count_flops(part, inputs, *([torch.zeros(1, count)] if count else []))
    seconds = seconds or frames * 0.02
    notes = []
    if isinstance(part, Backend):
        notes.append(f"{flops / 1e9:.3f} GFLOP on {frames} frames, a multiply-add counted as two")
        width = part.receptive_field
        sees = (
            f"its convolutions see {width} frames, {width * seconds / frames:.2f} s"
            if width
            else "it sees the whole utterance"
        )
        notes.append(f"{sees}; it needs at least {_counted(part.min_frames, 'frame')}")
        notes += _never_trained(part)
        notes.append("layers: " + ", ".join(_layer(name, child) for name, child in part.named_children()))
    return PartInfo(role, part.config["name"], _parameters(part), flops / 2 / seconds, notes)


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _layer(name: str, module: nn.Module) -> str:
    times = (
        f"{len(module)} × {type(module[0]).__name__}" if isinstance(module, nn.ModuleList) else type(module).__name__
    )
    parameters = _parameters(module)
    return f"{name} ({times}{f', {parameters:,}' if parameters else ''})"


def _never_trained(module: nn.Module) -> list[str]:
    frozen = sum(p.numel() for p in module.parameters()) - _parameters(module)
    return [f"{frozen:,} more parameters are never trained"] if frozen else []


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def describe_config(config: dict[str, Any]) -> list[PartInfo]:
    """Describe the parts of a detector, or of a front-end alone."""
    with torch.device("meta"):
        if "backend" in config:
            return _describe_detector(Detector.from_config(config))
        options = dict(config["frontend"])
        return [_describe_frontend(create_frontend(options.pop("name"), **options))]


def costs(parts: Sequence[PartInfo]) -> list[dict[str, Any]]:
    """A row for each part and for their sum: parameters and multiply-adds per second of audio."""
    rows = [(part.role, part.name, part.parameters, part.multiply_adds, "; ".join(part.notes[:2])) for part in parts]
    if len(parts) > 1:
        rows.append(("total", "", sum(p.parameters for p in parts), sum(p.multiply_adds for p in parts), ""))
    return [
        {"part": role, "name": name, "parameters": number, "multiply-adds/s": f"{cost / 1e9:.3f} G", "notes": notes}
        for role, name, number, cost, notes in rows
    ]
