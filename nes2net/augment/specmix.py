"""Specmix: two spectrograms of a batch mixed by bands of frequency and of time, and their labels by the area kept.

G. Kim, D. K. Han, H. Ko, "SpecMix: a mixed sample data augmentation method for training with time-frequency domain features",
Interspeech 2021 (arXiv 2108.03020): x̃ = M ⊙ x + (1 − M) ⊙ x′ with a binary mask M made of bands, ỹ = λ·y + (1 − λ)·y′, λ the part of
the area where M is 1. Random Specmix (S. Dong et al., arXiv 2306.15389) mixes frequency bands only, and only in randomly selected samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import NamedTuple

import torch
from torch import Tensor

from nes2net.errors import InputError, did_you_mean


class Mixed(NamedTuple):
    """``spectrograms`` B×T×F and ``targets`` B×n (each row sums to 1) after mixing; ``kept`` (B,) is λ, 1 for an untouched sample."""

    spectrograms: Tensor
    targets: Tensor
    kept: Tensor


@dataclass(frozen=True)
class Specmix:
    """Specmix with these settings; the defaults are the paper's, :data:`RANDOM_SPECMIX` has those of random Specmix.

    Every selected sample has a partner of its own, any other sample of the batch with equal chance, and a mask of its own. On each
    axis the number of bands is drawn from 1 to ``frequency_bands`` or ``time_bands``, the width of each band from 1 to ⌊``gamma`` · axis⌋
    bins or frames, and its place from all that fit, all uniformly; bands may overlap. (The abstract of random Specmix names none
    of these distributions: they are assumptions, see DEVIATIONS.md.)

    Raises:
        InputError: a setting is out of its range.

    >>> generator = torch.Generator().manual_seed(0)
    >>> mixed = Specmix(time_bands=0)(torch.randn(4, 100, 45), torch.tensor([0, 0, 1, 1]), generator)
    >>> mixed.targets.sum(1)
    tensor([1., 1., 1., 1.])
    """

    frequency_bands: int = 3
    """At most so many frequency bands; 0 for none."""
    time_bands: int = 3
    """At most so many time bands; 0 for none."""
    gamma: float = 0.3
    """A band covers at most this part of its axis."""
    probability: float = 1.0
    """Chance of a sample to be mixed."""
    mix_labels: bool = True
    """Mix the labels in proportion to the area kept; otherwise a sample keeps its own."""

    def __post_init__(self) -> None:
        for name in ("frequency_bands", "time_bands"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InputError(f"Specmix: {name} is a whole number of at least 0, not {value!r}")
        for name in ("gamma", "probability"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
                raise InputError(f"Specmix: {name} is a number from 0 to 1, not {value!r}")
        if not isinstance(self.mix_labels, bool):
            raise InputError(f"Specmix: mix_labels is true or false, not {self.mix_labels!r}")

    @classmethod
    def of(cls, **settings: float) -> Specmix:
        """As the constructor, but an unknown name raises :class:`nes2net.InputError` with the nearest one."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                raise InputError(f"Specmix has no setting '{name}'{did_you_mean(name, known)}")
        return cls(**settings)

    def __call__(
        self, spectrograms: Tensor, targets: Tensor, generator: torch.Generator, num_classes: int = 2
    ) -> Mixed:
        """Mix ``spectrograms`` B×T×F and ``targets``, class numbers (B,) or distributions over ``num_classes`` B×n.

        A few numbers per sample are drawn on the generator's device, in an order that depends on the shape and settings only: a generator
        on the CPU gives the same mix on every device. The spectrograms are mixed where they are.
        """
        if spectrograms.ndim != 3:
            raise InputError(f"Specmix takes spectrograms batch × frames × bins, not {tuple(spectrograms.shape)}")
        batch, frames, bins = spectrograms.shape
        if targets.ndim == 1:
            targets = torch.nn.functional.one_hot(targets, num_classes)
        targets = targets.to(torch.promote_types(spectrograms.dtype, torch.float32))
        if batch < 2:
            return Mixed(spectrograms, targets, targets.new_ones(batch))

        selected = _uniform(generator, batch) < self.probability
        partner = (torch.arange(batch, device=generator.device) + _integers(generator, batch, 1, batch - 1)) % batch
        in_frequency = self._bands(generator, batch, self.frequency_bands, bins)  # B×F
        in_time = self._bands(generator, batch, self.time_bands, frames)  # B×T
        pasted = (in_time.unsqueeze(2) | in_frequency.unsqueeze(1)) & selected.view(-1, 1, 1)  # B×T×F
        pasted, partner = pasted.to(spectrograms.device), partner.to(spectrograms.device)

        kept = 1 - pasted.sum((1, 2)).to(targets.dtype) / (frames * bins)
        if self.mix_labels:
            share = kept.unsqueeze(1)
            targets = torch.where(share == 1, targets, share * targets + (1 - share) * targets[partner])
        return Mixed(torch.where(pasted, spectrograms[partner], spectrograms), targets, kept)

    def _bands(self, generator: torch.Generator, batch: int, most: int, length: int) -> Tensor:
        """Where the bands of each sample lie on an axis of ``length``: B×length of booleans."""
        widest = math.floor(self.gamma * length)
        if not most or not widest:
            return torch.zeros(batch, length, dtype=torch.bool, device=generator.device)
        number = _integers(generator, (batch, 1), 1, most)
        width = _integers(generator, (batch, most), 1, widest)
        start = (_uniform(generator, (batch, most)) * (length - width + 1)).long()
        width = torch.where(torch.arange(most, device=generator.device) < number, width, 0)
        place = torch.arange(length, device=generator.device)
        inside = (place >= start.unsqueeze(2)) & (place < (start + width).unsqueeze(2))  # B×bands×length
        return inside.any(1)


#: Frequency bands only, in half of the samples (the half is an assumption: the paper's abstract says "randomly select").
RANDOM_SPECMIX = Specmix(time_bands=0, probability=0.5)


def _uniform(generator: torch.Generator, shape: int | tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)


def _integers(generator: torch.Generator, shape: int | tuple[int, ...], low: int, high: int) -> Tensor:
    """Uniform from ``low`` to ``high``, both included."""
    shape = (shape,) if isinstance(shape, int) else shape
    return torch.randint(low, high + 1, shape, generator=generator, device=generator.device)
