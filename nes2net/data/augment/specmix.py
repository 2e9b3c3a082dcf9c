"""Specmix: mix the spectrograms and labels of two samples by bands of frequency and time.

G. Kim, D. K. Han, H. Ko, "SpecMix: a mixed sample data augmentation method for training with
time-frequency domain features", Interspeech 2021 (arXiv 2108.03020). A sample x with label y and
its partner x′ with label y′ become x̃ = M ⊙ x + (1 − M) ⊙ x′ and ỹ = λ·y + (1 − λ)·y′. The binary
mask M is 0 in some bands and 1 elsewhere; λ is the share of the area where M is 1.

Random Specmix (S. Dong et al., arXiv 2306.15389) mixes only frequency bands, and only in randomly
selected samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import Settings

Bands = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Mixed(NamedTuple):
    """A batch after mixing."""

    spectrograms: Tensor
    """B×T×F."""
    targets: Tensor
    """B×n: a distribution over the n classes for each sample."""
    own_share: Tensor
    """λ, (B,): share of its own area that a sample keeps; 1 if not mixed."""


@dataclass(frozen=True)
class Specmix(Settings):
    """The settings of Specmix, by default as in the paper; a call mixes the samples of a batch.

    Random Specmix is ``time_bands=0, probability=0.5``; the probability and the distributions are
    assumptions, because the abstract of Dong et al. only says "randomly select".

    Each selected sample gets its own mask, and any other sample of the batch as partner. The number
    of bands on an axis is drawn from 1 to ``frequency_bands`` or ``time_bands``, the width of a
    band from 1 to ⌊``gamma`` · length of the axis⌋ bins or frames, and its position from all that
    fit. All draws are uniform, and bands may overlap.

    >>> generator = torch.Generator().manual_seed(0)
    >>> mixed = Specmix(time_bands=0)(torch.randn(4, 100, 45), torch.tensor([0, 0, 1, 1]), generator)
    >>> mixed.targets.sum(1)
    tensor([1., 1., 1., 1.])
    """

    owner: ClassVar[str] = "Specmix"

    frequency_bands: Bands = 3
    """Largest number of frequency bands; 0 for no frequency bands."""
    time_bands: Bands = 3
    """Largest number of time bands; 0 for no time bands."""
    gamma: Share = 0.3
    """Largest width of a band, as a share of the length of its axis."""
    probability: Share = 1.0
    """Probability that a sample is mixed."""
    mix_labels: bool = True
    """Whether labels are mixed in proportion to the area. If false, a sample keeps its own label."""

    def __call__(
        self, spectrograms: Tensor, targets: Tensor, generator: torch.Generator, num_classes: int = 2
    ) -> Mixed:
        """Mix samples of a batch, selected by chance, each with another sample.

        With a generator on the CPU, the result is the same on every device.

        Args:
            spectrograms: B×T×F.
            targets: class numbers (B,), or distributions over the classes, B×n.
            num_classes: n, used only if ``targets`` are class numbers.

        Returns:
            The mixed batch. A batch of a single sample is not mixed.

        Raises:
            InputError: if ``spectrograms`` is not B×T×F.
        """
        if spectrograms.ndim != 3:
            raise InputError(
                f"Specmix requires spectrograms of shape (batch, frames, bins), not {tuple(spectrograms.shape)}: "
                "give one for each utterance"
            )
        batch, frames, bins = spectrograms.shape
        if targets.ndim == 1:
            targets = torch.nn.functional.one_hot(targets, num_classes)
        targets = targets.to(torch.promote_types(spectrograms.dtype, torch.float32))
        if batch < 2:
            return Mixed(spectrograms, targets, targets.new_ones(batch))

        # Another order of draws would change the result of every seed.
        selected = _uniform(generator, (batch,)) < self.probability
        partner = (torch.arange(batch, device=generator.device) + _integers(generator, (batch,), 1, batch - 1)) % batch
        in_frequency = self._draw_bands(generator, batch, self.frequency_bands, bins)  # B×F
        in_time = self._draw_bands(generator, batch, self.time_bands, frames)  # B×T
        pasted = (in_time.unsqueeze(2) | in_frequency.unsqueeze(1)) & selected.view(-1, 1, 1)  # B×T×F
        own_share = (1 - pasted.sum((1, 2)).to(targets.dtype) / (frames * bins)).to(targets.device, non_blocking=True)
        if self.mix_labels:
            share = own_share.unsqueeze(1)
            partner_targets = targets[partner.to(targets.device, non_blocking=True)]
            # Samples without a band keep their targets to the bit.
            targets = torch.where(share == 1, targets, share * targets + (1 - share) * partner_targets)
        pasted = pasted.to(spectrograms.device, non_blocking=True)
        partner = partner.to(spectrograms.device, non_blocking=True)
        return Mixed(torch.where(pasted, spectrograms[partner], spectrograms), targets, own_share)

    def _draw_bands(self, generator: torch.Generator, batch: int, max_bands: int, length: int) -> Tensor:
        """Return B×``length``, true inside one of up to ``max_bands`` random bands."""
        widest = math.floor(self.gamma * length)
        if not max_bands or not widest:
            return torch.zeros(batch, length, dtype=torch.bool, device=generator.device)
        # Another order of draws would change the result of every seed. Surplus bands are drawn, then get the width 0.
        num_bands = _integers(generator, (batch, 1), 1, max_bands)
        width = _integers(generator, (batch, max_bands), 1, widest)
        start = (_uniform(generator, (batch, max_bands)) * (length - width + 1)).long()
        width = torch.where(torch.arange(max_bands, device=generator.device) < num_bands, width, 0)
        position = torch.arange(length, device=generator.device)
        inside = (position >= start.unsqueeze(2)) & (position < (start + width).unsqueeze(2))  # B×bands×length
        return inside.any(1)


def _uniform(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)


def _integers(generator: torch.Generator, shape: tuple[int, ...], low: int, high: int) -> Tensor:
    """``low`` and ``high`` are both included."""
    return torch.randint(low, high + 1, shape, generator=generator, device=generator.device)
