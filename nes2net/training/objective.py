"""The objective of training: it computes the loss of a batch, and may first mix the batch by Specmix."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from nes2net.data.audio.waveform import SAMPLE_RATE
from nes2net.data.augment.latent import LatentAugmentation
from nes2net.data.augment.specmix import Specmix
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.detector import Detector
from nes2net.lib.errors import InputError, refuse
from nes2net.lib.parts.contracts import Extension, check_rows
from nes2net.models.attacks.batch import frozen
from nes2net.models.backends.base import Backend
from nes2net.training.adversarial import AdversarialTraining
from nes2net.training.dataset import StepPart, Tensors
from nes2net.training.losses import Criterion
from nes2net.training.losses.by_name import create_loss
from nes2net.training.measures import Figures, Validated, eer_methods, error_rates
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.sampling import seed_of_stream

# Arbitrary numbers that distinguish the random streams of Specmix, latent augmentation and adversarial training from
# other streams of the same (seed, epoch).
_SPECMIX_STREAM = 0x5BEC
_LATENT_STREAM = 0x1A7E
_ADVERSARIAL_STREAM = 0xADF0


#: Input of a back-end: features B×T×D, or all hidden states.
Features: TypeAlias = Tensor | list[Tensor]


class Outcome(NamedTuple):
    """The loss and the outputs of a batch in validation."""

    loss: Tensor
    #: outputs from which figures are computed, such as ``scores`` (B,); rows of all batches are concatenated
    outputs: Tensors


class Objective(Extension, nn.Module):
    """Computes the loss of a batch for ``detector``, which gives each utterance one score.

    DistributedDataParallel wraps this module, because :meth:`forward` uses all parameters. The
    constructor freezes the front-end with ``train.freeze_frontend``, or its lower layers with
    ``train.freeze_layers``.

    Args:
        recipe: settings of the loss, Specmix and latent augmentation, and the seed of the run.

    >>> model = {"frontend": {"name": "lps", "num_bins": 64}, "backend": {"name": "nes2net_x", "nes_ratio": [4, 4]}}
    >>> objective = Objective(Detector.from_config(model), Recipe())
    >>> numerators = objective(StepPart(torch.randn(2, 16000), torch.tensor([0, 1])))
    >>> numerators.shape, [round(weight, 6) for weight in objective.denominators(torch.tensor([0, 1]))]
    (torch.Size([1]), [1.0])

    Raises:
        InputError: if a loss, Specmix, latent augmentation or freezing does not fit the detector.
    """

    #: pattern of the names of parameters that no gradient reaches; those of the detector are its parts'
    untrained = r"detector\..*"

    def __init__(self, detector: Detector, recipe: Recipe) -> None:
        super().__init__()
        train = recipe.train
        augment = recipe.augment
        self.detector = detector
        self.seed = recipe.seed
        self.data = recipe.data
        self.criterion = self.make_criterion(recipe).to(detector.device)
        self.freeze_epochs = math.inf if train.freeze_frontend else train.freeze_frontend_epochs
        self.frozen = train.freeze_frontend
        self.frozen_mode = train.frontend_mode
        frontend = detector.frontend
        backend = detector.backend
        is_trainable = any(p.requires_grad for p in frontend.parameters())
        freeze_key = "freeze_frontend" if train.freeze_frontend else "freeze_frontend_epochs"
        self.specmix = None if augment.specmix is None else Specmix.of(**augment.specmix)
        self.latent = None if augment.latent is None else LatentAugmentation.of(**augment.latent)
        self.adversarial = None
        if augment.adversarial is not None:
            self.adversarial = AdversarialTraining.of(**augment.adversarial)
        frontend_name = frontend.config["name"]
        backend_name = backend.config["name"]
        num_layers = len(frontend.transformer_layers)
        has_spectrogram = not is_trainable and frontend.out_dim > 1 and backend.wants_layers != "all"
        has_embeddings = backend.last_layer_name and type(backend).embed is not Backend.embed
        refuse(
            (
                self.freeze_epochs and not is_trainable,
                f"front-end '{frontend_name}' has nothing to train: remove `train.{freeze_key}`",
            ),
            (
                self.specmix is not None and not has_spectrogram,
                f"Specmix mixes bands of a spectrogram, but '{backend_name}' after '{frontend_name}' has none: use "
                "the front-end lps or lfcc, or remove `augment.specmix`",
            ),
            (
                self.latent is not None and not has_embeddings,
                f"latent augmentation perturbs the input of a last layer, and back-end '{backend_name}' has no such "
                "layer: remove `augment.latent`",
            ),
            (
                self.adversarial is not None and BONAFIDE not in detector.classes,
                "adversarial training attacks bona fide against spoofed utterances, but no class is bonafide: remove "
                "`augment.adversarial`",
            ),
            (
                (train.freeze_layers or 0) > num_layers,
                f"`train.freeze_layers={train.freeze_layers}` is more than the {num_layers} transformer layers of "
                f"front-end '{frontend_name}': use at most {num_layers}",
            ),
        )
        # Freeze what is never trained. With `train.freeze_frontend_epochs`, the first epochs instead compute the
        # front-end without gradients (:meth:`features`).
        if train.freeze_frontend:
            frontend.requires_grad_(False)
        if train.freeze_layers is not None:
            # Everything before the frozen layers is frozen too, and what the front-end froze itself stays frozen.
            upper_modules = (*list(frontend.transformer_layers)[train.freeze_layers :], *frontend.after_layers)
            upper_weights = [
                weight for module in upper_modules for weight in module.parameters() if weight.requires_grad
            ]
            frontend.requires_grad_(False)
            for weight in upper_weights:
                weight.requires_grad_(True)

    @property
    def bonafide_class(self) -> int:
        """The target that means bona fide; if it is not a class, K, which no target equals."""
        classes = self.detector.classes
        return classes.index(BONAFIDE) if BONAFIDE in classes else len(classes)

    @property
    def uses_all_weights(self) -> bool:
        """Whether each step gives a gradient to all trained weights, so that DDP need not look for others."""
        if self.own_tensors() or self.freeze_epochs not in (0, math.inf):  # a step may skip a term with its own weights
            return False
        detector = self.detector
        return all(part.uses_all_weights for part in (detector.frontend, detector.aggregation, detector.backend))

    def make_criterion(self, recipe: Recipe) -> Criterion:
        """Make the loss of an utterance; raise :class:`InputError` if it does not fit the detector."""
        return create_loss(recipe.train.loss, self.detector.backend)

    def trained_parameters(self) -> list[nn.Parameter]:
        """List the parameters of the detector and the objective that the optimiser gets.

        Frozen layers, the base of an adapted front-end and a teacher are never trained; with
        ``train.optimizer: logistic``, only the last layer is.
        """
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def own_tensors(self) -> dict[str, Tensor]:
        """Map names to parameters and persistent buffers that are not the detector's."""
        named = chain(self.named_parameters(), self.named_buffers())  # a shared tensor has its name in the detector
        saved = self.state_dict()
        return {n: tensor.detach() for n, tensor in named if n in saved and not n.startswith("detector.")}

    def begin_training(self, epoch: int) -> None:
        """Put all modules into train mode; a front-end frozen in ``epoch`` follows ``train.frontend_mode``."""
        self.train()
        self.frozen = epoch <= self.freeze_epochs
        self.detector.frontend.train(not self.frozen or self.frozen_mode == "train")

    def prepare_extra_tensors(self, extra_tensors: Tensors, num_samples: int) -> Tensors:
        """Choose and prepare the extra tensors that the losses need, on the CPU."""
        return extra_tensors

    def mix(self, part: StepPart, targets: Tensor, epoch: int, step: int, number: int) -> tuple[StepPart, Tensor]:
        """Attack the examples of ``part``, mix them by Specmix, and set the seed of latent augmentation.

        Specmix replaces the waveforms by spectrograms B×T×F and the targets by shares B×K. Each
        (seed, epoch, step, ``number``) has its own random stream, for resumed runs.

        Args:
            targets: targets of ``part``, on the CPU.
            number: number of the part in the step, over all processes.

        Returns:
            The part, and its targets on the CPU.
        """
        if self.adversarial is not None:
            seed = self._seed_of_part(epoch, step, number, _ADVERSARIAL_STREAM)
            with frozen(self.detector):
                is_spoof = targets != self.bonafide_class
                attacked = self.adversarial(partial(self._attacked_logits, part), part.inputs, is_spoof, seed)
            part = part._replace(inputs=attacked)
        if self.latent is not None:
            part = part._replace(latent_seed=self._seed_of_part(epoch, step, number, _LATENT_STREAM))
        if self.specmix is None:
            return part, targets
        generator = torch.Generator().manual_seed(self._seed_of_part(epoch, step, number, _SPECMIX_STREAM))
        spectrograms = self.features(part.inputs)
        assert isinstance(spectrograms, Tensor)  # the constructor refuses Specmix with a list of hidden states
        inputs, targets = self.specmix(spectrograms, targets, generator, len(self.detector.classes))[:2]
        return part._replace(inputs=inputs, targets=targets.to(inputs.device, non_blocking=True)), targets

    def _attacked_logits(self, part: StepPart, waveforms: Tensor) -> Tensor:
        # Not self.features(): it computes a frozen front-end without gradients.
        states = self.detector.hidden_states(waveforms)
        return self.logits(self.detector.features(states), part)

    def _seed_of_part(self, epoch: int, step: int, number: int, stream: int) -> int:
        numbers = [number] if number else []  # the seed of part 0 does not contain the index of the part
        sequence = np.random.SeedSequence(seed_of_stream(self.seed, epoch, step, stream, *numbers))
        return int(sequence.generate_state(1)[0])

    def denominators(self, targets: Tensor, extra_tensors: Mapping[str, Tensor] = {}) -> list[float]:
        """Compute the denominator of each term of the loss for one part of a step.

        The sum over all parts of a step is known before its first forward pass.

        Args:
            targets, extra_tensors: tensors of a part, on the CPU.
        """
        return [self.criterion.weight_of(targets).item()]

    def forward(self, part: StepPart) -> Tensor:
        """Compute the numerator of each term of the loss of ``part``.

        The loss is the sum over terms of numerator over denominator (:meth:`denominators`). A
        penalty of the aggregation is added to the first term, the loss of the utterance.
        """
        remedy = "lower `train.accumulate`, raise `train.batch_size`, or set `train.drop_last=true`"
        with _explain_single_utterance("a part of a step", remedy):
            features = part.inputs if part.inputs.ndim == 3 else self.features(part.inputs)
            utterance_numerator, *further_numerators = self.numerators(self.compute_outputs(features, part), part)
        aggregation = self.detector.aggregation
        penalty, aggregation.penalty = aggregation.penalty, None  # free the penalty's graph
        if penalty is not None:
            weight = self.criterion.weight_of(part.targets).to(utterance_numerator.dtype)
            utterance_numerator = utterance_numerator + penalty * weight
        return torch.stack([utterance_numerator, *further_numerators])

    def validate(self, features: Features, part: StepPart) -> Outcome:
        """Compute loss and outputs of a development batch; ``part`` has no iteration, so the margin is final."""
        remedy = "use `validation.mode=eval`, or another `train.batch_size`, so that the last batch has more"
        with _explain_single_utterance("a batch of the development set", remedy):
            computed = self.compute_outputs(features, part)
        self.detector.aggregation.penalty = None  # validation does not use the penalty
        return self.outcome(computed, part)

    def compute_outputs(self, features: Features, part: StepPart) -> Any:
        """Compute the embeddings or logits that the loss takes, or a task's own outputs."""
        if self.criterion.takes_embeddings or part.latent_seed is not None:
            return self.outputs_from_embeddings(self.detector.backend.embed(features), part)
        return self.logits(features, part)

    def logits(self, features: Features, part: StepPart) -> Tensor:
        """Compute the logits from ``features``, in the task fusion also from tensors of ``part``."""
        return self.detector.logits(features)

    def outputs_from_embeddings(self, embeddings: Tensor, part: StepPart) -> Tensor:
        """Perturb ``embeddings`` B×E if ``part`` has a latent seed; return them or the logits."""
        if self.latent is not None and part.latent_seed is not None:
            rng = np.random.default_rng(part.latent_seed)
            embeddings = self.latent(embeddings, part.targets, rng, self.bonafide_class)
        if self.criterion.takes_embeddings:
            return embeddings
        return self.detector.backend.last_layer(embeddings)

    def numerators(self, computed: Any, part: StepPart) -> list[Tensor]:
        """Compute the numerator of each term of the loss, the utterance first."""
        durations = self._durations(part.inputs)
        return [self.criterion.checked_numerator(computed, part.targets, part.iteration, durations)]

    def outcome(self, computed: Any, part: StepPart) -> Outcome:
        """Compute the loss of a batch, and the outputs for :meth:`figures`, by default ``scores`` (B,)."""
        loss = self.criterion(computed, part.targets, durations=self._durations(part.inputs))
        return Outcome(loss, {"scores": self.detector.backend.scores(self.criterion.logits(computed))})

    def figures(self, validated: Validated) -> Figures:
        """Compute the figures of a pass over the development set, such as the EER: key in the history → value.

        The keys are the columns of the task's measures
        (:meth:`nes2net.training.measures.Measure.column`), and perhaps further keys.

        Raises:
            InputError: if the pass lacks trials that the figures need, such as a class.
        """
        return error_rates(validated, self.bonafide_class, eer_methods(self.data), self.seed)

    def features(self, waveforms: Tensor) -> Features:
        """Compute the back-end's input from ``waveforms`` B×N: B×T×D, or a list of all hidden states.

        A frozen front-end computes without gradients.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.detector.hidden_states(waveforms)
        features = self.detector.features(states)
        check_rows(tree_leaves(features)[0], len(waveforms))
        return features

    def _durations(self, inputs: Tensor) -> Tensor:
        """Return seconds (B,) of waveforms B×N or, with Specmix, spectrograms B×T×F."""
        samples = inputs.shape[1]
        if inputs.ndim == 3:
            samples *= self.detector.frontend.hop_length
        return torch.full((len(inputs),), samples / SAMPLE_RATE, device=inputs.device)


@contextmanager
def _explain_single_utterance(batch: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(f"{batch} has a single utterance, too few for batch statistics: {remedy}") from error
