"""Check what the parts of other packages return for tiny batches; a test checks the built-in parts in the same way."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.contracts import PartCheck
from nes2net.lib.terminal import print_note
from nes2net.models.backends.base import Backend

#: A part with more parameters is not checked, because this would take too long.
MOST_PARAMETERS = 10_000_000
_LENGTHS = (12, 17)  # numbers of frames
_MOST_SECONDS = 0.15  # processor time after which the second length is not tried


def is_skipped(subject: str, module: nn.Module) -> bool:
    """Whether ``module`` is on the meta device or, which a note says, too large to be checked."""
    if _is_large(module):
        print_note(f"{subject} is too large to be checked before it is used")
        return True
    return torch.get_default_device().type == "meta"


def _is_large(module: nn.Module) -> bool:
    return sum(parameter.numel() for parameter in module.parameters()) > MOST_PARAMETERS


@contextmanager
def undisturbed(device: torch.device | None = None) -> Iterator[None]:
    """Compute without gradients; restore the random generators, and that of ``device``, at the end."""
    numpy_state = np.random.get_state()
    python_state = random.getstate()
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.default_generator.manual_seed(0)  # torch.manual_seed() would seed the GPUs, too
        yield
    np.random.set_state(numpy_state)
    random.setstate(python_state)


def check_part(kind: str, subject: str, part: Any, *facts: Any) -> None:
    """Check what a copy of ``part`` computes in eval mode, for batches of two lengths.

    Raises:
        BrokenPart: if a method raises an error, or returns something else than its contract says.
    """
    if isinstance(part, nn.Module) and is_skipped(subject, part):
        return
    with undisturbed():
        check = PartCheck(subject)
        part_copy = check.call(copy, "deepcopy", part)
        if isinstance(part_copy, nn.Module):
            part_copy.eval()
        began = time.process_time()
        for length in _LENGTHS:
            if time.process_time() - began < _MOST_SECONDS:
                _CHECKS[kind](check, part_copy, length, *facts)


def _check_frontend(check: PartCheck, frontend: Any, num_frames: int) -> None:
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
            fits = state.shape == states[0].shape and abs(state.shape[1] - num_frames) <= 3
            check.that(fits, returned, state, f"{num_frames} frames in each, by 'hop_length'")


def _check_aggregation(check: PartCheck, aggregation: Any, num_frames: int) -> None:
    shape = (2, num_frames, aggregation.feature_dim)
    number = aggregation.num_layers if aggregation.wants_layers == "all" else 1
    features = check.call(aggregation, "forward", [torch.randn(shape) for _ in range(number)])
    check.tensor("forward", features, shape)


def _check_backend(check: PartCheck, backend: Any, num_frames: int, num_logits: int | None) -> None:
    if backend.num_scores:  # it takes scores of other systems, too
        return
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


def _check_loss(check: PartCheck, loss: Any, _: int, embedding_dim: int) -> None:
    targets = torch.tensor([0, loss.num_classes - 1])
    width = embedding_dim if loss.takes_embeddings else loss.num_logits or loss.num_classes
    with torch.enable_grad():
        outputs = torch.randn(2, width, requires_grad=True)
        numerator = check.call(loss.cpu(), "numerator", outputs, targets, 0, torch.ones(2))
    check.tensor("numerator", numerator)
    check.that(numerator.requires_grad, "numerator returned", numerator, "a number with a gradient")
    check.tensor("weight_of", check.call(loss, "weight_of", targets))


def check_computing(judgement: Any, scorer: Any) -> None:
    """Let ``judgement`` judge two short recordings with a copy of ``scorer``, if that is a small detector.

    Any other detector is checked on its first batch.

    Raises:
        BrokenPart: if the judgement breaks its contract.
    """
    is_module = isinstance(scorer, nn.Module)
    if not is_module or _is_large(scorer):
        return
    with undisturbed(scorer.device):
        detector = copy.deepcopy(scorer).eval()
        noise = 0.1 * torch.randn(2, max(SAMPLE_RATE, 4 * detector.min_samples))
        judgement.start(detector, [noise])()


def _check_judgement(check: PartCheck, judgement: Any, _: int) -> None:
    columns = getattr(judgement, "columns", None)
    if not hasattr(judgement, "score_of"):  # its values are not rows of numbers
        return
    fits = isinstance(columns, (tuple, list)) and all(isinstance(column, str) for column in columns)
    check.that(fits, "its attribute 'columns' is", columns, "the names of the columns")
    if columns and not type(judgement).score_of.__module__.startswith("nes2net."):
        scores = check.call(judgement, "score_of", torch.randn(2, len(columns)).numpy())
        check.that(getattr(scores, "shape", ()) == (2,), "score_of returned", scores, "an array of shape (2,)")


def _check_effect(check: PartCheck, effect: Any, length: int) -> None:
    changed = check.call(effect, "__call__", 0.1 * torch.randn(1000 * length).numpy(), np.random.default_rng(0))
    fits = isinstance(changed, np.ndarray) and changed.ndim == 1 and changed.size and np.isfinite(changed).all()
    check.that(bool(fits), "__call__ returned", changed, "finite samples, an array of shape (N,)")


#: Kind of part → function that checks a copy of the part.
_CHECKS: dict[str, Callable[..., None]] = {
    "front-end": _check_frontend,
    "aggregation": _check_aggregation,
    "back-end": _check_backend,
    "loss": _check_loss,
    "judgement": _check_judgement,
    "condition": _check_effect,
}
