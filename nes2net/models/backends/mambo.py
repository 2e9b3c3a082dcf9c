"""MamBo: groups of state-space mixers, perceptrons and attention (XLSR-MamBo).

In reading order: the mixers ``Mamba2`` and ``Hydra``, which reads in both directions;
``GatedPerceptron`` and ``Attention``; ``PreNormBlock`` and ``Stack``; and the back-end ``MamBo``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.computing.devices import at_least_float32, without_autocast
from nes2net.lib.parts.options import FeatureDim, Logits, Probability, UpTo64, UpTo1024, UpTo4096, check_divides
from nes2net.models.backends.base import Backend, LogitLayer
from nes2net.models.backends.conformer import attend_in_heads
from nes2net.models.backends.mamba import CAUSAL_KERNEL, FrameConv, Mixer, Norm, draw_delta_bias
from nes2net.models.backends.pooling import attention_pool
from nes2net.models.backends.state_space_dual import state_space_dual


class Mamba2(nn.Module):
    """The mixer of Mamba-2, B×T×E → B×T×E, causal in time.

    ``expand``·E inner channels form h heads of P = ``head_dim`` channels, each with a state P×S; S
    is ``state_dim``.
    """

    both_ways = False
    """Whether a second scan reads the frames backwards."""

    def __init__(self, embed_dim: int, state_dim: int, head_dim: int, expand: int) -> None:
        super().__init__()
        inner_dim = expand * embed_dim
        scans = 2 if self.both_ways else 1
        heads = inner_dim // head_dim
        # Sizes of the three outputs of ``in_proj``: the gate z; then x, followed by B and C of each
        # scan; then Δ of each scan.
        self.sizes = [inner_dim, inner_dim + 2 * scans * state_dim, scans * heads]
        self.state_dim = state_dim
        self.in_proj = nn.Linear(embed_dim, sum(self.sizes), bias=False)
        kernel = 7 if self.both_ways else CAUSAL_KERNEL  # frames; 7 as in Hydra's code
        self.conv1d = FrameConv(self.sizes[1], kernel, causal=not self.both_ways)
        self.dt_bias = nn.Parameter(draw_delta_bias(heads))
        log_decays = torch.zeros(heads)
        if not self.both_ways:
            log_decays = torch.empty(heads).uniform_(1, 16).log()  # as in Mamba-2's code; Hydra starts at log 1 = 0
        self.A_log = nn.Parameter(log_decays)
        self.D = nn.Parameter(torch.ones(heads))
        if self.both_ways:
            self.fc_D = nn.Linear(inner_dim, heads, bias=False)
        self.norm = Norm(inner_dim)
        self.out_proj = nn.Linear(inner_dim, embed_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        z, xBC, delta = self.in_proj(x).split(self.sizes, dim=2)
        xBC = F.silu(self.conv1d(xBC))
        with without_autocast(x.device):  # a state is a sum over hundreds of frames: half precision is too coarse
            x, B, C = at_least_float32(xBC).split([self.sizes[0], self.state_dim, self.state_dim], dim=2)
            heads = x.unflatten(2, (self.sizes[2], -1))  # B×T×h×P
            delta = F.softplus(at_least_float32(delta) + at_least_float32(self.dt_bias))
            y = state_space_dual(heads, delta, -torch.exp(at_least_float32(self.A_log)), B, C)  # B×T×h×P
            y = (y + at_least_float32(self.D)[:, None] * heads).flatten(2)
        return self.out_proj(self.norm(y * F.silu(z)))


class Hydra(Mamba2):
    """The mixer of Hydra, B×T×E → B×T×E: a scan forwards and a scan backwards in time.

    The scans' outputs are delayed by a frame; the current frame is added, each head multiplied by
    the sum of a learned number and a factor from a linear layer. Arguments as for :class:`Mamba2`.
    """

    both_ways = True

    def forward(self, x: Tensor) -> Tensor:
        z, xBC, delta = self.in_proj(x).split(self.sizes, dim=2)
        inner_dim = self.sizes[0]
        x, BC = F.silu(self.conv1d(xBC)).split([inner_dim, self.sizes[1] - inner_dim], dim=2)
        factor = self.fc_D(x)  # B×T×h
        with without_autocast(x.device):  # a state is a sum over hundreds of frames: half precision is too coarse
            heads = at_least_float32(x).unflatten(2, (factor.shape[2], -1))  # B×T×h×P

            # One call computes both scans: the second half of the batch has the frames in reverse
            # order.
            B, C, later_B, later_C = at_least_float32(BC).chunk(4, dim=2)
            delta, later_delta = at_least_float32(delta).chunk(2, dim=2)
            delta = F.softplus(_join_directions(delta, later_delta) + at_least_float32(self.dt_bias))
            y = state_space_dual(
                _join_directions(heads, heads),
                delta,
                -torch.exp(at_least_float32(self.A_log)),
                _join_directions(B, later_B),
                _join_directions(C, later_C),
            )
            delayed = F.pad(y, (0, 0, 0, 0, 1, -1))  # by one frame: ``skip`` covers the present one
            forwards, backwards = delayed.unflatten(0, (2, -1)).unbind()
            skip = at_least_float32(factor) + at_least_float32(self.D)
            y = (forwards + backwards.flip(1) + skip.unsqueeze(3) * heads).flatten(2)
        return self.out_proj(self.norm(y) * F.silu(z))


def _join_directions(forward: Tensor, backward: Tensor) -> Tensor:
    """B×T×… twice → 2B×T×…, ``backward`` reversed in time."""
    return torch.cat([forward, backward.flip(1)])


class GatedPerceptron(nn.Module):
    """Two linear layers with a SiLU gate, applied to each frame: B×T×E → B×T×E."""

    def __init__(self, embed_dim: int, dropout: float) -> None:
        super().__init__()
        hidden = 8 * embed_dim // 3  # as many weights as two layers of 4·E hidden units without a gate
        self.w1_w3_combined = nn.Linear(embed_dim, 2 * hidden, bias=False)
        self.w2_out = nn.Linear(hidden, embed_dim, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.w2_out(_gated(self.w1_w3_combined(x))))


def _gated(x: Tensor) -> Tensor:
    """…×2k → …×k: the second half times the SiLU of the first."""
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


class Attention(nn.Module):
    """Self-attention, B×T×E → B×T×E, after a causal convolution of queries, keys and values."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj = nn.Linear(embed_dim, 3 * embed_dim)
        self.conv1d = FrameConv(3 * embed_dim, CAUSAL_KERNEL, causal=True)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.out_proj(attend_in_heads(self.conv1d(self.in_proj(x)), self.num_heads))


