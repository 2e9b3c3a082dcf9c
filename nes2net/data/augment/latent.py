"""Latent augmentation: perturb the embeddings of spoofed utterances before the last layer.

W. Huang et al., "Generalizable audio deepfake detection via latent space refinement and
augmentation", ICASSP 2025 (arXiv 2501.14240). The code is not published. The kinds of perturbation
were written down from memory of the paper, and all numbers are assumptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.random import Generator
from pydantic import Field
from torch import Tensor

from nes2net.lib.errors import InputError
from nes2net.lib.parts.options import Settings, Share, Takes

Kind = Literal["noise", "affine", "mixup", "interpolation", "extrapolation"]
_KINDS: tuple[Kind, ...] = get_args(Kind)
Size = Annotated[float, Field(ge=0, le=10)]


@dataclass(frozen=True)
class LatentAugmentation(Settings):
    """The settings of latent augmentation; a call augments a batch of embeddings.

    One of the ``kinds`` is drawn for each batch. Each spoofed utterance is perturbed with the
    chance ``probability``; one with a bona fide part is not. Let x be an embedding, r its root mean
    square, x' the embedding of another spoofed utterance of the batch, and g and h standard normal
    vectors. Each utterance has its own random numbers, except in ``affine``:

    - ``noise``: x + ``noise``·r·g
    - ``affine``: (1 + ``affine``·g) ⊙ x + ``affine``·r·h, with the same g and h for the whole batch
    - ``mixup``: x + λ(x' − x) with λ from Beta(``mixup``, ``mixup``)
    - ``interpolation``: x + λ(x' − x) with λ uniform from 0 to ``factor``
    - ``extrapolation``: x − λ(x' − x) with the same λ as ``interpolation``

    >>> embeddings, targets = torch.randn(4, 8), torch.tensor([0, 1, 0, 1])
    >>> perturbed = LatentAugmentation(probability=1.0)(embeddings, targets, np.random.default_rng(0))
    >>> (perturbed == embeddings).all(1)
    tensor([False,  True, False,  True])
    """

    owner: ClassVar[str] = "latent augmentation"

    kinds: Annotated[Sequence[Kind], Field(min_length=1, max_length=5), Takes(f"a list of {', '.join(_KINDS)}")] = (
        _KINDS
    )
    """Kinds of perturbation, equally likely."""
    probability: Share = 0.5
    """Chance that a spoofed utterance is perturbed."""
    noise: Size = 0.1
    """Standard deviation of the perturbation ``noise``, relative to the root mean square of the embedding."""
    affine: Size = 0.1
    """Standard deviation of the factors in the perturbation ``affine``; the mean factor is 1. The
    added vectors have the same standard deviation, relative to the root mean square of the
    embedding."""
    mixup: Annotated[float, Field(gt=0, le=100)] = 0.5
    """The value of both parameters of the beta distribution of λ in ``mixup``."""
    factor: Size = 0.5
    """Largest λ of ``interpolation`` and ``extrapolation``."""

    def __call__(self, embeddings: Tensor, targets: Tensor, rng: Generator, bonafide: int = 1) -> Tensor:
        """Perturb the embeddings of some spoofed utterances of a batch, chosen at random.

        Args:
            embeddings: B×E.
            targets: class numbers (B,), or B×K with each class's share in a mixed sample.
            rng: draws in an order that depends only on the shape and the settings.
            bonafide: index of the bona fide class, the last; K if there is none.

        Returns:
            B×E, of the type of ``embeddings``.

        Raises:
            InputError: if ``embeddings`` is not B×E.
        """
        if embeddings.ndim != 2:
            raise InputError(
                f"latent augmentation requires embeddings of shape (batch, size), not {tuple(embeddings.shape)}: "
                "give one for each utterance"
            )
        batch, size = embeddings.shape
        # Another order of draws would change the result of every seed.
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        # Always float32: in half precision, a number just below 1 would become 1.
        order, chance = torch.from_numpy(rng.random((2, batch))).to(embeddings.device, torch.float32, non_blocking=True)
        if targets.ndim == 1:
            spoof = targets != bonafide
        else:  # a mixed sample is spoofed if no part of it is bona fide
            spoof = targets[:, bonafide:].sum(1) == 0
        level = embeddings.detach().square().mean(1, keepdim=True).sqrt()  # r
        x = embeddings
        if kind == "noise":
            x = x + self.noise * level * _tensor_like(rng.standard_normal((batch, size)), x)
        elif kind == "affine":
            g, h = _tensor_like(rng.standard_normal((2, size)), x)
            x = (1 + self.affine * g) * x + self.affine * level * h
        else:
            if kind == "mixup":
                share = rng.beta(self.mixup, self.mixup, batch)
            else:
                share = self.factor * rng.random(batch)
            if kind == "extrapolation":
                share = -share
            # Spoofed utterances come first, in a random order; the partner of each is the next one, of the last the
            # first, and of a single one itself. No step copies a value from the GPU, because the CPU would have to
            # wait.
            spoof_first = torch.where(spoof, order, 2.0).argsort()
            following = (torch.arange(batch, device=spoof.device) + 1) % spoof.sum().clamp_min(1)
            partners = torch.empty_like(spoof_first).scatter_(0, spoof_first, spoof_first[following])
            x = x + _tensor_like(share, x).unsqueeze(1) * (x[partners] - x)
        return torch.where((spoof & (chance < self.probability)).unsqueeze(1), x, embeddings)


def _tensor_like(draws: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(draws).to(like, non_blocking=True)
