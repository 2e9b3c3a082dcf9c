"""EERs over several corpora: of each, their mean, the worst one, the worst group, and of all trials pooled.

>>> from nes2net.corpora.trial import Trial
>>> from nes2net.evaluation.matching import match
>>> key = [Trial("a", label="bonafide"), Trial("b", label="spoof"), Trial("c", label="spoof")]
>>> scored = {"one": match(key, ["a", "b", "c"], [1.0, 0.0, 0.5]), "two": match(key, ["a", "b", "c"], [3.0, 4.0, 2.0])}
>>> found = over_corpora(scored, {"one": "asvspoof", "two": "asvspoof"})
>>> found.eers, found.mean, found.worst, found.pooled
({'one': 0.0, 'two': 0.25}, 0.125, ('two', 0.25), 0.5)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nes2net import metrics
from nes2net.evaluation.breakdown import breakdown
from nes2net.evaluation.matching import Matched
from nes2net.machine.terminal import text_table

#: Fewest trials of each class of a group whose EER counts: its steps are then 5 % at most (an assumption).
FEWEST = 20
# Attacks of a corpus with more values are not groups but numbers of trials.
_MOST_GROUPS = 100


@dataclass(frozen=True)
class OverCorpora:
    """EERs, as fractions, of one detector on several corpora.

    Attributes:
        eers: corpus → EER by its own rule; those of one class are left out.
        groups: corpus and attack, ``for/A07`` → EER of the attack against all bona fide trials of its
            corpus, if there are at least :data:`FEWEST` of each.
        pooled: EER of all trials together; None if it is not known.
    """

    eers: Mapping[str, float]
    groups: Mapping[str, float] = field(default_factory=dict)
    pooled: float | None = None

    @property
    def mean(self) -> float | None:
        """The mean of the EERs of the corpora; None without any."""
        return sum(self.eers.values()) / len(self.eers) if self.eers else None

    @property
    def worst(self) -> tuple[str, float] | None:
        """The corpus with the highest EER, the first of equal ones; None without any."""
        return _highest(self.eers)

    @property
    def worst_group(self) -> tuple[str, float] | None:
        """The group with the highest EER, the first of equal ones; None without any."""
        return _highest(self.groups)

    def rows(self) -> list[tuple[str, float]]:
        """Names and EERs: the corpora, ``mean``, ``worst group (NAME)`` and ``pooled``, as far as they are known."""
        rows = list(self.eers.items())
        if self.mean is not None:
            rows.append(("mean", self.mean))
        if self.worst_group is not None:
            rows.append((f"worst group ({self.worst_group[0]})", self.worst_group[1]))
        if self.pooled is not None:
            rows.append(("pooled", self.pooled))
        return rows

    def table(self) -> str:
        """A table for the terminal, in percent; the worst corpus is marked."""
        cells = [
            [name, f"{100 * eer:.3f}", "worst" if self.worst and (name, eer) == self.worst else ""]
            for name, eer in self.rows()
        ]
        return "\n".join(text_table([["corpus", "EER %", ""], *cells], "lrl"))

    def to_dict(self) -> dict[str, Any]:
        return {
            "corpora": dict(self.eers),
            "groups": dict(self.groups),
            "mean": self.mean,
            "worst": self.worst and list(self.worst),
            "worst_group": self.worst_group and list(self.worst_group),
            "pooled": self.pooled,
        }


def over_corpora(scored: Mapping[str, Matched], methods: Mapping[str, str]) -> OverCorpora:
    """Compute the EERs of one detector on the corpora of ``scored``.

    Args:
        scored: name of a corpus → its trials and scores.
        methods: name of a corpus → its rule for the EER. If all have the same rule, it is that of all
            trials pooled too, otherwise this is ``asvspoof``.
    """
    eers, groups = dict[str, float](), dict[str, float]()
    for name, matched in scored.items():
        if len(matched.bonafide) and len(matched.spoof):
            eers[name] = _eer(matched, methods[name])
            attacks = {trial.attack for trial in matched.trials if trial.target == 0} - {None}
            for row in breakdown(matched, "attack", method=methods[name]) if 1 < len(attacks) <= _MOST_GROUPS else ():
                if row.eer is not None and min(row.num_bonafide, row.num_spoof) >= FEWEST:
                    groups[f"{name}/{row.group['attack']}"] = row.eer
    parts = list(scored.values())
    trials = [trial for matched in parts for trial in matched.trials]
    scores = np.concatenate([matched.scores for matched in parts]) if parts else np.zeros(0)
    together = Matched(trials, scores, sum(matched.num_expected for matched in parts), parts[0].mismatch)
    rules = set(methods[name] for name in scored)
    both = len(together.bonafide) and len(together.spoof)
    rule = rules.pop() if len(rules) == 1 else "asvspoof"
    return OverCorpora(eers, groups, _eer(together, rule) if both else None)


def _eer(matched: Matched, method: str) -> float:
    return metrics.compute_eer(matched.bonafide, matched.spoof, method, order=matched.positions)[0]


def _highest(values: Mapping[str, float]) -> tuple[str, float] | None:
    name = max(values, key=lambda name: values[name], default=None)
    return None if name is None else (name, values[name])
