"""Int8 products on the CPU: weights are quantised per output channel, activations per row as they come.

A row is quantised by itself, so no score depends on the other utterances of a batch, and nothing
has to be calibrated. What is not a product of the transformer is computed in bfloat16 where the
processor computes with it, otherwise in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from nes2net.errors import InputError

_OFFSET = 128  # of activations: the fast products take unsigned activations and signed weights
_LARGEST = 126  # of a quantised activation; the rounding of its scale to bfloat16 may make it 127
_TINY = 1e-30  # instead of a largest number of 0


class Rows(NamedTuple):
    """A tensor …×K, quantised by row."""

    values: Tensor
    """uint8, …×K: round(x / scale) + 128."""
    scale: Tensor
    """…×1."""


def quantised_rows(x: Tensor) -> Rows:
    """Quantise each row of ``x`` …×K, bfloat16 or float32, by its largest magnitude."""
    # The bits of numbers without their sign are in the order of the numbers, and PyTorch finds the
    # largest integer several times as fast.
    integer = torch.int16 if x.element_size() == 2 else torch.int32
    largest = (x.contiguous().view(integer) & torch.iinfo(integer).max).amax(-1, keepdim=True).view(x.dtype)
    largest = largest.clamp_min(_TINY)
    values = (x * (_LARGEST / largest)).round_().to(torch.int8)
    return Rows(values.view(torch.uint8) ^ _OFFSET, largest / _LARGEST)


class Int8Linear(nn.Module):
    """Linear layers with int8 weights that read the same input; their outputs stand side by side.

    There are no gradients, and a state dict would have no weights, so asking for one is an error.

    Args:
        linears: float layers, K → N each.
    """

    def __init__(self, *linears: nn.Linear) -> None:
        super().__init__()
        weight = torch.cat([linear.weight.detach().float() for linear in linears])  # N×K
        scale = weight.abs().amax(1).clamp_min(_TINY) / 127
        values = (weight / scale[:, None]).round_().to(torch.int8)
        biases = [weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias for linear in linears]
        self.register_buffer("bias", torch.cat(biases).detach())
        product = onednn_product(values, scale) if has_fast_product() else plain_product(values, scale)
        self.product: Callable[[Tensor, torch.dtype], Tensor] = product
        self.register_state_dict_pre_hook(_refuse_saving)

    def forward(self, rows: Rows) -> Tensor:
        """Compute x Wᵀ + b of the quantised ``rows`` …×K: …×N."""
        return torch.addcmul(self.bias, self.product(rows.values, rows.scale.dtype), rows.scale)


def _refuse_saving(*_: Any) -> None:
    raise InputError("a detector in int8 cannot be saved: save the detector that it was made from")


def onednn_product(weight: Tensor, scale: Tensor) -> Callable[[Tensor, torch.dtype], Tensor]:
    """Make the function (``values`` − 128) (``weight`` · ``scale``)ᵀ of oneDNN, …×K → …×N.

    Args:
        weight: int8, N×K.
        scale: float32, (N,).
    """
    onednn: Any = torch.ops.onednn
    packed, zeros = onednn.qlinear_prepack(weight, None), torch.zeros(len(weight), dtype=torch.int64)

    def product(values: Tensor, dtype: torch.dtype) -> Tensor:
        return onednn.qlinear_pointwise(
            values, 1.0, _OFFSET, packed, scale, zeros, None, 1.0, 0, dtype, "none", [], ""
        )

    return product


def plain_product(weight: Tensor, scale: Tensor) -> Callable[[Tensor, torch.dtype], Tensor]:
    """Make the same function in float32, for every processor."""

    def product(values: Tensor, dtype: torch.dtype) -> Tensor:
        return (functional.linear(values.float() - _OFFSET, weight.float()) * scale).to(dtype)

    return product


@cache
def has_fast_product() -> bool:
    """Whether oneDNN multiplies int8 numbers exactly on this processor.

    Processors with VNNI or AMX do. On others oneDNN adds pairs of products in 16 bits, which
    overflows. Builds of PyTorch without oneDNN, and those for ARM, get plain products.
    """
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (32, 64), dtype=torch.int8, generator=generator)
    values = torch.randint(1, 256, (8, 64), dtype=torch.uint8, generator=generator)
    weight[:8], values[:2] = 127, 255  # the largest sums
    try:
        computed = onednn_product(weight, torch.ones(32))(values, torch.float32)
    except (AttributeError, RuntimeError, NotImplementedError):  # this build does not have the operators
        return False
    return torch.equal(computed, plain_product(weight, torch.ones(32))(values, torch.float32))


def has_fast_bfloat16() -> bool:
    """Whether this processor computes with bfloat16 numbers; others convert them, which takes time."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


