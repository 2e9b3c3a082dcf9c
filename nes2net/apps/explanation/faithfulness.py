"""Check whether an explanation is faithful: removing the most relevant parts must change the score.

The change is compared with the change after removing random parts, as in Samek et al., "Evaluating
the visualization of what a deep neural network has learned", IEEE TNNLS 28(11), 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nes2net.apps.explanation.relevance import Relevance
from nes2net.apps.explanation.subject import Removable, Subject

#: Fraction of the time bins, or of the cells, that is removed.
REMOVED = 0.1


@dataclass(frozen=True)
class Check:
    """How the score changes without the most relevant tenth, and without random tenths."""

    of: str
    """``"time"`` for time bins, ``"cells"`` for cells of time and frequency."""
    change: float
    """Change of the score without the most relevant tenth; above 0 if it has the predicted sign."""
    random_changes: tuple[float, ...]
    """Absolute change of the score without each random tenth."""

    @property
    def mean_random_change(self) -> float:
        return float(np.mean(self.random_changes))

    @property
    def ratio(self) -> float:
        """Change by mean random change; for a mean of 0, ±inf, or 0 without a change."""
        mean = self.mean_random_change
        if mean:
            return self.change / mean
        return float("inf") * np.sign(self.change) if self.change else 0.0

    @property
    def share_smaller(self) -> float:
        """Fraction of random tenths that change the score less."""
        return float(np.mean(np.array(self.random_changes) < self.change))

    def to_dict(self) -> dict[str, object]:
        return {
            # Users' programs read these keys.
            "of": self.of,
            "change": self.change,
            "mean_random_change": self.mean_random_change,
            "ratio": self.ratio,
            "share_of_random_smaller": self.share_smaller,
            "draws": len(self.random_changes),
        }


def in_words(checks: Sequence[Check]) -> str:
    """Say in a sentence whether the explanation can be trusted.

    >>> in_words([Check("time", 0.2, (0.1,)), Check("cells", 0.9, (0.1,))])
    'Without its most relevant tenth the score changes 2.0 times (time) and 9.0 times (cells) as much as without a random tenth.'
    >>> in_words([Check("time", 0.1, (0.4,))])
    'Do not trust this: without its most relevant tenth the score changes 0.2 times (time) as much as without a random tenth.'
    """
    times = " and ".join(f"{check.ratio:.1f} times ({check.of})" for check in checks).replace("-", "−")
    trusted = all(check.change > check.mean_random_change for check in checks)
    begin = "Without" if trusted else "Do not trust this: without"
    return f"{begin} its most relevant tenth the score changes {times} as much as without a random tenth."


def check(subject: Subject, grid: Removable, score: float, relevance: Relevance, draws: int, seed: int) -> list[Check]:
    """Compare how much the score changes without the most relevant tenth, and without random tenths.

    The tenth with the larger absolute sum, towards bona fide or spoof, is the most relevant one.
    Both are not mixed, because their effects would cancel. A random tenth has as many bins or
    cells, drawn without replacement.

    Args:
        draws: number of random tenths of time bins, and of cells.

    Returns:
        The check by time bins, and the check by cells.
    """
    rng = np.random.default_rng(seed)
    checks = []
    for kind, candidates in (("time", relevance.over_time), ("cells", relevance.cells.ravel())):
        number = max(1, round(REMOVED * len(candidates)))
        order = np.argsort(candidates, kind="stable")
        most_relevant = order[::-1][:number]
        sign = 1
        if candidates[most_relevant].sum() < -candidates[order[:number]].sum():
            most_relevant = order[:number]
            sign = -1
        removed = np.zeros((1 + draws, len(candidates)), dtype=bool)
        removed[0, most_relevant] = True
        for draw in range(1, 1 + draws):
            removed[draw, rng.choice(len(candidates), number, replace=False)] = True
        # (1 + draws, F, T). A time bin covers all bands; cells already have them, so broadcasting changes nothing.
        num_bands, num_bins = grid.shape
        cells = np.broadcast_to(removed.reshape(1 + draws, -1, num_bins), (1 + draws, num_bands, num_bins))
        changes = subject.changes(grid, cells.copy(), score)
        checks.append(Check(kind, float(sign * changes[0]), tuple(np.abs(changes[1:]).tolist())))
    return checks
