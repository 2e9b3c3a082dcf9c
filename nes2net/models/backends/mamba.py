"""XLSR-Mamba: two columns of Mamba blocks.

The block comes from Mamba (A. Gu, T. Dao, arXiv 2312.00752, Sec. 3.4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32
from nes2net.lib.parts.options import FeatureDim, Logits, Takes, UpTo4096
from nes2net.models.backends.base import LogitLayer, ProjectedBackend
from nes2net.models.backends.pooling import attention_pool
from nes2net.models.backends.selective_scan import selective_scan

STATE_DIM = 16  # size of the state of each channel
CAUSAL_KERNEL = 4  # frames
NORM_EPS = 1e-5  # small number that RMS norms add to the mean square


@cache
def fused_selective_scan() -> Callable[..., Tensor] | None:
    """Import mamba_ssm's CUDA kernel of the selective scan; None without this package."""
    try:
        from mamba_ssm.ops.selective_scan_interface import selective_scan_fn  # optional
    except ImportError:
        return None
    return selective_scan_fn


def draw_delta_bias(count: int) -> Tensor:
    """Draw ``count`` biases whose softplus, the initial Δ, is log-uniform from 0.001 to 0.1 (Mamba, Sec. 3.6)."""
    delta = torch.empty(count).uniform_(math.log(1e-3), math.log(1e-1)).exp()
    return delta + torch.log(-torch.expm1(-delta))  # the inverse of softplus


class Norm(nn.RMSNorm):
    """An RMS norm in the type of its weight, even within autocast: …×E → …×E."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class FrameConv(nn.Conv1d):
    """A convolution over time for each channel, B×T×C → B×T×C; ``causal`` reads no later frames."""

    def __init__(self, channels: int, kernel: int, causal: bool) -> None:
        super().__init__(channels, channels, kernel, groups=channels)
        self.frames_around = (kernel - 1, 0) if causal else (kernel // 2, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x.transpose(1, 2), self.frames_around)).transpose(1, 2)


class Mixer(nn.Module):
    """The Mamba block without norm and residual (Gu & Dao, Fig. 3): B×T×E → B×T×E, causal in time."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        inner_dim = 2 * embed_dim
        self.delta_rank = math.ceil(embed_dim / 16)
        # Names and initial values as in mamba_ssm.
        self.A_log = nn.Parameter(torch.arange(1, STATE_DIM + 1).float().log().repeat(inner_dim, 1))
        self.D = nn.Parameter(torch.ones(inner_dim))
        self.in_proj = nn.Linear(embed_dim, 2 * inner_dim, bias=False)
        self.conv1d = FrameConv(inner_dim, CAUSAL_KERNEL, causal=True)
        self.x_proj = nn.Linear(inner_dim, self.delta_rank + 2 * STATE_DIM, bias=False)
        self.dt_proj = nn.Linear(self.delta_rank, inner_dim)
        self.out_proj = nn.Linear(inner_dim, embed_dim, bias=False)
        bound = self.delta_rank**-0.5  # as in Mamba's code; this bound preserves the variance of the input
        nn.init.uniform_(self.dt_proj.weight, -bound, bound)
        self.dt_proj.bias = nn.Parameter(draw_delta_bias(inner_dim))

    def forward(self, x: Tensor) -> Tensor:
        x, z = self.in_proj(x).chunk(2, dim=2)  # B×T×2E each
        x = F.silu(self.conv1d(x))
        delta, B, C = self.x_proj(x).split([self.delta_rank, STATE_DIM, STATE_DIM], dim=2)  # B×T×(rank, N, N)
        delta = F.linear(delta, self.dt_proj.weight)  # B×T×2E; the scan adds the bias in its own precision
        scan = self._fused_scan if self._can_use_fused_scan(x) else self._scan
        return self.out_proj(scan(x, delta, B, C, z))

    @staticmethod
    def _can_use_fused_scan(x: Tensor) -> bool:
        """The kernel's backward pass is not deterministic: it adds numbers in random order (atomicAdd)."""
        must_repeat = torch.is_grad_enabled() and torch.are_deterministic_algorithms_enabled()
        can_run = x.is_cuda and x.dtype != torch.float64 and not torch.compiler.is_compiling()
        return can_run and not must_repeat and fused_selective_scan() is not None

    def _scan(self, x: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor) -> Tensor:
        """B×T×2E → B×T×2E in at least float32, as in the kernel: states add up over hundreds of frames."""
        delta = F.softplus(at_least_float32(delta) + at_least_float32(self.dt_proj.bias))
        A = -torch.exp(at_least_float32(self.A_log))
        scanned = selective_scan(at_least_float32(x), delta, A, at_least_float32(B), at_least_float32(C))
        y = scanned + at_least_float32(self.D) * x
        return (y * F.silu(z)).to(x.dtype)

    def _fused_scan(self, x: Tensor, delta: Tensor, B: Tensor, C: Tensor, z: Tensor) -> Tensor:
        fused = fused_selective_scan()
        assert fused is not None  # _can_use_fused_scan() has checked that the kernel is there
        y = fused(
            x.mT.contiguous(),  # the kernel reads B×2E×T
            delta.mT.contiguous(),
            -torch.exp(self.A_log.float()),
            B.mT.contiguous(),
            C.mT.contiguous(),
            self.D.float(),
            z=z.mT.contiguous(),
            delta_bias=self.dt_proj.bias.float(),
            delta_softplus=True,
        )
        return y.mT


