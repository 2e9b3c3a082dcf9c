"""The objective of training: a batch, mixed by Specmix if the recipe says so, and its loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nes2net.augment.specmix import Specmix
from nes2net.backends.heads import AngularHead
from nes2net.detector import Detector
from nes2net.errors import InputError
from nes2net.recipes.recipe import TrainConfig
from nes2net.training.losses import AngularSoftmax, BinaryFocal, Criterion, WeightedCrossEntropy
from nes2net.training.sampling import stream_of_epoch

_SPECMIX_STREAM = 0x5BEC  # keeps Specmix's draws apart from other streams of the same (seed, epoch)


class Objective(nn.Module):
    """Loss of a batch for ``detector``.

    :meth:`forward` uses everything with parameters, so DistributedDataParallel wraps this module.
    With ``train.freeze_frontend`` the front-end of ``detector`` no longer asks for gradients.

    Args:
        specmix: settings of Specmix; None mixes nothing.
        seed: seed of Specmix's draws.

    >>> model = {"frontend": {"name": "lps", "num_bins": 64}, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
    >>> objective = Objective(Detector.from_config(model), TrainConfig())
    >>> numerator = objective(torch.randn(2, 16000), torch.tensor([0, 1]))
    >>> numerator.shape, round(objective.criterion.weight_of(torch.tensor([0, 1])).item(), 6)
    (torch.Size([]), 1.0)

    Raises:
        InputError: if the loss, Specmix or freezing the front-end does not fit the detector.
    """

    def __init__(
        self, detector: Detector, train: TrainConfig, specmix: dict[str, Any] | None = None, seed: int = 0
    ) -> None:
        super().__init__()
        self.detector, self.seed = detector, seed
        self.criterion = _criterion(train, detector).to(detector.device)
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
        if train.freeze_frontend:
            detector.frontend.requires_grad_(False)

    def trained_parameters(self) -> list[nn.Parameter]:
        """List what the optimiser has to do with: all parameters but those of a front-end that is never trained."""
        never = math.isinf(self.freeze_epochs)
        left_out = {id(parameter) for parameter in self.detector.frontend.parameters()} if never else set()
        return [parameter for parameter in self.detector.parameters() if id(parameter) not in left_out]

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
        parts = [part] if part else []
        stream = np.random.SeedSequence(stream_of_epoch(self.seed, epoch, step, _SPECMIX_STREAM, *parts))
        generator = torch.Generator().manual_seed(int(stream.generate_state(1)[0]))
        spectrograms = self._features(waveforms)
        assert isinstance(spectrograms, Tensor)  # _check_has_spectrogram refuses all hidden states
        return self.specmix(spectrograms, targets, generator)[:2]

    def forward(self, inputs: Tensor, targets: Tensor, iteration: int | None = None) -> Tensor:
        """Compute the numerator of the loss; the denominator is ``criterion.weight_of(targets)``.

        The penalty of the aggregation, if it has one, is added to the loss of the batch.

        Args:
            inputs: inputs and ``targets`` are those of :meth:`mixed`.
            iteration: number of the optimisation step, from 0 over all epochs.
        """
        with _enough_for_statistics("a part of a step", "lower `train.accumulate` or raise `train.batch_size`"):
            features = self._features(inputs) if self.specmix is None else inputs
            numerator, weight = self.criterion.parts(self._outputs(features), targets, iteration)
        aggregation = self.detector.aggregation
        penalty, aggregation.penalty = aggregation.penalty, None  # kept, its graph would stay in memory
        return numerator if penalty is None else numerator + penalty * weight

    def validation_parts(self, waveforms: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the loss of ``waveforms`` B×N for ``targets`` (B,), and scores (B,), in one pass.

        Nothing is mixed, and the margin of angular softmax is that at the end of its annealing.
        """
        remedy = "take `validation.mode=eval`, or another `train.batch_size`, so that the last batch has more"
        with _enough_for_statistics("a batch of the development set", remedy):
            outputs = self._outputs(self._features(waveforms))
        return self.criterion(outputs, targets), self.detector.backend.scores(self.criterion.logits(outputs))

    def _features(self, waveforms: Tensor) -> Tensor | list[Tensor]:
        """Compute the back-end's input: B×T×D, or all hidden states."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.detector.hidden_states(waveforms)
        return self.detector.features(states)

    def _outputs(self, features: Tensor | list[Tensor]) -> Tensor:
        """Compute embeddings or logits, whichever the loss takes."""
        backend = self.detector.backend
        if not self.criterion.takes_embeddings:
            return backend(features)
        return backend.embed(features)


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
    head = detector.backend.last_layer
    if not isinstance(head, AngularHead):
        raise InputError(
            "angular softmax needs an angular head: set `model.backend.head=angular`, or take "
            "`train.loss=cross_entropy`"
        )
    if len(head.weight) != 2:
        raise InputError(f"angular softmax needs 2 logits, the back-end has {len(head.weight)}: set num_logits=2")
    return AngularSoftmax(
        head,
        train.class_weights,
        margin=train.angular_margin,
        lambda_min=train.angular_lambda_min,
        lambda_max=train.angular_lambda_max,
        lambda_decay=train.angular_lambda_decay,
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
