"""How often intervals of 95 % hold the true EER and difference, if trials, speakers, attacks or both are drawn.

Each repeat draws 20 new speakers and 8 new attacks with effects of their own, of the standard
deviations that a line states, and for spoofed trials an effect of speaker and attack together. Two
systems that are equally good share half of the variance of everything. The truth is the EER over all
speakers and attacks, and a difference of 0. What is drawn decides what an interval is about:
intervals over trials hold for these speakers and attacks only.
"""

from __future__ import annotations

import argparse
import functools
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nes2net import metrics


class Setting(NamedTuple):
    """Scores of standard deviation 1 whose classes are ``distance`` apart, and the parts of speakers and others in it."""

    distance: float
    of_speakers: float
    of_attacks: float
    of_both: float
    speakers: int = 20
    attacks: int = 8
    bonafide_of_speaker: int = 20
    spoof_of_pair: int = 10


SETTINGS = [
    Setting(2, 0.2, 0.5, 0.2),
    Setting(3, 0.3, 0.3, 0.15),
    Setting(3, 0.4, 0.4, 0.2),
    Setting(4, 0.3, 0.3, 0.15),
    Setting(3, 0.4, 0.2, 0.2),
]


def once(setting: Setting, num_resamples: int, seed: int) -> dict[str, tuple[bool, bool]]:
    """What is drawn → whether the intervals of the EER and of the difference hold the truth, in one repeat."""
    rng = np.random.default_rng([2, seed])

    def effects(number: int, sd: float) -> NDArray:
        shared = rng.normal(0, 1, number)
        return sd * np.sqrt(0.5) * (shared + rng.normal(0, 1, (2, number)))  # 2 systems × number

    numbers = np.arange(setting.speakers)
    of_bonafide = np.repeat(numbers, setting.bonafide_of_speaker)
    pairs = np.repeat(np.arange(setting.speakers * setting.attacks), setting.spoof_of_pair)
    of_spoof, attacks = pairs // setting.attacks, pairs % setting.attacks
    variance = setting.of_speakers**2
    bonafide = setting.distance + effects(setting.speakers, setting.of_speakers)[:, of_bonafide]
    bonafide += effects(of_bonafide.size, np.sqrt(1 - variance))
    spoof = effects(setting.speakers, setting.of_speakers)[:, of_spoof]
    spoof += effects(setting.attacks, setting.of_attacks)[:, attacks]
    spoof += effects(setting.speakers * setting.attacks, setting.of_both)[:, pairs]
    spoof += effects(pairs.size, np.sqrt(1 - variance - setting.of_attacks**2 - setting.of_both**2))

    speakers = {"bonafide_groups": of_bonafide, "spoof_groups": of_spoof}
    truth = float(ndtr(-setting.distance / 2))
    held = {}
    of_attacks = {"spoof_attacks": attacks}
    units = {"trials": {}, "speakers": speakers, "attacks": of_attacks, "both": speakers | of_attacks}
    for unit, groups in units.items():
        options = {"num_resamples": num_resamples, "seed": seed, "num_threads": 1, **groups}
        low, high = metrics.bootstrap_interval(metrics.compute_eer, bonafide[0], spoof[0], **options)
        systems = ((bonafide[number], spoof[number]) for number in (0, 1))
        of_difference = metrics.compare_systems(metrics.compute_eer, *systems, **options).interval
        held[unit] = low <= truth <= high, of_difference[0] <= 0 <= of_difference[1]
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--settings", type=int, default=len(SETTINGS), help="only so many of the settings")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.workers) as pool:
        for setting in SETTINGS[: arguments.settings]:
            print(f"\n{setting}, EER {100 * ndtr(-setting.distance / 2):.2f} %")
            run = functools.partial(once, setting, arguments.resamples)
            repeats = list(pool.map(run, range(arguments.repeats), chunksize=5))
            for unit in repeats[0]:
                of_eer, of_difference = 100 * np.mean([held[unit] for held in repeats], axis=0)
                print(f"  {unit:<8} held %: EER {of_eer:5.1f}, difference of two equal systems {of_difference:5.1f}")


if __name__ == "__main__":
    main()