class Layer(nn.Module):
    """An RMS norm and a mixer, B×T×E → B×T×E, without the residual."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.mixer = Mixer(embed_dim)
        self.norm = Norm(embed_dim)

    def forward(self, residual: Tensor) -> Tensor:
        return self.mixer(self.norm(residual))


class DualColumn(nn.Module):
    """Read frames forwards and backwards in two columns, and pool both by attention: B×T×E → B×E.

    The module also contains the last layer, ``classifier``.

    Args:
        final_norm: see :class:`Mamba`.
    """

    def __init__(self, embed_dim: int, layers_per_column: int, final_norm: str, num_logits: int) -> None:
        super().__init__()
        self.final_norm = final_norm
        # Published checkpoints have these names.
        self.forward_layers = nn.ModuleList(Layer(embed_dim) for _ in range(layers_per_column))
        self.backward_layers = nn.ModuleList(Layer(embed_dim) for _ in range(layers_per_column))
        self.norm_f = nn.RMSNorm(embed_dim, eps=NORM_EPS)
        self.f_attention_pool = nn.Linear(embed_dim, 1)
        self.b_attention_pool = nn.Linear(embed_dim, 1)
        self.LL = nn.Linear(2 * embed_dim, embed_dim)
        self.classifier = LogitLayer(embed_dim, num_logits)
        with torch.no_grad():  # as in GPT-2 and mamba_ssm, so that n layers together add only the variance of one layer
            for layer in [*self.forward_layers, *self.backward_layers]:
                layer.mixer.out_proj.weight.div_(math.sqrt(layers_per_column))

    def forward(self, x: Tensor) -> Tensor:
        forwards = self.column(x, x, self.forward_layers)
        backwards = self.column(x.flip(1), x, self.backward_layers)
        pooled_forwards = attention_pool(forwards, self.f_attention_pool(forwards))  # B×E
        pooled_backwards = attention_pool(backwards, self.b_attention_pool(backwards))  # B×E
        return self.LL(torch.cat([pooled_forwards, pooled_backwards], dim=1))

    def column(self, x: Tensor, unreversed: Tensor, layers: nn.ModuleList) -> Tensor:
        """Apply the ``layers`` of a column and the final norm to ``x`` B×T×E; the residual is at least float32.

        Args:
            unreversed: frames in forward order, which the published code adds to the residual
                before the final norm of both columns.
        """
        residual = at_least_float32(x)
        for layer in layers[:-1]:
            residual = residual + layer(residual)
        # In the paper, the output of the last layer is added to the residual; in the published code, the model's input.
        last = layers[-1](residual) if self.final_norm != "published" else unreversed
        return self.norm_f((residual + last).to(x.dtype))


class Mamba(ProjectedBackend):
    """XLSR-Mamba: two columns of Mamba blocks; the second column reads the utterance backwards.

    Features B×T×``feature_dim`` → logits B×``num_logits``. On CUDA, mamba_ssm's kernel is used if
    installed, except in float64, ``torch.compile``, ``torch.export`` and deterministic training;
    otherwise :mod:`nes2net.models.backends.selective_scan`.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        embed_dim: E, channels of a frame.
        num_layers: number of Mamba layers in both columns together, an even number.
        final_norm: input of a column's final norm. ``"output"`` is the residual plus the output of
            the last layer, as drawn in the paper. ``"published"`` is the residual plus the model's
            input, as in the published code. Published weights need ``"published"``. The last layer
            of each column then has no effect and gets no gradient. In the backward column the
            residual is reversed in time, but the model's input is not.
        num_logits: n.

    >>> Mamba(embed_dim=16, num_layers=2)(torch.randn(2, 50, 1024)).shape
    torch.Size([2, 2])
    """

    source = (
        'Y. Xiao, R. K. Das, "XLSR-Mamba: a dual-column bidirectional state space model for spoofing attack '
        'detection", IEEE SPL 2025 (arXiv 2411.10027).'
    )
    last_layer_name = "conformer.classifier"

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        embed_dim: UpTo4096 = 144,
        num_layers: Annotated[
            int, Field(ge=2, le=128, multiple_of=2), Takes("an even number from 2 to 128, which counts both columns")
        ] = 12,
        final_norm: Literal["published", "output"] = "published",
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim, embed_dim)
        # The name "conformer" is part of the published names of tensors.
        self.conformer = DualColumn(embed_dim, num_layers // 2, final_norm, num_logits)
        # The published code ignores the output of the last layers.
        self.untrained = rf"conformer\.(for|back)ward_layers\.{num_layers // 2 - 1}\..*"
