"""Which device computes and in which precision, and what the processor is."""

from __future__ import annotations

import os

import torch

from nes2net.errors import InputError, nearest

_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def choose_device(device: str = "auto") -> torch.device:
    """``"auto"``: CUDA where there is one, else the CPU. :class:`InputError` for a device that this machine has not."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = named_device(device)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if chosen.type == "meta" or (chosen.type == "cuda" and (chosen.index or 0) >= count):
        there = ", ".join(["cpu", *(f"cuda:{number}" for number in range(count))])
        raise InputError(f"device '{device}' is not there: PyTorch {torch.__version__} finds {there}")
    return chosen


def named_device(device: str) -> torch.device:
    """The device of that name, be it there or not."""
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise InputError(f"unknown device '{device}': auto, cpu, cuda or cuda:N is expected") from error


def named_dtype(dtype: str | torch.dtype) -> torch.dtype:
    """The precision of that name. :class:`InputError` for another one, with the nearest.

    >>> named_dtype("bfloat16")
    torch.bfloat16
    """
    known = {str(kind).removeprefix("torch."): kind for kind in _DTYPES}
    if dtype in _DTYPES:
        return dtype
    if dtype in known:
        return known[dtype]
    meant = nearest(str(dtype), known, cutoff=0.5)  # of "fp16" as well
    raise InputError(f"unknown dtype '{dtype}': auto, {', '.join(known)} are known{meant}")


def own_device(device: str) -> str:
    """``auto`` and ``cuda`` under ``torchrun``: the GPU of this process's number on its machine; otherwise ``device`` as it is.

    >>> own_device("cpu")
    'cpu'
    """
    if device in ("auto", "cuda") and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return device
