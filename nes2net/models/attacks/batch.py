"""What an attack knows: a detector as a function of waveforms, the clean recordings and their labels."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from nes2net.lib.computing.devices import differentiable, float32_products, without_autocast
from nes2net.lib.errors import InputError
from nes2net.models.backends.base import scores_of

#: What an attack raises (:func:`objective_of`).
Objective: TypeAlias = Literal["score", "margin", "ce"]
#: Recordings that an attack changes.
Side: TypeAlias = Literal["spoof", "bonafide", "both"]


class NoGradient(InputError):
    """No gradient of the detector reaches the waveform, or it is not finite."""


def objective_of(logits: Tensor, signs: Tensor, objective: Objective) -> Tensor:
    """Compute what an attack raises (B,), from ``logits`` B×n, bona fide last.

    Args:
        signs: (B,), 1 for spoofed, −1 for bona fide.
        objective: ``"score"``, the last logit, or ``"margin"``, the log odds of bona fide, times the
            sign; ``"ce"``, the cross-entropy of the true label.

    >>> logits = torch.tensor([[-1.0, 2.0], [-1.0, 2.0]])
    >>> objective_of(logits, torch.tensor([1.0, -1.0]), "margin")
    tensor([ 3., -3.])
    """
    if objective == "score":
        return signs * logits[:, -1]
    margins = signs * scores_of(logits, "difference")
    return softplus(margins) if objective == "ce" else margins


def on_side(is_spoof: Tensor, side: Side) -> Tensor:
    """Tell which recordings (B,) an attack changes."""
    return (is_spoof == (side == "spoof")) | (side == "both")


def generators_of(waveforms: Tensor, *numbers: int) -> list[np.random.Generator]:
    """Seed a generator for each of B×N by ``numbers`` and its samples, so that order and batch do not matter."""
    hashes = [zlib.crc32(samples.tobytes()) for samples in waveforms.cpu().numpy()]
    return [np.random.default_rng([*numbers, number]) for number in hashes]


class AttackedBatch:
    """A batch under attack. Waveforms B×N are float64, so that budgets hold exactly.

    Args:
        logits_of: waveforms B×N, of the type of ``waveforms`` → logits B×n.
        unit: 2⁻¹⁵ to round waveforms to 16 bits; 0 for no rounding.

    Attributes:
        draws: calls to average (expectation over transformations).
        start: replaces random numbers of a start.
        level: mean of the objective at the last gradient.
        perturbation: fitted on other recordings, for an attack that fits one for all.
        generators: of random numbers, one for each recording.
    """

    start: Tensor | None = None
    perturbation: Tensor | None = None
    draws = 1

    def __init__(
        self,
        logits_of: Callable[[Tensor], Tensor],
        waveforms: Tensor,
        is_spoof: Tensor,
        objective: Objective,
        unit: float = 0.0,
    ) -> None:
        self.logits_of = logits_of
        self.dtype = waveforms.dtype
        self.signs = 2.0 * torch.as_tensor(is_spoof, device=waveforms.device) - 1
        self.objective = objective
        self.unit = unit
        self.clean = waveforms.double()
        if unit:
            self.clean = (self.clean / unit).round() * unit
        self.generators: list[np.random.Generator] = []

    def limited(self, delta: Tensor, highest: float = 1.0) -> Tensor:
        """Add ``delta``; limit samples to [−1, ``highest``], unless the clean sample is outside."""
        return (self.clean + delta).clamp(self.clean.clamp(max=-1), self.clean.clamp(min=highest))

    def rounded(self, waveforms: Tensor) -> Tensor:
        """Round differences from the clean samples towards 0."""
        if not self.unit:
            return waveforms
        steps = ((waveforms - self.clean) / self.unit).trunc()
        return self.limited(steps * self.unit, 1 - self.unit)

    def levels(self, snr: float) -> Tensor:
        """Compute the RMS B×1 of a perturbation at ``snr`` dB; 0 for silence."""
        return self.clean.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr / 20)

    def seed(self, *numbers: int) -> None:
        """Seed :attr:`generators` by :func:`generators_of`."""
        self.generators = generators_of(self.clean, *numbers)

    def uniform(self, count: int | None = None) -> Tensor:
        """Draw numbers B×N, or B×``count``, from −1 to 1."""
        count = count or self.clean.shape[1]
        rows = [generator.uniform(-1, 1, count) for generator in self.generators]
        return self.clean.new_tensor(np.stack(rows))

    def values(self, waveforms: Tensor) -> Tensor:
        """Compute the objective (B,) by one call."""
        return objective_of(self.logits_of(waveforms.to(self.dtype)), self.signs, self.objective)

    @torch.no_grad()
    def mean_values(self, waveforms: Tensor) -> Tensor:
        """Compute the objective (B,), the mean over draws."""
        return torch.stack([self.values(waveforms) for _ in range(self.draws)]).mean(0)

    def gradient(self, inputs: Tensor, values_of: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Compute the gradient of the sum of the objective, or of ``values_of(inputs)``, the mean over draws.

        Raises:
            NoGradient: if it is missing or not finite.
        """
        values_of = values_of or self.values
        leaf = inputs.detach().requires_grad_()
        for _ in range(self.draws):
            with torch.enable_grad():
                values = values_of(leaf)
                total = values.sum()
            self.level = values.detach().mean()
            if total.requires_grad:
                total.backward(inputs=[leaf])
        if leaf.grad is None or not leaf.grad.isfinite().all():
            raise NoGradient(
                "the gradient of this detector is missing, as in int8 or an ONNX file, or not finite: attack by spsa or "
                "square, or attack another detector and score the result"
            )
        return leaf.grad / self.draws

    def is_random(self) -> bool:
        """Whether two calls for the clean recordings differ by more than rounding."""
        differences = self.mean_values(self.clean) - self.mean_values(self.clean)
        return bool(differences.abs().max() > 1e-5)


