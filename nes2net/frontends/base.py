"""The contract of a front-end, and how many samples its output depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from nes2net.errors import InputError


@dataclass(frozen=True)
class UsedSamples:
    """The number of leading samples that the hidden states of ``num_samples`` depend on, for a front-end that pads nothing.

    Frames start every ``step`` samples and the first is complete after ``first``; what comes after the last whole frame is never
    looked at. So utterances for which this number is the same can be cut to it and share a batch, each with the very hidden states
    that it has alone. The defaults are for a front-end that looks at everything.

    Args:
        first: samples of the shortest waveform that gives a frame.
        step: samples from one frame to the next.
        most: nothing after so many samples is used; None for no such limit.

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


class Frontend(nn.Module):
    """Waveform B×N (16 kHz, in [−1, 1]) in, hidden states B×T×D out."""

    config: dict[str, Any]
    """What builds it again: ``name`` and options."""
    out_dim: int
    """D, the size of a hidden state."""
    num_layers: int = 1
    """L, the number of hidden states for ``layers="all"``."""
    hop_length: int
    """Samples from one frame to the next."""
    min_samples: int
    """Samples of the shortest waveform that gives a frame."""
    used_samples: UsedSamples = UsedSamples()
    """How many leading samples the hidden states depend on; all of them unless it says otherwise."""
    engine: str = "torch"
    """The library whose network computes; checkpoints do not depend on it."""

    @property
    def num_unused(self) -> int:
        """How many numbers, of pre-training alone, it keeps for its files and never uses."""
        return 0

    def forward(
        self, waveform: Tensor, layers: Literal["last", "all"] = "last", final_norm: bool = True
    ) -> list[Tensor]:
        """Hidden states of ``waveform``: of every layer, or the last one alone.

        Without ``final_norm`` the last state is the last layer's own output, before the final layer norm.
        """
        raise TypeError(f"{type(self).__name__} is not a front-end by itself")

    def checkpoint_activations(self) -> None:
        """From now on compute activations again in the backward pass instead of keeping them.

        Raises:
            InputError: it has no layers for which this could be done.
        """
        raise InputError(
            f"front-end '{self.config['name']}' has no transformer layers: leave `train.activation_checkpointing` out"
        )
