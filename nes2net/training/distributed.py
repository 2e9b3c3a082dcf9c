"""Training in one process or several: device, precision, and agreement on each step."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import chain
from signal import SIGINT, SIGTERM
from typing import NamedTuple

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState, GradientState, PartialState
from accelerate.utils import GradientAccumulationPlugin, gather_object
from torch import Tensor, nn

from nes2net.lib.computing.devices import check_precision, choose_device
from nes2net.lib.errors import InputError, refuse
from nes2net.training.interruption import BY_CALLBACK

#: Name of a precision in a recipe → name in scoring.
SCORING_PRECISIONS = {"fp32": "float32", "tf32": "tf32", "bf16": "bfloat16", "fp16": "float16"}
#: How long a process waits for others. PyTorch's 10 minutes on GPUs are too short, because the
#: others wait while the main process saves: 4 GB at 1 MB/s take over an hour. If a process dies,
#: torchrun ends the others.
_PATIENCE = timedelta(hours=2)


def create_accelerator(device: str, precision: str = "fp32") -> Accelerator:
    """Make the :class:`Accelerator` of this process.

    Processes of ``torchrun`` or ``accelerate launch`` compute on the GPU with their local rank, or
    on the CPU.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: of the forward pass: ``fp32``, ``tf32``, ``bf16`` or ``fp16``.

    Raises:
        InputError: if the device does not exist, if there are fewer GPUs than processes, or if the
            device cannot compute in ``precision``.
    """
    torch_device = choose_device(device)
    if torch_device.type == "cuda":  # accelerate gives each process the GPU of its local rank
        rank = int(os.environ.get("LOCAL_RANK", -1))
        refuse(
            (
                rank >= torch.cuda.device_count(),
                f"process {rank + 1} of this machine has no GPU of its own, there are {torch.cuda.device_count()}: "
                "start as many processes as there are GPUs (torchrun --nproc-per-node)",
            ),
            (
                torch_device.index is not None and rank != -1,
                f"'{torch_device}' cannot be the GPU of all processes, because each uses the GPU of its number: use "
                "`device=cuda`, and choose GPUs with CUDA_VISIBLE_DEVICES",
            ),
        )
        if torch_device.index is not None:
            torch.cuda.set_device(torch_device)  # accelerate computes on the current device
    check_supports("train.precision", precision, torch_device)
    # Accelerate keeps one precision for a process, but each run in this process may have another precision.
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    first = not dist.is_initialized()
    accelerator = Accelerator(
        mixed_precision=precision if precision in ("bf16", "fp16") else "no",
        cpu=torch_device.type == "cpu",
        kwargs_handlers=[
            DistributedDataParallelKwargs(),  # the trainer sets find_unused_parameters
            InitProcessGroupKwargs(timeout=_PATIENCE),
        ],
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # the loop itself accumulates gradients
    )
    # Keep the process group until this process ends, because later runs in this process use the same group.
    if first and dist.is_initialized():
        atexit.register(dist.destroy_process_group)
    return accelerator


def check_supports(key: str, precision: str, device: torch.device) -> None:
    """Raise :class:`InputError` if ``device`` lacks the ``precision`` that ``key`` of a recipe names."""
    if precision in ("fp16", "tf32") and device.type != "cuda":
        raise InputError(f"`{key}={precision}` needs CUDA, not {device.type}: use bf16 or fp32")
    check_precision(SCORING_PRECISIONS[precision], device, f"`{key}=fp16` or `{key}=fp32`")


def sum_over_processes(accelerator: Accelerator, values: Sequence[float]) -> list[float]:
    """Sum each value over all processes, in float64."""
    if accelerator.num_processes == 1:
        return list(values)
    return accelerator.reduce(torch.tensor(values, dtype=torch.float64, device=accelerator.device), "sum").tolist()


def write_once(accelerator: Accelerator, write: Callable[[], None]) -> None:
    """Call ``write`` in the main process only; if a file cannot be written, all processes raise.

    Otherwise the others would wait for a process that has ended.
    """
    failure: BaseException | None = None
    try:
        if accelerator.is_main_process:
            write()
    except (OSError, InputError) as error:
        failure = error.__cause__ if isinstance(error.__cause__, OSError) else error
    for process_failure in (failure, *gather_object([failure])):
        if process_failure is not None:
            raise process_failure


def synchronise_batch_norms(module: nn.Module, device: torch.device) -> nn.Module:
    """Give the batch normalisations in ``module`` statistics over all processes.

    Names, parameters and buffers do not change. On GPUs the layers become PyTorch's, elsewhere
    :class:`SyncedBatchNorm`.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.__class__ = SyncedBatchNorm
    return module


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of inputs B×C×…, in train mode with statistics over all processes.

    The batches may differ in size. Gradients flow through mean and variance.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept B×C×…, unlike the base class, which leaves this check to others."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1] + [1] * (input.dim() - 2)
        x = input.double()  # float64, so that the sums do not depend on the number of processes
        count_here = x.new_tensor([x.numel() / x.shape[1]])
        total = _SumOverProcesses.apply(torch.cat([x.sum(axes), count_here]))  # (C + 1,)
        if total[-1] < 2:  # torch.nn.functional.batch_norm raises the same error
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
        mean = total[:-1] / total[-1]
        count = total[-1].detach()
        variance = _SumOverProcesses.apply((x - mean.view(shape)).square().sum(axes)) / count
        if self.track_running_stats:
            self.num_batches_tracked += 1
            # Without momentum, average all batches.
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            unbiased = (variance * count / (count - 1)).detach()
            self.running_mean.lerp_(mean.detach().to(self.running_mean.dtype), momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)
        # Compute as F.batch_norm does in eval mode, but let gradients also flow through the statistics.
        x = ((x - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)).to(input.dtype)
        if self.affine:
            x = x * self.weight.view(shape) + self.bias.view(shape)
        return x.to(input.dtype)  # under autocast, the product with the float32 weights is float32


