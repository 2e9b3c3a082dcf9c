"""A package of parts for nes2net, each with one planted fault, for tests/models/test_contracts.py.

`install` copies this file into a folder as the module `faulty_parts`, with the metadata of an installed package. Parts
whose names begin with `good_` have no fault.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from nes2net.data.augment.effect import Effect
from nes2net.data.corpora.layout import Columns, Files, ListedCorpus
from nes2net.data.corpora.trial import BONAFIDE
from nes2net.evaluation.judgements import Rows
from nes2net.lib.parts.options import Logits, Size
from nes2net.models.aggregations.base import Aggregation
from nes2net.models.backends.base import Backend, LogitLayer
from nes2net.models.frontends.base import Frontend
from nes2net.training.losses.criterion import MeanOfSamples
from nes2net.training.measures import ERROR_RATES, Measure
from nes2net.training.objective import Objective
from nes2net.training.tasks.task import Task

PACKAGE = "faulty-parts 1.2"


class GoodBackend(Backend):
    """The mean over time and one linear layer."""

    last_layer_name = "linear"

    def __init__(self, *, feature_dim: Size = 1024, num_logits: Logits = 2):
        super().__init__(feature_dim)
        self.linear = LogitLayer(feature_dim, num_logits)
        self.norm = nn.BatchNorm1d(feature_dim)
        self.register_buffer("calls", torch.zeros(()))

    def embed(self, features):
        self.check_features(features)
        self.calls += 1
        noise = 0.01 * torch.randn(features.shape[2]) * float(np.random.rand())
        return self.norm(features.mean(1)) + noise * self.training


class NeedsWidth(GoodBackend):
    """An option without default."""

    def __init__(self, *, width, feature_dim: Size = 1024, num_logits: Logits = 2):
        super().__init__(feature_dim=feature_dim, num_logits=num_logits)


class LoudIsNaN(GoodBackend):
    """NaN for large features, such as those of the front-end `good_frontend`, but not for random numbers."""

    def embed(self, features):
        return super().embed(features).where(features.mean() < 5, torch.nan)


class LoudIsNaNLater(LoudIsNaN):
    """NaN for large features, but not in training."""

    def embed(self, features):
        return GoodBackend.embed(self, features) if self.training else super().embed(features)


class ItemInside(GoodBackend):
    """The constructor needs the value of a tensor, which PyTorch's meta device does not have."""

    def __init__(self, *, feature_dim=1024, num_logits=2):
        super().__init__(feature_dim=feature_dim, num_logits=num_logits)
        self.scale = torch.ones(1).item()


class RaisesInside(GoodBackend):
    """An error of its own in the forward pass."""

    def embed(self, features):
        return features.mean(1)[:, :, 0]


class GoodFrontend(Frontend):
    """Waveform B×N → two hidden states B×T×4."""

    num_layers = 2

    def __init__(self, checkpoint=None):
        super().__init__()
        self.out_dim = 4
        self.hop_length = 320
        self.min_samples = 640

    def states(self, waveform):
        frames = waveform.unfold(1, 640, 320).unflatten(2, (4, 160))
        energies = frames.square().mean(3) + 100
        return [energies, energies.sqrt()]

    def forward(self, waveform, layers="last", final_norm=True):
        states = self.states(waveform)
        return states if layers == "all" else states[-1:]


class NoHopLength(GoodFrontend):
    """`hop_length` is not set."""

    def __init__(self, checkpoint=None):
        super().__init__()
        del self.hop_length


class TransposedAggregation(Aggregation):
    """Features B×D×T."""

    def forward(self, hidden_states):
        return hidden_states[-1].transpose(1, 2)


class GoodLoss(MeanOfSamples):
    """Mean square of the logits' difference from the targets."""

    def terms(self, outputs, targets):
        return (outputs[:, -1] - targets).square()

    def numerator(self, outputs, targets, step, durations):
        return self.terms(outputs, targets).sum()


class NumeratorOfRows(GoodLoss):
    """The numerator is (B,)."""

    def numerator(self, outputs, targets, step, durations):
        return self.terms(outputs, targets)


class GoodObjective(Objective):
    """The loss of an utterance, and the mean square of the scores."""

    def denominators(self, targets, extra_tensors=None):
        return [*super().denominators(targets), float(len(targets))]

    def numerators(self, computed, batch_part):
        return [*super().numerators(computed, batch_part), computed[:, -1].square().sum()]


class GoodTask(Task):
    """A task without fault."""

    objective_class: ClassVar[type[Objective]] = GoodObjective

    def objective(self, detector):
        return self.objective_class(detector, self.recipe)


class FewDenominatorsObjective(GoodObjective):
    """Two numerators and one denominator."""

    def denominators(self, targets, extra_tensors=None):
        return [self.criterion.weight_of(targets).item()]


class FewDenominators(GoodTask):
    objective_class = FewDenominatorsObjective


class CarriesText(GoodTask):
    """An example has a text as extra tensor."""

    def extra_tensors(self, trial):
        return {"speaker": trial.id}


