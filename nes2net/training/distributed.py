"""One training process or several: where and in which precision it computes, and what the processes of a run agree on."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from signal import SIGINT, SIGTERM
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nes2net.errors import InputError, did_you_mean
from nes2net.machine.devices import choose_device

if TYPE_CHECKING:
    from accelerate import Accelerator

#: A recipe's names of precisions → accelerate's.
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def create_accelerator(device: str = "auto", precision: str = "fp32") -> Accelerator:
    """Accelerate's handle of this process, alone or one of those that ``torchrun`` or ``accelerate launch`` started.

    Nothing is distributed in a process that was started alone. Of several, each computes on the GPU of its number, or on the CPU.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the forward pass.

    Raises:
        InputError: the device is not there, is fewer than the processes, or cannot do this precision.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState, GradientState, PartialState
    from accelerate.utils import GradientAccumulationPlugin

    if precision not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        raise InputError(f"`train.precision` is one of {known}, not '{precision}'{did_you_mean(precision, PRECISIONS)}")
    chosen = choose_device(device)
    if chosen.type == "cuda":
        _choose_gpu(chosen)
    if precision == "fp16" and chosen.type != "cuda":
        raise InputError(f"`train.precision=fp16` needs CUDA, not {chosen.type}: take bf16 or fp32")
    # Accelerate keeps one state for a whole process and refuses another precision later; every run here has its own.
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    first = not dist.is_initialized()
    accelerator = Accelerator(
        mixed_precision=PRECISIONS[precision],
        cpu=chosen.type == "cpu",
        # Layer drop, a frozen front-end and Mamba's last block leave parameters without a gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # the loop does it, in sight
    )
    if first and dist.is_initialized():
        atexit.register(dist.destroy_process_group)  # other runs in this process share the group until then
    return accelerator


def _choose_gpu(device: torch.device) -> None:
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        there = f"there are {torch.cuda.device_count()} GPUs" if torch.cuda.is_available() else "there is no CUDA here"
        raise InputError(f"device '{device}' is not there ({there}): take another, or cpu")
    rank = int(os.environ.get("LOCAL_RANK", -1))
    if rank >= torch.cuda.device_count():
        raise InputError(
            f"process {rank + 1} of this machine has no GPU of its own, there are {torch.cuda.device_count()}: start as many processes as "
            "there are GPUs (torchrun --nproc-per-node)"
        )
    if device.index is not None:
        if rank != -1:
            raise InputError(
                f"each of several processes has the GPU of its number, so '{device}' cannot be all of theirs: take `device=cuda`, and "
                "CUDA_VISIBLE_DEVICES to choose GPUs"
            )
        torch.cuda.set_device(device)  # accelerate takes the current one


def sums_over_processes(accelerator: Accelerator, values: Sequence[float]) -> list[float]:
    """Each value summed over all processes, in float64."""
    if accelerator.num_processes == 1:
        return list(values)
    return accelerator.reduce(torch.tensor(values, dtype=torch.float64, device=accelerator.device), "sum").tolist()


def gathered(accelerator: Accelerator, value: Any) -> list[Any]:
    """``value``, plain data, of every process."""
    if accelerator.num_processes == 1:
        return [value]
    from accelerate.utils import gather_object

    return gather_object([value])


def signal_of_all(accelerator: Accelerator, signal: int) -> int:
    """The signal by which all processes stop, where ``signal`` came to this one, 0 for none: SIGTERM goes before SIGINT."""
    terminate, interrupt = sums_over_processes(accelerator, [signal == SIGTERM, signal == SIGINT])
    return SIGTERM if terminate else SIGINT if interrupt else 0


@contextmanager
def all_or_none(accelerator: Accelerator) -> Iterator[None]:
    """For what the main process writes: the others wait for it, and where the system refuses it something, all raise that.

    A process that ended alone would leave the others waiting for it; one that went on would find it ended before it had said why.
    """
    failure = None
    try:
        yield
    except (OSError, InputError) as error:
        failure = error.__cause__ if isinstance(error.__cause__, OSError) else error
    for error in (failure, *gathered(accelerator, failure)):
        if error is not None:
            raise error


def synchronise_batch_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """``module`` with batch normalisations whose statistics in train mode are those of the batches of all processes together.

    Names, parameters and buffers stay. PyTorch's own is for GPUs only; :class:`SyncedBatchNorm` is for the others.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.modules.batchnorm._BatchNorm):
                setattr(parent, name, SyncedBatchNorm(child))
    return module


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """``norm`` with the same parameters and buffers, and in train mode the statistics of the batches of all processes (B×C×…).

    Mean and mean squared deviation are over all elements of all processes, however unevenly they are spread, by sums through which
    gradients flow.
    """

    def __init__(self, norm: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"batch normalisation takes at least 2 dimensions, not {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        x = input.double()  # sums of many terms: so that it does not matter how they are spread over processes
        count = x.new_tensor([x.numel() / x.shape[1]])
        total = _summed(torch.cat([x.sum(axes), count]))
        if total[-1] < 2:  # as torch.nn.functional.batch_norm
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
        mean, count = total[:-1] / total[-1], total[-1].detach()
        variance = _summed((x - mean.view(shape)).square().sum(axes)) / count
        if self.track_running_stats:
            self._track(mean.detach(), (variance * count / (count - 1)).detach())
        # What F.batch_norm computes in eval mode, with gradients through the statistics.
        scale = (variance + self.eps).rsqrt()
        x = ((x - mean.view(shape)) * scale.view(shape)).to(input.dtype)
        if self.affine:
            x = x * self.weight.view(shape) + self.bias.view(shape)
        return x.to(input.dtype)  # which the weights' is not under autocast

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked += 1
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(variance.to(self.running_var.dtype), momentum)


def _summed(x: Tensor) -> Tensor:
    """``x`` summed over all processes; so is its gradient."""
    return _SumOverProcesses.apply(x)


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient


class StepPlan(NamedTuple):
    """What all processes know of a step before its first forward pass."""

    #: places of the parts that have utterances in every process; the others are left out by all
    used: list[int]
    #: Σ of their weights: the denominator of the step's loss
    denominator: float
    #: in these parts, of all processes
    utterances: int
    #: in the other parts: they could be read, and are left out
    unused: int
    #: after the step: stop by this signal, 0 for none
    signal: int
    #: after the step: save
    save: bool


def plan_step(
    accelerator: Accelerator, weights: Sequence[float], counts: Sequence[int], signal: int, save: bool
) -> StepPlan:
    """Agree on a step, in one reduction; ``weights`` and ``counts`` are of the utterances of each of this process's parts.

    A signal that reached any process stops all, and where one wants to save, all know. A part of which one process has no utterance, since
    not one of its files could be read, is left out by all: DistributedDataParallel and batch normalisation wait for each process.
    """
    terminate, interrupt = signal == SIGTERM, signal == SIGINT
    own = [terminate, interrupt, save, *weights, *counts, *(count == 0 for count in counts)]
    terminate, interrupt, save, *parts = sums_over_processes(accelerator, own)
    weights, counts, empty = (parts[i * len(counts) : (i + 1) * len(counts)] for i in range(3))
    used = [part for part, unusable in enumerate(empty) if not unusable]
    utterances = int(sum(counts[part] for part in used))
    return StepPlan(
        used,
        sum(weights[part] for part in used),
        utterances,
        int(sum(counts)) - utterances,
        SIGTERM if terminate else SIGINT if interrupt else 0,
        bool(save),
    )
