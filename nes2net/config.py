"""Recipes: what is trained on what and how, as dataclasses, YAML and ``key=value`` overrides."""

from __future__ import annotations

import types
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from nes2net.data.crop import ASVSPOOF_SAMPLES
from nes2net.errors import InputError
from nes2net.registry import did_you_mean

_DEFAULT_MODEL = {
    "frontend": {"name": "xlsr_300m"},
    "aggregation": {"name": "last"},
    "backend": {"name": "nes2net_x"},
}


@dataclass
class DataConfig:
    """The corpus that is trained on."""

    corpus: str = "asvspoof2019_la"
    root: str | None = None
    """Folder of the corpus."""
    protocols: str | None = None
    """Folder of the protocols; looked for in ``root`` where it is not given."""
    num_samples: int = ASVSPOOF_SAMPLES
    """Samples per utterance; a shorter utterance is repeated."""
    crop: str = "head"
    """Part of a longer utterance that is trained on: ``head``, or ``random``; development always takes the head."""
    num_workers: int = 4
    """Processes that read and augment; the result does not depend on it."""


@dataclass
class AugmentConfig:
    """Noise, reverberation and RawBoost, in this order, before the crop. Development with augmentation has RawBoost alone."""

    algo: int = 0
    """Algorithm 0 (none) to 11."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """RawBoost's parameters where they are not the published defaults."""
    musan: str | None = None
    """Folder of MUSAN, for background noise."""
    rir: str | None = None
    """Folder of room impulse responses, for reverberation."""
    noise_probability: float = 0.5
    """Of a training utterance to get background noise or reverberation, where their folders are given (ASVspoof 5 recipe)."""
    specmix: dict[str, Any] | None = None
    """Settings of :class:`nes2net.augment.specmix.Specmix`, between front-end and back-end in training; None for none."""


@dataclass
class TrainConfig:
    """Optimisation. The defaults are those of the ASVspoof 2019 recipe (Nes2Net paper, arXiv 2504.05657)."""

    epochs: int = 100
    batch_size: int = 12
    lr: float = 2.5e-7
    weight_decay: float = 1e-4
    class_weights: list[float] = field(default_factory=lambda: [0.1, 0.9])
    """Weights of spoof and bona fide in the loss."""
    loss: str = "cross_entropy"
    """``cross_entropy``, or ``angular_softmax`` for a back-end with an angular head."""
    angular_margin: int = 4
    """m of angular softmax."""
    angular_lambda_min: float = 5.0
    angular_lambda_max: float = 1500.0
    angular_lambda_decay: float = 0.1
    """Its λ is max(min, max / (1 + decay·step)): the margin comes in gradually."""
    adam_betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    adam_eps: float = 1e-8
    amsgrad: bool = False
    schedule: str = "constant"
    """``constant``; ``cosine``: from ``lr`` to 0 over all steps; ``inverse_sqrt``: to ``lr`` at step ``warmup_steps``, then as 1/√step."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from 0."""
    max_grad_norm: float | None = None
    """Longer gradients are scaled to this L2 norm."""
    init_from: str | None = None
    """Whole-model checkpoint to start from."""


@dataclass
class Recipe:
    """Everything that determines a training run."""

    name: str = "run"
    """Stands in the run folder's name where a published command has its model's name."""
    seed: int = 1234
    model: dict[str, Any] = field(default_factory=lambda: {k: dict(v) for k, v in _DEFAULT_MODEL.items()})
    """``frontend``, ``aggregation``, ``backend``, each a name or a mapping with ``name`` and its options."""
    ssl_checkpoint: str | None = None
    """The front-end's pre-training file; None starts from random weights."""
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    date: str = "unknown"
    comment: str | None = None
    output: str = "models"
    """Folder in which the run folder is made."""
    logs: str = "logs"
    """Folder for TensorBoard."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def tag(self) -> str:
        """Name of the run folder, as published; for algorithms 10 and 11 the seed, which the published code omits there, is kept.

        >>> Recipe(name="wav2vec2_Nes2Net_X", date="0520", seed=12345, augment=AugmentConfig(algo=4)).tag
        '0520_wav2vec2_Nes2Net_X_e100_bz12_lr2.5e-07_algo4_seed12345'
        """
        algo = f"algo{self.augment.algo}"
        if self.augment.algo >= 10:
            ratios = {k: self.augment.parameters.get(f"{k}_ratio", 1.0) for k in ("LnL", "ISD", "SSI")}
            algo += "".join(f"_{kind}{int(10 * ratio)}" for kind, ratio in ratios.items())
        train = self.train
        tag = f"{self.date}_{self.name}_e{train.epochs}_bz{train.batch_size}_lr{train.lr}_{algo}_seed{self.seed}"
        return f"{tag}_{self.comment}" if self.comment else tag


def load_recipe(path: str | Path, overrides: typing.Iterable[str] = ()) -> Recipe:
    """Read a YAML recipe and apply ``key=value`` overrides (``train.lr=1e-6``); an unknown key is an error with the nearest one."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"recipe {path} not found: name one of configs/*.yaml or your own")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"recipe {path} is a mapping of keys, not a {type(values).__name__}")
    return recipe_from_dict(apply_overrides(values, overrides))


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """Build and check a :class:`Recipe`; unknown keys and values of the wrong type raise :class:`InputError`."""
    return _build(Recipe, values, "")


def apply_overrides(values: dict[str, Any], overrides: typing.Iterable[str]) -> dict[str, Any]:
    """``values`` with ``key.key=value`` strings applied; the value is read as YAML.

    >>> apply_overrides({"train": {"lr": 0.1}}, ["train.lr=1e-6", "model.backend=aasist"])
    {'train': {'lr': '1e-6'}, 'model': {'backend': 'aasist'}}
    """
    values = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
    for override in overrides:
        keys, equals, text = override.partition("=")
        if not equals or not keys:
            raise InputError(f"override '{override}' is not of the form key=value")
        *parents, last = keys.split(".")
        place = values
        for parent in parents:
            child = place.get(parent)
            if isinstance(child, str) and parents[0] == "model":  # a bare name that is given options
                child = {"name": child}
            place[parent] = dict(child) if isinstance(child, dict) else {}
            place = place[parent]
        try:
            place[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"override '{override}': the value is not valid YAML") from error
    return values


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"{where or 'a recipe'} is a mapping of keys, not {values!r}")
    hints = typing.get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    for key in values:
        if key not in known:
            raise InputError(f"unknown key '{where}{key}' in the recipe{did_you_mean(str(key), known)}")
    return kind(**{key: _value(hints[key], value, where + key) for key, value in values.items()})


def _value(hint: Any, value: Any, key: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, f"{key}.")
    options = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    if value is None and type(None) in options:
        return None
    expected = next(o for o in options if o is not type(None))
    origin = typing.get_origin(expected) or expected
    if origin is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)  # YAML reads 1e-6 as text
        except ValueError:
            pass
    if origin is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if origin is list and isinstance(value, list):
        return [_value(typing.get_args(expected)[0], item, key) for item in value]
    if not isinstance(value, origin) or (origin is int and isinstance(value, bool)):
        raise InputError(f"recipe key '{key}' is {_type_name(origin)}, not {value!r}")
    return value


def _type_name(kind: type) -> str:
    return {
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "a mapping",
        bool: "true or false",
    }[kind]
