"""w2v-BERT 2.0 front-ends on the transformers library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from nes2net.lib.parts.options import OFF, Options, Probability, Size, Takes, odd_or_zero
from nes2net.lib.storage.files import AnyPath
from nes2net.models.checkpoints.huggingface import WITHOUT_MASKS
from nes2net.models.checkpoints.mel_encoders import W2V_BERT2
from nes2net.models.checkpoints.model_types import from_transformers
from nes2net.models.frontends.base import UsedSamples
from nes2net.models.frontends.log_mel import HOP, WINDOW, kaldi_log_mel
from nes2net.models.frontends.mel_encoder import MelEncoder
from nes2net.models.frontends.ssl import EncoderLayers, Heads, Kernel

Positions = Annotated[int, Field(ge=0, le=4096)]


class W2VBert2Frontend(MelEncoder):
    """Waveform B×N → hidden states B×T×D of a w2v-BERT 2.0 Conformer.

    It reads pairs of frames with 80 log-mel bins of Kaldi, normalised per bin and utterance. T is
    half the number of 10 ms frames, rounded down; an odd last frame only counts in the
    normalisation, as published. There is no final layer norm, so ``final_norm`` has no effect.

    The defaults are the published model's, with every dropout 0.

    Args:
        checkpoint: a Hugging Face folder. Its configuration replaces all options except stated
            probabilities; heads and adapters of fine-tuned models are omitted. None for random
            weights.
        encoder_layers: number of Conformer layers, L − 1.
        encoder_embed_dim: size of a hidden state, D.
        encoder_ffn_embed_dim: hidden size of the two feed-forward networks of a layer.
        encoder_attention_heads: number of heads of the self-attention.
        conv_kernel: kernel size of the causal depthwise convolutions, in frames; odd.
        left_positions: number of relative positions before the query; all keys at larger distances
            share the farthest position.
        right_positions: number of relative positions after the query; all keys at larger distances
            share the farthest position.
        dropout: probability of dropout at the encoder's input and at a feed-forward network's
            output. All probabilities apply in training only.
        attention_dropout: probability of dropout of attention weights and of the attention's
            output.
        activation_dropout: probability of dropout inside a feed-forward network.
        dropout_input: probability of dropout of the projected features.
        conv_dropout: probability of dropout at a convolution module's output.
        encoder_layerdrop: probability of skipping a layer.
        pretraining_heads: keep the mask embedding, which the published files contain.

    Raises:
        InputError: if options do not fit each other, or the checkpoint cannot be used.

    >>> small = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4}
    >>> frontend = W2VBert2Frontend(encoder_layers=2, **small)
    >>> [tuple(state.shape) for state in frontend(torch.randn(1, 8000), layers="all")]
    [(1, 24, 32), (1, 24, 32), (1, 24, 32)]
    """

    source = (
        'Barrault et al., "Seamless: Multilingual expressive and streaming speech translation" (2023, arXiv '
        "2312.05187), Sec. 3.2.1."
    )
    name = "w2v_bert2"
    family = W2V_BERT2
    hop_length = 2 * HOP
    min_samples = WINDOW + HOP
    used_samples = UsedSamples(WINDOW + HOP, HOP)

    def __init__(
        self,
        checkpoint: AnyPath | None = None,
        *,
        encoder_layers: EncoderLayers = 24,
        encoder_embed_dim: Size = 1024,
        encoder_ffn_embed_dim: Size = 4096,
        encoder_attention_heads: Heads = 16,
        conv_kernel: Annotated[Kernel, AfterValidator(odd_or_zero), Takes("an odd number from 1 to 1023")] = 31,
        left_positions: Positions = 64,
        right_positions: Positions = 8,
        dropout: Probability = OFF,
        attention_dropout: Probability = OFF,
        activation_dropout: Probability = OFF,
        dropout_input: Probability = OFF,
        conv_dropout: Probability = OFF,
        encoder_layerdrop: Probability = OFF,
        pretraining_heads: bool = True,
    ) -> None:
        super().__init__(locals())
        if self.config["pretraining_heads"]:
            self.num_unused = self.out_dim

    def build_model(self, options: Options) -> nn.Module:
        """Build the transformers library's ``Wav2Vec2BertModel`` with this toolkit's attention."""
        config_class, model_class = from_transformers("Wav2Vec2BertConfig", "Wav2Vec2BertModel")
        model = model_class(config_class(**{**W2V_BERT2.library_options(options), **WITHOUT_MASKS}))
        from nes2net.models.frontends.relative_attention import RelativeKeyAttention  # start-up

        for layer in model.encoder.layers:
            layer.self_attn.__class__ = RelativeKeyAttention
        if options["pretraining_heads"]:
            model.register_buffer("masked_spec_embed", torch.zeros(options["encoder_embed_dim"]))
        return model

    def features(self, waveform: Tensor) -> Tensor:
        """Compute the features B×T×160 of ``waveform`` B×N: pairs of frames with 80 bins."""
        log_mel = kaldi_log_mel(waveform)
        return torch.cat([log_mel[:, :-1:2], log_mel[:, 1::2]], dim=2)  # an odd last frame is omitted

    def embed(self, features: Tensor) -> Tensor:
        """Compute the input B×T×D of the first layer from ``features`` B×T×160."""
        return self.model.encoder.dropout(self.model.feature_projection(features)[0])

    @property
    def transformer_layers(self) -> Sequence[nn.Module]:
        return self.model.encoder.layers
