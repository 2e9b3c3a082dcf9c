"""Operations that the CPU lacks, because only a GPU has them: the fused cells of recurrent layers, and pinned memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


def _lstm_cell(of_input: Tensor, of_state: Tensor, cell: Tensor, *biases: Tensor | None) -> tuple[Tensor, ...]:
    """``aten::_thnn_fused_lstm_cell``: state, cell, and the gates that its gradient needs."""
    gates = sum((bias for bias in biases if bias is not None), of_input + of_state).chunk(4, dim=1)
    taken, kept, new, shown = gates[0].sigmoid(), gates[1].sigmoid(), gates[2].tanh(), gates[3].sigmoid()
    next_cell = kept * cell + taken * new
    return shown * next_cell.tanh(), next_cell, torch.cat([taken, kept, new, shown], dim=1)


def _lstm_cell_backward(
    of_state: Tensor | None, of_cell: Tensor | None, cell: Tensor, next_cell: Tensor, gates: Tensor, has_bias: bool
) -> tuple[Tensor | None, ...]:
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


def _in_float32(softmax: Any) -> Any:
    """A softmax of half precision to float32, which the CPU lacks."""
    return lambda x, axis, to_float32: softmax(x.float() if to_float32 else x, axis, False)


def _of_float32(backward: Any) -> Any:
    """Its gradient, in half precision again."""
    return lambda gradient, result, axis, dtype: backward(gradient, result, axis, result.dtype).to(dtype)


#: Kernels of a GPU by name; arguments and results are tensors of the CPU.
KERNELS = {
    "aten::_thnn_fused_lstm_cell": _lstm_cell,
    "aten::_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
    "aten::_softmax": _in_float32(torch.ops.aten._softmax),
    "aten::_log_softmax": _in_float32(torch.ops.aten._log_softmax),
    "aten::_softmax_backward_data": _of_float32(torch.ops.aten._softmax_backward_data),
    "aten::_log_softmax_backward_data": _of_float32(torch.ops.aten._log_softmax_backward_data),
    "aten::_pin_memory": lambda x, *_, **__: x.clone(),
}

#: Products of float32 that a GPU may compute in TF32, and whose settings say whether it does.
PRODUCTS = {
    **dict.fromkeys(("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"), "matmul"),
    **dict.fromkeys(("aten::convolution", "aten::convolution_backward"), "conv"),
}


def rounded(name: str, args: tuple) -> tuple:
    """``args`` of a product, of float32 with the 10 bits of TF32 if PyTorch's settings say so."""
    backend: Any = torch.backends.cuda.matmul if PRODUCTS[name] == "matmul" else torch.backends.cudnn.conv
    if backend.fp32_precision != "tf32":
        return args

    def ten_bits(x: Tensor) -> Tensor:
        if x.dtype is not torch.float32:
            return x
        return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    return tree_map_only(Tensor, ten_bits, args)


def as_cudnn(lstm: Any, on_device: Any) -> Any:
    """``torch._VF.lstm`` in the type of autocast, as cuDNN computes it; the plain kernels would mix types."""

    def cast(x: Tensor, *args: Any) -> Any:
        if not on_device(x) or not torch.is_autocast_enabled("cuda"):
            return lstm(x, *args)
        dtype = torch.get_autocast_dtype("cuda")
        with torch.autocast("cuda", enabled=False):
            return lstm(*tree_map_only(Tensor, lambda y: y.to(dtype) if y.is_floating_point() else y, (x, *args)))

    return cast
