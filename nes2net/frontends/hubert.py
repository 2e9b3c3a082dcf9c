"""HuBERT and UniSpeech-SAT front-ends on the transformers library.

Hsu et al., "HuBERT" (IEEE/ACM TASLP 2021, arXiv 2106.07447): the network of wav2vec 2.0 without its
quantiser. UniSpeech-SAT (Chen et al., ICASSP 2022, arXiv 2110.05752) and mHuBERT-147 (Zanon Boito et
al., Interspeech 2024, arXiv 2406.06371) are the same network. Options have the names of fairseq's
``HubertConfig``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from nes2net.checkpoints.huggingface import library_options
from nes2net.checkpoints.model_types import from_transformers
from nes2net.frontends.onednn import with_onednn
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


class HubertFrontend(SSLFrontend):
    """Waveform B×N → hidden states B×T×D of a HuBERT or UniSpeech-SAT transformer.

    The waveform, in [−1, 1], is not layer-normalised unless ``normalize`` or the folder says so. The
    parameters have fairseq's names and meanings, except ``normalize``, ``pretraining_heads`` and
    ``num_targets``. The defaults are those of HuBERT Base, with every dropout 0: 12 layers of 768.

    Args:
        checkpoint: a fairseq pre-training file or a Hugging Face folder, whose configuration then
            replaces the options except ``normalize``; None for random weights. Of UniSpeech-SAT's
            the heads of pre-training are not read.
        normalize: layer-normalise each waveform first; ``"batch"`` normalises the whole batch B×N as
            one block. None as the folder says, and not without one.
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
        dropout: chance of dropping a number of a layer's output, in training as all of them.
        attention_dropout: chance of dropping an attention weight.
        activation_dropout: chance of dropping a number inside a feed-forward network.
        dropout_input: chance of dropping a number of what the convolutions give.
        encoder_layerdrop: chance of skipping a transformer layer.
        feature_grad_mult: factor of the gradient that the convolutions get, 0 to 1.
        pretraining_heads: keep the mask embedding, the embeddings of the targets and the projection
            to them. The detector never uses them, but the published checkpoints hold them.
        final_dim: size of the embeddings of the targets.
        num_targets: targets of pre-training: the clusters and fairseq's four special symbols.

    Raises:
        InputError: if options do not go together, or the checkpoint cannot be used.

    >>> import torch
    >>> frontend = HubertFrontend(encoder_layers=2, encoder_embed_dim=48, encoder_ffn_embed_dim=48)
    >>> [tuple(state.shape) for state in frontend(torch.randn(1, 8000), layers="all")]
    [(1, 24, 48), (1, 24, 48), (1, 24, 48)]
    """

    name = "hubert"

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        normalize: Normalize = None,
        extractor_mode: ExtractorMode = "default",
        conv_feature_layers: Convolutions = STANDARD_CONVOLUTIONS,
        conv_bias: bool = False,
        layer_norm_first: bool = False,
        encoder_layers: EncoderLayers = 12,
        encoder_embed_dim: Size = 768,
        encoder_ffn_embed_dim: Size = 3072,
        encoder_attention_heads: Heads = 12,
        conv_pos: Kernel = 128,
        conv_pos_groups: Size = 16,
        dropout: Probability = 0.0,
        attention_dropout: Probability = 0.0,
        activation_dropout: Probability = 0.0,
        dropout_input: Probability = 0.0,
        encoder_layerdrop: Probability = 0.0,
        feature_grad_mult: GradientFactor = 1.0,
        pretraining_heads: bool = True,
        final_dim: Size = 256,
        num_targets: Size = 504,
    ) -> None:
        options = {k: v for k, v in locals().items() if k not in ("self", "checkpoint", "__class__")}
        super().__init__(checkpoint, options)

    def build_model(self, options: dict[str, Any]) -> nn.Module:
        # The library's HubertModel computes the same and has the same tensors.
        config_class, model_class = from_transformers("Wav2Vec2Config", "Wav2Vec2Model")
        model = model_class(config_class(**library_options(options), attn_implementation="sdpa"))
        return with_onednn(model)

    def unused_shapes(self, options: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        dim, final = options["encoder_embed_dim"], options["final_dim"]
        return {
            **super().unused_shapes(options),
            "label_embs_concat": (options["num_targets"], final),
            "final_proj.weight": (final, dim),
            "final_proj.bias": (final,),
        }