class _SumOverProcesses(torch.autograd.Function):
    """Sums a tensor, and in the backward pass the gradient, over all processes."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        x = x.clone()  # all_reduce() works in place
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return _SumOverProcesses.apply(gradient.contiguous())


class StepPlan(NamedTuple):
    """The facts of a step on which all processes agree before its first forward pass."""

    #: indices of the parts that have utterances in every process; all processes skip the other parts
    used: list[int]
    #: denominator of each term of the loss, summed over the used parts of all processes
    denominators: list[float]
    #: number of utterances in the used parts of all processes
    utterances: int
    #: number of utterances in the skipped parts; they were read but are not trained on
    unused: int
    #: number of the signal that stops the run after the step, 0 for none
    signal: int
    #: whether to save after the step
    save: bool
    #: number of files that cannot be read at present, over all processes
    lost: int


def plan_step(
    accelerator: Accelerator,
    denominators: Sequence[Sequence[float]],
    counts: Sequence[int],
    signal: int,
    save: bool,
    lost: int = 0,
) -> StepPlan:
    """Agree with the other processes on the parts of a step to compute, and whether to save or stop after it.

    A signal to one process stops all, and a wish to save counts for all. A part of which one
    process could read no file is skipped by all, because DistributedDataParallel and batch
    normalisation would wait.

    Args:
        denominators: of the terms of the loss, for each of this process's parts.
        counts: number of utterances of each of these parts.
        signal: number of the signal received, or BY_CALLBACK; 0 for none.
        save: whether this process wants to save.
        lost: number of this process's files that cannot be read at present.
    """
    # A single reduction sums the flags and all rows; a row has a value for each part of the step.
    rows = [*zip(*denominators), counts, [count == 0 for count in counts]]
    values = [signal == SIGTERM, signal == SIGINT, signal == BY_CALLBACK, save, lost, *chain.from_iterable(rows)]
    terminate, interrupt, ends, saves, all_lost, *sums = sum_over_processes(accelerator, values)
    # The rows again: for each term of the loss, the utterances, and for how many processes a part is empty.
    *all_denominators, all_counts, num_empty = (sums[i * len(counts) : (i + 1) * len(counts)] for i in range(len(rows)))
    used = [number for number, num_processes in enumerate(num_empty) if not num_processes]
    utterances = int(sum(all_counts[number] for number in used))
    # The largest number counts: that of SIGTERM, then of SIGINT.
    agreed_signal = max(SIGTERM * bool(terminate), SIGINT * bool(interrupt), BY_CALLBACK * bool(ends))
    return StepPlan(
        used,
        [sum(term_denominators[number] for number in used) for term_denominators in all_denominators],
        utterances,
        int(sum(all_counts)) - utterances,
        agreed_signal,
        bool(saves),
        int(all_lost),
    )
