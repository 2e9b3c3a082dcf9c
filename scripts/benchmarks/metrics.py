"""Compare metrics with plain transcriptions of their definitions at 10³ to 10⁶ trials, and time the bootstrap.

The plain versions loop over the trials, or call NumPy once per threshold if the published program
does. The runs are interleaved; times are medians of wall time. Both versions must return the same
value. Runs that would take longer than --limit are left out.
"""

import argparse
import functools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
import scipy

from nes2net import metrics

SHARE_BONAFIDE = 0.1


def walk(bonafide: np.ndarray, spoof: np.ndarray) -> Iterator[tuple[float, float]]:
    """Yield FRR and FAR from the lowest threshold up; of equal scores, bona fide ones are rejected first."""
    trials = sorted([(score, 0) for score in bonafide] + [(score, 1) for score in spoof])
    rejected = [0, 0]
    yield 0.0, 1.0
    for _, label in trials:
        rejected[label] += 1
        yield rejected[0] / len(bonafide), (len(spoof) - rejected[1]) / len(spoof)


def plain_eer(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    """The EER where FRR and FAR are nearest, as in ASVspoof."""
    frr, far = min(walk(bonafide, spoof), key=lambda rates: abs(rates[0] - rates[1]))
    return (frr + far) / 2


def plain_eer_in_the_wild(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    """The EER where FRR and FAR cross, with both rates computed at every threshold, as in the published script."""
    previous = None
    for threshold in np.sort(np.concatenate((bonafide, spoof))):
        frr = np.mean(bonafide < threshold)
        far = np.mean(spoof >= threshold)
        if far <= frr:
            share = (previous[1] - previous[0]) / ((previous[1] - previous[0]) - (far - frr))
            return previous[0] + share * (frr - previous[0])
        previous = frr, far
    return math.nan


def plain_eer_scikit_learn(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    """The EER from scikit-learn's ROC curve."""
    from sklearn.metrics import roc_curve

    labels = np.repeat((1, 0), (bonafide.size, spoof.size))
    fpr, tpr, _ = roc_curve(labels, np.concatenate((bonafide, spoof)))
    nearest = np.argmin(np.abs(1 - tpr - fpr))
    return (1 - tpr[nearest] + fpr[nearest]) / 2


def plain_min_dcf(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    """minDCF with the costs of ASVspoof 5."""
    return min(0.95 * frr + 0.5 * far for frr, far in walk(bonafide, spoof)) / 0.5


def plain_act_dcf(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    """actDCF with the costs of ASVspoof 5."""
    threshold = -math.log(0.95 / 0.5)
    frr = sum(score < threshold for score in bonafide) / len(bonafide)
    far = sum(score >= threshold for score in spoof) / len(spoof)
    return (0.95 * frr + 0.5 * far) / 0.5


def plain_cllr(bonafide: np.ndarray, spoof: np.ndarray) -> float:
    """Cllr in bits."""
    bonafide_cost = sum(math.log2(1 + math.exp(-score)) for score in bonafide) / len(bonafide)
    return (bonafide_cost + sum(math.log2(1 + math.exp(score)) for score in spoof) / len(spoof)) / 2


def plain_min_tdcf(bonafide: np.ndarray, spoof: np.ndarray, weights: metrics.TandemWeights) -> float:
    """min t-DCF, normalised."""
    costs = (weights.c0 + weights.c1 * frr + weights.c2 * far for frr, far in walk(bonafide, spoof))
    return min(costs) / (weights.c0 + min(weights.c1, weights.c2))


def plain_a_dcf(target: np.ndarray, nontarget: np.ndarray, spoof: np.ndarray) -> float:
    """The lowest architecture-agnostic DCF, normalised."""

    def cost(threshold: float) -> float:
        """The cost at a threshold."""
        alarms = 0.095 * np.mean(nontarget > threshold) + 0.5 * np.mean(spoof > threshold)
        return 0.9405 * np.mean(target <= threshold) + alarms

    return min(map(cost, np.concatenate(((-math.inf,), target, nontarget, spoof)))) / 0.595


def plain_t_eer(bonafide: np.ndarray, spoof: np.ndarray, *asv: np.ndarray) -> float:
    """The concurrent tandem EER, by a search over all thresholds of the ASV."""
    cm_miss, cm_alarm = np.array(list(walk(bonafide, spoof))).T
    best = math.inf, math.nan
    for threshold in (-math.inf, *np.sort(np.concatenate(asv))):
        miss = np.mean(asv[0] <= threshold)
        nontarget_alarm = np.mean(asv[1] > threshold)
        spoof_alarm = np.mean(asv[2] > threshold)
        misses = cm_miss + (1 - cm_miss) * miss
        alarms = ((1 - cm_miss) * nontarget_alarm + cm_alarm * spoof_alarm) / 2
        nearest = np.argmin(np.abs(misses - alarms))
        if miss < (nontarget_alarm + spoof_alarm) / 2 and spoof_alarm and cm_miss[nearest] < 1:
            distance = abs(nontarget_alarm / spoof_alarm - cm_alarm[nearest] / (1 - cm_miss[nearest]))
            best = min(best, (distance, cm_alarm[nearest] * spoof_alarm), key=lambda candidate: candidate[0])
    return best[1]


def value(result: float | tuple) -> float:
    """The value of a metric, without its threshold."""
    return float(result[0] if isinstance(result, tuple) else result)


def contenders(num_trials: int) -> dict[str, tuple[Callable, Callable, int]]:
    """List the metrics with both implementations.

    Returns:
        Metric → the package's function, the plain one, and the exponent with which the time of the
        plain one grows.
    """
    rng = np.random.default_rng(num_trials)
    num_bonafide = int(SHARE_BONAFIDE * num_trials)
    cm = rng.normal(2, 1.5, num_bonafide), rng.normal(-2, 1.5, num_trials - num_bonafide)
    third = num_trials // 3
    asv = rng.normal(3, 1, third), rng.normal(0, 1, third), rng.normal(2, 1, num_trials - 2 * third)
    weights = metrics.tandem_weights(metrics.asv_error_rates(*asv))
    eer = {m: functools.partial(metrics.compute_eer, *cm, m) for m in ("asvspoof", "interpolated", "sklearn")}
    return {
        "EER asvspoof": (eer["asvspoof"], lambda: plain_eer(*cm), 1),
        "EER interpolated": (eer["interpolated"], lambda: plain_eer_in_the_wild(*cm), 2),
        "EER sklearn": (eer["sklearn"], lambda: plain_eer_scikit_learn(*cm), 1),
        "min t-DCF 2021": (lambda: metrics.compute_min_tdcf(*cm, *asv), lambda: plain_min_tdcf(*cm, weights), 1),
        "minDCF": (lambda: metrics.compute_min_dcf(*cm), lambda: plain_min_dcf(*cm), 1),
        "actDCF": (lambda: metrics.compute_act_dcf(*cm), lambda: plain_act_dcf(*cm), 1),
        "Cllr": (lambda: metrics.compute_cllr(*cm), lambda: plain_cllr(*cm), 1),
        "a-DCF": (lambda: metrics.compute_a_dcf(*asv), lambda: plain_a_dcf(*asv), 2),
        "t-EER": (lambda: metrics.compute_t_eer(*cm, *asv), lambda: plain_t_eer(*cm, *asv), 2),
    }


def seconds(run: Callable) -> float:
    """Measure the wall time of ``run``."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare_with_plain(sizes: list[int], rounds: int, limit: float) -> None:
    """Compare values and times of both implementations, and print a table."""
    print(f"{'metric':<18} {'trials':>9} {'plain':>12} {'ours':>12}")
    last: dict[str, tuple[int, float]] = {}  # metric → size and time of the last plain run
    for num_trials in sizes:
        for name, (tested, plain, power) in contenders(num_trials).items():
            size, took = last.get(name, (num_trials, 0.0))
            expected = took * (num_trials / size) ** power
            runs = {"ours": tested} if expected > limit else {"plain": plain, "ours": tested}
            if "plain" in runs:
                assert math.isclose(value(plain()), value(tested()), abs_tol=1e-9), name
            times: dict[str, list[float]] = {label: [] for label in runs}
            for _ in range(rounds):
                for label, run in runs.items():
                    times[label].append(seconds(run))
            medians = {label: statistics.median(spent) for label, spent in times.items()}
            tested_time = f"{1e3 * medians['ours']:>9.2f} ms"
            if "plain" in medians:
                last[name] = num_trials, medians["plain"]
                ratio = f"{medians['plain'] / medians['ours']:.0f}x"
                print(
                    f"{name:<18} {num_trials:>9,} {1e3 * medians['plain']:>9.2f} ms {tested_time} {ratio:>8}",
                    flush=True,
                )
            else:
                print(
                    f"{name:<18} {num_trials:>9,} {'left out':>12} {tested_time}   plain would take {expected:.0f} s",
                    flush=True,
                )


def bootstrap(num_trials: int, num_resamples: int, threads: list[int]) -> None:
    """Print the time of bootstraps of several metrics, on each number of ``threads``."""
    rng = np.random.default_rng(0)
    num_bonafide = int(SHARE_BONAFIDE * num_trials)
    num_spoof = num_trials - num_bonafide
    cm = rng.normal(2, 1.5, num_bonafide), rng.normal(-2, 1.5, num_spoof)
    speakers = {"bonafide_groups": rng.integers(0, 700, num_bonafide), "spoof_groups": rng.integers(0, 700, num_spoof)}
    print(f"\n{num_resamples} resamples of {num_trials:,} trials")
    cases = {
        "EER asvspoof": (metrics.compute_eer, {}),
        "EER asvspoof, over 700 speakers": (metrics.compute_eer, speakers),
        "EER interpolated": (functools.partial(metrics.compute_eer, method="interpolated"), {}),
        "EER sklearn": (functools.partial(metrics.compute_eer, method="sklearn"), {}),
        "minDCF": (metrics.compute_min_dcf, {}),
        "Cllr": (metrics.compute_cllr, {}),
    }
    for name, (metric, groups) in cases.items():
        run = functools.partial(metrics.bootstrap_interval, metric, *cm, num_resamples=num_resamples, **groups)
        spent = (f"{seconds(functools.partial(run, num_threads=n)):>8.2f} s on {n}" for n in threads)
        print(f"{name:<32} {' '.join(spent)}", flush=True)
    few = min(num_resamples, 5)
    sorting = functools.partial(metrics.bootstrap_interval, lambda b, s: metrics.compute_eer(b, s), *cm)
    took = seconds(functools.partial(sorting, num_resamples=few)) * num_resamples / few
    print(f"{'EER, each resample sorted':<32} {took:>8.2f} s on 1 (from {few})")


def main(argv: list[str] | None = None) -> None:
    """Run both comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6], help="numbers of trials")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds")
    parser.add_argument("--limit", type=float, default=5.0, help="longest run of a plain one in seconds")
    parser.add_argument("--bootstrap-trials", type=int, default=600_000, help="trials of the bootstrap")
    parser.add_argument("--resamples", type=int, default=1000, help="its resamples")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, os.cpu_count() or 1], help="its threads")
    arguments = parser.parse_args(argv)
    print(f"Python {sys.version.split()[0]}, NumPy {np.__version__}, SciPy {scipy.__version__}, {os.cpu_count()} cores")
    compare_with_plain(sorted(arguments.sizes), arguments.rounds, arguments.limit)
    bootstrap(arguments.bootstrap_trials, arguments.resamples, arguments.threads)


if __name__ == "__main__":
    main()
