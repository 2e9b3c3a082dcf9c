"""Adversarial training: attack the utterances of a step, by the current weights, before they are trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from nes2net.lib.parts.options import Settings, Share, Size
from nes2net.models.attacks.attack import Attack, create_attack
from nes2net.models.attacks.batch import AttackedBatch, Side, on_side


@dataclass(frozen=True)
class AdversarialTraining(Settings):
    """The settings of adversarial training (Madry et al., ICLR 2018; arXiv 1706.06083); the defaults are assumptions."""

    owner: ClassVar[str] = "adversarial training"

    attack: str = "fgsm:40"
    """Attack and budget, such as `fgsm:40`, or `pgd:40` from a random start."""
    probability: Share = 0.5
    """Chance that an utterance is attacked."""
    side: Side = "both"
    """Attacked utterances: spoofed, bona fide or both."""
    steps: Size | None = None
    """Number of the attack's steps; null for its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.attacker  # refuses an unknown attack before training

    @cached_property
    def attacker(self) -> Attack:
        return create_attack(self.attack, steps=self.steps)

    def __call__(self, logits_of: Callable[[Tensor], Tensor], waveforms: Tensor, is_spoof: Tensor, seed: int) -> Tensor:
        """Attack the margin of some of ``waveforms`` B×N; ``is_spoof`` (B,) is on the CPU."""
        batch = AttackedBatch(logits_of, waveforms, is_spoof, "margin")
        batch.seed(seed)
        *_, attacked = self.attacker.iterates(batch)
        is_drawn = np.random.default_rng(seed).random(len(waveforms)) < self.probability
        is_attacked = on_side(is_spoof, self.side) & torch.from_numpy(is_drawn)
        return attacked.to(waveforms.dtype).where(is_attacked[:, None].to(waveforms.device), waveforms)
