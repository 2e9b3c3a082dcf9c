"""Train on labels of frames besides labels of utterances, to find where an utterance is fake."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nes2net.data.corpora.trial import Trials
from nes2net.data.registry import corpora
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, join_names, pluralise, refuse
from nes2net.metrics import compute_eer
from nes2net.models.backends.base import SegmentLogits
from nes2net.training.dataset import FRAMES, Tensors
from nes2net.training.frame_labels import FrameLabels, pool_targets
from nes2net.training.losses.by_name import create_loss
from nes2net.training.measures import ERROR_RATES, Figures, Measure, Validated, split_by_class
from nes2net.training.objective import Features, Objective, Outcome, StepPart
from nes2net.training.recipes.data import SetName
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.tasks.task import Task

_LABEL_MS = 10  # length in ms of the frame to which a label belongs


class SegmentObjective(Objective):
    """The objective that adds losses of frames to the loss of the utterance: one for each resolution.

    Each loss is averaged over all labelled frames of a batch; as published, the longer of logits
    and labels is cut. :meth:`prepare_extra_tensors` returns labels B×T by resolution in ms, −1 without a label; the
    other methods get them as extra tensors.

    Raises:
        InputError: as :class:`Objective`, if the detector has no frame scores of a resolution, or
            if the loss of the frames does not fit the detector's logits.

    >>> import torch
    >>> recipe = Recipe(segments={"resolutions": [20]})
    >>> detector = Detector.from_config({"frontend": {"name": "lps", "hop_length": 320}, "backend": "mean_linear"})
    >>> objective = SegmentObjective(detector, recipe)
    >>> extra_tensors = objective.prepare_extra_tensors({"frames": torch.ones(2, 100, dtype=torch.int8)}, 16000)
    >>> extra_tensors["20"].shape, [round(weight, 3) for weight in objective.denominators(torch.tensor([0, 1]), extra_tensors)]
    (torch.Size([2, 45]), [1.0, 45.0])
    """

    uses_all_weights = False  # with `segments.utterance_weight` 0, the pooling has no gradient

    def __init__(self, detector: Detector, recipe: Recipe) -> None:
        super().__init__(detector, recipe)
        segments = recipe.segments
        self.resolutions = list(segments.resolutions)
        self.utterance_weight = segments.utterance_weight
        name = detector.backend.config["name"]
        frame_ms = detector.frame_ms
        unknown = [ms for ms in self.resolutions if ms not in detector.resolutions]
        refuse(
            (
                not detector.resolutions,
                f"back-end '{name}' gives one score an utterance: remove `segments.resolutions`, or use a back-end "
                "that gives scores of frames, such as nes2net_x with pool=null",
            ),
            (
                frame_ms % _LABEL_MS,
                f"the front-end '{detector.frontend.config['name']}' has a frame every {frame_ms:g} ms, but labels are "
                f"of {_LABEL_MS} ms: set a hop that is a multiple of it",
            ),
            (
                unknown,
                f"`segments.resolutions` has {_join(unknown)} ms, and back-end '{name}' scores frames of "
                f"{_join(detector.resolutions)} ms: choose among these",
            ),
        )
        self.frame_criterion = create_loss(segments.loss, detector.backend, "segments.loss")
        if self.frame_criterion.takes_embeddings:
            raise InputError("`segments.loss` compares embeddings, and frames have logits: use a loss of logits")

    def prepare_extra_tensors(self, extra_tensors: Tensors, num_samples: int) -> Tensors:
        """Pool the labels of 10-ms frames: resolution in ms → labels B×T, T for ``num_samples``.

        It is empty if no file of the batch could be used.
        """
        if FRAMES not in extra_tensors:
            return {}
        labels = extra_tensors[FRAMES]
        counts = self.detector.num_segments(num_samples)
        return {str(ms): pool_targets(labels, ms // _LABEL_MS)[:, : counts[ms]] for ms in self.resolutions}

    def denominators(self, targets: Tensor, extra_tensors: Mapping[str, Tensor] = {}) -> list[float]:
        """Compute the denominators: of the utterance, then of each resolution (0 without labels)."""
        frame_denominators = [
            self.frame_criterion.weight_of(_class_shares(labels)).item() for labels in extra_tensors.values()
        ]
        return [*super().denominators(targets), *(frame_denominators or [0.0] * len(self.resolutions))]

    def compute_outputs(self, features: Features, part: StepPart) -> tuple[SegmentLogits, Tensor]:
        """Compute the logits B×T×n of frames by resolution in ms, and the utterance loss's input."""
        segments, embeddings = self.detector.backend.segments_and_embedding(features, self.detector.frame_ms)
        return segments, self.outputs_from_embeddings(embeddings, part)

    def numerators(self, computed: Any, part: StepPart) -> list[Tensor]:
        """Compute the weighted numerator of the utterance, then those of the frames of each resolution."""
        segments, outputs = computed
        (utterance_numerator,) = super().numerators(outputs, part)
        if self.utterance_weight:
            utterance_numerator = utterance_numerator * self.utterance_weight
        else:
            utterance_numerator = utterance_numerator.new_zeros(())  # 0 times an infinite loss would be NaN
        frames = self.labelled_frames(segments, part)
        return [utterance_numerator, *(self.frame_criterion.checked_numerator(*of_length) for of_length in frames)]

    def outcome(self, computed: Any, part: StepPart) -> Outcome:
        """Compute the loss of a batch, the scores of utterances, and scores and labels (B·T,) of frames."""
        segments, outputs = computed
        loss, utterance_outputs = super().outcome(outputs, part)
        loss = loss * self.utterance_weight
        all_outputs = dict(utterance_outputs)
        for ms, (logits, shares) in zip(self.resolutions, self.labelled_frames(segments, part)):
            loss = loss + self.frame_criterion(logits, shares)
            all_outputs[f"scores_{ms}"] = self.detector.backend.scores(logits)
            all_outputs[f"labels_{ms}"] = part.extra_tensors[str(ms)].flatten()
        return Outcome(loss, all_outputs)

    def figures(self, validated: Validated) -> Figures:
        """Compute the error rates of utterances, and for each resolution the EER over all labelled frames.

        Raises:
            InputError: as :meth:`Objective.figures`, or if the labelled frames lack a class.
        """
        values = super().figures(validated)
        for ms, measure in zip(self.resolutions, segment_measures(self.resolutions)):
            scores = validated.outputs[f"scores_{ms}"]
            labels = validated.outputs[f"labels_{ms}"]
            is_labelled = labels >= 0
            class_scores = split_by_class(scores[is_labelled], labels[is_labelled] == 1, f"frames of {ms} ms")
            values[measure.column(validated.name)] = compute_eer(*class_scores)[0]
        return values

    def labelled_frames(self, segments: Mapping[float, Tensor], part: StepPart) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the logits (B·T)×n of frames, and the shares (B·T)×2 of their classes, for each resolution.

        Args:
            segments: resolution in ms → logits B×T×n.

        Raises:
            InputError: if the back-end gives logits for fewer frames than there are labels.
        """
        for ms in self.resolutions:
            labels = part.extra_tensors[str(ms)]
            logits = segments[ms]
            if logits.shape[1] < labels.shape[1]:
                raise InputError(
                    f"the back-end gives {logits.shape[1]} frames of {ms} ms, but its num_segments promised at least "
                    f"{labels.shape[1]}: correct num_segments of the back-end"
                )
            yield logits[:, : labels.shape[1]].flatten(0, 1), _class_shares(labels)


def _join(resolutions: Iterable[float]) -> str:
    return join_names([f"{ms:g}" for ms in resolutions], 10)


def _class_shares(labels: Tensor) -> Tensor:
    """Return shares (B·T)×2; both are 0 for a frame without a label, so that losses ignore it."""
    return F.one_hot(labels.flatten().long() + 1, 3)[:, 1:]  # without column 0, which stands for the label −1


def segment_measures(resolutions: Sequence[int]) -> list[Measure]:
    """Make the EER of frames for each of ``resolutions`` in ms; the shortest is also ``segment_eer``."""
    measures = []
    for ms in resolutions:
        name = f"segment_eer_{ms}"
        chosen_by = "segment_eer" if ms == min(resolutions) else name
        measures.append(Measure(chosen_by, f"EER_{ms}ms", key=name))
    return measures


class Segments(Task):
    """Training of a detector that scores both frames and utterances (``segments.resolutions``).

    The measures are the error rates of utterances, ``segment_eer`` of the shortest frames, and the
    EER of other frames, named by their length in ms, such as ``segment_eer_160``.
    """

    objective_class = SegmentObjective
    implied_by = "segments.resolutions"

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.measures = (*ERROR_RATES, *segment_measures(recipe.segments.resolutions))

    def labels(self, part: SetName, trials: Trials) -> FrameLabels:
        """Read the labels of the frames of ``trials``.

        Raises:
            InputError: if no corpus, or none of ``trials``, has labels of segments.
        """
        all_labels = dict[str, NDArray]()
        titles = list[str]()
        labelled = False
        data = self.recipe.data
        for corpus_config in data.parts(part):
            corpus = corpora.get(corpus_config.name)
            titles.append(corpus.title)
            if corpus.segment_labels is not None:
                labelled = True
                labels = corpus.segment_labels(
                    corpus_config.root, corpus_config.split(part), _LABEL_MS, protocols=corpus_config.protocols
                )
                prefix = data.prefix_of(corpus_config, part)
                all_labels |= {f"{prefix}{id}": frame_labels for id, frame_labels in labels.items()}
        of_trial = {trial.id: all_labels[trial.id] for trial in trials if trial.id in all_labels}
        title = " and ".join(titles)
        refuse(
            (
                not labelled,
                f"{title} has labels of whole utterances only: remove `segments.resolutions`, or use a corpus with "
                "labels of segments, such as partialspoof",
            ),
            (
                not of_trial,
                f"{title} has labels of segments, but of none of the {pluralise(trials, 'trial')} of {part}: "
                "name the protocols of the corpus that has these trials",
            ),
        )
        return FrameLabels(of_trial, self.recipe.segments.boundary_share)
