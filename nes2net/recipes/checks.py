"""Which values a recipe may have, by themselves and with each other."""

from __future__ import annotations

import math
import re
from dataclasses import MISSING, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from nes2net.errors import InputError

if TYPE_CHECKING:
    from nes2net.recipes.recipe import Recipe

#: Keys that are numbers of at least so much; where there may be none, None is one.
_AT_LEAST = {
    "seed": 0,
    "data.num_samples": 1,
    "data.num_workers": 0,
    "train.epochs": 1,
    "train.batch_size": 1,
    "train.accumulate": 1,
    "train.weight_decay": 0,
    "train.min_lr": 0,
    "train.t_max": 1,
    "train.warmup_steps": 0,
    "train.focal_gamma": 0,
    "train.angular_lambda_min": 0,
    "train.angular_lambda_decay": 0,
    "train.freeze_frontend_epochs": 0,
    "train.save_every_minutes": 0,
    "validation.first_epoch": 1,
    "validation.patience": 1,
}
_ABOVE_ZERO = ("train.lr", "train.adam_eps", "train.max_grad_norm", "train.focal_alpha")
#: No seed of PyTorch's generators is larger.
_SEEDS = 2**63

#: Settings that one choice alone uses: section, setting, choice, values of the choice that use it.
_USED_WITH = (
    *(("train", name, "loss", ("focal",)) for name in ("focal_gamma", "focal_alpha", "label_smoothing")),
    *(
        ("train", f"angular_{name}", "loss", ("angular_softmax",))
        for name in ("margin", "lambda_min", "lambda_max", "lambda_decay")
    ),
    ("train", "class_weights", "loss", ("cross_entropy", "angular_softmax")),
    ("train", "min_lr", "schedule", ("cosine", "cosine_epochs")),
    ("train", "t_max", "schedule", ("cosine_epochs",)),
)


def check_settings(recipe: Recipe) -> None:
    """That every number is in its range, that nothing is set that would change nothing, and that settings fit each other."""
    _check_ranges(recipe)
    _check_names(recipe)
    _check_uses(recipe)
    words = [word.strip() for word in recipe.train.keep.split(",")]
    alone = len(words) == 1 and words[0] in ("improved", "all")
    if not alone and not all(re.fullmatch("last|best|[1-9][0-9]{0,8}", word) for word in words):
        raise InputError(
            f"`train.keep` is improved, all, or any of last, best and a number, joined by commas, not '{recipe.train.keep[:100]}'"
        )


def _check_ranges(recipe: Recipe) -> None:
    for key, least in _AT_LEAST.items():
        value = attrgetter(key)(recipe)
        if value is not None and not least <= value < math.inf:
            raise InputError(f"`{key}` is at least {least}, not {value}")
    for key in _ABOVE_ZERO:
        value = attrgetter(key)(recipe)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"`{key}` is above 0, not {value}")
    if recipe.seed >= _SEEDS:
        raise InputError(f"`seed` is below 2^63, not {recipe.seed}")
    weights = recipe.train.class_weights
    if len(weights) != 2 or not all(0 < weight < math.inf for weight in weights):
        raise InputError(f"`train.class_weights` are two numbers above 0 (spoof, bona fide), not {weights[:5]}")


def _check_names(recipe: Recipe) -> None:
    """What the run folder is named by stays inside ``output``."""
    for key in ("name", "date", "comment"):
        value = getattr(recipe, key) or ""
        if not value.isprintable() or re.search(r"[/\\]|\.\.", value):
            raise InputError(
                f"`{key}` is a part of a folder's name, without /, \\, .. and control characters, not {value[:100]!r}"
            )


def _check_uses(recipe: Recipe) -> None:
    for section_name, name, choice, values in _USED_WITH:
        section = getattr(recipe, section_name)
        value, chosen, default = getattr(section, name), getattr(section, choice), _default(section, name)
        if chosen not in values and value != default:
            raise InputError(
                f"`{section_name}.{name}={value}` changes nothing with `{section_name}.{choice}={chosen}`: it goes with "
                f"{' and '.join(values)}; leave it out, or set it to {default}"
            )
    train, validation, augment = recipe.train, recipe.validation, recipe.augment
    if validation.epochs == "around_minima" and train.schedule != "cosine_epochs":
        raise InputError(
            f"`validation.epochs=around_minima` goes with `train.schedule=cosine_epochs`, whose minima they are, not with {train.schedule}"
        )
    if (augment.musan or augment.rir) and not augment.noise_probability:
        raise InputError(
            "`augment.musan` and `augment.rir` change nothing with `augment.noise_probability=0`: leave them out, or set it to 0.5"
        )
    if augment.parameters and not augment.algo:
        raise InputError(
            f"`augment.parameters` ({', '.join(map(str, augment.parameters))[:100]}) change nothing with `augment.algo=0`: leave them out, "
            "or choose an algorithm from 1 to 11"
        )


def _default(section: Any, name: str) -> Any:
    (its,) = (f for f in fields(section) if f.name == name)
    return its.default if its.default is not MISSING else its.default_factory()
