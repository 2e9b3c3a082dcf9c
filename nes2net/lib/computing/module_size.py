"""Refuse to build a network that becomes too large."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from nes2net.lib.errors import InputError
from nes2net.lib.process.this_process import enough_memory

# Limits of a network. The largest XLS-R has 2·10^9 weights in 1,000 modules.
MAX_NUMBERS = 5 * 10**9
MAX_MODULES = 3_000


def count_numbers(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


@contextmanager
def limit_size(owner: str) -> Iterator[None]:
    """Within this context, refuse to build a network with too many weights or modules.

    A few options can describe a network that takes hours to build or fills the memory. Building
    stops before the next weight is initialised, also on ``meta``.

    Raises:
        InputError: if the network has more than 5·10^9 weights or 3,000 modules, or does not fit
            into memory.

    >>> with limit_size("this"):
    ...     _ = nn.Linear(10**5, 10**5, device="meta")
    Traceback (most recent call last):
    nes2net.lib.errors.InputError: this has more than 5,000,000,000 weights: use smaller options
    """
    thread = get_ident()  # the hooks are called in all threads
    num_weights = 0
    num_modules = 0
    # (module, name of a tensor) → its elements; a new tensor of the same name replaces the old one.
    size_of_tensor: dict[tuple[int, str], int] = {}

    def count_tensor(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        nonlocal num_weights
        if tensor is not None and get_ident() == thread:
            num_weights += tensor.numel() - size_of_tensor.get((id(module), name), 0)
            size_of_tensor[id(module), name] = tensor.numel()
            if num_weights > MAX_NUMBERS:
                raise InputError(f"{owner} has more than {MAX_NUMBERS:,} weights: use smaller options")

    def count_module(*_: Any) -> None:
        nonlocal num_modules
        if get_ident() != thread:
            return
        num_modules += 1
        if num_modules > MAX_MODULES:
            raise InputError(
                f"{owner} has more than {MAX_MODULES:,} modules: use smaller options, such as fewer layers"
            )

    hooks = [
        register_module_parameter_registration_hook(count_tensor),
        register_module_buffer_registration_hook(count_tensor),
        register_module_module_registration_hook(count_module),
    ]
    too_large = f"{owner} does not fit into the memory of this machine: use smaller options"
    try:
        with enough_memory(lambda: too_large):
            yield
    finally:
        for hook in hooks:
            hook.remove()
