"""Fit the last layer by logistic regression, without gradient steps; the rest of the detector is frozen."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nes2net.detector import Detector
from nes2net.lib.errors import InputError, join_names, pluralise
from nes2net.models.backends.base import LogitLayer
from nes2net.scoring.corpus import ScoringSettings, judge_trials
from nes2net.scoring.embeddings import Embeddings
from nes2net.training.distributed import write_once
from nes2net.training.loop import Trainer
from nes2net.training.objective import Objective
from nes2net.training.recipes.recipe import Recipe
from nes2net.training.tasks.task import Task

#: File of the run folder with the embeddings of the training set.
EMBEDDINGS_FILE = "training_embeddings.npy"
_MAX_ITERATIONS = 10_000  # largest number of iterations of L-BFGS


class LogisticObjective(Objective):
    """The objective for training only the last layer.

    Raises:
        InputError: as :class:`Objective`, or if the last layer is not a linear layer with one or
            two logits.
    """

    def __init__(self, detector: Detector, recipe: Recipe) -> None:
        super().__init__(detector, recipe)
        layer = detector.backend.last_layer
        # Refuse subclasses of nn.Linear and LogitLayer: a subclass may compute something else, or give the logit of
        # bona fide first.
        is_plain = type(layer) in (nn.Linear, LogitLayer)
        if not isinstance(layer, nn.Linear) or not is_plain or layer.bias is None or layer.out_features > 2:
            raise InputError(
                "`train.optimizer=logistic` fits a linear last layer with one or two logits: use the back-end logistic"
            )
        # Compute the loss once, so that an unfit loss raises its error before the training set is
        # embedded.
        outputs = torch.zeros(2, layer.out_features)
        targets = torch.tensor([0, 1])
        self.criterion(outputs.to(detector.device), targets.to(detector.device))
        detector.requires_grad_(False)
        layer.requires_grad_(True)


class LogisticTrainer(Trainer):
    """A :class:`Trainer` that fits the last layer in one epoch without steps.

    Embeddings are computed in float32 and eval mode, and saved in the run folder, so that a resumed
    run computes only the rest.

    Raises:
        InputError: if there are several processes.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.accelerator.num_processes > 1:
            raise InputError("`train.optimizer=logistic` computes in one process: run it without torchrun")

    def fit(self) -> None:
        """Embed the training set, and train the only epoch; a signal may interrupt the embedding."""
        if not self.state.selection.is_done and self.state.progress.step == 0:
            trials = self.loader.dataset.trials
            result = judge_trials(
                self.state.detector,
                trials,
                self.state.selection.folder / EMBEDDINGS_FILE,
                Embeddings("backend"),
                settings=ScoringSettings(
                    num_samples=self.recipe.data.num_samples,
                    batch_size=self.recipe.train.batch_size,
                    num_workers=self.recipe.data.num_workers,
                    overwrite="others",  # resumes its own file, replaces any other
                ),
            )
            rows = dict(Embeddings().read(result.path))
            embedded_trials = [trial for trial in trials if trial.id in rows]
            self.targets = np.array([trial.target for trial in embedded_trials])
            if len(set(self.targets.tolist())) < 2:
                classes = join_names(sorted({str(trial.label) for trial in embedded_trials})) or "no class"
                raise InputError(
                    f"training needs usable files of bona fide and spoof, but only files of {classes} could be read: correct or "
                    "replace the files named above"
                )
            self.embeddings: NDArray = np.stack([rows[trial.id] for trial in embedded_trials])
        super().fit()

    def train_epoch(self, epoch: int) -> None:
        """Fit the last layer to the embeddings, and save the run; a finished epoch is skipped."""
        progress = self.state.progress
        layer = self.state.detector.backend.last_layer
        if progress.step == self.steps_per_epoch:
            return
        weight, bias, iterations = fit_logistic(self.embeddings, self.targets, self.recipe.train.logistic_c)
        assert isinstance(layer, nn.Linear)
        with torch.no_grad():  # if there are two logits, the first is 0, so that their difference is the log odds
            layer.weight.zero_()
            layer.bias.zero_()
            layer.weight[-1] = torch.from_numpy(weight)
            layer.bias[-1] = bias
        embeddings = f"{pluralise(self.targets, 'embedding')} of {len(weight)}"
        summary = f"logistic regression on {embeddings}: {pluralise(iterations, 'iteration')}"
        if iterations >= _MAX_ITERATIONS:
            summary += ", the limit; a smaller `train.logistic_c` converges sooner"
        self.monitor.say(summary)
        progress.step = self.steps_per_epoch
        most_utterances = progress.step * self.recipe.train.batch_size  # a resumed run refuses more
        progress.utterances = min(len(self.targets), most_utterances)
        with torch.no_grad():  # compute the loss of the training set as one batch
            device = self.accelerator.device
            logits = layer(torch.from_numpy(self.embeddings).to(device))
            loss = self.objective.criterion(logits, torch.from_numpy(self.targets).to(device)).item()
        progress.loss_sum = loss * progress.utterances
        write_once(self.accelerator, self.state.save)


class Logistic(Task):
    """Training of the last layer by logistic regression on embeddings (``train.optimizer: logistic``)."""

    trainer = LogisticTrainer
    objective_class = LogisticObjective
    implied_by = "train.is_logistic"


def fit_logistic(embeddings: NDArray, targets: NDArray, c: float) -> tuple[NDArray, float, int]:
    """Fit a linear function of the embedding to the log odds of bona fide, by scikit-learn in float64.

    L-BFGS minimises C·Σ log loss + ½|w|². It hardly converges unless each dimension is
    standardised; w are the weights of standardised dimensions. The returned weight and bias apply
    to the original ``embeddings``.

    Args:
        embeddings: N×E.
        targets: (N,), 1 for bona fide and 0 for spoof.
        c: C; a larger C regularises less.

    Returns:
        The weight (E,), the bias and the number of iterations.

    >>> weight, bias, _ = fit_logistic(np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([0, 1, 0, 1]), c=1e6)
    >>> bool(weight[0] > 0), round(float(weight[0] * 2.5 + bias), 3) == 0
    (True, True)
    """
    from sklearn.exceptions import ConvergenceWarning  # imported late, because the import takes seconds
    from sklearn.linear_model import LogisticRegression  # imported late, too
    from sklearn.pipeline import make_pipeline  # imported late, too
    from sklearn.preprocessing import StandardScaler  # imported late, too

    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=_MAX_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the caller reports the number of iterations
        model.fit(embeddings.astype(np.float64), targets)
    scaler = model[0]
    regression = model[1]
    weight = regression.coef_[0] / scaler.scale_
    return weight, float(regression.intercept_[0] - weight @ scaler.mean_), int(regression.n_iter_[0])
