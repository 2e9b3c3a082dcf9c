"""Tell whether the gradient of a detector can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from nes2net.models.attacks.batch import AttackedBatch, NoGradient


class GradientProbe(NamedTuple):
    """How well the gradient predicts what steps of ±h at each sample change."""

    ratios: Tensor
    """B×K: change of the objective along each of K directions / predicted change; NaN if rounding hides it."""
    agreement: Tensor
    """(B,): share of ratios above 0; NaN if rounding hides all of them."""
    realised: Tensor
    """(B,): ratio of a step along the signs of the gradient."""


class GradientCheck(NamedTuple):
    """Verdict on a gradient.

    - ``usable``: attacks that follow it mean something.
    - ``curved``: usable for small steps only; one step says little.
    - ``random``: two scores of a recording differ.
    - ``masked``: it is zero, or does not tell how the objective changes: no evidence of robustness.
    - ``broken``: there is none, or it is not finite.
    """

    verdict: str
    zero_share: float = 1.0
    """Median share of samples with the gradient 0."""
    fine_snr: float = 0.0
    """dB of the fine steps: 80, or 60 if rounding hides more than half of the changes at 80 dB."""
    fine: GradientProbe | None = None
    coarse: GradientProbe | None = None
    """Steps at 50 dB, the size of an attack."""


def check_gradient(logits_of: Callable[[Tensor], Tensor], waveforms: Tensor, is_spoof: Tensor) -> GradientCheck:
    """Compare the gradient of the margin with what small steps change; give 16 recordings of both classes.

    The thresholds are assumptions.

    Args:
        logits_of: B×N → logits B×n, such as that of :func:`nes2net.models.attacks.batch.attackable`.
        is_spoof: (B,).
    """
    batch = AttackedBatch(logits_of, waveforms, is_spoof, "margin")
    batch.seed(0)
    directions = [batch.uniform().sign() for _ in range(8)]
    try:
        gradient = batch.gradient(batch.clean)
    except NoGradient:
        return GradientCheck("broken")
    zero_share = float((gradient == 0).double().mean(1).median())
    for fine_snr in (80.0, 60.0):
        fine = probe_gradient(batch, gradient, directions, fine_snr)
        if fine.ratios.isnan().double().mean() <= 0.5:
            break
    coarse = probe_gradient(batch, gradient, directions, 50.0)
    ratio = fine.ratios.nanquantile(0.5, 1).nanmedian()
    verdict = "usable"
    if batch.is_random():
        verdict = "random"
    elif not (zero_share < 0.5 and fine.agreement.nanmedian() >= 0.9 and 0.8 <= ratio <= 1.25):
        verdict = "masked"
    elif coarse.agreement.nanmedian() < 0.8 or coarse.realised.nanmedian() < 0.5:
        verdict = "curved"
    return GradientCheck(verdict, zero_share, fine_snr, fine, coarse)


def probe_gradient(batch: AttackedBatch, gradient: Tensor, directions: Iterable[Tensor], snr: float) -> GradientProbe:
    """Compare ``gradient`` B×N with steps along ``directions`` of ±1 and along its signs, all at ``snr`` dB."""
    size = batch.levels(snr)
    clean_values = batch.mean_values(batch.clean)
    rounding = 50 * torch.finfo(batch.dtype).eps * clean_values.abs().clamp(min=1)  # 100 · 2⁻²⁴ in float32
    ratios = []
    for direction in directions:
        above = batch.mean_values(batch.clean + size * direction)
        below = batch.mean_values(batch.clean - size * direction)
        predicted = (gradient * size * direction).sum(1)
        ratios.append(((above - below) / 2 / predicted).where(predicted.abs() > rounding, torch.nan))
    all_ratios = torch.stack(ratios, 1)
    rise = batch.mean_values(batch.clean + size * gradient.sign()) - clean_values
    agreement = (all_ratios > 0).where(all_ratios == all_ratios, torch.nan).nanmean(1)  # NaN is left out
    return GradientProbe(all_ratios, agreement, rise / (size * gradient.abs()).sum(1))
