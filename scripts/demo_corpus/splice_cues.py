"""Check that trivial cues show neither where partially spoofed recordings are cut nor which frames are fake.

Logistic regressions on level, crest factor, clicks, zero crossings and coarse spectrum, around each frame of 10 ms, are
trained on the training part. Their EERs on the evaluation part should be near 50 %.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft
from scipy.ndimage import maximum_filter1d

from nes2net.corpora import partialspoof
from nes2net.metrics import compute_eer

from .channel import FRAME, RATE
from .cues import trivial_cues

_EDGES_HZ = (100, 300, 600, 1000, 1700, 2700, 4000, 5500, 7000)
_WINDOW = 400  # samples
_NEAR = 2  # frames from a boundary, either side, that count as near it
_FRAME_STEP = 2  # every second frame is judged


def frame_cues(x: np.ndarray) -> np.ndarray:
    """Compute cues of the frames of ``x`` (16 kHz): T×17, over windows of 25 ms."""
    count = len(x) // FRAME
    x = np.pad(x, ((_WINDOW - FRAME) // 2, _WINDOW))
    frames = sliding_window_view(x, _WINDOW)[::FRAME][:count]
    power = np.abs(rfft((frames * np.hanning(_WINDOW)).astype(np.float32), 512)) ** 2 + 1e-12
    edges = np.searchsorted(np.fft.rfftfreq(512, 1 / RATE), _EDGES_HZ)
    total = power.sum(axis=1)
    bands = 10 * np.log10(np.add.reduceat(power, edges[:-1], axis=1) / total[:, None] + 1e-6)
    level = 10 * np.log10(total)
    mean_power = _mean(x**2, count) + 1e-14
    crest = 20 * np.log10(_peak(np.abs(x), count) / np.sqrt(mean_power))
    clicks = [np.log(_peak(jumps, count) / (_mean(jumps, count) + 1e-9) + 1e-9)
              for jumps in (np.abs(np.diff(x, order)) for order in (1, 2))]  # fmt: skip
    crossings = _mean(np.signbit(x[1:]) != np.signbit(x[:-1]), count)
    kurtosis = np.log(_mean(x**4, count) / mean_power**2 + 1e-9)
    inside = power[:, edges[0] : edges[-1]]
    flatness = np.mean(np.log(inside), axis=1) - np.log(np.mean(inside, axis=1))
    tilt = bands[:, 5] - bands[:, 1]
    return np.column_stack(
        [level, level - np.percentile(level, 95), crest, *clicks, crossings, kurtosis, tilt, flatness, bands]
    )


def _mean(x: np.ndarray, count: int) -> np.ndarray:
    """Average ``x`` over each of ``count`` frames."""
    start = np.arange(count) * FRAME
    sums = np.cumsum(np.append(0.0, x))
    return (sums[np.minimum(start + _WINDOW, len(x))] - sums[start]) / _WINDOW


def _peak(x: np.ndarray, count: int) -> np.ndarray:
    """Find the largest value of ``x`` in each of ``count`` frames."""
    return maximum_filter1d(x, _WINDOW, origin=-(_WINDOW // 2))[: count * FRAME : FRAME]


def _means(cues: np.ndarray, first: int, last: int) -> np.ndarray:
    """Average the cues of frames t + ``first`` to t + ``last`` for each frame t; the ends are repeated."""
    padded = np.pad(cues, ((max(-first, 0), max(last, 0)), (0, 0)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
    start = max(-first, 0) + first
    length = last - first + 1
    return (sums[start + length :][: len(cues)] - sums[start:][: len(cues)]) / length


def boundary_cues(cues: np.ndarray) -> np.ndarray:
    """Describe a cut at the beginning of each frame: the cues there, and how those before and behind it differ, T×51."""
    before, there, behind = _means(cues, -8, -2), _means(cues, -2, 1), _means(cues, 1, 7)
    return np.hstack([there - (before + behind) / 2, behind - before, np.abs(behind - before)])


def fake_frame_cues(cues: np.ndarray) -> np.ndarray:
    """Describe each frame by the mean and deviation of the cues within 30 ms of it, T×34."""
    mean = _means(cues, -3, 3)
    return np.hstack([mean, np.sqrt(np.maximum(_means(cues**2, -3, 3) - mean**2, 0))])


def cues_of_file(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute :func:`boundary_cues` and :func:`fake_frame_cues` of every second frame, and the cues of the whole file."""
    x = soundfile.read(path)[0]
    cues = frame_cues(x)
    return boundary_cues(cues)[::_FRAME_STEP], fake_frame_cues(cues)[::_FRAME_STEP], trivial_cues(x)


def near_boundary(fake: np.ndarray) -> np.ndarray:
    """Mark the frames within 20 ms of a change of ``fake`` (T,)."""
    near = np.zeros(len(fake), bool)
    for boundary in np.flatnonzero(np.diff(fake.astype(int))) + 1:
        near[max(boundary - _NEAR, 0) : boundary + _NEAR + 1] = True
    return near


def trivial_cue_eer(out: Path, map_files=map) -> dict[str, float]:
    """Compute the EERs in % of detectors that know trivial cues only, on the evaluation part.

    Returns:
        the EER of frames near a boundary between human and fake against all others ("boundary"), of fake against bona
        fide frames ("frame"), and of utterances ("utterance").
    """
    cues, targets = {}, {}
    for part in ("train", "eval"):
        trials = partialspoof.CORPUS.trials(out, part)
        labels = partialspoof.segment_labels(out, part, 10)
        of_file = list(map_files(cues_of_file, [trial.path for trial in trials]))
        fakes = [labels[trial.id] == 0 for trial in trials]
        nears = [near_boundary(fake) for fake in fakes]
        cues[part] = [np.concatenate([c[0] for c in of_file]), np.concatenate([c[1] for c in of_file]),
                      np.array([c[2] for c in of_file])]  # fmt: skip
        targets[part] = [
            *(np.concatenate([row[::_FRAME_STEP] for row in rows]) for rows in (nears, fakes)),
            np.array([fake.any() for fake in fakes]),
        ]
    return {
        name: _eer(*cue, *target)
        for name, cue, target in zip(
            ("boundary", "frame", "utterance"), zip(cues["train"], cues["eval"]), zip(targets["train"], targets["eval"])
        )
    }


def _eer(training: np.ndarray, evaluation: np.ndarray, training_target, evaluation_target) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    detector = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    scores = detector.fit(training, training_target).decision_function(evaluation)
    return 100 * compute_eer(scores[evaluation_target], scores[~evaluation_target])[0]


def summary(eers: dict[str, float]) -> str:
    """Summarise the check in one line."""
    return (
        f"Logistic regressions on trivial cues (level, clicks, crest factor, coarse spectrum, …) have EERs of "
        f"{eers['boundary']:.1f} % (frames near a boundary), {eers['frame']:.1f} % (fake frames) and "
        f"{eers['utterance']:.1f} % (utterances) on the evaluation part (50 % is chance)."
    )
