"""Tiny batches for parts, and what the parts must compute for them."""

import json
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.parts.contracts import PartCheck, blame_part
from nes2net.lib.parts.part_checks import TinyBatch, check_part, copy_of, preserve_random_state
from nes2net.models.backends.base import Backend
from nes2net.models.frontends.base import Layers


def check_frontend(check: PartCheck, frontend: Any, num_frames: int) -> TinyBatch:
    """Return noise of about ``num_frames`` frames, of which one row is half silent."""
    # Half a hop more than the frames need, which `used_samples` may cut.
    num_samples = frontend.min_samples + (num_frames - 1) * frontend.hop_length + frontend.hop_length // 2
    noise = 0.1 * torch.randn(2, num_samples)
    noise[1, : num_samples // 2] = 0
    return TinyBatch("forward", [noise], _hidden_states)


def _hidden_states(check: PartCheck, frontend: Any, waveform: Tensor) -> list[Tensor]:
    used = check.call(frontend, "used_samples", waveform.shape[1])
    num_frames = (used - frontend.min_samples) // frontend.hop_length + 1

    def compute(layers: Layers, number: int, waveform: Tensor) -> list[Tensor]:
        states = check.call(frontend, "forward", waveform, layers=layers, final_norm=True)
        returned = f"forward(layers='{layers}') returned"
        fits = isinstance(states, list) and len(states) == number
        check.that(fits, returned, states, f"a list of {number} (of 'num_layers' {frontend.num_layers})")
        for state in states:
            check.tensor("forward", state, (len(waveform), None, frontend.out_dim), " (the last size is 'out_dim')")
            fits = state.shape == states[0].shape and abs(state.shape[1] - num_frames) <= 3  # paddings differ
            check.that(fits, returned, state, f"{num_frames} frames in each, by 'hop_length'")
        return states  # type: ignore[no-any-return]

    last = compute("last", 1, waveform)
    states = compute("all", frontend.num_layers, waveform)
    if not frontend.training:
        check.agree("layers='last' and the last of layers='all'", states[-1:], last)
        check.agree("a waveform and its 'used_samples'", last, compute("last", 1, waveform[:, :used]))
    return states


def check_aggregation(check: PartCheck, aggregation: Any, num_frames: int) -> TinyBatch:
    """Return random hidden states 2×``num_frames``×D."""
    shape = (2, num_frames, aggregation.feature_dim)
    number = aggregation.num_layers if aggregation.wants_layers == "all" else 1
    return TinyBatch("forward", [torch.randn(shape) for _ in range(number)], _aggregated)


def _aggregated(check: PartCheck, aggregation: Any, *hidden_states: Tensor) -> list[Tensor]:
    features = check.call(aggregation, "forward", [*hidden_states])
    check.tensor("forward", features, hidden_states[0].shape)
    if aggregation.penalty is not None:
        check.tensor("its attribute 'penalty'", aggregation.penalty)
    return [features]


def check_backend(check: PartCheck, backend: Any, num_frames: int, num_logits: int | None) -> TinyBatch | None:
    """Return random features 2×T×D, of about ``num_frames`` frames."""
    if backend.num_scores:  # it also needs scores of other systems, which are not at hand
        return None
    num_frames = backend.fixed_frames or min(max(backend.min_frames, num_frames), backend.max_frames or 10**6)
    states = [torch.randn(2, num_frames, backend.feature_dim or 8) for _ in range(backend.num_states)]
    name = backend.last_layer_name
    has_layer = not name or name in dict(backend.named_modules())
    check.that(has_layer, "its attribute 'last_layer_name' is", name, "the name of a layer")
    return TinyBatch("forward", states, partial(_logits, num_logits))


def _logits(num_logits: int | None, check: PartCheck, backend: Any, *states: Tensor) -> list[Tensor]:
    features = [*states] if backend.wants_layers == "all" else states[0]
    num_rows = len(states[0])
    outputs = []
    if backend.last_layer_name and type(backend).embed is not Backend.embed:
        width = getattr(backend.last_layer, "in_features", None)
        outputs.append(check.call(backend, "embed", features))
        check.tensor("embed", outputs[0], (num_rows, width), " (the last size is 'in_features' of the last layer)")
    logits = check.call(backend, "utterance_logits", features)
    check.tensor("forward", logits, (num_rows, num_logits), " (the last size is 'num_logits')")
    return [*outputs, logits]


def check_speaker_encoder(check: PartCheck, encoder: Any, num_frames: int) -> TinyBatch:
    """Return noise of ``num_frames`` hops more than the shortest recording."""
    noise = 0.1 * torch.randn(encoder.min_samples + num_frames * SAMPLE_RATE // 100)
    return TinyBatch("embed", [noise], _embedding, join=None)


def _embedding(check: PartCheck, encoder: Any, waveform: Tensor) -> list[Tensor]:
    vector = check.call(encoder, "embed", waveform, SAMPLE_RATE)
    embedding = check.call(torch, "as_tensor", vector)
    check.tensor("embed", embedding, (encoder.dimension,), " (its attribute 'dimension')")
    check.agree("1 and the length of an embedding", [torch.ones(())], [embedding.norm()], 1e-3)
    return [embedding]


def check_computing(subject: str, judgement: Any, scorer: Any) -> None:
    """Let ``judgement`` judge short recordings with a copy of ``scorer``, if that is a detector.

    Raises:
        BrokenPart: if the judgement breaks its contract.
    """
    if not isinstance(scorer, nn.Module):
        return
    detector = copy_of(PartCheck(subject), scorer).eval()

    def compute(check: PartCheck, judgement: Any, waveforms: Tensor, *weights: Tensor) -> list[Tensor]:
        rows = judgement.checked_rows(detector, waveforms).float().cpu()
        with blame_part(subject, "tell"):
            json.dumps({**judgement.tell(rows[0].numpy())})
        return [rows]

    with preserve_random_state(detector.device), torch.inference_mode():
        noise = 0.1 * torch.randn(2, max(SAMPLE_RATE, 4 * detector.min_samples), device=detector.device)
        check_part(
            subject,
            judgement,
            # Rows differ with `normalize: batch`.
            lambda *_: TinyBatch("compute", [noise, *detector.parameters()], compute, join=None),
            partial(replace, judgement),
        )
