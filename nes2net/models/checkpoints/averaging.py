"""Average checkpoint files."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from nes2net.lib.errors import InputError, join_names, refuse
from nes2net.lib.output.progress import ProgressDisplay
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.state_dict import (
    COUNTERS,
    WEIGHTS,
    StateDict,
    check_fit,
    dtype_name,
    load_state_dict,
    metadata_of,
    read_record,
    with_metadata,
)

MODES = ("mean", "legacy")


def average_checkpoints(
    paths: Sequence[AnyPath], mode: str = "mean", weights: Sequence[float] | None = None
) -> OrderedDict[str, Tensor]:
    """Average checkpoints whose tensors have the same names and shapes; return the averaged state dict.

    Only the sum and one checkpoint are in memory.

    Args:
        paths: one or more checkpoint files.
        mode: ``"mean"`` in float64, converted back to the tensor's type; counters stay integers.
            ``"legacy"`` repeats a fault of the published code: (2·c2 + c3 + … + cn)/n (deviation 1
            in docs/deviations.md).
        weights: one per checkpoint, 0 or more, divided by their sum; None for equal ones.

    Raises:
        InputError: if there are no paths, one is repeated or the mode is unknown; if the weights do not fit mode or
            checkpoints; if names, shapes, types or, of adapted detectors, the bases differ; or if
            tensors are neither weights nor counters.
    """
    refuse(
        (mode not in MODES, f"averaging mode must be one of {', '.join(MODES)}, not '{mode}'"),
        (not paths, "no checkpoints to average: give at least one file"),
        (
            len({Path(path).resolve() for path in paths}) < len(paths),
            f"{join_names([*map(str, paths)])}: one of these checkpoints is repeated; name each once, or give it more weight with "
            "`weights`",
        ),
    )
    shares = None
    if weights is not None:
        refuse(
            (mode == "legacy", "the published code has no weights: use `mode=mean`, or remove `weights`"),
            (
                len(weights) != len(paths) or min(weights) < 0 or not 0 < sum(weights) < math.inf,
                f"{len(paths)} checkpoints need {len(paths)} weights of at least 0 with a finite sum above 0; given: {list(weights)}",
            ),
        )
        shares = [weight / sum(weights) for weight in weights]
    state = _read_and_check(paths[0])
    first_checkpoint = with_metadata({key: tensor.to("meta") for key, tensor in state.items()}, metadata_of(state))
    state.clear()  # free the tensors before the next checkpoint is read
    total: OrderedDict[str, Tensor] = OrderedDict()
    # The published code replaces the first checkpoint by the second one, and then adds the second
    # one again.
    if mode == "legacy" and len(paths) > 1:
        paths = [paths[1], *paths[1:]]
    for number, path in enumerate(ProgressDisplay(paths, title="averaging", unit="checkpoint")):
        state = _read_and_check(path, first_checkpoint)
        while state:  # free each tensor after adding it
            key, value = state.popitem(last=False)
            if shares is not None:
                value = value.double() * shares[number]
            elif mode != "legacy":  # "legacy" adds in the tensor's own type, integers are added as integers
                value = value.to(torch.float64 if value.is_floating_point() else torch.int64)
            total[key] = total[key].add_(value) if key in total else value.clone()
    # With weights, which add up to 1, the sum is the mean already.
    for key, value in total.items():
        is_weight = first_checkpoint[key].is_floating_point()
        if shares is None:
            value = value / len(paths) if is_weight else value // len(paths)
        elif not is_weight:
            value = value.round()
        total[key] = value.to(first_checkpoint[key].dtype)
    return with_metadata(total, metadata_of(first_checkpoint))


def _read_and_check(path: AnyPath, first_checkpoint: StateDict | None = None) -> OrderedDict[str, Tensor]:
    state = load_state_dict(path)
    if unsuitable := [
        f"{k} ({dtype_name(v)})" for k, v in state.items() if v.dtype not in (*WEIGHTS, *COUNTERS, torch.bool)
    ]:
        raise InputError(
            f"{path} cannot be averaged: {join_names(unsuitable, 3)} are neither weights nor counters; omit this checkpoint"
        )
    if first_checkpoint is not None:
        check_fit(state, first_checkpoint, f"{path} (averaged with others)", exact_types=True)
        digest = _base_digest(state)
        first_digest = _base_digest(first_checkpoint)
        if digest != first_digest:
            raise InputError(
                f"{path} cannot be averaged with the first checkpoint: its base has the SHA-256 {digest}, not {first_digest}; "
                "merge each with its own base first (`nes2net export --to merged`)"
            )
    return state


def _base_digest(state_dict: StateDict) -> str:
    base = read_record(state_dict).get("base")
    return str(base.get("digest"))[:12] if isinstance(base, dict) else "none"  # enough digits for a message
