"""How often 95 % intervals hold the true value, in simulated evaluations.

Scores of both classes are drawn from normal distributions, so all rates are known. Each line has
the share of repeats in which the interval holds the true value, the shares in which it lies too low
and too high, and its mean width. The lines are of ``rate_interval``, which the toolkit uses for
error rates, and of the percentile interval of the same draws. The last line says how often two
equally good systems differ with p below 0.05, which should be in 5 % of repeats.
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
from nes2net.metrics.intervals import num_trials_by_rate
from nes2net.metrics.rates import rates_of_counts


class Setting(NamedTuple):
    """A simulated evaluation: numbers of bona fide and spoofed trials, and the distribution of their scores.

    The scores have the means ``mean`` and 0, and the standard deviations ``sds``. With
    ``speakers``, each speaker has an offset in each class, whose standard deviation is 0.4 of that
    of the class.
    """

    bonafide: int
    spoof: int
    mean: float
    sds: tuple[float, float] = (1.0, 1.0)
    method: str = "asvspoof"
    speakers: int = 0


SETTINGS = [
    Setting(40, 400, 4),
    Setting(40, 400, 4, method="interpolated"),
    Setting(40, 400, 4, method="arena"),
    Setting(40, 400, 4, method="sklearn"),
    Setting(40, 400, 6, (2, 1)),
    Setting(40, 400, 6, (1, 2)),
    Setting(400, 40, 4),
    Setting(40, 40, 2),
    Setting(300, 300, 5),
    Setting(100, 1000, 4),
    Setting(500, 5000, 4),
    Setting(1000, 5000, 3, (1, 2)),
    Setting(100, 1000, 4, speakers=20),
    Setting(600, 6000, 4, speakers=30),
]


def draw_scores(rng: np.random.Generator, number: int, mean: float, sd: float, speakers: NDArray | None) -> NDArray:
    """Draw scores of a class; ``speakers`` has the speaker of each trial, or is None."""
    if speakers is None:
        return rng.normal(mean, sd, number)
    offsets = rng.normal(0, 0.4, speakers.max() + 1)[speakers]
    return mean + sd * (rng.normal(0, np.sqrt(1 - 0.4**2), number) + offsets)


def truth(setting: Setting) -> tuple[float, dict[str, float]]:
    """Compute the threshold of the EER, and the true value of each rate at it."""
    of_bonafide, of_spoof = setting.sds
    threshold = setting.mean * of_spoof / (of_bonafide + of_spoof)
    rate = float(ndtr(-threshold / of_spoof))
    counts = rate * setting.bonafide, rate * setting.spoof
    return threshold, {"eer": rate, **rates_of_counts(*counts, setting.bonafide, setting.spoof)._asdict()}


def intervals_of_repeat(setting: Setting, num_resamples: int, seed: int) -> list[tuple[str, bool, tuple[float, float]]]:
    """Simulate one evaluation.

    Returns:
        (name of a rate, whether it is the percentile interval, interval) of each interval.
    """
    rng = np.random.default_rng([0, seed])
    groups = {}
    if setting.speakers:
        groups = {f"{c}_groups": rng.integers(0, setting.speakers, getattr(setting, c)) for c in ("bonafide", "spoof")}
    scores = (
        draw_scores(rng, setting.bonafide, setting.mean, setting.sds[0], groups.get("bonafide_groups")),
        draw_scores(rng, setting.spoof, 0.0, setting.sds[1], groups.get("spoof_groups")),
    )
    eer = functools.partial(metrics.compute_eer, method=setting.method)
    rates = functools.partial(metrics.compute_rates, threshold=truth(setting)[0])
    options = {"num_resamples": num_resamples, "seed": seed, "num_threads": 1, **groups}
    draws = metrics.bootstrap_values([eer, rates], *scores, **options)
    rates_of_scores = [eer(*scores)[0], *rates(*scores)]
    numbers = num_trials_by_rate(setting.bonafide, setting.spoof)
    rows = []
    for name, rate, column in zip(("eer", *metrics.Rates._fields), rates_of_scores, draws.T):
        rows.append((name, False, metrics.rate_interval(rate, column, numbers[name])))
        rows.append((name, True, metrics.percentiles(column, 0.95)))
    return rows


def p_value(num_resamples: int, seed: int) -> float:
    """Compute the p-value of two equally good systems on the same 40 bona fide and 400 spoofed trials."""
    rng = np.random.default_rng([1, seed])
    shared = rng.normal(4, 0.8, 40), rng.normal(0, 0.8, 400)
    first, second = ([scores + rng.normal(0, 0.6, scores.size) for scores in shared] for _ in range(2))
    options = {"num_resamples": num_resamples, "seed": seed, "num_threads": 1}
    return metrics.compare_systems(metrics.compute_eer, first, second, **options).p_value


def main() -> None:
    """Simulate all settings, and print how often intervals hold the true value."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=300)
    parser.add_argument("--settings", type=int, default=len(SETTINGS), help="only so many of the settings")
    parser.add_argument("--rates", action="store_true", help="the rates at a threshold too")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    seeds = range(arguments.repeats)
    with ProcessPoolExecutor(arguments.workers) as pool:
        for setting in SETTINGS[: arguments.settings]:
            true = truth(setting)[1]
            print(f"\n{setting}, EER {100 * true['eer']:.2f} %")
            run = functools.partial(intervals_of_repeat, setting, arguments.resamples)
            repeats = list(pool.map(run, seeds, chunksize=10))
            for number, (name, is_percentile, _) in enumerate(repeats[0]):
                if name != "eer" and not arguments.rates:
                    continue
                low, high = np.array([rows[number][2] for rows in repeats]).T
                too_low = high < true[name] - 1e-12
                too_high = low > true[name] + 1e-12
                is_covered = ~(too_low | too_high)
                shares = " ".join(f"{100 * np.mean(x):6.1f}" for x in (is_covered, too_low, too_high))
                kind = "percentile" if is_percentile else "used"
                print(f"  {name:<12} {kind:<11} held, too low, too high %: {shares}   width {np.mean(high - low):.4f}")
        p_values = np.array(list(pool.map(functools.partial(p_value, arguments.resamples), seeds, chunksize=10)))
        print(f"\ntwo equal systems: p < 0.05 in {100 * np.mean(p_values < 0.05):.1f} % of repeats")


if __name__ == "__main__":
    main()
