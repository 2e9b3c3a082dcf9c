"""The objective of training: a batch, mixed by Specmix if the recipe says so, and its loss."""

from __future__ import annotations

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
        self.freeze_epochs = train.freeze_frontend_epochs
        self.frozen = False
        if self.freeze_epochs and not any(p.requires_grad for p in detector.frontend.parameters()):
            name = detector.frontend.config["name"]
            raise InputError(f"front-end '{name}' has nothing to train: leave `train.freeze_frontend_epochs` out")
        self.specmix = None
        if specmix is not None:
            self.specmix = Specmix.of(**specmix)
            _check_has_spectrogram(detector)

    def begin_training(self, epoch: int) -> None:
        """Enter train mode for ``epoch``; a front-end that is still frozen stays in eval mode."""
        self.train()
        self.frozen = epoch <= self.freeze_epochs
        self.detector.frontend.train(not self.frozen)

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

    def forward(
        self, inputs: Tensor, targets: Tensor, iteration: int | None = None, scores: Tensor | None = None
    ) -> Tensor:
        """Compute the numerator of the loss; the denominator is ``criterion.weight_of(targets)``.

        Args:
            inputs: inputs and ``targets`` are those of :meth:`mixed`.
            iteration: number of the optimisation step, from 0 over all epochs.
            scores: B×S, scores of other systems, for a detector that fuses them.
        """
        try:
            features = self._features(inputs) if self.specmix is None else inputs
            return self.criterion.parts(self._outputs(features, scores), targets, iteration)[0]
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):  # from PyTorch's batch normalisation
                raise
            raise InputError(
                "a part of a step has a single utterance, too few for batch statistics: lower `train.accumulate` or "
                "raise `train.batch_size`"
            ) from error

    def validation_parts(
        self, waveforms: Tensor, targets: Tensor, scores: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss of ``waveforms`` B×N for ``targets`` (B,), and scores (B,), in one pass.

        ``scores`` are those of other systems, as for :meth:`forward`.

        Nothing is mixed, and the margin of angular softmax is that at the end of its annealing.
        """
        outputs = self._outputs(self._features(waveforms), scores)
        return self.criterion(outputs, targets), self.detector.backend.scores(self.criterion.logits(outputs))

    def _features(self, waveforms: Tensor) -> Tensor | list[Tensor]:
        """Compute the back-end's input: B×T×D, or all hidden states."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.detector.hidden_states(waveforms)
        return self.detector.features(states)

    def _outputs(self, features: Tensor | list[Tensor], scores: Tensor | None = None) -> Tensor:
        """Compute embeddings or logits, whichever the loss takes."""
        backend = self.detector.backend
        if not self.criterion.takes_embeddings:
            return self.detector.logits(features, scores)
        return backend.embed(features)


def _criterion(train: TrainConfig, detector: Detector) -> Criterion:
    if train.loss == "cross_entropy":
        return WeightedCrossEntropy(train.class_weights)
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
