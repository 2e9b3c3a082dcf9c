"""Compute error rates for each attack, codec or other field of the key, and over several corpora.

In reading order: ``breakdowns`` chooses the fields; ``breakdown`` computes the rows for one or two
fields; ``breakdown_tables`` makes tables of the rows; ``over_corpora`` compares corpora.

>>> from nes2net.data.corpora.trial import Trial
>>> from nes2net.evaluation.matching import match
>>> key = [Trial("a", label="bonafide"), Trial("b", label="spoof", attack="A07"), Trial("c", label="spoof", attack="A08")]
>>> [(row.labels, row["eer"].value) for row in breakdown(match(key, ["a", "b", "c"], [1.0, 0.0, 2.0]), "attack")]
[({'attack': 'A07'}, 0.0), ({'attack': 'A08'}, 1.0)]
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter, itemgetter
from typing import Any, Literal

import numpy as np

from nes2net import metrics
from nes2net.data.corpora.trial import BONAFIDE, Trial
from nes2net.evaluation.key import extra_fields
from nes2net.evaluation.matching import Matched
from nes2net.evaluation.tables import (
    EER,
    NUM_BONAFIDE,
    NUM_SPOOF,
    Figure,
    Measured,
    Row,
    Table,
    percent,
    with_best,
    words,
)
from nes2net.lib.errors import InputError, counted
from nes2net.lib.terminal import text_table

#: A corpus that has both fields of a pair gets a table by both. The pairs are those of the published
#: tables of ASVspoof 2021 LA (the first two), ASVspoof 2021 DF and ASVspoof 5.
CROSSED = (
    ("attack", "codec"),
    ("codec", "transmission"),
    ("vocoder", "codec"),
    ("vocoder", "source"),
    ("vocoder", "language"),
    ("codec", "quality"),
)
# Fields that say nothing about how an utterance was made or recorded.
_NOT_TABULATED = ("id", "path", "label", "speaker", "phase", "seed", "extra", "system_scores")
# Fields that are attributes of a trial; all other fields are in `extra`.
_OWN_FIELDS = frozenset(field.name for field in fields(Trial)) - {"extra"}
# A field with more values, such as a seed or a segment number, does not group the trials.
_MOST_VALUES = 400
# At most so many rows get an interval, because intervals take most of the time. The breakdowns of
# every published corpus have fewer rows.
_MOST_INTERVALS = 500
# With fewer clusters a bootstrap interval is too narrow (Cameron, Gelbach and Miller, 2008). Of attacks there are seldom
# more, and their number is corrected for (:func:`nes2net.metrics.intervals.spread`).
_FEWEST_SPEAKERS = 10
_FEWEST_ATTACKS = 5
#: What the bootstrap draws; ``both`` draws speakers and attacks. ``auto``: :func:`resolved_unit`.
Unit = Literal["auto", "trials", "speakers", "attacks", "both"]


#: The EER of a group counts only if each class has at least so many trials (an assumption). One trial
#: then changes the miss or false-alarm rate by at most 5 %.
FEWEST = 20
# Row labels that results use themselves. A field of a key may have the same name.
_OWN_LABELS = ("system", "set")


def breakdowns(
    matched_trials: Matched,
    method: str = "asvspoof",
    *,
    num_resamples: int = 0,
    seed: int = 0,
    unit: Unit = "auto",
) -> dict[tuple[str, ...], list[Row]]:
    """Break the EER down by every field that groups the trials, and by every pair of :data:`CROSSED` among them.

    The first 500 rows of single fields have intervals. A field with a single value has no breakdown.

    Args:
        unit: what the bootstrap draws, as far as the trials of a row allow it.

    Returns:
        The names of one or two fields → the rows of the breakdown by these fields.
    """
    rows: dict[tuple[str, ...], list[Row]] = {}
    remaining = _MOST_INTERVALS
    for name, num_values in grouping_fields(
        [trial for trial in matched_trials.trials if trial.label != BONAFIDE]
    ).items():
        remaining -= num_values
        if remaining < 0:
            num_resamples = 0
        rows[name,] = breakdown(matched_trials, name, method=method, num_resamples=num_resamples, seed=seed, unit=unit)
    single = set(itertools.chain.from_iterable(rows))
    for pair in CROSSED:
        if single.issuperset(pair):
            rows[pair] = breakdown(matched_trials, *pair, method=method)
    return rows


def breakdown_tables(
    by_system: Mapping[str, Mapping[tuple[str, ...], Sequence[Row]]], title: str, *, mark_best: bool
) -> list[Table]:
    """Make a table of each breakdown of all systems that have it.

    Args:
        by_system: name of a system → its :func:`breakdowns`.
        title: the corpus and the phase.
        mark_best: mark the best system; all systems must rest on the same trials.
    """
    hidden: tuple[str, ...] = ("system",)
    readers: Literal["all", "paper"] = "all"
    if len(by_system) > 1:
        hidden = ()
        readers = "paper"
    tables = []
    for combination in dict.fromkeys(itertools.chain.from_iterable(by_system.values())):
        rows = []
        for system, breakdowns_of_system in by_system.items():
            for row in breakdowns_of_system.get(combination, ()):
                rows.append(replace(row, labels={"system": system, **row.labels}))
        names = " and ".join(map(words, combination))
        num_hidden = sum(not row.is_shown for row in rows)
        notes = []
        if num_hidden:
            few = f"fewer than {FEWEST} trials of a class"
            notes.append(f"{counted(num_hidden, 'row')} of {few} left out, which the JSON holds.")
        if mark_best:
            rows = with_best(rows, "system")
        tables.append(
            Table(
                f"by {names}",
                f"{title}: EER in %, by {names}.",
                [replace(EER, has_heat=True), NUM_BONAFIDE, NUM_SPOOF],
                rows,
                section=f"By {names}",
                notes=notes,
                hidden=hidden,
                readers=readers,
                across=list(rows[0].labels)[-1] if len(combination) > 1 else "system",
            )
        )
    return tables


def label_of(field_name: str) -> str:
    """Name the row label for a field of the key, so that it differs from the labels that results use themselves."""
    return f"{field_name} of the key" if field_name in _OWN_LABELS else field_name


def grouping_fields(trials: Sequence[Trial]) -> dict[str, int]:
    """Find the fields that group ``trials``: field → number of its values, 2 to 400."""
    names = [field.name for field in fields(Trial) if field.name not in _NOT_TABULATED]
    names += extra_fields(trials)
    counts = {}
    for name in names:
        num_values = len(set(_field_values(trials, name)) - {None})
        if 1 < num_values <= _MOST_VALUES:
            counts[name] = num_values
    return counts


def _field_values(trials: Sequence[Trial], name: str) -> Iterable[str | None]:
    """Get the value of the field ``name`` of each trial; None for trials without it.

    Attributes are read directly, because ``trial.get`` would take most of an evaluation's time.
    """
    if name in _OWN_FIELDS:
        return map(attrgetter(name), trials)
    return (trial.get(name) for trial in trials)


def breakdown(
    matched_trials: Matched,
    *names: str,
    method: str = "asvspoof",
    num_resamples: int = 0,
    seed: int = 0,
    unit: Unit = "auto",
) -> list[Row]:
    """Compute the EER for each combination of values of the fields ``names`` in spoofed trials.

    A field either describes recordings of both classes, such as ``codec``, or only the spoofing.
    Fields of the spoofing are ``attack``, ``vocoder`` and every field that no bona fide trial has.
    As in the published tables, the spoofed trials of a row have the values of all fields, and the
    bona fide trials have the values of the fields of recordings.

    Returns:
        The rows sorted by value, each with a bootstrap interval if ``num_resamples`` is above 0.
        The EER is None if a class is empty. Rows without an interval are shown only if each class
        has 20 trials.
    """
    columns = {name: list(_field_values(matched_trials.trials, name)) for name in names}
    bonafide_positions = np.flatnonzero(matched_trials.is_bonafide).tolist()
    shared_names = []
    for name in names:
        # Attack and vocoder describe the spoofing, even if a key fills them for bona fide trials.
        is_of_spoofing = name in ("attack", "vocoder")
        if not is_of_spoofing and any(columns[name][position] is not None for position in bonafide_positions):
            shared_names.append(name)
    bonafide: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    spoof: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for position in bonafide_positions:
        bonafide[tuple(columns[name][position] for name in shared_names)].append(position)
    for position in np.flatnonzero(~matched_trials.is_bonafide).tolist():
        spoof[tuple(columns[name][position] for name in names)].append(position)
    rows = []
    for values in sorted(values for values in spoof if None not in values):
        group = dict(zip(names, values))
        bonafide_of_group = bonafide.get(tuple(group[name] for name in shared_names), [])
        spoof_of_group = spoof[values]
        eer = Figure()
        if bonafide_of_group:
            positions = bonafide_of_group + spoof_of_group
            rule = functools.partial(metrics.compute_eer, method=method, order=positions)
            scores = matched_trials.scores[bonafide_of_group], matched_trials.scores[spoof_of_group]
            if num_resamples:
                groups = groups_of([matched_trials.trials[position] for position in positions], unit)
                measured = Measured({"eer": rule}, *scores, num_resamples=num_resamples, seed=seed, **groups)
                eer = measured.figure("eer")
            else:
                eer = Figure(rule(*scores)[0])
        num_bonafide = len(bonafide_of_group)
        num_spoof = len(spoof_of_group)
        labels = dict(zip(map(label_of, names), values))
        figures = {"eer": eer, "num_bonafide": Figure(num_bonafide), "num_spoof": Figure(num_spoof)}
        is_shown = eer.interval is not None or min(num_bonafide, num_spoof) >= FEWEST
        rows.append(Row(labels, figures, is_shown))
    return rows


def speaker_groups(trials: Sequence[Trial]) -> dict[str, Any]:
    """List the speakers of both classes, as arguments of :func:`nes2net.metrics.bootstrap_interval`.

    If a trial has no speaker, or there are fewer than ten speakers, the result is empty, and the
    bootstrap draws trials.
    """
    speakers = {trial.speaker for trial in trials}
    if None in speakers or len(speakers) < _FEWEST_SPEAKERS:
        return {}
    return {
        "bonafide_groups": [trial.speaker for trial in trials if trial.label == BONAFIDE],
        "spoof_groups": [trial.speaker for trial in trials if trial.label != BONAFIDE],
    }


def groups_of(trials: Sequence[Trial], unit: Unit) -> dict[str, Any]:
    """List the speakers and the attacks that the bootstrap draws, as :func:`nes2net.metrics.bootstrap_interval` takes them.

    With ``both``, speakers alone are drawn if an attack is unknown or there are fewer than five, and
    trials if speakers are unknown.

    Args:
        unit: ``auto`` is ``speakers``.
    """
    groups = {} if unit in ("trials", "attacks") else speaker_groups(trials)
    if unit == "attacks" or (unit == "both" and groups):
        attacks = [trial.attack for trial in trials if trial.label != BONAFIDE]
        if None not in attacks and len(set(attacks)) >= _FEWEST_ATTACKS:
            groups["spoof_attacks"] = attacks
    return groups


def drawn_groups(trials: Sequence[Trial], unit: Unit = "auto") -> dict[str, Any]:
    """Say what a bootstrap with the :func:`groups_of` of ``trials`` draws, and how many."""
    groups = groups_of(trials, unit)
    attacks = len(set(groups.get("spoof_attacks", ())))
    if attacks and "bonafide_groups" not in groups:
        return {"interval_over": "attacks", "num_groups": attacks}
    if not groups:
        return {"interval_over": "trials", "num_groups": len(trials)}
    words = f"speakers × {attacks} attacks" if attacks else "speakers"
    return {"interval_over": words, "num_groups": len({trial.speaker for trial in trials})}


def resolved_unit(unit: Unit, trials: Sequence[Trial], num_systems: int) -> Unit:
    """What the bootstrap draws in an evaluation; ``auto`` is ``both`` for a comparison, if ``trials`` allow it.

    Raises:
        InputError: if the bootstrap cannot draw another ``unit``.
    """
    if unit == "auto":
        return "both" if num_systems > 1 else "speakers"
    groups = groups_of(trials, unit)
    lacks = {"speakers": "bonafide_groups", "attacks": "spoof_attacks", "both": "spoof_attacks"}
    if unit in lacks and lacks[unit] not in groups:
        raise InputError(
            f"`draw={unit}` needs at least {_FEWEST_SPEAKERS} speakers, one for each trial, or {_FEWEST_ATTACKS} attacks, "
            "one for each spoofed trial, which these keys do not name: leave `draw` out"
        )
    return unit


# Over several corpora

# The attacks of a corpus count as groups only if there are at most so many.
_MOST_GROUPS = 100


@dataclass(frozen=True)
class OverCorpora:
    """EERs, as fractions, of one detector on several corpora.

    Attributes:
        eers: corpus → EER by the corpus's own rule; corpora of one class are left out.
        groups: corpus and attack, such as ``for/A07`` → EER of the attack against all bona fide
            trials of the corpus, if both have at least :data:`FEWEST` trials.
        pooled: EER of all trials together; None if it is not known.
    """

    eers: Mapping[str, float]
    groups: Mapping[str, float] = field(default_factory=dict)
    pooled: float | None = None

    @property
    def mean(self) -> float | None:
        """The mean of the EERs of the corpora; None without corpora."""
        if not self.eers:
            return None
        return sum(self.eers.values()) / len(self.eers)

    @property
    def worst(self) -> tuple[str, float] | None:
        """The corpus with the highest EER, the first of equal ones; None without corpora."""
        return _highest_item(self.eers)

    @property
    def worst_group(self) -> tuple[str, float] | None:
        """The group with the highest EER, the first of equal ones; None without groups."""
        return _highest_item(self.groups)

    def rows(self) -> list[tuple[str, float]]:
        """List (name, EER) of each corpus, then of ``mean``, ``worst group (NAME)`` and ``pooled`` unless they are None."""
        rows = list(self.eers.items())
        if self.mean is not None:
            rows.append(("mean", self.mean))
        if self.worst_group is not None:
            rows.append((f"worst group ({self.worst_group[0]})", self.worst_group[1]))
        if self.pooled is not None:
            rows.append(("pooled", self.pooled))
        return rows

    def table(self) -> str:
        """Write the :meth:`rows` as a table for the terminal, in percent; the worst corpus is marked."""
        rows = [["corpus", "EER %", ""]]
        for name, eer in self.rows():
            rows.append([name, percent(eer, 3), "worst" if (name, eer) == self.worst else ""])
        return "\n".join(text_table(rows, "lrl"))

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain data for JSON."""
        return {
            "corpora": dict(self.eers),
            "groups": dict(self.groups),
            "mean": self.mean,
            "worst": self.worst and list(self.worst),
            "worst_group": self.worst_group and list(self.worst_group),
            "pooled": self.pooled,
        }


