"""Check what the methods of a part return for a tiny batch.

The registry applies these checks to a part of another package when it builds the part. A test
applies the same checks to the built-in parts, which are not checked at run time. In reading order:
``check_module`` makes a copy of a part; the other functions check the copy, by the kind of part.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.lib.contracts import PartCheck, check_waveform
from nes2net.lib.errors import InputError
from nes2net.lib.terminal import print_note
from nes2net.models.backends.base import Backend
from nes2net.models.registry import aggregations, backends, frontends

#: A part with more parameters is not checked, because this would take too long.
MOST_PARAMETERS = 10_000_000


@contextmanager
def undisturbed(device: torch.device | None = None) -> Iterator[None]:
    """Within this context, random numbers are drawn without a change of what is drawn after the context.

    Args:
        device: a GPU that draws, too.
    """
    numpy_state = np.random.get_state()
    python_state = random.getstate()
    devices = [device] if device is not None and device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            torch.default_generator.manual_seed(0)  # torch.manual_seed() would seed the GPUs, too
            yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)


def check_module(subject: str, module: nn.Module, check_copy: Callable[..., None], *facts: Any) -> None:
    """Check what ``module`` computes for tiny batches, on a copy in eval mode.

    A module on the meta device has no numbers to check. A note is printed for a module that is too
    large.

    Args:
        check_copy: function of a :class:`PartCheck`, the copy and ``facts``.

    Raises:
        BrokenPart: if a method raises an error, or returns something else than its contract says.
    """
    tensors = [*module.parameters(), *module.buffers()]
    if any(tensor.is_meta for tensor in tensors) or torch.get_default_device().type == "meta":
        return
    size = sum(tensor.numel() for tensor in tensors)
    if size > MOST_PARAMETERS:
        print_note(f"{subject} is not checked before it is used, because it has {size:,} parameters")
        return
    device = tensors[0].device if tensors else None
    with undisturbed(device), torch.no_grad():
        check = PartCheck(subject)
        check_copy(check, check.call("a copy (copy.deepcopy)", copy.deepcopy, module).eval(), *facts)


def check_frontend(check: PartCheck, frontend: Any) -> None:
    """Check a front-end: sizes, then hidden states of noise in three lengths."""
    for name in ("out_dim", "num_layers", "hop_length", "min_samples"):
        check.count(name, getattr(frontend, name, None))
    size = frontend.out_dim
    frame_counts = []
    for num_frames in (10, 20, 0):
        if not check.in_time:
            return
        noise = 0.1 * torch.randn(2, frontend.min_samples + num_frames * frontend.hop_length)
        for layers, number in (("last", 1), ("all", frontend.num_layers)):
            method = f"forward(layers='{layers}')"
            states = check.call(method, frontend, noise, layers=layers, final_norm=True)
            fits = isinstance(states, list) and len(states) == number
            check.that(fits, f"{method} returned", states, f"a list with {number} of the hidden states, 'num_layers'")
            for state in states:
                check.tensor(method, state, f"2×T×{size}, 'out_dim'", 2, None, size)
                fits = state.shape == states[0].shape
                check.that(fits, f"{method} returned", states, "hidden states of one shape")
        frame_counts.append(len(states[0][0]))
        if num_frames == 20:
            steps = frame_counts[1] - frame_counts[0]
            opening = f"its attribute 'hop_length' is {frontend.hop_length}, and the frames in 10 of them are"
            check.that(abs(steps - 10) <= 1, opening, steps, "10")


def check_aggregation(check: PartCheck, aggregation: Any) -> None:
    """Check an aggregation: features of random hidden states in two lengths."""
    size = aggregation.feature_dim
    number = aggregation.num_layers if aggregation.wants_layers == "all" else 1
    for num_frames in (12, 17):
        if not check.in_time:
            return
        states = [torch.randn(2, num_frames, size) for _ in range(number)]
        features = check.call("forward", aggregation, states)
        check.tensor("forward", features, f"2×{num_frames}×{size}", 2, num_frames, size)


def random_features(backend: Any, num_frames: int) -> Tensor | list[Tensor]:
    """Draw what ``backend`` takes of two utterances with at most ``num_frames`` frames, or as few as it allows."""
    num_frames = max(backend.min_frames, num_frames)
    if backend.fixed_frames or backend.max_frames:
        num_frames = backend.fixed_frames or min(num_frames, backend.max_frames)
    weight = next(backend.parameters(), torch.zeros(()))
    states = []
    for _ in range(backend.num_states if backend.wants_layers == "all" else 1):
        states.append(torch.randn(2, num_frames, backend.feature_dim or 8, device=weight.device))
    return states if backend.wants_layers == "all" else states[0]


def check_backend(check: PartCheck, backend: Any, num_logits: int | None) -> None:
    """Check a back-end: embeddings, logits and scores of random features in two lengths."""

    for num_frames in (12, 17):
        if not check.in_time:
            return
        features = random_features(backend, num_frames)
        if backend.last_layer_name:
            names = [name for name, _ in backend.named_modules()]
            fits = backend.last_layer_name in names
            check.that(fits, "its attribute 'last_layer_name' is", backend.last_layer_name, "the name of a layer")
            if type(backend).embed is not Backend.embed:
                width = getattr(backend.last_layer, "in_features", None)
                embeddings = check.call("embed", backend.embed, features)
                words = "2×E" if width is None else f"2×{width}, the 'in_features' of its last layer,"
                check.tensor("embed", embeddings, words, 2, width)
        if backend.num_scores:
            logits = check.call("forward", backend, features, torch.zeros(2, backend.num_scores))
        else:
            logits = check.call("forward", backend.utterance_logits, features)
        check.tensor("forward", logits, f"2×{num_logits or 'n'}, the logits", 2, num_logits)
        check.tensor("scores", check.call("scores", backend.scores, logits), "(2,)", 2)
        if backend.resolutions:
            for segment_logits in check.call("segments", backend.segments, features).values():
                check.tensor("segments", segment_logits, f"2×S×{num_logits or 'n'}", 2, None, num_logits)


def check_head(check: PartCheck, head: Any, in_features: int, num_logits: int) -> None:
    """Check a head: logits of random embeddings."""
    logits = check.call("forward", head, torch.randn(2, in_features))
    check.tensor("forward", logits, f"2×{num_logits}, the logits", 2, num_logits)


def check_loss(check: PartCheck, loss: Any, embedding_dim: int, device: torch.device) -> None:
    """Check a loss: numerator and denominator of random logits or embeddings of two utterances."""
    loss = loss.to(device)
    number = loss.num_logits or loss.num_classes
    width = embedding_dim if loss.takes_embeddings else number
    targets = torch.tensor([0, loss.num_classes - 1], device=device)
    with torch.enable_grad():
        outputs = torch.randn(2, width, device=device, requires_grad=True)
        numerator = check.call("numerator", loss.numerator, outputs, targets, 0, torch.ones(2, device=device))
        check.tensor("numerator", numerator)
        check.that(numerator.requires_grad, "numerator returned", numerator, "a number with a gradient")
    denominator = check.call("weight_of", loss.weight_of, targets)
    check.tensor("weight_of", denominator)
    check.that(float(denominator) >= 0, "weight_of returned", float(denominator), "a number of at least 0")
    logits = check.call("logits", loss.logits, outputs)
    check.tensor("logits", logits, f"2×{number}", 2, number)


def check_judgement(check: PartCheck, judgement: Any) -> None:
    """Check a judgement whose values are rows of numbers: its columns, and the scores of random rows."""
    columns = getattr(judgement, "columns", None)
    fits = isinstance(columns, (tuple, list)) and all(isinstance(column, str) for column in columns)
    check.that(fits and len(columns) > 0, "its attribute 'columns' is", columns, "the names of the columns")
    try:
        scores = judgement.score_of(np.random.default_rng(0).standard_normal((2, len(columns))).astype(np.float32))
    except InputError:  # the judgement has no scores
        return
    except Exception:
        scores = check.call("score_of", judgement.score_of, np.zeros((2, len(columns)), np.float32))
    fits = isinstance(scores, np.ndarray) and scores.shape == (2,)
    check.that(fits, "score_of returned", scores, "an array of shape (2,)")


def check_effect(check: PartCheck, effect: Any) -> None:
    """Check an effect: what it makes of noise of two lengths."""
    rng = np.random.default_rng(0)
    for num_samples in (16_000, 8_000):
        if not check.in_time:
            return
        noise = (0.1 * rng.standard_normal(num_samples)).astype(np.float32)
        changed = check.call("a call", copy.deepcopy(effect), noise, rng)
        check_waveform(check, changed)


def first_not_finite(network: Any, waveforms: Tensor) -> tuple[str, bool]:
    """Compute step by step, to find the first part whose output for ``waveforms`` B×N is not finite.

    Returns:
        Kind, name and package of this part, empty if the part is built in or its weights are not
        finite; and whether the outputs of all parts are finite.
    """
    states = network.hidden_states(waveforms)
    features = network.features(states)
    outputs = [(frontends, network.frontend, states), (aggregations, network.aggregation, features)]
    if not network.num_scores:
        outputs.append((backends, network.backend, network.logits(features)))
    for registry, module, output in outputs:
        tensors = output if isinstance(output, list) else [output]
        if all(tensor.isfinite().all() for tensor in tensors):
            continue
        name = module.config["name"]
        is_damaged = not all(tensor.isfinite().all() for tensor in module.parameters())
        return "" if is_damaged or registry.is_built_in(name) else registry.subject(name), False
    return "", True


#: Kind of part → function that checks what it computes.
CHECKS: dict[str, Callable[..., None]] = {
    "front-end": check_frontend,
    "aggregation": check_aggregation,
    "back-end": check_backend,
}
