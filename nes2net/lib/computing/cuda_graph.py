"""CUDA graphs: record the kernels of a computation once, and launch all of them in one call."""

from __future__ import annotations

import pickle
import random
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from nes2net.lib.errors import first_line


class Replayed:
    """Makes ``compute`` faster on a GPU: records a CUDA graph once for each shape and type of inputs, and replays it.

    Launching hundreds of kernels from Python can take longer than computing a batch. ``compute``
    must launch the same kernels each time, and must not draw random numbers or read values on the
    CPU; the tensors that it reads besides its inputs must not move in memory. Graphs are recorded
    only on a GPU in ``torch.inference_mode``, for at most ``max_shapes`` shapes, because each takes
    memory. If recording fails, ``compute`` is called without graphs from then on; a warning is
    printed unless memory ran out. Several threads may use this object. A copy has no graphs.

    >>> Replayed(torch.square)(torch.tensor([3.0]))  # on a CPU there is nothing to record
    tensor([9.])
    """

    def __init__(self, compute: Callable[..., Any], max_shapes: int = 4) -> None:
        self.compute = compute
        self.max_shapes = max_shapes
        self._lock = threading.Lock()
        self._recorded: dict[tuple, Graph] = {}  # by key_of(inputs)

    def __call__(self, *inputs: Any) -> Any:
        key = key_of(inputs)
        device = key[0][0]  # of the first tensor
        if device.type != "cuda" or not torch.is_inference_mode_enabled():
            return self.compute(*inputs)
        with self._lock:
            if key not in self._recorded and len(self._recorded) < self.max_shapes:
                try:
                    self._recorded[key] = Graph(self.compute, inputs, num_trials=3)
                except RuntimeError as error:
                    self.max_shapes = len(self._recorded)  # never try again
                    if not isinstance(error, torch.OutOfMemoryError):  # each recorded graph takes memory
                        reason = first_line(error.__context__ or error)
                        warnings.warn(
                            f"computing without CUDA graphs, because none can be recorded ({reason})", stacklevel=2
                        )
            if key not in self._recorded:
                return self.compute(*inputs)
            return self._recorded[key](*inputs)

    def __reduce__(self) -> tuple:
        return Replayed, (self.compute, self.max_shapes)


@contextmanager
def find_obstacles() -> Iterator[list[str]]:
    """Watch the computation in this context; at the end, the list says why no CUDA graph can record it."""
    reasons: list[str] = []
    before = _random_state()
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught_warnings:
            warnings.simplefilter("always")
            yield reasons
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    if any("synchronizing CUDA operation" in str(warning.message) for warning in caught_warnings):
        reasons.append("the computation waits for the GPU")
    if _random_state() != before:
        reasons.append("the computation draws random numbers on the CPU")


def _random_state() -> bytes:
    return pickle.dumps((torch.get_rng_state().numpy(), random.getstate(), np.random.get_state()))


_recording = threading.Lock()  # a process can record only one graph at a time


class Graph:
    """A CUDA graph of ``compute`` for tensors with the shapes and types of those in ``inputs``.

    Args:
        inputs: tensors, and lists, tuples and dictionaries of tensors. All else in them stays as it
            is here.
        num_trials: how often to compute before recording, so that libraries choose kernels and
            allocate memory.
    """

    def __init__(self, compute: Callable[..., Any], inputs: Sequence[Any], num_trials: int = 0) -> None:
        self.key = key_of(inputs)
        device = self.key[0][0]  # of the first tensor
        current = torch.cuda.current_stream(device)
        # If recording fails, PyTorch does not switch back to the caller's CUDA stream. The context
        # stream(current) switches back in every case.
        with _recording, torch.cuda.device(device), torch.cuda.stream(current):
            self.inputs = tree_map_only(Tensor, torch.clone, inputs)
            self.graph = torch.cuda.CUDAGraph()
            stream = torch.cuda.Stream()
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                # Libraries allocate and choose kernels in the first calls, which cannot be
                # recorded.
                for _ in range(num_trials):
                    compute(*self.inputs)
            current.wait_stream(stream)
            # With "thread_local", other threads may pin memory while this thread records.
            with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
                self.result = compute(*self.inputs)

    def __call__(self, *inputs: Any) -> Any:
        """Replay the graph; return a copy of the result, which the next replay overwrites."""
        for graph_input, x in zip(_tensors(self.inputs), _tensors(inputs)):
            graph_input.copy_(x)
        self.graph.replay()
        return tree_map_only(Tensor, torch.clone, self.result)


def key_of(inputs: Any) -> tuple:
    """Identify devices, types and shapes of the tensors in ``inputs``."""
    return tuple((x.device, x.dtype, *x.shape) for x in _tensors(inputs))


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
