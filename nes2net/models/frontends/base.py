"""The contract of a front-end, which computes hidden states from a waveform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from nes2net.lib.errors import InputError
from nes2net.models.checkpoints.mel_encoders import as_float32
from nes2net.models.checkpoints.state_dict import check_fit


@dataclass(frozen=True)
class UsedSamples:
    """Counts how many leading samples of a waveform a front-end without padding reads.

    A call takes the number of samples of the waveform, and returns the number of samples up to the
    end of the last complete frame. The front-end never reads later samples. If several utterances
    have the same number of used samples, they can be cut to this number and share a batch, because
    the cut does not change the hidden states. The default values are for a front-end that reads all
    samples.

    Args:
        first: number of samples of the shortest waveform that gives a frame.
        step: number of samples from one frame to the next.
        most: largest number of samples that are read; None for no limit.

    >>> used = UsedSamples(400, 320)  # wav2vec 2.0
    >>> used(64600), used(64720), used(64719), used(399)
    (64400, 64720, 64400, 399)
    """

    first: int = 1
    step: int = 1
    most: int | None = None

    def __call__(self, num_samples: int) -> int:
        """Return how many of ``num_samples`` samples are used; all of them if the waveform is shorter than a frame."""
        if self.most is not None:
            num_samples = min(num_samples, self.most)
        if num_samples < self.first:
            return num_samples
        return self.first + (num_samples - self.first) // self.step * self.step


#: Which hidden states a front-end returns: only the last state, or all states.
Layers = Literal["last", "all"]


def check_hop_length(hop_length: int, min_hop_length: int) -> None:
    """Refuse a hop so short that the frames of a short waveform would fill the memory.

    Raises:
        InputError: if ``hop_length`` is less than ``min_hop_length`` samples.
    """
    if hop_length < min_hop_length:
        raise InputError(
            f"there are {hop_length} samples from one frame to the next: at least {min_hop_length} are expected"
        )


class Frontend(nn.Module):
    """Compute hidden states B×T×D from a waveform B×N (16 kHz, in [−1, 1])."""

    config: dict[str, Any]
    """The name and options that build this front-end again."""
    source: str = ""
    """Publication of the front-end, for ``nes2net info``; empty if none is known."""
    out_dim: int
    """D, the size of a hidden state."""
    num_layers: int = 1
    """L, the number of hidden states for ``layers="all"``."""
    hop_length: int
    """Number of samples from one frame to the next."""
    min_samples: int
    """Number of samples of the shortest waveform that gives a frame."""
    used_samples: UsedSamples = UsedSamples()
    """Length of a waveform → number of leading samples that the hidden states depend on; by default all."""
    pre_emphasis: float = 0.0
    """Coefficient of the pre-emphasis of a recording before it is cut; 0 for none. The code that
    reads recordings applies the pre-emphasis (:func:`nes2net.data.audio.waveform.pre_emphasised`),
    so ``forward`` must not apply it again."""
    full_precision: bool = False
    """Whether the waveform must be at least float32, even if the weights have half precision."""
    model_type: str = ""
    """Type of the model in the checkpoint (:mod:`nes2net.models.checkpoints.model_types`); empty without a file."""
    note: str = ""
    """A note for users about an option whose value comes from the checkpoint; usually empty."""
    num_unused: int = 0
    """Number of parameters that only pre-training uses. These parameters are kept so that
    checkpoints load and save completely."""
    base: frozenset[str] = frozenset()
    """State-dict names of the frozen tensors of an adapted front-end; empty if it is not adapted."""
    encoder_layerdrop: float = 0.0
    """Probability of skipping a transformer layer in training."""
    uses_all_weights: bool = False
    """Whether each training step gives a gradient to all weights that are trained; False if that is not known."""
    takes_checkpoint: ClassVar[bool] = True
    """Whether the constructor takes a pre-training file."""
    takes_prompt: bool = False
    """Whether the front-end calls :meth:`with_prompt`, so that it can be adapted by a prompt."""
    model: Any
    """The network, under the name that it has in published checkpoints."""

    if TYPE_CHECKING:  # tells mypy the types of a call, which torch.nn.Module does not declare

        def __call__(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]: ...

    def forward(self, waveform: Tensor, layers: Layers = "last", final_norm: bool = True) -> list[Tensor]:
        """Compute the hidden states of ``waveform`` B×N.

        Args:
            layers: the states to return, ``"all"`` for L states or ``"last"`` for a list with one
                state.
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
        """Whether only a few tensors of the front-end are trained (:mod:`nes2net.models.frontends.adaptation`)."""
        return "adapt" in self.config

    @property
    def transformer_layers(self) -> Sequence[nn.Module]:
        """The transformer layers, from the first to the last; empty without a transformer."""
        return ()

    @property
    def after_layers(self) -> Sequence[nn.Module]:
        """The modules after the last transformer layer, such as a final layer norm."""
        return ()

    def load_pretrained(self, state_dict: Mapping[str, Tensor], checkpoint: str) -> None:
        """Take over the tensors of a pre-training file, in float32; raise :class:`InputError` if they do not fit."""
        tensors = as_float32(state_dict, "model.")
        check_fit(tensors, self.state_dict(), checkpoint)
        self.load_state_dict(tensors, assign=True)

    def with_prompt(self, x: Tensor, layer: int) -> Tensor:
        """Put a prompt of P vectors before the frames of ``x``, the input of transformer layer number ``layer``.

        The input of layer 0 is B×T×D, and the result is B×(P+T)×D. The input of a later layer is
        B×(P+T)×D already. A deep prompt then puts new vectors in place of the P vectors; any other
        prompt leaves the P vectors unchanged. A front-end without a prompt returns ``x``.
        """
        prompt = getattr(self.model, "prompt", None)  # 1×P×D; a deep prompt is L'×P×D for L' layers
        if prompt is None or layer >= len(prompt):
            return x
        if layer:
            x = self.without_prompt(x)
        return torch.cat([prompt[layer].expand(len(x), -1, -1).to(x.dtype), x], dim=1)

    def without_prompt(self, x: Tensor) -> Tensor:
        """Remove the P vectors of a prompt: ``x`` B×(P+T)×D → frames B×T×D."""
        prompt = getattr(self.model, "prompt", None)
        return x if prompt is None else x[:, prompt.shape[1] :]

    def run_layer(self, layer: nn.Module, x: Tensor, shared: Any) -> tuple[Tensor, Any]:
        """Apply one transformer layer to ``x`` B×T×D.

        Args:
            shared: a tensor that an earlier layer computed for all layers, such as a position bias;
                None for the first layer.

        Returns:
            The output B×T×D, and ``shared`` for the next layer.
        """
        out = layer(x, None)  # no mask
        if isinstance(out, tuple):
            out = out[0]
        return out, shared

    def through_layers(self, x: Tensor, layers: Layers, final_norm: bool) -> list[Tensor]:
        """Apply all transformer layers to ``x`` B×T×D, the input of the first layer, and return hidden states.

        ``layers``, ``final_norm`` and the result are as for :meth:`forward`. In training, layer
        drop may skip a layer.
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
        """Let the backward pass compute the activations of transformer layers again, instead of storing them.

        Training then takes less memory and about a third more time. The gradients are the same,
        because dropout draws the same numbers again (T. Chen et al., "Training deep nets with
        sublinear memory cost", arXiv 1604.06174).

        Raises:
            InputError: if the front-end has no transformer layers.
        """
        if not self.transformer_layers:
            raise InputError(
                f"front-end '{self.config['name']}' has no transformer layers: leave "
                "`train.activation_checkpointing` out"
            )
        for layer in self.transformer_layers:
            layer.forward = partial(recomputed, layer.forward, use_reentrant=False)

    def compile(self, *args: Any, **options: Any) -> None:
        """Compile the front-end in place, with the arguments of ``torch.compile``.

        In a transformer only the layers are compiled; all layers share the code that was compiled
        for the first layer. The convolutions before the layers are not compiled, because compiled
        convolutions are not faster on a CPU.
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