def over_corpora(scored: Mapping[str, Matched], methods: Mapping[str, str]) -> OverCorpora:
    """Compute the EERs of one detector on several corpora.

    Args:
        scored: name of a corpus → its trials and scores.
        methods: name of a corpus → ``method`` of :func:`nes2net.metrics.compute_eer`. The pooled EER
            uses the method that all corpora share, or ``asvspoof`` if the methods differ.

    >>> from nes2net.evaluation.matching import match
    >>> key = [Trial("a", label="bonafide"), Trial("b", label="spoof"), Trial("c", label="spoof")]
    >>> scored = {"one": match(key, ["a", "b", "c"], [1.0, 0.0, 0.5]), "two": match(key, ["a", "b", "c"], [3.0, 4.0, 2.0])}
    >>> result = over_corpora(scored, {"one": "asvspoof", "two": "asvspoof"})
    >>> result.eers, result.mean, result.worst, result.pooled
    ({'one': 0.0, 'two': 0.25}, 0.125, ('two', 0.25), 0.5)
    """
    eers: dict[str, float] = {}
    groups: dict[str, float] = {}
    trials: list[Trial] = []
    scores = []
    num_expected = 0
    for name, corpus in scored.items():
        trials += corpus.trials
        scores.append(corpus.scores)
        num_expected += corpus.num_expected
        if not (len(corpus.bonafide) and len(corpus.spoof)):
            continue
        eers[name] = _eer_of(corpus, methods[name])
        attacks = {trial.attack for trial in corpus.trials if trial.target == 0} - {None}
        if not 1 < len(attacks) <= _MOST_GROUPS:
            continue
        for row in breakdown(corpus, "attack", method=methods[name]):
            eer = row["eer"].value
            if eer is not None and min(row.value("num_bonafide"), row.value("num_spoof")) >= FEWEST:
                groups[f"{name}/{row.labels['attack']}"] = eer
    mismatch = next(iter(scored.values())).mismatch
    all_trials = Matched(trials, np.concatenate(scores), num_expected, mismatch)
    pooled = None
    if len(all_trials.bonafide) and len(all_trials.spoof):
        rules = {methods[name] for name in scored}
        pooled = _eer_of(all_trials, rules.pop() if len(rules) == 1 else "asvspoof")
    return OverCorpora(eers, groups, pooled)


def _eer_of(matched_trials: Matched, method: str) -> float:
    """Compute the EER of matched trials, a fraction."""
    return metrics.compute_eer(matched_trials.bonafide, matched_trials.spoof, method, order=matched_trials.positions)[0]


def _highest_item(eers: Mapping[str, float]) -> tuple[str, float] | None:
    """The name and the value of the highest EER, the first of equal ones; None if ``eers`` is empty."""
    return max(eers.items(), key=itemgetter(1), default=None)
