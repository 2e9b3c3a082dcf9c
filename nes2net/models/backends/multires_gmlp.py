"""Multi-resolution gMLP (PartialSpoof)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import Probability, Takes, UpTo64, at_most_states, multiple_of
from nes2net.models.aggregations.base import gated_sum
from nes2net.models.backends.base import Backend, HiddenStates, SegmentLogits
from nes2net.models.backends.heads import P2SGradHead

Resolution = Literal[20, 40, 80, 160, 320, 640]
#: Lengths in ms of the segments of the six scales, for frames of 20 ms.
RESOLUTIONS: tuple[Resolution, ...] = (20, 40, 80, 160, 320, 640)
_STATE_WEIGHTS = 30  # published files have 30 weights for hidden states, although there are only 25 states
_MAX_SEGMENT_FRAMES = 2 ** (len(RESOLUTIONS) - 1)  # number of frames in a segment of the last scale: 32


class SpatialGating(nn.Module):
    """Multiplies half of the channels by gates, which are weighted sums of all frames of the other half.

    B×T×2C → B×T×C. Row t of ``weight``, ``max_frames``×``max_frames``, weighs all frames for the
    gate of frame t. Before training, gates are near 1.
    """

    def __init__(self, channels: int, max_frames: int) -> None:
        super().__init__()
        # The gates are near 1 at first (gMLP, Sec. 2.1).
        self.weight = nn.Parameter(torch.empty(max_frames, max_frames).uniform_(-0.01, 0.01))
        self.bias = nn.Parameter(torch.ones(max_frames))
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply half of the channels of ``x`` B×T×2C by the gates; T ≤ ``max_frames``."""
        frames = x.shape[1]
        value, gate = x.chunk(2, dim=2)
        return value * (self.weight[:frames, :frames] @ self.norm(gate) + self.bias[:frames, None])


