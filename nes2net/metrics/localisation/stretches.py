"""Find fake stretches in scores of frames by a rule with a threshold, a hysteresis and a minimum duration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from nes2net.lib.errors import InputError, check_known, check_setting
from nes2net.metrics.intervals import Interval
from nes2net.metrics.localisation.segments import BONAFIDE, SPOOF, Segment

#: Score rule → threshold and hysteresis of :class:`StretchRule`. Classes are equally likely at the threshold for
#: ``logit`` and ``difference``; it is the middle of the range for ``probability``, and of the published targets 1 and
#: 0 for ``cosine``. The hysteresis is an assumption: a factor of e in the odds, or a tenth of 0 … 1.
DEFAULTS = {"logit": (0.0, 1.0), "difference": (0.0, 1.0), "probability": (0.5, 0.1), "cosine": (0.5, 0.1)}
#: In seconds. An assumption: about the duration of a short phone.
MIN_DURATION = 0.1


class StretchRule(NamedTuple):
    """How frame scores become fake stretches."""

    threshold: float
    """A fake stretch begins at a score of at most this value."""
    hysteresis: float
    """A fake stretch continues while scores are at most ``threshold`` plus this value."""
    min_duration: float = MIN_DURATION
    """In seconds. First, shorter gaps are filled; then, shorter stretches are dropped."""

    @classmethod
    def of(
        cls,
        score_rule: str,
        threshold: float | None = None,
        hysteresis: float | None = None,
        min_duration: float = MIN_DURATION,
    ) -> StretchRule:
        """Make the rule for a detector's scores; missing options come from :data:`DEFAULTS`.

        Args:
            score_rule: how the detector makes scores from logits.
            threshold: default 0 for logits and their differences, 0.5 for probabilities and
                cosines. Scores are not calibrated: choose a threshold on data of your own.
            hysteresis: default 1 for logits and their differences, 0.1 for probabilities and
                cosines.

        Raises:
            InputError: if a number is not finite, or hysteresis or minimum duration is negative.

        >>> StretchRule.of("probability", hysteresis=0.0)
        StretchRule(threshold=0.5, hysteresis=0.0, min_duration=0.1)
        """
        check_known([score_rule], DEFAULTS, "there is no score rule")
        default_threshold, default_hysteresis = DEFAULTS[score_rule]
        if threshold is None:
            threshold = default_threshold
        if hysteresis is None:
            hysteresis = default_hysteresis
        check_setting("threshold", threshold, math.isfinite(threshold), "a number")
        for name, value in (("hysteresis", hysteresis), ("min_duration", min_duration)):
            check_setting(name, value, value >= 0, "a number of at least 0")
        return cls(threshold, hysteresis, min_duration)


def fake_stretches(scores: ArrayLike, resolution_ms: float, duration: float, rule: StretchRule) -> list[Segment]:
    """Find the fake stretches of a recording, in the order of time.

    A stretch at the last frame lasts until the end of the recording: most front-ends end earlier.

    Args:
        scores: (T,), higher for bona fide.
        resolution_ms: length of a frame in ms.
        duration: in seconds.

    Returns:
        Segments with the label ``spoof`` and the mean score of their frames.

    Raises:
        InputError: if the scores are not a row of finite numbers.

    >>> rule = StretchRule(threshold=0.0, hysteresis=1.0, min_duration=0.04)
    >>> fake_stretches([2.0, -1.0, 0.5, 2.0, 2.0, -1.0, 2.0], 20, 0.14, rule)
    [Segment(label='spoof', start=0.02, end=0.06, score=-0.25)]
    """
    row = np.asarray(scores, np.float64)
    if row.ndim != 1:
        raise InputError(f"scores of frames must be one row (T,), not of shape {row.shape}: pass one recording")
    if not np.isfinite(row).all():
        raise InputError(
            f"{np.count_nonzero(~np.isfinite(row))} of {len(row)} scores of frames are not finite: score again"
        )
    begins = row <= rule.threshold
    continues = row <= rule.threshold + rule.hysteresis
    # Inside a stretch, the last begin up to this frame is later than the last end.
    numbers = np.arange(len(row))
    last_begin = np.maximum.accumulate(np.where(begins, numbers, -1))
    last_end = np.maximum.accumulate(np.where(continues, -1, numbers))
    inside = np.concatenate([[False], last_begin > last_end, [False]]).astype(np.int8)
    # (K, 2): the first frame of each stretch, and the first frame after it.
    runs = np.flatnonzero(np.diff(inside)).reshape(-1, 2)
    shortest = rule.min_duration - 1e-9  # the computed duration of five frames of 20 ms may be slightly below 0.1 s
    if len(runs) > 1:  # fill short gaps
        apart = (runs[1:, 0] - runs[:-1, 1]) * resolution_ms / 1000 >= shortest
        runs = np.stack([runs[np.append(True, apart), 0], runs[np.append(apart, True), 1]], axis=1)
    stretches = []
    for first, after_last in runs.tolist():
        start = float(first * resolution_ms / 1000)
        end = float(duration)
        if after_last < len(row):
            end = float(min(after_last * resolution_ms / 1000, duration))
        if end - start >= shortest:
            stretches.append(Segment(SPOOF, start, end, float(row[first:after_last].mean())))
    return stretches


def with_bonafide(stretches: Iterable[Segment], duration: float) -> list[Segment]:
    """Add the bona fide segments between ``stretches``, to cover the whole recording.

    >>> [s[:3] for s in with_bonafide([Segment("spoof", 0.5, 1.25)], 1.25)]
    [('bonafide', 0.0, 0.5), ('spoof', 0.5, 1.25)]
    """
    segments = []
    end = 0.0
    for stretch in stretches:  # in the order of time
        if stretch.start > end:
            segments.append(Segment(BONAFIDE, end, stretch.start))
        segments.append(stretch)
        end = stretch.end
    if end < duration:
        segments.append(Segment(BONAFIDE, end, duration))
    return segments


def drawn_places(stretches: Iterable[Segment], gap: float) -> list[Interval]:
    """List (start, end) for a picture: stretches less than ``gap`` seconds apart are joined.

    >>> drawn_places([Segment("spoof", 0.0, 1.0), Segment("spoof", 1.1, 2.0), Segment("spoof", 3.0, 4.0)], 0.5)
    [(0.0, 2.0), (3.0, 4.0)]
    """
    drawn: list[Interval] = []
    for _, start, end, *_ in stretches:
        if drawn and start - drawn[-1][1] < gap:
            start, _ = drawn.pop()
        drawn.append((start, end))
    return drawn
