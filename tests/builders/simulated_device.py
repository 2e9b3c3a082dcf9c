"""A second device without a GPU: tensors say that they are on ``sim:0``, and copies of them on the CPU compute.

What a CUDA device refuses, it refuses: operands on two devices, ``.numpy()`` of its tensors, random generators of the CPU
and, where deterministic algorithms are asked for, operations that have no deterministic CUDA kernel. It counts how often
the CPU waits for it. Branches on ``device.type == "cuda"`` are not taken.

It stands on PyTorch's device for others (PrivateUse1), which a process names once, so it is used in a process of its own.
"""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("sim")
torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(…, device="sim") is dispatched
DEVICE = torch.device("sim", 0)

#: Operations that take tensors of the CPU beside those of the device: copies, and indices.
TAKES_BOTH = {"aten::copy_", "aten::_to_copy", "aten::index", "aten::index_put_", "aten::_index_put_impl_"}
#: Operations without a deterministic CUDA kernel (torch.use_deterministic_algorithms lists them).
NOT_DETERMINISTIC = {
    "aten::_adaptive_avg_pool2d_backward",
    "aten::_ctc_loss_backward",
    "aten::adaptive_max_pool2d_backward",
    "aten::avg_pool3d_backward",
    "aten::grid_sampler_2d_backward",
    "aten::histc",
    "aten::kthvalue",
    "aten::max_pool3d_with_indices_backward",
    "aten::nll_loss2d_forward",
    "aten::put_",
    "aten::reflection_pad1d_backward",
    "aten::reflection_pad2d_backward",
    "aten::replication_pad1d_backward",
    "aten::replication_pad2d_backward",
    "aten::upsample_bicubic2d_backward",
    "aten::upsample_bilinear2d_backward",
    "aten::upsample_linear1d_backward",
}
#: Operations of which the CPU needs a number of the device.
WAITS = {"aten::_local_scalar_dense", "aten::equal", "aten::masked_select", "aten::nonzero", "aten::unique_dim"}


class Refused(RuntimeError):
    """A CUDA device would have refused this."""


#: What was refused since the device was entered.
refusals: list[str] = []


def refuse(text: str) -> None:
    """Raise Refused; in a thread of autograd, which an error would end, the device is left by it."""
    refusals.append(text)
    if threading.current_thread() is threading.main_thread():
        raise Refused(text)


class OnDevice(torch.Tensor):
    """A tensor on the device; ``there`` is its copy on the CPU."""

    there: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, there: torch.Tensor) -> OnDevice:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            there.size(),
            strides=there.stride(),
            storage_offset=there.storage_offset(),
            dtype=there.dtype,
            device=DEVICE,
        )
        made.there = there
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(function, args, kwargs or {})

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["there"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict, *_: Any) -> OnDevice:
        return OnDevice(inner["there"])

    def numpy(self, **_: Any) -> Any:
        refuse("can't convert a tensor of the device to numpy: copy it to the CPU first")

    def tolist(self) -> Any:
        waits[_place()] += 1
        return self.there.tolist()


#: How often the CPU waited for the device, by place in the package.
waits: Counter[str] = Counter()


