"""wav2vec 2.0 front-ends (XLS-R among them) on the transformers implementation, under fairseq's names.

The network is Baevski et al., "wav2vec 2.0" (NeurIPS 2020); XLS-R 300M is Babu et al., arXiv 2111.09296. Options carry the names of
fairseq's ``Wav2Vec2Config`` so that a checkpoint's own configuration can be passed on as it is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nes2net.errors import InputError
from nes2net.frontends.fairseq_format import read_wav2vec2_checkpoint, to_fairseq, to_transformers

#: Seven convolutions (channels, kernel, stride): 20 ms hop, 25 ms receptive field at 16 kHz.
STANDARD_CONVOLUTIONS = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)

#: XLS-R 300M as its pre-training file describes it (manifest of ``xlsr2_300m.pt``); every dropout is 0 there.
XLSR_300M = {
    "conv_feature_layers": STANDARD_CONVOLUTIONS,
    "encoder_layers": 24,
    "encoder_embed_dim": 1024,
    "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "final_dim": 768,
    "latent_vars": 320,
    "latent_groups": 2,
}

#: A front-end that learns from scratch in minutes on a CPU: four convolutions of 16 ms hop in all. No published model.
SMALL = {
    "conv_feature_layers": ((64, 16, 8), (64, 4, 4), (64, 4, 4), (64, 4, 2)),
    "encoder_layers": 3,
    "encoder_embed_dim": 128,
    "encoder_ffn_embed_dim": 256,
    "encoder_attention_heads": 4,
    "conv_pos": 32,
    "conv_pos_groups": 4,
    "pretraining_heads": False,
}


class Wav2Vec2Frontend(nn.Module):
    """Raw waveform → hidden states of a wav2vec 2.0 transformer.

    The waveform is taken as it is, in [−1, 1] and without layer normalisation, as the published detectors do although XLS-R's task
    configuration asks for it (see DEVIATIONS.md); no mask and no padding mask are applied.

    Parameters are fairseq's names and mean what they mean there; the defaults are XLS-R 300M's.

    Args:
        checkpoint: fairseq pre-training file; its own configuration then replaces every option that is not given.
        pretraining_heads: keep the quantizer, its projections and the mask embedding. The detector never uses them, but the published
            checkpoints hold them and the published code loads strictly.

    Attributes:
        out_dim: D, size of a hidden state.
        num_layers: L, number of hidden states for ``layers="all"``: one per transformer layer and the final output.
        hop_length: samples between two frames.
        min_samples: shortest waveform that gives one frame.

    >>> frontend = Wav2Vec2Frontend(**SMALL)
    >>> states = frontend(torch.zeros(2, 16000), layers="all")
    >>> len(states), tuple(states[-1].shape)
    (4, (2, 62, 128))
    """

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        extractor_mode: str = "layer_norm",
        conv_feature_layers: Sequence[Sequence[int]] = STANDARD_CONVOLUTIONS,
        conv_bias: bool = True,
        layer_norm_first: bool = True,
        encoder_layers: int = 24,
        encoder_embed_dim: int = 1024,
        encoder_ffn_embed_dim: int = 4096,
        encoder_attention_heads: int = 16,
        conv_pos: int = 128,
        conv_pos_groups: int = 16,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        dropout_input: float = 0.0,
        encoder_layerdrop: float = 0.0,
        pretraining_heads: bool = True,
        final_dim: int = 768,
        latent_vars: int = 320,
        latent_groups: int = 2,
    ) -> None:
        super().__init__()
        options = {k: v for k, v in locals().items() if k not in ("self", "checkpoint", "__class__")}
        state_dict = None
        if checkpoint is not None:
            state_dict, in_file = read_wav2vec2_checkpoint(checkpoint, known=options)
            options.update(in_file)
        options["conv_feature_layers"] = [list(layer) for layer in options["conv_feature_layers"]]
        self.config = {"name": "wav2vec2", **options}
        self.encoder_layerdrop = options["encoder_layerdrop"]
        self.out_dim = options["encoder_embed_dim"]
        self.num_layers = options["encoder_layers"] + 1
        self.hop_length = math.prod(stride for _, _, stride in options["conv_feature_layers"])
        self.min_samples = _receptive_field(options["conv_feature_layers"])

        self.model = _transformers_model(options)
        self.unused = _pretraining_tensors(options) if options["pretraining_heads"] else nn.Module()
        self.register_state_dict_post_hook(_write_fairseq_names)
        self.register_load_state_dict_pre_hook(_read_fairseq_names)
        if state_dict is not None:
            self._load_pretraining(state_dict, str(checkpoint))

    def _load_pretraining(self, state_dict: dict[str, Tensor], path: str) -> None:
        from nes2net.checkpoint import check_fit

        check_fit({f"model.{k}": v for k, v in state_dict.items()}, self.state_dict(), path)
        self.load_state_dict({f"model.{k}": v for k, v in state_dict.items()})

    def forward(self, waveform: Tensor, layers: str = "last") -> list[Tensor]:
        """Hidden states of ``waveform`` (B×N, 16 kHz).

        Returns, for ``layers="all"``, L tensors B×T×D: the input of each transformer layer, then the output after the final layer norm;
        for ``"last"`` that last one alone. T is the number of frames after the convolutions: 64,600 samples give 201.
        """
        if waveform.shape[-1] < self.min_samples:
            raise InputError(
                f"a waveform of {waveform.shape[-1]} samples is too short: one frame of this front-end needs {self.min_samples}"
            )
        encoder = self.model.encoder
        x = self.model.feature_extractor(waveform).transpose(1, 2)  # B×T×channels
        x = self.model.feature_projection(x)[0]  # B×T×D
        x = x + encoder.pos_conv_embed(x)
        stable = self.config["layer_norm_first"]
        if not stable:
            x = encoder.layer_norm(x)
        x = encoder.dropout(x)
        hidden_states = []
        for layer in encoder.layers:
            if layers == "all":
                hidden_states.append(x)
            # Layer drop (arXiv 1909.11556), drawn on the CPU so that no device is waited for.
            if self.training and self.encoder_layerdrop and torch.rand(()).item() < self.encoder_layerdrop:
                continue
            x = layer(x)
            x = x[0] if isinstance(x, tuple) else x  # a tuple before transformers 5
        hidden_states.append(encoder.layer_norm(x) if stable else x)
        return hidden_states


def xlsr_300m(checkpoint: str | None = None, **options: Any) -> Wav2Vec2Frontend:
    """XLS-R 300M: 24 layers of 1024, 317,390,592 parameters with the pre-training heads. Random without ``checkpoint``."""
    return Wav2Vec2Frontend(checkpoint, **{**XLSR_300M, **options})


def wav2vec2_small(checkpoint: str | None = None, **options: Any) -> Wav2Vec2Frontend:
    """A front-end of 0.6 M parameters for tests and the demonstration; it learns from scratch."""
    return Wav2Vec2Frontend(checkpoint, **{**SMALL, **options})


# The registry reads a factory's options off its signature.
xlsr_300m.__signature__ = wav2vec2_small.__signature__ = inspect.signature(Wav2Vec2Frontend)


def _receptive_field(conv_feature_layers: Sequence[Sequence[int]]) -> int:
    """Samples that one frame sees: the shortest input that gives a frame."""
    length = 1
    for _, kernel, stride in reversed(conv_feature_layers):
        length = (length - 1) * stride + kernel
    return length


def _transformers_model(options: dict[str, Any]) -> nn.Module:
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    modes = {"layer_norm": "layer", "default": "group"}
    if options["extractor_mode"] not in modes:
        raise InputError(f"extractor_mode is one of {', '.join(modes)}, not '{options['extractor_mode']}'")
    dim, heads = options["encoder_embed_dim"], options["encoder_attention_heads"]
    if dim % heads:
        raise InputError(f"encoder_embed_dim {dim} is not divisible by encoder_attention_heads {heads}")
    channels, kernels, strides = zip(*options["conv_feature_layers"])
    config = Wav2Vec2Config(
        feat_extract_norm=modes[options["extractor_mode"]],
        conv_dim=channels,
        conv_kernel=kernels,
        conv_stride=strides,
        conv_bias=options["conv_bias"],
        do_stable_layer_norm=options["layer_norm_first"],
        num_hidden_layers=options["encoder_layers"],
        hidden_size=dim,
        intermediate_size=options["encoder_ffn_embed_dim"],
        num_attention_heads=heads,
        num_conv_pos_embeddings=options["conv_pos"],
        num_conv_pos_embedding_groups=options["conv_pos_groups"],
        hidden_dropout=options["dropout"],
        attention_dropout=options["attention_dropout"],
        activation_dropout=options["activation_dropout"],
        feat_proj_dropout=options["dropout_input"],
        layerdrop=0.0,  # drawn in forward
        apply_spec_augment=False,
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
        attn_implementation="sdpa",
    )
    model = Wav2Vec2Model(config)
    # The library would make the waveform require a gradient in train mode, for gradient checkpointing alone.
    model.feature_extractor._requires_grad = False
    return model


def _pretraining_tensors(options: dict[str, Any]) -> nn.Module:
    """The tensors that only pre-training uses, as buffers: saved and loaded, never trained."""
    channels, dim, final = options["conv_feature_layers"][-1][0], options["encoder_embed_dim"], options["final_dim"]
    codes = options["latent_vars"] * options["latent_groups"]
    shapes = {
        "mask_emb": (dim,),
        "quantizer.vars": (1, codes, final // options["latent_groups"]),
        "quantizer.weight_proj.weight": (codes, channels),
        "quantizer.weight_proj.bias": (codes,),
        "project_q.weight": (final, final),
        "project_q.bias": (final,),
        "final_proj.weight": (final, dim),
        "final_proj.bias": (final,),
    }
    holder = nn.Module()
    for name, shape in shapes.items():
        holder.register_buffer(name.replace(".", "__"), torch.zeros(shape))
    return holder


def _write_fairseq_names(module: Wav2Vec2Frontend, state_dict: dict, prefix: str, _metadata: dict) -> None:
    for key in [k for k in state_dict if k.startswith(prefix)]:
        part, _, name = key[len(prefix) :].partition(".")
        published = to_fairseq(name, module.config["extractor_mode"]) if part == "model" else name.replace("__", ".")
        state_dict[f"{prefix}model.{published}"] = state_dict.pop(key)


def _read_fairseq_names(module: Wav2Vec2Frontend, state_dict: dict, prefix: str, *_) -> None:
    unused = {name.replace("__", ".") for name, _ in module.unused.named_buffers()}
    for key in [k for k in state_dict if k.startswith(f"{prefix}model.")]:
        name = key[len(prefix) + len("model.") :]
        own = f"unused.{name.replace('.', '__')}" if name in unused else f"model.{to_transformers(name)}"
        state_dict[prefix + own] = state_dict.pop(key)
