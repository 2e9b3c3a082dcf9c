"""Count the costs of a detector's parts: parameters, multiply-adds and receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nes2net.data.audio.read import SAMPLE_RATE
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.detector import Detector
from nes2net.lib.computing.flops import count_flops
from nes2net.lib.computing.module_size import count_numbers
from nes2net.lib.errors import pluralise
from nes2net.lib.output.sheet import Facts
from nes2net.lib.parts.options import name_and_options
from nes2net.lib.parts.registry import Registry
from nes2net.models.aggregations.base import Aggregation
from nes2net.models.backends.base import Backend
from nes2net.models.frontends.base import Frontend
from nes2net.models.registry import aggregations, create_aggregation, create_backend, create_frontend, frontends

#: Number of frames for which the paper (arXiv 2504.05657) counts the cost of a back-end: 4 s of XLS-R or WavLM
#: features.
PAPER_FRAMES = 200
# Feature dimension and number of hidden states of XLS-R 300M and WavLM-Large, the inputs of an aggregation here.
_FEATURE_DIM = 1024
_NUM_STATES = 25
# Seconds of audio in 64,600 samples, and in a frame of most front-ends.
_SECONDS = ASVSPOOF_SAMPLES / SAMPLE_RATE
_FRAME_SECONDS = 0.02


@dataclass(frozen=True)
class Costs:
    role: str
    """``"front-end"``, ``"aggregation"`` or ``"back-end"``."""
    module: Frontend | Aggregation | Backend
    multiply_adds: float
    """Per second of audio."""
    notes: list[str]
    """Lines of text about sizes, the receptive field and layers."""

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return count_numbers(tensor for tensor in self.module.parameters() if tensor.requires_grad)


def costs_of_part(registry: Registry, name: str) -> Costs:
    """Count the costs of a front-end, an aggregation or a back-end with its default options.

    A front-end reads 64,600 samples; other parts read :data:`PAPER_FRAMES` frames, or the only
    length that the back-end accepts. Nothing is computed: tensors are on the device ``meta``.

    Raises:
        InputError: if ``registry`` does not have the name.
    """
    with torch.device("meta"):
        if registry is frontends:
            return _frontend_costs(create_frontend(name))
        if registry is aggregations:
            aggregation = create_aggregation(name, _NUM_STATES, _FEATURE_DIM)
            states = [torch.zeros(1, PAPER_FRAMES, _FEATURE_DIM)] * _NUM_STATES
            return _costs("aggregation", aggregation, states, PAPER_FRAMES, PAPER_FRAMES * _FRAME_SECONDS)
        backend = create_backend(name)
        frames = backend.fixed_frames or PAPER_FRAMES
        seconds = frames * _FRAME_SECONDS
        if backend.feature_dim == 1:  # this back-end reads the waveform instead of features
            frames = ASVSPOOF_SAMPLES
            seconds = _SECONDS
        features = torch.zeros(1, frames, backend.feature_dim)
        inputs = [features] * backend.num_states if backend.wants_layers == "all" else features
        return _costs("back-end", backend, inputs, frames, seconds)


def costs_of_config(config: Facts) -> list[Costs]:
    """Count the costs of the parts of a detector, or of a front-end without a detector."""
    with torch.device("meta"):
        if "backend" not in config:
            name, options = name_and_options(config, "frontend")
            return [_frontend_costs(create_frontend(name, **options))]
        detector = Detector.from_config(dict(config))
        costs = [_frontend_costs(detector.frontend)]
        with torch.no_grad():
            states = detector.eval().hidden_states(torch.zeros(1, ASVSPOOF_SAMPLES))
            features = detector.features(states)
        frames = states[0].shape[1]
        if detector.backend.wants_layers == "last":
            costs.append(_costs("aggregation", detector.aggregation, states, frames, _SECONDS))
        return [*costs, _costs("back-end", detector.backend, features, frames, _SECONDS)]


def _frontend_costs(frontend: Frontend) -> Costs:
    flops = count_flops(frontend, torch.zeros(1, ASVSPOOF_SAMPLES), "all")
    hop = 1e3 * frontend.hop_length / SAMPLE_RATE
    width = 1e3 * frontend.min_samples / SAMPLE_RATE
    notes = [
        f"{pluralise(frontend.num_layers, 'hidden state')} of {frontend.out_dim}, a frame of {width:g} ms every {hop:g} ms"
    ]
    if frontend.num_unused:
        notes.append(f"its files hold {frontend.num_unused:,} more numbers, used in pre-training only")
    # A multiply-add counts as two operations.
    return Costs("front-end", frontend, flops / 2 / _SECONDS, notes + _frozen_note(frontend))


def _costs(
    role: str, module: Aggregation | Backend, inputs: Tensor | Sequence[Tensor], frames: int, seconds: float
) -> Costs:
    """``inputs`` are ``frames`` frames, which last ``seconds`` in all."""
    arguments: list[object] = [inputs]
    if isinstance(module, Backend) and module.num_scores:
        arguments.append(torch.zeros(1, module.num_scores))
    flops = count_flops(module, *arguments)
    notes = []
    if isinstance(module, Backend):
        notes.append(f"{flops / 1e9:.3f} GFLOP on {frames} frames, a multiply-add counted as two")
        extent = "it sees the whole utterance"
        if width := module.receptive_field:
            extent = f"its convolutions see {width} frames, {width * seconds / frames:.2f} s"
        notes.append(f"{extent}; it needs at least {pluralise(module.min_frames, 'frame')}")
        if module.resolutions:
            notes.append(f"it scores segments too; their lengths in frames: {', '.join(map(str, module.resolutions))}")
        notes += _frozen_note(module)
    return Costs(role, module, flops / 2 / seconds, notes)


def _frozen_note(module: nn.Module) -> list[str]:
    frozen = count_numbers(tensor for tensor in module.parameters() if not tensor.requires_grad)
    return [f"{frozen:,} more parameters are never trained"] if frozen else []


def cost_rows(costs: Sequence[Costs]) -> list[Facts]:
    """Make a row for each part, with its first two notes, and a row of sums if there are several parts."""
    rows: list[Facts] = []
    parameters = 0
    multiply_adds = 0.0
    for cost in costs:
        rows.append(
            {
                "part": cost.role,
                "name": cost.module.config["name"],
                "parameters": cost.parameters,
                "multiply-adds/s": f"{cost.multiply_adds / 1e9:.3f} G",
                "notes": "; ".join(cost.notes[:2]),
            }
        )
        parameters += cost.parameters
        multiply_adds += cost.multiply_adds
    if len(costs) > 1:
        sums = {"parameters": parameters, "multiply-adds/s": f"{multiply_adds / 1e9:.3f} G"}
        rows.append({"part": "total", "name": "", **sums, "notes": ""})
    return rows
