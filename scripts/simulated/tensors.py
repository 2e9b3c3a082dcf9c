"""Tensors on a device that is not there; copies of them on the CPU compute.

What a CUDA device refuses, it refuses (rules.py): operands on two devices, ``.numpy()``, random generators of the CPU,
operations without a deterministic kernel. It counts how often the CPU waits for it, and the memory that tensors take.
"""

from __future__ import annotations

import gc
import os
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

from simulated.kernels import KERNELS, PRODUCTS, rounded
from simulated.rules import check, refuse

#: Operations that take tensors of the CPU beside those of the device: copies, and indices.
TAKES_BOTH = {
    "aten::copy_",
    "aten::_to_copy",
    "aten::index",
    "aten::index_put",
    "aten::index_put_",
    "aten::_index_put_impl_",
    "aten::_unsafe_index",
    "aten::_foreach_copy_",
    "aten::is_same_size",
    "aten::is_set_to",
}
#: Operations that join tensors, so that a number of the CPU is no operand.
JOINS = {"aten::cat", "aten::stack"}
#: Operations of which the CPU needs a number of the device.
WAITS = {
    "aten::_local_scalar_dense",
    "aten::_unique2",
    "aten::equal",
    "aten::masked_select",
    "aten::nonzero",
    "aten::unique_consecutive",
    "aten::unique_dim",
}
COPIES = {"aten::_to_copy", "aten::copy_"}

#: How often the CPU waited for the device, by place in the package.
waits: Counter[str] = Counter()
#: How many tensors were made, by device.
made_on: Counter[torch.device] = Counter()


class Device:
    """What the tensors say about their device, and the state of it that is not in tensors."""

    type = "sim"
    #: The device that a name without a number means.
    current: Callable[[], int] = staticmethod(lambda: 0)
    #: The process in which the device was first used; CUDA cannot be used in a fork of it.
    process = 0
    #: The most bytes that tensors may take; None for no limit.
    most: int | None = None
    #: What a CUDA graph that is being recorded will repeat.
    recorded: list[tuple[Any, tuple, dict, Any]] | None = None
    #: The state of the device's random numbers, by device.
    random: dict[int, torch.Tensor] = {}  # noqa: RUF012

    @classmethod
    def named(cls, device: Any) -> torch.device:
        device = torch.device(device)
        return torch.device(cls.type, cls.current() if device.index is None else device.index)


class Memory:
    """Bytes of the storages that tensors of the device hold, now and at most."""

    def __init__(self) -> None:
        self.holders: Counter[int] = Counter()
        self.held = self.peak = 0

    def take(self, storage: int, size: int) -> None:
        if not self.holders[storage]:
            if Device.most is not None and self.held + size > Device.most:
                gc.collect()  # the errors of this device are in circles with the tensors of their frames
            if Device.most is not None and self.held + size > Device.most:
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {size} bytes of {Device.most} with {self.held} taken"
                )
            self.held += size
            self.peak = max(self.peak, self.held)
        self.holders[storage] += 1

    def give_back(self, storage: int, size: int) -> None:
        self.holders[storage] -= 1
        if not self.holders[storage]:
            del self.holders[storage]
            self.held -= size


memory = Memory()


class _Share:
    """A tensor's share in a storage; it ends with the tensor."""

    def __init__(self, there: torch.Tensor) -> None:
        storage = there.untyped_storage()
        self.key, self.size = storage._cdata, storage.nbytes()
        memory.take(self.key, self.size)

    def __del__(self) -> None:
        if hasattr(self, "size") and memory is not None and memory.holders[self.key]:
            memory.give_back(self.key, self.size)


