"""Check that trivial cues show neither which pieces and frames are fake, nor where a fake piece begins.

Logistic regressions are trained on the training part: on level, crest factor, clicks, zero
crossings and coarse spectrum around each frame of 10 ms, and on length and pauses of each piece.
Their EERs on the evaluation part should be near 50 %.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft
from scipy.ndimage import maximum_filter1d

from nes2net.data.corpora import partialspoof
from nes2net.metrics import compute_eer

from .channel import FRAME, RATE
from .cues import trivial_cues

_EDGES_HZ = (100, 300, 600, 1000, 1700, 2700, 4000, 5500, 7000)
_WINDOW = 400  # samples
_NEAR = 2  # frames before and after a boundary that count as near it
PIECES = "pieces.txt"
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
    """Average ``x`` over the window of each of ``count`` frames."""
    start = np.arange(count) * FRAME
    sums = np.cumsum(np.append(0.0, x))
    return (sums[np.minimum(start + _WINDOW, len(x))] - sums[start]) / _WINDOW


def _peak(x: np.ndarray, count: int) -> np.ndarray:
    """Find the largest value of ``x`` in the window of each of ``count`` frames."""
    return maximum_filter1d(x, _WINDOW, origin=-(_WINDOW // 2))[: count * FRAME : FRAME]


def _means(cues: np.ndarray, first: int, last: int) -> np.ndarray:
    """Average the cues of frames t + ``first`` to t + ``last`` for each frame t; the ends are repeated."""
    padded = np.pad(cues, ((max(-first, 0), max(last, 0)), (0, 0)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
    start = max(-first, 0) + first
    length = last - first + 1
    return (sums[start + length :][: len(cues)] - sums[start:][: len(cues)]) / length


def boundary_cues(cues: np.ndarray) -> np.ndarray:
    """Describe a possible boundary before each frame: how the cues there, before and after it differ, T×51."""
    before = _means(cues, -8, -2)
    at_boundary = _means(cues, -2, 1)
    after = _means(cues, 1, 7)
    return np.hstack([at_boundary - (before + after) / 2, after - before, np.abs(after - before)])


def fake_frame_cues(cues: np.ndarray) -> np.ndarray:
    """Describe each frame by mean and standard deviation of the cues within 30 ms of it, T×34."""
    mean = _means(cues, -3, 3)
    return np.hstack([mean, np.sqrt(np.maximum(_means(cues**2, -3, 3) - mean**2, 0))])


def piece_cues(cues: np.ndarray) -> np.ndarray:
    """Describe a piece by its length, its level and the pauses at its ends, from the cues of its frames."""
    level = cues[:, 1]
    loud = np.flatnonzero(level > -20)
    pauses = (loud[0], len(level) - loud[-1]) if len(loud) else (len(level), len(level))
    return np.array([np.log(len(level)), np.log(len(loud) + 1), *pauses, level.mean(), level.std(), level.max()])


def cues_of_file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Compute the cues of the frames of a file, and of the whole file."""
    x = soundfile.read(path)[0]
    return frame_cues(x), trivial_cues(x)


def _pieces(out: Path) -> dict[str, list[tuple[int, int, bool]]]:
    """Read the pieces of each utterance: id → (first frame, last frame, is fake)."""
    pieces_by_id = defaultdict(list)
    for line in (out / PIECES).read_text(encoding="utf-8").splitlines():
        _, name, start, end, method, *_ = line.split()
        pieces_by_id[name].append((int(start), int(end), method != "human"))
    return pieces_by_id


def trivial_cue_eer(out: Path, map_files=map) -> dict[str, float]:
    """Compute the EERs in % of detectors that know trivial cues only, on the evaluation part.

    Args:
        map_files: a ``map`` that may use several processes.

    Returns:
        - "boundary": frames near a boundary between human and fake, against frames near other boundaries.
        - "frame", "piece", "utterance": fake against bona fide ones.
    """
    pieces = _pieces(out)
    rows: dict[str, dict[str, list]] = {}  # split → kind → (cues, target) of each example
    for split in ("train", "eval"):
        rows[split] = {kind: [] for kind in ("boundary", "frame", "piece", "utterance")}
        trials = partialspoof.CORPUS.trials(out, split)
        for trial, (cues, utterance_cues) in zip(trials, map_files(cues_of_file, [trial.path for trial in trials])):
            near = boundary_cues(cues)
            frames = fake_frame_cues(cues)
            listed = pieces[trial.id]
            for (_, _, before), (start, _, behind) in itertools.pairwise(listed):
                rows[split]["boundary"] += [(row, before != behind) for row in near[start - _NEAR : start + _NEAR + 1]]
            for start, end, fake in listed:
                rows[split]["frame"] += [(row, fake) for row in frames[start:end:_FRAME_STEP]]
                rows[split]["piece"].append((piece_cues(cues[start:end]), fake))
            rows[split]["utterance"].append((utterance_cues, any(fake for *_, fake in listed)))
    return {kind: _eer(*zip(*rows["train"][kind]), *zip(*rows["eval"][kind])) for kind in rows["train"]}


def _eer(training: Sequence, target: Sequence, evaluation: Sequence, evaluation_target: Sequence) -> float:
    """Train a logistic regression, and compute its EER in % on the evaluation examples."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    detector = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    scores = detector.fit(np.array(training), target).decision_function(np.array(evaluation))
    is_target = np.array(evaluation_target)
    return 100 * compute_eer(scores[is_target], scores[~is_target])[0]


def summary(eers: dict[str, float]) -> str:
    """Summarise the check in one line."""
    return (
        f"Logistic regressions on trivial cues (level, clicks, crest factor, coarse spectrum, length, pauses, …) have EERs "
        f"of {eers['boundary']:.1f} % (boundaries between human and fake), {eers['frame']:.1f} % (fake frames), "
        f"{eers['piece']:.1f} % (fake pieces) and {eers['utterance']:.1f} % (utterances) on the evaluation part (50 % is chance)."
    )