def computed(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What ``function`` gives, on the device if it computes there."""
    name, leaves = function._schema.name, tree_flatten((args, kwargs))[0]
    ours = [leaf for leaf in leaves if isinstance(leaf, OnDevice)]
    theirs = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, OnDevice)]
    asked = kwargs.get("device")
    here = bool(ours) if asked is None else torch.device(asked).type == DEVICE.type
    if ours and theirs and name not in TAKES_BOTH:
        # A number of the CPU is taken as one, except where tensors are joined.
        if any(leaf.ndim for leaf in theirs) or name in ("aten::cat", "aten::stack"):
            refuse(f"{function} mixes tensors of the CPU and of the device")
    if here:
        _check(function, name, leaves, kwargs)
    if ours and (name in WAITS or (name in ("aten::_to_copy", "aten::copy_") and not here)):
        waits[_place()] += 1
    on_cpu = {**kwargs, "device": torch.device("cpu")} if asked is not None else kwargs
    plain_args, plain = tree_map_only(OnDevice, lambda x: x.there, (args, on_cpu))
    made = KERNELS.get(name, function)(*plain_args, **plain)
    if torch.Tag.inplace_view in function.tags and ours:
        with no_dispatch():  # the wrapper's own sizes
            function(*args, **kwargs)
        return args[0]
    if function._schema.is_mutable and name.endswith("_"):
        return args[0]
    if not here:
        return made
    # A view of a tensor from outside of inference mode is no inference tensor.
    views = any(result.alias_info for result in function._schema.returns)
    plainly = torch.is_inference_mode_enabled() and ours and views and not ours[0].is_inference()
    with torch.inference_mode(torch.is_inference_mode_enabled() and not plainly):
        wrapped = tree_map_only(torch.Tensor, OnDevice, made)
    if not ours or name == "aten::_to_copy" or plainly:
        return wrapped
    return return_and_correct_aliasing(function, args, kwargs, wrapped)


def _check(function: Any, name: str, leaves: list, kwargs: dict[str, Any]) -> None:
    """Raise Refused for what a CUDA device does not compute."""
    if kwargs.get("generator") is not None:
        refuse(f"{function} draws on the device by a generator of the CPU")
    if torch.are_deterministic_algorithms_enabled():
        float_sum = name == "aten::cumsum" and leaves[0].is_floating_point()
        if float_sum or name in NOT_DETERMINISTIC:
            refuse(f"{function} has no deterministic CUDA kernel")


def _place() -> str:
    """The innermost line of the package that is being executed."""
    frames = [frame for frame in traceback.extract_stack() if "/nes2net/" in frame.filename]
    return f"{frames[-1].filename.rpartition('/nes2net/')[2]}:{frames[-1].lineno}" if frames else "elsewhere"


def _lstm_cell(
    of_input: torch.Tensor, of_state: torch.Tensor, cell: torch.Tensor, *biases: torch.Tensor | None
) -> tuple[torch.Tensor, ...]:
    """``aten::_thnn_fused_lstm_cell``, which the CPU lacks: state, cell, and the gates that its gradient needs."""
    gates = sum((bias for bias in biases if bias is not None), of_input + of_state).chunk(4, dim=1)
    taken, kept, new, shown = gates[0].sigmoid(), gates[1].sigmoid(), gates[2].tanh(), gates[3].sigmoid()
    next_cell = kept * cell + taken * new
    return shown * next_cell.tanh(), next_cell, torch.cat([taken, kept, new, shown], dim=1)


def _lstm_cell_backward(
    of_state: torch.Tensor | None,
    of_cell: torch.Tensor | None,
    cell: torch.Tensor,
    next_cell: torch.Tensor,
    gates: torch.Tensor,
    has_bias: bool,
) -> tuple[torch.Tensor | None, ...]:
    """``aten::_thnn_fused_lstm_cell_backward_impl``: gradients of the gates, of the cell and of a bias."""
    taken, kept, new, shown = gates.chunk(4, dim=1)
    of_state = torch.zeros_like(cell) if of_state is None else of_state
    of_cell = torch.zeros_like(cell) if of_cell is None else of_cell
    tanh = next_cell.tanh()
    of_cell = of_cell + of_state * shown * (1 - tanh**2)
    of_gates = torch.cat(
        [
            of_cell * new * taken * (1 - taken),
            of_cell * cell * kept * (1 - kept),
            of_cell * taken * (1 - new**2),
            of_state * tanh * shown * (1 - shown),
        ],
        dim=1,
    )
    return of_gates, of_cell * kept, of_gates.sum(0) if has_bias else None


#: Kernels that only a GPU has.
KERNELS = {
    "aten::_thnn_fused_lstm_cell": _lstm_cell,
    "aten::_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
}


def _as_cudnn(forward: Any) -> Any:
    """``forward`` of a recurrent layer with cuDNN's rule: there are no gradients in eval mode."""

    def ruled(self: torch.nn.RNNBase, x: torch.Tensor, *state: Any) -> Any:
        if isinstance(x, OnDevice) and torch.is_grad_enabled() and x.requires_grad and not self.training:
            refuse("cudnn RNN backward can only be called in training mode")
        return forward(self, x, *state)

    return ruled


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(function, args, kwargs or {})


@contextmanager
def simulated_device(deterministic: bool = True) -> Iterator[torch.device]:
    """The device, with deterministic algorithms if asked; modules can be moved to it inside."""
    filled = torch.utils.deterministic.fill_uninitialized_memory
    before = torch.are_deterministic_algorithms_enabled()
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.__future__.set_swap_module_params_on_conversion(True)
    torch.use_deterministic_algorithms(deterministic)
    waits.clear()
    refusals.clear()
    try:
        with _Mode(), mock.patch.object(torch.nn.LSTM, "forward", _as_cudnn(torch.nn.LSTM.forward)):
            yield DEVICE
        if refusals:
            raise Refused(refusals[0])
    finally:
        torch.use_deterministic_algorithms(before)
        torch.__future__.set_swap_module_params_on_conversion(False)
        torch.utils.deterministic.fill_uninitialized_memory = filled
