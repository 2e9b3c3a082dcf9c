"""Faults that the simulated device must find: what a user's code could do wrong on a GPU, each with the error that it has."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from nes2net.lib.cuda_graph import Replayed


def _in_a_fork() -> None:
    """Compute on the device in a fork of a process that has done so."""
    x = torch.ones(2, device="cuda")
    if (child := os.fork()) == 0:
        try:
            x + 1
        except RuntimeError as error:
            os._exit(7 if "forked subprocess" in str(error) else 1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7:
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")


def _unread() -> None:
    """Read a copy to pinned memory before it has arrived."""
    to = torch.zeros(2).pin_memory()
    to.copy_(torch.ones(2, device="cuda"), non_blocking=True)
    if to.isnan().all():
        torch.cuda.synchronize()
        raise RuntimeError("not a number before the wait" if to.tolist() == [1, 1] else "never arrived")


def _wait_in_a_graph() -> None:
    """Record a number that the CPU reads."""
    import warnings

    replayed, x = Replayed(lambda x: x * x.sum().item()), torch.ones(2, device="cuda")
    with torch.inference_mode(), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        replayed(x)
    if told and "not permitted when stream is capturing" in str(told[0].message):
        raise RuntimeError(str(told[0].message))


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


#: What is done, by name, and a part of the error.
FAULTS: dict[str, tuple[Callable[[], object], str]] = {
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
        lambda: F.scaled_dot_product_attention(*(_cuda(70000, 1, 2, 2) for _ in range(3))),
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


def found(name: str) -> None:
    """Plant the fault ``name``.

    Raises:
        AssertionError: if the device let it pass.
    """
    from simulated import rules

    fault, error = FAULTS[name]
    before = len(rules.refusals)
    told = ""
    try:
        fault()
    except RuntimeError as refused:
        told = str(refused)
    told += " ".join(rules.refusals[before:])
    del rules.refusals[before:]  # they were to be found
    assert error in told, f"passed; '{error}' was expected" + (f", not '{told}'" if told else "")
