"""Compare metrics with plain transcriptions of their definitions at 10³ to 10⁶ trials, and time the bootstrap.

The plain versions loop over the trials, or call NumPy once per threshold if the published program
does. The runs are interleaved; times are medians of wall time. Both versions must return the same
value. Runs that would take longer than --limit are left out.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy
from _harness import first_line, median_seconds, wall_seconds
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.lib.process.this_process import usable_processors

SHARE_BONAFIDE = 0.1


def walk(bonafide: NDArray, spoof: NDArray) -> Iterator[tuple[float, float]]:
    """Yield FRR and FAR from the lowest threshold up; of equal scores, bona fide ones are rejected first."""
    trials = sorted([(score, False) for score in bonafide] + [(score, True) for score in spoof])
    num_misses = 0
    num_alarms = len(spoof)
    yield 0.0, 1.0
    for _, is_spoof in trials:
        num_misses += not is_spoof
        num_alarms -= is_spoof
        yield num_misses / len(bonafide), num_alarms / len(spoof)


def plain_eer(bonafide: NDArray, spoof: NDArray) -> float:
    """The EER where FRR and FAR are nearest, as in ASVspoof."""
    miss_rate, alarm_rate = min(walk(bonafide, spoof), key=lambda rates: abs(rates[0] - rates[1]))
    return (miss_rate + alarm_rate) / 2


def plain_eer_in_the_wild(bonafide: NDArray, spoof: NDArray) -> float:
    """The EER where FRR and FAR cross, with both rates computed at every threshold, as in the published script."""
    previous_miss_rate = previous_alarm_rate = math.nan
    for threshold in np.sort(np.concatenate((bonafide, spoof))):
        miss_rate = np.mean(bonafide < threshold)
        alarm_rate = np.mean(spoof >= threshold)
        if alarm_rate <= miss_rate:
            previous_gap = previous_alarm_rate - previous_miss_rate
            share = previous_gap / (previous_gap - (alarm_rate - miss_rate))
            return previous_miss_rate + share * (miss_rate - previous_miss_rate)
        previous_miss_rate = miss_rate
        previous_alarm_rate = alarm_rate
    return math.nan


def plain_min_dcf(bonafide: NDArray, spoof: NDArray) -> float:
    """minDCF with the costs of ASVspoof 5."""
    return min(0.95 * miss_rate + 0.5 * alarm_rate for miss_rate, alarm_rate in walk(bonafide, spoof)) / 0.5


def plain_min_tdcf(bonafide: NDArray, spoof: NDArray, weights: metrics.TandemWeights) -> float:
    """min t-DCF, normalised."""
    costs = (
        weights.c0 + weights.c1 * miss_rate + weights.c2 * alarm_rate for miss_rate, alarm_rate in walk(bonafide, spoof)
    )
    return min(costs) / (weights.c0 + min(weights.c1, weights.c2))


def plain_a_dcf(target: NDArray, nontarget: NDArray, spoof: NDArray) -> float:
    """The lowest architecture-agnostic DCF, normalised."""

    def cost(threshold: float) -> float:
        miss = np.mean(target <= threshold)
        nontarget_alarm = np.mean(nontarget > threshold)
        spoof_alarm = np.mean(spoof > threshold)
        return 0.9405 * miss + 0.095 * nontarget_alarm + 0.5 * spoof_alarm

    thresholds = np.concatenate([[-math.inf], target, nontarget, spoof])
    return min(map(cost, thresholds)) / 0.595


def plain_t_eer(bonafide: NDArray, spoof: NDArray, *asv: NDArray) -> float:
    """The concurrent tandem EER, by a search over all thresholds of the ASV.

    Args:
        asv: target, nontarget and spoof scores.
    """
    cm_miss, cm_alarm = np.array(list(walk(bonafide, spoof))).T
    target, nontarget, asv_spoof = asv
    least_distance = math.inf
    t_eer = math.nan
    for threshold in (-math.inf, *np.sort(np.concatenate(asv))):
        miss = np.mean(target <= threshold)
        nontarget_alarm = np.mean(nontarget > threshold)
        spoof_alarm = np.mean(asv_spoof > threshold)
        misses = cm_miss + (1 - cm_miss) * miss
        alarms = ((1 - cm_miss) * nontarget_alarm + cm_alarm * spoof_alarm) / 2
        nearest = np.argmin(np.abs(misses - alarms))
        if miss >= (nontarget_alarm + spoof_alarm) / 2 or not spoof_alarm or cm_miss[nearest] == 1:
            continue
        distance = abs(nontarget_alarm / spoof_alarm - cm_alarm[nearest] / (1 - cm_miss[nearest]))
        if distance < least_distance:
            least_distance = distance
            t_eer = cm_alarm[nearest] * spoof_alarm
    return t_eer


def value(result: float | tuple) -> float:
    """The value of a metric, without its threshold."""
    return float(result[0] if isinstance(result, tuple) else result)


class Contenders(NamedTuple):
    """A metric of the package and its plain transcription; the time of the latter grows with this power of the trials."""

    tested: Callable[[], Any]
    plain: Callable[[], Any]
    power: int = 1


def contenders(num_trials: int) -> dict[str, Contenders]:
    """List the metrics with both implementations, on ``num_trials`` trials."""
    rng = np.random.default_rng(num_trials)
    num_bonafide = int(SHARE_BONAFIDE * num_trials)
    cm = rng.normal(2, 1.5, num_bonafide), rng.normal(-2, 1.5, num_trials - num_bonafide)
    third = num_trials // 3
    asv = rng.normal(3, 1, third), rng.normal(0, 1, third), rng.normal(2, 1, num_trials - 2 * third)
    weights = metrics.tandem_weights(metrics.asv_error_rates(*asv))

    def of_cm(tested: Callable, plain: Callable, power: int = 1, **options: Any) -> Contenders:
        return Contenders(partial(tested, *cm, **options), partial(plain, *cm), power)

    tandem = Contenders(partial(metrics.compute_min_tdcf, *cm, *asv), partial(plain_min_tdcf, *cm, weights))
    return {
        "EER asvspoof": of_cm(metrics.compute_eer, plain_eer, method="asvspoof"),
        "EER interpolated": of_cm(metrics.compute_eer, plain_eer_in_the_wild, 2, method="interpolated"),
        "min t-DCF 2021": tandem,
        "minDCF": of_cm(metrics.compute_min_dcf, plain_min_dcf),
        "a-DCF": Contenders(partial(metrics.compute_a_dcf, *asv), partial(plain_a_dcf, *asv), 2),
        "t-EER": Contenders(partial(metrics.compute_t_eer, *cm, *asv), partial(plain_t_eer, *cm, *asv), 2),
    }


def compare_with_plain(sizes: list[int], rounds: int, limit: float) -> None:
    """Compare values and times of both implementations, and print a table."""
    print(f"{'metric':<18} {'trials':>9} {'plain':>12} {'ours':>12}")
    last: dict[str, tuple[int, float]] = {}  # metric → size and seconds of the last plain run
    for num_trials in sizes:
        for name, metric in contenders(num_trials).items():
            size, seconds = last.get(name, (num_trials, 0.0))
            expected = seconds * (num_trials / size) ** metric.power
            row = f"{name:<18} {num_trials:>9,}"
            if expected > limit:
                tested = median_seconds({"tested": metric.tested}, rounds)["tested"]
                print(f"{row} {'left out':>12} {1e3 * tested:>9.2f} ms   plain would take {expected:.0f} s", flush=True)
                continue
            assert math.isclose(value(metric.plain()), value(metric.tested()), abs_tol=1e-9), name
            medians = median_seconds({"plain": metric.plain, "tested": metric.tested}, rounds)
            last[name] = num_trials, medians["plain"]
            times = f"{1e3 * medians['plain']:>9.2f} ms {1e3 * medians['tested']:>9.2f} ms"
            print(f"{row} {times} {medians['plain'] / medians['tested']:>7.0f}x", flush=True)


def bootstrap(num_trials: int, num_resamples: int) -> None:
    """Print the time of a bootstrap of the EER, on all processors."""
    rng = np.random.default_rng(0)
    num_bonafide = int(SHARE_BONAFIDE * num_trials)
    num_spoof = num_trials - num_bonafide
    cm = rng.normal(2, 1.5, num_bonafide), rng.normal(-2, 1.5, num_spoof)
    print(f"\n{num_resamples} resamples of {num_trials:,} trials")
    run = partial(metrics.bootstrap_interval, metrics.compute_eer, *cm, num_resamples=num_resamples)
    print(f"{'EER':<32} {wall_seconds(run):>8.2f} s on {usable_processors()}", flush=True)
    few = min(num_resamples, 5)

    def sorted_eer(bonafide: NDArray, spoof: NDArray) -> tuple[float, float]:
        """The EER by a function that the package does not know, and so sorts the scores of each draw."""
        return metrics.compute_eer(bonafide, spoof)

    seconds = wall_seconds(partial(metrics.bootstrap_interval, sorted_eer, *cm, num_resamples=few))
    print(f"{'EER, each resample sorted':<32} {seconds * num_resamples / few:>8.2f} s on 1 (from {few})")


def main(argv: list[str] | None = None) -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=first_line(__doc__))
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6], help="numbers of trials")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--limit", type=float, default=5.0, help="longest run of a plain one in seconds")
    parser.add_argument("--bootstrap-trials", type=int, default=600_000, help="trials of the bootstrap")
    parser.add_argument("--resamples", type=int, default=1000, help="its resamples")
    arguments = parser.parse_args(argv)
    print(f"Python {sys.version.split()[0]}, NumPy {np.__version__}, SciPy {scipy.__version__}, {os.cpu_count()} cores")
    compare_with_plain(sorted(arguments.sizes), arguments.rounds, arguments.limit)
    bootstrap(arguments.bootstrap_trials, arguments.resamples)


if __name__ == "__main__":
    main()
