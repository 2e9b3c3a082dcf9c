"""The contract of a front-end, which computes hidden states from a waveform."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from nes2net.lib.errors import InputError
from nes2net.lib.parts.contracts import Extension
from nes2net.lib.parts.options import Default, Options, Share, Size, check_options
from nes2net.models.checkpoints.mel_encoders import as_float32
from nes2net.models.checkpoints.state_dict import StateDict, check_fit


@dataclass(frozen=True)
class UsedSamples:
    """Counts how many leading samples of a waveform a front-end without padding reads.

    A call maps the number of samples to the end of the last complete frame, to which utterances are
    cut to share a batch. By default, all samples are read.

    Args:
        first: samples of the shortest waveform with a frame.
        step: samples from one frame to the next.
        most: largest number of samples read; None for no limit.

    >>> used = UsedSamples(400, 320)  # wav2vec 2.0
    >>> used(64600), used(64720), used(64719), used(399)
    (64400, 64720, 64400, 399)
    """

    first: int = 1
    step: int = 1
    most: int | None = None

    def __call__(self, num_samples: int) -> int:
        """Return how many of ``num_samples`` samples are used; all if they are shorter than a frame."""
        if self.most is not None:
            num_samples = min(num_samples, self.most)
        if num_samples < self.first:
            return num_samples
        return self.first + (num_samples - self.first) // self.step * self.step


#: Options that concern only training.
TRAINING_OPTIONS = frozenset(
    "dropout attention_dropout activation_dropout dropout_input conv_dropout encoder_layerdrop feature_grad_mult".split()
)
#: Which hidden states a front-end returns: only the last state, or all states.
Layers = Literal["last", "all"]


def check_hop_length(hop_length: int, min_hop_length: int) -> None:
    """Raise :class:`InputError` for a hop of so few samples that the frames would fill the memory."""
    if hop_length < min_hop_length:
        raise InputError(
            f"there are {hop_length} samples from one frame to the next (`model.frontend.hop_length`, or the product of the "
            f"strides of the convolutions): use at least {min_hop_length}"
        )


class Frontend(Extension, nn.Module, ABC):
    """Compute hidden states B×T×D from a waveform B×N (16 kHz, in [−1, 1])."""

    config: Options
    """Name and options that build this front-end again."""
    source: str = ""
    """Publication of the front-end, for ``nes2net info``; empty if none is known."""
    out_dim: Size
    """D, the size of a hidden state."""
    num_layers: Size = 1
    """L, the number of hidden states for ``layers="all"``."""
    hop_length: Size
    """Samples from one frame to the next."""
    min_samples: Size
    """Samples of the shortest waveform with a frame."""
    used_samples: UsedSamples = UsedSamples()
    """Number of samples → number of leading samples that the hidden states depend on."""
    pre_emphasis: Share = 0.0
    """Coefficient of the pre-emphasis that readers of recordings apply before cutting; 0 for none."""
    full_precision: bool = False
    """Whether the waveform must be at least float32 even with weights in half precision."""
    model_type: str = ""
    """Type of the model in the checkpoint (:mod:`nes2net.models.checkpoints.model_types`), if any."""
    note: str = ""
    """A note for users about an option from the checkpoint."""
    num_unused: int = 0
    """Number of parameters that only pre-training uses."""
    base: frozenset[str] = frozenset()
    """State-dict names of the frozen tensors of an adapted front-end."""
    encoder_layerdrop: float = 0.0
    """Probability of skipping a transformer layer in training."""
    uses_all_weights: bool = False
    """Whether each training step gives a gradient to all trained weights; False if unknown."""
    #: prefix of its keys in published whole-model files
    checkpoint_prefix = "ssl_model."
    #: pattern of the names of parameters that no gradient of the output reaches
    untrained: str = ""
    takes_prompt: bool = False
    """Whether the front-end calls :meth:`with_prompt`."""
    has_prompt: bool = False
    """Whether ``model.prompt`` is a prompt, 1×P×D; a deep prompt is L'×P×D for L' layers."""
    engine: str = ""
    """Library of the network, if there is a choice: ``transformers`` or ``fairseq``."""
    model: Any
    """The network, named as in published checkpoints."""

    if TYPE_CHECKING:  # tells mypy the types of a call, which torch.nn.Module does not declare

        def __call__(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]: ...

    @abstractmethod
    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the hidden states of ``waveform`` B×N.

        Args:
            layers: ``"all"`` for L states, ``"last"`` for a list with one.
            final_norm: whether the last state is taken after the final layer norm.
        """

    def check_length(self, waveform: Tensor) -> None:
        """Raise :class:`InputError` if ``waveform`` B×N is too short for one frame."""
        if waveform.shape[-1] < self.min_samples:
            raise InputError(
                f"a waveform of {waveform.shape[-1]} samples is too short: one frame needs {self.min_samples}; "
                "repeat the waveform"
            )

    @property
    def adapted(self) -> bool:
        """Whether the front-end is adapted (:mod:`nes2net.models.frontends.adaptation`)."""
        return "adapt" in self.config

    @property
    def transformer_layers(self) -> Sequence[nn.Module]:
        """The transformer layers, first to last; may be empty."""
        return ()

    @property
    def after_layers(self) -> Sequence[nn.Module]:
        """Modules after the last transformer layer, such as a final layer norm."""
        return ()

    def adopt_options(self, options: Options, checkpoint_options: Options, checkpoint: object) -> dict[str, Any]:
        """Replace ``options`` by a checkpoint's, except stated :data:`TRAINING_OPTIONS`; set the sizes of a transformer."""
        check_options(type(self), checkpoint_options, str(checkpoint))
        merged = {**options, **checkpoint_options}
        for name in TRAINING_OPTIONS & options.keys():
            value = options[name]
            if isinstance(value, Default):
                value = merged[name]
            merged[name] = float(value)
        self.encoder_layerdrop = merged["encoder_layerdrop"]
        self.out_dim = merged["encoder_embed_dim"]
        self.num_layers = merged["encoder_layers"] + 1
        return merged

    @contextmanager
    def loading(self, state_dict: StateDict | None, checkpoint: object) -> Iterator[None]:
        """Build the network in this context; then load the tensors of a pre-training file, if any, in float32.

        Raises:
            InputError: if the tensors do not fit.
        """
        if state_dict is None:
            yield
            return
        # The meta device gives no values: the memory-mapped tensors of the file become the parameters.
        with torch.device("meta"):
            yield
        self.load_pretrained(state_dict, checkpoint)

    def load_pretrained(self, state_dict: StateDict, checkpoint: object) -> None:
        """Load the tensors of a pre-training file in float32; raise :class:`InputError` if they do not fit."""
        tensors = as_float32(state_dict, "model.")
        check_fit(tensors, self.state_dict(), str(checkpoint))
        self.load_state_dict(tensors, assign=True)

    def with_prompt(self, x: Tensor, layer: int) -> Tensor:
        """Put a prompt of P vectors before the frames of ``x``, the input of transformer layer ``layer``.

        B×T×D → B×(P+T)×D for layer 0. Later layers get B×(P+T)×D, where a deep prompt replaces the
        P vectors. Without a prompt, ``x`` is returned.
        """
        if not self.has_prompt or layer >= len(self.model.prompt):
            return x
        if layer:
            x = self.without_prompt(x)
        return torch.cat([self.model.prompt[layer].expand(len(x), -1, -1).to(x.dtype), x], dim=1)

    def without_prompt(self, x: Tensor) -> Tensor:
        """Remove a prompt: B×(P+T)×D → B×T×D."""
        return x[:, self.model.prompt.shape[1] :] if self.has_prompt else x

    def run_layer(self, layer: nn.Module, x: Tensor, shared: Any) -> tuple[Tensor, Any]:
        """Apply one transformer layer to ``x`` B×T×D; return the output and ``shared`` for the next layer.

        Args:
            shared: a tensor of an earlier layer for all layers, such as a position bias.
        """
        out = layer(x, None)  # no mask
        if isinstance(out, tuple):
            out = out[0]
        return out, shared

    def through_layers(self, x: Tensor, layers: Layers, final_norm: bool) -> list[Tensor]:
        """Apply all transformer layers to ``x`` B×T×D; return hidden states as :meth:`forward` does.

        In training, layer drop may skip a layer.
        """
        hidden_states = []
        shared = None
        for number, layer in enumerate(self.transformer_layers):
            x = self.with_prompt(x, number)
            if layers == "all":
                hidden_states.append(self.without_prompt(x))
            # Layer drop (arXiv 1909.11556). The random number is drawn on the CPU, so that no step waits for a GPU.
            if self.training and self.encoder_layerdrop and torch.rand(()).item() < self.encoder_layerdrop:
                continue
            x, shared = self.run_layer(layer, x, shared)
        x = self.without_prompt(x)
        if final_norm:
            for module in self.after_layers:
                x = module(x)
        return [*hidden_states, x]

    def checkpoint_activations(self) -> None:
        """Let the backward pass recompute the activations of transformer layers (arXiv 1604.06174).

        Less memory, a third more time, the same gradients.

        Raises:
            InputError: if the front-end has no transformer layers.
        """
        if not self.transformer_layers:
            raise InputError(
                f"front-end '{self.config['name']}' has no transformer layers: remove `train.activation_checkpointing`"
            )
        for layer in self.transformer_layers:
            layer.forward = partial(recomputed, layer.forward, use_reentrant=False)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile the front-end in place, with the arguments of ``torch.compile``.

        In a transformer only the layers are compiled, once for all.
        """
        if not self.transformer_layers:
            super().compile(*args, **options)
        for layer in self.transformer_layers:
            if isinstance(layer.forward, partial):
                # checkpoint_activations() has wrapped forward(): compile the wrapped method.
                forward = torch.compile(layer.forward.args[0], *args, **options)
                layer.forward = partial(recomputed, forward, use_reentrant=False)
            else:
                layer.compile(*args, **options)
