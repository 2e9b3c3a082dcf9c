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
from nes2net.lib.errors import BrokenPart


class Contract(NamedTuple):
    """What the entry point of a part names."""

    base: str
    """The class of the part, as ``"module:class"``; empty for a function."""
    takes: tuple[str, ...] = ()
    """Arguments that the constructor must take."""
    given: tuple[str, ...] = ()
    """Further arguments that need no default, because nes2net gives them."""
    factory: bool = False
    """Whether a function that builds the part may stand for the class."""


CONTRACTS = {
    "front-end": Contract("nes2net.models.frontends.base:Frontend", ("checkpoint",), factory=True),
    "aggregation": Contract(
        "nes2net.models.aggregations.base:Aggregation", ("num_layers", "feature_dim"), factory=True
    ),
    "back-end": Contract("nes2net.models.backends.base:Backend", ("feature_dim",), factory=True),
    "head": Contract("torch.nn:Module", given=("in_features", "out_features")),
    "loss": Contract("nes2net.training.losses.criterion:Criterion", given=("head", "feature_dim", "num_classes")),
    "task": Contract("nes2net.training.tasks.task:Task", ("recipe",)),
    "judgement": Contract("nes2net.scoring.judgement:Judgement"),
    "corpus": Contract("nes2net.data.corpora.corpus:Corpus"),
    "condition": Contract("nes2net.data.augment.effect:Effect", given=("strength", "sources")),
    "command": Contract(""),
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
    entry_point = "its entry point names"
    if not contract.base:
        check.that(inspect.isroutine(value), entry_point, value, "a function")
        return
    module, _, class_name = contract.base.partition(":")
    base = getattr(import_module(module), class_name)
    if kind == "corpus":
        check.that(isinstance(value, base), entry_point, value, f"an object of the class {module}.{class_name}")
        return
    if inspect.isclass(value):
        fits = issubclass(value, base)
    else:
        fits = contract.factory and callable(value)
    check.that(fits, entry_point, value, f"a subclass of {module}.{class_name}")
    parameters = inspect.signature(value).parameters.values()
    names = [parameter.name for parameter in parameters]
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for argument in contract.takes:
            check.that(argument in names, "its constructor takes", names, f"the argument '{argument}', too")
    for parameter in parameters:
        is_variable = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if is_variable or parameter.name in (*contract.takes, *contract.given):
            continue
        if parameter.default is parameter.empty:
            raise BrokenPart(
                f"{subject}: the argument '{parameter.name}' of its constructor has no default: give it one"
            )
    if kind == "judgement":
        check.that(dataclasses.is_dataclass(value), entry_point, value, "a frozen dataclass")
        own_name = getattr(value, "name", None)
        check.that(own_name == name, "its attribute 'name' is", own_name, f"the name of its entry point, '{name}'")


def check_listings(subject: str, corpus: Any) -> None:
    """Let the methods of a corpus of another package check the trials that they list, from now on."""
    for method in ("trials", "read_protocol", "read_keys"):
        if method not in vars(corpus):
            listing = partial(_checked_trials, subject, method, getattr(corpus, method))
            object.__setattr__(corpus, method, listing)  # a corpus is a frozen dataclass


def _checked_trials(subject: str, method: str, listing: Callable[..., Any], *args: Any, **options: Any) -> Any:
    from nes2net.data.corpora.trial import BONAFIDE, SPOOF, Trial  # imported late, because it imports NumPy

    check = PartCheck(subject)
    with raised_by(subject, method):
        trials = listing(*args, **options)
    check.that(isinstance(trials, list), f"{method} returned", trials, "a list of trials")
    for trial in trials:
        check.that(isinstance(trial, Trial), f"{method} listed", trial, "objects of the class Trial")
        fits = trial.label in (BONAFIDE, SPOOF, None)
        check.that(fits, f"{method} gave trial '{trial.id}' the label", trial.label, "'bonafide', 'spoof' or None")
    return trials
