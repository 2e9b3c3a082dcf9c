"""Which device computes, and what the processor is."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from nes2net.errors import InputError


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


def processor_name() -> str:
    """The CPU's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
