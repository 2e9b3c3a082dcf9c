"""The base of the self-supervised front-ends: a transformer over strided convolutions.

Checkpoints have fairseq's parameter names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from nes2net.checkpoints.fairseq import read_ssl_checkpoint, to_fairseq, to_transformers
from nes2net.checkpoints.huggingface import PREPROCESSOR_FILE, read_huggingface_folder, says_normalize
from nes2net.checkpoints.model_types import types_of
from nes2net.checkpoints.state_dict import check_fit
from nes2net.errors import InputError
from nes2net.frontends.base import Frontend, Layers, UsedSamples, check_hop_length
from nes2net.frontends.feature_extractor import extract_features
from nes2net.options import Takes, check_options

#: Seven convolutions (channels, kernel, stride): 20 ms hop, 25 ms receptive field at 16 kHz.
STANDARD_CONVOLUTIONS = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)
_LONGEST_FRAME, _LEAST_HOP = 160_000, 128  # samples; 400 and 320 in XLS-R
_MOST_NUMBERS = 1024  # per sample of the waveform, between two convolutions; 103 in XLS-R

# Types of the options that both front-ends have.
ExtractorMode = Literal["layer_norm", "default"]
_Number = Annotated[int, Field(ge=1, le=4096)]
Convolutions = Annotated[
    Sequence[Annotated[Sequence[_Number], Field(min_length=3, max_length=3)]],
    Field(min_length=1, max_length=16),
    Takes("a list of 1 to 16 lists [channels, kernel, stride] of whole numbers from 1 to 4096"),
]
EncoderLayers = Annotated[int, Field(ge=1, le=128)]
Heads = Annotated[int, Field(ge=1, le=64)]
Kernel = Annotated[int, Field(ge=1, le=1024)]
GradientFactor = Annotated[float, Field(ge=0, le=1)]
Normalize = Annotated[bool | Literal["batch"] | None, Takes("true, false, batch or null")]
"""Whether waveforms are layer-normalised: each by itself, or ``"batch"``, the whole batch as one.