class _Int8FeedForward(nn.Module):
    """The two linear layers of a transformer layer: B×T×D → B×T×D."""

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.intermediate_dense, self.output_dense = (
            Int8Linear(original.intermediate_dense),
            Int8Linear(original.output_dense),
        )
        self.intermediate_act_fn = original.intermediate_act_fn

    def forward(self, x: Tensor) -> Tensor:
        return _by_utterance(self._compute, x)

    def _compute(self, x: Tensor) -> Tensor:
        inner = self.intermediate_act_fn(self.intermediate_dense(quantised_rows(x)))
        return self.output_dense(quantised_rows(inner))


class _Int8Attention(nn.Module):
    """Self-attention, B×T×D → B×T×D; queries, keys and values are one product."""

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.num_heads = original.num_heads
        self.qkv_proj = Int8Linear(original.q_proj, original.k_proj, original.v_proj)
        self.out_proj = Int8Linear(original.out_proj)

    def forward(self, x: Tensor, **_: Any) -> tuple[Tensor, None]:
        return _by_utterance(self._compute, x), None

    def _compute(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        qkv = self.qkv_proj(quantised_rows(x))  # B×T×3D
        query, key, value = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # B×H×T×D/H
        out = functional.scaled_dot_product_attention(query, key, value, bias)
        return self.out_proj(quantised_rows(out.transpose(1, 2).flatten(2)))


class _Int8RelativeAttention(_Int8Attention):
    """The same with WavLM's bias, by the rest of the float module."""

    def __init__(self, original: Any) -> None:
        super().__init__(original)
        self.relative = original
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            delattr(original, name)

    def position_bias(self, frames: int) -> Tensor:
        """Bias 1×H×T×T of T ``frames``, before the gate."""
        return self.relative.position_bias(frames)

    def forward(self, x: Tensor, position_bias: Tensor | None = None, **_: Any) -> tuple[Tensor, None, Tensor]:  # type: ignore[override]
        shared = self.position_bias(x.shape[1]) if position_bias is None else position_bias

        def compute(x: Tensor) -> Tensor:
            return self._compute(x, self.relative.gated_bias(x, shared).to(x.dtype))

        return _by_utterance(compute, x), None, shared


def _by_utterance(compute: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply ``compute`` to the utterances of ``x`` B×T×D one by one.

    The intermediate results of one fit into the cache, those of a batch do not.
    """
    if len(x) == 1 or torch.compiler.is_compiling():
        return compute(x)
    return torch.cat([compute(utterance) for utterance in x.split(1)])


def quantise(detector: nn.Module) -> nn.Module:
    """Turn the transformer layers of ``detector`` into int8, in place, and return it.

    Everything else becomes bfloat16, or float32 (see :func:`has_fast_bfloat16`). The front-ends
    wav2vec 2.0 and WavLM have such layers; of a detector without them nothing becomes int8. The
    result is for scoring on the CPU: it has no gradients and no dropout, and cannot be saved.

    Raises:
        InputError: if the detector is not on the CPU.
    """
    if any(parameter.device.type != "cpu" for parameter in detector.parameters()):
        raise InputError("int8 is for the CPU: take `device` cpu, or bfloat16 on a GPU")
    for module in list(detector.modules()):
        for name, child in module.named_children():
            parts = dict(child.named_children())
            if isinstance(parts.get("intermediate_dense"), nn.Linear):
                setattr(module, name, _Int8FeedForward(child))
            elif all(isinstance(parts.get(part), nn.Linear) for part in ("q_proj", "k_proj", "v_proj", "out_proj")):
                relative = "gru_rel_pos_linear" in parts
                setattr(module, name, (_Int8RelativeAttention if relative else _Int8Attention)(child))
    return detector.to(torch.bfloat16 if has_fast_bfloat16() else torch.float32).eval()