class PreNormBlock(nn.Module):
    """A residual block, B×T×E → B×T×E: x + module(RMS norm of x).

    Args:
        kind: the name of ``module`` in published files: ``"mamba"``, ``"mlp"`` or ``"mha"``.
    """

    def __init__(self, embed_dim: int, kind: str, module: nn.Module) -> None:
        super().__init__()
        self.norm = Norm(embed_dim)
        self.kind = kind
        self.add_module(kind, module)  # part of the published names

    def forward(self, x: Tensor) -> Tensor:
        return x + getattr(self, self.kind)(self.norm(x))


class Stack(nn.Module):
    """Blocks and an RMS norm, B×T×E → B×T×E. The sum of all residuals is at least float32."""

    def __init__(self, blocks: list[PreNormBlock], embed_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)
        self.norm = Norm(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = at_least_float32(x)  # each block adds to it in this precision
        for block in self.layers:
            x = block(x)
        return self.norm(x)


class Projection(nn.Module):
    """A linear layer, an RMS norm and SiLU, for each frame: B×T×D → B×T×E."""

    def __init__(self, feature_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.input_proj = nn.Linear(feature_dim, embed_dim, bias=False)
        self.norm = Norm(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.input_proj(x)))


class GatedPooling(nn.Module):
    """Mean of frames weighted by a softmax over time of a gated perceptron: B×T×E → B×E."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        hidden = 8 * embed_dim // 3
        self.gate_value_proj = nn.Linear(embed_dim, 2 * hidden, bias=False)
        self.to_score = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return attention_pool(x, self.to_score(_gated(self.gate_value_proj(x))))


class MamBo(Backend):
    """MamBo: groups of state-space mixers, perceptrons and attention (XLSR-MamBo).

    Features B×T×``feature_dim`` → logits B×``num_logits``. Each of ``num_layers`` groups has, with
    N = ``num_mixers``:

    - ``mambo_1``: N mixers and a perceptron;
    - ``mambo_2``: N mixers and attention;
    - ``mambo_3``: N mixers, a perceptron, attention and a perceptron;
    - ``mambo_4``: N mixers, a perceptron, N mixers and attention.

    The published systems read 66,800 samples and score by the difference of the logits, in bfloat16
    autocast and batches of 64, which are normalised together (``normalize="batch"`` of the
    front-end). Their configuration states a head dimension of 32, which the code does not pass on:
    it uses 64.

    The published mixers ``GDN`` (Gated DeltaNet) and ``Bi_add`` (Mamba in both directions) are
    missing here. Assumptions: the defaults of topology, mixer, number of groups and of mixers.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        embed_dim: E, channels of a frame.
        topology: blocks of a group, see above.
        mixer: ``"hydra"``, ``"mamba2"`` or ``"mamba"``. ``"mamba"`` always has a state of size 16
            and 2·E inner channels.
        num_layers: number of groups.
        num_mixers: N, number of mixers in a row.
        state_dim: S, size of the state of a channel in ``hydra`` and ``mamba2``.
        head_dim: channels of a head of ``hydra`` and ``mamba2``; must divide ``expand``·E.
        expand: ``hydra`` and ``mamba2`` have ``expand``·E inner channels.
        num_heads: number of heads of the attention; must divide E.
        dropout: dropout after perceptrons and the pooling.
        num_logits: n.

    Raises:
        InputError: if ``num_heads`` does not divide E, or if ``head_dim`` does not divide
            ``expand``·E.

    >>> MamBo(embed_dim=32, num_layers=1)(torch.randn(2, 50, 1024)).shape
    torch.Size([2, 2])
    """

    source = (
        "Ng et al., Findings of ACL 2026 (arXiv 2601.02944). The mixers come from Mamba, Mamba-2 (T. Dao, A. "
        "Gu, ICML 2024, arXiv 2405.21060) and Hydra (S. Hwang et al., NeurIPS 2024, arXiv 2407.09941)."
    )
    last_layer_name = "classifier"
    score_rule = "difference"

    def __init__(
        self,
        *,
        feature_dim: FeatureDim = 1024,
        embed_dim: UpTo4096 = 128,
        topology: Literal["mambo_1", "mambo_2", "mambo_3", "mambo_4"] = "mambo_3",
        mixer: Literal["hydra", "mamba2", "mamba"] = "hydra",
        num_layers: UpTo64 = 5,
        num_mixers: UpTo64 = 3,
        state_dim: UpTo1024 = 64,
        head_dim: UpTo4096 = 64,
        expand: Annotated[int, Field(ge=1, le=16)] = 2,
        num_heads: UpTo64 = 4,
        dropout: Probability = 0.1,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim)
        check_divides("num_heads", num_heads, "embed_dim", embed_dim)
        if mixer != "mamba":
            check_divides("head_dim", head_dim, "expand · embed_dim", expand * embed_dim)

        # Published files call a mixer of any kind "mamba".
        mamba2 = Hydra if mixer == "hydra" else Mamba2
        mixers = ["mamba"] * num_mixers
        mlp = ["mlp"]
        mha = ["mha"]
        group = {
            "mambo_1": mixers + mlp,
            "mambo_2": mixers + mha,
            "mambo_3": mixers + mlp + mha + mlp,
            "mambo_4": mixers + mlp + mixers + mha,
        }[topology]
        # Kind of a block → function that makes the module of the block.
        create: dict[str, Callable[[], nn.Module]] = {
            "mamba": lambda: mamba2(embed_dim, state_dim, head_dim, expand),
            "mlp": lambda: GatedPerceptron(embed_dim, dropout),
            "mha": lambda: Attention(embed_dim, num_heads),
        }
        if mixer == "mamba":
            create["mamba"] = lambda: Mixer(embed_dim)
        self.input_proj = Projection(feature_dim, embed_dim)
        blocks = [PreNormBlock(embed_dim, kind, create[kind]()) for kind in group * num_layers]
        # In published files, the stack is named stacked_mamba2 for every kind of mixer.
        self.stacked_mamba2 = nn.ModuleDict({"layers": Stack(blocks, embed_dim)})
        self.attention_pool = GatedPooling(embed_dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = LogitLayer(embed_dim, num_logits)

    def embed(self, features: Tensor) -> Tensor:
        self.check_features(features)
        return self.dropout(self.attention_pool(self.stacked_mamba2["layers"](self.input_proj(features))))  # B×E
