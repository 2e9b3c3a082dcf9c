"""Tensors of the simulated device: copies of them on the CPU compute.

An operation that a CUDA device refuses is refused here too (rules.py): operands on two devices,
``.numpy()``, random generators of the CPU, operations without a deterministic kernel. The device
counts how often the CPU waits for it, and the memory that tensors take.
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from functools import cache, partial
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
#: Operations that join tensors; all tensors must be on one device, also those without dimensions.
JOINS = {"aten::cat", "aten::stack"}
#: Operations for which the CPU must wait, because they read a number from the device.
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

#: Line of the package → how often the CPU waited for the device there.
waits: Counter[str] = Counter()
#: How many tensors were made, by device.
made_on: Counter[torch.device] = Counter()


class Device:
    """The state of the simulated device that is not in tensors."""

    type = "sim"
    #: The device that a name without a number means.
    current: Callable[[], int] = staticmethod(lambda: 0)
    #: The process in which the device was first used; CUDA cannot be used in a fork of it.
    process = 0
    #: The most bytes that tensors may take; None for no limit.
    memory_limit: int | None = None
    #: The CUDA graph that is being recorded; None outside a recording.
    recording: Recording | None = None
    #: Whether each wait for the device is a warning (``torch.cuda.set_sync_debug_mode``).
    warns_of_waits: bool = False
    #: The state of the device's random numbers, by device.
    random: dict[int, torch.Tensor] = {}  # noqa: RUF012

    @classmethod
    def named(cls, device: Any) -> torch.device:
        """Complete the name of a device of this kind by its number; without a number it is the current device."""
        device = torch.device(device)
        return torch.device(cls.type, cls.current() if device.index is None else device.index)


class Recording:
    """The operations of a CUDA graph while it is recorded.

    A GPU computes nothing while it records. The simulation has to compute, so that the program goes
    on with tensors of the right shape; :meth:`finish` undoes what it changed, and writes NaN into
    the results.
    """

    def __init__(self) -> None:
        self.steps: list[tuple[Callable[[], Any], Any]] = []  # a function that computes, and its result
        self._values_before: dict[int, Any] = {}
        self._made: set[int] = set()  # storages that the recorded operations made
        self._random_before = {index: state.clone() for index, state in Device.random.items()}

    def before(self, leaves: list) -> None:
        """Keep the values of an operation's arguments, which the operation may change."""
        for leaf in leaves:
            if isinstance(leaf, OnDevice):
                storage = leaf.there.untyped_storage()
                if storage._cdata not in self._made and storage._cdata not in self._values_before:
                    self._values_before[storage._cdata] = (storage, storage.clone())

    def add(self, compute: Callable[[], Any], result: Any) -> None:
        """Record an operation, and keep its result."""
        self.steps.append((compute, result))
        for tensor in _tensors(result):
            if tensor.untyped_storage()._cdata not in self._values_before:
                self._made.add(tensor.untyped_storage()._cdata)

    def finish(self) -> None:
        """Give all tensors, and the random numbers of the device, the state that they had before the recording."""
        with torch.inference_mode():
            for storage, values in self._values_before.values():
                storage.copy_(values)
            for _, result in self.steps:
                for tensor in _tensors(result):
                    if tensor.untyped_storage()._cdata in self._made and tensor.is_floating_point():
                        tensor.fill_(float("nan"))
        Device.random.clear()
        Device.random.update(self._random_before)


def _tensors(result: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, torch.Tensor)]


class Memory:
    """Counts the bytes of the storages that tensors of the device hold, now and at most."""

    def __init__(self) -> None:
        self.holders: Counter[int] = Counter()  # storage → number of tensors that hold it
        self.used = self.peak = 0  # bytes

    def take(self, storage: int, size: int) -> None:
        """Count one more tensor on a storage of ``size`` bytes; raise OutOfMemoryError above the limit."""
        if not self.holders[storage]:
            if Device.memory_limit is not None and self.used + size > Device.memory_limit:
                gc.collect()  # errors of this device refer to frames that hold tensors, in circles
            if Device.memory_limit is not None and self.used + size > Device.memory_limit:
                raise torch.OutOfMemoryError(
                    f"CUDA out of memory. Tried to allocate {size} bytes of {Device.memory_limit} with {self.used} taken"
                )
            self.used += size
            self.peak = max(self.peak, self.used)
        self.holders[storage] += 1

    def give_back(self, storage: int, size: int) -> None:
        """Count one tensor less on a storage of ``size`` bytes."""
        self.holders[storage] -= 1
        if not self.holders[storage]:
            del self.holders[storage]
            self.used -= size


