"""Audio spectrogram transformers (AST) on the transformers library, for any sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from nes2net.lib.parts.options import OFF, Options, Probability, Size, UpTo64
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.mel_encoders import AST
from nes2net.models.checkpoints.model_types import from_transformers
from nes2net.models.frontends.base import UsedSamples
from nes2net.models.frontends.log_mel import HOP, WINDOW, ast_log_mel
from nes2net.models.frontends.mel_encoder import MelEncoder
from nes2net.models.frontends.ssl import EncoderLayers, Heads

PATCH = 16  # frames and bins of a patch
Patches = Annotated[int, Field(ge=PATCH, le=4096)]


class SpectrogramTransformer(MelEncoder):
    """Waveform B×N → hidden states B×T×D of an audio spectrogram transformer.

    The transformer reads patches of 160 ms × 16 log-mel bins. As published, the spectrogram is padded
    to ``max_length`` frames, which the attention reads; longer waveforms are cut. Assumption: the
    two class tokens and the patches beyond the waveform's end are dropped, and a hidden state is
    the mean over the frequencies of the patches at one time.

    The defaults are those of the model trained on AudioSet.

    Args:
        checkpoint: a Hugging Face folder. Its configuration replaces all options except stated
            probabilities; the head is omitted. None for random weights.
        num_mel_bins: number of bins of the log-mel spectrogram.
        max_length: number of frames of 10 ms to which spectrograms are padded or cut.
        mean: mean of the log-mel spectrograms of the training data, which is subtracted.
        std: their standard deviation, by twice which they are divided.
        frequency_stride: number of bins from one patch to the next.
        time_stride: number of frames of 10 ms from one patch to the next.
        encoder_layers: number of transformer layers, L − 1.
        encoder_embed_dim: size of a hidden state, D.
        encoder_ffn_embed_dim: hidden size of the feed-forward networks.
        encoder_attention_heads: number of heads of the self-attention.
        dropout: probability of dropout at a layer's input and outputs. All probabilities apply in
            training only.
        attention_dropout: probability of dropout of attention weights.
        encoder_layerdrop: probability of skipping a layer.

    Raises:
        InputError: if options do not fit each other, or the checkpoint cannot be used.

    >>> import torch
    >>> small = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4}
    >>> frontend = SpectrogramTransformer(encoder_layers=2, max_length=128, **small)
    >>> [tuple(state.shape) for state in frontend(torch.randn(1, 8000), layers="all")]
    [(1, 4, 32), (1, 4, 32), (1, 4, 32)]
    """

    source = 'Gong, Chung, Glass, "AST: Audio spectrogram transformer", Interspeech 2021, arXiv 2104.01778, Sec. 2.1.'
    name = "ast"
    family = AST
    min_samples = WINDOW + (PATCH - 1) * HOP

    def __init__(
        self,
        checkpoint: AnyPath | None = None,
        *,
        num_mel_bins: Patches = 128,
        max_length: Patches = 1024,
        mean: float = -4.2677393,
        std: Annotated[float, Field(gt=0)] = 4.5689974,
        frequency_stride: UpTo64 = 10,
        time_stride: UpTo64 = 10,
        encoder_layers: EncoderLayers = 12,
        encoder_embed_dim: Size = 768,
        encoder_ffn_embed_dim: Size = 3072,
        encoder_attention_heads: Heads = 12,
        dropout: Probability = OFF,
        attention_dropout: Probability = OFF,
        encoder_layerdrop: Probability = OFF,
    ) -> None:
        super().__init__(locals())
        self.hop_length = self.config["time_stride"] * HOP
        self.used_samples = UsedSamples(most=WINDOW + (self.config["max_length"] - 1) * HOP)

    def build_model(self, options: Options) -> nn.Module:
        """Build the transformers library's ``ASTModel``."""
        config_class, model_class = from_transformers("ASTConfig", "ASTModel")
        return model_class(config_class(**AST.library_options(options), attn_implementation="sdpa"))

    def features(self, waveform: Tensor) -> Tensor:
        """Compute the normalised log-mel spectrogram B×T×bins of ``waveform`` B×N, padded or cut to ``max_length``."""
        max_length = self.config["max_length"]
        log_mel = ast_log_mel(waveform, self.config["num_mel_bins"])[:, :max_length]
        padded = functional.pad(log_mel, (0, 0, 0, max_length - log_mel.shape[1]))
        return (padded - self.config["mean"]) / (2 * self.config["std"])

    def embed(self, features: Tensor) -> Tensor:
        """Compute the input B×(2+P)×D of the first layer: two class tokens, and P patches, one frequency after another."""
        return self.model.embeddings(features)

    def drop_padding(self, x: Tensor, waveform: Tensor) -> Tensor:
        """Average the patches at each time in ``waveform`` B×N: B×(2+P)×D → B×T×D."""
        patches = x[:, 2:].unflatten(1, self.model.embeddings.get_shape(self.model.config))  # B×frequencies×times×D
        return patches.mean(1)[:, : 1 + (waveform.shape[1] - self.min_samples) // self.hop_length]

    @property
    def transformer_layers(self) -> Sequence[nn.Module]:
        return self.model.layers

    @property
    def after_layers(self) -> Sequence[nn.Module]:
        return [self.model.layernorm]
