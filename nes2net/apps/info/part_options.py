"""Tabulate the options of parts with their declared types, ranges and meanings."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from inspect import Parameter
from pkgutil import resolve_name

from nes2net.lib.output.sheet import Facts
from nes2net.lib.parts.options import options_of
from nes2net.lib.parts.registry import Registry
from nes2net.models.registry import backends, frontends
from nes2net.training.registry import losses

#: Key of a recipe whose value is a mapping → class that declares its keys; by name, because some of their modules
#: load torch.
_DECLARED_BY = {
    "augment.adversarial": "nes2net.training.adversarial:AdversarialTraining",
    "augment.fir": "nes2net.data.augment.channels:LowPass",
    "augment.latent": "nes2net.data.augment.latent:LatentAugmentation",
    "augment.parameters": "nes2net.data.augment.rawboost:RawBoostParameters",
    "augment.specmix": "nes2net.data.augment.specmix:Specmix",
    "train.adapt": "nes2net.models.frontends.adaptation:Adaptation",
}
#: Kind of names → its irregular plural.
PLURALS = {"corpus": "corpora", losses.kind: "losses"}


def option_rows(registry: Registry, name: str) -> list[Facts]:
    """Return ``option``, ``takes``, ``default`` and ``meaning`` of each option of a part.

    Arguments that the package passes itself (``registry.given``) are no options.
    """
    return rows_of(registry.get(name), registry.given)


def all_option_rows(registry: Registry, name: str) -> list[Facts]:
    """Return :func:`option_rows`, and rows for the options that all parts of this kind have."""
    rows = option_rows(registry, name)
    if registry is frontends:
        meaning = "train a few tensors beside the frozen weights of its transformer layers; null trains the weights."
        rows.append({"option": "adapt", "takes": "a mapping of keys, or null", "default": None, "meaning": meaning})
    if registry is backends:
        from nes2net.models.backends.heads import GeneralOptions  # import only here, because `heads` imports torch

        rows += rows_of(GeneralOptions, options_of(registry.get(name)))
    return rows


def rows_of(factory: Callable[..., object], omitted: Collection[str] = ()) -> list[Facts]:
    """Return rows like :func:`option_rows` for the parameters of a constructor, except ``omitted``."""
    rows: list[Facts] = []
    for name, option in options_of(factory).items():
        if name not in omitted:
            # The default as JSON would show it, such as a list for a tuple.
            default = "required" if option.default is Parameter.empty else json.loads(json.dumps(option.default))
            rows.append({"option": name, "takes": option.takes, "default": default, "meaning": option.meaning})
    return rows


def mapping_rows(key: str | None) -> list[Facts]:
    """Return rows like :func:`option_rows` for a mapping of a recipe, such as ``augment.fir``.

    The result is empty if the value of ``key`` is not a mapping.
    """
    return [] if key not in _DECLARED_BY else rows_of(resolve_name(_DECLARED_BY[key]))