class CarriesShapes(GoodTask):
    """Examples have extra tensors of unequal shapes."""

    def extra_tensors(self, trial):
        return {"frames": torch.zeros(3 + (trial.label == BONAFIDE))}


class NaNFigureObjective(GoodObjective):
    """The figure is NaN."""

    def figures(self, validated):
        return {**super().figures(validated), "val_odd_wo_aug": float("nan")}


class NaNFigure(GoodTask):
    """A figure of the task is NaN."""

    measures = (*ERROR_RATES, Measure("odd", "odd"))
    objective_class = NaNFigureObjective


class MeasureNever(GoodTask):
    """A measure is declared and never computed."""

    measures = (*ERROR_RATES, Measure("odd", "odd"))


class BareOutcomeObjective(GoodObjective):
    """The outcome is a tensor."""

    def outcome(self, computed, batch_part):
        return super().outcome(computed, batch_part).loss


class BareOutcome(GoodTask):
    objective_class = BareOutcomeObjective


@dataclass(frozen=True)
class GoodRows(Rows):
    """Scores of both halves."""

    name = "good_rows"
    message = "scores of halves"
    columns = ("first", "second")

    def compute(self, scorer, waveforms):
        return torch.stack([scorer.scores(half) for half in waveforms.chunk(2, dim=1)], dim=1)

    def score_of(self, rows):
        return rows.min(axis=1)


@dataclass(frozen=True)
class ExtraColumn(GoodRows):
    """A number more than there are columns."""

    name = "extra_column"

    def compute(self, scorer, waveforms):
        return super().compute(scorer, waveforms)[:, [0, 1, 1]]


@dataclass(frozen=True)
class ScoresOfColumns(GoodRows):
    """A score for each column."""

    name = "scores_of_columns"

    def score_of(self, rows):
        return rows.min(axis=0, keepdims=True)


class NoDataclass(Rows):
    """Not a dataclass."""

    name = "no_dataclass"
    columns = ("first",)

    def compute(self, scorer, waveforms):
        return scorer.scores(waveforms)[:, None]


@dataclass(frozen=True)
class OtherName(GoodRows):
    """Another name than the entry point."""

    name = "renamed"


class GoodEffect(Effect):
    """Half as loud."""

    def __call__(self, x, rng):
        return 0.5 * x


class NaNSamples(Effect):
    """Divides by zero."""

    def __call__(self, x, rng):
        return x + np.float32(np.nan)


def listed(labels):
    """A corpus of one part per list, with lines `ID LABEL`."""
    return ListedCorpus(
        title="Tones",
        rows=Columns("utterance, label", labels=labels, suffix=".wav"),
        parts={split: Files(protocols=[f"{split}.txt"], audio=[split]) for split in ("train", "dev", "eval")},
    )


GOOD_CORPUS = listed({"genuine": "bonafide", "fake": "spoof"})
OTHER_LABELS = listed({"genuine": "genuine", "fake": "fake"})
BARE_COUNTS = dataclasses.replace(GOOD_CORPUS, counts={"train": 8})
TABLE = {"name": "table"}

#: Group of entry points → name of a part → name of the object in this module.
PARTS = {
    "backends": {
        "good_backend": "GoodBackend",
        "needs_width": "NeedsWidth",
        "loud_is_nan": "LoudIsNaN",
        "loud_is_nan_later": "LoudIsNaNLater",
        "raises_inside": "RaisesInside",
        "item_inside": "ItemInside",
        "table": "TABLE",
    },
    "frontends": {
        "good_frontend": "GoodFrontend",
        "no_hop_length": "NoHopLength",
    },
    "aggregations": {"transposed": "TransposedAggregation"},
    "losses": {
        "good_loss": "GoodLoss",
        "numerator_of_rows": "NumeratorOfRows",
    },
    "tasks": {
        "good_task": "GoodTask",
        "few_denominators": "FewDenominators",
        "carries_text": "CarriesText",
        "carries_shapes": "CarriesShapes",
        "nan_figure": "NaNFigure",
        "measure_never": "MeasureNever",
        "bare_outcome": "BareOutcome",
    },
    "judgements": {
        "good_rows": "GoodRows",
        "extra_column": "ExtraColumn",
        "scores_of_columns": "ScoresOfColumns",
        "no_dataclass": "NoDataclass",
        "another_name": "OtherName",
    },
    "corpora": {"good_corpus": "GOOD_CORPUS", "other_labels": "OTHER_LABELS", "bare_counts": "BARE_COUNTS"},
    "effects": {
        "good_effect": "GoodEffect",
        "nan_samples": "NaNSamples",
    },
}


def install(folder):
    """Write the module and the metadata of an installed package into ``folder``."""
    shutil.copy(__file__, folder / "faulty_parts.py")
    metadata = folder / "faulty_parts-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty-parts\nVersion: 1.2\n")
    lines = []
    for group, names in PARTS.items():
        lines.append(f"[nes2net.{group}]")
        lines += [f"{name} = faulty_parts:{target}" for name, target in names.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
