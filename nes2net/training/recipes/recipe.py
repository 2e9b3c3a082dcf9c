"""The recipe: all that determines a training run, with checks for settings that exclude each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    Strict,
)

from nes2net.lib.errors import InputError, refuse, short_repr
from nes2net.lib.output.sheet import Facts, FactsDict
from nes2net.lib.parts.options import Options, Takes, check_model
from nes2net.training.recipes.augment import AugmentConfig
from nes2net.training.recipes.data import CorpusConfig, DataConfig
from nes2net.training.recipes.section import FolderPart, Section, Source, Text
from nes2net.training.recipes.segments import LABEL_SAMPLES, SegmentsConfig
from nes2net.training.recipes.train import TrainConfig
from nes2net.training.recipes.validation import ValidationConfig

DEFAULT_MODEL = {
    "frontend": {"name": "xlsr_300m"},
    "aggregation": {"name": "last"},
    "backend": {"name": "nes2net_x"},
}


class Recipe(Section):
    """Everything that determines a training run."""

    name: Annotated[FolderPart, Source("main.py --model_name")] = "run"
    """Second part of the run folder's name. If an override or a recipe with a base changes
    front-end, aggregation or back-end without giving a name, the new name is made of the names of
    these parts, and an inherited `comment` is left out."""
    seed: Annotated[
        int,
        Strict(),
        Field(ge=0, lt=2**63),  # PyTorch's generators refuse larger seeds
        Takes("a whole number from 0 to below 2^63"),
        Source("main.py --seed"),
    ] = 1234
    """Seed of everything random: weights, order of the utterances, augmentation, dropout."""
    model: Annotated[dict[str, Any], AfterValidator(check_model), Source("main.py --model_name; arXiv 2504.05657")] = (
        DEFAULT_MODEL
    )
    """`frontend`, `aggregation` and `backend`, each a name or a mapping of `name` and options."""
    ssl_checkpoint: Annotated[Text | None, Source("main.py: xlsr2_300m.pt")] = None
    """File with the pre-trained weights of the front-end, or the name of a published file, such as
    `xlsr_300m`, which is fetched once; null starts from random weights."""
    data: DataConfig = Field(default_factory=DataConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    segments: SegmentsConfig = Field(default_factory=SegmentsConfig)
    validation: ValidationConfig = Field(default_factory=ValidationConfig)
    date: Annotated[FolderPart | None, Source("main.py --date")] = None
    """First part of the run folder's name."""
    comment: Annotated[FolderPart | None, Source("main.py --comment")] = None
    """Last part of the run folder's name."""
    output: Annotated[Text, Source("main.py")] = "models"
    """Folder in which the run folder is made."""
    logs: Annotated[Text, Source("main.py")] = "logs"
    """Folder of the TensorBoard logs."""
    tracker: Literal["wandb", "mlflow"] | None = None
    """Program that logs the values of each epoch, in addition to TensorBoard: Weights & Biases
    (`wandb`) or MLflow (`mlflow`). The environment variables of this program apply, such as
    `WANDB_MODE` and `MLFLOW_TRACKING_URI`."""

    def check(self) -> None:
        data = self.data
        train = self.train
        validation = self.validation
        is_logistic = train.is_logistic
        refuse(
            (
                validation.batch_size is not None
                and (validation.batch_size % train.batch_size or validation.mode == "train" or data.crop == "pieces"),
                f"`validation.batch_size={validation.batch_size}` computes several groups of `train.batch_size` "
                f"({train.batch_size}) at once, without `validation.mode=train` and `data.crop=pieces`: use a multiple "
                "of it, or remove it",
            ),
            (
                validation.over != "pooled" and len(data.parts("dev")) < 2,
                f"`validation.over={validation.over}` needs several development corpora in `data.corpora`: remove it",
            ),
            (
                self.segments.resolutions
                and data.crop == "pieces"
                and data.num_samples is not None
                and data.num_samples % LABEL_SAMPLES,
                f"`data.num_samples={data.num_samples}` cuts pieces within a label of 10 ms: with "
                f"`segments.resolutions` use a multiple of {LABEL_SAMPLES}",
            ),
            (
                is_logistic and self.augment != AugmentConfig(),
                "`train.optimizer=logistic` embeds each utterance once, without augmentation: remove the section augment",
            ),
            (
                is_logistic and data.weighted,
                "`train.optimizer=logistic` fits every utterance once: remove the `weight` of a corpus",
            ),
            (
                is_logistic and train.epochs != 1,
                f"`train.optimizer=logistic` fits in a single epoch: set `train.epochs=1`, not {train.epochs}",
            ),
            (
                data.num_samples is None and not is_logistic,
                "`data.num_samples=null`, whole utterances, needs `train.optimizer=logistic`: use it, or set `data.num_samples`",
            ),
        )

    def to_dict(self) -> FactsDict:
        """Convert to plain data, in the order of the keys."""
        return self.model_dump()

    def to_readable_dict(self) -> FactsDict:
        """Convert to plain data for people, with the short form of `data` if possible."""
        return {**self.to_dict(), "data": self.data.to_readable_dict()}

    @property
    def frontend(self) -> Options:
        """Name and options of the front-end; empty if the recipe leaves it to the checkpoint."""
        return self.model.get("frontend", {})  # type: ignore[no-any-return]

    @property
    def tag(self) -> str:
        """The name of the run folder, in the form of the published names.

        It always contains the seed, which published names with RawBoost's algorithms 10 and 11
        lack.

        >>> Recipe(name="wav2vec2_Nes2Net_X", date="0520", seed=12345, augment=AugmentConfig(algo=4)).tag
        '0520_wav2vec2_Nes2Net_X_e100_bz12_lr2.5e-07_algo4_seed12345'
        """
        algo = f"algo{self.augment.algo}"
        if self.augment.algo >= 10:
            for kind in ("LnL", "ISD", "SSI"):
                ratio = self.augment.parameters.get(f"{kind}_ratio", 1.0)
                algo += f"_{kind}{int(10 * ratio)}"
        train = self.train
        settings = f"e{train.epochs}_bz{train.batch_size}_lr{train.lr}_{algo}_seed{self.seed}"
        return "_".join(filter(None, [self.date, self.name, settings, self.comment]))

    @property
    def validation_batch_size(self) -> int:
        """Utterances that validation computes at once."""
        return self.validation.batch_size or self.train.batch_size


SECTIONS: dict[str, type[Section]] = {
    kind.prefix.removesuffix("."): kind
    for kind in (DataConfig, AugmentConfig, TrainConfig, SegmentsConfig, ValidationConfig)
}


#: Key whose value is a list of mappings → section class of each mapping.
ITEMS: dict[str, type[Section]] = {"data.corpora": CorpusConfig}


def recipe_from_dict(values: object) -> Recipe:
    """Check ``values``, and build a :class:`Recipe`.

    Raises:
        InputError: if ``values`` is not a mapping; also as for :class:`Section`.
    """
    if not isinstance(values, dict):
        raise InputError(f"a recipe must be a mapping of keys, not {short_repr(values)}")
    return Recipe(**{str(key): value for key, value in values.items()})


def flatten(values: Facts, prefix: str = "") -> FactsDict:
    """Flatten nested mappings to dotted keys, such as ``train.lr``, that begin with ``prefix``.

    >>> flatten({"train": {"lr": 1e-3}, "seed": 1})
    {'train.lr': 0.001, 'seed': 1}
    """
    by_key: FactsDict = {}
    for key, value in values.items():
        by_key |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return by_key