class OnDevice(torch.Tensor):
    """A tensor on the device; ``there`` is its copy on the CPU."""

    there: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, there: torch.Tensor, device: torch.device | None = None) -> OnDevice:
        share = _Share(there)
        device = device or Device.named(Device.type)
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            there.size(),
            strides=there.stride(),
            storage_offset=there.storage_offset(),
            dtype=there.dtype,
            layout=there.layout,
            device=device,
        )
        made.there, made.share = there, share
        made_on[device] += 1
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(function, args, kwargs or {})

    def __tensor_flatten__(self) -> tuple[list[str], torch.device]:
        return ["there"], self.device

    @staticmethod
    def __tensor_unflatten__(inner: dict, device: torch.device, *_: Any) -> OnDevice:
        return OnDevice(inner["there"], device)

    def __deepcopy__(self, memo: dict) -> Any:
        if id(self) not in memo:
            with torch.no_grad():
                copy = OnDevice(self.there.detach().clone(), self.device)
            parameter = getattr(self, "_is_param", False) or isinstance(self, torch.nn.Parameter)
            copy = (
                torch.nn.Parameter(copy, self.requires_grad) if parameter else copy.requires_grad_(self.requires_grad)
            )
            if self.grad is not None:
                copy.grad = self.grad.clone()
            memo[id(self)] = copy
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.there.detach().__reduce_ex__(protocol)  # a file is read to the CPU, and moved from there

    def numpy(self, **_: Any) -> Any:
        refuse(f"can't convert a tensor of the device to numpy: copy it from {self.device} to the CPU first")

    __array__ = numpy

    def tolist(self) -> Any:
        waited()
        return self.there.detach().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"{self.there!r} on {self.device}"


_PACKAGE = f"{Path(__file__).resolve().parents[2] / 'nes2net'}{os.sep}"


def place() -> str:
    """The innermost line of the package that is being executed."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            return f"{file.removeprefix(_PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


#: Copies to pinned memory that are under way: the place, and the numbers. Who reads them before a wait reads NaN.
_under_way: list[tuple[torch.Tensor, torch.Tensor]] = []


def waited() -> None:
    """Count a wait for the device; what was being copied from it arrives."""
    if Device.recorded is not None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
    waits[place()] += 1
    with torch.inference_mode():  # in which tensors of either kind may be written
        for to, values in _under_way:
            to.copy_(values)
    _under_way.clear()


_pinned: dict[int, weakref.ref[torch.Tensor]] = {}


def pin(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` of the CPU in memory that counts as pinned."""
    tensor = tensor if isinstance(tensor, OnDevice) or is_pinned(tensor) else tensor.clone()
    _pinned[tensor.untyped_storage().data_ptr()] = weakref.ref(tensor)
    return tensor


def is_pinned(tensor: torch.Tensor) -> bool:
    if isinstance(tensor, OnDevice) or tensor.device.type != "cpu" or not tensor.numel():
        return False
    found = _pinned.get(tensor.untyped_storage().data_ptr())
    return found is not None and found() is not None


