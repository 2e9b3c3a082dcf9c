"""What a training step minimises: a batch through the detector, mixed by Specmix on the way where the recipe says so, and its loss."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.augment.specmix import Specmix
from nes2net.backends.base import bonafide_scores
from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.recipes.recipe import Recipe
from nes2net.training.losses import AngularSoftmax, BinaryFocal, Criterion, WeightedCrossEntropy
from nes2net.training.sampling import stream_of_epoch

_SPECMIX_STREAM = 0x5BEC  # keeps Specmix's draws apart from other streams of the same (seed, epoch)


class Objective(nn.Module):
    """Loss of a batch under ``recipe``; ``steps_per_epoch`` is what the annealing of angular softmax counts with.

    Everything that has parameters is used in :meth:`forward`, so that this module is what DistributedDataParallel wraps.

    >>> from nes2net.recipes.recipe import Recipe
    >>> model = {"frontend": {"name": "lps", "num_bins": 64}, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
    >>> objective = Objective(Recipe(model=model), Detector.from_config(model), steps_per_epoch=10)
    >>> numerator = objective(torch.randn(2, 16000), torch.tensor([0, 1]))
    >>> numerator.shape, round(objective.criterion.weight_of(torch.tensor([0, 1])).item(), 6)
    (torch.Size([]), 1.0)

    Raises:
        InputError: the loss, Specmix or the freezing of the front-end does not fit the detector.
    """

    def __init__(self, recipe: Recipe, detector: Detector, steps_per_epoch: int) -> None:
        super().__init__()
        self.detector, self.seed, self.steps_per_epoch = detector, recipe.seed, steps_per_epoch
        self.criterion = _criterion(recipe, detector).to(detector.device)
        self.freeze_epochs = recipe.train.freeze_frontend_epochs
        self.frozen = False
        if self.freeze_epochs and not any(p.requires_grad for p in detector.frontend.parameters()):
            name = detector.frontend.config["name"]
            raise InputError(f"front-end '{name}' has nothing to train: leave `train.freeze_frontend_epochs` out")
        self.specmix = None
        if recipe.augment.specmix is not None:
            self.specmix = Specmix.of(**recipe.augment.specmix)
            _check_has_spectrogram(detector)

    def begin_training(self, epoch: int) -> None:
        """Train mode for ``epoch``; a front-end that is frozen in it stays in eval mode."""
        self.train()
        self.frozen = epoch <= self.freeze_epochs
        self.detector.frontend.train(not self.frozen)

    def mixed(self, waveforms: Tensor, targets: Tensor, epoch: int, step: int, part: int = 0) -> tuple[Tensor, Tensor]:
        """Inputs and targets for :meth:`forward`: as they are, or spectrograms B×T×F and targets B×2 mixed by Specmix.

        Specmix draws from one stream per (seed, epoch, step), and ``part`` of the step where it has several, so that a resumed run is
        the same as an uninterrupted one. The front-end has no parameters there.
        """
        if self.specmix is None:
            return waveforms, targets
        parts = [part] if part else []
        stream = np.random.SeedSequence(stream_of_epoch(self.seed, epoch, step, _SPECMIX_STREAM, *parts))
        generator = torch.Generator().manual_seed(int(stream.generate_state(1)[0]))
        return self.specmix(self._features(waveforms), targets, generator)[:2]

    def forward(self, inputs: Tensor, targets: Tensor, iteration: int | None = None) -> Tensor:
        """Numerator of the loss of what :meth:`mixed` gave; its denominator is ``criterion.weight_of(targets)``.

        ``iteration`` counts optimisation steps from 0 over all epochs.
        """
        try:
            features = self._features(inputs) if self.specmix is None else inputs
            return self.criterion.parts(self._outputs(features), targets, iteration)[0]
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):  # of PyTorch's batch normalisation
                raise
            raise InputError(
                "a part of a step has one utterance, of which there are no batch statistics: lower `train.accumulate` or raise "
                "`train.batch_size`"
            ) from error

    def validation_parts(self, waveforms: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of ``waveforms`` B×N against ``targets`` (B,), and scores (B,), in one pass.

        Nothing is mixed, and the loss is that of the annealing's end.
        """
        outputs = self._outputs(self._features(waveforms))
        logits = self.detector.backend.angular_head(outputs) if self.criterion.takes_embeddings else outputs
        return self.criterion(outputs, targets), bonafide_scores(logits)

    def _features(self, waveforms: Tensor) -> Tensor | list[Tensor]:
        """What the back-end is given: B×T×D, or all hidden states."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.detector.hidden_states(waveforms)
        return self.detector.features(states)

    def _outputs(self, features: Tensor | list[Tensor]) -> Tensor:
        """Embeddings or logits, whichever the loss takes."""
        backend = self.detector.backend
        return backend.embed(features) if self.criterion.takes_embeddings else backend(features)


def _criterion(recipe: Recipe, detector: Detector) -> Criterion:
    train = recipe.train
    if train.loss == "cross_entropy":
        return WeightedCrossEntropy(train.class_weights)
    if train.loss == "focal":
        return BinaryFocal(train.focal_gamma, train.focal_alpha, train.label_smoothing)
    head = detector.backend.angular_head
    if head is None:
        raise InputError(
            "angular softmax needs a back-end with an angular head: mpif_res2net with head=angular, or take loss=cross_entropy"
        )
    if len(head.weight) != 2:
        raise InputError(
            f"angular softmax is over two classes, the back-end has {len(head.weight)} logits: set num_logits=2"
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
    learned = any(p.requires_grad for p in frontend.parameters())
    if learned or frontend.out_dim == 1 or detector.backend.wants_layers == "all":
        raise InputError(
            f"Specmix mixes bands of a spectrogram, which '{detector.backend.config['name']}' after '{name}' does not have: "
            "take the front-end lps or lfcc, or leave `augment.specmix` out"
        )
