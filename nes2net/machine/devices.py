"""The device that computes, and its precision."""

from __future__ import annotations

import os

import torch

from nes2net.errors import InputError, nearest

_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def choose_device(device: str = "auto") -> torch.device:
    """Choose the device of that name; ``"auto"`` is CUDA if it is there, otherwise the CPU.

    Raises:
        InputError: if the name is unknown, or this machine does not have the device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = named_device(device)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if chosen.type == "meta" or (chosen.type == "cuda" and (chosen.index or 0) >= count):
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise InputError(f"device '{device}' is not there: PyTorch {torch.__version__} finds {there}")
    return chosen


def named_device(device: str) -> torch.device:
    """Make the device of that name, whether or not this machine has it."""
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise InputError(f"unknown device '{device}': auto, cpu, cuda or cuda:N is expected") from error


def named_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """Make the precision of that name.

    Raises:
        InputError: if the name is unknown; the message gives the nearest one.

    >>> named_dtype("bfloat16")
    torch.bfloat16
    """
    known = {str(kind).removeprefix("torch."): kind for kind in _DTYPES}
    if dtype in _DTYPES:
        return dtype
    if dtype in known:
        return known[dtype]
    meant = nearest(str(dtype), known, cutoff=0.5)  # low enough for "fp16"
    raise InputError(f"unknown dtype '{dtype}': auto, {', '.join(known)} are known{meant}")


def own_device(device: str) -> str:
    """Name the device of this process: its own GPU if ``torchrun`` started it and GPUs are there.

    That is the GPU of the process's number on its machine, for ``auto`` and ``cuda``; processes
    beyond the last GPU share GPUs. Every other ``device`` stays as it is.

    >>> own_device("cpu")
    'cpu'
    """
    if device in ("auto", "cuda") and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return device
