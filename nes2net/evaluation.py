"""Scores and keys → error rates with intervals, breakdowns by attack and codec, and tables of several systems.

>>> from nes2net.data.trial import Trial
>>> key = [Trial("a", label="bonafide"), Trial("b", label="bonafide"), Trial("c", label="spoof"), Trial("d", label="spoof")]
>>> matched = match(key, ["a", "b", "c", "d"], [2.0, 1.0, -1.0, 0.5])
>>> metrics.compute_eer(matched.bonafide, matched.spoof)
(0.0, 0.5)
>>> match(key, ["a", "b", "c"], [2.0, 1.0, -1.0])
Traceback (most recent call last):
    ...
nes2net.errors.InputError: scores and key do not fit: 1 of 4 trials without a score: d (--allow-partial evaluates the rest)
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.protocol import NotFound, canonical_phase, checked_float, read_rows, select_phase, some
from nes2net.data.trial import BONAFIDE, Trial
from nes2net.errors import InputError
from nes2net.registry import corpora

# Fields that only a spoofed trial has: its bona fide counterpart is every bona fide trial.
_SPOOF_FIELDS = ("attack", "vocoder")
# A bootstrap over fewer clusters than about this is too narrow (Cameron, Gelbach and Miller, 2008); trials are drawn instead.
_FEWEST_SPEAKERS = 10


def read_scores(path: str | Path) -> tuple[list[str], NDArray]:
    """Utterance ids and scores, shape (N,), of a score file: one line ``utterance score`` a trial, in file order.

    Blank lines are skipped. A missing file, another number of fields, or a score that is no number raises :class:`InputError`
    naming file and line; ``nan`` and ``inf`` are numbers here, and :func:`match` refuses them.
    """
    path = Path(path)
    ids, scores = [], []
    for line, (utterance, score) in read_rows(path, 2, "utterance score"):
        ids.append(utterance)
        scores.append(checked_float(score, path, line))
    return ids, np.array(scores)


@dataclass(frozen=True)
class Mismatch:
    """What keeps scores and key from fitting, as utterance ids; ``conflicting`` were scored twice with different values."""

    missing: list[str]
    conflicting: list[str]
    unknown: list[str]
    not_finite: list[str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.conflicting or self.unknown or self.not_finite)

    def describe(self, num_trials: int) -> str:
        """One line with the totals and up to ten ids of each kind; ``num_trials`` is the number of trials asked for."""
        kinds = (
            (f"{len(self.missing)} of {num_trials} trials without a score", self.missing),
            (f"{len(self.conflicting)} scored twice with different values", self.conflicting),
            (f"{len(self.unknown)} scored but not in the key", self.unknown),
            (f"{len(self.not_finite)} with a score that is not finite", self.not_finite),
        )
        return "; ".join(f"{what}: {some(ids)}" for what, ids in kinds if ids)


@dataclass(frozen=True)
class Matched:
    """The trials that are evaluated, in the order of the score file, with their scores, shape (N,)."""

    trials: list[Trial]
    scores: NDArray
    num_expected: int
    mismatch: Mismatch

    @functools.cached_property
    def is_bonafide(self) -> NDArray:
        """Whether each trial is bona fide, shape (N,)."""
        return np.array([trial.label == BONAFIDE for trial in self.trials], dtype=bool)

    @property
    def bonafide(self) -> NDArray:
        """Scores of the bona fide trials."""
        return self.scores[self.is_bonafide]

    @property
    def spoof(self) -> NDArray:
        """Scores of the spoofed trials."""
        return self.scores[~self.is_bonafide]


def match(
    trials: Sequence[Trial],
    ids: Sequence[str],
    scores: Sequence[float] | NDArray,
    phase: str | None = None,
    *,
    allow_partial: bool = False,
) -> Matched:
    """Give every trial of ``phase`` its score.

    Args:
        trials: The whole key, labelled. A scored utterance that is not in it is unknown; one that is in it, but in another
            phase, is left aside.
        ids, scores: As from :func:`read_scores`. An id may carry the suffix of its audio file. Rows that repeat id and
            value are one.
        allow_partial: Leave out what does not fit instead of raising; ``num_expected`` and ``mismatch`` of the result tell
            what.

    Raises:
        InputError: A trial has no score, is scored twice with different values, is unknown, or its score is not finite; the
            message names up to ten of each kind and the totals. With ``allow_partial``, only if nothing is left. Also if a
            trial has no label.
    """
    expected = select_phase(trials, phase)
    known = {trial.id for trial in trials}
    scored: dict[str, float] = {}
    conflicting, unknown, not_finite = {}, {}, {}  # dictionaries, as sets that keep their order
    for id, score in zip(ids, scores.tolist() if isinstance(scores, np.ndarray) else scores, strict=True):
        if id not in known:
            id = id.removesuffix(".wav").removesuffix(".flac")
        if id not in known:
            unknown[id] = None
        elif not math.isfinite(score):
            not_finite[id] = None
        elif scored.setdefault(id, score) != score:
            conflicting[id] = None
    for id in (*conflicting, *not_finite):
        scored.pop(id, None)
    mismatch = Mismatch(
        missing=[t.id for t in expected if t.id not in scored and t.id not in conflicting and t.id not in not_finite],
        conflicting=list(conflicting),
        unknown=list(unknown),
        not_finite=list(not_finite),
    )
    if mismatch and not allow_partial:
        problems = mismatch.describe(len(expected))
        raise InputError(f"scores and key do not fit: {problems} (--allow-partial evaluates the rest)")
    by_id = {trial.id: trial for trial in expected}
    evaluated = {id: score for id, score in scored.items() if id in by_id}
    matched = [by_id[id] for id in evaluated]
    if not matched:
        raise InputError(
            f"none of the {len(expected)} trials of the key has a score: {mismatch.describe(len(expected))}"
        )
    unlabelled = [trial.id for trial in matched if trial.label is None]
    if unlabelled:
        raise InputError(
            f"{len(unlabelled)} trials have no label in the key: {some(unlabelled)}; give a key with labels"
        )
    return Matched(matched, np.array(list(evaluated.values())), len(expected), mismatch)


@dataclass(frozen=True)
class Row:
    """The EER, a fraction, of a part of the trials; None where one of the classes is empty. ``group`` holds field → value."""

    group: dict[str, str]
    num_bonafide: int
    num_spoof: int
    eer: float | None


@dataclass(frozen=True)
class Evaluation:
    """What one score file is worth on one corpus. Rates are fractions; ``table()`` prints percent.

    ``interval`` is the 95 % bootstrap interval of the EER, drawn over ``interval_over``: ``"speakers"`` or ``"trials"``.
    ``num_expected`` counts the trials of the phase in the key; fewer were evaluated only with ``allow_partial``, and
    ``left_out`` then says why. ``min_tdcf`` is None, with the reason in ``notes``, where it cannot be computed.
    """

    corpus: str
    phase: str
    num_bonafide: int
    num_spoof: int
    num_expected: int
    eer: float
    threshold: float
    interval: tuple[float, float]
    interval_over: str
    num_groups: int
    min_tdcf: float | None = None
    by_attack: list[Row] = field(default_factory=list)
    by_codec: list[Row] = field(default_factory=list)
    by_attack_and_codec: list[Row] = field(default_factory=list)
    left_out: str = ""
    notes: tuple[str, ...] = ()
    bonafide_scores: NDArray = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    spoof_scores: NDArray = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the scores themselves, ready for JSON."""
        plain = {name: value for name, value in vars(self).items() if not name.endswith("_scores")}
        plain |= {name: [vars(row) for row in plain[name]] for name in ("by_attack", "by_codec", "by_attack_and_codec")}
        return plain | {"interval": list(self.interval), "notes": list(self.notes)}

    def table(self) -> str:
        """The result as text: the pooled figures, then the EER per attack, per codec, and per attack and codec."""
        evaluated = self.num_bonafide + self.num_spoof
        low, high = (100 * bound for bound in self.interval)
        lines = [
            f"{self.corpus}, phase {self.phase}: {evaluated} trials ({self.num_bonafide} bona fide, {self.num_spoof} spoof)",
            f"EER {100 * self.eer:.3f} % at threshold {self.threshold:.6g}",
            f"95 % interval {low:.3f} to {high:.3f} % (bootstrap over {self.num_groups} {self.interval_over})",
        ]
        if self.min_tdcf is not None:
            lines.append(f"min t-DCF {self.min_tdcf:.4f}")
        if evaluated < self.num_expected or self.left_out:
            lines.append(f"PARTIAL: rests on {evaluated} of {self.num_expected} trials; {self.left_out}")
        lines += [f"note: {note}" for note in self.notes]
        for rows in (self.by_attack, self.by_codec, self.by_attack_and_codec):
            lines += ["", *_table_of(rows)] if rows else []
        return "\n".join(lines)


