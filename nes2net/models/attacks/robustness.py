"""Attack a batch of recordings.

>>> from nes2net import Detector, robustness
>>> detector = Detector.from_config({"frontend": "lfcc", "backend": "mean_linear"})
>>> waveforms = 0.1 * torch.randn(2, 16000)
>>> attacked = robustness.attack(detector, waveforms, [True, False], "pgd:40")
>>> attacked.shape, torch.equal(attacked[1], waveforms[1])
(torch.Size([2, 16000]), True)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from nes2net.data.augment.effect import Effect
from nes2net.lib.errors import InputError, check_setting
from nes2net.lib.output.terminal import note_once
from nes2net.lib.parts.options import UpTo64, check_options
from nes2net.models.attacks.attack import create_attack
from nes2net.models.attacks.batch import AttackedBatch, Objective, Side, attackable, generators_of, on_side
from nes2net.models.attacks.channel import logits_through
from nes2net.models.attacks.check import check_gradient

__all__ = ["attack", "attack_logits", "attackable", "check_gradient", "fit_attack"]

#: Calls to average for a detector with random input; an assumption, for random crops.
DRAWS = 8


def attack(
    detector: Any,
    waveforms: Tensor,
    is_spoof: Tensor,
    attack: str,
    *,
    side: Side = "spoof",
    num_samples: int | None = None,
    objective: Objective = "score",
    through: Effect | None = None,
    **settings: Any,
) -> Tensor:
    """Perturb recordings so that ``detector`` is wrong about them.

    Args:
        waveforms: B×N, 16 kHz, in [−1, 1], as read from files of one length.
        is_spoof: (B,).
        attack: such as ``"pgd:40"``.
        side: ``"spoof"`` lets fakes pass, ``"bonafide"`` makes genuine recordings fail; others are
            returned as they are.
        num_samples: score length, up to which shorter recordings are repeated; only the first samples
            of longer ones are attacked. None for whole recordings.
        objective: ``"score"`` is the score, or the log odds of a probability.
        through: condition that recordings pass before the detector.
        settings: as for :func:`attack_logits`.

    Returns:
        B×N, in the type of ``waveforms``.

    Raises:
        InputError: if an argument does not fit, or the detector gives no gradients.
    """
    check_setting("side", side, side in ("spoof", "bonafide", "both"), "spoof, bonafide or both")
    labels = torch.as_tensor(is_spoof).bool()
    rows = on_side(labels, side)
    if objective == "score":
        objective = judged_objective(detector.score_rule)
    with attackable(detector, num_samples) as logits_of:
        attacked = torch.as_tensor(waveforms).clone()
        if rows.any():
            heard = attacked[rows, :num_samples]
            if through is not None:
                generators = generators_of(heard, settings.get("seed", 0))
                logits_of = partial(logits_through, through, generators, logits_of)
            attacked[rows, :num_samples] = attack_logits(
                logits_of, heard, labels[rows], attack, objective=objective, **settings
            )
    return attacked


def judged_objective(score_rule: str) -> Objective:
    """Return the objective that raises the score of a detector, or the log odds of a probability."""
    return "margin" if score_rule in ("difference", "probability") else "score"


def attack_logits(
    logits_of: Callable[[Tensor], Tensor],
    waveforms: Tensor,
    is_spoof: Tensor,
    attack: str,
    *,
    objective: Objective = "score",
    steps: int | None = None,
    step: float | None = None,
    start: Tensor | float | None = None,
    keep: Literal["best", "last"] = "best",
    bits: UpTo64 | None = 16,
    restarts: int = 1,
    draws: int | None = None,
    seed: int = 0,
    perturbation: Tensor | None = None,
) -> Tensor:
    """Perturb ``waveforms`` B×N so that the objective rises; return them in their type.

    Args:
        logits_of: B×N → logits B×n, bona fide last. No recording may affect another.
        is_spoof: (B,); a higher score is sought for a spoofed recording, else a lower one.
        attack: ``NAME:BUDGET``, such as ``"pgd:40"`` (at least 40 dB) or ``"pgd:0.001fs"`` (parts of full scale).
        objective: what rises (:func:`nes2net.models.attacks.batch.objective_of`).
        steps, step: number and size of steps, the latter in parts of ε or the radius.
        start: numbers of the start, B×N: in [−1, 1], or normal for ``pgd_l2``; 0 for the clean
            recordings. None draws them by ``seed`` and the samples of each recording.
        keep: ``"best"`` is the rounded iterate of the highest objective, or the clean recording.
        bits: rounds to samples of a file, towards the clean ones; None for no rounding.
        restarts: repeats with other random numbers.
        draws: gradients to average for a detector with random input; None for 8 if two calls
            differ, otherwise 1.
        perturbation: for ``universal`` and ``malafide``, from :func:`fit_attack`; None fits it on ``waveforms``.

    Raises:
        InputError: if an argument does not fit, or there is no gradient.
    """
    check_options(attack_logits, {"objective": objective, "keep": keep, "bits": bits}, "attack_logits")
    chosen_attack = create_attack(attack, steps=steps, step=step)
    unit = 2.0 ** (1 - bits) if bits else 0.0
    if chosen_attack.unit == "fs" and chosen_attack.size < unit:
        raise InputError(f"attack '{attack}' is below one step of {bits} bits: use at least {unit:.7f}fs")
    batch = AttackedBatch(logits_of, waveforms, is_spoof, objective, unit)
    if start is not None:
        batch.start = start + 0 * batch.clean
    batch.perturbation = perturbation
    if draws is None and batch.is_random():
        draws = DRAWS
        note_once(f"two scores of one recording differ, so gradients are the mean of {DRAWS} (`draws`)")
    batch.draws = draws or 1
    best = batch.clean
    best_values = batch.mean_values(best)
    takes_last = "last" in (keep, chosen_attack.keep)
    for restart in range(restarts):
        batch.seed(seed, restart)
        for iterate in chosen_attack.iterates(batch):
            candidate = batch.rounded(iterate)
            values = batch.mean_values(candidate)
            is_kept = (values > best_values) | takes_last
            best = torch.where(is_kept[:, None], candidate, best)
            best_values = values.where(is_kept, best_values)
    return best.to(waveforms.dtype)


def fit_attack(
    logits_of: Callable[[Tensor], Tensor],
    recordings: Iterable[tuple[Tensor, Tensor]],
    attack: str,
    *,
    objective: Objective = "score",
    steps: int | None = None,
    step: float | None = None,
    seed: int = 0,
) -> Tensor:
    """Fit one perturbation for all recordings, such as the filter of ``malafide:513``.

    Args:
        recordings: batches of waveforms B×N and ``is_spoof`` (B,), such as 8 fakes each; a step uses one.
        steps, step: number of steps; their size in parts of ε, or the learning rate.

    Returns:
        ``perturbation`` of :func:`attack_logits`.
    """
    batches = [AttackedBatch(logits_of, *recording, objective, 2.0**-15) for recording in recordings]
    for batch in batches:
        batch.seed(seed, 0)
    return create_attack(attack, steps=steps, step=step).fit(batches)  # type: ignore[attr-defined,no-any-return]
