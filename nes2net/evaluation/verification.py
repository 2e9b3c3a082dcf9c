"""Evaluate embeddings by verification: are a trial and the enrolled trials of the same class, such as a generator?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.protocol import canonical_phase
from nes2net.data.corpora.trial import BONAFIDE, ENROLMENT_MODELS
from nes2net.evaluation.class_reference import embeddings_of, examples_of, label_lines
from nes2net.evaluation.class_trials import ClassLabels, classes_of, warn_if_different
from nes2net.evaluation.judgements import Evaluable, Evaluator
from nes2net.evaluation.key import Key, Labels, score_input
from nes2net.evaluation.matching import system_names
from nes2net.evaluation.result import Result
from nes2net.evaluation.tables import Figure, Measure, Row, Table, column
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.storage.files import AnyPath
from nes2net.metrics.intervals import Resampling
from nes2net.scoring.decisions.known import verification_scores
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.judgement import ScoreFile

_MEASURES = (
    column("eer"),
    Measure("eer_roc", "EER by the ROC %"),
    Measure("num_targets", "same class", "count"),
    Measure("num_nontargets", "other class", "count"),
)


class _Pairs(NamedTuple):
    """N trials compared with M enrolled models."""

    scores: NDArray
    """Cosines, N×M."""
    is_target: NDArray
    """Whether trial and model are of the same class, N×M."""
    models: list[str]
    num_left_out: int
    """Spoofed trials without an embedding."""


class ComparedEmbeddings(Embeddings, Evaluable[NDArray]):
    """The judgement ``embeddings``, evaluated by comparing embeddings of trials with embeddings of enrolled trials."""

    def evaluator(self) -> Evaluator:
        return evaluate_embeddings


def evaluate_embeddings(
    corpus: str,
    files: Sequence[ScoreFile],
    keys_path: AnyPath,
    phase: str = "eval",
    *,
    allow_partial: bool = False,
    class_field: str | None = None,
    reference: Sequence[AnyPath] = (),
    names: Sequence[str] = (),
    num_resamples: int = 1000,
    seed: int = 0,
) -> Result:
    """Compute EERs of cosines between spoofed trials and mean embeddings of enrolled models.

    Args:
        corpus, keys_path, phase, allow_partial, names, num_resamples, seed: as for
            :func:`~nes2net.evaluation.evaluate.evaluate_systems`.
        files: the embeddings of each system.
        class_field: as for :func:`~nes2net.evaluation.class_trials.class_trials`.
        reference: embeddings of enrolled trials for each of ``files``.

    Raises:
        InputError: if a file cannot be read, a trial has no embedding or class, or numbers of
            systems and of ``reference`` differ.
    """
    if len(reference) != len(files):
        raise InputError(
            f"{join_names([str(file.path) for file in files])}: embeddings are compared with embeddings of enrolled trials: add "
            "`reference`, with one file of these for each file"
        )
    key = Labels(corpus, keys_path, phase).read()
    rows: list[Row] = []
    rows_of_models: list[Row] = []
    enrolled_files = list(map(ScoreFile.of, reference))
    inputs: list[dict[str, str]] = []
    class_labels: dict[str, ClassLabels] = {}
    warnings = []
    draws: Resampling = {"num_resamples": num_resamples, "seed": seed}
    for file, enrolled, system in zip(files, enrolled_files, system_names([file.path for file in files], names)):
        class_labels[system] = ClassLabels.read(file, class_field)
        pairs = _pairs(file, enrolled, key, class_labels[system], allow_partial)
        is_enrolled = pairs.is_target.any(1, keepdims=True)  # N×1: whether the class of the trial has a model
        is_nontarget = ~pairs.is_target
        groups = {"all": is_nontarget, "of enrolled classes": is_nontarget & is_enrolled}
        groups["of other classes"] = is_nontarget & ~is_enrolled
        for name, is_counted in groups.items():
            figures = _figures(pairs.scores, pairs.is_target, is_counted, draws)
            rows.append(Row({"system": system, "trials of other pairs": name}, figures))
        for model, scores, is_target in zip(pairs.models, pairs.scores.T, pairs.is_target.T):
            figures = _figures(scores, is_target, ~is_target, draws)
            rows_of_models.append(Row({"system": system, "enrolled model": model}, figures))
        if pairs.num_left_out:
            warnings.append(f"PARTIAL: {system}: {pluralise(pairs.num_left_out, 'trial')} without an embedding")
        warnings.append(class_labels[system].doubt(key.evaluated_trials))
        inputs.append(score_input(file.path, file.sha256, "embeddings"))
        inputs.append(score_input(enrolled.path, enrolled.sha256, "enrolled embeddings"))
    warnings.append(warn_if_different(class_labels.values()))
    hidden = () if len(files) > 1 else ("system",)
    title = f"{key.title}: same class or not"
    extent = (
        f"{corpus}, phase {canonical_phase(phase)}: {pluralise(len(pairs.scores), 'spoofed trial')} against "
        f"{pluralise(len(pairs.models), 'enrolled model')}; 95 % intervals: bootstrap of trials, "
        f"{num_resamples} draws"
    )
    notes = [
        "The score is the cosine to the mean embedding of an enrolled model. Each row has all pairs of the same class. EER "
        "by the rule of ASVspoof."
    ]
    tables = [
        Table("verification", f"{title}.", _MEASURES, rows, notes=notes, hidden=hidden),
        Table("by_model", "Enrolled models one by one.", _MEASURES, rows_of_models, "Models", hidden=hidden),
    ]
    header = {
        **key.header(inputs, num_resamples),
        "class_labels": {system: facts._asdict() for system, facts in class_labels.items()},
    }
    lines = [extent, *label_lines(enrolled_files)]
    lines += [facts.in_words(system) for system, facts in class_labels.items()]
    return Result(title, header, lines, tables, key.notes(warnings))


def _pairs(file: ScoreFile, enrolled: ScoreFile, key: Key, labels: ClassLabels, allow_partial: bool) -> _Pairs:
    """Compare the spoofed trials of the phase with enrolled models; bona fide trials are ignored.

    Enrolled trials name their models in ``enrolment_models``, or belong to the only model of their
    class. Raises InputError if an embedding (without ``allow_partial``), a class, or everything is
    missing.
    """
    rows = dict(Embeddings().read(file.path))
    spoofed_trials = [trial for trial in key.evaluated_trials if trial.label != BONAFIDE]
    trials = [trial for trial in spoofed_trials if not allow_partial or trial.id in rows]
    if not trials:
        raise InputError(f"{file.path}: has no embedding of a spoofed trial of the phase: use embeddings of this phase")
    examples: dict[str, list[NDArray]] = {}
    class_of_model: dict[str, str] = {}
    for example in examples_of(dict(Embeddings().read(enrolled.path)), enrolled, key, labels.field, labels.aliases):
        if example.name != BONAFIDE:
            # A key may give an example several models, with spaces between their names.
            for model in (example.trial.get(ENROLMENT_MODELS) or "").split() or [example.name]:
                examples.setdefault(model, []).append(example.embedding)
                if class_of_model.setdefault(model, example.name) != example.name:
                    raise InputError(
                        f"{enrolled.path}: examples of the enrolled model {model} are of {class_of_model[model]} and of "
                        f"{example.name}: a model must have examples of only one {labels.field}"
                    )
    models = sorted(examples)
    if not models:
        raise InputError(
            f"{enrolled.path}: all its trials are bona fide: use embeddings of trials of the classes to find"
        )
    scores = verification_scores(embeddings_of(rows, trials), [np.stack(examples[model]) for model in models])
    classes = np.array(classes_of(trials, labels))
    is_target = classes[:, None] == np.array([class_of_model[model] for model in models])
    return _Pairs(scores, is_target, models, len(spoofed_trials) - len(trials))


def _figures(scores: NDArray, is_target: NDArray, is_nontarget: NDArray, draws: Resampling) -> dict[str, Figure]:
    """Compute EERs of target against nontarget pairs; all arrays are (N, M) or (N,).

    No EER without pairs of both kinds. The bootstrap draws trials, each with all its pairs.
    """
    # Of each pair, the number of its trial (axis 0), in the order in which scores[is_target] lists the pairs.
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
            bonafide_groups=target_trials,  # all pairs of a trial are drawn together
            spoof_groups=nontarget_trials,
            **draws,
        )
        figures["eer"] = Figure(metrics.compute_eer(targets, nontargets)[0], interval)
        figures["eer_roc"] = Figure(metrics.compute_eer(targets, nontargets, "roc")[0])
    return figures
