"""Match scores and keys strictly: every trial has one score, and every score has one trial.

The scores of several systems form a matrix, one column for each file and one row for each trial.

In reading order: ``Mismatch`` and ``Matched`` are the result of ``match``, which has the rules;
``match_file`` matches a score file; ``labelled_trials`` and ``unlabelled_scores`` read several.

>>> from nes2net.data.corpora.trial import Trial
>>> key = [Trial("a", label="bonafide"), Trial("b", label="bonafide"), Trial("c", label="spoof"), Trial("d", label="spoof")]
>>> matched = match(key, ["a", "b", "c", "d"], [2.0, 1.0, -1.0, 0.5])
>>> matched.bonafide, matched.spoof
(array([2., 1.]), array([-1. ,  0.5]))
>>> match(key, ["a", "b", "c"], [2.0, 1.0, -1.0])  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
nes2net.lib.errors.InputError: scores and key do not fit: 1 of 4 trials without a score: d; correct them, or ...
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.id_tables import LABELS, possible_ids
from nes2net.data.corpora.trial import BONAFIDE, Trial, Trials
from nes2net.evaluation.trial_table import TrialTable
from nes2net.lib.errors import InputError, concerning, join_names, pluralise
from nes2net.lib.output.terminal import print_note
from nes2net.scoring.judgement import ScoreFile, scores_of
from nes2net.scoring.score_file import ScoreTable

#: Largest absolute value of a score; sums of millions are still finite.
MAX_SCORE = 1e300


@dataclass(frozen=True)
class Mismatch:
    """Ids of utterances for which scores and key do not fit.

    - ``missing`` have no score, ``unknown`` are not in the key.
    - ``conflicting`` have several different scores, ``repeated`` several equal ones.
    - ``not_finite`` have a score that is not finite.
    """

    missing: Sequence[str] = ()
    conflicting: Sequence[str] = ()
    unknown: Sequence[str] = ()
    not_finite: Sequence[str] = ()
    repeated: Sequence[str] = ()

    def __bool__(self) -> bool:
        return any(vars(self).values())

    def describe(self, num_trials: int) -> str:
        """Write all mismatches in one line, with up to ten ids each, of ``num_trials`` of the phase."""
        problems = (  # in the order of the fields
            f"of {pluralise(num_trials, 'trial')} without a score",
            "scored twice with different values",
            "scored but not in the key",
            "with a score that is not finite",
            "scored more than once (was a run appended to another?)",
        )
        listed = zip(vars(self).values(), problems, strict=True)
        return "; ".join(f"{len(ids):,} {problem}: {join_names(ids)}" for ids, problem in listed if ids)


@dataclass(frozen=True)
class Matched:
    """The evaluated trials in the order of the score file, with their scores, shape (N,).

    ``num_expected`` counts the trials of the phase, with or without score. ``doubts`` are reasons
    to doubt the file. ``file_order`` (N,): positions in the file, if not in its order.
    """

    trials: Trials
    scores: NDArray
    num_expected: int
    mismatch: Mismatch
    doubts: Sequence[str] = ()
    file_order: NDArray | None = None

    @functools.cached_property
    def is_bonafide(self) -> NDArray:
        """Whether each trial is bona fide, shape (N,)."""
        return self.table.column("label").where(BONAFIDE)

    @functools.cached_property
    def table(self) -> TrialTable:
        return TrialTable.of(self.trials)

    @property
    def bonafide(self) -> NDArray:
        return self.scores[self.is_bonafide]

    @property
    def spoof(self) -> NDArray:
        return self.scores[~self.is_bonafide]

    @property
    def scores_in_key(self) -> NDArray:
        """Scores of all trials of the key, NaN for those that are not evaluated."""
        scores = np.full(len(self.table.key), np.nan)
        # ``table`` selects trials of ``table.key``; ``rows`` are their positions there.
        scores[self.table.rows] = self.scores
        return scores

    @property
    def by_id(self) -> dict[str, float]:
        """Id of each trial → score."""
        return {trial.id: score for trial, score in zip(self.trials, self.scores.tolist())}

    def eer_rule(self, method: str) -> Callable[..., tuple[float, float]]:
        """Make the EER of these trials by ``method``, with their order in the file: :func:`nes2net.metrics.compute_eer`."""
        # (N,), bona fide first, as compute_eer gets scores
        positions = np.concatenate((np.flatnonzero(self.is_bonafide), np.flatnonzero(~self.is_bonafide)))
        return functools.partial(metrics.compute_eer, method=method, order=self.positions_in_file(positions))

    def positions_in_file(self, positions: NDArray) -> NDArray:
        if self.file_order is None:
            return positions
        return self.file_order[positions]

    def in_key_order(self) -> Matched:
        """Return the same trials in the order of their key."""
        order = np.argsort(self.table.rows)
        file_order = self.positions_in_file(order)
        return replace(self, trials=self.table.take(order), scores=self.scores[order], file_order=file_order)

    def where(self, is_included: Callable[[Trial], bool], key: Trials, num_expected: int) -> Matched:
        """Omit trials for which ``is_included`` is false, also from the mismatch.

        ``key`` has all trials; ``num_expected`` counts those of the phase that are kept.
        """
        positions = np.flatnonzero(list(map(is_included, self.trials)))
        # Unlike `self.trials`, the mismatch also names trials without a score.
        excluded = {trial.id for trial in key if not is_included(trial)}
        mismatch = {}
        for kind, ids in vars(self.mismatch).items():
            mismatch[kind] = [id for id in ids if id not in excluded]
        trials = self.table.take(positions)
        file_order = self.positions_in_file(positions)
        return Matched(trials, self.scores[positions], num_expected, Mismatch(**mismatch), self.doubts, file_order)


def match(
    trials: Trials,
    ids: Sequence[str],
    scores: Sequence[float] | NDArray,
    phase: str | None = None,
    *,
    allow_partial: bool = False,
) -> Matched:
    """Find the score of every trial of ``phase``; ``None`` stands for all phases.

    Args:
        trials: All trials of the key, with labels. Other scored utterances are unknown; utterances
            of another phase are omitted.
        ids, scores: As read by :func:`nes2net.scoring.score_file.read_scores`. An id may be the
            name of an audio file with its suffix, after folders.
        allow_partial: Omit what does not fit instead of raising, and list it in ``mismatch``. A
            repeated row is ignored.

    Raises:
        InputError: if no trial has a score, a trial has no label, or a score lies beyond ±1e300.
            Without ``allow_partial`` also if a trial has no score, several scores, or a score that
            is not finite, or an utterance is unknown.
    """
    key = TrialTable.of(trials)
    is_expected = key.is_in_phase(phase)  # (trials of the key,)
    scores_in_key, in_file_order, mismatch = _join_scores(key, is_expected, ids, np.asarray(scores, dtype=np.float64))
    has_score = np.isfinite(scores_in_key)
    positions_to_evaluate = in_file_order[(has_score & is_expected)[in_file_order]]
    evaluated = key.take(positions_to_evaluate)
    num_expected = int(is_expected.sum())
    if not evaluated:
        first_expected = trials[int(is_expected.argmax())]
        reason = _why_nothing_fits(first_expected, ids, mismatch, has_scores=bool(has_score.any()))
        raise InputError(
            f"none of the {pluralise(num_expected, 'trial')} of the key has a score: {mismatch.describe(num_expected)}; {reason}"
        )
    if mismatch and not allow_partial:
        problems = mismatch.describe(num_expected)
        raise InputError(
            f"scores and key do not fit: {problems}; correct them, or evaluate the rest with `allow_partial`"
        )
    unlabelled = _ids_at(evaluated, np.flatnonzero(evaluated.column("label").numbers < 0))
    if unlabelled:
        without_label = f"{pluralise(unlabelled, 'trial has', 'trials have')} no label in the key"
        raise InputError(f"{without_label}: {join_names(unlabelled)}; use a key with labels")
    finite = scores_in_key[positions_to_evaluate]
    largest = int(np.abs(finite).argmax())
    if abs(finite[largest]) > MAX_SCORE:
        raise InputError(
            f"the score of {evaluated[largest].id} is {finite[largest]:g}; scale the scores to lie within ±{MAX_SCORE:g}"
        )
    return Matched(evaluated, finite, num_expected, mismatch)


def match_rows(
    trials: Trials, ids: Sequence[str], rows: NDArray, phase: str | None, *, allow_partial: bool = False
) -> Matched:
    """Match N rows of K numbers by :func:`match`; ``scores`` are numbers of rows.

    A row with a number that is not finite counts as a missing score.
    """
    row_numbers = np.where(np.isfinite(rows).all(axis=1), np.arange(len(ids)), np.nan)
    return match(trials, ids, row_numbers, phase, allow_partial=allow_partial)


def _join_scores(
    key: TrialTable, is_expected: NDArray, ids: Sequence[str], values: NDArray
) -> tuple[NDArray, NDArray, Mismatch]:
    """Return scores (trials,), NaN if unusable; positions of trials with finite scores, in file order; and the mismatch."""
    positions = _positions_in_key(key, ids)  # (rows,); −1 for an unknown id
    is_known = positions >= 0
    is_finite = np.isfinite(values)
    # Further scores of a trial may be equal to the first or differ.
    usable = np.flatnonzero(is_known & is_finite)  # rows of the file
    # Trials, and the index in `usable` of their first row.
    scored, first = np.unique(positions[usable], return_index=True)
    scores = np.full(len(key), np.nan)
    scores[scored] = values[usable[first]]
    is_first = np.zeros(usable.size, dtype=bool)
    is_first[first] = True
    is_equal = values[usable] == scores[positions[usable]]
    not_finite = positions[is_known & ~is_finite]
    conflicting = positions[usable[~is_equal]]
    repeated = positions[usable[is_equal & ~is_first]]
    # Different scores, or one that is not finite, count as not scored.
    scores[conflicting] = np.nan
    scores[not_finite] = np.nan
    # Missing is a trial without any row; one whose only scores are unusable is listed as conflicting or not finite.
    is_missing = is_expected.copy()
    is_missing[positions[is_known]] = False
    mismatch = Mismatch(
        missing=_ids_at(key, np.flatnonzero(is_missing)),
        conflicting=_ids_at(key, conflicting),
        unknown=list(dict.fromkeys(ids[row] for row in np.flatnonzero(~is_known).tolist())),
        not_finite=_ids_at(key, not_finite),
        repeated=_ids_at(key, repeated[np.isfinite(scores[repeated])]),
    )
    return scores, scored[np.argsort(first)], mismatch


def _ids_at(trials: Trials, positions: NDArray) -> list[str]:
    return [trials[position].id for position in dict.fromkeys(positions.tolist())]


def _positions_in_key(key: TrialTable, ids: Sequence[str]) -> NDArray:
    position_of = key.position_of
    positions = np.array([position_of.get(id, -1) for id in ids], dtype=np.int64)  # (rows,)
    for row in np.flatnonzero(positions < 0).tolist():
        # Only ids that do not fit as they are may be names of audio files: an exact id always decides.
        name = next((name for name in possible_ids(ids[row]) if name in position_of), None)
        if name is not None:
            positions[row] = position_of[name]
    return positions


def _why_nothing_fits(expected: Trial, ids: Sequence[str], mismatch: Mismatch, *, has_scores: bool) -> str:
    """If ``has_scores``, trials of other phases have scores."""
    if not ids:
        return "the file of scores is empty: use the file that the detector wrote"
    if has_scores:
        return "these are scores of another part of the corpus: choose it with `phase`"
    if mismatch.not_finite or mismatch.conflicting:
        return "no trial has one finite score: score the recordings again"
    return (
        f"the scores have ids such as {ids[0]}, the key has ids such as {expected.id}: "
        "use scores and key of one corpus and part"
    )


def match_file(trials: Trials, file: ScoreFile, phase: str | None = None, *, allow_partial: bool = False) -> Matched:
    """Match the scores of ``file`` by :func:`match`; errors begin with its path.

    Raises:
        InputError: if the file is malformed, or as :func:`match`.
    """
    table = file.table
    with concerning(f"{file.path}:"):
        matched_trials = match(trials, table.ids, table.scores, phase, allow_partial=allow_partial)
    doubts = [table.doubt(), _contradiction(matched_trials.trials, table)]
    if file.judgement.name != "scores":
        doubts.append(
            f"the scores are computed from {file.judgement.what}, which the file holds by its record or header"
        )
    return replace(matched_trials, doubts=tuple(filter(None, doubts)))


def _contradiction(trials: Trials, table: ScoreTable) -> str:
    """Warn if labels in the score file differ from the labels of ``trials``; otherwise empty."""
    contradicted_ids = []
    for position, word in zip(_positions_in_key(TrialTable.of(trials), table.ids).tolist(), table.labels):
        # A word that is no label contradicts nothing.
        if position >= 0 and LABELS.get(word, trials[position].label) != trials[position].label:
            contradicted_ids.append(trials[position].id)
    if not contradicted_ids:
        return ""
    return (
        f"the score file's own labels contradict the key for {len(contradicted_ids):,} of "
        f"{pluralise(trials, 'trial')}, and the key decides: {join_names(contradicted_ids)}"
    )


def system_names(paths: Sequence[str | Path], chosen_names: Sequence[str] = ()) -> list[str]:
    """Name each file by ``chosen_names``, by its name without suffix, or by its path if two share a name.

    Raises:
        InputError: if ``chosen_names`` has another number of names, or two names are equal.

    >>> system_names(["a/lfcc.txt", "b/lfcc.txt", "b/xlsr.txt"])
    ['a/lfcc.txt', 'b/lfcc.txt', 'xlsr']
    """
    if chosen_names:
        if len(chosen_names) != len(paths) or len(set(chosen_names)) < len(chosen_names):
            raise InputError(
                f"`names` must have a different name for each of {len(paths)} files, not {join_names(chosen_names)}"
            )
        return list(chosen_names)
    stems = Counter(Path(path).stem for path in paths)
    names = []
    for path in paths:
        stem = Path(path).stem
        names.append(stem if stems[stem] == 1 else str(path))
    return names


def check_classes(is_bonafide: NDArray, subject: str, remedy: str = "") -> None:
    """Raise InputError if all of ``subject``, such as ``"12 trials"``, are of one class; ``is_bonafide`` is (N,)."""
    for label, is_of_class in (("bona fide", is_bonafide), ("spoofed", ~is_bonafide)):
        if is_of_class.all():
            raise InputError(f"{subject}, all {label}, but trials of both classes are needed", remedy=remedy)


def common_trials(systems: Sequence[Matched]) -> tuple[TrialTable, NDArray]:
    """Find the N trials that all K systems have, in the order of their key, and their scores N×K."""
    scores = np.stack([matched_trials.scores_in_key for matched_trials in systems], axis=1)
    positions = np.flatnonzero(np.isfinite(scores).all(axis=1))
    return systems[0].table.key.take(positions), scores[positions]


def labelled_trials(
    key: Trials, files: Sequence[ScoreFile], phase: str, *, allow_partial: bool = False
) -> tuple[TrialTable, NDArray, NDArray]:
    """Read the trials of ``phase`` that all K files score, in the key's order: trials, B×K, S×K.

    Prints a note if a file looks wrong. ``allow_partial``: see :func:`match`.

    Raises:
        InputError: if a file is malformed or does not fit the key.
    """
    systems = []
    for file in files:
        matched_trials = match_file(key, file, phase, allow_partial=allow_partial)
        for doubt in matched_trials.doubts:
            print_note(f"{file.path}: {doubt}")
        systems.append(matched_trials)
    common, scores = common_trials(systems)
    is_bonafide = common.column("label").where(BONAFIDE)
    return common, scores[is_bonafide], scores[~is_bonafide]


def unlabelled_scores(files: Sequence[ScoreFile], *, allow_partial: bool = False) -> tuple[list[str], NDArray]:
    """Read the ids in all files, in the order of the first, and their scores (N, files).

    Raises:
        InputError: if a file is malformed, or no id has a usable score in every file. Without
            ``allow_partial`` also if scores do not fit the first file's ids, see :func:`match`.
    """
    trials = [Trial(id, label=BONAFIDE) for id in dict.fromkeys(files[0].table.ids)]  # in place of a key
    systems = []
    for file in files:
        with concerning(f"{file.path}, with the ids of {files[0].path} as the key:"):
            systems.append(match(trials, *scores_of(file), allow_partial=allow_partial))
    common, scores = common_trials(systems)
    if not common:
        raise InputError(
            f"{', '.join(str(file.path) for file in files)}: no trial has a score in all of them; use score files of the same trials"
        )
    return [trial.id for trial in common], scores
