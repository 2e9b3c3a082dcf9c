"""Recipes: what is trained on what and how, as dataclasses, YAML and ``key=value`` overrides."""

from __future__ import annotations

import difflib
import typing
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from nes2net.audio.crop import ASVSPOOF_SAMPLES
from nes2net.errors import InputError, did_you_mean, shown
from nes2net.recipes.checks import check_settings
from nes2net.recipes.yaml_text import alternatives, read_value, read_yaml

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
    crop: Literal["head", "random", "random_tiled"] = "head"
    """Part of a longer utterance that is trained on: ``head``, ``random``, or ``random_tiled``; development always takes the head."""
    num_workers: int = 4
    """Processes that read and augment in each training process; the result does not depend on it."""
    cache: str | None = None
    """Folder for decoded audio, read memory-mapped from the second time on; None decodes every time."""


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
    noise_probability: float | None = None
    """Of a training utterance to get background noise or reverberation; None is 0.5 (ASVspoof 5 recipe) with a folder, else 0."""
    rng: Literal["utterance", "legacy"] = "utterance"
    """``utterance``: one stream per (seed, epoch, utterance); ``legacy``: one global stream, drawn from in the published order."""
    specmix: dict[str, Any] | None = None
    """Settings of :class:`nes2net.augment.specmix.Specmix`, between front-end and back-end in training; None for none."""

    def __post_init__(self) -> None:
        if self.noise_probability is None:
            self.noise_probability = 0.5 if self.musan or self.rir else 0.0


@dataclass
class TrainConfig:
    """Optimisation. The defaults are those of the ASVspoof 2019 recipe (Nes2Net paper, arXiv 2504.05657)."""

    epochs: int = 100
    batch_size: int = 12
    """Utterances per optimisation step, over all processes and all of ``accumulate``."""
    accumulate: int = 1
    """Parts in which a batch goes through the network one after the other, for small memories; the result is that of the whole batch."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """``adam``, whose weight decay is an L2 term of the gradient, or ``adamw``."""
    lr: float = 2.5e-7
    weight_decay: float = 1e-4
    adam_betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    adam_eps: float = 1e-8
    amsgrad: bool = False
    schedule: Literal["constant", "cosine", "cosine_epochs", "inverse_sqrt"] = "constant"
    """``constant``; ``cosine``: from ``lr`` to ``min_lr`` over all steps; ``cosine_epochs``: the same over ``t_max`` epochs, changed once
    an epoch, up again over the next, and so on; ``inverse_sqrt``: to ``lr`` at step ``warmup_steps``, then as 1/√step."""
    min_lr: float = 0.0
    t_max: int = 5
    """Epochs from the highest to the lowest learning rate of ``cosine_epochs``."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly from 0."""
    max_grad_norm: float | None = None
    """Longer gradients are scaled to this L2 norm."""
    loss: Literal["cross_entropy", "focal", "angular_softmax"] = "cross_entropy"
    """``cross_entropy`` over two logits, ``focal`` on one logit, or ``angular_softmax`` for a back-end with an angular head."""
    class_weights: list[float] = field(default_factory=lambda: [0.1, 0.9])
    """Weights of spoof and bona fide in cross-entropy and angular softmax."""
    focal_gamma: float = 2.0
    focal_alpha: float = 0.25
    label_smoothing: float = 0.0
    """ε: targets of the focal loss are ε/2 and 1 − ε/2."""
    angular_margin: int = 4
    """m of angular softmax."""
    angular_lambda_min: float = 5.0
    angular_lambda_max: float = 1500.0
    angular_lambda_decay: float = 0.1
    """Its λ is max(min, max / (1 + decay·step)): the margin comes in gradually."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """``fp32``, ``bf16`` or ``fp16`` (CUDA only): of the forward pass; weights and optimiser stay in float32."""
    activation_checkpointing: bool = False
    """Compute the transformer layers' activations again in the backward pass instead of keeping them: less memory, more time."""
    compile: bool = False
    """``torch.compile`` the front-end and the back-end."""
    freeze_frontend_epochs: int = 0
    """First epochs in which the front-end is not trained."""
    init_from: str | None = None
    """Whole-model checkpoint to start from."""
    keep: str = "improved"
    """Which ``epoch_{n}.pth`` stay: ``improved`` (as published: every epoch that was at most the best so far), ``all``, or any of
    ``last``, ``best`` and a number k (the k best), joined by commas."""
    save_every_minutes: float = 10.0
    """Time between two saves of ``resume.pt`` inside an epoch."""


