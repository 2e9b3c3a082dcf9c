"""The contract of a front-end: waveform in, hidden states out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from nes2net.lib.errors import InputError


@dataclass(frozen=True)
class UsedSamples:
    """The number of leading samples that the hidden states depend on, in a front-end without padding.

    Called with a number of samples, it returns the number of samples up to the end of the last
    complete frame; later samples are never read. Utterances with the same result can be cut to it
    and share a batch, and each has exactly the same hidden states as alone. The defaults are for a
    front-end that reads all samples.

    Args:
        first: samples of the shortest waveform that gives a frame.
        step: samples from one frame to the next.
        most: samples after so many are not read; None for no limit.

    >>> used = UsedSamples(400, 320)  # wav2vec 2.0
    >>> used(64600), used(64720), used(64719), used(399)
    (64400, 64720, 64400, 399)
    """

    first: int = 1
    step: int = 1
    most: int | None = None

    def __call__(self, num_samples: int) -> int:
        if self.most is not None:
            num_samples = min(num_samples, self.most)
        if num_samples < self.first:
            return num_samples
        return self.first + (num_samples - self.first) // self.step * self.step


#: The hidden states that a caller asks for: the last one, or all of them.
Layers = Literal["last", "all"]


def check_hop_length(hop_length: int, min_hop_length: int) -> None:
    """Raise an error for a hop so short that the frames of a short waveform would take all memory.

    Raises:
        InputError: if ``hop_length`` is below ``min_hop_length`` samples.
    """
    if hop_length < min_hop_length:
        raise InputError(
            f"there are {hop_length} samples from one frame to the next: at least {min_hop_length} are expected"
        )


class Frontend(nn.Module):
    """Waveform B×N (16 kHz, in [−1, 1]) → hidden states B×T×D."""

    config: dict[str, Any]
    """The name and options that build this front-end again."""
    out_dim: int
    """D, the size of a hidden state."""
    num_layers: int = 1
    """L, the number of hidden states for ``layers="all"``."""
    hop_length: int
    """Samples from one frame to the next."""
    min_samples: int
    """Samples of the shortest waveform that gives a frame."""
    used_samples: UsedSamples = UsedSamples()
    """The number of leading samples that the hidden states depend on; by default all samples."""
    full_precision: bool = False
    """Whether it takes the waveform in at least float32, for any type of its weights."""
    model_type: str = ""
    """Type of the model that its checkpoint holds (:mod:`nes2net.models.checkpoints.model_types`), if it has one."""
    note: str = ""
    """A note for users about an option that its checkpoint decided; usually empty."""
    num_unused: int = 0
    """Numbers in the pre-training tensors that are only kept for its checkpoints."""
    base: frozenset[str] = frozenset()
    """Names in its state dict of the frozen tensors, if it is adapted."""
    encoder_layerdrop: float = 0.0
    """Chance of skipping a transformer layer in training."""
    takes_checkpoint: ClassVar[bool] = True
    """Whether its constructor takes a pre-training file."""
    takes_prompt: bool = False
    """Whether its ``forward`` puts a prompt before the frames, by :meth:`with_prompt`."""
    model: Any
    """Its network, under the name that published checkpoints give to it."""

    if TYPE_CHECKING:  # torch.nn.Module does not type its call

        def __call__(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]: ...

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the hidden states of ``waveform`` B×N.

        Args:
            layers: ``"all"`` for L hidden states, ``"last"`` for a list of the last one.
            final_norm: whether the last state is taken after the final layer norm.
        """
        raise TypeError(f"{type(self).__name__} is not a front-end by itself")

    def check_length(self, waveform: Tensor) -> None:
        """Raise :class:`InputError` if ``waveform`` B×N is too short for one frame."""
        if waveform.shape[-1] < self.min_samples:
            raise InputError(
                f"a waveform of {waveform.shape[-1]} samples is too short: one frame needs {self.min_samples}; "
                "repeat it"
            )

    @property
    def adapted(self) -> bool:
        """Whether a few tensors are trained instead of its weights (:mod:`nes2net.models.frontends.adaptation`)."""
        return "adapt" in self.config

    @property
    def transformer_layers(self) -> Sequence[nn.Module]:
        """Its transformer layers, from the first to the last; empty if it has none."""
        return ()

    @property
    def after_layers(self) -> Sequence[nn.Module]:
        """The modules after the last transformer layer, such as a final layer norm."""
        return ()

    def with_prompt(self, x: Tensor, layer: int) -> Tensor:
        """Put a prompt of P vectors before the frames of ``x`` B×T×D, the input of transformer layer ``layer``.

        The result is B×(P+T)×D. After the first layer, the frames of ``x`` already follow a prompt,
        which a deep prompt replaces. Without a prompt ``x`` is returned.
        """
        prompt = getattr(self.model, "prompt", None)  # 1×P×D, or L'×P×D for L' layers
        if prompt is None or layer >= len(prompt):
            return x
        if layer:
            x = self.without_prompt(x)
        return torch.cat([prompt[layer].expand(len(x), -1, -1).to(x.dtype), x], dim=1)

    def without_prompt(self, x: Tensor) -> Tensor:
        """Frames B×T×D of ``x`` B×(P+T)×D."""
        prompt = getattr(self.model, "prompt", None)
        if prompt is None:
            return x
        return x[:, prompt.shape[1] :]

    def run_layer(self, layer: nn.Module, x: Tensor, shared: Any) -> tuple[Tensor, Any]:
        """Apply one transformer layer to ``x`` B×T×D; each layer passes ``shared`` to the next."""
        out = layer(x, None)  # no mask
        if isinstance(out, tuple):
            out = out[0]
        return out, shared

    def through_layers(self, x: Tensor, layers: Layers, final_norm: bool) -> list[Tensor]:
        """Compute the hidden states that :meth:`forward` returns from ``x`` B×T×D, the first layer's input."""
        hidden_states = []
        shared = None
        for number, layer in enumerate(self.transformer_layers):
            x = self.with_prompt(x, number)
            if layers == "all":
                hidden_states.append(self.without_prompt(x))
            # Layer drop (arXiv 1909.11556), drawn on the CPU, so that no step waits for a GPU.
            if self.training and self.encoder_layerdrop and torch.rand(()).item() < self.encoder_layerdrop:
                continue
            x, shared = self.run_layer(layer, x, shared)
        x = self.without_prompt(x)
        if final_norm:
            for module in self.after_layers:
                x = module(x)
        return [*hidden_states, x]

    def checkpoint_activations(self) -> None:
        """Compute each transformer layer's activations again in the backward pass, from now on.

        This takes less memory and about a third more time. The gradients are the same, because
        dropout draws the same numbers again (T. Chen et al., "Training deep nets with sublinear
        memory cost", arXiv 1604.06174).

        Raises:
            InputError: if it has no transformer layers.
        """
        if not self.transformer_layers:
            raise InputError(
                f"front-end '{self.config['name']}' has no transformer layers: leave "
                "`train.activation_checkpointing` out"
            )
        for layer in self.transformer_layers:
            layer.forward = partial(recomputed, layer.forward, use_reentrant=False)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile it in place, with the arguments of ``torch.compile``.

        In a transformer only the layers are compiled, and they share the code that is compiled for
        the first one. The convolutions before them are not compiled, because compiling does not
        make them faster on a CPU.
        """
        if not self.transformer_layers:
            super().compile(*args, **options)
        for layer in self.transformer_layers:
            if isinstance(layer.forward, partial):  # activations are recomputed: compile the inner function
                forward = torch.compile(layer.forward.args[0], *args, **options)
                layer.forward = partial(recomputed, forward, use_reentrant=False)
            else:
                layer.compile(*args, **options)
