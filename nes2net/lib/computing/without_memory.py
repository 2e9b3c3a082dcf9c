"""Build networks without memory: their tensors have names, types and shapes, but no numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWN_IN_PLACE = (Tensor.normal_, Tensor.uniform_)
_DRAWN = (torch.randn, torch.rand)


class _WithoutDraws(TorchFunctionMode):
    """Skips random initialisation, for which PyTorch would import its compiler on the meta device (seconds)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _DRAWN_IN_PLACE:
            return args[0]
        create = torch.empty if func in _DRAWN else func
        return create(*args, **(kwargs or {}))


@contextmanager
def without_memory() -> Iterator[None]:
    """Build networks on the device ``meta`` within this context.

    >>> with without_memory():
    ...     layer = torch.nn.Linear(10**6, 10**6)
    >>> layer.weight.device.type, layer.weight.shape
    ('meta', torch.Size([1000000, 1000000]))
    """
    with torch.device("meta"), _WithoutDraws():
        yield