class GmlpBlock(nn.Module):
    """A residual gMLP block, B×T×d → B×T×d."""

    def __init__(self, dim: int, max_frames: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.proj1 = nn.Linear(dim, dim // 2)
        self.sgu = SpatialGating(dim // 4, max_frames)
        self.proj2 = nn.Linear(dim // 4, dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj2(self.sgu(F.gelu(self.proj1(self.norm(x)))))


class GmlpNet(nn.Module):
    """gMLP blocks and a linear layer: B×T×d → embeddings B×T×d/2."""

    def __init__(self, dim: int, num_blocks: int, max_frames: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(GmlpBlock(dim, max_frames) for _ in range(num_blocks)))
        self.fc = nn.Linear(dim, dim // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(x))

    def embed_utterances(self, x: Tensor) -> Tensor:
        """Compute embeddings B×d/2 of utterances ``x`` B×T×d: the mean over time, then the linear layer."""
        return self.fc(self.layers(x).mean(dim=1))


class Halving(nn.Module):
    """Take the maximum over pairs of frames and of channels, B×T×d → B×⌊T/2⌋×d/2.

    With ``padding``, a frame of −∞ is added at both ends: B×(⌊T/2⌋ + 1)×d/2.
    """

    def __init__(self, padding: bool) -> None:
        super().__init__()
        self.padding = int(padding), 0  # frames before, after

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x.unsqueeze(1), 2, padding=self.padding).squeeze(1)


class Scales(nn.Module):
    """The layers that halve the features from scale to scale, and a gMLP network for each scale and the utterance.

    Args:
        dims: channels d_i of each scale.
    """

    def __init__(self, dims: Sequence[int], gmlp_layers: int, max_frames: int, dropout: float) -> None:
        super().__init__()
        last = len(dims) - 1
        self.blocks = nn.ModuleList([nn.Identity()])  # scale 0 reads the unchanged features

        # As in the published code, only the last halving pads. The published weights were trained with this padding.
        for i in range(1, last + 1):
            self.blocks.append(nn.Sequential(Halving(padding=i == last), nn.Linear(dims[i], dims[i])))
        self.post_nets_seg = nn.ModuleDict(
            {f"disc_{i}": GmlpNet(dim, gmlp_layers, max_frames // 2**i) for i, dim in enumerate(dims)}
        )
        self.post_nets_utt = GmlpNet(dims[last], gmlp_layers, max_frames // 2**last)
        self.dropout = nn.Dropout(dropout)

    def scale_inputs(self, features: Tensor) -> list[Tensor]:
        """Compute the inputs of all scales, B×T_i×d_i each, from ``features`` B×T×D."""
        scale_inputs = [features]
        for block in list(self.blocks)[1:]:
            scale_inputs.append(block(scale_inputs[-1]))
        return scale_inputs

    def embed_utterances(self, scale_inputs: Sequence[Tensor]) -> Tensor:
        """Compute embeddings B×d/2 of utterances from the last of ``scale_inputs``, B×T×d."""
        return self.post_nets_utt.embed_utterances(self.dropout(scale_inputs[-1]))


class MultiresGmlp(Backend):
    """Multi-resolution gMLP, which scores segments of 20 to 640 ms and the utterance by cosines (PartialSpoof).

    Hidden states, L tensors B×T×``feature_dim`` → cosines B×2, and :meth:`segments` B×T_i×2 of six
    scales. Scale i scores segments of 2^i frames, with d_i = ``feature_dim``/2^i channels: its
    input is that of scale i − 1, halved by maxima over pairs of frames and of channels. Each scale
    has its own gMLP blocks and two class vectors. The utterance has its own blocks, after the last
    scale's input, and the last scale's class vectors. Train on labels of segments, with or without
    those of utterances; for a single resolution, other scales stay untrained.

    The published system fine-tunes wav2vec 2.0 Large and weighs its 25 hidden states by a softmax
    of learned numbers. In its code, and here, because the weights were trained so, the halving
    before the last scale begins one frame too early: segment j of 640 ms consists of segments 2j −
    1 and 2j of 320 ms, and begins 320 ms before the stretch of its label.

    As published, the gates also read the zeros that pad a training batch, which changes the scores
    of shorter utterances. Scoring never pads.

    Args:
        feature_dim: D, the front-end's ``out_dim``.
        num_layers: L, number of hidden states that are read, starting with the first.
        gmlp_layers: number of gMLP blocks of each scale.
        max_frames: M; the gates of scale i have weights for M // 2^i frames. Utterances may have
            32·(M // 32) − 1 frames at most, because the last halving adds a frame.
        resolutions: lengths in ms of the segments that are scored, for frames of 20 ms.
        dropout: probability of dropout at the input of the utterance's blocks.
        num_logits: n, always 2.

    >>> backend = MultiresGmlp(feature_dim=128, num_layers=2, gmlp_layers=1, max_frames=64)
    >>> states = [torch.randn(2, 40, 128)] * 2
    >>> {ms: cosines.shape[1] for ms, cosines in backend.segments(states).items()}
    {20.0: 40, 40.0: 20, 80.0: 10, 160.0: 5, 320.0: 2, 640.0: 2}
    >>> backend(states).shape
    torch.Size([2, 2])
    """

    source = (
        'L. Zhang, X. Wang, E. Cooper, N. Evans, J. Yamagishi, "The PartialSpoof database and countermeasures '
        'for the detection of short fake speech segments embedded in an utterance", IEEE/ACM TASLP 31, 2023 '
        '(arXiv 2204.05177); H. Liu, Z. Dai, D. R. So, Q. V. Le, "Pay attention to MLPs", NeurIPS 2021.'
    )
    wants_layers = "all"
    score_rule = "cosine"
    last_layer_name = f"m_angle_scales.{2 * _MAX_SEGMENT_FRAMES}"
    min_frames = _MAX_SEGMENT_FRAMES // 2
    made_for_segments = True
    untrained = r"m_transform\..*\.post_nets_seg\..*|m_angle_scales\.(2|4|8|16|32)\..*"  # the logits of segments

    def __init__(
        self,
        *,
        feature_dim: Annotated[
            int,
            Field(ge=128, le=65_536, multiple_of=128),
            Takes("a multiple of 128 up to 65536"),
            multiple_of(lambda _: 128, usual=128),
        ] = 1024,
        num_layers: Annotated[int, Field(ge=1, le=_STATE_WEIGHTS), at_most_states()] = 25,
        gmlp_layers: UpTo64 = 5,
        max_frames: Annotated[int, Field(ge=_MAX_SEGMENT_FRAMES, le=65_536)] = 2001,
        resolutions: Annotated[
            Sequence[Resolution],
            Field(min_length=1, max_length=len(RESOLUTIONS)),
            Takes(f"a list of some of {', '.join(map(str, RESOLUTIONS))}"),
        ] = RESOLUTIONS,
        dropout: Probability = 0.7,
        num_logits: Annotated[int, Field(ge=2, le=2), Takes("2, the cosines of spoof and bona fide")] = 2,
    ) -> None:
        super().__init__(feature_dim)
        self.num_states = num_layers
        self.max_frames = _MAX_SEGMENT_FRAMES * (max_frames // _MAX_SEGMENT_FRAMES) - 1
        self.resolutions = tuple(
            sorted({resolution // RESOLUTIONS[0] for resolution in resolutions})
        )  # in frames of 20 ms
        dims = [feature_dim // 2**i for i in range(len(RESOLUTIONS))]
        self.weight_hidd = nn.Parameter(torch.zeros(_STATE_WEIGHTS))
        # In the published code, this list has an item for each of several front-ends. Here there is one front-end.
        self.m_transform = nn.ModuleList([Scales(dims, gmlp_layers, max_frames, dropout)])
        # The keys of this dictionary are lengths of segments in units of 10 ms.
        self.m_angle_scales = nn.ModuleDict(
            {str(2 * 2**i): P2SGradHead(dim // 2, num_logits) for i, dim in enumerate(dims)}
        )

    def layer_weights(self, hidden_states: HiddenStates) -> Tensor:
        weights = F.pad(self._state_weights(), (0, len(hidden_states) - self.num_states))  # 0 for unread states
        return weights.expand(len(hidden_states[0]), -1)  # B×(number of states)

    def embed(self, hidden_states: HiddenStates) -> Tensor:
        """Compute embeddings B×E of utterances from L ``hidden_states`` B×T×D; E = ``feature_dim``/64."""
        return self._scales.embed_utterances(self._scale_inputs(hidden_states))

    def segments(self, hidden_states: HiddenStates, frame_ms: float = 20.0) -> SegmentLogits:
        """Compute the cosines of segments of all ``resolutions``: length of a segment in ms → cosines B×T_i×2."""
        return self.segments_and_embedding(hidden_states, frame_ms)[0]

    def segments_and_embedding(
        self, hidden_states: HiddenStates, frame_ms: float = 20.0
    ) -> tuple[SegmentLogits, Tensor]:
        scale_inputs = self._scale_inputs(hidden_states)
        cosines = {}
        for i, (net, head) in enumerate(zip(self._scales.post_nets_seg.values(), self.m_angle_scales.values())):
            if 2**i in self.resolutions:
                embeddings = net(scale_inputs[i])  # B×T_i×d_i/2
                cosines[2**i * frame_ms] = head(embeddings.flatten(0, 1)).unflatten(0, embeddings.shape[:2])  # B×T_i×2
        return cosines, self._scales.embed_utterances(scale_inputs)

    def num_segments(self, num_frames: int) -> tuple[int, ...]:
        """Count segments as the base class does; the last scale has one more, because its input is padded."""
        counts = zip(self.resolutions, super().num_segments(num_frames))
        return tuple(count + (factor == _MAX_SEGMENT_FRAMES) for factor, count in counts)

    def replace_last_layer(self, layer: nn.Module) -> None:
        """Replace the class vectors that the last scale and the utterance share.

        Raises:
            InputError: if ``layer`` is not the head p2sgrad.
        """
        if not isinstance(layer, P2SGradHead):
            raise InputError(
                f"back-end 'multires_gmlp' only works with head=p2sgrad, not with a {type(layer).__name__}: remove "
                "`model.backend.head`"
            )
        super().replace_last_layer(layer)

    @property
    def _scales(self) -> Scales:
        scales = self.m_transform[0]
        assert isinstance(scales, Scales)  # mypy knows only that an item of a ModuleList is a Module
        return scales

    def _scale_inputs(self, hidden_states: HiddenStates) -> list[Tensor]:
        self.check_hidden_states(hidden_states)
        return self._scales.scale_inputs(gated_sum(hidden_states[: self.num_states], self._state_weights().unbind()))

    def _state_weights(self) -> Tensor:
        return torch.softmax(self.weight_hidd[: self.num_states], dim=0)
