"""Conformer and TCM: a class token reads the utterance through conformer blocks.

TCM adds a token for each head to the self-attention, which summarises the head's channels over the
utterance.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.parts.options import FeatureDim, Logits, Preset, Probability, UpTo64, UpTo1000, UpTo4096, check_divides
from nes2net.models.backends.base import LogitLayer, ProjectedBackend

MAX_FRAMES = 10_000  # number of positions in the published table


def position_table(num_frames: int, embed_dim: int) -> Tensor:
    """Make sinusoidal positions 1×``num_frames``×``embed_dim``: sines in even channels, cosines in odd.

    Vaswani et al. (2017), Sec. 3.5. As published, angles are computed in float64 and rounded to
    float32, which changes the angle at position 10,000 by 5e-4; sine and cosine are float32.

    >>> position_table(3, 4)[0, :, 0]
    tensor([0.0000, 0.8415, 0.9093])
    """
    exponent = 2 * torch.div(torch.arange(embed_dim), 2, rounding_mode="floor").double() / embed_dim
    angle = (torch.arange(num_frames).double()[:, None] / 10_000**exponent).float()
    table = torch.empty_like(angle)
    table[:, 0::2] = angle[:, 0::2].sin()
    table[:, 1::2] = angle[:, 1::2].cos()
    return table.unsqueeze(0)


class FeedForward(nn.Module):
    """Two linear layers applied to each token, B×N×E → B×N×E."""

    def __init__(self, embed_dim: int, dropout: float) -> None:
        super().__init__()
        hidden = 4 * embed_dim
        self.net = nn.Sequential(
            nn.Linear(embed_dim, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, embed_dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def attend_in_heads(query_key_value: Tensor, num_heads: int) -> Tensor:
    """Compute scaled dot-product attention of ``num_heads`` heads, B×N×3E → B×N×E."""
    heads = query_key_value.unflatten(2, (3, num_heads, -1)).transpose(1, 3)  # B×h×3×N×d, h·d = E
    attended = F.scaled_dot_product_attention(*heads.unbind(dim=2))  # B×h×N×d
    return attended.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head self-attention over all tokens, B×N×E → B×N×E."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim, bias=False)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(attend_in_heads(self.qkv(x), self.num_heads))


class HeadTokenAttention(SelfAttention):
    """Self-attention with temporal-channel modelling (Truong et al. 2024, Sec. 3), B×N×E → B×N×E.

    One more token for each head (Lu et al., "DHVT", NeurIPS 2022). The means of the frames and of
    the head tokens are added to the class token, and the head tokens are removed.
    """

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__(embed_dim, num_heads)
        head_dim = embed_dim // num_heads
        self.ht_proj = nn.Linear(head_dim, embed_dim)
        self.ht_norm = nn.LayerNorm(head_dim)
        self.pos_embed = nn.Parameter(torch.zeros(1, num_heads, embed_dim))

    def forward(self, x: Tensor) -> Tensor:
        # A head token is computed from the means of the head's channels over all tokens.
        means = x.mean(dim=1).unflatten(1, (self.num_heads, -1))  # B×h×d
        tokens = self.ht_proj(means).unflatten(2, (self.num_heads, -1))  # B×h×h×d
        head_tokens = F.gelu(self.ht_norm(tokens)).flatten(2) + self.pos_embed  # B×h×E
        y = super().forward(torch.cat([x, head_tokens], dim=1))  # B×(N + h)×E
        frames = y[:, 1 : -self.num_heads]  # B×(N − 1)×E, without class token
        heads = y[:, -self.num_heads :]  # B×h×E
        class_token = y[:, :1] + frames.mean(dim=1, keepdim=True) + heads.mean(dim=1, keepdim=True)
        return torch.cat([class_token, frames], dim=1)


class DepthwiseConv(nn.Module):
    """A convolution per channel that keeps the length, B×C×N → B×C×N.

    An even kernel reads one token more before the current one than after it.
    """

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.padding = (kernel_size // 2, (kernel_size - 1) // 2)
        self.conv = nn.Conv1d(channels, channels, kernel_size, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.padding))


class Transpose(nn.Module):
    """Swap tokens and channels, B×N×C ↔ B×C×N, as a module that published names count."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class Convolution(nn.Module):
    """The convolution module of Gulati et al., "Conformer", Interspeech 2020, Fig. 2.

    B×N×E → B×N×E.
    """

    def __init__(self, embed_dim: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        channels = 2 * embed_dim
        self.net = nn.Sequential(
            nn.LayerNorm(embed_dim),
            Transpose(),
            nn.Conv1d(embed_dim, 2 * channels, 1),
            nn.GLU(dim=1),
            DepthwiseConv(channels, kernel_size),
            nn.BatchNorm1d(channels),
            nn.SiLU(),
            nn.Conv1d(channels, embed_dim, 1),
            Transpose(),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class PreNorm(nn.Module):
    """Apply ``fn`` after a layer norm, B×N×E → B×N×E."""

    def __init__(self, embed_dim: int, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn
        self.norm = nn.LayerNorm(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class Half(nn.Module):
    """Halve the output of ``fn``, B×N×E → B×N×E: a half-step feed-forward layer (Gulati et al., eq. 1)."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.fn(x)


class ConformerBlock(nn.Module):
    """Feed-forward, attention, convolution and feed-forward, each with a skip connection; then a layer norm.

    B×N×E → B×N×E.
    """

    def __init__(self, embed_dim: int, attention: nn.Module, kernel_size: int, dropout: float) -> None:
        super().__init__()
        # Published checkpoints have these names.
        self.ff1 = Half(PreNorm(embed_dim, FeedForward(embed_dim, dropout)))
        self.attn = PreNorm(embed_dim, attention)
        self.conv = Convolution(embed_dim, kernel_size, dropout)
        self.ff2 = Half(PreNorm(embed_dim, FeedForward(embed_dim, dropout)))
        self.post_norm = nn.LayerNorm(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        for module in (self.ff1, self.attn, self.conv, self.ff2):  # each B×T×E → B×T×E
            x = x + module(x)
        return self.post_norm(x)


class Encoder(nn.Module):
    """Add positions to frames, put a class token before them, and apply the blocks: B×T×E → B×E, T ≤ ``MAX_FRAMES``.

    The module also contains the last layer, ``fc5``.
    """

    def __init__(
        self,
        attention: type[SelfAttention],
        embed_dim: int,
        num_blocks: int,
        num_heads: int,
        kernel_size: int,
        dropout: float,
        num_logits: int,
    ) -> None:
        super().__init__()
        # The positions are a parameter, as in the published checkpoints, but they are never trained.
        self.positional_emb = nn.Parameter(position_table(MAX_FRAMES, embed_dim), requires_grad=False)
        self.encoder_blocks = nn.ModuleList(
            ConformerBlock(embed_dim, attention(embed_dim, num_heads), kernel_size, dropout) for _ in range(num_blocks)
        )
        self.class_token = nn.Parameter(torch.rand(1, embed_dim))
        self.fc5 = LogitLayer(embed_dim, num_logits)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.positional_emb[:, : x.shape[1]]
        x = torch.cat([self.class_token.expand(x.shape[0], 1, -1), x], dim=1)  # B×(T + 1)×E
        for block in self.encoder_blocks:
            x = block(x)
        return x[:, 0]  # B×E, the class token


class Conformer(ProjectedBackend):
    """Conformer and TCM: a class token reads the utterance through conformer blocks.

    Features B×T×``feature_dim`` → logits B×``num_logits``, T at most 10,000 frames (200 s).
    :data:`conformer` and :data:`tcm` are the published variants.

    Args:
        attention: class of the self-attention of each block.
        feature_dim: D, the front-end's ``out_dim``.
        embed_dim: E, channels of a token, a multiple of ``num_heads``.
        num_blocks: number of conformer blocks.
        num_heads: h, number of heads of the self-attention.
        kernel_size: kernel of the depthwise convolution, in frames.
        dropout: dropout in the feed-forward layers and after the convolution, 0 in the published
            code.
        num_logits: n.

    Raises:
        InputError: if ``num_heads`` does not divide ``embed_dim``.

    >>> conformer(embed_dim=16, num_blocks=1)(torch.randn(2, 50, 1024)).shape
    torch.Size([2, 2])
    >>> sum(p.numel() for p in tcm().parameters() if p.requires_grad)
    2382628
    """

    source = (
        'Conformer: E. Rosello, A. Gomez-Alanis, A. M. Gomez, A. Peinado, "A conformer-based classifier for '
        'variable-length utterance processing in anti-spoofing", Interspeech 2023. TCM: D.-T. Truong, R. Tao, '
        'T. Nguyen, H.-T. Luong, K. A. Lee, E. S. Chng, "Temporal-channel modeling in multi-head '
        'self-attention for synthetic speech detection", Interspeech 2024.'
    )
    max_frames = MAX_FRAMES
    last_layer_name = "conformer.fc5"

    def __init__(
        self,
        attention: type[SelfAttention],
        *,
        feature_dim: FeatureDim = 1024,
        embed_dim: UpTo4096 = 144,
        num_blocks: Annotated[int, Field(ge=1, le=128)] = 4,
        num_heads: UpTo64 = 4,
        kernel_size: UpTo1000 = 31,
        dropout: Probability = 0.0,
        num_logits: Logits = 2,
    ) -> None:
        super().__init__(feature_dim, embed_dim)
        check_divides("num_heads", num_heads, "embed_dim", embed_dim)
        self.conformer = Encoder(attention, embed_dim, num_blocks, num_heads, kernel_size, dropout, num_logits)


tcm = Preset(
    Conformer,
    HeadTokenAttention,
    summary="TCM: a conformer with temporal-channel modelling, a token for each head of the self-attention.",
)
conformer = Preset(
    Conformer,
    SelfAttention,
    summary="Conformer: a class token reads the utterance through conformer blocks.",
)
"""The plain conformer: :data:`tcm` without head tokens.

Assumption: it has the fixed sinusoidal positions of TCM. The code of Rosello et al. learns relative
positions and has other parameter names, so its checkpoints do not load here.
"""
