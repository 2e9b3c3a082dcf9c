"""Check what the entry points of other packages name; :mod:`nes2net.models.contract_checks` checks what parts compute."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from nes2net.lib.contracts import PartCheck, raised_by

#: Kind of part → base class, as ``"module:class"``, and arguments of the constructor that nes2net gives.
CONTRACTS: dict[str, tuple[str, str]] = {
    "front-end": ("nes2net.models.frontends.base:Frontend", ""),
    "aggregation": ("nes2net.models.aggregations.base:Aggregation", "num_layers feature_dim"),
    "back-end": ("nes2net.models.backends.base:Backend", ""),
    "head": ("torch.nn:Module", "in_features out_features"),
    "loss": ("nes2net.training.losses.criterion:Criterion", "head feature_dim num_classes"),
    "task": ("nes2net.training.tasks.task:Task", "recipe"),
    "judgement": ("nes2net.scoring.judgement:Judgement", ""),
    "corpus": ("nes2net.data.corpora.corpus:Corpus", ""),
    "condition": ("nes2net.data.augment.effect:Effect", "strength sources"),
    "command": ("types:FunctionType", ""),
}
_OBJECTS = ("corpus", "command")  # kinds whose entry point names an object instead of a class
_FACTORIES = ("front-end", "aggregation", "back-end")  # kinds whose entry point may name a function


def check_object(kind: str, name: str, subject: str, value: Any) -> None:
    """Check what the entry point ``name`` of a part names, before the part is built.

    Raises:
        BrokenPart: if ``value`` is not of the declared class, or its constructor cannot be called.
    """
    check = PartCheck(subject)
    base, given = CONTRACTS[kind]
    module, _, class_name = base.partition(":")
    part_class = type(value) if kind in _OBJECTS else value
    fits = kind in _FACTORIES and callable(value)
    if inspect.isclass(part_class):
        fits = issubclass(part_class, getattr(import_module(module), class_name))
    check.that(fits, "its entry point names", value, f"a part of the class {base}")
    if kind in _OBJECTS:
        return
    for argument in inspect.signature(value).parameters.values():
        is_free = argument.default is not argument.empty or argument.name in given.split()
        is_free = is_free or argument.kind in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
        check.that(is_free, "its constructor has no default for", argument.name, "one, because it is an option")
    if kind == "judgement":
        check.that(dataclasses.is_dataclass(value), "its entry point names", value, "a frozen dataclass")
        own_name = getattr(value, "name", None)
        check.that(own_name == name, "its attribute 'name' is", own_name, f"the name of its entry point, '{name}'")


def check_listings(subject: str, corpus: Any) -> None:
    """Let the methods of a corpus of another package check the labels that they list."""
    for method in ("trials", "read_protocol", "read_keys"):
        if method not in vars(corpus):
            listing = partial(_checked_trials, subject, method, getattr(corpus, method))
            object.__setattr__(corpus, method, listing)  # a corpus is a frozen dataclass


def _checked_trials(subject: str, method: str, listing: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with raised_by(subject, method):
        trials = list(listing(*args, **options))
        labels = {trial.label: trial.id for trial in trials}
    for label, id in labels.items():
        fits = label in ("bonafide", "spoof", None)
        PartCheck(subject).that(fits, f"{method} gave trial '{id}' the label", label, "'bonafide', 'spoof' or None")
    return trials
