"""wav2vec 2.0 front-ends, XLS-R among them, on the transformers library.

The network is Baevski et al., "wav2vec 2.0" (NeurIPS 2020); XLS-R 300M is Babu et al., arXiv
2111.09296. Options have the names of fairseq's ``Wav2Vec2Config``, so that a checkpoint's own
configuration can be passed on unchanged.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from nes2net.checkpoints.huggingface import library_options
from nes2net.checkpoints.model_types import from_transformers
from nes2net.frontends import fairseq_engine
from nes2net.frontends.base import Layers
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

#: A front-end that learns from scratch in minutes on a CPU; its four convolutions have a hop of 16
#: ms. It is not a published model.
SMALL: dict[str, Any] = {
    "conv_feature_layers": ((64, 16, 8), (64, 4, 4), (64, 4, 4), (64, 4, 2)),
    "encoder_layers": 3,
    "encoder_embed_dim": 128,
    "encoder_ffn_embed_dim": 256,
    "encoder_attention_heads": 4,
    "conv_pos": 32,
    "conv_pos_groups": 4,
    "pretraining_heads": False,
}


class Wav2Vec2Frontend(SSLFrontend):
    """Waveform B×N → hidden states B×T×D of a wav2vec 2.0 transformer.

    The waveform, in [−1, 1], is not layer-normalised unless ``normalize`` or the folder says so.
    The published detectors, on fairseq's file, do not do it either, although XLS-R's task
    configuration asks for it (see DEVIATIONS.md).

    The parameters have fairseq's names and meanings, except ``normalize``, ``pretraining_heads`` and
    ``engine``.
    The defaults are those of XLS-R 300M, from its pre-training file, with every dropout 0: 24
    layers of 1024, and 317,390,592 parameters with the pre-training heads.

    Args:
        checkpoint: a fairseq pre-training file or a Hugging Face folder, whose configuration then
            replaces the options except ``normalize``; None for random weights.
        normalize: layer-normalise each waveform first; ``"batch"`` normalises the whole batch B×N as
            one block, as torchaudio's bundles and the systems on them do, so that a score depends
            on the utterances that share its batch. None as the folder says, and not without one.
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
        pretraining_heads: keep the quantizer, its projections and the mask embedding. The detector
            never uses them, but the published checkpoints hold them and the published code loads
            strictly.
        feature_grad_mult: factor of the gradient that the convolutions get, 0 to 1.
        final_dim: size of the projections of pre-training.
        latent_vars: entries of each codebook of pre-training.
        latent_groups: codebooks of pre-training.
        engine: ``"transformers"``, or ``"fairseq"`` for the original module if fairseq is
            installed. Names, shapes and outputs are the same, so a checkpoint does not depend on
            the engine.

    Raises:
        InputError: if options do not go together, or the checkpoint cannot be used.

    >>> import torch
    >>> frontend = Wav2Vec2Frontend(**SMALL)
    >>> states = frontend(torch.zeros(2, 16000), layers="all")
    >>> len(states), tuple(states[-1].shape)
    (4, (2, 61, 128))
    """

    name = "wav2vec2"

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        *,
        normalize: Normalize = None,
        extractor_mode: ExtractorMode = "layer_norm",
        conv_feature_layers: Convolutions = STANDARD_CONVOLUTIONS,
        conv_bias: bool = True,
        layer_norm_first: bool = True,
        encoder_layers: EncoderLayers = 24,
        encoder_embed_dim: Size = 1024,
        encoder_ffn_embed_dim: Size = 4096,
        encoder_attention_heads: Heads = 16,
        conv_pos: Kernel = 128,
        conv_pos_groups: Size = 16,
        dropout: Probability = 0.0,
        attention_dropout: Probability = 0.0,
        activation_dropout: Probability = 0.0,
        dropout_input: Probability = 0.0,
        encoder_layerdrop: Probability = 0.0,
        feature_grad_mult: GradientFactor = 1.0,
        pretraining_heads: bool = True,
        final_dim: Size = 768,
        latent_vars: Size = 320,
        latent_groups: Size = 2,
        engine: Literal["transformers", "fairseq"] = "transformers",
    ) -> None:
        options = {k: v for k, v in locals().items() if k not in ("self", "checkpoint", "__class__")}
        super().__init__(checkpoint, options)
        self.engine = self.config.pop("engine")

    def build_model(self, options: dict[str, Any]) -> nn.Module:
        if options["engine"] == "fairseq":
            return fairseq_engine.build_model(options)
        config_class, model_class = from_transformers("Wav2Vec2Config", "Wav2Vec2Model")
        model = model_class(config_class(**library_options(options), attn_implementation="sdpa"))
        return with_onednn(model)

    def encode(self, waveform: Tensor, layers: Layers, final_norm: bool) -> list[Tensor]:
        if self.engine == "fairseq":
            return fairseq_engine.encode(self.model, waveform, layers, final_norm)
        return super().encode(waveform, layers, final_norm)

    def unused_shapes(self, options: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        channels, dim, final = options["conv_feature_layers"][-1][0], options["encoder_embed_dim"], options["final_dim"]
        codes = options["latent_vars"] * options["latent_groups"]
        return {
            **super().unused_shapes(options),
            "quantizer.vars": (1, codes, final // options["latent_groups"]),
            "quantizer.weight_proj.weight": (codes, channels),
            "quantizer.weight_proj.bias": (codes,),
            "project_q.weight": (final, final),
            "project_q.bias": (final,),
            "final_proj.weight": (final, dim),
            "final_proj.bias": (final,),
        }


#: The front-end of :data:`SMALL`, for tests and the demonstration: 0.6 M parameters, and no pre-training.
wav2vec2_small = partial(Wav2Vec2Frontend, checkpoint=None, **SMALL)
