"""Source tracing: train a detector that names the generator of a fake, or another field of the trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from nes2net import metrics
from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial, Trials, class_name, class_names
from nes2net.detector import Detector
from nes2net.evaluation.classes import ERROR_TITLE
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.lib.output.terminal import print_note
from nes2net.scoring.decisions.known import KnownThreshold
from nes2net.training.measures import ERROR_RATES, Figures, Measure, Validated
from nes2net.training.objective import Objective, Outcome, StepPart
from nes2net.training.recipes.data import SetName
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.tasks.task import Task

F1_ERROR = Measure("trace_f1_error", "1_minus_macro_F1")
ERROR = Measure("trace_error", ERROR_TITLE)


class SourceTracingObjective(Objective):
    """The objective with a loss over the classes; validation measures accuracy and macro-F1."""

    @property
    def has_bonafide(self) -> bool:
        return self.detector.classes[-1] == BONAFIDE

    def outcome(self, computed: Any, part: StepPart) -> Outcome:
        """Compute the loss and the logits B×K, and also the scores if bona fide is a class."""
        outcome = super().outcome(computed, part)
        outputs = {"logits": self.criterion.logits(computed)}
        if self.has_bonafide:
            outputs |= outcome.outputs
        return Outcome(outcome.loss, outputs)

    def figures(self, validated: Validated) -> Figures:
        """Compute 1 − macro-F1 and 1 − accuracy, and the error rates of the scores if bona fide is a class.

        The pass without augmentation also stores a known-class score of each trial in the detector,
        for a threshold.
        """
        logits = validated.outputs["logits"]
        confusion = metrics.confusion_matrix(validated.targets, logits.argmax(1), logits.shape[1])
        values = {
            F1_ERROR.column(validated.name): 1 - metrics.macro_f1(confusion),
            ERROR.column(validated.name): 1 - metrics.accuracy(confusion),
        }
        if validated.name == "wo_aug":  # the checkpoint of the epoch stores the scores of this pass
            provenance = self.detector.provenance
            labels = {**provenance.class_labels, "known": KnownThreshold.of_logits(logits).to_dict()}
            self.detector.provenance = replace(provenance, class_labels=labels)
        if self.has_bonafide:
            values |= super().figures(validated)
        return values


class SourceTracing(Task):
    """Training of a detector that names the class of a trial, such as the generator of a fake.

    Classes are the values of a field in the training set in alphabetical order, with bona fide as
    the last if it is a class. Development trials of other classes are omitted with a note.
    ``train.loss`` is ``cross_entropy``, ``am_softmax`` or ``aam_softmax``; the measures are
    ``trace_f1_error`` = 1 − macro-F1 and ``trace_error`` = 1 − accuracy.

    Args:
        field: the field of a trial that names its class, such as ``attack``, ``attack_type``,
            ``vocoder``, or a column of a list of your own.
        bonafide: whether bona fide is a class too; the detector then also gives a score of bona
            fide.
        aliases: value of the field → the class that it counts as, such as ``{A16: A04, A19: A06}``
            for attacks of ASVspoof 2019 that are the same algorithm.
        min_trials: smallest number of training trials of a class, 10 in the baseline of MLAAD;
            smaller classes are omitted.

    Raises:
        InputError: if the recipe lacks what the task needs.
    """

    judgement = "classes"

    def __init__(
        self,
        recipe: Recipe,
        field: str = "attack",
        bonafide: bool = False,
        aliases: Mapping[str, str] | None = None,
        min_trials: Annotated[int, Field(ge=1)] = 10,
    ) -> None:
        super().__init__(recipe)
        self.field = field
        self.bonafide = bonafide
        self.aliases = dict(aliases or {})
        self.min_trials = min_trials
        self.numbers: dict[str, int] = {}  # name of a class → its index
        self.measures = (F1_ERROR, ERROR, *(ERROR_RATES if bonafide else ()))

    def reads(self, part: SetName) -> tuple[str, ...]:
        return (SPOOF, BONAFIDE) if self.bonafide else (SPOOF,)

    def trials(self, part: SetName) -> list[Trial]:
        """List the trials of ``part`` that have a class; a note names the classes of the others.

        Raises:
            InputError: if a trial has no value of the field, or if no trials are left.
        """
        trials = super().trials(part)
        remedy = "name another `train.task.field`, or fill it in"
        names = class_names(trials, self.field, self.aliases, part, remedy)
        sizes = Counter(names)
        if part == "train":
            self._choose_classes(sizes)  # sets ``numbers``, so the training trials must be listed first
        other_names = {name: size for name, size in sizes.items() if name not in self.numbers}
        if other_names:
            reason = f"has fewer than {self.min_trials} trials" if part == "train" else "is not one of training"
            described = [f"{name} ({size})" for name, size in sorted(other_names.items())]
            omitted = f"{pluralise(sum(other_names.values()), 'trial')} of {part} omitted"
            print_note(f"{omitted}, because their {self.field} {reason}: {join_names(described)}")
        kept_trials = [trial for trial, name in zip(trials, names) if name in self.numbers]
        if not kept_trials:
            raise InputError(
                f"none of the trials of {part} has a class of training ({self.field}: {join_names(self.classes)}): use a "
                "development set with the same classes"
            )
        return kept_trials

    def _choose_classes(self, class_sizes: Mapping[str, int]) -> None:
        names = sorted(name for name, size in class_sizes.items() if size >= self.min_trials and name != BONAFIDE)
        if class_sizes.get(BONAFIDE, 0) >= self.min_trials:
            names.append(BONAFIDE)
        if len(names) < 2:
            raise InputError(
                f"the task source_tracing needs at least two classes with {pluralise(self.min_trials, 'training trial')} each, "
                f"and the field {self.field} has {join_names(names) or 'none'}: name another `train.task.field`, or lower "
                "`train.task.min_trials`"
            )
        self.classes = tuple(names)
        self.numbers = {name: number for number, name in enumerate(names)}

    def target(self, trial: Trial) -> int | None:
        return self.numbers.get(class_name(trial, self.field, self.aliases) or "")

    def objective(self, detector: Detector) -> Objective:
        """Make the objective, and store field and aliases in ``detector`` for evaluation."""
        labels = {"field": self.field, "aliases": self.aliases}
        detector.provenance = replace(detector.provenance, class_labels=labels)  # evaluation needs them
        return SourceTracingObjective(detector, self.recipe)

    def check(self, detector: Detector, trials: Trials) -> None:
        super().check(detector, trials)
        if detector.backend.score_rule == "cosine":
            raise InputError(
                "`train.loss` gives cosines to one vector, no logits of classes: use cross_entropy, am_softmax or "
                "aam_softmax"
            )
