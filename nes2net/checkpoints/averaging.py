"""Averages of checkpoint files."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nes2net.checkpoints.state_dict import check_fit, load_state_dict, metadata_of, with_metadata
from nes2net.errors import InputError

MODES = ("mean", "legacy")


def average_checkpoints(
    paths: Sequence[str | Path], mode: str = "mean", weights: Sequence[float] | None = None
) -> OrderedDict[str, Tensor]:
    """State dict of the average of checkpoints with the same names and shapes.

    Memory holds one accumulator and one checkpoint, whatever the number of files.

    Args:
        paths: one or more checkpoint files.
        mode: ``"mean"`` takes the mean of each tensor in float64 and casts it back; integer
            counters get the integer mean. ``"legacy"`` computes what the published code does. There
            the accumulator shares the first checkpoint's tensors, and loading the second overwrites
            them: (2·c2 + c3 + … + cn)/n (deviation 1).
        weights: one weight of at least 0 for each checkpoint; they are divided by their sum.
            Without them, all count the same.

    Raises:
        InputError: if there are no paths, the mode is unknown, the weights are unusable, or the
            checkpoints do not fit each other; the message names the tensors.
    """
    if mode not in MODES:
        raise InputError(f"averaging mode is one of {', '.join(MODES)}, not '{mode}'")
    if not paths:
        raise InputError("no checkpoints to average: give at least one file")
    if weights is None:
        return _legacy_mean(paths) if mode == "legacy" else _mean(paths)
    if mode == "legacy":
        raise InputError("the published code has no weights: use `mode=mean`")
    if len(weights) != len(paths) or not all(0 <= w < math.inf for w in weights) or not sum(weights):
        raise InputError(
            f"{len(paths)} checkpoints need {len(paths)} weights of at least 0, not all 0; given: {list(weights)}"
        )
    return _weighted_mean(paths, [w / sum(weights) for w in weights])


def _mean(paths: Sequence[str | Path]) -> OrderedDict[str, Tensor]:
    total = _accumulate(paths, lambda _, tensor: tensor)  # integers are summed as integers

    def mean(total: Tensor) -> Tensor:
        return total / len(paths) if total.is_floating_point() else total // len(paths)

    return _cast(total, mean, paths[0])


def _weighted_mean(paths: Sequence[str | Path], weights: Sequence[float]) -> OrderedDict[str, Tensor]:
    total = _accumulate(paths, lambda number, tensor: tensor.double() * weights[number])
    return _cast(total, lambda total: total, paths[0])


def _accumulate(paths: Sequence[str | Path], term: Callable[[int, Tensor], Tensor]) -> OrderedDict[str, Tensor]:
    """Sum ``term(number of the checkpoint, tensor)`` over all checkpoints, in float64 or int64."""
    total: OrderedDict[str, Tensor] = OrderedDict()
    like: dict[str, Tensor] = {}
    for number, path in enumerate(paths):
        state = load_state_dict(path)
        like = like or _shapes(state)
        check_fit(state, like, f"{path} (averaged with others)")
        while state:  # free each tensor as soon as it has been added
            key, tensor = state.popitem(last=False)
            value = term(number, tensor)
            value = value.to(torch.float64 if value.is_floating_point() else torch.int64)
            total[key] = total[key].add_(value) if key in total else value.clone()
    return total


def _cast(
    total: OrderedDict[str, Tensor], mean: Callable[[Tensor], Tensor], first: str | Path
) -> OrderedDict[str, Tensor]:
    """Take ``mean`` of each sum, with the data types and metadata of the first checkpoint."""
    state = load_state_dict(first)
    result = OrderedDict()
    for key, tensor in state.items():
        value = mean(total.pop(key))
        if value.is_floating_point() and not tensor.is_floating_point():
            value = value.round()
        result[key] = value.to(tensor.dtype)
    return with_metadata(result, metadata_of(state))


def _shapes(state: OrderedDict[str, Tensor]) -> dict[str, Tensor]:
    return {key: torch.empty(tensor.shape, device="meta") for key, tensor in state.items()}


def _legacy_mean(paths: Sequence[str | Path]) -> OrderedDict[str, Tensor]:
    # Loading the second checkpoint overwrites the accumulator, to which it is then added once more.
    first = load_state_dict(paths[0])
    order = [paths[0]] if len(paths) == 1 else [paths[1], *paths[1:]]
    total: OrderedDict[str, Tensor] = OrderedDict()
    for path in order:
        state = load_state_dict(path)
        check_fit(state, first, f"{path} (averaged with others)")
        for key, tensor in state.items():
            total[key] = total[key].add_(tensor) if key in total else tensor.clone()
    for key, tensor in total.items():
        total[key] = tensor / len(paths) if tensor.is_floating_point() else tensor // len(paths)
    return with_metadata(total, metadata_of(first))
