"""Int8 products on the CPU: weights are quantised per output channel, and activations per row.

Because each row has its own scale, a score does not depend on the other utterances of a batch, and
no calibration data are needed. Linear layers of transformers compute in int8, all others in
bfloat16 if the processor has instructions for it, otherwise in float32.

In reading order: ``quantise_rows`` and ``Int8Linear``; products by oneDNN and in float32;
``fastest_precision`` and ``quantise``.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from nes2net.lib.computing.devices import check_precision
from nes2net.lib.errors import InputError
from nes2net.models.frontends.adaptation import LINEAR_LAYERS
from nes2net.models.frontends.base import Frontend

_OFFSET = 128  # number added to int8 activations, because the fast products read unsigned numbers
_MAX_ACTIVATION = 126  # largest quantised activation; not 127, because rounding the scale to bfloat16 may add 1
_TINY = 1e-30  # smallest divisor, so that a row of zeros causes no division by 0


class QuantisedRows(NamedTuple):
    """A tensor x …×K, quantised by row: x ≈ (values − 128) · scale."""

    values: Tensor
    """round(x / scale) + 128: uint8, …×K."""
    scale: Tensor
    """Scale of each row: …×1, in the type of x."""


def quantise_rows(x: Tensor) -> QuantisedRows:
    """Quantise each row of ``x`` …×K, bfloat16 or float32; the largest magnitude of a row becomes 126."""
    if torch.compiler.is_compiling():  # the compiler fuses these operations into one pass over ``x``
        factor = _MAX_ACTIVATION / x.float().abs().amax(-1, keepdim=True).clamp_min(_TINY)
        return QuantisedRows(((x * factor).round() + _OFFSET).to(torch.uint8), (1 / factor).to(x.dtype))
    # The bits, read as integers without the sign, have the order of the magnitudes; PyTorch finds the largest integer
    # several times as fast.
    integer = torch.int16 if x.element_size() == 2 else torch.int32
    largest = (x.contiguous().view(integer) & torch.iinfo(integer).max).amax(-1, keepdim=True).view(x.dtype)
    factor = _MAX_ACTIVATION / largest.clamp_min_(_TINY)
    values = (x * factor).round_().to(torch.int8).view(torch.uint8)
    return QuantisedRows(
        values.bitwise_xor_(_OFFSET), (1 / factor.float()).to(x.dtype)
    )  # XOR flips the top bit, which adds 128


class Int8Linear(nn.Module):
    """The layer ``linear`` with int8 weights, which quantises its input, …×K → …×N.

    No gradients are computed. The weights are not parameters, so ``state_dict()`` raises an error.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()  # N×K
        scale = weight.abs().amax(1).clamp_min(_TINY) / 127  # (N,): the largest weight of a row becomes ±127
        values = (weight / scale[:, None]).round_().to(torch.int8)
        bias = linear.bias
        if bias is None:
            bias = weight.new_zeros(len(weight))
        self.bias: Tensor
        self.register_buffer("bias", bias.detach())
        self.product = fastest_product(values, scale)
        self.register_state_dict_pre_hook(_refuse_saving)

    def _apply(self, *args: Any, **options: Any) -> Int8Linear:
        """Packed weights stay on the CPU: refuse another device."""
        super()._apply(*args, **options)
        if self.bias.device.type != "cpu":
            raise InputError("a detector in int8 computes on the CPU only: load it again for another device")
        return self

    def forward(self, x: Tensor) -> Tensor:
        rows = quantise_rows(x)
        return torch.addcmul(self.bias, self.product(rows.values, rows.scale.dtype), rows.scale)


def _refuse_saving(*_: Any) -> None:
    raise InputError("a detector in int8 cannot be saved: save the detector that it was made from")


#: A function that computes (values − 128) Wᵀ, …×N, from values (uint8, …×K) and the precision of the result.
Product = Callable[[Tensor, torch.dtype], Tensor]


# Products


def onednn_product(weight: Tensor, scale: Tensor) -> Product:
    """Prepare a product by oneDNN with W = ``weight`` (int8, N×K) · ``scale`` (float32, N, per row)."""
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    zeros = torch.zeros(len(weight), dtype=torch.int64)

    def product(values: Tensor, dtype: torch.dtype) -> Tensor:
        call = _onednn_operator if torch.compiler.is_compiling() else _call_onednn
        return call(values, packed, scale, zeros, dtype)

    return product


