"""``torch.cuda`` of the simulated device: current device, streams and events, graphs, memory, random numbers."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from simulated.tensors import Device, Recording, count_wait, memory


class Event:
    """``torch.cuda.Event``; work is done at once, so an event only counts the waits for it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def record(self, *_: Any) -> None:
        """Do nothing: all earlier work is done already."""
        pass

    def synchronize(self) -> None:
        """Count a wait."""
        count_wait()

    def query(self) -> bool:
        """Always done."""
        return True

    def elapsed_time(self, _: Event) -> float:
        """A time in ms; the device has no clock."""
        return 1.0


class Stream(Event):
    """``torch.cuda.Stream``; work is done at once, so all streams are alike."""

    def record_event(self, event: Event | None = None) -> Event:
        """Return the event; nothing has to be recorded."""
        return event or Event()

    def wait_stream(self, _: Stream) -> None:
        """Do nothing: all streams are done already."""
        pass

    wait_event = wait_stream

    def __eq__(self, stream: object) -> bool:
        return isinstance(stream, Stream)

    __hash__ = object.__hash__


class Graph:
    """``torch.cuda.CUDAGraph``: operations that are recorded once; :meth:`replay` computes them."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.steps: list[tuple[Callable[[], Any], Any]] = []

    def replay(self) -> None:
        """Compute the recorded operations, and write the results into the same tensors."""
        for compute, recorded_result in self.steps:
            result = compute()
            for target, values in zip(tree_leaves(recorded_result), tree_leaves(result)):
                if isinstance(target, Tensor) and target.untyped_storage()._cdata != values.untyped_storage()._cdata:
                    target.copy_(values)


@contextmanager
def recording(graph: Graph, **_: Any) -> Any:
    """``torch.cuda.graph``: record the operations of this context in ``graph``."""
    count_wait()
    Device.recording = Recording()
    graph.steps = Device.recording.steps
    try:
        yield
    finally:
        Device.recording.finish()
        Device.recording = None


def set_sync_debug_mode(mode: int | str) -> None:
    """``torch.cuda.set_sync_debug_mode``: whether each wait is a warning."""
    Device.warns_of_waits = mode in (1, "warn")


@contextmanager
def stream_context(_: Any) -> Any:
    """``torch.cuda.stream``: all streams are alike, so nothing changes."""
    yield


def patches(library: ctypes.CDLL, count: int, total: int) -> dict[str, Any]:
    """Map names in ``torch.cuda`` to the functions and classes that replace them.

    Args:
        library: the library of guard.cpp.
        count: number of devices.
        total: bytes of memory of each device.
    """
    properties = SimpleNamespace(
        name="simulated GPU",
        total_memory=total,
        major=9,
        minor=0,
        multi_processor_count=132,
        gcnArchName="",
        warp_size=32,
    )
    return {
        **_devices(library, count),
        **_memory(total),
        **_random(library, count),
        "is_available": _constant(True),
        "is_initialized": lambda: bool(Device.process),
        "is_bf16_supported": _constant(True),
        "is_current_stream_capturing": lambda: Device.recording is not None,
        "_lazy_init": _constant(None),
        "init": _constant(None),
        "_is_in_bad_fork": lambda: bool(Device.process) and Device.process != os.getpid(),
        "get_device_name": _constant(properties.name),
        "get_device_capability": _constant((9, 0)),
        "get_device_properties": _constant(properties),
        "synchronize": lambda device=None: count_wait(),
        "set_sync_debug_mode": set_sync_debug_mode,
        "get_sync_debug_mode": lambda: int(Device.warns_of_waits),
        "Event": Event,
        "Stream": Stream,
        "current_stream": lambda device=None: Stream(),
        "default_stream": lambda device=None: Stream(),
        "stream": stream_context,
        "CUDAGraph": Graph,
        "graph": recording,
        "_sleep": _constant(None),
    }


def _constant(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def _number(library: ctypes.CDLL, count: int, device: Any = None) -> int:
    """Get the number of ``device``, or of the current device if it is None."""
    index = device if isinstance(device, int) or device is None else torch.device(device).index
    index = library.simulated_current_device() if index is None else index
    if index >= count:
        raise RuntimeError("CUDA error: invalid device ordinal")
    return index


def _devices(library: ctypes.CDLL, count: int) -> dict[str, Any]:

    class DeviceContext:
        """``torch.cuda.device``: makes a device the current one within a context."""

        def __init__(self, device: Any) -> None:
            self.index = _number(library, count, device)

        def __enter__(self) -> None:
            self.before = library.simulated_current_device()
            library.simulated_set_device(self.index)

        def __exit__(self, *_: Any) -> None:
            library.simulated_set_device(self.before)

    return {
        "device_count": _constant(count),
        "current_device": lambda: _number(library, count),  # torch.compile asks for functions that can be hashed
        "set_device": lambda device: library.simulated_set_device(_number(library, count, device)),
        "device": DeviceContext,
    }


def _memory(total: int) -> dict[str, Any]:

    def limit(share: float, _: Any = None) -> None:
        Device.memory_limit = None if share >= 1 else int(share * total)

    def forget_peak(_: Any = None) -> None:
        memory.peak = memory.used

    return {
        "empty_cache": _constant(None),
        "memory_allocated": lambda device=None: memory.used,
        "memory_reserved": lambda device=None: memory.used,
        "max_memory_allocated": lambda device=None: memory.peak,
        "max_memory_reserved": lambda device=None: memory.peak,
        "reset_peak_memory_stats": forget_peak,
        "set_per_process_memory_fraction": limit,
        "mem_get_info": lambda device=None: (total - memory.used, total),
    }


def _random(library: ctypes.CDLL, count: int) -> dict[str, Any]:

    def seed(value: int) -> None:
        generator = torch.Generator().manual_seed(int(value) + 1)  # not the numbers that the CPU draws
        for index in range(count):
            Device.random[index] = generator.get_state()

    def state(device: Any = "cuda") -> Tensor:
        return Device.random.setdefault(_number(library, count, device), torch.get_rng_state()).clone()

    def set_state(state: Tensor, device: Any = "cuda") -> None:
        Device.random[_number(library, count, device)] = state.clone()

    def set_states(states: list[Tensor]) -> None:
        for index, saved in enumerate(states):
            set_state(saved, index)

    return {
        "manual_seed": seed,
        "manual_seed_all": seed,
        "get_rng_state": state,
        "set_rng_state": set_state,
        "get_rng_state_all": lambda: [state(index) for index in range(count)],
        "set_rng_state_all": set_states,
    }