def computed(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What ``function`` gives, on the device if it computes there."""
    name, leaves = function._schema.name, tree_flatten((args, kwargs))[0]
    ours = [leaf for leaf in leaves if isinstance(leaf, OnDevice)]
    theirs = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, OnDevice)]
    asked = kwargs.get("device") or next((leaf for leaf in args if isinstance(leaf, torch.device)), None)
    if (ours or asked is not None) and _is_composite(function):  # which inference mode does not take apart before
        with Mode():
            return function.decompose(*args, **kwargs)
    if not ours and (asked is None or torch.device(asked).type != Device.type):
        pinned = kwargs.get("pin_memory")
        made = function(*args, **({**kwargs, "pin_memory": False} if pinned else kwargs))
        return pin(made) if pinned else made
    here = bool(ours) if asked is None else torch.device(asked).type == Device.type
    if name == "aten::copy_" and not isinstance(args[0], OnDevice):
        here = False
    device = ours[0].device if asked is None and ours else Device.named(asked) if here else None
    _begin(function, name, ours, theirs, here, leaves, kwargs)
    if ours and (name in WAITS or _is_boolean_index(name, args)):
        waited()
    if name in COPIES and (arrives := _transfer(name, args, kwargs, here)) is not None:
        return arrives
    on_cpu = {**kwargs, "device": torch.device("cpu")} if asked is not None else kwargs
    plain_args, plain = tree_map_only(OnDevice, lambda x: x.there, (args, on_cpu))
    compute = KERNELS.get(name, function)
    if name in PRODUCTS and Device.type == "cuda":
        plain_args = rounded(name, plain_args)
    draws = here and torch.Tag.nondeterministic_seeded in function.tags
    made = _drawn(compute, device, plain_args, plain) if draws else compute(*plain_args, **plain)
    if Device.recorded is not None and here:
        Device.recorded.append((compute, plain_args, plain, made))
    return _wrapped(function, args, kwargs, ours, here, device, made)


@cache
def _is_composite(function: Any) -> bool:
    """Whether other operations compute ``function``."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), "CompositeImplicitAutograd")


def _begin(
    function: Any, name: str, ours: list, theirs: list, here: bool, leaves: list, kwargs: dict[str, Any]
) -> None:
    """Refuse operands that a device does not take together, and what it does not compute."""
    if ours and name not in TAKES_BOTH:
        # A number of the CPU is taken as one, except where tensors are joined.
        if any(leaf.ndim for leaf in theirs) or (theirs and name in JOINS):
            refuse(f"{function} mixes tensors of the CPU and of the device")
        if len({leaf.device for leaf in ours}) > 1:
            refuse(f"{function} mixes tensors of {' and '.join(sorted({str(leaf.device) for leaf in ours}))}")
    if ours or here:
        Device.process = Device.process or os.getpid()
        if Device.process != os.getpid():
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
    if here:
        check(function, name, leaves, kwargs)


def _is_boolean_index(name: str, args: tuple) -> bool:
    """Whether it indexes by a mask, of which the CPU has to know the size."""
    if name not in ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"):
        return False
    return any(isinstance(x, torch.Tensor) and x.dtype in (torch.bool, torch.uint8) for x in args[1])


def _transfer(name: str, args: tuple, kwargs: dict[str, Any], here: bool) -> Any:
    """Count the wait of a copy between CPU and device; return what a copy to pinned memory gives before it arrives."""
    source, to = (args[0], None) if name == "aten::_to_copy" else (args[1], args[0])
    at_once = kwargs.get("non_blocking", False) or (to is not None and len(args) > 2 and args[2])
    if isinstance(source, OnDevice) and not here:
        if not at_once or (to is not None and not is_pinned(to)):
            waited()
        elif to is not None:
            _under_way.append((to, source.there.detach().to(to.dtype, copy=True).expand(to.shape)))
            return to.fill_(float("nan") if to.is_floating_point() else 0)
        else:  # PyTorch pins what such a copy makes
            made = pin(source.there.detach().to(kwargs.get("dtype") or source.dtype, copy=True))
            _under_way.append((made, made.clone()))
            return made.fill_(float("nan") if made.is_floating_point() else 0)
    elif here and not isinstance(source, OnDevice) and not at_once:
        waited()  # PyTorch synchronises the stream after such a copy, of whatever size
    return None


def _drawn(compute: Any, device: torch.device, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Draw by the device's own random numbers, which are not those of the CPU."""
    before = torch.get_rng_state()
    torch.set_rng_state(Device.random.setdefault(device.index, before))
    try:
        return compute(*args, **kwargs)
    finally:
        Device.random[device.index] = torch.get_rng_state()
        torch.set_rng_state(before)


def _wrapped(function: Any, args: tuple, kwargs: dict[str, Any], ours: list, here: bool, device: Any, made: Any) -> Any:
    """Put what was computed on the device, where views stay views."""
    name = function._schema.name
    if torch.Tag.inplace_view in function.tags and ours:
        with no_dispatch():  # the wrapper's own sizes
            function(*args, **kwargs)
        return args[0]
    if function._schema.is_mutable and name.endswith("_"):
        return args[0] if isinstance(made, torch.Tensor) else made
    if not here:
        return made
    # A view of a tensor from outside of inference mode is no inference tensor.
    views = any(result.alias_info for result in function._schema.returns)
    plainly = torch.is_inference_mode_enabled() and ours and views and not ours[0].is_inference()
    with torch.inference_mode(torch.is_inference_mode_enabled() and not plainly):
        wrapped = tree_map_only(torch.Tensor, lambda x: OnDevice(x, device), made)
    if not ours or name == "aten::_to_copy" or plainly:
        return wrapped
    return return_and_correct_aliasing(function, args, kwargs, wrapped)


class Mode(TorchDispatchMode):
    """Every operation goes through :func:`computed`, also those that make tensors."""

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(function, args, kwargs or {})
