"""A condition between an attacked recording and the detector, such as a codec, and the gradient through it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from torch import Tensor

from nes2net.data.augment.effect import Effect
from nes2net.lib.errors import InputError
from nes2net.models.attacks.gradients import unit


def changed(condition: Effect, generators: Sequence[np.random.Generator], waveforms: Tensor) -> Tensor:
    """Change ``waveforms`` B×N, each with its generator, without a gradient.

    Raises:
        InputError: if the condition moves sounds in time.
    """
    if condition.time_moves:
        raise InputError(
            f"{condition!r} moves sounds in time, so no attacked recording can pass it: use a codec or noise"
        )
    samples = waveforms.detach().cpu().numpy().astype(np.float32)
    return waveforms.new_tensor(np.stack(list(map(condition, samples, generators))))


def logits_through(
    condition: Effect,
    generators: Sequence[np.random.Generator],
    logits_of: Callable[[Tensor], Tensor],
    waveforms: Tensor,
) -> Tensor:
    """Compute ``logits_of`` the changed ``waveforms`` B×N, with a gradient.

    The gradient through a linear condition is exact. Any other passes it on unchanged (straight-through,
    arXiv 1308.3432), which fits codecs because they have no delay here.
    """
    drawn = deepcopy(generators)
    received = changed(condition, generators, waveforms)
    sent = waveforms.clone()
    if condition.is_linear and sent.requires_grad:
        sent.register_hook(partial(_transposed, condition, drawn))
    return logits_of(sent + (received - sent).detach())


def _transposed(condition: Effect, generators: Sequence[np.random.Generator], gradient: Tensor) -> Tensor:
    """Pass a gradient back: the transpose of a filter is the filter in reversed time."""
    size = gradient.abs().amax(1, keepdim=True)
    return size * changed(condition, generators, unit(gradient, torch.inf).flip(1)).flip(1)
