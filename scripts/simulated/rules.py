"""What a CUDA device and its libraries refuse.

A rule is added as soon as a GPU, or the source of a library, shows it.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

#: Operations without a deterministic CUDA kernel (torch.use_deterministic_algorithms lists them).
NOT_DETERMINISTIC = {
    "aten::_adaptive_avg_pool2d_backward",
    "aten::_adaptive_avg_pool3d_backward",
    "aten::_ctc_loss_backward",
    "aten::adaptive_max_pool2d_backward",
    "aten::avg_pool3d_backward",
    "aten::fractional_max_pool2d_backward",
    "aten::fractional_max_pool3d_backward",
    "aten::grid_sampler_2d_backward",
    "aten::grid_sampler_3d_backward",
    "aten::histc",
    "aten::kthvalue",
    "aten::max_pool3d_with_indices_backward",
    "aten::max_unpool2d",
    "aten::max_unpool3d",
    "aten::nll_loss2d_backward",
    "aten::nll_loss2d_forward",
    "aten::put_",
    "aten::reflection_pad1d_backward",
    "aten::reflection_pad2d_backward",
    "aten::reflection_pad3d_backward",
    "aten::replication_pad1d_backward",
    "aten::replication_pad2d_backward",
    "aten::replication_pad3d_backward",
    "aten::upsample_bicubic2d_backward",
    "aten::upsample_bilinear2d_backward",
    "aten::upsample_linear1d_backward",
    "aten::upsample_trilinear3d_backward",
}
#: The most blocks of a CUDA grid along its second and third axis. The fused kernels of attention use these axes for heads
#: and batch (getBlocksGrid in PyTorch's mem_eff_attention/kernel_forward.h).
_GRID = 65535


class Refused(RuntimeError):
    """A CUDA device would have refused this."""


#: Messages of all refusals since the device was put in place.
refusals: list[str] = []


def refuse(text: str) -> None:
    """Raise Refused, and record the message.

    A thread of autograd would end with an error, so there the message is only recorded.
    """
    refusals.append(text)
    if threading.current_thread() is threading.main_thread():
        raise Refused(text)


def check(function: Any, name: str, leaves: list, kwargs: dict[str, Any]) -> None:
    """Refuse operations that a CUDA device does not compute.

    Args:
        function, name: the operation and its name.
        leaves: all arguments.
    """
    if kwargs.get("generator") is not None:
        refuse(f"{function} draws on the device by a generator of the CPU")
    first: Any = leaves[0] if leaves else None
    if torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled():
        weighted = name == "aten::bincount" and sum(isinstance(leaf, Tensor) for leaf in leaves) > 1
        median = name in ("aten::median", "aten::nanmedian") and "dim" in function._overloadname
        float_sum = name == "aten::cumsum" and first.is_floating_point()
        if weighted or median or float_sum or name in NOT_DETERMINISTIC:
            refuse(f"{function} has no deterministic CUDA kernel")
    if name.startswith("aten::_fft") and first.dtype in (torch.float16, torch.bfloat16, torch.complex32):
        sizes = [first.shape[axis] for axis in leaves[1:] if isinstance(axis, int) and -first.ndim <= axis < first.ndim]
        if first.dtype is torch.bfloat16 or any(size & (size - 1) for size in sizes[:1]):
            refuse(f"cuFFT takes half precision in sizes that are powers of two, and no bfloat16: {function}")


def no_gradients_in_eval_mode(forward: Any, on_device: Any) -> Any:
    """Wrap ``forward`` of a recurrent layer so that gradients in eval mode are refused, as by cuDNN.

    ``on_device`` says whether a tensor is on the simulated device.
    """

    def ruled(self: torch.nn.RNNBase, x: Any, *state: Any) -> Any:
        outputs, last = forward(self, x, *state)
        output = outputs.data if isinstance(outputs, torch.nn.utils.rnn.PackedSequence) else outputs
        is_ruled = torch.backends.cudnn.enabled and not self.training
        if is_ruled and on_device(output) and output.requires_grad:
            output.register_hook(lambda _: refuse("cudnn RNN backward can only be called in training mode"))
        return outputs, last

    return ruled


def within_a_grid(attention: Any, on_device: Any) -> Any:
    """Wrap ``scaled_dot_product_attention`` so that too large a batch is refused, as by its fused kernels.

    ``on_device`` says whether a tensor is on the simulated device.
    """

    def ruled(query: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Compute attention, unless batch or heads are too many."""
        if on_device(query) and max(query.shape[:-2], default=0) > _GRID:
            refuse(f"attention over {tuple(query.shape)}: invalid configuration argument, a grid has {_GRID} blocks")
        return attention(query, *args, **kwargs)

    return ruled
