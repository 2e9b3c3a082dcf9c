"""Evaluate embeddings by verification: is a trial of the same class, such as one generator, as enrolled trials?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.evaluation.class_reference import Examples, embeddings_of
from nes2net.evaluation.class_trials import class_labels_of, classes_of
from nes2net.evaluation.judgements import EvaluationSettings
from nes2net.evaluation.key import Key, Labels, not_official, score_input
from nes2net.evaluation.result import Result, versions
from nes2net.evaluation.tables import Figure, Measure, Row, Table
from nes2net.lib.errors import InputError, counted, listed
from nes2net.lib.files import sha256_of
from nes2net.scoring.decisions.known import verification_scores
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.record import record_of

_MEASURES = (
    Measure("eer", "EER %"),
    Measure("eer_roc", "EER by the ROC %"),
    Measure("num_targets", "same class", "count"),
    Measure("num_nontargets", "other class", "count"),
)


class _Pairs(NamedTuple):
    """The comparisons of N trials with M enrolled classes."""

    scores: NDArray
    """Cosines, N×M."""
    is_target: NDArray
    """Whether a trial is of the enrolled class, N×M."""
    models: list[str]
    """Names of the enrolled classes."""
    num_left_out: int
    """Number of spoofed trials without an embedding."""


class ComparedEmbeddings(Embeddings):
    """Embeddings of recordings, which are evaluated by comparison with those of enrolled trials."""

    def evaluate(self, labels: Labels, paths: Sequence[Path], settings: EvaluationSettings) -> Result:
        """Compare each spoofed trial with the mean embedding of each enrolled class, by the cosine.

        Args:
            settings: ``reference`` has, for each file of ``paths``, the file of the embeddings of
                enrolled trials.

        Raises:
            InputError: if a file cannot be read, a trial has no embedding or no class, the numbers
                of systems and of files of enrolled trials differ, or a setting does not apply.
        """
        settings.check_no_scores()
        if len(settings.reference) != len(paths) or settings.unknown is not None or settings.bonafide_unknown:
            raise InputError(
                f"{listed(list(map(str, paths)))}: embeddings are compared with those of enrolled trials: give `reference`, a "
                "file of these for each file of embeddings, and leave out `unknown` and `bonafide_unknown`"
            )
        key = Key.read(labels.corpus, labels.keys, labels.phase)
        rows: list[Row] = []
        rows_of_models: list[Row] = []
        inputs = []
        warnings = [not_official(key)]
        for path, enrolled, system in zip(paths, settings.reference, settings.names_of(paths)):
            pairs = self._pairs(path, enrolled, key, settings.allow_partial)
            is_enrolled = pairs.is_target.any(1, keepdims=True)  # N×1
            is_other = ~pairs.is_target
            chosen = {
                "all": is_other,
                "of enrolled classes": is_other & is_enrolled,
                "of other classes": is_other & ~is_enrolled,
            }
            for name, nontargets in chosen.items():
                figures = _figures(pairs.scores, pairs.is_target, nontargets, settings)
                rows.append(Row({"system": system, "trials of other pairs": name}, figures))
            for number, model in enumerate(pairs.models):
                is_target = pairs.is_target[:, number]
                figures = _figures(pairs.scores[:, number], is_target, ~is_target, settings)
                rows_of_models.append(Row({"system": system, "enrolled class": model}, figures))
            if pairs.num_left_out:
                warnings.append(f"PARTIAL: {system}: {counted(pairs.num_left_out, 'trial')} without an embedding")
            inputs += [score_input(path, sha256_of(path), "embeddings")]
            inputs += [score_input(enrolled, sha256_of(enrolled), "enrolled embeddings")]
        hidden = () if len(paths) > 1 else ("system",)
        title = f"{key.definition.title}, {canonical_phase(key.phase)}"
        extent = (
            f"{key.corpus}, phase {canonical_phase(key.phase)}: {counted(len(pairs.scores), 'spoofed trial')} against "
            f"{counted(len(pairs.models), 'enrolled class', 'enrolled classes')}; 95 % intervals: bootstrap of trials, "
            f"{settings.num_resamples} draws"
        )
        notes = [
            "The score is the cosine to the mean embedding of an enrolled class. Each row has all pairs of the same class. EER "
            "by the rule of ASVspoof."
        ]
        return Result(
            f"{title}: same class or not",
            {
                "corpus": key.corpus,
                "phase": canonical_phase(key.phase),
                "num_resamples": settings.num_resamples,
                "inputs": [*inputs, key.input()],
                "versions": versions(),
            },
            [extent],
            [
                Table("verification", f"{title}: same class or not.", _MEASURES, rows, notes=notes, hidden=hidden),
                Table("by_model", "Enrolled classes one by one.", _MEASURES, rows_of_models, "Classes", hidden=hidden),
            ],
            list(filter(None, warnings)),
        )

    def _pairs(self, path: Path, enrolled: Path, key: Key, allow_partial: bool) -> _Pairs:
        """Compare the spoofed trials of the evaluated phase with the classes of the trials in ``enrolled``.

        Args:
            path: the embeddings of the evaluated trials.
            enrolled: the embeddings of the enrolled trials; bona fide trials among them are ignored.
            allow_partial: leave out trials without an embedding instead of raising.

        Raises:
            InputError: if a file cannot be read, a trial has no embedding or no class, or no trials
                or no classes are left to compare.
        """
        field, aliases = class_labels_of(record_of(path))
        rows = dict(self.read(path))
        spoofed_trials = [trial for trial in key.evaluated_trials if trial.label != BONAFIDE]
        trials = spoofed_trials
        if allow_partial:
            trials = [trial for trial in trials if trial.id in rows]
        if not trials:
            raise InputError(f"{path}: has no embedding of a spoofed trial of the phase: give embeddings of this phase")
        examples = Examples.of(dict(self.read(enrolled)), enrolled, key, field, aliases)
        names = np.array(examples.names)
        models = sorted(set(examples.names) - {BONAFIDE})
        if not models:
            raise InputError(
                f"{enrolled}: all its trials are bona fide: give embeddings of trials of the classes to find"
            )
        scores = verification_scores(
            embeddings_of(rows, trials), [examples.embeddings[names == model] for model in models]
        )
        classes = np.array(classes_of(trials, field, aliases, path))
        is_target = classes[:, None] == np.array(models)
        return _Pairs(scores, is_target, models, len(spoofed_trials) - len(trials))


def _figures(
    scores: NDArray, is_target: NDArray, is_nontarget: NDArray, settings: EvaluationSettings
) -> dict[str, Figure]:
    """Compute the EER of target pairs against nontarget pairs by two rules, and the numbers of both kinds of pairs.

    If a kind has no pairs, there is no EER. The bootstrap of the interval draws trials.

    Args:
        scores: N×M, or (N,) for one enrolled class.
        is_target: whether a pair is of the same class, in the shape of ``scores``.
        is_nontarget: whether a pair of different classes counts, in the shape of ``scores``.
    """
    target_trials = np.nonzero(is_target)[0].tolist()
    nontarget_trials = np.nonzero(is_nontarget)[0].tolist()
    figures = {"num_targets": Figure(len(target_trials)), "num_nontargets": Figure(len(nontarget_trials))}
    if target_trials and nontarget_trials:
        targets = scores[is_target]
        nontargets = scores[is_nontarget]
        interval = metrics.bootstrap_interval(
            metrics.compute_eer,
            targets,
            nontargets,
            num_resamples=settings.num_resamples,
            seed=settings.seed,
            bonafide_groups=target_trials,  # a draw takes or leaves all pairs of a trial
            spoof_groups=nontarget_trials,
        )
        figures["eer"] = Figure(metrics.compute_eer(targets, nontargets)[0], interval)
        figures["eer_roc"] = Figure(metrics.compute_eer(targets, nontargets, "roc")[0])
    return figures