memory = Memory()


class _Share:
    """A tensor's share in the memory of its storage; deleted with the tensor."""

    def __init__(self, cpu_copy: torch.Tensor) -> None:
        storage = cpu_copy.untyped_storage()
        self.key = storage._cdata
        self.size = storage.nbytes()
        memory.take(self.key, self.size)

    def __del__(self) -> None:
        if hasattr(self, "size") and memory is not None and memory.holders[self.key]:
            memory.give_back(self.key, self.size)


class OnDevice(torch.Tensor):
    """A tensor on the device; ``there`` is its copy on the CPU."""

    there: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, cpu_copy: torch.Tensor, device: torch.device | None = None) -> OnDevice:
        share = _Share(cpu_copy)
        device = device or Device.named(Device.type)
        wrapper = torch.Tensor._make_wrapper_subclass(
            cls,
            cpu_copy.size(),
            strides=cpu_copy.stride(),
            storage_offset=cpu_copy.storage_offset(),
            dtype=cpu_copy.dtype,
            layout=cpu_copy.layout,
            device=device,
        )
        wrapper.there = cpu_copy
        wrapper.share = share
        made_on[device] += 1
        return wrapper

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(function, args, kwargs or {})

    def __tensor_flatten__(self) -> tuple[list[str], torch.device]:
        return ["there"], self.device

    @staticmethod
    def __tensor_unflatten__(tensors: dict, device: torch.device, *_: Any) -> OnDevice:
        return OnDevice(tensors["there"], device)

    def __deepcopy__(self, memo: dict) -> Any:
        """Copy the tensor on the device; the default would copy only the wrapper."""
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
        """Pickle the copy on the CPU, because a file is read to the CPU and then moved."""
        return self.there.detach().__reduce_ex__(protocol)  # a file is read to the CPU, and moved from there

    def numpy(self, **_: Any) -> Any:
        """Refuse, as CUDA does."""
        refuse(f"can't convert a tensor of the device to numpy: copy it from {self.device} to the CPU first")

    __array__ = numpy

    def tolist(self) -> Any:
        """Read the numbers, for which the CPU must wait."""
        count_wait()
        return self.there.detach().tolist()

    def __repr__(self, **_: Any) -> str:
        return f"{self.there!r} on {self.device}"


_PACKAGE = f"{Path(__file__).resolve().parents[2] / 'nes2net'}{os.sep}"


