"""Evaluate embeddings by verification: are a trial and the enrolled trials of the same class, such as a generator?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nes2net import metrics
from nes2net.data.corpora.trial import BONAFIDE, ENROLMENT_MODELS
from nes2net.evaluation.class_reference import embeddings_of, examples_of
from nes2net.evaluation.class_trials import ClassLabels, OfClasses, classes_of
from nes2net.evaluation.evaluation import Evaluation
from nes2net.evaluation.judgements import Evaluable
from nes2net.evaluation.key import score_input
from nes2net.evaluation.result import Result
from nes2net.evaluation.tables import Figure, Measure, Row, Table, column, join_tables
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.metrics.intervals import Resampling
from nes2net.scoring.decisions.known import verification_scores
from nes2net.scoring.embeddings import Embeddings
from nes2net.scoring.judgement import ScoreFile

_TITLE = ": same class or not"
_MEASURES = (
    column("eer"),
    Measure("eer_roc", "EER by the ROC %"),
    Measure("num_targets", "same class", "count"),
    Measure("num_nontargets", "other class", "count"),
)


@dataclass(frozen=True)
class Pairs:
    """N trials compared with M enrolled models.

    - ``scores``: cosines, N×M.
    - ``is_target``: whether trial and model are of the same class, N×M.
    - ``num_left_out``: spoofed trials without an embedding.
    """

    system: str
    labels: ClassLabels
    scores: NDArray
    is_target: NDArray
    models: list[str]
    num_left_out: int

    def groups(self) -> dict[str, NDArray]:
        """Choose the pairs of other classes that count, N×M, for each group of trials."""
        is_enrolled = self.is_target.any(1, keepdims=True)  # N×1: whether the class of the trial has a model
        is_nontarget = ~self.is_target
        return {
            "all": is_nontarget,
            "of enrolled classes": is_nontarget & is_enrolled,
            "of other classes": is_nontarget & ~is_enrolled,
        }


class ComparedEmbeddings(Embeddings, Evaluable[NDArray]):
    """The judgement ``embeddings``, evaluated by comparing embeddings of trials with embeddings of enrolled trials."""

    def evaluation(self) -> type[Evaluation[Any]]:
        return EmbeddingEvaluation


class EmbeddingEvaluation(OfClasses[Pairs]):
    """EERs of cosines between spoofed trials and mean embeddings of enrolled models.

    ``reference`` are embeddings of enrolled trials for each of ``files``.
    """

    kind = "embeddings"

    def read_all(self, names: Sequence[str]) -> list[Pairs]:
        if len(self.references) != len(self.score_files):
            raise InputError(
                f"{join_names([str(file.path) for file in self.score_files])}: embeddings are compared with embeddings of "
                "enrolled trials: add `reference`, with one file of these for each file"
            )
        return super().read_all(names)

    def read(self, file: ScoreFile, name: str) -> Pairs:
        """Compare the spoofed trials of the phase with enrolled models.

        Enrolled trials name their models in ``enrolment_models``, or belong to the only model of their
        class.
        """
        enrolled = self.references[self.score_files.index(file)]
        self.further_inputs.append(score_input(enrolled.path, enrolled.sha256, "enrolled embeddings"))
        labels = ClassLabels.read(file, self.class_field)
        rows = dict(Embeddings().read(file.path))
        spoofed_trials = [trial for trial in self.key.evaluated_trials if trial.label != BONAFIDE]
        trials = [trial for trial in spoofed_trials if not self.allow_partial or trial.id in rows]
        if not trials:
            raise InputError(
                f"{file.path}: has no embedding of a spoofed trial of the phase: use embeddings of this phase"
            )
        examples: dict[str, list[NDArray]] = {}
        class_of_model: dict[str, str] = {}
        for example in examples_of(
            dict(Embeddings().read(enrolled.path)), enrolled, self.key, labels.field, labels.aliases
        ):
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
        return Pairs(name, labels, scores, is_target, models, len(spoofed_trials) - len(trials))

    def report(self, systems: Sequence[Pairs]) -> Result:
        tables = {}
        notes = []
        doubts = []
        for pairs in systems:
            tables[pairs.system] = self._tables(pairs)
            if pairs.num_left_out:
                notes.append(f"PARTIAL: {pairs.system}: {pluralise(pairs.num_left_out, 'trial')} without an embedding")
            if doubt := pairs.labels.doubt(self.key.evaluated_trials):
                doubts.append(f"{pairs.system}: {doubt}")
        extent = (
            f"{self.part}: {pluralise(systems[-1].scores, 'spoofed trial')} against "
            f"{pluralise(systems[-1].models, 'enrolled model')}; 95 % intervals: bootstrap of trials, "
            f"{self.num_resamples} draws"
        )
        result = Result(_TITLE, {}, [extent], join_tables(tables), notes, doubts)
        return self.with_labels(result, {pairs.system: pairs.labels for pairs in systems})

    def _tables(self, pairs: Pairs) -> Iterator[Table]:
        note = (
            "The score is the cosine to the mean embedding of an enrolled model. Each row has all pairs of the same class. "
            "EER by the rule of ASVspoof."
        )
        rows = []
        for group, is_counted in pairs.groups().items():
            figures = _figures(pairs.scores, pairs.is_target, is_counted, self.draws)
            rows.append(Row({"trials of other pairs": group}, figures))
        yield Table("verification", f"{self.key.title}{_TITLE}.", _MEASURES, rows, notes=[note])
        rows = []
        for model, scores, is_target in zip(pairs.models, pairs.scores.T, pairs.is_target.T):
            rows.append(Row({"enrolled model": model}, _figures(scores, is_target, ~is_target, self.draws)))
        yield Table("by_model", "Enrolled models one by one.", _MEASURES, rows, "Models")


def _figures(scores: NDArray, is_target: NDArray, is_nontarget: NDArray, draws: Resampling) -> dict[str, Figure]:
    """Compute EERs of target against nontarget pairs; all arrays are (N, M) or (N,).

    No EER without pairs of both kinds. The bootstrap draws trials, each with all its pairs.
    """
    targets = scores[is_target]
    nontargets = scores[is_nontarget]
    figures = {"num_targets": Figure(targets.size), "num_nontargets": Figure(nontargets.size)}
    if targets.size and nontargets.size:
        interval = metrics.bootstrap_interval(
            metrics.compute_eer,
            targets,
            nontargets,
            bonafide_groups=np.nonzero(is_target)[0].tolist(),  # all pairs of a trial (axis 0) are drawn together
            spoof_groups=np.nonzero(is_nontarget)[0].tolist(),
            **draws,
        )
        figures["eer"] = Figure(metrics.compute_eer(targets, nontargets)[0], interval)
        figures["eer_roc"] = Figure(metrics.compute_eer(targets, nontargets, "roc")[0])
    return figures
