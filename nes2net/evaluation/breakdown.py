"""Compute error rates for each attack, codec or other field of the key, and over several corpora.

In reading order: ``breakdowns`` chooses the fields, ``breakdown`` computes their rows,
``breakdown_tables`` makes tables, and ``over_corpora`` compares corpora.

>>> from nes2net.data.corpora.trial import Trial
>>> from nes2net.evaluation.matching import match
>>> key = [Trial("a", label="bonafide"), Trial("b", label="spoof", attack="A07"), Trial("c", label="spoof", attack="A08")]
>>> [(row.labels, row["eer"].value) for row in breakdown(match(key, ["a", "b", "c"], [1.0, 0.0, 2.0]), "attack")]
[({'attack': 'A07'}, 0.0), ({'attack': 'A08'}, 1.0)]
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, Trials, extra_fields
from nes2net.evaluation.matching import Matched
from nes2net.evaluation.tables import (
    EER,
    MIN_TRIALS,
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
from nes2net.evaluation.trial_table import TrialTable
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.output.terminal import text_table
from nes2net.metrics.intervals import Groups
from nes2net.scoring.decisions.calibration import few_trials

#: Pairs of fields with a table by both, if the trials have both. The first two are published for ASVspoof 2021 LA, the
#: others for ASVspoof 2021 DF and ASVspoof 5.
CROSSED = (
    ("attack", "codec"),
    ("codec", "transmission"),
    ("vocoder", "codec"),
    ("vocoder", "source"),
    ("vocoder", "language"),
    ("codec", "quality"),
)
# Fields that say nothing about how an utterance was made or recorded.
_NOT_TABULATED = ("id", "path", "label", "speaker", "phase", "seed", "claim", "extra", "system_scores", "part")
# A field with more values, such as the number of a segment, does not group the trials.
_MAX_VALUES = 400
# Largest number of rows with an interval, which takes most of an evaluation's time. Published corpora have fewer rows.
_MAX_INTERVALS = 500
# With fewer speakers or attacks, the interval is too narrow (Cameron, Gelbach and Miller, 2008). Corpora have few
# attacks, so five are enough, and :func:`nes2net.metrics.intervals.spread_factor` widens the interval.
_MIN_SPEAKERS = 10
_ENOUGH_SPEAKERS = 15
_MIN_ATTACKS = 5
#: What the bootstrap draws. ``both``: speakers and attacks; ``auto``: see :func:`resolve_unit`.
Unit = Literal["auto", "trials", "speakers", "attacks", "both"]


# Row labels that are not fields of the key; :func:`label_of` renames a field of such a name.
_OWN_LABELS = ("system", "set")


def breakdowns(
    matched_trials: Matched,
    method: str = "asvspoof",
    *,
    num_resamples: int = 0,
    seed: int = 0,
    unit: Unit = "auto",
) -> dict[tuple[str, ...], list[Row]]:
    """Break the EER down by every field that groups the spoofed trials, and by pairs in CROSSED.

    Only fields with 2 to 400 values among spoofed trials are used. Fields have intervals until
    their rows exceed 500 in all; pairs have none.

    Args:
        method: the rule of the EER, as for :func:`nes2net.metrics.compute_eer`.
        num_resamples: 0 for no intervals.
        unit: rows that lack this unit use another one, see :func:`groups_of`.
    """
    rows: dict[tuple[str, ...], list[Row]] = {}
    remaining = _MAX_INTERVALS  # rows that may still have intervals
    for name, num_values in grouping_fields(matched_trials.table, SPOOF).items():
        remaining -= num_values
        # Rows of this field and of all later ones have no intervals: `remaining` never rises.
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
    """Make a table for each breakdown, with the rows of all systems that have it.

    Rows with too few trials are only counted, in a note; a table of such rows is for nobody.

    Args:
        by_system: name of a system → its :func:`breakdowns`.
        title: the corpus and the phase.
        mark_best: mark the best system; all systems must have the same trials.
    """
    tables = []
    for combination in dict.fromkeys(itertools.chain.from_iterable(by_system.values())):
        rows = []
        for system, breakdowns_of_system in by_system.items():
            for row in breakdowns_of_system.get(combination, ()):
                rows.append(replace(row, labels={"system": system, **row.labels}))
        names = " and ".join(map(words, combination))
        num_hidden = sum(not row.is_shown for row in rows)
        notes = []
        has_shown_rows = num_hidden < len(rows)
        if num_hidden:
            few = f"fewer than {MIN_TRIALS} trials of a class"
            notes.append(f"{pluralise(num_hidden, 'row')} of {few} omitted; the JSON has them.")
        if mark_best:
            rows = with_best(rows)
        tables.append(
            Table(
                f"by {names}",
                f"{title}: EER in %, by {names}.",
                [replace(EER, has_heat=True), NUM_BONAFIDE, NUM_SPOOF],
                rows,
                section=f"By {names}",
                notes=notes,
                hidden=() if len(by_system) > 1 else ("system",),
                readers="all" if has_shown_rows else "nobody",
                # For a pair of fields, the values of its second field become columns.
                across=list(rows[0].labels)[-1] if len(combination) > 1 else "system",
            )
        )
    return tables


def note_on_empty(tables: Sequence[Table]) -> str:
    """Name the tables of which every row has too few trials; empty if there is none."""
    names = [table.name for table in tables if table.rows and not table.shown]
    if not names:
        return ""
    return f"no EER {join_names(names)}: each group has fewer than {MIN_TRIALS} trials of a class; the JSON has them"


def label_of(field_name: str) -> str:
    """Name a row's label for a field of the key; it differs from rows' other labels."""
    return f"{field_name} of the key" if field_name in _OWN_LABELS else field_name


def grouping_fields(trials: Trials, label: str | None = None) -> dict[str, int]:
    """Find the fields that group ``trials``: field → number of its values, 2 to 400.

    Fields in ``_NOT_TABULATED`` are omitted. With ``label``, only its trials count.
    """
    table = TrialTable.of(trials)
    is_counted = np.ones(len(table), dtype=bool)
    if label is not None:
        is_counted = table.column("label").where(label)
    names = [field.name for field in fields(Trial) if field.name not in _NOT_TABULATED]
    names += extra_fields(itertools.compress(table, is_counted))
    counts = {}
    for name in names:
        num_values = table.column(name).count(is_counted)
        if 1 < num_values <= _MAX_VALUES:
            counts[name] = num_values
    return counts


def breakdown(
    matched_trials: Matched,
    *names: str,
    method: str = "asvspoof",
    num_resamples: int = 0,
    seed: int = 0,
    unit: Unit = "auto",
) -> list[Row]:
    """Compute the EER for each combination of values that the fields ``names`` have in spoofed trials.

    The spoofed trials of a row have its values in all fields, as published. The bona fide trials
    need them only in fields of recordings, such as ``codec``, not in those of spoofing: ``attack``,
    ``vocoder`` and every field that no bona fide trial has.

    Args:
        method: the rule of the EER, as for :func:`nes2net.metrics.compute_eer`.
        num_resamples: 0 for no intervals.
        unit: see :func:`groups_of`.

    Returns:
        Rows sorted by value. The EER is None without bona fide trials. If a class has fewer than 20
        trials, there is no interval, and ``is_shown`` is False.
    """
    table = matched_trials.table
    bonafide_positions = np.flatnonzero(matched_trials.is_bonafide)
    shared_names = []  # fields in which the bona fide trials of a row must agree, too
    for name in names:
        # Even if a key gives bona fide trials an attack or a vocoder.
        is_of_spoofing = name in ("attack", "vocoder")
        if not is_of_spoofing and (table.column(name).numbers[bonafide_positions] >= 0).any():
            shared_names.append(name)
    bonafide = _group_positions(table, bonafide_positions, shared_names)
    spoof = _group_positions(table, np.flatnonzero(~matched_trials.is_bonafide), names)
    # A spoofed trial that lacks a field is in no row.
    rows = []
    for values, spoof_of_group in spoof.items():
        group = dict(zip(names, values))
        bonafide_of_group = bonafide.get(tuple(group[name] for name in shared_names), np.empty(0, dtype=np.int64))
        num_bonafide = bonafide_of_group.size
        num_spoof = spoof_of_group.size
        labels = dict(zip(map(label_of, names), values))
        has_enough_trials = min(num_bonafide, num_spoof) >= MIN_TRIALS
        eer = Figure()
        if num_bonafide:
            positions = np.concatenate((bonafide_of_group, spoof_of_group))
            order = matched_trials.positions_in_file(positions)
            rule = functools.partial(metrics.compute_eer, method=method, order=order)
            scores = matched_trials.scores[bonafide_of_group], matched_trials.scores[spoof_of_group]
            if num_resamples and has_enough_trials:
                groups = groups_of(table, unit, positions)
                measured = Measured({"eer": rule}, *scores, num_resamples=num_resamples, seed=seed, **groups)
                eer = measured.figure("eer")
            else:
                eer = Figure(rule(*scores)[0])
        figures = {"eer": eer, "num_bonafide": Figure(num_bonafide), "num_spoof": Figure(num_spoof)}
        rows.append(Row(labels, figures, has_enough_trials))
    return rows


def _group_positions(table: TrialTable, positions: NDArray, names: Sequence[str]) -> dict[tuple[str, ...], NDArray]:
    """Group ``positions`` (N,) of ``table`` by their values of the fields ``names``, sorted by values.

    Trials that lack a value are omitted. Without ``names``, all positions have the key ``()``.
    """
    if not names:
        return {(): positions}
    if not positions.size:
        return {}
    columns = [table.column(name) for name in names]
    numbers = np.stack([column.numbers[positions] for column in columns]).astype(np.int64)  # fields × N
    has_all = (numbers >= 0).all(axis=0)
    combined = np.ravel_multi_index(tuple(numbers[:, has_all]), [len(column.values) for column in columns])
    order = np.argsort(combined, kind="stable")
    groups = {}
    for members in np.split(positions[has_all][order], np.flatnonzero(np.diff(combined[order])) + 1):
        if members.size:  # np.split gives an empty array if all trials lack a value
            groups[tuple(column.values[column.numbers[members[0]]] for column in columns)] = members
    return groups


def groups_of(trials: Trials, unit: Unit = "auto", positions: NDArray | slice = slice(None)) -> Groups:
    """Number the speakers and attacks of trials at ``positions`` to draw, for :func:`nes2net.metrics.bootstrap_interval`.

    Speakers can be drawn if every trial has one and at least ten differ, attacks if every spoofed
    trial has one and at least five differ. If ``unit`` cannot be drawn, trials are: the result is
    empty; ``both`` first falls back to ``speakers``. ``auto`` means ``speakers``.
    """
    table = TrialTable.of(trials)
    is_bonafide = table.column("label").where(BONAFIDE)[positions]
    # −1 for a trial without a speaker or an attack.
    speakers = table.column("speaker").numbers[positions]
    attacks = table.column("attack").numbers[positions][~is_bonafide]
    groups: Groups = {}
    if unit not in ("trials", "attacks") and _are_drawable(speakers, _MIN_SPEAKERS):
        groups["bonafide_groups"] = speakers[is_bonafide]
        groups["spoof_groups"] = speakers[~is_bonafide]
    if (unit == "attacks" or (unit == "both" and groups)) and _are_drawable(attacks, _MIN_ATTACKS):
        groups["spoof_attacks"] = attacks
    return groups


def _are_drawable(numbers: NDArray, min_distinct: int) -> bool:
    """Whether none of ``numbers`` (N,) is −1, and enough are distinct."""
    return bool((numbers >= 0).all()) and bool(np.count_nonzero(np.bincount(numbers)) >= min_distinct)


class DrawnGroups(NamedTuple):
    """What a bootstrap draws."""

    interval_over: str
    """Such as ``"speakers"``, ``"speakers × 8 attacks"`` or ``"trials"``."""
    num_groups: int
    """Number of speakers, otherwise of attacks, otherwise of trials."""

    @classmethod
    def of(cls, trials: Trials, unit: Unit = "auto") -> DrawnGroups:
        """Say what a bootstrap over ``trials`` draws; see :func:`groups_of`."""
        table = TrialTable.of(trials)
        groups = groups_of(table, unit)
        num_attacks = 0
        if (attacks := groups.get("spoof_attacks")) is not None:
            num_attacks = np.unique(attacks).size
        if "bonafide_groups" in groups:
            words = f"speakers × {num_attacks} attacks" if num_attacks else "speakers"
            return cls(words, np.unique(table.column("speaker").numbers).size)
        return cls("attacks", num_attacks) if num_attacks else cls("trials", len(trials))

    def notes(self, num_bonafide: int, num_spoof: int) -> Iterator[str]:
        """Warn if the trials, or the speakers that are drawn, are few; whoever shows figures shows these notes."""
        if few := few_trials(num_bonafide, num_spoof):
            yield few
        if self.num_groups < _ENOUGH_SPEAKERS and self.interval_over.startswith("speakers"):
            yield (
                f"only {self.num_groups} speakers are drawn, so the intervals may be too narrow: in a simulation, 95 % "
                "intervals held the true EER in 84 % of the cases with 10 speakers, and in 95 % with 20"
            )


def resolve_unit(unit: Unit, trials: Trials, num_systems: int) -> Unit:
    """Choose what the bootstrap draws: for ``auto``, ``both`` with several systems, else ``speakers``.

    Raises:
        InputError: if ``trials`` lack the speakers or attacks of a ``unit`` other than ``auto``.
    """
    if unit == "auto":
        return "both" if num_systems > 1 else "speakers"
    needed = {"speakers": "bonafide_groups", "attacks": "spoof_attacks", "both": "spoof_attacks"}
    # groups_of() omits what it cannot draw, because some trial has no speaker or attack or too few are distinct.
    if unit in needed and needed[unit] not in groups_of(trials, unit):
        raise InputError(
            f"`draw={unit}` needs at least {_MIN_SPEAKERS} speakers, one for each trial, or {_MIN_ATTACKS} attacks, "
            "one for each spoofed trial, but these keys do not name as many: remove `draw`"
        )
    return unit


# Over several corpora

# Attacks count as groups if there are 2 to this many.
_MAX_GROUPS = 100


class OverCorpora(NamedTuple):
    """EERs, as fractions, of one detector on several corpora."""

    eers: Mapping[str, float]
    """Corpus → EER by its own rule; corpora with one class are omitted."""
    groups: Mapping[str, float]
    """Such as ``for/A07`` → EER of the attack against all bona fide trials of the corpus. Classes need
    :data:`MIN_TRIALS` trials each, a corpus 2 to 100 attacks."""


def over_corpora(scored: Mapping[str, Matched], methods: Mapping[str, str]) -> OverCorpora:
    """Compute the EERs of one detector on several corpora.

    Args:
        scored: name of a corpus → its trials and scores.
        methods: name of a corpus → ``method`` of :func:`nes2net.metrics.compute_eer`.

    >>> from nes2net.evaluation.matching import match
    >>> key = [Trial("a", label="bonafide"), Trial("b", label="spoof"), Trial("c", label="spoof")]
    >>> scored = {"one": match(key, ["a", "b", "c"], [1.0, 0.0, 0.5]), "two": match(key, ["a", "b", "c"], [3.0, 4.0, 2.0])}
    >>> over_corpora(scored, {"one": "asvspoof", "two": "asvspoof"}).eers
    {'one': 0.0, 'two': 0.25}
    """
    eers: dict[str, float] = {}
    groups: dict[str, float] = {}
    for name, corpus in scored.items():
        if not corpus.bonafide.size or not corpus.spoof.size:
            continue
        eers[name], _ = corpus.eer_rule(methods[name])(corpus.bonafide, corpus.spoof)
        # What counts as a group is published: see OverCorpora.groups.
        if 1 < corpus.table.column("attack").count(~corpus.is_bonafide) <= _MAX_GROUPS:
            for row in breakdown(corpus, "attack", method=methods[name]):
                if row.is_shown:
                    groups[f"{name}/{row.labels['attack']}"] = row.value("eer")
    return OverCorpora(eers, groups)


def corpora_table(eers: Mapping[str, float], groups: Mapping[str, float], pooled: float | None) -> str:
    """Lay out EERs for a terminal, in percent: corpora with a mark at the worst, mean, worst group, pooled.

    Args:
        eers, groups: as in :class:`OverCorpora`; at least one corpus.
        pooled: EER of all trials together; None if not known.
    """
    highest = max(eers, key=eers.__getitem__)
    rows = [["corpus", EER.heading, ""]]
    for name, eer in eers.items():
        rows.append([name, percent(eer, 3), "worst" if name == highest else ""])
    rows.append(["mean", percent(sum(eers.values()) / len(eers), 3), ""])
    if groups:
        group = max(groups, key=groups.__getitem__)
        rows.append([f"worst group ({group})", percent(groups[group], 3), ""])
    if pooled is not None:
        rows.append(["pooled", percent(pooled, 3), ""])
    return "\n".join(text_table(rows, "lrl"))
