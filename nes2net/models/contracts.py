"""Contracts of parts: the class of each kind of part, and the arguments of its constructor.

The registry checks what the entry point of another package names. The module
:mod:`nes2net.models.contract_checks` checks what a part computes.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from nes2net.lib.contracts import PartCheck, raised_by


class Contract(NamedTuple):
    """What the entry point of a part names."""

    base: str
    """The base class, as ``"module:class"``."""
    given: tuple[str, ...] = ()
    """Arguments of the constructor that need no default, because nes2net gives them."""
    names: str = "a subclass"
    """What the entry point names: a subclass, an object of the class, or a function that builds one."""


CONTRACTS = {
    "front-end": Contract("nes2net.models.frontends.base:Frontend", names="a function or subclass"),
    "aggregation": Contract(
        "nes2net.models.aggregations.base:Aggregation", ("num_layers", "feature_dim"), "a function or subclass"
    ),
    "back-end": Contract("nes2net.models.backends.base:Backend", names="a function or subclass"),
    "head": Contract("torch.nn:Module", ("in_features", "out_features")),
    "loss": Contract("nes2net.training.losses.criterion:Criterion", ("head", "feature_dim", "num_classes")),
    "task": Contract("nes2net.training.tasks.task:Task", ("recipe",)),
    "judgement": Contract("nes2net.scoring.judgement:Judgement"),
    "corpus": Contract("nes2net.data.corpora.corpus:Corpus", names="an object"),
    "condition": Contract("nes2net.data.augment.effect:Effect", ("strength", "sources")),
    "command": Contract("types:FunctionType", names="an object"),
}


def check_object(kind: str, name: str, subject: str, value: Any) -> None:
    """Check what the entry point ``name`` of a part names, before the part is built.

    Args:
        subject: kind, name and package of the part, for the message.

    Raises:
        BrokenPart: if ``value`` is not of the declared class, or its constructor cannot be called.
    """
    check = PartCheck(subject)
    contract = CONTRACTS[kind]
    module, _, class_name = contract.base.partition(":")
    base = getattr(import_module(module), class_name)
    is_object = contract.names == "an object"
    part_class = type(value) if is_object else value
    if inspect.isclass(part_class):
        fits = issubclass(part_class, base)
    else:
        fits = "function" in contract.names and callable(value)
    check.that(fits, "its entry point names", value, f"{contract.names} of {module}:{class_name}")
    if is_object:
        return
    for argument in inspect.signature(value).parameters.values():
        is_free = argument.default is not argument.empty or argument.name in contract.given
        is_free = is_free or argument.kind in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL)
        check.that(is_free, "its constructor has no default for", argument.name, "one, because it is an option")
    if kind == "judgement":
        check.that(dataclasses.is_dataclass(value), "its entry point names", value, "a frozen dataclass")
        own_name = getattr(value, "name", None)
        check.that(own_name == name, "its attribute 'name' is", own_name, f"the name of its entry point, '{name}'")


def check_listings(subject: str, corpus: Any) -> None:
    """Let the methods of a corpus of another package check the trials that they list, from now on."""
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
