"""Averaging the weights of checkpoints."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from nes2net.checkpoint import check_fit, load_state_dict, read_record, save_state_dict
from nes2net.errors import InputError

MODES = ("mean", "legacy")


def average_checkpoints(paths: Sequence[str | Path], mode: str = "mean") -> OrderedDict[str, Tensor]:
    """State dict of the average of checkpoints with the same names and shapes.

    Args:
        paths: one or more checkpoint files.
        mode: ``"mean"``: per tensor the mean in float64, cast back; integer counters get the integer mean.
            ``"legacy"``: what the published code computes, where the first checkpoint's tensors are also the accumulator's and are
            overwritten by the second: (2·c2 + c3 + … + cn)/n (deviation 1).

    Raises:
        InputError: no paths, an unknown mode, or checkpoints that do not fit each other (the names are given).
    """
    if mode not in MODES:
        raise InputError(f"averaging mode is one of {', '.join(MODES)}, not '{mode}'")
    if not paths:
        raise InputError("no checkpoints to average: give one file at least")
    first = load_state_dict(paths[0])
    result = _legacy_mean(first, paths) if mode == "legacy" else _mean(first, paths)
    if hasattr(first, "_metadata"):
        result._metadata = first._metadata
    return result


def _mean(first: dict[str, Tensor], paths: Sequence[str | Path]) -> OrderedDict[str, Tensor]:
    # One accumulator and one memory-mapped checkpoint at a time, whatever the number of files. Integers are summed as integers.
    total = OrderedDict(
        (k, v.to(torch.float64 if v.is_floating_point() else torch.int64, copy=True)) for k, v in first.items()
    )
    for path in paths[1:]:
        for key, tensor in _fitting(path, first).items():
            total[key] += tensor
    for key, tensor in first.items():
        mean = total[key] / len(paths) if tensor.is_floating_point() else total[key] // len(paths)
        total[key] = mean.to(tensor.dtype)
    return total


def _legacy_mean(first: dict[str, Tensor], paths: Sequence[str | Path]) -> OrderedDict[str, Tensor]:
    # Loading the second checkpoint overwrites the accumulator, which then has itself added.
    states = [first] if len(paths) == 1 else []
    for number, path in enumerate(paths[1:]):
        state = _fitting(path, first)
        states += [state, state] if number == 0 else [state]
    total = OrderedDict((k, v.clone()) for k, v in states[0].items())
    for state in states[1:]:
        for key in total:
            total[key] += state[key]
    for key, tensor in total.items():
        total[key] = tensor / len(paths) if tensor.is_floating_point() else tensor // len(paths)
    return total


def _fitting(path: str | Path, first: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    state = load_state_dict(path)
    check_fit(state, first, f"{path} (averaged with others)")
    return state


def average_run(folder: str | Path, ids: Sequence[int], mode: str = "mean") -> Path:
    """Average ``epoch_{id}.pth`` of a run folder into ``Averaged_Model_IDs_{id}_{id}….pth`` there, and return its path.

    A file of that name is used as it is when it was made from these very checkpoints in this mode or by other code; ``legacy`` averages
    get ``_legacy`` before the suffix.
    """
    folder = Path(folder)
    name = "_".join(str(i) for i in ids)
    target = folder / f"Averaged_Model_IDs_{name}{'_legacy' if mode == 'legacy' else ''}.pth"
    sources = [folder / f"epoch_{i}.pth" for i in ids]
    missing = [s.name for s in sources if not s.is_file()]
    if target.is_file() and (missing or target.stat().st_mtime >= max(s.stat().st_mtime for s in sources)):
        return target
    if not folder.is_dir():
        raise InputError(
            f"run folder {folder} not found: name the folder that holds epoch_N.pth with --model_folder_path"
        )
    if missing:
        there = sorted(int(p.stem[6:]) for p in folder.glob("epoch_*.pth") if p.stem[6:].isdigit())
        raise InputError(
            f"{folder} has no {', '.join(missing)}; epochs saved there: {', '.join(map(str, there)) or 'none'}"
        )
    average = average_checkpoints(sources, mode)
    record = read_record(average)
    save_state_dict(average, target, **{**record, "average": {"ids": list(ids), "mode": mode}})
    return target