def _call_onednn(values: Tensor, packed: Tensor, scale: Tensor, zeros: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute (``values`` − 128) Wᵀ; ``values`` uint8 …×K, scales and zero points N each."""
    onednn: Any = torch.ops.onednn
    # Values have scale 1 and zero point 128; outputs have scale 1 and zero point 0. There is no bias and no activation.
    return onednn.qlinear_pointwise(values, 1.0, _OFFSET, packed, scale, zeros, None, 1.0, 0, dtype, "none", [], "")


# Make _call_onednn an operator for compiled detectors, because torch.compile accepts oneDNN's own
# operator only with constant weights.
_onednn_operator = torch.library.custom_op("nes2net::int8_product", _call_onednn, mutates_args=())
_onednn_operator.register_fake(
    lambda values, packed, scale, zeros, dtype: values.new_empty((*values.shape[:-1], len(scale)), dtype=dtype)
)


def plain_product(weight: Tensor, scale: Tensor) -> Product:
    """Prepare the product of :func:`onednn_product` in float32, for any processor."""

    def product(values: Tensor, dtype: torch.dtype) -> Tensor:
        return (functional.linear(values.float() - _OFFSET, weight.float()) * scale).to(dtype)

    return product


def fastest_product(weight: Tensor, scale: Tensor) -> Product:
    """Prepare a product by :func:`onednn_product` if int8 products are fast, else in float32."""
    prepare = onednn_product if has_fast_product() else plain_product
    return prepare(weight, scale)


@cache
def has_fast_product() -> bool:
    """Whether oneDNN multiplies int8 numbers fast and exactly on this processor, as with VNNI or AMX.

    Other processors sum pairs of products in int16 and overflow; PyTorch may lack int8 products. So
    a few products are computed once, and compared with exact ones.
    """
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        return False
    generator = torch.Generator().manual_seed(0)
    weight = torch.randint(-127, 128, (32, 64), dtype=torch.int8, generator=generator)
    values = torch.randint(1, 256, (8, 64), dtype=torch.uint8, generator=generator)
    weight[:8] = 127  # the largest numbers give the largest sums of products, which would overflow in int16
    values[:2] = 255
    try:
        computed = onednn_product(weight, torch.ones(32))(values, torch.float32)
    except (AttributeError, RuntimeError):  # this build of PyTorch has no such operators
        return False
    return torch.equal(computed, plain_product(weight, torch.ones(32))(values, torch.float32))


def has_fast_bfloat16() -> bool:
    """Whether this processor has bfloat16 products (AVX-512 or AMX)."""
    check_names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    # If this version of PyTorch lacks a check, getattr() returns bool, and bool() is False.
    return any(getattr(torch.cpu, name, bool)() for name in check_names)


def has_fast_float16() -> bool:
    """Whether this processor has float16 products; True if PyTorch cannot tell."""
    # Older versions of PyTorch have no get_capabilities().
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, True) for name in ("avx512_fp16", "amx_fp16"))


def emulation_note(precision: str, device: torch.device) -> str:
    """Return a note if the CPU only emulates ``precision``; otherwise an empty text."""
    is_fast = {"bfloat16": has_fast_bfloat16, "float16": has_fast_float16}.get(precision)
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")  # PyTorch's checks know only x86 processors
    if device.type != "cpu" or is_fast is None or not is_x86 or is_fast():
        return ""
    return (
        f"this processor has no instructions for {precision} and emulates it, which is slower than float32, often by "
        "far: use `dtype=fastest` for a precision that is fast here"
    )


# Precision of a detector


def fastest_precision(model: nn.Module, device: torch.device) -> str:
    """Choose the precision in which ``model`` should score fastest on ``device``.

    Fixed rules, so that a machine always gets the same precision. On a GPU: bfloat16 if supported.
    On a CPU, for models with a pre-trained transformer: int8 if the model can be quantised and
    :func:`has_fast_product`, else bfloat16 if :func:`has_fast_bfloat16`. Otherwise float32.
    """
    if device.type == "cuda":
        with suppress(InputError):
            check_precision("bfloat16", device)
            return "bfloat16"
    if device.type != "cpu" or not _transformer_layers(model):
        return "float32"
    if has_fast_product() and not _reason_against_int8(model):
        return "int8"
    return "bfloat16" if has_fast_bfloat16() else "float32"


def _transformer_layers(model: nn.Module) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for module in model.modules():
        if isinstance(module, Frontend):
            layers += module.transformer_layers
    return layers


def _reason_against_int8(model: nn.Module) -> str | None:
    if any(isinstance(module, Frontend) and module.engine == "fairseq" for module in model.modules()):
        return "int8 only works with the engine transformers, not with fairseq: remove `model.frontend.engine=fairseq`"
    if any(hasattr(module, "adapter_up") for module in model.modules()):
        return "int8 does not work with adapters, which this front-end has: use bfloat16 or float32"
    return None


def quantise(model: nn.Module) -> nn.Module:
    """Quantise the layers of pre-trained transformers in ``model`` on the CPU, in place; return it in eval mode.

    Other weights become bfloat16 if :func:`has_fast_bfloat16`, otherwise float32. The model then
    has no gradients and no dropout, and cannot be saved.

    Raises:
        InputError: if the model has no transformer layers, if the layers have adapters, or if the
            engine of the front-end is fairseq.
    """
    if reason := _reason_against_int8(model):
        raise InputError(reason)
    in_layers = {id(module) for layer in _transformer_layers(model) for module in layer.modules()}
    for module in list(model.modules()):  # the modules are listed first, because the loop replaces some modules
        for name, child in module.named_children():
            # PyTorch's own attention reads the weights of its layer.
            is_own = id(module) in in_layers and not isinstance(module, nn.MultiheadAttention)
            if is_own and name in LINEAR_LAYERS and isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
            elif isinstance(child, nn.Conv1d) and parametrize.is_parametrized(child, "weight"):
                # The positional convolution computes its weight from a norm and a direction in each call: put the
                # weight into a new layer. Removing the parametrization would change copies of ``child``, too. The new
                # layer needs no padding, because embed_positions() pads.
                shape = child.in_channels, child.out_channels, child.kernel_size[0]
                plain = nn.Conv1d(*shape, groups=child.groups, device="meta")
                plain.weight = nn.Parameter(child.weight.detach())
                plain.bias = child.bias
                setattr(module, name, plain)
    if not any(isinstance(module, Int8Linear) for module in model.modules()):
        raise InputError("this detector has no transformer layers to quantise to int8: use bfloat16 or float32")
    return model.to(torch.bfloat16 if has_fast_bfloat16() else torch.float32).eval()
