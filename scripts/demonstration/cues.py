"""Check that trivial cues do not separate the classes.

A logistic regression on level, duration, silence, pauses, bandwidth, crest factor, tilt and coarse
spectrum is trained on the training part. Its EER on the other parts should be near 50 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import ArrayLike, NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nes2net.data.corpora import asvspoof2019_la, asvspoof2021_df, asvspoof2021_la, in_the_wild
from nes2net.data.corpora.trial import Trial
from nes2net.metrics import compute_eer

from .channel import RATE, frame_levels

_EDGES_HZ = (0, 80, 150, 250, 400, 600, 900, 1300, 1900, 2700, 3700, 5000, 6300, 7000, 8000)
_EVALUATION = {
    "la": (asvspoof2021_la, "keys"),
    "df": (asvspoof2021_df, "keys"),
    "wild": (in_the_wild, "release_in_the_wild"),
}


def trivial_cues(x: NDArray) -> NDArray:
    """Compute features of ``x`` (16 kHz) that say nothing about how the speech was produced."""
    rms = np.sqrt(np.mean(x**2)) + 1e-9
    peak = np.abs(x).max() + 1e-9
    levels = [20 * np.log10(rms), 20 * np.log10(peak), 20 * np.log10(peak / rms), np.log(len(x))]
    return np.concatenate([levels, _waveform(x, rms, peak), _silence(x), _spectrum(x)])


def _waveform(x: NDArray, rms: float, peak: float) -> list[float]:
    z = x / rms
    square = z * z  # ** is slow
    at_peak = np.mean(np.abs(x) > 0.95 * peak)
    crossings = np.mean(np.signbit(x[1:]) != np.signbit(x[:-1]))
    fourth_moment = np.mean(square**2)
    return [np.log(at_peak), np.log(crossings), np.mean(z), np.mean(square * z), np.log(fourth_moment)]


def _silence(x: NDArray) -> list[float]:
    levels = frame_levels(x)
    levels = levels - np.percentile(levels, 95)
    is_quiet = levels < -30
    changes = np.flatnonzero(np.diff(is_quiet)) + 1
    runs = np.split(is_quiet, changes)
    longest = max((len(run) for run in runs if run[0]), default=0)
    lead = np.argmax(levels > -20)
    trail = np.argmax(levels[::-1] > -20)
    features = [is_quiet.mean(), (levels < -20).mean(), longest, np.log1p(lead), np.log1p(trail)]
    features += [levels[:10].mean(), levels[-10:].mean(), levels[:3].mean(), levels[-3:].mean()]
    features += [levels.std(), *np.percentile(levels, [2, 10, 25, 50, 75])]
    return [*features, len(runs) / len(levels)]


def _spectrum(x: NDArray) -> list[float]:
    power = np.abs(np.fft.rfft(x)) ** 2
    total = power.sum()
    frequencies = np.fft.rfftfreq(len(x), 1 / RATE)
    share = np.cumsum(power) / total
    edges = np.searchsorted(frequencies, _EDGES_HZ[:-1])
    bands = 10 * np.log10(np.add.reduceat(power, edges) / total + 1e-9)
    roll_offs = frequencies[np.searchsorted(share, [0.5, 0.85, 0.95, 0.99])]
    tilt = np.polyfit(np.log2(_EDGES_HZ[3:12]), bands[3:12], 1)[0]
    centroid = np.sum(frequencies * power) / total
    return [*bands, *np.log(roll_offs + 1), tilt, np.log(centroid)]


def trials(out: Path) -> dict[str, list[Trial]]:
    """Read the trials of each part, with their files and labels: "train", "dev", "la", "df" and "wild"."""
    trials_by_part = {name: asvspoof2019_la.CORPUS.trials(out, name) for name in ("train", "dev")}
    for name, (module, keys) in _EVALUATION.items():
        labelled = {trial.id: trial for trial in module.CORPUS.keys(out / keys)}
        audio = module.CORPUS.trials(out)
        trials_by_part[name] = [replace(labelled[trial.id], path=trial.path) for trial in audio]
    return trials_by_part


def cues_of_file(path: Path) -> NDArray:
    """Compute :func:`trivial_cues` of a file."""
    return trivial_cues(soundfile.read(path)[0])


def decision_scores(training: ArrayLike, target: Sequence[bool], evaluation: ArrayLike) -> NDArray:
    """Train a logistic regression on rows of cues, and return its scores of others."""
    detector = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    return detector.fit(np.array(training), target).decision_function(np.array(evaluation))


def percent_eer(scores: NDArray, is_target: NDArray) -> float:
    """The EER of scores in percent."""
    return 100 * compute_eer(scores[is_target], scores[~is_target])[0]


def trivial_cue_eer(out: Path, map_files=map) -> dict[str, float]:
    """Compute the EER in % of a detector that knows trivial cues only.

    Args:
        map_files: a ``map`` that may use several processes.

    Returns:
        The EER of "dev", of "eval" (the three evaluation parts together), of each part, and of each
        attack in the development part ("dev A01", …) and in LA and DF together ("eval A01", …).
    """
    trials_by_part = trials(out)
    all_trials = [trial for part_trials in trials_by_part.values() for trial in part_trials]
    cues = np.array(list(map_files(cues_of_file, [trial.path for trial in all_trials])))
    is_human = np.array([trial.label == "bonafide" for trial in all_trials])
    attacks = np.array([trial.attack or "-" for trial in all_trials])
    part_names = np.repeat(list(trials_by_part), [len(part_trials) for part_trials in trials_by_part.values()])
    learnt = part_names == "train"
    scores = decision_scores(cues[learnt], is_human[learnt], cues)

    def eer(names: Sequence[str], is_counted: NDArray | bool = True) -> float:
        is_chosen = np.isin(part_names, names) & is_counted
        return percent_eer(scores[is_chosen], is_human[is_chosen])

    result = {"dev": eer(["dev"]), "eval": eer(list(_EVALUATION)), **{name: eer([name]) for name in _EVALUATION}}
    for title, names in (("dev", ["dev"]), ("eval", ["la", "df"])):  # meta.csv of In-the-Wild names no attack
        for attack in np.unique(attacks[np.isin(part_names, names) & ~is_human]):
            result[f"{title} {attack}"] = eer(names, is_human | (attacks == attack))
    return result


def summary(eers: dict[str, float]) -> str:
    """Summarise the check in one line."""
    return (
        f"A logistic regression on trivial cues (level, pauses, bandwidth, coarse spectrum, …) has an EER of "
        f"{eers['dev']:.1f} % on the development part and {eers['eval']:.1f} % on the evaluation parts (50 % is chance)."
    )
