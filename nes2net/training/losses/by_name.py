"""Losses by name, as a recipe has them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from nes2net.lib.errors import InputError
from nes2net.lib.options import name_and_options
from nes2net.models.backends.base import Backend
from nes2net.models.backends.heads import HEADS
from nes2net.models.registry import losses
from nes2net.training.losses.criterion import Criterion


def checked_loss(loss: str | Mapping[str, Any], key: str = "train.loss") -> tuple[type[Criterion], dict[str, Any]]:
    """Find the class of a loss, with its options.

    Args:
        loss: one of ``nes2net.models.registry.losses.names()``, or a mapping of ``name`` and options.
        key: the recipe's key for it.

    Raises:
        InputError: if a name or option is unknown, or an option is out of range.
    """
    # Besides its options it is given the head of the back-end, and the size of its embeddings.
    name, options = name_and_options({"loss": loss}, "loss", given=("head", "feature_dim"), owner=f"`{key}`")
    kind = losses.checked(name, options)
    if not (inspect.isclass(kind) and issubclass(kind, Criterion)):
        raise InputError(f"loss '{name}' is a {kind!r}: make it a subclass of nes2net.training.losses.Criterion")
    return kind, options


def create_loss(loss: str | Mapping[str, Any], backend: Backend, key: str = "train.loss") -> Criterion:
    """Build a loss of what ``backend`` gives: its logits, or its embeddings and the vectors of its head.

    Args:
        loss, key: as for :func:`checked_loss`.

    Raises:
        InputError: as :func:`checked_loss`, or if the back-end does not have the head that the loss
            needs.
    """
    kind, options = checked_loss(loss, key)
    if kind.needs_head is not None:
        head = backend.last_layer
        if not isinstance(head, HEADS[kind.needs_head]):
            name = loss if isinstance(loss, str) else loss["name"]
            theirs = next((other for other, its in HEADS.items() if type(head) is its), type(head).__name__)
            raise InputError(
                f"`{key}={name}` needs the head {kind.needs_head}, the back-end has {theirs}: set "
                f"`model.backend.head={kind.needs_head}`, or take `{key}=cross_entropy`"
            )
        kind.check_logits(head.out_features)
        taken = inspect.signature(kind).parameters
        given = {"head": head, "feature_dim": head.in_features}
        options |= {option: value for option, value in given.items() if option in taken}
    return kind(**options)


def with_head(model: dict[str, Any], loss: str | Mapping[str, Any]) -> dict[str, Any]:
    """Give the back-end of ``model`` the head that ``loss`` needs, unless ``model`` names one.

    >>> with_head({"backend": "aasist"}, {"name": "oc_softmax", "scale": 30})
    {'backend': {'name': 'aasist', 'head': 'one_class'}}
    >>> with_head({"backend": "aasist"}, "cross_entropy")
    {'backend': 'aasist'}
    """
    head, backend = checked_loss(loss)[0].needs_head, model.get("backend", {})
    options = {"name": backend} if isinstance(backend, str) else backend
    return model if head is None or "head" in options else {**model, "backend": {**options, "head": head}}
