"""Error rates of parts of a corpus, by one or two of attack, codec, source, vocoder and so on; and over corpora.

>>> from nes2net.data.corpora.trial import Trial
>>> from nes2net.evaluation.matching import match
>>> key = [Trial("a", label="bonafide"), Trial("b", label="spoof", attack="A07"), Trial("c", label="spoof", attack="A08")]
>>> [(row.group, row.eer) for row in breakdown(match(key, ["a", "b", "c"], [1.0, 0.0, 2.0]), "attack")]
[({'attack': 'A07'}, 0.0), ({'attack': 'A08'}, 1.0)]
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.trial import BONAFIDE, Trial
from nes2net.evaluation.matching import Matched
from nes2net.evaluation.tables import Measured, Table, cost, percent, percent_interval

#: Pairs of fields that are tabulated if a corpus has both: the published tables of ASVspoof 2021 LA
#: (the first two), ASVspoof 2021 DF and ASVspoof 5.
CROSSED = (
    ("attack", "codec"),
    ("codec", "transmission"),
    ("vocoder", "codec"),
    ("vocoder", "source"),
    ("vocoder", "language"),
    ("codec", "quality"),
)
#: Field of an official table, whose rows are parts of the corpus and not values of one field.
OFFICIAL = ("part",)
# Fields that do not describe how an utterance was made or recorded.
_NOT_TABULATED = ("id", "path", "label", "speaker", "phase", "seed", "extra", "system_scores")
# A trial has these as attributes; all others are extra.
_OWN_FIELDS = frozenset(one.name for one in fields(Trial)) - {"extra"}
# A field with more values numbers the trials, like a seed or a segment, and does not sort them.
_MOST_VALUES = 400
# Intervals take most of the time. No published corpus has as many rows.
_MOST_INTERVALS = 500
# With fewer clusters a bootstrap interval is too narrow (Cameron, Gelbach and Miller, 2008).
_FEWEST_SPEAKERS = 10


@dataclass(frozen=True)
class Row:
    """The EER of a part of the trials, a fraction; None if a class is empty.

    ``group`` holds field → value. ``interval`` is the 95 % bootstrap interval of the EER, if one
    was asked for, and ``draws`` the EER of each resample. Only official tables have ``min_dcf``.
    """

    group: dict[str, str]
    num_bonafide: int
    num_spoof: int
    eer: float | None
    interval: tuple[float, float] | None = None
    min_dcf: float | None = None
    draws: NDArray | None = field(default=None, repr=False, compare=False)

    @property
    def has_enough_trials(self) -> bool:
        """Whether each class has enough trials for the EER and its interval to say something."""
        return min(self.num_bonafide, self.num_spoof) >= FEWEST


@dataclass(frozen=True)
class Parts:
    """The rows of all combinations of values of ``fields``, sorted by value.

    An official table has its parts as rows, in its own order.
    """

    fields: tuple[str, ...]
    rows: list[Row]

    def table(self) -> Table:
        """The rows for a terminal; columns that no row has a figure for are left out."""
        columns: dict[str, list[str]] = {name: [row.group[name] for row in self.rows] for name in self.fields}
        columns["EER %"] = [percent(row.eer, 3) for row in self.rows]
        if any(row.interval for row in self.rows):
            columns["95 % interval"] = [percent_interval(row.interval) for row in self.rows]
        if any(row.min_dcf is not None for row in self.rows):
            columns["minDCF"] = [cost(row.min_dcf, digits=6) for row in self.rows]
        columns["bona fide"] = [str(row.num_bonafide) for row in self.rows]
        columns["spoof"] = [str(row.num_spoof) for row in self.rows]
        return Table.of("", list(columns), zip(*columns.values()))


def tables(matched: Matched, method: str = "asvspoof", *, num_resamples: int = 0, seed: int = 0) -> list[Parts]:
    """Tabulate every field that sorts the trials, and every pair of :data:`CROSSED` among them.

    The first 500 rows of tables of one field have intervals. A field with a single value has no
    table.
    """
    single: list[Parts] = []
    left = _MOST_INTERVALS
    for name, num_values in sorting_fields([trial for trial in matched.trials if trial.label != BONAFIDE]).items():
        left -= num_values
        draws = num_resamples if left >= 0 else 0
        single.append(Parts((name,), breakdown(matched, name, method=method, num_resamples=draws, seed=seed)))
    known = {table.fields[0] for table in single}
    pairs = [pair for pair in CROSSED if known.issuperset(pair)]
    return single + [Parts(pair, breakdown(matched, *pair, method=method)) for pair in pairs]


def sorting_fields(trials: Sequence[Trial]) -> dict[str, int]:
    """Find the fields that sort ``trials``, and how many values each has: 2 to 400."""
    extra = dict.fromkeys(name for trial in trials for name, _ in trial.extra)
    names = [*(f.name for f in fields(Trial) if f.name not in _NOT_TABULATED), *extra]
    counts = {name: len(set(_values(trials, name)) - {None}) for name in names}
    return {name: count for name, count in counts.items() if 1 < count <= _MOST_VALUES}


def _values(trials: Sequence[Trial], name: str) -> Iterable[str | None]:
    """List the value of a field in each trial; a getter a trial would take most of the time of an evaluation."""
    if name in _OWN_FIELDS:
        return map(attrgetter(name), trials)
    return (trial.get(name) for trial in trials)


def breakdown(
    matched: Matched, *names: str, method: str = "asvspoof", num_resamples: int = 0, seed: int = 0
) -> list[Row]:
    """Compute the EER for each combination of values of the fields ``names`` in spoofed trials.

    Fields of the recording, such as ``codec``, choose trials of both classes. Fields of the
    spoofing choose spoofed trials, which are compared with all bona fide trials, as in the
    published tables; these are ``attack``, ``vocoder`` and every field that no bona fide trial has.

    Returns:
        The rows sorted by value, with a bootstrap interval each if ``num_resamples`` is above 0.
    """
    columns = {name: list(_values(matched.trials, name)) for name in names}
    positions_of_bonafide = np.flatnonzero(matched.is_bonafide).tolist()
    # These two describe the spoofing, even if a key fills them for bona fide trials.
    shared = [
        name
        for name in names
        if name not in ("attack", "vocoder") and any(columns[name][i] is not None for i in positions_of_bonafide)
    ]
    bonafide: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    spoof: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for position in positions_of_bonafide:
        bonafide[tuple(columns[name][position] for name in shared)].append(position)
    for position in np.flatnonzero(~matched.is_bonafide).tolist():
        spoof[tuple(columns[name][position] for name in names)].append(position)
    rows = []
    for values in sorted(values for values in spoof if None not in values):
        group = dict(zip(names, values))
        against = bonafide.get(tuple(group[name] for name in shared), [])
        eer = interval = drawn = None
        if against:
            positions = [*against, *spoof[values]]
            rule = functools.partial(metrics.compute_eer, method=method, order=positions)
            scores = matched.scores[against], matched.scores[spoof[values]]
            eer, _ = rule(*scores)
            if num_resamples:
                speakers = speaker_groups([matched.trials[i] for i in positions])
                found = Measured({"eer": rule}, *scores, num_resamples=num_resamples, seed=seed, **speakers)
                interval, drawn = found.figure("eer").interval, found.draws["eer"]
        rows.append(Row(group, len(against), len(spoof[values]), eer, interval, draws=drawn))
    return rows


def speaker_groups(trials: Sequence[Trial]) -> dict[str, Any]:
    """List the speakers of both classes, as :func:`nes2net.metrics.bootstrap_interval` takes them.

    The list is empty, so that trials are drawn, if a trial has no speaker or there are fewer than
    ten speakers.
    """
    speakers = {trial.speaker for trial in trials}
    if None in speakers or len(speakers) < _FEWEST_SPEAKERS:
        return {}
    return {
        "bonafide_groups": [trial.speaker for trial in trials if trial.label == BONAFIDE],
        "spoof_groups": [trial.speaker for trial in trials if trial.label != BONAFIDE],
    }


#: Fewest trials of each class of a group whose EER counts: its steps are then 5 % at most (an assumption).
FEWEST = 20
# If a corpus has more attacks than this, they number the trials and are not groups.
_MOST_GROUPS = 100


@dataclass(frozen=True)
class OverCorpora:
    """EERs, as fractions, of one detector on several corpora.

    Attributes:
        eers: corpus → EER by its own rule; corpora of one class are left out.
        groups: corpus and attack, ``for/A07`` → EER of the attack against all bona fide trials of its
            corpus, if there are at least :data:`FEWEST` of each.
        pooled: EER of all trials together; None if it is not known.
    """

    eers: Mapping[str, float]
    groups: Mapping[str, float] = field(default_factory=dict)
    pooled: float | None = None

    @property
    def mean(self) -> float | None:
        """The mean of the EERs of the corpora; None without corpora."""
        return sum(self.eers.values()) / len(self.eers) if self.eers else None

    @property
    def worst(self) -> tuple[str, float] | None:
        """The corpus with the highest EER, the first of equal ones; None without corpora."""
        return _highest(self.eers)

    @property
    def worst_group(self) -> tuple[str, float] | None:
        """The group with the highest EER, the first of equal ones; None without groups."""
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
        rows = [[name, percent(eer, 3), "worst" if (name, eer) == self.worst else ""] for name, eer in self.rows()]
        return "\n".join(Table.of("", ["corpus", "EER %", ""], rows).lines("lrl"))

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
        methods: name of a corpus → its rule for the EER. If all have the same rule, it also holds
            for all trials pooled; otherwise these have ``asvspoof``.

    >>> from nes2net.evaluation.matching import match
    >>> key = [Trial("a", label="bonafide"), Trial("b", label="spoof"), Trial("c", label="spoof")]
    >>> scored = {"one": match(key, ["a", "b", "c"], [1.0, 0.0, 0.5]), "two": match(key, ["a", "b", "c"], [3.0, 4.0, 2.0])}
    >>> found = over_corpora(scored, {"one": "asvspoof", "two": "asvspoof"})
    >>> found.eers, found.mean, found.worst, found.pooled
    ({'one': 0.0, 'two': 0.25}, 0.125, ('two', 0.25), 0.5)
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
    return max(values.items(), key=itemgetter(1), default=None)
