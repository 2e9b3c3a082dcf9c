"""The objective of training: a batch, mixed by Specmix if the recipe says so, and its loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.audio.waveform import SAMPLE_RATE
from nes2net.augment.latent import LatentAugmentation
from nes2net.augment.specmix import Specmix
from nes2net.backends.base import Backend
from nes2net.backends.heads import HEADS, AngularHead, CosineHead, OneClassHead, P2SGradHead, PrototypeHead
from nes2net.detector import Detector
from nes2net.distillation import Similarity, TeacherStudent
from nes2net.errors import InputError
from nes2net.recipes.segments import SegmentsConfig
from nes2net.recipes.train import TrainConfig
from nes2net.training.losses import (
    AdditiveMarginSoftmax,
    AngularSoftmax,
    BinaryFocal,
    Criterion,
    Distillation,
    OneClassSoftmax,
    P2SGrad,
    Prototypes,
    WeightedCrossEntropy,
)
from nes2net.training.sampling import stream_of_epoch
from nes2net.training.segment_losses import SegmentLosses

# They keep the draws apart from other streams of the same (seed, epoch).
_SPECMIX_STREAM, _LATENT_STREAM = 0x5BEC, 0x1A7E
#: The head of each loss that compares embeddings with vectors.
HEAD_OF = {
    "angular_softmax": "angular",
    "am_softmax": "cosine",
    "oc_softmax": "one_class",
    "p2sgrad": "p2sgrad",
    "prototypes": "prototypes",
}


class Objective(nn.Module):
    """Loss of a batch for ``detector``.

    :meth:`forward` uses everything with parameters, so DistributedDataParallel wraps this module.
    With ``train.freeze_frontend`` the front-end of ``detector`` no longer asks for gradients, with
    ``train.freeze_layers`` its lower part does not, with ``train.optimizer: logistic`` nothing but
    the last layer of ``detector`` does.

    Args:
        specmix: settings of Specmix; None mixes nothing.
        seed: seed of the draws of Specmix and of latent augmentation.
        latent: settings of latent augmentation; None perturbs nothing.
        segments: losses of frames, beside that of the utterance; none if None or without resolutions.

    >>> model = {"frontend": {"name": "lps", "num_bins": 64}, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
    >>> objective = Objective(Detector.from_config(model), TrainConfig())
    >>> numerators = objective(torch.randn(2, 16000), torch.tensor([0, 1]))
    >>> numerators.shape, round(objective.criterion.weight_of(torch.tensor([0, 1])).item(), 6)
    (torch.Size([1]), 1.0)

    Raises:
        InputError: if the losses, Specmix, latent augmentation or freezing the front-end do not fit
            the detector.
    """

    def __init__(
        self,
        detector: Detector,
        train: TrainConfig,
        specmix: dict[str, Any] | None = None,
        seed: int = 0,
        *,
        latent: dict[str, Any] | None = None,
        segments: SegmentsConfig | None = None,
    ) -> None:
        super().__init__()
        self.detector, self.seed = detector, seed
        self.criterion = _criterion(train, detector).to(detector.device)
        self.segments: SegmentLosses | None = None
        if segments is not None and segments.resolutions:
            self.segments = SegmentLosses(segments, detector).to(detector.device)
        self.freeze_epochs = math.inf if train.freeze_frontend else train.freeze_frontend_epochs
        self.frozen, self.frozen_mode = train.freeze_frontend, train.frontend_mode
        if self.freeze_epochs and not any(p.requires_grad for p in detector.frontend.parameters()):
            name = detector.frontend.config["name"]
            key = "freeze_frontend" if train.freeze_frontend else "freeze_frontend_epochs"
            raise InputError(f"front-end '{name}' has nothing to train: leave `train.{key}` out")
        self.specmix = None
        if specmix is not None:
            self.specmix = Specmix.of(**specmix)
            _check_has_spectrogram(detector)
        self.latent = None
        if latent is not None:
            self.latent = LatentAugmentation.of(**latent)
            _check_has_embeddings(detector)
        if train.freeze_frontend:
            detector.frontend.requires_grad_(False)
        if train.freeze_layers is not None:
            _freeze_layers(detector, train.freeze_layers)
        if train.optimizer == "logistic":
            detector.requires_grad_(False)
            detector.backend.last_layer.requires_grad_(True)

    def trained_parameters(self) -> list[nn.Parameter]:
        """List what the optimiser has to do with: all parameters but those that are never trained.

        These are a frozen front-end or its frozen layers, the base of an adapted one, a teacher, or
        with ``train.optimizer: logistic`` all but the last layer.
        """
        return [parameter for parameter in self.detector.parameters() if parameter.requires_grad]

    def begin_training(self, epoch: int) -> None:
        """Enter train mode for ``epoch``; a frozen front-end is in the mode of ``train.frontend_mode``."""
        self.train()
        self.frozen = epoch <= self.freeze_epochs
        self.detector.frontend.train(not self.frozen or self.frozen_mode == "train")

    def mixed(self, waveforms: Tensor, targets: Tensor, epoch: int, step: int, part: int = 0) -> tuple[Tensor, Tensor]:
        """Prepare inputs and targets for :meth:`forward`.

        Without Specmix they stay as they are. With it, waveforms become spectrograms B×T×F and
        targets B×2, both mixed. Specmix draws from one stream per (seed, epoch, step, ``part``), so
        a resumed run draws what an uninterrupted one draws. Its front-ends have no parameters.
        """
        if self.specmix is None:
            return waveforms, targets
        generator = torch.Generator().manual_seed(self._seed_of_part(epoch, step, part, _SPECMIX_STREAM))
        spectrograms = self._features(waveforms)
        assert isinstance(spectrograms, Tensor)  # _check_has_spectrogram refuses all hidden states
        return self.specmix(spectrograms, targets, generator)[:2]

    def latent_seed(self, epoch: int, step: int, part: int = 0) -> int | None:
        """Seed of the latent augmentation of a part of a step; None if the recipe has none.

        There is one for each (seed, epoch, step, ``part``), as for Specmix.
        """
        return None if self.latent is None else self._seed_of_part(epoch, step, part, _LATENT_STREAM)

    def _seed_of_part(self, epoch: int, step: int, part: int, stream: int) -> int:
        parts = [part] if part else []
        sequence = np.random.SeedSequence(stream_of_epoch(self.seed, epoch, step, stream, *parts))
        return int(sequence.generate_state(1)[0])

    def frame_targets(self, labels: Tensor | None, num_samples: int) -> list[Tensor]:
        """Labels B×T of the frames that have a loss, by resolution, for ``labels`` of frames of 10 ms.

        Args:
            num_samples: of the waveforms.
        """
        if self.segments is None or labels is None:
            return []
        return self.segments.targets(labels, self.detector.num_segments(num_samples))

    def forward(
        self,
        inputs: Tensor,
        targets: Tensor,
        iteration: int | None = None,
        latent_seed: int | None = None,
        scores: Tensor | None = None,
        frames: Sequence[Tensor] = (),
    ) -> Tensor:
        """Compute the numerators of the losses: of the utterance, then of the frames by resolution.

        The denominators are ``criterion.weight_of(targets)`` and ``segments.weights(frames)``. The
        loss is the sum of the quotients. The factor of the utterance's loss is in its numerator, and
        the penalty of the aggregation, if it has one, is added to the loss of the batch.

        Args:
            inputs: inputs and ``targets`` are those of :meth:`mixed`.
            iteration: number of the optimisation step, from 0 over all epochs.
            latent_seed: that of :meth:`latent_seed`; None leaves the embeddings as they are.
            scores: B×S, scores of other systems, for a detector that fuses them.
            frames: those of :meth:`frame_targets`.
        """
        of_frames: list[Tensor] = []
        with _enough_for_statistics("a part of a step", "lower `train.accumulate` or raise `train.batch_size`"):
            features = self._features(inputs) if self.specmix is None else inputs
            if self.segments is None:
                outputs = self._outputs(features, scores, targets, latent_seed)
            else:
                segments, outputs = self._segments_and_outputs(features, targets, latent_seed)
                of_frames = self.segments.numerators(segments, frames)
            numerator, weight = self.criterion.parts(outputs, targets, iteration, self._durations(inputs))
        if self.segments is not None:
            factor = self.segments.utterance_weight
            numerator = numerator * factor if factor else torch.zeros_like(numerator)
        aggregation = self.detector.aggregation
        penalty, aggregation.penalty = aggregation.penalty, None  # kept, its graph would stay in memory
        return torch.stack([numerator if penalty is None else numerator + penalty * weight, *of_frames])

    def validation_parts(
        self, waveforms: Tensor, targets: Tensor, scores: Tensor | None = None, frames: Sequence[Tensor] = ()
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Compute the loss of ``waveforms`` B×N for ``targets`` (B,), scores (B,), and those of frames.

        The scores of frames are B×T by resolution, for each of ``frames``, those of
        :meth:`frame_targets`. ``scores`` are those of other systems, as for :meth:`forward`.

        Nothing is mixed, and the margin of angular softmax is that at the end of its annealing.
        """
        remedy = "take `validation.mode=eval`, or another `train.batch_size`, so that the last batch has more"
        with _enough_for_statistics("a batch of the development set", remedy):
            features, segments = self._features(waveforms), dict[float, Tensor]()
            if self.segments is None:
                outputs = self._outputs(features, scores)
            else:
                segments, outputs = self._segments_and_outputs(features)
        self.detector.aggregation.penalty = None  # of train mode, in which nothing is trained here
        loss = self.criterion(outputs, targets, durations=self._durations(waveforms))
        backend, of_frames = self.detector.backend, list[Tensor]()
        if self.segments is not None:
            loss = loss * self.segments.utterance_weight
            of_each = self.segments.numerators(segments, frames)
            for ms, of, numerator, weight in zip(
                self.segments.resolutions, frames, of_each, self.segments.weights(frames)
            ):
                loss = loss + numerator / weight if weight else loss
                logits = segments[ms][:, : of.shape[1]]
                of_frames.append(backend.scores(logits.flatten(0, 1)).unflatten(0, of.shape))
        return loss, backend.scores(self.criterion.logits(outputs)), of_frames

    def _segments_and_outputs(
        self, features: Tensor | list[Tensor], targets: Tensor | None = None, latent_seed: int | None = None
    ) -> tuple[dict[float, Tensor], Tensor]:
        """Compute the logits of frames, and what :meth:`_outputs` computes, in one pass of the back-end."""
        backend = self.detector.backend
        segments, embeddings = backend.segments_and_embedding(features, self.detector.frame_ms)
        return segments, self._of_embeddings(embeddings, targets, latent_seed)

    def _features(self, waveforms: Tensor) -> Tensor | list[Tensor]:
        """Compute the back-end's input: B×T×D, or all hidden states."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.detector.hidden_states(waveforms)
        return self.detector.features(states)

    def _durations(self, inputs: Tensor) -> Tensor:
        """Seconds (B,) of ``inputs``, waveforms or, with Specmix, spectrograms."""
        samples = inputs.shape[1] * (1 if self.specmix is None else self.detector.frontend.hop_length)
        return torch.full((len(inputs),), samples / SAMPLE_RATE, device=inputs.device)

    def _outputs(
        self,
        features: Tensor | list[Tensor],
        scores: Tensor | None = None,
        targets: Tensor | None = None,
        latent_seed: int | None = None,
    ) -> Tensor:
        """Compute embeddings or logits, whichever the loss takes."""
        backend = self.detector.backend
        if not self.criterion.takes_embeddings and latent_seed is None:
            return self.detector.logits(features, scores)
        return self._of_embeddings(backend.embed(features), targets, latent_seed)

    def _of_embeddings(self, embeddings: Tensor, targets: Tensor | None, latent_seed: int | None) -> Tensor:
        """Perturb ``embeddings`` if asked to; these or their logits, whichever the loss takes."""
        if self.latent is not None and latent_seed is not None and targets is not None:
            embeddings = self.latent(embeddings, targets, np.random.default_rng(latent_seed))
        return embeddings if self.criterion.takes_embeddings else self.detector.backend.last_layer(embeddings)


@contextmanager
def _enough_for_statistics(what: str, remedy: str) -> Iterator[None]:
    """Explain the error of PyTorch's batch normalisation about a single value in each channel."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(f"{what} has a single utterance, too few for batch statistics: {remedy}") from error


def _criterion(train: TrainConfig, detector: Detector) -> Criterion:
    if train.loss == "cross_entropy":
        return WeightedCrossEntropy(train.class_weights, normalize=train.normalize_class_weights)
    if train.loss == "focal":
        return BinaryFocal(train.focal_gamma, train.focal_alpha, train.label_smoothing)
    if train.loss == "distillation":
        if (
            not isinstance(detector.frontend, TeacherStudent)
            or detector.backend.config["name"] != "one_class_distillation"
        ):
            raise InputError(
                "`train.loss=distillation` needs a teacher and a student: set `model.frontend.name=teacher_student` and "
                "`model.backend.name=one_class_distillation`"
            )
        similarity = detector.backend.last_layer
        assert isinstance(similarity, Similarity)
        return Distillation(similarity, train.distillation)
    head = detector.backend.last_layer
    needed = HEAD_OF[train.loss]
    if not isinstance(head, HEADS[needed]):
        theirs = next((name for name, kind in HEADS.items() if type(head) is kind), type(head).__name__)
        raise InputError(
            f"`train.loss={train.loss}` needs the head {needed}, the back-end has {theirs}: set "
            f"`model.backend.head={needed}`, or take `train.loss=cross_entropy`"
        )
    match head:
        case AngularHead():
            if head.out_features != 2:
                raise InputError(
                    f"angular softmax needs 2 logits, the back-end has {head.out_features}: set num_logits=2"
                )
            return AngularSoftmax(
                head,
                train.class_weights,
                margin=train.angular_margin,
                lambda_min=train.angular_lambda_min,
                lambda_max=train.angular_lambda_max,
                lambda_decay=train.angular_lambda_decay,
            )
        case CosineHead():
            return AdditiveMarginSoftmax(head.in_features, train.am_scale, _margin(train), head=head)
        case OneClassHead():
            margins = train.oc_bonafide_margin, train.oc_spoof_margin
            return OneClassSoftmax(head.in_features, train.oc_scale, *margins, head=head)
        case P2SGradHead():
            return P2SGrad(head.in_features, head=head)
        case PrototypeHead():
            penalties = train.prototype_collapse, train.prototype_separation
            return Prototypes(head.in_features, train.prototype_scale, train.prototype_margin, *penalties, head=head)
    raise AssertionError(needed)  # each head of HEAD_OF has its case


def _freeze_layers(detector: Detector, count: int) -> None:
    """Freeze the first ``count`` transformer layers of the front-end and all that lies before them."""
    frontend = detector.frontend
    layers, name = frontend.transformer_layers, frontend.config["name"]
    if not layers:
        raise InputError(f"front-end '{name}' has no transformer layers: leave `train.freeze_layers` out")
    if count > len(layers):
        raise InputError(
            f"`train.freeze_layers={count}` is more than the {len(layers)} transformer layers of front-end '{name}'"
        )
    trained = {id(p) for part in (*list(layers)[count:], *frontend.after_layers) for p in part.parameters()}
    for parameter in frontend.parameters():
        if id(parameter) not in trained:
            parameter.requires_grad_(False)


def _margin(train: TrainConfig) -> float | tuple[Literal["duration"], float, float]:
    margin = train.am_margin
    return ("duration", margin["slope"], margin["intercept"]) if isinstance(margin, dict) else margin


def with_head(model: dict[str, Any], loss: str) -> dict[str, Any]:
    """Give the back-end of ``model`` the head that ``loss`` needs, unless ``model`` names one.

    >>> with_head({"backend": "aasist"}, "oc_softmax")
    {'backend': {'name': 'aasist', 'head': 'one_class'}}
    >>> with_head({"backend": "aasist"}, "cross_entropy")
    {'backend': 'aasist'}
    """
    if loss not in HEAD_OF:
        return model
    backend = model.get("backend", {})
    options = {"name": backend} if isinstance(backend, str) else backend
    return {**model, "backend": {**options, "head": HEAD_OF[loss]}} if "head" not in options else model


def _check_has_embeddings(detector: Detector) -> None:
    """Refuse a back-end that makes its logits without a last layer over embeddings."""
    backend = detector.backend
    if not backend.last_layer_name or type(backend).embed is Backend.embed:
        raise InputError(
            f"latent augmentation perturbs the input of a last layer, and back-end '{backend.config['name']}' has no "
            "such layer of its own: leave `augment.latent` out"
        )


def _check_has_spectrogram(detector: Detector) -> None:
    """Refuse features without an axis of frequency, such as those of wav2vec 2.0 and WavLM."""
    frontend, name = detector.frontend, detector.frontend.config["name"]
    learned = any(p.requires_grad for p in frontend.parameters())
    if learned or frontend.out_dim == 1 or detector.backend.wants_layers == "all":
        raise InputError(
            f"Specmix mixes bands of a spectrogram, but '{detector.backend.config['name']}' after '{name}' takes none: "
            "take the front-end lps or lfcc, or leave `augment.specmix` out"
        )
