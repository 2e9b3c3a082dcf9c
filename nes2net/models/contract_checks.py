"""Check what parts of other packages compute for a tiny batch."""

import copy
from typing import Any

import torch
from torch import nn

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.parts.contracts import PartCheck
from nes2net.lib.parts.part_checks import is_large, preserve_random_state
from nes2net.models.backends.base import Backend


def check_frontend(check: PartCheck, frontend: Any, num_frames: int) -> None:
    """Check sizes and hidden states of a front-end for noise of about ``num_frames`` frames."""
    for name in ("out_dim", "num_layers", "hop_length", "min_samples"):
        size = getattr(frontend, name, None)
        check.that(type(size) is int and size > 0, f"its attribute '{name}' is", size, "a whole number above 0")
    noise = 0.1 * torch.randn(2, frontend.min_samples + (num_frames - 1) * frontend.hop_length)
    for layers, number in (("last", 1), ("all", frontend.num_layers)):
        states = check.call(frontend, "forward", noise, layers=layers, final_norm=True)
        returned = f"forward(layers='{layers}') returned"
        fits = isinstance(states, list) and len(states) == number
        check.that(fits, returned, states, f"a list of {number} (of 'num_layers' {frontend.num_layers})")
        for state in states:
            check.tensor("forward", state, (2, None, frontend.out_dim), " (the last size is 'out_dim')")
            fits = state.shape == states[0].shape and abs(state.shape[1] - num_frames) <= 3  # paddings differ
            check.that(fits, returned, state, f"{num_frames} frames in each, by 'hop_length'")


def check_aggregation(check: PartCheck, aggregation: Any, num_frames: int) -> None:
    """Check the features of an aggregation for hidden states 2×``num_frames``×D."""
    shape = (2, num_frames, aggregation.feature_dim)
    number = aggregation.num_layers if aggregation.wants_layers == "all" else 1
    features = check.call(aggregation, "forward", [torch.randn(shape) for _ in range(number)])
    check.tensor("forward", features, shape)


def check_backend(check: PartCheck, backend: Any, num_frames: int, num_logits: int | None) -> None:
    """Check logits and any embeddings of a back-end for features 2×``num_frames``×D."""
    if backend.num_scores:  # it also needs scores of other systems, which are not at hand
        return
    # The nearest number of frames that the back-end allows.
    num_frames = backend.fixed_frames or min(max(backend.min_frames, num_frames), backend.max_frames or 10**6)
    states = [torch.randn(2, num_frames, backend.feature_dim or 8) for _ in range(backend.num_states)]
    features = states if backend.wants_layers == "all" else states[0]
    name = backend.last_layer_name
    has_layer = not name or name in dict(backend.named_modules())
    check.that(has_layer, "its attribute 'last_layer_name' is", name, "the name of a layer")
    if name and type(backend).embed is not Backend.embed:
        width = getattr(backend.last_layer, "in_features", None)
        embeddings = check.call(backend, "embed", features)
        check.tensor("embed", embeddings, (2, width), " (the last size is 'in_features' of the last layer)")
    logits = check.call(backend, "utterance_logits", features)
    check.tensor("forward", logits, (2, num_logits), " (the last size is 'num_logits')")


def check_computing(judgement: Any, scorer: Any) -> None:
    """Let ``judgement`` judge two short recordings with a copy of ``scorer``, if that is a small detector.

    Raises:
        BrokenPart: if the judgement breaks its contract.
    """
    is_module = isinstance(scorer, nn.Module)
    if not is_module or is_large(scorer):
        return
    with preserve_random_state(scorer.device):
        detector = copy.deepcopy(scorer).eval()
        noise = 0.1 * torch.randn(2, max(SAMPLE_RATE, 4 * detector.min_samples))
        judgement.start(detector, [noise])()
