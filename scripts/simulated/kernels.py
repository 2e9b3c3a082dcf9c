"""Operations that the CPU lacks, because only a GPU has them: the fused cells of recurrent layers, and pinned memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


def _lstm_cell(from_input: Tensor, from_state: Tensor, cell: Tensor, *biases: Tensor | None) -> tuple[Tensor, ...]:
    """``aten::_thnn_fused_lstm_cell``: one step of an LSTM.

    Args:
        from_input, from_state: products of the weights with the input and with the state, for the four gates.
        cell: the cell before the step.

    Returns:
        State and cell after the step, and the four gates that the gradient needs.
    """
    gates = sum((bias for bias in biases if bias is not None), from_input + from_state).chunk(4, dim=1)
    input_gate = gates[0].sigmoid()
    forget_gate = gates[1].sigmoid()
    candidate = gates[2].tanh()
    output_gate = gates[3].sigmoid()
    next_cell = forget_gate * cell + input_gate * candidate
    return (
        output_gate * next_cell.tanh(),
        next_cell,
        torch.cat([input_gate, forget_gate, candidate, output_gate], dim=1),
    )


def _lstm_cell_backward(
    d_state: Tensor | None, d_cell: Tensor | None, cell: Tensor, next_cell: Tensor, gates: Tensor, has_bias: bool
) -> tuple[Tensor | None, ...]:
    """``aten::_thnn_fused_lstm_cell_backward_impl``: the gradient of :func:`_lstm_cell`.

    Args:
        d_state, d_cell: gradients of the state and the cell after the step; None for zero.

    Returns:
        Gradients of the gates, of the cell before the step, and of a bias.
    """
    input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
    d_state = torch.zeros_like(cell) if d_state is None else d_state
    d_cell = torch.zeros_like(cell) if d_cell is None else d_cell
    tanh = next_cell.tanh()
    d_cell = d_cell + d_state * output_gate * (1 - tanh**2)
    d_gates = torch.cat(
        [
            d_cell * candidate * input_gate * (1 - input_gate),
            d_cell * cell * forget_gate * (1 - forget_gate),
            d_cell * input_gate * (1 - candidate**2),
            d_state * tanh * output_gate * (1 - output_gate),
        ],
        dim=1,
    )
    return d_gates, d_cell * forget_gate, d_gates.sum(0) if has_bias else None


def _in_float32(softmax: Any) -> Any:
    """Make a softmax that takes half precision and gives float32, which the CPU lacks."""
    return lambda x, axis, to_float32: softmax(x.float() if to_float32 else x, axis, False)


def _of_float32(backward: Any) -> Any:
    """Make the gradient of the softmax of :func:`_in_float32`, in half precision again."""
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

#: Products of float32 that a GPU may compute in TF32 → which setting of PyTorch decides.
PRODUCTS = {
    **dict.fromkeys(("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"), "matmul"),
    **dict.fromkeys(("aten::convolution", "aten::convolution_backward"), "conv"),
    "aten::_scaled_dot_product_flash_attention_for_cpu": "matmul",
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": "matmul",
}
#: Number of the first arguments of a product that are its operands; of other products, all tensors are.
_OPERANDS = {
    "aten::_scaled_dot_product_flash_attention_for_cpu": 3,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": 4,
}


def rounded(name: str, args: tuple) -> tuple:
    """Round the operands of a product to the 10 bits of TF32, if PyTorch's settings ask for TF32.

    Args:
        name: name of the product, a key of PRODUCTS.
        args: its arguments.
    """
    backend = torch.backends.cuda.matmul if PRODUCTS[name] == "matmul" else torch.backends.cudnn.conv
    if backend.fp32_precision != "tf32":
        return args

    def ten_bits(x: Tensor) -> Tensor:
        """Round a float32 tensor to a mantissa of 10 bits; other tensors stay."""
        if x.dtype is not torch.float32:
            return x
        return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    num_operands = _OPERANDS.get(name, len(args))
    return tree_map_only(Tensor, ten_bits, args[:num_operands]) + args[num_operands:]


def as_one_kernel(attention: Any, on_device: Any) -> Any:
    """Wrap ``scaled_dot_product_attention`` so that it is one operation, and its gradient another, as on a GPU.

    PyTorch would take it apart for a device that it does not know. What the CPU's kernel does not
    take, such as dropout, is still taken apart. ``on_device`` says whether a tensor is on the
    simulated device.
    """
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def fused(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        **options: Any,
    ) -> Tensor:
        takes = on_device(query)
        if query.ndim != 4 or query.shape[-1] != value.shape[-1]:
            takes = False
        if dropout_p or is_causal or options:
            takes = False
        if attn_mask is not None and attn_mask.requires_grad:
            takes = False
        for operand in (query, key, value):
            if operand.stride(-1) != 1:
                takes = False
        if takes:
            return kernel(query, key, value, attn_mask=attn_mask)[0]
        return attention(query, key, value, attn_mask, dropout_p, is_causal, **options)

    return fused


def as_cudnn(lstm: Any, on_device: Any) -> Any:
    """Wrap ``torch._VF.lstm`` so that it computes in the type of autocast, as cuDNN does.

    The plain kernels would mix types. ``on_device`` says whether a tensor is on the simulated
    device.
    """

    def cast(x: Tensor, *args: Any) -> Any:
        if not on_device(x) or not torch.is_autocast_enabled("cuda"):
            return lstm(x, *args)
        dtype = torch.get_autocast_dtype("cuda")
        with torch.autocast("cuda", enabled=False):
            return lstm(*tree_map_only(Tensor, lambda y: y.to(dtype) if y.is_floating_point() else y, (x, *args)))

    return cast
