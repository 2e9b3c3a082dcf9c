"""Check that trivial cues do not separate the classes.

A logistic regression on level, duration, silence, pauses, bandwidth, crest factor, tilt and coarse
spectrum is trained on the training part. Its EER on the other parts should be near 50 %.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from nes2net.metrics import compute_eer

from .channel import RATE, frame_levels
from .layout import DF_PROTOCOLS, LA_PROTOCOLS

_EDGES_HZ = (0, 80, 150, 250, 400, 600, 900, 1300, 1900, 2700, 3700, 5000, 6300, 7000, 8000)
LEAST_EER = 40.0


def trivial_cues(x: np.ndarray) -> np.ndarray:
    """Compute features of ``x`` (16 kHz) that say nothing about how the speech was produced."""
    rms = np.sqrt(np.mean(x**2)) + 1e-9
    peak = np.abs(x).max() + 1e-9
    return np.concatenate([[20 * np.log10(rms), 20 * np.log10(peak), 20 * np.log10(peak / rms), np.log(len(x))],
                           _waveform(x, rms, peak), _silence(x), _spectrum(x)])  # fmt: skip


def _waveform(x: np.ndarray, rms: float, peak: float) -> list[float]:
    """Features of the distribution of samples: share near the peak, zero crossings, moments."""
    z = x / rms
    square = z * z  # ** is slow
    at_peak = np.mean(np.abs(x) > 0.95 * peak)
    crossings = np.mean(np.signbit(x[1:]) != np.signbit(x[:-1]))
    return [np.log(at_peak), np.log(crossings), np.mean(z), np.mean(square * z), np.log(np.mean(square**2))]


def _silence(x: np.ndarray) -> list[float]:
    """Features of the frame levels: shares of quiet frames, longest run, silence at both ends, percentiles."""
    levels = frame_levels(x)
    levels = levels - np.percentile(levels, 95)
    quiet = levels < -30
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], quiet, [2]]))))
    longest = max((run for run, start in zip(runs, np.cumsum([0, *runs[:-1]])) if quiet[start]), default=0)
    lead = np.argmax(levels > -20)
    trail = np.argmax(levels[::-1] > -20)
    ends = [levels[:10].mean(), levels[-10:].mean(), levels[:3].mean(), levels[-3:].mean()]
    return [quiet.mean(), (levels < -20).mean(), longest, np.log1p(lead), np.log1p(trail), *ends,
            levels.std(), *np.percentile(levels, [2, 10, 25, 50, 75]), len(runs) / len(levels)]  # fmt: skip


def _spectrum(x: np.ndarray) -> list[float]:
    """Features of the spectrum: bands, roll-off frequencies, tilt, centroid."""
    power = np.abs(np.fft.rfft(x)) ** 2
    frequencies = np.fft.rfftfreq(len(x), 1 / RATE)
    share = np.cumsum(power) / power.sum()
    edges = np.searchsorted(frequencies, _EDGES_HZ[:-1])
    bands = 10 * np.log10(np.add.reduceat(power, edges) / power.sum() + 1e-9)
    roll_offs = np.log(frequencies[np.searchsorted(share, [0.5, 0.85, 0.95, 0.99])] + 1)
    tilt = np.polyfit(np.log2(_EDGES_HZ[3:12]), bands[3:12], 1)[0]
    centroid = np.log(np.sum(frequencies * power) / power.sum())
    return [*bands, *roll_offs, tilt, centroid]


def trials(out: Path) -> dict[str, list[tuple[Path, bool, str]]]:
    """Read the trials of each part from the protocols.

    Returns:
        "train", "dev", "la", "df" or "wild" → (file, is human, attack) of each trial.
    """

    def rows(path: str) -> list[list[str]]:
        """Split the lines of a text file into fields."""
        return [line.split() for line in (out / path).read_text(encoding="utf-8").splitlines()]

    trials_by_part = {}
    for split, name in (("train", "train.trn"), ("dev", "dev.trl")):
        trials_by_part[split] = [
            (out / f"ASVspoof2019_LA_{split}/flac/{row[1]}.flac", row[4] == "bonafide", row[3])
            for row in rows(f"{LA_PROTOCOLS}/ASVspoof2019.LA.cm.{name}.txt")
        ]
    for track, protocols in (("LA", LA_PROTOCOLS), ("DF", DF_PROTOCOLS)):
        key = {row[1]: row for row in rows(f"keys/{track}/CM/trial_metadata.txt")}
        trials_by_part[track.lower()] = [
            (
                out / f"ASVspoof2021_{track}_eval/flac/{utterance}.flac",
                key[utterance][5] == "bonafide",
                key[utterance][4],
            )
            for (utterance,) in rows(f"{protocols}/ASVspoof2021.{track}.cm.eval.trl.txt")
        ]
    wild = out / "release_in_the_wild"
    lines = (wild / "meta.csv").read_text(encoding="utf-8").splitlines()[1:]
    fields = [line.split(",") for line in lines]
    trials_by_part["wild"] = [(wild / name, label == "bona-fide", "unknown") for name, _, label in fields]
    return trials_by_part


def cues_of_file(path: Path) -> np.ndarray:
    """Compute :func:`trivial_cues` of a file."""
    return trivial_cues(soundfile.read(path)[0])


def trivial_cue_eer(out: Path, map_files=map) -> dict[str, float]:
    """Compute the EER in % of a detector that knows trivial cues only.

    Args:
        map_files: a ``map`` that may use several processes.

    Returns:
        The EER of "dev", of "eval" (the three evaluation parts together), of each part, and of each
        attack in the development part ("dev A01", …) and in LA and DF together ("eval A01", …).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    trials_by_part = trials(Path(out))
    files = [path for rows in trials_by_part.values() for path, _, _ in rows]
    cues = np.array(list(map_files(cues_of_file, files)))
    sizes = [len(rows) for rows in trials_by_part.values()]
    cues_by_part = dict(zip(trials_by_part, np.split(cues, np.cumsum(sizes)[:-1])))
    human = {name: np.array([is_human for _, is_human, _ in rows]) for name, rows in trials_by_part.items()}
    detector = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    detector.fit(cues_by_part["train"], human["train"])
    scores = {name: detector.decision_function(cues_by_part[name]) for name in trials_by_part}
    evaluation = [name for name in trials_by_part if name not in ("train", "dev")]
    attacks = {name: np.array([attack for _, _, attack in rows]) for name, rows in trials_by_part.items()}

    def eer(names: list[str], attack: str | None = None) -> float:
        """The EER in % of these parts together; with ``attack``, only its spoofs count."""
        human_scores = [scores[name][human[name]] for name in names]
        spoof_scores = []
        for name in names:
            is_counted = ~human[name]
            if attack is not None:
                is_counted &= attacks[name] == attack
            spoof_scores.append(scores[name][is_counted])
        return 100 * compute_eer(np.concatenate(human_scores), np.concatenate(spoof_scores))[0]

    result = {"dev": eer(["dev"]), "eval": eer(evaluation), **{name: eer([name]) for name in evaluation}}
    for title, names in (("dev", ["dev"]), ("eval", ["la", "df"])):  # meta.csv of In-the-Wild names no attack
        for attack in sorted(set(np.concatenate([attacks[name][~human[name]] for name in names]))):
            result[f"{title} {attack}"] = eer(names, attack)
    return result


def summary(eers: dict[str, float]) -> str:
    """Summarise the check in one line."""
    return (
        f"A logistic regression on trivial cues (level, pauses, bandwidth, coarse spectrum, …) has an EER of "
        f"{eers['dev']:.1f} % on the development part and {eers['eval']:.1f} % on the evaluation parts (50 % is chance)."
    )
