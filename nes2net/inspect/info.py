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
from nes2net.detector import PUBLISHED_MODELS, Detector, sound_description
from nes2net.errors import InputError, did_you_mean
from nes2net.frontends.base import Frontend
from nes2net.inspect.identify import identify
from nes2net.registry import aggregations, backends, create_aggregation, create_backend, create_frontend, frontends

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


def describe(name: str) -> list[PartInfo]:
    """Describe the parts of a model, front-end, aggregation or back-end, or of a checkpoint.

    Front-ends are counted on 64,600 samples, back-ends and aggregations on the resulting frames.

    Args:
        name: a registered or published name, or a file or folder.

    Raises:
        InputError: if the name is unknown; the message has the nearest one.
    """
    if name in PUBLISHED_MODELS:
        with torch.device("meta"):
            return _describe_detector(Detector.from_config(PUBLISHED_MODELS[name]))
    if name not in names() and exists(name):
        return _describe_detector(Detector.from_pretrained(name, device="cpu"))
    with torch.device("meta"):
        if name in frontends.names():
            return [_describe_frontend(create_frontend(name))]
        if name in backends.names():
            backend = create_backend(name)
            if backend.feature_dim == 1:  # it reads the waveform
                waveform = torch.zeros(1, ASVSPOOF_SAMPLES, 1)
                return [_describe_head("back-end", backend, waveform, ASVSPOOF_SAMPLES, ASVSPOOF_SAMPLES / SAMPLE_RATE)]
            frames = backend.fixed_frames or PAPER_FRAMES
            features = torch.zeros(1, frames, backend.feature_dim)
            inputs = [features] * backend.num_states if backend.wants_layers == "all" else features
            return [_describe_head("back-end", backend, inputs, frames)]
        if name in aggregations.names():
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
    flops = count_flops(frontend, torch.zeros(1, ASVSPOOF_SAMPLES))
    hop, width = 1e3 * frontend.hop_length / SAMPLE_RATE, 1e3 * frontend.min_samples / SAMPLE_RATE
    notes = [f"{frontend.num_layers} hidden states of {frontend.out_dim}, a frame of {width:g} ms every {hop:g} ms"]
    if frontend.num_unused:
        notes.append(f"its files hold {frontend.num_unused:,} more numbers, used in pre-training only")
    return PartInfo(
        "front-end", frontend.config["name"], _parameters(frontend), flops / 2 * SAMPLE_RATE / ASVSPOOF_SAMPLES, notes
    )


def _describe_head(
    role: str, part: Aggregation | Backend, inputs: Any, frames: int, seconds: float | None = None
) -> PartInfo:
    flops = count_flops(part, inputs)
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
        notes.append(f"{sees}; it needs at least {part.min_frames} frames")
        notes.append("layers: " + ", ".join(_layer(name, child) for name, child in part.named_children()))
    return PartInfo(role, part.config["name"], _parameters(part), flops / 2 / seconds, notes)


def _layer(name: str, module: nn.Module) -> str:
    times = (
        f"{len(module)} × {type(module[0]).__name__}" if isinstance(module, nn.ModuleList) else type(module).__name__
    )
    parameters = _parameters(module)
    return f"{name} ({times}{f', {parameters:,}' if parameters else ''})"


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def text(name: str, results: Sequence[str] = ()) -> str:
    """The text that ``nes2net info`` prints for a name, a file or a folder.

    Args:
        results: the published results of that name, one line each.
    """
    if name in names() or not exists(name):
        lines = _table(describe(name))
        if results:
            lines += ["published:", *(f"  {result}" for result in results)]
        return "\n".join(lines)
    identity = identify(name)
    if not identity.config or identity.misfit:
        return identity.text()
    with sound_description(name):
        return "\n".join([identity.text(), "", *_table(_describe_config(identity.config))])


def _describe_config(config: dict[str, Any]) -> list[PartInfo]:
    """Describe the parts of a detector, or of a front-end alone."""
    with torch.device("meta"):
        if "backend" in config:
            return _describe_detector(Detector.from_config(config))
        options = dict(config["frontend"])
        return [_describe_frontend(create_frontend(options.pop("name"), **options))]


def _table(parts: list[PartInfo]) -> list[str]:
    lines = [f"{'part':<12} {'name':<16} {'parameters':>12} {'multiply-adds / s':>18}"]
    for part in parts:
        lines.append(f"{part.role:<12} {part.name:<16} {part.parameters:>12,} {_giga(part.multiply_adds):>18}")
        lines += [f"{'':<12} {note}" for note in part.notes]
    if len(parts) > 1:
        total, cost = sum(p.parameters for p in parts), sum(p.multiply_adds for p in parts)
        lines.append(f"{'total':<12} {'':<16} {total:>12,} {_giga(cost):>18}")
    return lines


def _giga(multiply_adds: float) -> str:
    return f"{multiply_adds / 1e9:.3f} G"
