"""Count what a training step launches on a GPU, by phase; on the simulated device, this needs no GPU."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from nes2net.training.dataset import Batch
from nes2net.training.loop import Trainer

#: Operations that launch nothing, because they only describe memory.
_VIEWS = frozenset(
    "view _unsafe_view t transpose permute expand unsqueeze squeeze slice split split_with_sizes select alias detach "
    "detach_ as_strided unfold reshape _reshape_alias unbind chunk diagonal lift_fresh is_same_size promote_types "
    "empty empty_like empty_strided new_empty new_empty_strided _local_scalar_dense "
    "_record_function_enter_new _record_function_exit".split()
)


class Launches(TorchDispatchMode):
    """Counts operations on the device by name, and waits for it, in each phase; views do not count.

    A convolution or an attention counts once, although a GPU launches several kernels for it.

    Args:
        num_waits: returns how often the CPU has waited for the device so far.
    """

    def __init__(self, num_waits: Callable[[], int]) -> None:
        super().__init__()
        self.num_waits = num_waits
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.waits: Counter[str] = Counter()
        self.phase = "forward"
        self._waits_before = num_waits()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        if name not in _VIEWS and _on_gpu(result):
            self.counts[self.phase][name] += 1
        return result

    def enter(self, phase: str) -> None:
        """Begin ``phase``, and count the waits of the phase before."""
        waits = self.num_waits()
        self.waits[self.phase] += waits - self._waits_before
        self._waits_before = waits
        self.phase = phase

    def as_phase(self, call: Callable, phase: str, next_phase: str) -> Callable:
        """Wrap ``call`` so that it is a phase of its own."""

        def called(*args: Any, **kwargs: Any) -> Any:
            self.enter(phase)
            result = call(*args, **kwargs)
            self.enter(next_phase)
            return result

        return called

    def total(self, *phases: str) -> int:
        """Count all operations of ``phases``."""
        return sum(self.counts[phase].total() for phase in phases)

    def casts(self, *phases: str) -> int:
        """Count conversions between types, and copies to the device, in ``phases``."""
        return sum(self.counts[phase]["_to_copy"] for phase in phases)


def _on_gpu(result: Any) -> bool:
    """Whether the ``result`` of an operation is on a GPU; an operation without a result works in place."""
    if isinstance(result, (tuple, list)):
        return any(map(_on_gpu, result))
    return result is None or (isinstance(result, Tensor) and result.is_cuda)


def count_step(trainer: Trainer, batches: list[Batch], step: int, num_waits: Callable[[], int]) -> Launches:
    """Do one training step, and count by phase: ``forward``, ``backward``, ``norm``, ``optimizer`` and ``result``."""
    launches = Launches(num_waits)
    phases = (
        (trainer.accelerator, "backward", "backward", "forward"),
        (trainer, "gradient_norm", "norm", "norm"),
        (trainer.optimizer, "step", "optimizer", "result"),
    )
    with ExitStack() as stack:
        for owner, method, phase, next_phase in phases:
            called = launches.as_phase(getattr(owner, method), phase, next_phase)
            stack.enter_context(mock.patch.object(owner, method, called))
        with launches:
            trainer.train_step(batches, 1, step, False)
    launches.enter("end")
    return launches