None leaves it to the ``preprocessor_config.json`` of a Hugging Face folder, the same for wav2vec 2.0,
HuBERT and WavLM. Without such a file waveforms stay as they are: the published code of XLS-R's
detectors reads fairseq's files so.
"""


class SSLFrontend(Frontend):
    """Waveform B×N → hidden states B×T×D of a network that a subclass builds.

    L, the number of hidden states for ``layers="all"``, is one per transformer layer and one for
    the final output. With a ``checkpoint``, a fairseq file or a Hugging Face folder, options and
    weights are those of the checkpoint; without one the weights are random.
    """

    name: str
    """Name of the front-end in the registry."""
    takes_prompt = True
    normalize: bool | str = False
    """Whether waveforms are layer-normalised first, see :data:`Normalize`."""
    engine: str = "transformers"
    """The library whose network computes; checkpoints do not depend on it."""
    model: Any
    """The network of the transformers library, or of fairseq."""

    def __init__(self, checkpoint: str | Path | None, options: dict[str, Any]) -> None:
        super().__init__()
        state_dict, normalize = None, options.pop("normalize")
        if normalize is None and checkpoint is not None and Path(checkpoint).is_dir():
            said = says_normalize(Path(checkpoint))
            who = f"it has no {PREPROCESSOR_FILE}" if said is None else f"its {PREPROCESSOR_FILE} says so"
            normalize, how = bool(said), "layer-normalised" if said else "not layer-normalised"
            self.note = f"{checkpoint}: waveforms are {how}, because {who}; `model.frontend.normalize` comes first"
        if checkpoint is not None:
            read = read_huggingface_folder if Path(checkpoint).is_dir() else read_ssl_checkpoint
            state_dict, in_file, self.model_type = read(checkpoint, types_of(self.name), known=options)
            check_options(type(self), in_file, str(checkpoint))
            options = {**options, **in_file}
        options["conv_feature_layers"] = [list(layer) for layer in options["conv_feature_layers"]]
        _check_together(options)
        self.config = {"name": self.name, **options, **({"normalize": normalize} if normalize else {})}
        self.encoder_layerdrop = options["encoder_layerdrop"]
        self.layer_norm_first = options["layer_norm_first"]
        self.extractor_mode = options["extractor_mode"]
        self.out_dim = options["encoder_embed_dim"]
        self.num_layers = options["encoder_layers"] + 1
        self.hop_length = math.prod(stride for _, _, stride in options["conv_feature_layers"])
        self.min_samples = receptive_field(options["conv_feature_layers"])
        self.used_samples = UsedSamples(self.min_samples, self.hop_length)
        if self.extractor_mode == "default":  # group norm over the whole time axis of the first convolution
            _, kernel, stride = options["conv_feature_layers"][0]
            self.used_samples = UsedSamples(kernel, stride)
        self.set_normalize(normalize or False)

        # With a checkpoint nothing is drawn at random: its tensors, memory-mapped, become the
        # parameters.
        with nullcontext() if state_dict is None else torch.device("meta"):
            self.model = self.build_model(options)
            self.unused = _buffers(self.unused_shapes(options)) if options["pretraining_heads"] else nn.Module()
        self.num_unused = sum(buffer.numel() for buffer in self.unused.buffers())
        # Otherwise the library makes the waveform require a gradient in train mode, for gradient
        # checkpointing.
        self.model.feature_extractor._requires_grad = False
        self.register_state_dict_post_hook(_write_fairseq_names)
        self.register_load_state_dict_pre_hook(_read_fairseq_names)
        if state_dict is not None:
            state_dict = {f"model.{k}": v.float() if v.is_floating_point() else v for k, v in state_dict.items()}
            check_fit(state_dict, self.state_dict(), str(checkpoint))
            self.load_state_dict(state_dict, assign=True)

    def build_model(self, options: dict[str, Any]) -> nn.Module:
        """Build the network of the transformers library for ``options``."""
        raise TypeError(f"{type(self).__name__} is not a front-end by itself")

    def unused_shapes(self, options: dict[str, Any]) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the tensors that only pre-training uses; they are never trained."""
        return {"mask_emb": (options["encoder_embed_dim"],)}

    def run_layer(self, layer: nn.Module, x: Tensor, shared: Any) -> tuple[Tensor, Any]:
        """Apply one transformer layer to ``x`` B×T×D; each layer passes ``shared`` to the next."""
        out = layer(x)
        return (out[0] if isinstance(out, tuple) else out), shared

    @property
    def transformer_layers(self) -> Sequence[nn.Module]:
        """Its transformer layers, from the first to the last."""
        return self.model.encoder.layers

    @property
    def after_layers(self) -> Sequence[nn.Module]:
        """The final layer norm, if the network normalises before each sublayer; otherwise it comes first."""
        return [self.model.encoder.layer_norm] if self.layer_norm_first else []

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the hidden states of ``waveform`` (B×N, 16 kHz, in [−1, 1]).

        No mask and no padding mask are applied.

        Args:
            layers: ``"all"`` or ``"last"``.
            final_norm: whether the last state is taken after the final layer norm. If not, it is
                the last layer's own output, as in fairseq's ``layer_results``, which SLS and AttM
                read.

        Returns:
            For ``"all"`` L tensors B×T×D: the input of each transformer layer, then the final
            output. For ``"last"`` only that final output. T is the number of frames after the
            convolutions: 64,600 samples give 201.

        Raises:
            InputError: if the waveform is too short for one frame.
        """
        self.check_length(waveform)
        if self.normalize:
            shape = waveform.shape if self.normalize == "batch" else waveform.shape[-1:]
            waveform = functional.layer_norm(waveform, shape)
        return self.encode(waveform, layers, final_norm)

    def set_normalize(self, normalize: bool | str) -> None:
        """Layer-normalise waveforms from now on, see :data:`Normalize`."""
        self.normalize = normalize
        if normalize:  # mean and variance depend on all samples
            self.used_samples = UsedSamples()

    def encode(self, waveform: Tensor, layers: Layers, final_norm: bool) -> list[Tensor]:
        """Compute the hidden states that :meth:`forward` returns; the waveform is long enough."""
        encoder = self.model.encoder
        x = extract_features(self.model.feature_extractor, waveform)  # B×T×channels
        if (scale := self.config["feature_grad_mult"]) != 1:
            x = x.detach() + scale * (x - x.detach())
        x = self.model.feature_projection(x)[0]  # B×T×D
        x = x + encoder.pos_conv_embed(x)
        if not self.layer_norm_first:
            x = encoder.layer_norm(x)
        x = encoder.dropout(x)
        hidden_states, shared = [], None
        for number, layer in enumerate(encoder.layers):
            x = self.with_prompt(x, number)
            if layers == "all":
                hidden_states.append(self.without_prompt(x))
            # Layer drop (arXiv 1909.11556); drawn on the CPU, so that no GPU has to be waited for.
            if self.training and self.encoder_layerdrop and torch.rand(()).item() < self.encoder_layerdrop:
                continue
            x, shared = self.run_layer(layer, x, shared)
        x = self.without_prompt(x)
        hidden_states.append(encoder.layer_norm(x) if self.layer_norm_first and final_norm else x)
        return hidden_states


def receptive_field(conv_feature_layers: Sequence[Sequence[int]]) -> int:
    """Samples that one frame sees, which is the shortest input that gives a frame.

    >>> receptive_field(STANDARD_CONVOLUTIONS)
    400
    """
    length = 1
    for _, kernel, stride in reversed(conv_feature_layers):
        length = (length - 1) * stride + kernel
    return length


def _check_together(options: dict[str, Any]) -> None:
    """Check the options that limit each other.

    Raises:
        InputError: if they do not go together, or make frames that are too many or too long.
    """
    dim = options["encoder_embed_dim"]
    for name in ("encoder_attention_heads", "conv_pos_groups"):
        if dim % options[name]:
            raise InputError(f"encoder_embed_dim {dim} is not divisible by {name} {options[name]}")
    layers, hop = options["conv_feature_layers"], 1
    for channels, _, stride in layers:
        hop *= stride
        if channels > _MOST_NUMBERS * hop:
            raise InputError(
                f"conv_feature_layers make {channels} numbers of every {hop} samples: at most {_MOST_NUMBERS} of each "
                "sample are expected"
            )
    check_hop_length(hop, _LEAST_HOP)
    if (length := receptive_field(layers)) > _LONGEST_FRAME:
        raise InputError(
            f"conv_feature_layers read {length:.3g} samples for a frame: at most {_LONGEST_FRAME} are expected"
        )


def _buffers(shapes: dict[str, tuple[int, ...]]) -> nn.Module:
    """A module that holds a buffer of zeros per name; names have ``__`` in place of dots."""
    holder = nn.Module()
    for name, shape in shapes.items():
        holder.register_buffer(name.replace(".", "__"), torch.zeros(shape))
    return holder


def _write_fairseq_names(module: SSLFrontend, state_dict: dict, prefix: str, _metadata: dict) -> None:
    for key in [k for k in state_dict if k.startswith(prefix)]:
        part, _, name = key[len(prefix) :].partition(".")
        published = to_fairseq(name, module.extractor_mode) if part == "model" else name.replace("__", ".")
        state_dict[f"{prefix}model.{published}"] = state_dict.pop(key)


def _read_fairseq_names(module: SSLFrontend, state_dict: dict, prefix: str, *_: Any) -> None:
    unused = {name.replace("__", ".") for name, _ in module.unused.named_buffers()}
    for key in [k for k in state_dict if k.startswith(f"{prefix}model.")]:
        name = key[len(prefix) + len("model.") :]
        own = f"unused.{name.replace('.', '__')}" if name in unused else f"model.{to_transformers(name)}"
        state_dict[prefix + own] = state_dict.pop(key)
