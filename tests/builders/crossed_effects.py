"""A simulated evaluation with new speakers and attacks, whose true EER and difference of systems are known."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from nes2net import metrics

SPEAKERS = 20
ATTACKS = 8
BONAFIDE_OF_SPEAKER = 10
SPOOF_OF_PAIR = 3
#: Distance of the means of the classes; standard deviations of the effects of speakers, attacks and pairs of both, of 1 in all.
DISTANCE = 3.0
SD_SPEAKERS = 0.4
SD_ATTACKS = 0.4
SD_PAIRS = 0.2


def _effects(rng, number, sd):
    """Draw effects of two systems that share half of the variance, 2×number."""
    shared = rng.normal(0, 1, number)
    return sd * np.sqrt(0.5) * (shared + rng.normal(0, 1, (2, number)))


def coverage(num_resamples: int, seed: int) -> dict[str, tuple[bool, bool]]:
    """What is drawn → whether the intervals of the EER and of the difference hold the truth, in one evaluation."""
    rng = np.random.default_rng([2, seed])
    bonafide_speakers = np.repeat(np.arange(SPEAKERS), BONAFIDE_OF_SPEAKER)
    pairs = np.repeat(np.arange(SPEAKERS * ATTACKS), SPOOF_OF_PAIR)
    spoof_speakers = pairs // ATTACKS
    spoof_attacks = pairs % ATTACKS
    bonafide = DISTANCE + _effects(rng, SPEAKERS, SD_SPEAKERS)[:, bonafide_speakers]
    bonafide += _effects(rng, bonafide_speakers.size, np.sqrt(1 - SD_SPEAKERS**2))
    spoof = _effects(rng, SPEAKERS, SD_SPEAKERS)[:, spoof_speakers]
    spoof += _effects(rng, ATTACKS, SD_ATTACKS)[:, spoof_attacks]
    spoof += _effects(rng, SPEAKERS * ATTACKS, SD_PAIRS)[:, pairs]
    residual_variance = 1 - SD_SPEAKERS**2 - SD_ATTACKS**2 - SD_PAIRS**2
    spoof += _effects(rng, pairs.size, np.sqrt(residual_variance))

    by_speaker = {"bonafide_groups": bonafide_speakers, "spoof_groups": spoof_speakers}
    groups_by_unit = {"trials": {}, "both": {**by_speaker, "spoof_attacks": spoof_attacks}}
    true_eer = float(ndtr(-DISTANCE / 2))
    covered = {}
    for unit, groups in groups_by_unit.items():
        options = {"num_resamples": num_resamples, "seed": seed, **groups}
        low, high = metrics.bootstrap_interval(metrics.compute_eer, bonafide[0], spoof[0], **options)
        systems = [(bonafide[number], spoof[number]) for number in (0, 1)]
        difference_low, difference_high = metrics.compare_systems(metrics.compute_eer, *systems, **options).interval
        covered[unit] = low <= true_eer <= high, difference_low <= 0 <= difference_high
    return covered
