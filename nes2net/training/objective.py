"""What a training step minimises: a batch through the detector, mixed by Specmix on the way where the recipe says so, and its loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.augment.specmix import Specmix
from nes2net.config import Recipe
from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.registry import did_you_mean
from nes2net.training.losses import AngularSoftmax, WeightedCrossEntropy

LOSSES = ("cross_entropy", "angular_softmax")
_SPECMIX_STREAM = 0x5BEC  # keeps Specmix's draws apart from other streams of the same (seed, epoch)


class Objective:
    """Loss of a batch under ``recipe``; ``steps_per_epoch`` is what the annealing of angular softmax counts with.

    Raises:
        InputError: the loss or Specmix does not fit the detector.
    """

    def __init__(self, recipe: Recipe, detector: Detector, steps_per_epoch: int) -> None:
        self.detector, self.seed, self.steps_per_epoch = detector, recipe.seed, steps_per_epoch
        self.criterion = _criterion(recipe, detector).to(detector.device)
        self.specmix = None
        if recipe.augment.specmix is not None:
            self.specmix = Specmix.of(**recipe.augment.specmix)
            _check_has_spectrogram(detector)

    def training_loss(self, waveforms: Tensor, targets: Tensor, epoch: int, step: int) -> Tensor:
        """Loss of ``waveforms`` B×N and ``targets`` (B,), batch ``step`` of ``epoch``, both from 0.

        Specmix draws from one stream per (seed, epoch, step), so that a resumed run is the same as an uninterrupted one.
        """
        iteration = epoch * self.steps_per_epoch + step
        if self.specmix is None:
            return self.criterion(self._outputs(waveforms), targets, iteration)
        stream = np.random.SeedSequence([self.seed, epoch, step, _SPECMIX_STREAM])
        generator = torch.Generator().manual_seed(int(stream.generate_state(1)[0]))
        mixed = self.specmix(self._features(waveforms), targets, generator)
        return self.criterion(self._head(mixed.spectrograms), mixed.targets, iteration)

    def validation_loss(self, waveforms: Tensor, targets: Tensor) -> Tensor:
        """Loss without mixing, with the margin of the annealing's end."""
        return self.criterion(self._outputs(waveforms), targets)

    def _outputs(self, waveforms: Tensor) -> Tensor:
        return self._head(self._features(waveforms)) if self.criterion.takes_embeddings else self.detector(waveforms)

    def _features(self, waveforms: Tensor) -> Tensor:
        """What the back-end is given, B×T×D."""
        detector = self.detector
        return detector.aggregation(
            detector.frontend(waveforms, layers=detector.layers, final_norm=detector.final_norm)
        )

    def _head(self, features: Tensor) -> Tensor:
        backend = self.detector.backend
        return backend.embed(features) if self.criterion.takes_embeddings else backend(features)


def _criterion(recipe: Recipe, detector: Detector) -> nn.Module:
    train = recipe.train
    if train.loss not in LOSSES:
        raise InputError(f"loss is one of {', '.join(LOSSES)}, not '{train.loss}'{did_you_mean(train.loss, LOSSES)}")
    if train.loss == "cross_entropy":
        return WeightedCrossEntropy(train.class_weights)
    head = getattr(detector.backend, "head", None)
    if getattr(head, "weight", None) is not None and len(head.weight) != 2:
        raise InputError(
            f"angular softmax is over two classes, the back-end has {len(head.weight)} logits: set num_logits=2"
        )
    if not hasattr(detector.backend, "embed") or isinstance(head, nn.Linear):
        raise InputError(
            "angular softmax needs a back-end with an angular head: mpif_res2net with head=angular, or take loss=cross_entropy"
        )
    return AngularSoftmax(
        head,
        train.class_weights,
        margin=train.angular_margin,
        lambda_min=train.angular_lambda_min,
        lambda_max=train.angular_lambda_max,
        lambda_decay=train.angular_lambda_decay,
    )


def _check_has_spectrogram(detector: Detector) -> None:
    """Bands of frequency are bands of a spectrogram: what wav2vec 2.0 or WavLM learn has no such axis."""
    frontend, name = detector.frontend, detector.frontend.config["name"]
    all_layers = getattr(detector.backend, "wants_layers", "last") == "all"
    if any(p.requires_grad for p in frontend.parameters()) or frontend.out_dim == 1 or all_layers:
        raise InputError(
            f"Specmix mixes bands of a spectrogram, which '{detector.backend.config['name']}' after '{name}' does not have: "
            "take the front-end lps or lfcc, or leave augment.specmix out"
        )