def evaluate(
    corpus: str,
    scores_path: str | Path,
    keys_path: str | Path,
    phase: str = "eval",
    *,
    allow_partial: bool = False,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Evaluate a score file.

    Args:
        corpus: A name of :data:`nes2net.registry.corpora`; its module reads the key and says by which rule the published
            EER goes.
        scores_path: One line ``utterance score`` a trial; higher is more bona fide.
        keys_path: What ``keys`` of the corpus accepts.
        phase: A phase or split that the key names. A corpus without phases has ``"eval"``.
        allow_partial: As in :func:`match`.
        num_resamples, seed: Of the bootstrap. Speakers are drawn where the key names the speaker of every trial and there
            are at least ten, trials otherwise.

    Raises:
        InputError: A file is missing or malformed, scores and key do not fit (see :func:`match`), or a class has no trials.
    """
    module = corpora.get(corpus)
    ids, scores = read_scores(scores_path)
    key = module.keys(keys_path)
    try:
        matched = match(key, ids, scores, phase, allow_partial=allow_partial)
    except InputError as error:
        raise InputError(f"{scores_path}: {error}") from error
    positions = np.concatenate((np.flatnonzero(matched.is_bonafide), np.flatnonzero(~matched.is_bonafide)))
    rule = functools.partial(metrics.compute_eer, method=module.EER_METHOD, order=positions)
    eer, threshold = rule(matched.bonafide, matched.spoof)
    speakers = _speakers(matched)
    interval = metrics.bootstrap_interval(
        rule, matched.bonafide, matched.spoof, num_resamples=num_resamples, seed=seed, **_groups(matched, speakers)
    )
    min_tdcf, notes = _min_tdcf(module, keys_path, phase, matched)
    num_bonafide = int(matched.is_bonafide.sum())
    return Evaluation(
        corpus=corpus,
        phase=canonical_phase(phase),
        num_bonafide=num_bonafide,
        num_spoof=len(matched.trials) - num_bonafide,
        num_expected=matched.num_expected,
        eer=eer,
        threshold=threshold,
        interval=interval,
        interval_over="speakers" if speakers else "trials",
        num_groups=len(set(speakers)) if speakers else len(matched.trials),
        min_tdcf=min_tdcf,
        by_attack=breakdown(matched, "attack", method=module.EER_METHOD),
        by_codec=breakdown(matched, "codec", method=module.EER_METHOD),
        by_attack_and_codec=breakdown(matched, "attack", "codec", method=module.EER_METHOD),
        left_out=matched.mismatch.describe(matched.num_expected),
        notes=notes,
        bonafide_scores=matched.bonafide,
        spoof_scores=matched.spoof,
    )


def breakdown(matched: Matched, *fields: str, method: str = "asvspoof") -> list[Row]:
    """The EER for each combination of values of ``fields`` of :class:`Trial` among the spoofed trials, sorted by value.

    Fields that describe the recording, such as ``codec``, choose trials of both classes; ``attack`` and ``vocoder`` choose
    spoofed trials, and all bona fide ones stand against them, as in the published tables. Without values there are no rows.
    """
    shared = [name for name in fields if name not in _SPOOF_FIELDS]
    bonafide, spoof = defaultdict(list), defaultdict(list)
    for position, trial in enumerate(matched.trials):
        if trial.label == BONAFIDE:
            bonafide[tuple(getattr(trial, name) for name in shared)].append(position)
        else:
            spoof[tuple(getattr(trial, name) for name in fields)].append(position)
    rows = []
    for values in sorted(values for values in spoof if None not in values):
        group = dict(zip(fields, values))
        against = bonafide.get(tuple(group[name] for name in shared), [])
        order = [*against, *spoof[values]]
        eer = None
        if against:
            eer, _ = metrics.compute_eer(matched.scores[against], matched.scores[spoof[values]], method, order=order)
        rows.append(Row(group, len(against), len(spoof[values]), eer))
    return rows


def comparison_table(systems: Mapping[str, Iterable[Evaluation]]) -> str:
    """Several systems (name → evaluations) over their corpora, as a Markdown table.

    A cell is the EER in % with its 95 % interval; the second line of the head is what each column rests on. Cells that rest on
    other trials than the head says (partial scores) name their own.
    """
    cells = {(system, (e.corpus, e.phase)): e for system, evaluations in systems.items() for e in evaluations}
    columns = list(dict.fromkeys(column for _, column in cells))
    counts = {
        column: max((e.num_bonafide, e.num_spoof) for (_, of), e in cells.items() if of == column) for column in columns
    }
    lines = [
        [
            "EER in % (95 % interval)",
            *(corpus if phase == "eval" else f"{corpus}, {phase}" for corpus, phase in columns),
        ],
        ["---", *("---:" for _ in columns)],
        ["*trials: bona fide + spoof*", *(f"*{b} + {s}*" for b, s in counts.values())],
        *([system, *(_cell(cells.get((system, column)), counts[column]) for column in columns)] for system in systems),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(evaluation: Evaluation | None, count: tuple[int, int]) -> str:
    if evaluation is None:
        return "–"
    low, high = evaluation.interval
    own = (evaluation.num_bonafide, evaluation.num_spoof)
    trials = "" if own == count else f", on {own[0]} + {own[1]}"
    return f"{100 * evaluation.eer:.2f} ({100 * low:.2f}–{100 * high:.2f}{trials})"


def _table_of(rows: list[Row]) -> list[str]:
    names = list(rows[0].group)
    lines = [[*names, "EER %", "bona fide", "spoof"]]
    for row in rows:
        eer = "–" if row.eer is None else f"{100 * row.eer:.3f}"
        lines.append([*row.group.values(), eer, str(row.num_bonafide), str(row.num_spoof)])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return [
        "  ".join(
            cell.ljust(width) if i < len(names) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        )
        for line in lines
    ]


def _speakers(matched: Matched) -> list[str]:
    """The speaker of every trial; empty where the key does not name them all, or too few."""
    speakers = [trial.speaker for trial in matched.trials]
    return speakers if None not in speakers and len(set(speakers)) >= _FEWEST_SPEAKERS else []


def _groups(matched: Matched, speakers: list[str]) -> dict[str, list[str]]:
    if not speakers:
        return {}
    return {
        "bonafide_groups": [s for s, is_bonafide in zip(speakers, matched.is_bonafide) if is_bonafide],
        "spoof_groups": [s for s, is_bonafide in zip(speakers, matched.is_bonafide) if not is_bonafide],
    }


def _min_tdcf(module, keys_path: str | Path, phase: str, matched: Matched) -> tuple[float | None, tuple[str, ...]]:
    """The min t-DCF where the corpus comes with scores of a speaker-verification system; else None and, where it should, why."""
    if not hasattr(module, "asv_scores"):
        return None, ()
    try:
        asv = module.asv_scores(keys_path, phase)
    except NotFound as error:
        return None, (f"no min t-DCF: {error}",)
    try:
        return metrics.compute_min_tdcf(matched.bonafide, matched.spoof, *asv, version=module.TDCF_VERSION), ()
    except InputError as error:
        return None, (f"no min t-DCF: {error}",)
