"""WavLM front-ends on the transformers library, with unilm's parameter names.

Chen et al., "WavLM" (IEEE JSTSP 2022, arXiv 2110.13900): a wav2vec 2.0 encoder with gated relative
position bias. The first layer holds the embedding of that bias, and all layers share it. Options
have the names of unilm's ``WavLMConfig``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nes2net.checkpoints.huggingface import library_options
from nes2net.checkpoints.model_types import from_transformers
from nes2net.frontends.onednn import with_onednn
from nes2net.frontends.relative_attention import GatedRelativeAttention
from nes2net.frontends.ssl import (
    STANDARD_CONVOLUTIONS,
    Convolutions,
    EncoderLayers,
    ExtractorMode,
    GradientFactor,
    Heads,
    Kernel,
    Normalize,
    SSLFrontend,
)
from nes2net.options import Probability, Size


class WavLMFrontend(SSLFrontend):
    """Waveform B×N → hidden states B×T×D of a WavLM transformer.

    The parameters have unilm's names and meanings, except ``pretraining_heads``. The defaults are
    those of WavLM-Large: 24 layers of 1024, 315,453,120 parameters.

    Args:
        checkpoint: a unilm pre-training file or a Hugging Face folder, whose configuration then
            replaces the options except ``normalize``; None for random weights.
        normalize: layer-normalise each waveform first, or ``"batch"``; None as the folder says, and
            not without one. The CtrSVDD systems do it (s3prl, following WavLM-Large's
            configuration), the ASVspoof 5 systems do not.
        extractor_mode: ``"layer_norm"``: a layer norm follows each convolution; ``"default"``: a
            group norm follows the first one.
        conv_feature_layers: the convolutions on the waveform, each [channels, kernel, stride].
        conv_bias: whether these convolutions have a bias.
        layer_norm_first: normalise before attention and feed-forward network, not after them.
        encoder_layers: transformer layers, L − 1.
        encoder_embed_dim: D, size of a hidden state.
        encoder_ffn_embed_dim: hidden size of the feed-forward networks.
        encoder_attention_heads: heads of the self-attention.
        conv_pos: kernel of the convolution that encodes positions, in frames.
        conv_pos_groups: groups of that convolution.
        num_buckets, max_distance: of the relative position bias. All frames further apart than
            ``max_distance`` share a bucket.
        dropout: chance of dropping a number of a layer's output, in training as all of them.
        attention_dropout: chance of dropping an attention weight.
        activation_dropout: chance of dropping a number inside a feed-forward network.
        dropout_input: chance of dropping a number of what the convolutions give.
        encoder_layerdrop: chance of skipping a transformer layer.
        pretraining_heads: keep the mask embedding, which the published checkpoints hold.
        feature_grad_mult: factor of the gradient that the convolutions get, 0 to 1.

    Raises:
        InputError: if options do not go together, or the checkpoint cannot be used.

    >>> import torch
    >>> small = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4}
    >>> frontend = WavLMFrontend(encoder_layers=2, **small)
    >>> [tuple(state.shape) for state in frontend(torch.randn(1, 8000), layers="all")]
    [(1, 24, 32), (1, 24, 32), (1, 24, 32)]
    """

    name = "wavlm"

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        normalize: Normalize = None,
        extractor_mode: ExtractorMode = "layer_norm",
        conv_feature_layers: Convolutions = STANDARD_CONVOLUTIONS,
        conv_bias: bool = False,
        layer_norm_first: bool = True,
        encoder_layers: EncoderLayers = 24,
        encoder_embed_dim: Size = 1024,
        encoder_ffn_embed_dim: Size = 4096,
        encoder_attention_heads: Heads = 16,
        conv_pos: Kernel = 128,
        conv_pos_groups: Size = 16,
        num_buckets: Size = 320,
        max_distance: Size = 800,
        dropout: Probability = 0.0,
        attention_dropout: Probability = 0.0,
        activation_dropout: Probability = 0.0,
        dropout_input: Probability = 0.0,
        encoder_layerdrop: Probability = 0.0,
        feature_grad_mult: GradientFactor = 1.0,
        pretraining_heads: bool = True,
    ) -> None:
        options = {k: v for k, v in locals().items() if k not in ("self", "checkpoint", "__class__")}
        super().__init__(checkpoint, options)

    def build_model(self, options: dict[str, Any]) -> nn.Module:
        config_class, model_class = from_transformers("WavLMConfig", "WavLMModel")
        model = model_class(config_class(**library_options(options), attn_implementation="eager"))
        for layer in model.encoder.layers:
            layer.attention = GatedRelativeAttention(layer.attention)
        return with_onednn(model)

    def run_layer(self, layer: nn.Module, x: Tensor, shared: Tensor | None) -> tuple[Tensor, Tensor]:
        if shared is None:  # made here, so that it exists even if layer drop skips the first layer
            shared = self.model.encoder.layers[0].attention.position_bias(x.shape[1])
        return layer(x, position_bias=shared)[0], shared
