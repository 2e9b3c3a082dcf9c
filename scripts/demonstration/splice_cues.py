"""Check that trivial cues show neither which pieces and frames are fake, nor where a fake piece begins.

Logistic regressions are trained on the training part: on level, crest factor, clicks, zero
crossings and coarse spectrum around each frame of 10 ms, and on length and pauses of each piece.
Their EERs on the evaluation part should be near 50 %.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.ndimage import maximum_filter1d

from nes2net.data.corpora import partialspoof

from .channel import FRAME, RATE
from .cues import decision_scores, percent_eer, trivial_cues

_EDGES_HZ = (100, 300, 600, 1000, 1700, 2700, 4000, 5500, 7000)
_WINDOW = 400  # samples
_NEAR = 2  # frames before and after a boundary that count as near it
PIECES = "pieces.txt"
_FRAME_STEP = 2  # every second frame is judged


def frame_cues(x: NDArray) -> NDArray:
    """Compute cues of the frames of ``x`` (16 kHz): T×17, over windows of 25 ms."""
    count = len(x) // FRAME
    x = np.pad(x, ((_WINDOW - FRAME) // 2, _WINDOW))
    frames = sliding_window_view(x, _WINDOW)[::FRAME][:count]
    windowed = (frames * np.hanning(_WINDOW)).astype(np.float32)
    power = np.abs(rfft(windowed, 512)) ** 2 + 1e-12
    total = power.sum(axis=1)
    edges = np.searchsorted(np.fft.rfftfreq(512, 1 / RATE), _EDGES_HZ)
    shares = np.add.reduceat(power, edges[:-1], axis=1) / total[:, None]
    bands = 10 * np.log10(shares + 1e-6)
    tilt = bands[:, 5] - bands[:, 1]
    level = 10 * np.log10(total)
    mean_power = _mean(x**2, count) + 1e-14
    crest = 20 * np.log10(_peak(np.abs(x), count) / np.sqrt(mean_power))
    crossings = _mean(np.signbit(x[1:]) != np.signbit(x[:-1]), count)
    kurtosis = np.log(_mean(x**4, count) / mean_power**2 + 1e-9)
    inside = power[:, edges[0] : edges[-1]]
    flatness = np.mean(np.log(inside), axis=1) - np.log(np.mean(inside, axis=1))
    levels = [level, level - np.percentile(level, 95), crest, _clicks(x, 1, count), _clicks(x, 2, count)]
    return np.column_stack([*levels, crossings, kurtosis, tilt, flatness, bands])


def _clicks(x: NDArray, order: int, count: int) -> NDArray:
    jumps = np.abs(np.diff(x, order))
    return np.log(_peak(jumps, count) / (_mean(jumps, count) + 1e-9) + 1e-9)


def _mean(x: NDArray, count: int) -> NDArray:
    start = np.arange(count) * FRAME
    sums = np.cumsum(np.append(0.0, x))
    return (sums[np.minimum(start + _WINDOW, len(x))] - sums[start]) / _WINDOW


def _peak(x: NDArray, count: int) -> NDArray:
    return maximum_filter1d(x, _WINDOW, origin=-(_WINDOW // 2))[: count * FRAME : FRAME]


def _means(cues: NDArray, first: int, last: int) -> NDArray:
    padded = np.pad(cues, ((max(-first, 0), max(last, 0)), (0, 0)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
    start = max(-first, 0) + first
    length = last - first + 1
    return (sums[start + length :][: len(cues)] - sums[start:][: len(cues)]) / length


def boundary_cues(cues: NDArray) -> NDArray:
    """Describe a possible boundary before each frame: how the cues there, before and after it differ, T×51."""
    before = _means(cues, -8, -2)
    at_boundary = _means(cues, -2, 1)
    after = _means(cues, 1, 7)
    return np.hstack([at_boundary - (before + after) / 2, after - before, np.abs(after - before)])


def fake_frame_cues(cues: NDArray) -> NDArray:
    """Describe each frame by mean and standard deviation of the cues within 30 ms of it, T×34."""
    mean = _means(cues, -3, 3)
    return np.hstack([mean, np.sqrt(np.maximum(_means(cues**2, -3, 3) - mean**2, 0))])


def piece_cues(cues: NDArray) -> NDArray:
    """Describe a piece by its length, its level and the pauses at its ends, from the cues of its frames."""
    level = cues[:, 1]
    loud = np.flatnonzero(level > -20)
    lead = loud[0] if len(loud) else len(level)
    trail = len(level) - loud[-1] if len(loud) else len(level)
    lengths = [np.log(len(level)), np.log(len(loud) + 1), lead, trail]
    return np.array([*lengths, level.mean(), level.std(), level.max()])


def cues_of_file(path: Path) -> tuple[NDArray, NDArray]:
    """Compute the cues of the frames of a file, and of the whole file."""
    x = soundfile.read(path)[0]
    return frame_cues(x), trivial_cues(x)


class _Piece(NamedTuple):
    """First and last frame of a piece, and whether it is fake."""

    start: int
    end: int
    is_fake: bool


def _pieces(out: Path) -> dict[str, list[_Piece]]:
    pieces_by_id = defaultdict(list)
    for line in (out / PIECES).read_text(encoding="utf-8").splitlines():
        _, name, start, end, method, *_ = line.split()
        pieces_by_id[name].append(_Piece(int(start), int(end), method != "human"))
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
        examples = rows[split] = {kind: [] for kind in ("boundary", "frame", "piece", "utterance")}
        trials = partialspoof.CORPUS.trials(out, split)
        for trial, (cues, utterance_cues) in zip(trials, map_files(cues_of_file, [trial.path for trial in trials])):
            near = boundary_cues(cues)
            frames = fake_frame_cues(cues)
            pieces_of_trial = pieces[trial.id]
            for before, behind in itertools.pairwise(pieces_of_trial):
                is_edit = before.is_fake != behind.is_fake
                examples["boundary"] += [
                    (row, is_edit) for row in near[behind.start - _NEAR : behind.start + _NEAR + 1]
                ]
            for start, end, is_fake in pieces_of_trial:
                examples["frame"] += [(row, is_fake) for row in frames[start:end:_FRAME_STEP]]
                examples["piece"].append((piece_cues(cues[start:end]), is_fake))
            examples["utterance"].append((utterance_cues, any(piece.is_fake for piece in pieces_of_trial)))
    return {kind: _eer(examples, rows["eval"][kind]) for kind, examples in rows["train"].items()}


def _eer(training: list, evaluation: list) -> float:
    cues, targets = zip(*training)
    evaluation_cues, evaluation_targets = zip(*evaluation)
    return percent_eer(decision_scores(cues, targets, evaluation_cues), np.array(evaluation_targets))


def summary(eers: dict[str, float]) -> str:
    """Summarise the check in one line."""
    return (
        f"Logistic regressions on trivial cues (level, clicks, crest factor, coarse spectrum, length, pauses, …) have EERs "
        f"of {eers['boundary']:.1f} % (boundaries between human and fake), {eers['frame']:.1f} % (fake frames), "
        f"{eers['piece']:.1f} % (fake pieces) and {eers['utterance']:.1f} % (utterances) on the evaluation part (50 % is chance)."
    )
