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

from simulated.tensors import Device, memory, waited


class Event:
    """A place in the order of work; to wait for it is counted."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def record(self, *_: Any) -> None:
        pass

    def synchronize(self) -> None:
        waited()

    def query(self) -> bool:
        return True

    def elapsed_time(self, _: Event) -> float:
        return 1.0


class Stream(Event):
    """An order of work; everything is done at once, so all streams are alike."""

    def record_event(self, event: Event | None = None) -> Event:
        return event or Event()

    def wait_stream(self, _: Stream) -> None:
        pass

    wait_event = wait_stream

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream)

    __hash__ = object.__hash__


class Graph:
    """Operations that are recorded once; :meth:`replay` computes them again, into the same tensors."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.steps: list[tuple[Any, tuple, dict, Any]] = []

    def replay(self) -> None:
        for compute, args, kwargs, made in self.steps:
            found = compute(*args, **kwargs)
            for to, values in zip(tree_leaves(made), tree_leaves(found)):
                if isinstance(to, Tensor) and to.untyped_storage()._cdata != values.untyped_storage()._cdata:
                    to.copy_(values)


@contextmanager
def recording(graph: Graph, **_: Any) -> Any:
    """``torch.cuda.graph``."""
    Device.recorded = graph.steps
    try:
        yield
    finally:
        Device.recorded = None


@contextmanager
def entered(_: Any) -> Any:
    """``torch.cuda.stream``."""
    yield


def patches(library: ctypes.CDLL, count: int, total: int) -> dict[str, Any]:
    """The functions and classes of ``torch.cuda`` by name, for so many devices with so many bytes."""
    about = SimpleNamespace(
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
        "is_available": _anything(True),
        "is_initialized": lambda: bool(Device.process),
        "is_bf16_supported": _anything(True),
        "is_current_stream_capturing": lambda: Device.recorded is not None,
        "_lazy_init": _anything(None),
        "init": _anything(None),
        "_is_in_bad_fork": lambda: bool(Device.process) and Device.process != os.getpid(),
        "get_device_name": _anything(about.name),
        "get_device_capability": _anything((9, 0)),
        "get_device_properties": _anything(about),
        "synchronize": lambda device=None: waited(),
        "Event": Event,
        "Stream": Stream,
        "current_stream": lambda device=None: Stream(),
        "default_stream": lambda device=None: Stream(),
        "stream": entered,
        "CUDAGraph": Graph,
        "graph": recording,
        "_sleep": _anything(None),
    }


def _anything(value: Any) -> Callable[..., Any]:
    """A function of anything that gives ``value``."""
    return lambda *_, **__: value


def _number(library: ctypes.CDLL, count: int, device: Any = None) -> int:
    """The number of ``device``, or of the current one."""
    index = device if isinstance(device, int) or device is None else torch.device(device).index
    index = library.simulated_current_device() if index is None else index
    if index >= count:
        raise RuntimeError("CUDA error: invalid device ordinal")
    return index


def _devices(library: ctypes.CDLL, count: int) -> dict[str, Any]:
    """What chooses the current device."""

    class Chosen:
        """``torch.cuda.device``."""

        def __init__(self, device: Any) -> None:
            self.index = _number(library, count, device)

        def __enter__(self) -> None:
            self.before = library.simulated_current_device()
            library.simulated_set_device(self.index)

        def __exit__(self, *_: Any) -> None:
            library.simulated_set_device(self.before)

    return {
        "device_count": _anything(count),
        "current_device": lambda: _number(library, count),  # torch.compile asks for functions that can be hashed
        "set_device": lambda device: library.simulated_set_device(_number(library, count, device)),
        "device": Chosen,
    }


def _memory(total: int) -> dict[str, Any]:
    """What counts and limits memory."""

    def limit(share: float, _: Any = None) -> None:
        Device.most = None if share >= 1 else int(share * total)

    def forget_peak(_: Any = None) -> None:
        memory.peak = memory.held

    return {
        "empty_cache": _anything(None),
        "memory_allocated": lambda device=None: memory.held,
        "memory_reserved": lambda device=None: memory.held,
        "max_memory_allocated": lambda device=None: memory.peak,
        "max_memory_reserved": lambda device=None: memory.peak,
        "reset_peak_memory_stats": forget_peak,
        "set_per_process_memory_fraction": limit,
        "mem_get_info": lambda device=None: (total - memory.held, total),
    }


def _random(library: ctypes.CDLL, count: int) -> dict[str, Any]:
    """What seeds, saves and restores the random numbers of the devices."""

    def seed(value: int) -> None:
        generator = torch.Generator().manual_seed(int(value) + 1)  # whose numbers are not those of the CPU
        for index in range(count):
            Device.random[index] = generator.get_state()

    def state(device: Any = "cuda") -> Tensor:
        return Device.random.setdefault(_number(library, count, device), torch.get_rng_state()).clone()

    def set_state(state: Tensor, device: Any = "cuda") -> None:
        Device.random[_number(library, count, device)] = state.clone()

    return {
        "manual_seed": seed,
        "manual_seed_all": seed,
        "get_rng_state": state,
        "set_rng_state": set_state,
        "get_rng_state_all": lambda: [state(index) for index in range(count)],
        "set_rng_state_all": lambda states: [set_state(given, index) for index, given in enumerate(states)],
    }