def package_line() -> str:
    """Name the innermost line of the package that is being executed; ``elsewhere`` outside the package."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(_PACKAGE):
            return f"{file.removeprefix(_PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


#: Copies to pinned memory that have not arrived: target, and its values. Before the next wait the target holds NaN.
_under_way: list[tuple[torch.Tensor, torch.Tensor]] = []


def count_wait() -> None:
    """Count a wait for the device, and let all copies from the device arrive."""
    if Device.recording is not None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
    if Device.warns_of_waits:
        warnings.warn("called a synchronizing CUDA operation", stacklevel=2)
    waits[package_line()] += 1
    with torch.inference_mode():  # allows writing to tensors that inference mode made, and to others
        for to, values in _under_way:
            to.copy_(values)
    _under_way.clear()


_pinned: dict[int, Any] = {}


def pin(tensor: torch.Tensor) -> torch.Tensor:
    """Return ``tensor`` of the CPU, or a copy, in memory that counts as pinned."""
    tensor = tensor if isinstance(tensor, OnDevice) or is_pinned(tensor) else tensor.clone()
    _pinned[tensor.untyped_storage().data_ptr()] = weakref.ref(tensor)
    return tensor


def is_pinned(tensor: torch.Tensor) -> bool:
    """Whether ``tensor`` is in memory that :func:`pin` marked as pinned."""
    if isinstance(tensor, OnDevice) or tensor.device.type != "cpu" or not tensor.numel():
        return False
    reference = _pinned.get(tensor.untyped_storage().data_ptr())
    return reference is not None and reference() is not None


def computed(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Compute an operation of PyTorch, on the simulated device if its operands or its ``device`` ask for this.

    Args:
        function: the operation, such as ``torch.ops.aten.add.Tensor``.
    """
    name = function._schema.name
    leaves = tree_flatten((args, kwargs))[0]
    device_tensors = [leaf for leaf in leaves if isinstance(leaf, OnDevice)]
    cpu_tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, OnDevice)]
    requested_device = kwargs.get("device") or next((leaf for leaf in args if isinstance(leaf, torch.device)), None)
    # Inference mode does not take composite operations apart; compute their parts one by one.
    if (device_tensors or requested_device is not None) and _is_composite(function):
        with Mode():
            return function.decompose(*args, **kwargs)
    if not device_tensors and (requested_device is None or torch.device(requested_device).type != Device.type):
        pinned = kwargs.get("pin_memory")
        result = function(*args, **({**kwargs, "pin_memory": False} if pinned else kwargs))
        return pin(result) if pinned else result
    is_on_device = (
        bool(device_tensors) if requested_device is None else torch.device(requested_device).type == Device.type
    )
    if name == "aten::copy_" and not isinstance(args[0], OnDevice):
        is_on_device = False
    device: Any = None
    if requested_device is None and device_tensors:
        device = device_tensors[0].device
    elif is_on_device:
        device = Device.named(requested_device)
    _begin(function, name, device_tensors, cpu_tensors, is_on_device, leaves, kwargs)
    if device_tensors and (name in WAITS or _is_boolean_index(name, args)):
        count_wait()
    if name in COPIES:
        arrives = _transfer(name, args, kwargs, is_on_device)
        if arrives is not None:
            return arrives
    on_cpu = {**kwargs, "device": torch.device("cpu")} if requested_device is not None else kwargs
    plain_args, plain_kwargs = tree_map_only(OnDevice, lambda x: x.there, (args, on_cpu))
    recording = Device.recording if is_on_device else None
    if recording is not None:
        if name in COPIES and any(not is_pinned(tensor) for tensor in cpu_tensors):
            raise RuntimeError("CUDA error: a copy from pageable memory is not permitted when stream is capturing")
        recording.before(leaves)
    result = _compute(function, device, plain_args, plain_kwargs, is_on_device)
    if recording is not None and torch.Tag.inplace_view not in function.tags:  # such an operation only changes shapes
        # Aliases keep their shapes if the tensors are reshaped in place later.
        recorded_args, recorded_kwargs, recorded_result = tree_map_only(
            torch.Tensor, torch.Tensor.detach, (plain_args, plain_kwargs, result)
        )
        compute = partial(_compute, function, device, recorded_args, recorded_kwargs, is_on_device)
        recording.add(compute, recorded_result)
    return _wrap_result(function, args, kwargs, device_tensors, is_on_device, device, result)


@cache
def _is_composite(function: Any) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), "CompositeImplicitAutograd")


def _begin(
    function: Any,
    name: str,
    device_tensors: list,
    cpu_tensors: list,
    is_on_device: bool,
    leaves: list,
    kwargs: dict[str, Any],
) -> None:
    """Check an operation before it computes; refuse what a CUDA device refuses.

    Args:
        device_tensors, cpu_tensors: the operands.
        is_on_device: whether the result is on the device.
        leaves: all arguments.
    """
    if device_tensors and name not in TAKES_BOTH:
        # A tensor of the CPU without dimensions counts as a number, except where tensors are joined.
        if any(leaf.ndim for leaf in cpu_tensors) or (cpu_tensors and name in JOINS):
            refuse(f"{function} mixes tensors of the CPU and of the device")
        if len({leaf.device for leaf in device_tensors}) > 1:
            refuse(f"{function} mixes tensors of {' and '.join(sorted({str(leaf.device) for leaf in device_tensors}))}")
    if device_tensors or is_on_device:
        Device.process = Device.process or os.getpid()
        if Device.process != os.getpid():
            raise RuntimeError("Cannot re-initialize CUDA in forked subprocess")
    if is_on_device:
        check(function, name, leaves, kwargs)


