"""The tensors of scripts/simulated as a second device ``sim:0``: it needs no compiler, but is no CUDA device by its name.

So branches on ``device.type == "cuda"`` are not taken. It stands on PyTorch's device for others (PrivateUse1), which a
process names once, so it is used in a process of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from simulated.rules import Refused, no_gradients_in_eval_mode, refusals
from simulated.tensors import Device, Mode, OnDevice, waits
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend(Device.type)
torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(…, device="sim") is dispatched


@contextmanager
def simulated_device() -> Iterator[torch.device]:
    """The device, with deterministic algorithms; modules can be moved to it inside."""
    filled = torch.utils.deterministic.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled()
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch.use_deterministic_algorithms(True)
    waits.clear()
    refusals.clear()
    recurrent = no_gradients_in_eval_mode(torch.nn.LSTM.forward, lambda x: isinstance(x, OnDevice))
    try:
        with Mode(), mock.patch.object(torch.nn.LSTM, "forward", recurrent):
            yield torch.device(Device.type, 0)
        if refusals:
            raise Refused(refusals[0])
    finally:
        torch.use_deterministic_algorithms(before)
        torch.__future__.set_swap_module_params_on_conversion(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled
