"""The references of the benchmarks: plain transcriptions of the published computations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nes2net import Detector, InputError, create_frontend
from nes2net.models.frontends.base import Frontend

FEATURE_DIM = 1024


class PublishedBlock(nn.Module):
    """The inner block of Nes2Net-X, B×C×T → B×C×T; it concatenates its columns on a last axis, B×C×T×N."""

    def __init__(self, channels: int, scale: int, dilation: int, activation: nn.Module, se_channels: int) -> None:
        super().__init__()
        self.scale = scale
        width = channels // scale
        self.conv1 = nn.Conv1d(channels, channels, 1)
        self.bn1 = nn.BatchNorm1d(channels)
        self.weighted_sum = nn.ParameterList(torch.full((1, 1, 1, i + 2), 1 / (i + 2)) for i in range(scale - 1))
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, (3, 1), padding=(dilation, 0), dilation=(dilation, 1)) for _ in range(scale - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(scale - 1))
        self.conv3 = nn.Conv1d(channels, channels, 1)
        self.bn3 = nn.BatchNorm1d(channels)
        self.se: Any = nn.Module()
        self.se.se = nn.Sequential(
            nn.AdaptiveAvgPool1d(1), nn.Conv1d(channels, se_channels, 1), nn.ReLU(),
            nn.Conv1d(se_channels, channels, 1), nn.Sigmoid(),
        )  # fmt: skip
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Compute the block: columns one after the other, then squeeze-excitation, B×C×T → B×C×T."""
        groups = self.bn1(self.activation(self.conv1(x))).chunk(self.scale, dim=1)
        outputs = []
        columns = groups[-1].unsqueeze(3)
        for group, conv, bn, weight in zip(groups, self.convs, self.bns, self.weighted_sum):
            columns = torch.cat([columns, group.unsqueeze(3)], dim=3)
            columns = bn(self.activation(conv(columns)))
            outputs.append((columns * weight).sum(dim=3))
        y = self.bn3(self.activation(self.conv3(torch.cat([*outputs, groups[-1]], dim=1))))
        return y * self.se.se(y) + x


class PublishedNes2NetX(nn.Module):
    """Nes2Net-X, B×T×D → B×2, with 8 groups, scale 8, dilation 2 and mean pooling."""

    def __init__(self) -> None:
        super().__init__()
        channels = FEATURE_DIM // 8
        self.activation = nn.ReLU(inplace=True)
        self.Build_in_Res2Nets = nn.ModuleList(
            PublishedBlock(channels, 8, 2, self.activation, channels) for _ in range(7)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(channels) for _ in range(7))
        self.bn = nn.BatchNorm1d(FEATURE_DIM)
        self.fc = nn.Linear(FEATURE_DIM, 2)

    def forward(self, features: Tensor) -> Tensor:
        """Logits B×2 of features B×T×D."""
        groups = features.transpose(1, 2).chunk(8, dim=1)
        outputs: list[Tensor] = []
        for group, block, bn in zip(groups, self.Build_in_Res2Nets, self.bns):
            x = group + outputs[-1] if outputs else group
            outputs.append(bn(self.activation(block(x))))
        y = self.activation(self.bn(torch.cat([*outputs, groups[-1]], dim=1)))
        return self.fc(y.mean(dim=2))


class TransposedNorm(nn.Sequential):
    """Layer normalisation over the channels of B×C×T."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise B×C×T over C."""
        return self[1](x.transpose(-2, -1)).transpose(-2, -1)


class PositionalConvolution(nn.Module):
    """Grouped convolution over time, B×D×T → B×D×T; the weight is normalised over all axes except the kernel."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.padding = kernel // 2
        self.weight_g = nn.Parameter(torch.ones(1, 1, kernel))
        self.weight_v = nn.Parameter(torch.randn(dim, dim // groups, kernel))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve B×D×T over time; the length stays."""
        weight = self.weight_v * (self.weight_g / self.weight_v.norm(dim=(0, 1), keepdim=True))
        return F.gelu(F.conv1d(x, weight, self.bias, padding=self.padding, groups=self.groups)[..., : x.shape[-1]])


class PublishedLayer(nn.Module):
    """Transformer layer with layer norms first, T×B×D → T×B×D."""

    def __init__(self, dim: int, hidden_dim: int, heads: int) -> None:
        super().__init__()
        self.dim = dim
        self.heads = heads
        self.self_attn: Any = nn.ModuleDict({f"{name}_proj": nn.Linear(dim, dim) for name in ("q", "k", "v", "out")})
        self.self_attn_layer_norm = nn.LayerNorm(dim)
        self.final_layer_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """Compute T×B×D → T×B×D; ``padding`` B×T is True at padded frames, or None."""
        q, k, v, out = self.self_attn.values()
        y = self.self_attn_layer_norm(x)
        y, _ = F.multi_head_attention_forward(
            y, y, y, self.dim, self.heads, torch.empty([0]), torch.cat([q.bias, k.bias, v.bias]), None, None, False, 0.0,
            out.weight, out.bias, training=False, key_padding_mask=padding, need_weights=False,
            use_separate_proj_weight=True, q_proj_weight=q.weight, k_proj_weight=k.weight, v_proj_weight=v.weight,
        )  # fmt: skip
        x = x + y
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class PublishedWav2Vec2(nn.Module):
    """fairseq's wav2vec 2.0 in eval mode with fairseq's names, B×N → list of one B×T×D.

    It has layer norms in the feature extractor, and layer norms first in the transformer layers, as
    XLS-R.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        dim = options["encoder_embed_dim"]
        blocks = []
        channels = 1
        for out, kernel, stride in options["conv_feature_layers"]:
            norm = TransposedNorm(nn.Identity(), nn.LayerNorm(out), nn.Identity())
            blocks.append(nn.Sequential(nn.Conv1d(channels, out, kernel, stride), nn.Dropout(0.0), norm, nn.GELU()))
            channels = out
        self.feature_extractor = nn.ModuleDict({"conv_layers": nn.Sequential(*blocks)})
        self.layer_norm = nn.LayerNorm(channels)
        self.post_extract_proj = nn.Linear(channels, dim)
        hidden_dim = options["encoder_ffn_embed_dim"]
        heads = options["encoder_attention_heads"]
        self.encoder: Any = nn.ModuleDict(
            {
                "pos_conv": nn.Sequential(PositionalConvolution(dim, options["conv_pos"], options["conv_pos_groups"])),
                "layers": nn.ModuleList(
                    PublishedLayer(dim, hidden_dim, heads) for _ in range(options["encoder_layers"])
                ),
                "layer_norm": nn.LayerNorm(dim),
            }
        )

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Hidden states of the last layer, B×T×D, of a waveform B×N."""
        x = self.feature_extractor["conv_layers"](waveform[:, None]).transpose(1, 2)
        x = self.post_extract_proj(self.layer_norm(x))
        x = x + self.encoder["pos_conv"](x.transpose(1, 2)).transpose(1, 2)
        frames = x.shape[1]
        padding = None
        if frames % 2:  # fairseq pads to an even number of frames
            x = F.pad(x, (0, 0, 0, 1))
            padding = x.new_zeros(x.shape[:2], dtype=torch.bool)
            padding[:, -1] = True
        x = x.transpose(0, 1)
        for layer in self.encoder["layers"]:
            x = layer(x, padding)
        return [self.encoder["layer_norm"](x.transpose(0, 1)[:, :frames])]


def fairseq_model(frontend: Frontend) -> tuple[str, nn.Module]:
    """Build fairseq's module, or :class:`PublishedWav2Vec2` if fairseq is missing, on the weights of ``frontend``.

    Returns:
        ``"fairseq"`` or ``"transcription"``, and the module.
    """
    options = {k: v for k, v in frontend.config.items() if k != "name"}
    weights = frontend.state_dict()
    original: nn.Module
    try:
        original = create_frontend("wav2vec2", engine="fairseq", **options)
        original.load_state_dict(weights, assign=True)
        return "fairseq", original
    except InputError:
        with torch.device("meta"):
            original = PublishedWav2Vec2(options)
        original.load_state_dict({name: weights[f"model.{name}"] for name in original.state_dict()}, assign=True)
        return "transcription", original


class PublishedDetector(nn.Module):
    """The published computation on the weights of ``detector``, B×N → B×2.

    ``source`` says whose front-end it is, ``"fairseq"`` or ``"transcription"``.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.source, self.frontend = fairseq_model(detector.frontend)
        self.backend = PublishedNes2NetX()
        self.backend.load_state_dict(detector.backend.state_dict(), assign=True)

    def forward(self, waveform: Tensor) -> Tensor:
        """Logits B×2 of waveforms B×N."""
        return self.backend(self.frontend(waveform)[-1])


class PublishedTraining:
    """The training step of the published program: float32, weighted cross-entropy, Adam.

    Args:
        model: waveforms B×N to logits B×2.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-6, weight_decay=1e-4)
        parameter = next(model.parameters())
        self.weights = torch.tensor([0.1, 0.9], device=parameter.device, dtype=parameter.dtype)

    def loss(self, waveforms: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch, a scalar."""
        return F.cross_entropy(self.model(waveforms), targets, self.weights)

    def step(self, waveforms: Tensor, targets: Tensor) -> float:
        """Change the weights, and read the loss, as the published program does to print it."""
        loss = self.loss(waveforms, targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()
