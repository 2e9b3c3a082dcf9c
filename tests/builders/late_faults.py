"""Parts of another package that fail only in use, as `FAULT` says, for tests/training/test_late_faults.py.

The checks before the use compute smaller batches, other lengths and fewer trials.
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nes2net.data.augment.effect import Effect
from nes2net.evaluation.judgements import Rows
from nes2net.lib.parts.options import Logits, Size
from nes2net.models.aggregations.base import Aggregation
from nes2net.models.backends.base import Backend, LogitLayer
from nes2net.models.frontends.base import Frontend
from nes2net.training.loop import Trainer
from nes2net.training.losses.criterion import MeanOfSamples
from nes2net.training.objective import Objective
from nes2net.training.tasks.task import Task

#: The fault of the test, such as ``"loss raises"``; empty for none.
FAULT = ""
#: Group of entry points → name of the part → its class.
POINTS = {
    "frontends": {"late_frontend": "late_faults:LateFrontend"},
    "aggregations": {"late_aggregation": "late_faults:LateAggregation"},
    "backends": {"late_backend": "late_faults:LateBackend"},
    "losses": {"late_loss": "late_faults:LateLoss"},
    "effects": {"late_effect": "late_faults:LateEffect"},
    "tasks": {"late_task": "late_faults:LateTask"},
    "judgements": {"late_rows": "late_faults:LateRows"},
}


def spoiled(value, kind, in_use=True):
    """`value`, unless the fault is of this `kind` and the part is `in_use`."""
    faulty_kind, _, fault = FAULT.partition(" ")
    if kind != faulty_kind or not in_use:
        return value
    if fault == "raises":
        raise KeyError("in use")
    if fault == "exits":
        sys.exit(3)
    changes = {
        "nan": lambda: value * np.nan,
        "none": lambda: None,
        "empty": lambda: value[:0],
        "2d": lambda: value[None],
    }
    return changes[fault]()


class LateFrontend(Frontend):
    """Waveform B×N → two hidden states B×T×4."""

    num_layers = 2

    def __init__(self):
        super().__init__()
        self.out_dim = 4
        self.hop_length = 320
        self.min_samples = 640

    def forward(self, waveform, layers="last", final_norm=True):
        energies = waveform.unfold(1, 640, 320).unflatten(2, (4, 160)).square().mean(3)
        states = [energies, spoiled((energies + 1e-3).log(), "frontend", len(waveform) >= 4)]
        return states if layers == "all" else states[-1:]


class LateAggregation(Aggregation):
    """The mean of all layers, with a penalty in training."""

    def forward(self, hidden_states):
        in_use = len(hidden_states[0]) >= 4
        mean = spoiled(sum(hidden_states) / self.num_layers, "aggregation", in_use)
        self.penalty = spoiled(mean.square().mean(), "penalty", in_use) if self.training else None
        return mean


class LateBackend(Backend):
    """The mean over time and one linear layer."""

    last_layer_name = "linear"

    def __init__(self, *, feature_dim: Size = 1024, num_logits: Logits = 2):
        super().__init__(feature_dim)
        self.linear = LogitLayer(feature_dim, num_logits)

    def embed(self, features):
        self.check_features(features)
        return spoiled(features.mean(1), "backend", len(features) >= 4)


class LateLoss(MeanOfSamples):
    """Mean square of the logits' difference from the targets."""

    def numerator(self, outputs, targets, step, durations):
        return spoiled((outputs[:, -1] - targets).square().sum(), "loss", len(targets) >= 4)


class LateEffect(Effect):
    """Half as loud."""

    def __call__(self, x, rng):
        return spoiled(0.5 * x, "effect", len(x) == 8000)


class LateObjective(Objective):
    """The loss of an utterance, and the mean square of the scores times a trained number."""

    def __init__(self, detector, recipe):
        super().__init__(detector, recipe)
        spoiled(None, "constructor")
        self.scale = nn.Parameter(torch.ones(()))

    def denominators(self, targets, extra_tensors=None):
        return [*super().denominators(targets), float(len(targets))]

    def numerators(self, computed, step_part):
        term = spoiled((self.scale * computed[:, -1]).square().sum(), "numerators", len(step_part.targets) >= 4)
        return [*super().numerators(computed, step_part), term]

    def figures(self, validated):
        return spoiled(super().figures(validated), "figures", len(validated.trials) >= 8)


class LateTask(Task):
    """A task with a term of its own."""

    def trials(self, set_name):
        return spoiled(super().trials(set_name), "trials")

    def target(self, trial):
        return spoiled(super().target(trial), "target", trial.id.endswith("_5"))

    def extra_tensors(self, trial):
        return spoiled({}, "extra_tensors", trial.id.endswith("_5"))

    def objective(self, detector):
        return spoiled(LateObjective(detector, self.recipe), "objective")

    def begin(self, detector):
        spoiled(None, "begin")

    def trainer(self, *inputs):
        return spoiled(Trainer(*inputs), "trainer")

    def check(self, detector, trials):
        spoiled(None, "check")


@dataclass(frozen=True)
class LateRows(Rows):
    """Scores of both halves."""

    name = "late_rows"
    columns = ("first", "second")

    def compute(self, scorer, waveforms):
        rows = torch.stack([scorer.scores(half) for half in waveforms.chunk(2, dim=1)], dim=1)
        return spoiled(rows, "judgement", len(waveforms) >= 4)
