"""The section ``validation`` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from nes2net.lib.parts.conditions import NotWith, UsedWith
from nes2net.training.recipes.section import Count, Flag, Section, Source, Text
from nes2net.training.recipes.train import Precision

Ties = Literal["first", "last"]


class ValidationConfig(Section):
    """Validation: its measures, the epochs that are validated, and the choice of the best epoch."""

    prefix = "validation."

    augmented: Annotated[Flag, Source("main.py")] = True
    """Validate on the development set a second time, with RawBoost, if the recipe uses RawBoost."""
    whole_utterances: Annotated[Flag, Source("CtrSVDD program: true")] = False
    """Validate on whole utterances, one at a time, instead of the first `data.num_samples` samples."""
    first_epoch: Annotated[Count, Source("ASVspoof 5 program: its epoch 10, the eleventh")] = 1
    """First epoch that may be validated; epochs are numbered from 1. The last epoch is always validated."""
    epochs: Annotated[
        Literal["all", "around_minima"],
        UsedWith("train.schedule=cosine_epochs"),
        NotWith("train.warmup_epochs"),
        Source("all: main.py; around_minima: CtrSVDD program"),
    ] = "all"
    """Epochs that are validated: all, or the first one and the epochs around each minimum of the
    learning rate with `train.schedule: cosine_epochs` (`around_minima`)."""
    select_on: Annotated[
        Text,
        Source(
            "loss: main.py (deviation 13); eer: CtrSVDD program; min_dcf: ASVspoof 5 program (deviation 14); "
            "train_loss: MoE code (arXiv 2409.11909)"
        ),
    ] = "loss"
    """Measure whose lowest value marks the best epoch: `loss` of the development set; `train_loss`, the
    mean training loss of an epoch, which needs no validation; or a measure of the task. Most tasks have
    the measures `eer` and `min_dcf`; `nes2net info` shows the measures of each task."""
    ties: Annotated[
        Ties, Source("last: main.py, ASVspoof 5 program (≤); first: CtrSVDD program, GF/LGF/LLGF code (<)")
    ] = "last"
    """Which of the epochs with the same lowest value is the best. With `last`, a value that equals
    the lowest value so far counts as improved; with `first`, it does not."""
    over: Annotated[Literal["pooled", "mean", "worst"], UsedWith("select_on=eer", "select_on=min_dcf")] = "pooled"
    """With `data.corpora`, how the measure `validation.select_on` is computed: over the trials of
    all development corpora together (`pooled`), as the mean of the values of all corpora (`mean`),
    or as the highest value of a corpus (`worst`)."""
    patience: Annotated[Count | None, Source("ASVspoof 5 program: 5")] = None
    """Training stops after this many validations without an improvement; null never stops early.
    With `train_loss`, epochs are counted instead of validations."""
    precision: Precision | None = None
    """Precision of the forward pass on the development set, with the values of `train.precision`; null
    takes `train.precision`."""
    batch_size: Count | None = None
    """Number of utterances that are computed at once, a multiple of `train.batch_size`; null takes
    `train.batch_size`. The loss is still averaged over groups of `train.batch_size` utterances, as
    published. Whole utterances are computed one at a time."""
    mode: Annotated[
        Literal["eval", "train"],
        NotWith("train.optimizer=logistic"),
        Source("eval: main.py; train: GF/LGF/LLGF code (arXiv 2111.07725)"),
    ] = "eval"
    """Mode of the network on the development set. In `train` mode, dropout is on, and batch
    normalisation updates its running statistics on development data; `train` mode needs a single
    process."""
