"""One perturbation for all recordings: an added waveform, or Malafide's filter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad, softplus

from nes2net.lib.output.progress import ProgressDisplay
from nes2net.models.attacks.attack import Attack
from nes2net.models.attacks.batch import AttackedBatch, objective_of


class UniversalAttack(Attack):
    """Fits a perturbation on some recordings and applies it to others, or to the same."""

    level: ClassVar[str] = "objective"
    """What progress shows: the name of :attr:`AttackedBatch.level`."""

    def fit(self, batches: Sequence[AttackedBatch]) -> Tensor:
        """Fit in ``steps`` steps, each on the next of the batches in turn."""
        raise NotImplementedError

    def apply(self, batch: AttackedBatch, perturbation: Tensor) -> Tensor:
        """Perturb the clean recordings B×N."""
        raise NotImplementedError

    def in_turn(self, batches: Sequence[AttackedBatch]) -> Iterator[AttackedBatch]:
        """Yield the batch of each step, and show the progress."""
        steps = islice(cycle(batches), self.steps)
        display = ProgressDisplay(steps, title="fitting the attack", unit="step", total=self.steps)
        for batch in display:
            yield batch
            display.facts = [f"{self.level} {batch.level:.4f}"]

    def iterates(self, batch: AttackedBatch) -> Iterator[Tensor]:
        perturbation = batch.perturbation
        if perturbation is None:
            perturbation = self.fit([batch])
        yield self.apply(batch, perturbation)


class AddedWaveform(UniversalAttack):
    """``universal``: one waveform 1×N, added to all recordings; repeated or cut to their lengths."""

    usual_steps = 100
    usual_step = 0.1
    budgets = r"(\d+(?:\.\d+)?)(fs)"
    budget_advice = "an amplitude, such as universal:0.002fs"

    def fit(self, batches: Sequence[AttackedBatch]) -> Tensor:
        num_samples = max(batch.clean.shape[1] for batch in batches)
        delta = batches[0].clean.new_zeros(1, num_samples)
        for batch in self.in_turn(batches):
            gradient = batch.gradient(self.apply(batch, delta)).sum(0, keepdim=True)
            gradient = pad(gradient, (0, num_samples - gradient.shape[1]))
            delta = (delta + self.step * self.size * gradient.sign()).clamp(-self.size, self.size)
        return delta

    def apply(self, batch: AttackedBatch, perturbation: Tensor) -> Tensor:
        num_samples = batch.clean.shape[1]
        num_copies = -(-num_samples // perturbation.shape[1])
        return batch.limited(perturbation.repeat(1, num_copies)[:, :num_samples])


class Malafide(UniversalAttack):
    """``malafide``: a filter (M,) whose centre is 1 (Panariello et al., Interspeech 2023).

    ``budget`` is M; ``step`` is Adam's learning rate, which falls along a cosine to the part
    ``last_rate``. 1,000 steps are an assumption; the authors make ten epochs of batches of 8.
    """

    usual_steps = 1000
    usual_step = 0.001
    budgets = r"(\d{0,4}[13579])"
    unit = "taps"
    budget_advice = "an odd number of taps, such as malafide:513"
    weight_decay: ClassVar[float] = 1e-4
    last_rate: ClassVar[float] = 0.1
    level = "loss"

    def start(self, batch: AttackedBatch) -> Tensor:
        """Draw the first taps."""
        num_taps = int(self.size)
        bound = 0.7 / num_taps**0.5  # 0.7 is the authors' `initial_dampening`
        return bound * batch.uniform(num_taps)[0]

    def fit(self, batches: Sequence[AttackedBatch]) -> Tensor:
        taps = self.start(batches[0])
        centre = len(taps) // 2
        taps[centre] = 1
        optimiser = torch.optim.Adam([taps], self.step, weight_decay=self.weight_decay)
        num_decays = max(self.steps - 10, 1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, num_decays, self.step * self.last_rate)
        for batch in self.in_turn(batches):
            taps.grad = batch.gradient(taps, partial(self.loss, batch))
            optimiser.step()
            schedule.step()
            taps[centre] = 1
        return taps

    @staticmethod
    def loss(batch: AttackedBatch, taps: Tensor) -> Tensor:
        """Compute the mean cross-entropy of the wrong label."""
        logits = batch.logits_of(filtered(batch.clean, taps).to(batch.dtype))
        return softplus(-objective_of(logits, batch.signs, "margin")).mean()

    def apply(self, batch: AttackedBatch, perturbation: Tensor) -> Tensor:
        """Filter, and scale a recording with a peak above 1 to 1."""
        waveforms = filtered(batch.clean, perturbation)
        return waveforms / waveforms.abs().amax(1, keepdim=True).clamp(min=1)


def filtered(waveforms: Tensor, taps: Tensor) -> Tensor:
    """Correlate B×N with (M,), with zeros at both ends."""
    return conv1d(waveforms[:, None], taps[None, None], padding=len(taps) // 2)[:, 0]