@contextmanager
def attackable(detector: Any, num_samples: int | None = None) -> Iterator[Callable[[Tensor], Tensor]]:
    """Make a function from waveforms B×N at 16 kHz to logits B×n, with pre-emphasis and repetition inside.

    Within this context, the detector is in eval mode, computes in float32 without TF32 and
    autocast, draws random numbers from one seed, and its weights require no gradient.

    Args:
        detector: a :class:`nes2net.Detector`; in int8, or a
            :class:`nes2net.models.onnx_detector.OnnxDetector`, it gives no gradients.
        num_samples: score length; None for whole recordings.
    """

    def logits_of(waveforms: Tensor) -> Tensor:
        if detector.precision == "int8":
            waveforms = waveforms.detach()
        inputs = detector_input(detector, waveforms, num_samples)
        return detector(inputs.to(detector.device)).to(waveforms.device)

    detector.check_score()
    with frozen(detector):
        yield logits_of


def detector_input(detector: Any, waveforms: Tensor, num_samples: int | None) -> Tensor:
    """Pre-emphasise B×N at 16 kHz, and repeat to the score length ``num_samples``; gradients pass through."""
    count = waveforms.shape[1]
    length = num_samples or max(count, detector.min_samples)
    emphasised = waveforms - detector.pre_emphasis * pad(waveforms[:, :-1], (1, 0))
    return emphasised.repeat(1, -(-length // count))[:, :length]


@contextmanager
def frozen(detector: Any) -> Iterator[None]:
    """Within this context, a detector computes as :func:`attackable` says."""
    training = [module for module in detector.modules() if module.training]
    all_weights = nn.ModuleList(detector.modules()).parameters()  # a detector in an ONNX file has no modules
    weights = [weight for weight in all_weights if weight.requires_grad]
    detector.train(False)
    for weight in weights:
        weight.requires_grad_(False)
    try:
        with (
            float32_products(),
            without_autocast(detector.device),
            differentiable(detector.modules()),
            torch.inference_mode(False),
            torch.random.fork_rng(range(torch.cuda.device_count())),
        ):
            torch.manual_seed(0)
            yield
    finally:
        for weight in weights:
            weight.requires_grad_()
        for module in training:
            module.training = True
