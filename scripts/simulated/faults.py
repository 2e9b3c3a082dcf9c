"""Faults that the simulated device must find: what code could do wrong on a GPU, each with the error of a GPU."""

from __future__ import annotations

import os

import torch
from torch import nn
from torch.nn import functional as F

from nes2net.lib.computing.cuda_graph import Replayed


def _in_a_fork() -> None:
    x = torch.ones(2, device="cuda")
    child = os.fork()
    if child == 0:
        try:
            x + 1
        except RuntimeError as error:
            os._exit(7 if "forked subprocess" in str(error) else 1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7:
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")


def _unread() -> None:
    target = torch.zeros(2).pin_memory()
    target.copy_(torch.ones(2, device="cuda"), non_blocking=True)
    if target.isnan().all():
        torch.cuda.synchronize()
        raise RuntimeError("not a number before the wait" if target.tolist() == [1, 1] else "never arrived")


def _wait_in_a_graph() -> None:
    """Record a CUDA graph with a number that the CPU must read."""
    import warnings

    replayed = Replayed(lambda x: x * x.sum().item())
    x = torch.ones(2, device="cuda")
    with torch.inference_mode(), warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        replayed(x)
    if caught_warnings and "not permitted when stream is capturing" in str(caught_warnings[0].message):
        raise RuntimeError(str(caught_warnings[0].message))


def _recurrent_in_eval_mode() -> None:
    layer = nn.LSTM(4, 4).to("cuda").eval()
    layer(torch.randn(3, 2, 4, device="cuda"))[0].sum().backward()


def _no_deterministic_kernel() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        torch.ones(3, device="cuda").cumsum(0)
    finally:
        torch.use_deterministic_algorithms(False)


def _cuda(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cuda") -> torch.Tensor:
    return torch.ones(shape, dtype=dtype, device=device)


#: Name of a fault → the function that commits it, and a part of the error that the device must raise.
FAULTS = {
    "a tensor of the CPU": (lambda: _cuda(3) + torch.ones(3), "mixes tensors of the CPU and of the device"),
    "tensors of two GPUs": (lambda: _cuda(3) + _cuda(3, device="cuda:1"), "mixes tensors of cuda:0 and cuda:1"),
    "numpy": (lambda: _cuda(3).numpy(), "can't convert"),
    "a generator of the CPU": (
        lambda: torch.rand(3, device="cuda", generator=torch.Generator()),
        "draws on the device by a generator of the CPU",
    ),
    "a running sum, deterministic": (_no_deterministic_kernel, "has no deterministic CUDA kernel"),
    "gradients of a recurrent layer in eval mode": (_recurrent_in_eval_mode, "only be called in training mode"),
    "attention over 70,000 utterances": (
        lambda: F.scaled_dot_product_attention(_cuda(70000, 1, 2, 2), _cuda(70000, 1, 2, 2), _cuda(70000, 1, 2, 2)),
        "invalid configuration argument",
    ),
    "torch.stft in float16, 400 points": (
        lambda: torch.stft(
            _cuda(1, 4000, dtype=torch.float16), 400, window=_cuda(400, dtype=torch.float16), return_complex=True
        ),
        "powers of two",
    ),
    "torch.stft in bfloat16": (
        lambda: torch.stft(
            _cuda(1, 4096, dtype=torch.bfloat16), 512, window=_cuda(512, dtype=torch.bfloat16), return_complex=True
        ),
        "no bfloat16",
    ),
    "computing in a fork": (_in_a_fork, "forked subprocess"),
    "reading a copy before it has arrived": (_unread, "not a number before the wait"),
    "a wait in a CUDA graph": (_wait_in_a_graph, "not permitted when stream is capturing"),
    "a GPU that is not there": (lambda: torch.cuda.set_device(2), "invalid device ordinal"),
}


def check_fault(name: str) -> None:
    """Commit the fault ``name``, and check that the device refuses it.

    Raises:
        AssertionError: if the device did not refuse, or with another error.
    """
    from simulated import rules

    fault, error = FAULTS[name]
    num_before = len(rules.refusals)
    message = ""
    try:
        fault()
    except RuntimeError as refused:
        message = str(refused)
    message += " ".join(rules.refusals[num_before:])
    del rules.refusals[num_before:]  # these refusals were expected
    assert error in message, f"passed; '{error}' was expected" + (f", not '{message}'" if message else "")
