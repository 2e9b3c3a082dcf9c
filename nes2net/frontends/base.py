"""How many samples of a waveform a front-end's output depends on."""

from __future__ import annotations

from dataclasses import dataclass


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
