"""What the self-supervised front-ends share: hidden states of a transformer over strided convolutions, under fairseq's names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nes2net.checkpoint import check_fit
from nes2net.errors import InputError
from nes2net.frontends.fairseq_format import read_ssl_checkpoint, to_fairseq, to_transformers

#: Seven convolutions (channels, kernel, stride): 20 ms hop, 25 ms receptive field at 16 kHz.
STANDARD_CONVOLUTIONS = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)

_EXTRACTOR_MODES = {"layer_norm": "layer", "default": "group"}  # fairseq's name → the transformers library's


class SSLFrontend(nn.Module):
    """Waveform → hidden states; :class:`Wav2Vec2Frontend` and :class:`WavLMFrontend` say which network.

    Attributes:
        out_dim: D, size of a hidden state.
        num_layers: L, number of hidden states for ``layers="all"``: one per transformer layer and the final output.
        hop_length: samples between two frames.
        min_samples: shortest waveform that gives one frame.
        config: what builds this front-end again.
    """

    name: str

    def __init__(self, checkpoint: str | None, options: dict[str, Any]) -> None:
        super().__init__()
        state_dict = None
        if checkpoint is not None:
            state_dict, in_file = read_ssl_checkpoint(checkpoint, known=options)
            options = {**options, **in_file}
        options["conv_feature_layers"] = [list(layer) for layer in options["conv_feature_layers"]]
        _check(options)
        self.config = {"name": self.name, **options}
        self.encoder_layerdrop = options["encoder_layerdrop"]
        self.layer_norm_first = options["layer_norm_first"]
        self.extractor_mode = options["extractor_mode"]
        self.out_dim = options["encoder_embed_dim"]
        self.num_layers = options["encoder_layers"] + 1
        self.hop_length = math.prod(stride for _, _, stride in options["conv_feature_layers"])
        self.min_samples = receptive_field(options["conv_feature_layers"])

        self.model = self.build_model(options)
        # The library would make the waveform require a gradient in train mode, for gradient checkpointing alone.
        self.model.feature_extractor._requires_grad = False
        self.unused = _buffers(self.unused_shapes(options)) if options["pretraining_heads"] else nn.Module()
        self.register_state_dict_post_hook(_write_fairseq_names)
        self.register_load_state_dict_pre_hook(_read_fairseq_names)
        if state_dict is not None:
            state_dict = {f"model.{k}": v for k, v in state_dict.items()}
            check_fit(state_dict, self.state_dict(), str(checkpoint))
            self.load_state_dict(state_dict)

    def build_model(self, options: dict[str, Any]) -> nn.Module:
        """The transformers library's module for ``options``."""
        raise TypeError(f"{type(self).__name__} is not a front-end by itself")

    def unused_shapes(self, options: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        """Names and shapes of tensors that only pre-training uses: saved and loaded, never trained."""
        return {"mask_emb": (options["encoder_embed_dim"],)}

    def run_layer(self, layer: nn.Module, x: Tensor, shared: Any) -> tuple[Tensor, Any]:
        """Output of one transformer layer for ``x`` (B×T×D), and what the layers share."""
        out = layer(x)
        return (out[0] if isinstance(out, tuple) else out), shared

    def forward(self, waveform: Tensor, layers: str = "last", final_norm: bool = True) -> list[Tensor]:
        """Hidden states of ``waveform`` (B×N, 16 kHz, in [−1, 1]).

        Returns, for ``layers="all"``, L tensors B×T×D: the input of each transformer layer, then the output after the final layer
        norm; for ``"last"`` that last one alone. Without ``final_norm`` the last state is the last layer's own output, as in
        fairseq's ``layer_results``, which SLS and AttM read. T is the number of frames after the convolutions: 64,600 samples
        give 201. No mask and no padding mask are applied. Too few samples for one frame raise :class:`InputError`.
        """
        if waveform.shape[-1] < self.min_samples:
            raise InputError(
                f"a waveform of {waveform.shape[-1]} samples is too short: one frame needs {self.min_samples}; repeat it"
            )
        encoder = self.model.encoder
        x = self.model.feature_extractor(waveform).transpose(1, 2)  # B×T×channels
        x = self.model.feature_projection(x)[0]  # B×T×D
        x = x + encoder.pos_conv_embed(x)
        if not self.layer_norm_first:
            x = encoder.layer_norm(x)
        x = encoder.dropout(x)
        hidden_states, shared = [], None
        for layer in encoder.layers:
            if layers == "all":
                hidden_states.append(x)
            # Layer drop (arXiv 1909.11556), drawn on the CPU so that no device is waited for.
            if self.training and self.encoder_layerdrop and torch.rand(()).item() < self.encoder_layerdrop:
                continue
            x, shared = self.run_layer(layer, x, shared)
        hidden_states.append(encoder.layer_norm(x) if self.layer_norm_first and final_norm else x)
        return hidden_states


def library_options(options: dict[str, Any]) -> dict[str, Any]:
    """fairseq's options under the names that the transformers library's configurations share."""
    channels, kernels, strides = zip(*options["conv_feature_layers"])
    return {
        "feat_extract_norm": _EXTRACTOR_MODES[options["extractor_mode"]],
        "conv_dim": channels,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "conv_bias": options["conv_bias"],
        "do_stable_layer_norm": options["layer_norm_first"],
        "num_hidden_layers": options["encoder_layers"],
        "hidden_size": options["encoder_embed_dim"],
        "intermediate_size": options["encoder_ffn_embed_dim"],
        "num_attention_heads": options["encoder_attention_heads"],
        "num_conv_pos_embeddings": options["conv_pos"],
        "num_conv_pos_embedding_groups": options["conv_pos_groups"],
        "hidden_dropout": options["dropout"],
        "attention_dropout": options["attention_dropout"],
        "activation_dropout": options["activation_dropout"],
        "feat_proj_dropout": options["dropout_input"],
        "layerdrop": 0.0,  # drawn in forward
        "apply_spec_augment": False,
        "mask_time_prob": 0.0,
        "mask_feature_prob": 0.0,
    }


def receptive_field(conv_feature_layers: Sequence[Sequence[int]]) -> int:
    """Samples that one frame sees: the shortest input that gives a frame.

    >>> receptive_field(STANDARD_CONVOLUTIONS)
    400
    """
    length = 1
    for _, kernel, stride in reversed(conv_feature_layers):
        length = (length - 1) * stride + kernel
    return length


def _check(options: dict[str, Any]) -> None:
    if options["extractor_mode"] not in _EXTRACTOR_MODES:
        raise InputError(f"extractor_mode is one of {', '.join(_EXTRACTOR_MODES)}, not '{options['extractor_mode']}'")
    dim, heads = options["encoder_embed_dim"], options["encoder_attention_heads"]
    if dim % heads:
        raise InputError(f"encoder_embed_dim {dim} is not divisible by encoder_attention_heads {heads}")


def _buffers(shapes: dict[str, tuple[int, ...]]) -> nn.Module:
    holder = nn.Module()
    for name, shape in shapes.items():
        holder.register_buffer(name.replace(".", "__"), torch.zeros(shape))
    return holder


def _write_fairseq_names(module: SSLFrontend, state_dict: dict, prefix: str, _metadata: dict) -> None:
    for key in [k for k in state_dict if k.startswith(prefix)]:
        part, _, name = key[len(prefix) :].partition(".")
        published = to_fairseq(name, module.extractor_mode) if part == "model" else name.replace("__", ".")
        state_dict[f"{prefix}model.{published}"] = state_dict.pop(key)


def _read_fairseq_names(module: SSLFrontend, state_dict: dict, prefix: str, *_) -> None:
    unused = {name.replace("__", ".") for name, _ in module.unused.named_buffers()}
    for key in [k for k in state_dict if k.startswith(f"{prefix}model.")]:
        name = key[len(prefix) + len("model.") :]
        own = f"unused.{name.replace('.', '__')}" if name in unused else f"model.{to_transformers(name)}"
        state_dict[prefix + own] = state_dict.pop(key)
