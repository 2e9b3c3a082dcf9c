"""Whisper front-ends on the transformers library: the encoder of Whisper, without the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.lib.parts.options import OFF, Options, Probability, Size, Takes
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.mel_encoders import FRAMES_PER_SECOND, WHISPER
from nes2net.models.checkpoints.model_types import from_transformers
from nes2net.models.frontends.base import UsedSamples
from nes2net.models.frontends.log_mel import HOP, whisper_log_mel
from nes2net.models.frontends.mel_encoder import MelEncoder
from nes2net.models.frontends.ssl import EncoderLayers, Heads

Seconds = Annotated[int, Field(ge=1, le=30)]


class WhisperFrontend(MelEncoder):
    """Waveform B×N → hidden states B×T×D of Whisper's encoder.

    As published, the waveform is padded with zeros to 30 s, which the attention reads; longer
    waveforms are cut. Assumption: only the T = N // 320 frames of the waveform itself are returned,
    up to 1500 (480,000 samples); Whisper returns all.

    The defaults are Whisper Base's, with every dropout 0.

    Args:
        checkpoint: a Hugging Face folder or a file of OpenAI. Only the encoder is read. Its
            configuration replaces all options except stated probabilities. None for random weights.
        num_mel_bins: number of bins of the log-mel spectrogram: 80, or 128 in large-v3.
        chunk_length: length in seconds to which waveforms are padded or cut.
        encoder_layers: number of transformer layers, L − 1.
        encoder_embed_dim: size of a hidden state, D; even.
        encoder_ffn_embed_dim: hidden size of the feed-forward networks.
        encoder_attention_heads: number of heads of the self-attention.
        dropout: probability of dropout at a layer's output. All probabilities apply in training
            only.
        attention_dropout: probability of dropout of attention weights.
        activation_dropout: probability of dropout inside a feed-forward network.
        encoder_layerdrop: probability of skipping a layer.

    Raises:
        InputError: if options do not fit each other, or the checkpoint cannot be used.

    >>> small = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4}
    >>> frontend = WhisperFrontend(encoder_layers=2, chunk_length=2, **small)
    >>> [tuple(state.shape) for state in frontend(torch.randn(1, 8000), layers="all")]
    [(1, 25, 32), (1, 25, 32), (1, 25, 32)]
    """

    source = (
        'Radford et al., "Robust speech recognition via large-scale weak supervision", ICML 2023, arXiv 2212.04356.'
    )
    name = "whisper"
    family = WHISPER
    hop_length = min_samples = 2 * HOP

    def __init__(
        self,
        checkpoint: AnyPath | None = None,
        *,
        num_mel_bins: Annotated[int, Field(ge=1, le=256)] = 80,
        chunk_length: Seconds = 30,
        encoder_layers: EncoderLayers = 6,
        encoder_embed_dim: Annotated[
            int, Field(ge=4, le=65_536, multiple_of=2), Takes("an even number from 4 to 65536")
        ] = 512,
        encoder_ffn_embed_dim: Size = 2048,
        encoder_attention_heads: Heads = 8,
        dropout: Probability = OFF,
        attention_dropout: Probability = OFF,
        activation_dropout: Probability = OFF,
        encoder_layerdrop: Probability = OFF,
    ) -> None:
        super().__init__(locals())
        self.most_samples = self.config["chunk_length"] * SAMPLE_RATE
        self.used_samples = UsedSamples(most=self.most_samples)

    def build_model(self, options: Options) -> nn.Module:
        """Build the transformers library's ``WhisperEncoder``."""
        config_class, models = from_transformers("WhisperConfig", "models")
        config = dict(WHISPER.library_options(options))
        config["max_source_positions"] = options["chunk_length"] * FRAMES_PER_SECOND
        config["encoder_layerdrop"] = 0.0  # the library must not drop layers, because forward() drops layers
        return models.whisper.modeling_whisper.WhisperEncoder(config_class(**config, attn_implementation="sdpa"))

    def features(self, waveform: Tensor) -> Tensor:
        """Compute the log-mel spectrogram B×bins×T of ``waveform`` B×N, padded or cut to ``chunk_length`` (30 s)."""
        silence = waveform.new_zeros(waveform.shape[0], self.most_samples)
        return whisper_log_mel(
            torch.cat([waveform, silence], dim=1)[:, : self.most_samples], self.config["num_mel_bins"]
        )

    def embed(self, features: Tensor) -> Tensor:
        """Compute the input B×T'×D of the first layer from ``features`` B×bins×T; T' = T / 2."""
        x = functional.gelu(self.model.conv1(features))
        x = functional.gelu(self.model.conv2(x)).transpose(1, 2) + self.model.embed_positions.weight
        return functional.dropout(x, self.config["dropout"], self.training)

    def drop_padding(self, x: Tensor, waveform: Tensor) -> Tensor:
        return x[:, : waveform.shape[1] // self.hop_length]

    @property
    def transformer_layers(self) -> Sequence[nn.Module]:
        return self.model.layers

    @property
    def after_layers(self) -> Sequence[nn.Module]:
        return [self.model.layer_norm]
