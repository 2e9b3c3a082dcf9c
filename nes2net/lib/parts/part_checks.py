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

from nes2net.lib.output.terminal import print_note
from nes2net.lib.parts.contracts import PartCheck

#: A part with more parameters is not checked, because this would take too long.
MAX_PARAMETERS = 10_000_000
_LENGTHS = (12, 17)  # numbers of frames
_MAX_SECONDS = 0.15  # processor time after which the second length is not tried


def is_skipped(subject: str, module: nn.Module) -> bool:
    """Whether ``module`` is on the meta device, or too large, which a note says."""
    if is_large(module):
        print_note(f"{subject} is too large to be checked before it is used")
        return True
    return torch.get_default_device().type == "meta"


def is_large(module: nn.Module) -> bool:
    return sum(parameter.numel() for parameter in module.parameters()) > MAX_PARAMETERS


@contextmanager
def preserve_random_state(device: torch.device | None = None) -> Iterator[None]:
    """Compute without gradients; restore the random generators, also of ``device``, at the end."""
    numpy_state = np.random.get_state()
    python_state = random.getstate()
    devices = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.default_generator.manual_seed(0)  # torch.manual_seed() would seed the GPUs, too
        yield
    np.random.set_state(numpy_state)
    random.setstate(python_state)


def check_part(subject: str, part: Any, check_length: Callable[..., None], *facts: Any) -> None:
    """Check a copy of ``part`` in eval mode, by ``check_length`` for batches of two lengths.

    Raises:
        BrokenPart: if a method raises an error or breaks its contract.
    """
    if isinstance(part, nn.Module) and is_skipped(subject, part):
        return
    with preserve_random_state():
        check = PartCheck(subject)
        part_copy = check.call(copy, "deepcopy", part)
        if isinstance(part_copy, nn.Module):
            part_copy.eval()
        began = time.process_time()
        for length in _LENGTHS:
            if time.process_time() - began < _MAX_SECONDS:
                check_length(check, part_copy, length, *facts)
