"""Describe the parts of a model: parameters, multiply-adds, receptive field, memory and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import finalize

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from nes2net.data.audio.read import SAMPLE_RATE
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, counted, did_you_mean
from nes2net.models.aggregations.base import Aggregation
from nes2net.models.backends.base import Backend
from nes2net.models.frontends.base import Frontend
from nes2net.models.published_models import PUBLISHED_MODELS
from nes2net.models.registry import (
    Registry,
    aggregations,
    backends,
    create_aggregation,
    create_backend,
    create_frontend,
    frontends,
)

#: Number of frames for which the paper (arXiv 2504.05657) counts the cost of a back-end: 4 s of XLS-R or WavLM
#: features.
PAPER_FRAMES = 200
# Feature dimension and number of hidden states of XLS-R 300M and WavLM-Large.
_FEATURE_DIM = 1024
_NUM_STATES = 25

#: Precision → operations per second, as assumed for estimates of time: a fifth of the dense peak of an H100 or H200 in
#: bfloat16, 989·10¹², and two fifths of the peak in float32, 67·10¹².
SPEED = {"bf16": 200e12, "fp32": 27e12}
#: Bytes per second, as assumed for estimates of time: the memory bandwidth of an H100, 3.35·10¹².
BANDWIDTH = 3.35e12


@dataclass
class PartInfo:
    """The costs of a part of a detector.

    ``parameters`` counts the trained parameters, ``multiply_adds`` is the number of multiply-adds
    for a second of audio, and ``notes`` are lines of text.
    """

    role: str
    name: str
    parameters: int
    multiply_adds: float
    notes: list[str] = field(default_factory=list)


def count_flops(module: nn.Module, *inputs: Any) -> int:
    """Count the operations of matrix products and convolutions in a forward pass of ``module`` on ``inputs``.

    A multiply-add counts as two operations.

    >>> count_flops(nn.Linear(10, 5), torch.zeros(2, 10))
    200
    """
    module.eval()
    trained = [p for p in module.parameters() if p.requires_grad]
    try:
        for parameter in trained:  # with gradients, the counter would use hooks of autograd
            parameter.requires_grad_(False)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(*inputs)
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
    return counter.get_total_flops()


def peak_bytes(module: nn.Module, *inputs: Any) -> int:
    """Compute how many bytes the results of operations take at the peak of a forward pass without gradients.

    Parameters and inputs are not counted. On the meta device, the forward pass itself takes no
    memory.

    >>> peak_bytes(nn.Sequential(nn.Linear(10, 100), nn.Linear(100, 1)), torch.zeros(2, 10))
    808
    """
    storages = set()
    for tensor in (*module.parameters(), *module.buffers(), *inputs):
        if isinstance(tensor, Tensor):
            storages.add(tensor.untyped_storage()._cdata)
    with torch.no_grad(), _ResultMemory(storages) as results:
        module.eval()(*inputs)
    return results.peak


class _ResultMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that operations have returned and that are not yet freed.

    ``storages`` has the ids of storages that are not counted. ``current`` is the number of bytes
    now, and ``peak`` is the largest number so far.
    """

    def __init__(self, storages: set[int]) -> None:
        super().__init__()
        self.current = self.peak = 0  # bytes of results that are not yet freed
        self._known_storages = storages

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation and count its results; PyTorch calls this for every operation."""
        result = operation(*args, **(kwargs or {}))
        tensors = result if isinstance(result, (tuple, list)) else [result]
        for tensor in tensors:
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage())._cdata not in self._known_storages:
                self._known_storages.add(storage._cdata)
                self.current += storage.nbytes()
                finalize(storage, self._free, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.current)
        return result

    def _free(self, storage: int, size: int) -> None:
        """Subtract the bytes of a storage; Python calls this when the storage is freed."""
        self._known_storages.discard(storage)
        self.current -= size


def costs_of(name: str, registry: Registry | None = None) -> list[PartInfo]:
    """Compute the costs of a published model's parts, or of a front-end, aggregation or back-end.

    The costs of a front-end or of a whole model are counted on 64,600 samples. The costs of an
    aggregation or a back-end alone are counted on :data:`PAPER_FRAMES` frames, or on the only
    length that the back-end takes.

    Args:
        name: name of a published model or of a part.
        registry: registry in which to look for the name; None for all registries.

    Raises:
        InputError: if the name is unknown; the message suggests the nearest name.
    """
    if registry is None and name in PUBLISHED_MODELS:
        with torch.device("meta"):
            return _detector_costs(Detector.from_config(PUBLISHED_MODELS[name]))
    with torch.device("meta"):
        if registry in (None, frontends) and name in frontends.names():
            return [_frontend_costs(create_frontend(name))]
        if registry in (None, backends) and name in backends.names():
            backend = create_backend(name)
            if backend.feature_dim == 1:  # this back-end reads the waveform instead of features
                waveform = torch.zeros(1, ASVSPOOF_SAMPLES, 1)
                return [
                    _aggregation_or_backend_costs(
                        "back-end", backend, waveform, ASVSPOOF_SAMPLES, ASVSPOOF_SAMPLES / SAMPLE_RATE
                    )
                ]
            frames = backend.fixed_frames or PAPER_FRAMES
            features = torch.zeros(1, frames, backend.feature_dim)
            inputs: Any = [features] * backend.num_states if backend.wants_layers == "all" else features
            return [_aggregation_or_backend_costs("back-end", backend, inputs, frames)]
        if registry in (None, aggregations) and name in aggregations.names():
            aggregation = create_aggregation(name, _NUM_STATES, _FEATURE_DIM)
            states = [torch.zeros(1, PAPER_FRAMES, _FEATURE_DIM)] * _NUM_STATES
            return [_aggregation_or_backend_costs("aggregation", aggregation, states, PAPER_FRAMES)]
    names = [*PUBLISHED_MODELS, *frontends.names(), *aggregations.names(), *backends.names()]
    raise InputError(f"there is no model or part '{name}'{did_you_mean(name, names, 'nes2net info')}")


def estimate_memory_and_time(name: str) -> dict[str, str]:
    """Estimate memory and time of the front-end ``name`` at batch 1 for 64,600 samples; nothing is measured.

    The estimated memory is the size of the weights plus the peak size of the results in the forward
    pass (:func:`peak_bytes`). The estimated time is the longer of two times: the time of the
    operations at :data:`SPEED`, and the time of reading the weights once at :data:`BANDWIDTH`. The
    delay before the first operation is not included.

    Returns:
        Texts for ``weights``, ``memory`` and ``time``; {} if the front-end has no weights.
    """
    waveform = torch.zeros(1, ASVSPOOF_SAMPLES, device="meta")
    with torch.device("meta"):
        frontend = create_frontend(name)
        if not (numbers := sum(p.numel() for p in frontend.parameters())):
            return {}
        flops = count_flops(frontend, waveform)
        result_bytes = peak_bytes(frontend, waveform)
    weights = []
    memory = []
    time = []
    for precision, size in (("fp32", 4), ("bf16", 2)):
        weight_bytes = size * numbers
        weights.append(f"{weight_bytes / 1e9:.2f} GB in {precision}")
        memory.append(f"{(weight_bytes + result_bytes * size / 4) / 1e9:.2f} GB in {precision}")
        seconds = max(flops / SPEED[precision], weight_bytes / BANDWIDTH)
        time.append(f"{1e3 * seconds:.2g} ms in {precision}")
    return {
        "weights": ", ".join(weights),
        "memory": (
            f"{', '.join(memory)} for {ASVSPOOF_SAMPLES:,} samples at batch 1 (estimate: weights + "
            f"{result_bytes / 1e6:.0f} MB of results in fp32)"
        ),
        "time": (
            f"{', '.join(time)} for them on an H100 (estimate: the longer of {flops / 1e9:.0f}·10⁹ operations / "
            f"{SPEED['fp32'] / 1e12:.0f}·10¹² or {SPEED['bf16'] / 1e12:.0f}·10¹² a second, and of weights / "
            f"{BANDWIDTH / 1e12:.2f}·10¹² bytes a second; without starting the kernels, which took "
            "20 ms for XLS-R 300M on an H200)"
        ),
    }


def _detector_costs(detector: Detector) -> list[PartInfo]:
    descriptions = [_frontend_costs(detector.frontend)]
    with torch.no_grad():
        states = detector.eval().hidden_states(torch.zeros(1, ASVSPOOF_SAMPLES))
        features = detector.features(states)
    frames = states[0].shape[1]
    seconds = ASVSPOOF_SAMPLES / SAMPLE_RATE
    if detector.backend.wants_layers == "last":
        descriptions.append(_aggregation_or_backend_costs("aggregation", detector.aggregation, states, frames, seconds))
    return [*descriptions, _aggregation_or_backend_costs("back-end", detector.backend, features, frames, seconds)]


def _frontend_costs(frontend: Frontend) -> PartInfo:
    flops = count_flops(frontend, torch.zeros(1, ASVSPOOF_SAMPLES), "all")
    hop = 1e3 * frontend.hop_length / SAMPLE_RATE
    width = 1e3 * frontend.min_samples / SAMPLE_RATE
    notes = [
        f"{counted(frontend.num_layers, 'hidden state')} of {frontend.out_dim}, a frame of {width:g} ms every {hop:g} ms"
    ]
    if frontend.num_unused:
        notes.append(f"its files hold {frontend.num_unused:,} more numbers, used in pre-training only")
    notes += _frozen_note(frontend)
    return PartInfo(
        "front-end", frontend.config["name"], _num_trained(frontend), flops / 2 * SAMPLE_RATE / ASVSPOOF_SAMPLES, notes
    )


def _aggregation_or_backend_costs(
    role: str, module: Aggregation | Backend, inputs: Any, frames: int, seconds: float | None = None
) -> PartInfo:
    """Compute the costs of an aggregation or a back-end on the meta device.

    Args:
        role: ``"aggregation"`` or ``"back-end"``.
        module: the part.
        inputs: input of the part, features or hidden states.
        frames: number of frames in the input.
        seconds: duration of the input in seconds; None for 20 ms per frame.
    """
    arguments = [inputs]
    if isinstance(module, Backend) and module.num_scores:
        arguments.append(torch.zeros(1, module.num_scores))
    flops = count_flops(module, *arguments)
    seconds = seconds or frames * 0.02
    notes = []
    if isinstance(module, Backend):
        notes.append(f"{flops / 1e9:.3f} GFLOP on {frames} frames, a multiply-add counted as two")
        sees = "it sees the whole utterance"
        if width := module.receptive_field:
            sees = f"its convolutions see {width} frames, {width * seconds / frames:.2f} s"
        notes.append(f"{sees}; it needs at least {counted(module.min_frames, 'frame')}")
        if module.resolutions:
            notes.append(f"it scores segments too; their lengths in frames: {', '.join(map(str, module.resolutions))}")
        notes += _frozen_note(module)
        layers = []
        for name, child in module.named_children():
            kind = type(child).__name__
            if isinstance(child, nn.ModuleList):
                kind = f"{len(child)} × {type(child[0]).__name__}"
            if num_trained := _num_trained(child):
                kind += f", {num_trained:,}"
            layers.append(f"{name} ({kind})")
        notes.append(f"layers: {', '.join(layers)}")
    return PartInfo(role, module.config["name"], _num_trained(module), flops / 2 / seconds, notes)


def _frozen_note(module: nn.Module) -> list[str]:
    """Return a note about parameters that are never trained; [] if there are none."""
    frozen = sum(p.numel() for p in module.parameters()) - _num_trained(module)
    return [f"{frozen:,} more parameters are never trained"] if frozen else []


def _num_trained(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def costs_of_config(config: dict[str, Any]) -> list[PartInfo]:
    """Compute the costs of the parts of the detector, or of the front-end alone, that ``config`` describes."""
    with torch.device("meta"):
        if "backend" in config:
            return _detector_costs(Detector.from_config(config))
        options = dict(config["frontend"])
        return [_frontend_costs(create_frontend(options.pop("name"), **options))]


def cost_rows(descriptions: Sequence[PartInfo]) -> list[dict[str, Any]]:
    """Make the rows of a table of costs: a row for each part, with its first two notes, and a row of sums."""
    rows = []
    for description in descriptions:
        rows.append(
            (
                description.role,
                description.name,
                description.parameters,
                description.multiply_adds,
                "; ".join(description.notes[:2]),
            )
        )
    if len(descriptions) > 1:
        rows.append(
            ("total", "", sum(p.parameters for p in descriptions), sum(p.multiply_adds for p in descriptions), "")
        )
    costs_of_parts = []
    for role, name, number, cost, notes in rows:
        costs_of_parts.append(
            {"part": role, "name": name, "parameters": number, "multiply-adds/s": f"{cost / 1e9:.3f} G", "notes": notes}
        )
    return costs_of_parts
