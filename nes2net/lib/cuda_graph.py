"""CUDA graphs: record the kernels of a computation once, and launch all of them in one call."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from nes2net.lib.errors import first_line


class Replayed:
    """Makes ``compute`` faster on a GPU: records a CUDA graph once for each shape and type of input, and replays it.

    Launching hundreds of kernels from Python can take longer than the GPU needs to compute a batch.
    ``compute`` must launch the same kernels each time: it must not draw random numbers or read
    values on the CPU. The weights that ``compute`` reads must not move in memory. A graph is
    recorded only for tensors on a GPU and in ``torch.inference_mode``. Otherwise, and if recording
    fails, ``compute`` is called without a graph. After a failure, nothing more is recorded. A
    failure also prints a warning, unless memory ran out. At most ``max_shapes`` shapes are
    recorded, because each recorded graph takes memory. Several threads may use this object. A copy
    of the object has no recorded graphs.

    >>> Replayed(torch.square)(torch.tensor([3.0]))  # on a CPU there is nothing to record
    tensor([9.])
    """

    def __init__(self, compute: Callable[[Tensor], Tensor], max_shapes: int = 4) -> None:
        self.compute = compute
        self.max_shapes = max_shapes
        self._lock = threading.Lock()
        # Device, type and shape of an input → what _record returns: the graph, its input and its
        # result.
        self._recorded: dict[tuple, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``compute(x)`` by replaying a graph; the first call with a shape and type records the graph."""
        if not (x.is_cuda and torch.is_inference_mode_enabled()):
            return self.compute(x)
        key = (x.device, x.dtype, *x.shape)
        with self._lock:
            if key not in self._recorded and len(self._recorded) < self.max_shapes:
                try:
                    self._recorded[key] = _record(self.compute, x)
                except torch.OutOfMemoryError:  # stop recording, because each recorded graph takes memory
                    self.max_shapes = len(self._recorded)
                except RuntimeError as error:
                    reason = first_line(error.__context__ or error)
                    warnings.warn(f"no CUDA graph can be recorded ({reason})", stacklevel=2)
                    self.max_shapes = len(self._recorded)
            if key not in self._recorded:
                return self.compute(x)
            graph, graph_input, result = self._recorded[key]
            graph_input.copy_(x)
            graph.replay()
            return result.clone()  # a copy, because the next replay overwrites ``result``

    def __reduce__(self) -> tuple:
        """Copy or pickle this object without its recorded CUDA graphs."""
        return Replayed, (self.compute, self.max_shapes)


_recording = threading.Lock()  # a process can record only one graph at a time


def _record(compute: Callable[[Tensor], Tensor], x: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
    """Record a graph of ``compute`` for tensors that have the shape and type of ``x``.

    Returns:
        The graph, the tensor that it reads as its input, and the tensor that each replay fills with
        the result.
    """
    current = torch.cuda.current_stream(x.device)
    # If recording fails, PyTorch does not switch back to the caller's CUDA stream. The context
    # stream(current) switches back in every case.
    with _recording, torch.cuda.device(x.device), torch.cuda.stream(current):
        graph_input = x.clone()
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            for _ in range(3):  # warm up, so that libraries choose kernels and allocate memory before the recording
                compute(graph_input)
        current.wait_stream(stream)
        # With "thread_local", other threads may pin memory while this thread records.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = compute(graph_input)
        return graph, graph_input, result