@dataclass
class ValidationConfig:
    """What is measured on the development set, when, and what follows from it. The defaults are those of the ASVspoof 2019 recipe."""

    augmented: bool = True
    """A second pass with RawBoost, where the recipe has RawBoost."""
    whole_utterances: bool = False
    """Whole utterances one by one instead of the first ``data.num_samples``."""
    first_epoch: int = 1
    """Number of the first epoch after which there is a validation; epochs are numbered from 1. The last one always has one."""
    epochs: Literal["all", "around_minima"] = "all"
    """``all``, or ``around_minima`` of the ``cosine_epochs`` schedule: the first, and where the learning rate is lowest (CtrSVDD)."""
    select_on: Literal["loss", "eer", "min_dcf"] = "loss"
    """What decides which epoch is the best: ``loss``, ``eer`` or ``min_dcf``."""
    patience: int | None = None
    """Validations without a better one after which training stops; None never stops early."""


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
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    date: str = "unknown"
    comment: str | None = None
    output: str = "models"
    """Folder in which the run folder is made."""
    logs: str = "logs"
    """Folder for TensorBoard."""

    def __post_init__(self) -> None:
        check_settings(self)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def check_noise(self) -> None:
        """That there is noise where the recipe wants some: its folders are the user's, and no recipe can name them."""
        augment = self.augment
        if augment.noise_probability and not (augment.musan or augment.rir):
            raise InputError(
                f"the recipe adds noise or reverberation to {augment.noise_probability:.0%} of the utterances: name the folders with "
                "`augment.musan=…` (MUSAN, openslr.org/17) and `augment.rir=…` (RIRS_NOISES, openslr.org/28), or train without: "
                "`augment.noise_probability=0`"
            )

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
    """Read a YAML recipe and apply ``key=value`` overrides (``train.lr=1e-6``); an unknown key is an error with the nearest one.

    ``base: other.yaml``, beside the file, takes over what this one does not say: sections are merged key by key, the parts of the model are
    replaced whole. A base has no base.
    """
    return recipe_from_dict(apply_overrides(_with_base(Path(path), _read_file(Path(path))), overrides))


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"recipe {path} not found: name one of configs/*.yaml or your own")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"recipe {path} is not valid YAML: {error}") from error
    values = read_yaml(text, Recipe, f"recipe {path}")
    if not isinstance(values, dict | None):
        raise InputError(f"recipe {path} is a mapping of keys, not a {type(values).__name__}")
    return values or {}


def _with_base(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    if "base" not in values:
        return values
    own = {key: value for key, value in values.items() if key != "base"}
    base = values["base"]
    if not isinstance(base, str) or not base or Path(base).name != base:
        raise InputError(f"recipe {path}: base is the name of a file beside it, not {shown(base)}")
    base_path = path.parent / base
    if not base_path.is_file():
        raise InputError(f"recipe {path} builds on {base_path}, which is not there: base is a file beside it")
    merged = _read_file(base_path)
    if "base" in merged:
        raise InputError(
            f"recipe {path} builds on {base_path}, which has a base itself: name {shown(merged['base'])} as base"
        )
    for key, value in own.items():
        both = isinstance(value, dict | None) and isinstance(merged.get(key), dict)
        merged[key] = {**merged[key], **(value or {})} if both else value
    return merged


def recipe_from_dict(values: dict[str, Any]) -> Recipe:
    """Build and check a :class:`Recipe`; unknown keys and values of the wrong type raise :class:`InputError`."""
    return _build(Recipe, values, "")


def apply_overrides(values: dict[str, Any], overrides: typing.Iterable[str]) -> dict[str, Any]:
    """``values`` with ``key.key=value`` strings applied; the value is YAML, where the key is text the text as it stands.

    >>> apply_overrides({"train": {"lr": 0.1}}, ["train.lr=1e-6", "model.backend=aasist", "date=0520"])
    {'train': {'lr': 1e-06}, 'model': {'backend': 'aasist'}, 'date': '0520'}
    """
    values = {k: dict(v) if isinstance(v, dict) else v for k, v in values.items()}
    for override in overrides:
        keys, equals, text = override.partition("=")
        if not equals or not keys:
            raise InputError(f"override {shown(override)} is not of the form key=value")
        *parents, last = keys.split(".")
        place = values
        for parent in parents:
            child = place.get(parent)
            if isinstance(child, str) and parents[0] == "model":  # a bare name that is given options
                child = {"name": child}
            place[parent] = dict(child) if isinstance(child, dict) else {}
            place = place[parent]
        place[last] = read_value(text, _hint_of((*parents, last)), f"override {shown(override)}: the value")
    return values


def _hint_of(keys: tuple[str, ...]) -> Any:
    hint: Any = Recipe
    for key in keys:
        hint = typing.get_type_hints(hint).get(key) if is_dataclass(hint) else None
    return hint


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"{where.removesuffix('.') or 'a recipe'} is a mapping of keys, not {shown(values)}")
    hints = typing.get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    for key in values:
        if key not in known:
            key = str(key)[:100]
            raise InputError(f"unknown key '{where}{key}' in the recipe{_nearest_key(key, where, known)}")
    return kind(**{key: _value(hints[key], value, where + key) for key, value in values.items()})


def _nearest_key(key: str, where: str, known: list[str]) -> str:
    """What was meant, as it is written on the command line."""
    if close := difflib.get_close_matches(key, known, n=1):
        return f"; did you mean '{where}{close[0]}'?"
    for section in fields(Recipe):  # given without its section, or in another
        if is_dataclass(section.default_factory) and key in {f.name for f in fields(section.default_factory)}:
            return f"; did you mean '{section.name}.{key}'?"
    return did_you_mean(key, known)


def _value(hint: Any, value: Any, key: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, {} if value is None else value, f"{key}.")  # "train:" with nothing under it
    options = alternatives(hint)
    if value is None and type(None) in options:
        return None
    expected = next(o for o in options if o is not type(None))
    origin = typing.get_origin(expected) or expected
    if origin is Literal:
        allowed = typing.get_args(expected)
        if value not in allowed:
            meant = difflib.get_close_matches(str(value)[:100], allowed, n=1)
            end = f"; did you mean '{meant[0]}'?" if meant else ""
            raise InputError(f"recipe key '{key}' is one of {', '.join(allowed)}, not {shown(value)}{end}")
        return value
    if origin is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    if origin is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if origin is list and isinstance(value, list):
        return [_value(typing.get_args(expected)[0], item, key) for item in value]
    if not isinstance(value, origin) or (origin is int and isinstance(value, bool)):
        raise InputError(f"recipe key '{key}' is {_type_name(origin)}, not {shown(value)}")
    return value


def _type_name(kind: type) -> str:
    return {
        int: "a whole number",
        float: "a number",
        str: "text",
        list: "a list, [a, b]",
        dict: "a mapping",
        bool: "true or false",
    }[kind]
