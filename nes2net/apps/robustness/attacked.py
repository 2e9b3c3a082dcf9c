"""Attacks as conditions: scores of recordings that an attack on the detector has changed.

In reading order: ``AttackedScores`` attacks and scores a batch, ``expand_attacks`` lists the
attacks of a run, ``count_calls`` tells what they cost, ``check_detector`` checks the gradient, and
``attack_row`` adds the figures of an attack to those of any condition.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nes2net import metrics
from nes2net.data.audio.waveform import ASVSPOOF_SAMPLES, SAMPLE_RATE
from nes2net.data.corpora.trial import BONAFIDE, Trial
from nes2net.evaluation.judgements import Rows
from nes2net.evaluation.tables import Figure, Row
from nes2net.lib.errors import InputError
from nes2net.models.attacks import robustness
from nes2net.models.attacks.universal import UniversalAttack
from nes2net.models.frontends.base import UsedSamples
from nes2net.models.registry import attacks
from nes2net.scoring.waveforms import WaveformReader

_DEFAULT = "fgsm:60 pgd:60 pgd_l2:60 fgsm:50 pgd:50 pgd_l2:50 fgsm:40 pgd:40 pgd_l2:40 fgsm:30 pgd:30 pgd_l2:30"
#: Verdict on a gradient → what it means for attacks.
MEANINGS = {
    "curved": ", so one step says little: use attacks of many steps",
    "masked": ", so attacks that follow it are no evidence of robustness: use spsa or square, too",
}


@dataclass(frozen=True)
class AttackedScores(Rows):
    """Scores of attacked recordings; the file also has what the attack changed.

    Args:
        attack, side, steps, seed, num_samples, objective: as for :func:`nes2net.robustness.attack`.
    """

    attack: str
    side: str
    steps: int | None
    seed: int
    num_samples: int | None = None
    objective: str = "score"

    name = "scores"
    needs_labels = True
    columns = ("score", "snr_db")

    def describe(self) -> dict[str, object]:
        return {"name": self.name}  # a file is read as one of scores

    def reader(self, reader: WaveformReader) -> WaveformReader:
        """Return a reader of the samples that are heard, each once."""
        heard = UsedSamples(most=self.num_samples)
        return replace(reader, num_samples=None, min_samples=1, used=heard, pre_emphasis=0)

    def compute(self, scorer: Any, waveforms: Tensor, is_spoof: Tensor) -> Tensor:  # type: ignore[override]
        """Attack ``waveforms`` B×N, and score them as files of 16 bits.

        Returns:
            B×2, by :attr:`columns`: score, SNR in dB (0 for silence, about 300 without a change).
        """
        attacked = robustness.attack(scorer, waveforms, is_spoof[:, 0], **asdict(self))
        clean = (waveforms * 2**15).round() / 2**15
        powers = torch.stack([clean, attacked - clean]).square().sum(2).clamp(min=1e-30)
        reader = WaveformReader.of(scorer, self.num_samples)
        judged = [reader.read_audio(samples, SAMPLE_RATE).waveform for samples in attacked.cpu().numpy()]
        scores = scorer.scores(torch.tensor(np.stack(judged), device=waveforms.device))
        return torch.stack([scores, 10 * (powers[0] / powers[1]).log10()], 1)


def expand_attacks(texts: Iterable[str]) -> list[str]:
    """List attacks, with ``default`` expanded, and with the control ``noise`` at each budget.

    Raises:
        InputError: if an attack is unknown, or must be fitted.

    >>> expand_attacks(["fgsm:40", "pgd:40"])
    ['noise:40', 'fgsm:40', 'pgd:40']
    """
    names = []
    for text in " ".join(texts).replace("default", _DEFAULT).split():
        name, _, budget = text.partition(":")
        if issubclass(attacks.get(name), UniversalAttack):
            raise InputError(f"attack '{text}' must be fitted first: use nes2net.robustness.fit_attack in Python")
        names += [f"noise:{budget}", text]
    return list(dict.fromkeys(names))


def count_calls(judgement: AttackedScores) -> tuple[int, int]:
    """Count the gradients and scores that an attack on one recording takes, by attacking a simple function.

    Raises:
        InputError: if the attack does not fit.
    """
    has_gradient: list[bool] = []

    def logits_of(waveforms: Tensor) -> Tensor:
        has_gradient.append(waveforms.requires_grad)
        return waveforms[:, -2:]

    robustness.attack_logits(
        logits_of, torch.full((1, 400), 0.5), torch.ones(1), judgement.attack, steps=judgement.steps
    )
    return sum(has_gradient), has_gradient.count(False)


def check_detector(detector: Any, trials: Sequence[Trial], num_samples: int | None) -> tuple[str, float]:
    """Check the gradient on 8 recordings of each class; return the verdict, and the seconds of one score."""
    reader = WaveformReader(num_samples or ASVSPOOF_SAMPLES, detector.min_samples)
    by_label = sorted(trials, key=lambda trial: str(trial.label))
    recordings = []
    labels = []
    for trial in by_label[:8] + by_label[-8:]:
        with suppress(InputError):  # scoring names the recordings that cannot be read
            recordings.append(reader.read(trial.recording()).waveform)
            labels.append(trial.label != BONAFIDE)
    if not recordings:
        raise InputError("no recording of those to check the gradient on can be read: see nes2net data check")
    waveforms = torch.from_numpy(np.stack(recordings))
    with robustness.attackable(detector) as logits_of:
        check = robustness.check_gradient(logits_of, waveforms, torch.tensor(labels))
        began = time.perf_counter()
        logits_of(waveforms)
        return check.verdict, (time.perf_counter() - began) / len(labels)


def attack_row(row: Row, attack: AttackedScores, path: Path, trials: Sequence[Trial], is_wrong: NDArray) -> Row:
    """Add the figures of ``attack``, whose file is ``path``, to those of any condition.

    Args:
        is_wrong: 2×N, whether the decisions on the clean and on the attacked ``trials`` are wrong.
    """
    table = attack.table(path)  # in the order of the trials, perhaps with others
    snr = table.logits[np.isin(table.ids, [trial.id for trial in trials]), 1]
    of_side = np.array([attack.side in (trial.label, "both") for trial in trials])
    is_attacked = of_side & (snr != 0)
    was_right = is_attacked & ~is_wrong[0]
    if not was_right.any():
        return row
    success = is_wrong[1, was_right].mean()
    median, *snr_range = np.quantile(snr[is_attacked], (0.5, 0, 1)).tolist()
    figures = {
        "success": Figure(success, metrics.wilson_interval(success, was_right.sum())),
        "snr": Figure(median, tuple(snr_range)),
        "not_attacked": Figure(float((of_side & ~is_attacked).sum())),
    }
    return replace(row, figures={**row.figures, **figures})