def _is_boolean_index(name: str, args: tuple) -> bool:
    """Whether the operation indexes by a mask; the CPU must then wait for the size of the result."""
    if name not in ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"):
        return False
    return any(isinstance(x, torch.Tensor) and x.dtype in (torch.bool, torch.uint8) for x in args[1])


def _transfer(name: str, args: tuple, kwargs: dict[str, Any], to_device: bool) -> Any:
    """Do what is special about a copy between CPU and device.

    Returns:
        For a copy to pinned memory without a wait, the target, which holds NaN until the next wait.
        None if the copy is an ordinary operation.
    """
    source, target = (args[0], None) if name == "aten::_to_copy" else (args[1], args[0])
    non_blocking = kwargs.get("non_blocking", False) or (target is not None and len(args) > 2 and args[2])
    if isinstance(source, OnDevice) and not to_device:
        if not non_blocking or (target is not None and not is_pinned(target)):
            count_wait()
        elif target is not None:
            _under_way.append((target, source.there.detach().to(target.dtype, copy=True).expand(target.shape)))
            return target.fill_(float("nan") if target.is_floating_point() else 0)
        else:  # PyTorch pins the result of such a copy
            copy = pin(source.there.detach().to(kwargs.get("dtype") or source.dtype, copy=True))
            _under_way.append((copy, copy.clone()))
            return copy.fill_(float("nan") if copy.is_floating_point() else 0)
    elif to_device and not isinstance(source, OnDevice) and not non_blocking:
        count_wait()  # PyTorch synchronises the stream after such a copy, whatever its size
    return None


def _compute(function: Any, device: torch.device, args: tuple, kwargs: dict[str, Any], is_on_device: bool) -> Any:
    name = function._schema.name
    kernel = KERNELS.get(name, function)
    if name in PRODUCTS and Device.type == "cuda":
        args = rounded(name, args)
    if is_on_device and torch.Tag.nondeterministic_seeded in function.tags:
        return _draw(kernel, device, args, kwargs)
    return kernel(*args, **kwargs)


def _draw(compute: Any, device: torch.device, args: tuple, kwargs: dict[str, Any]) -> Any:
    cpu_state = torch.get_rng_state()
    torch.set_rng_state(Device.random.setdefault(device.index, cpu_state))
    try:
        return compute(*args, **kwargs)
    finally:
        Device.random[device.index] = torch.get_rng_state()
        torch.set_rng_state(cpu_state)


def _wrap_result(
    function: Any,
    args: tuple,
    kwargs: dict[str, Any],
    device_tensors: list,
    is_on_device: bool,
    device: Any,
    result: Any,
) -> Any:
    name = function._schema.name
    if torch.Tag.inplace_view in function.tags and device_tensors:
        with no_dispatch():  # the wrapper's own sizes
            function(*args, **kwargs)
        return args[0]
    if function._schema.is_mutable and name.endswith("_"):
        return args[0] if isinstance(result, torch.Tensor) else result
    if not is_on_device:
        return result
    # A view of a tensor that was made outside inference mode is not an inference tensor.
    views = any(value.alias_info for value in function._schema.returns)
    outside_inference = (
        torch.is_inference_mode_enabled() and device_tensors and views and not device_tensors[0].is_inference()
    )
    with torch.inference_mode(torch.is_inference_mode_enabled() and not outside_inference):
        wrapped = tree_map_only(torch.Tensor, lambda x: OnDevice(x, device), result)
    if not device_tensors or name == "aten::_to_copy" or outside_inference:
        return wrapped
    return return_and_correct_aliasing(function, args, kwargs, wrapped)


class Mode(TorchDispatchMode):
    """Sends every operation through :func:`computed`, also operations that make tensors from nothing."""

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(function, args, kwargs or {})
