"""Build a loss from its name and options in a recipe."""

from __future__ import annotations

import copy
import inspect
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nes2net.lib.errors import InputError
from nes2net.lib.parts.contracts import PartCheck
from nes2net.lib.parts.options import Model, Options, name_and_options, with_options
from nes2net.lib.parts.part_checks import TinyBatch
from nes2net.models.backends.base import Backend
from nes2net.models.registry import heads
from nes2net.training.losses.criterion import Criterion
from nes2net.training.registry import losses


def find_loss(loss: str | Options, key: str = "train.loss") -> tuple[str, type[Criterion], Options]:
    """Find a loss by its name, and check its options.

    Args:
        loss: a name in ``nes2net.training.registry.losses``, or a mapping of ``name`` and options.
        key: the key of the recipe that names the loss.

    Returns:
        The name, the class, and the options given.

    Raises:
        InputError: if a name or option is unknown, or an option is out of range.
    """
    name, options = name_and_options({"loss": loss}, "loss", reserved=losses.given, owner=f"`{key}`")
    return name, losses.import_factory(name, options), options


def create_loss(loss: str | Options, backend: Backend, key: str = "train.loss") -> Criterion:
    """Build a loss of logits, or of embeddings and the vectors of the head of ``backend``.

    Raises:
        InputError: as :func:`find_loss`, or if the back-end lacks the head that the loss needs.
    """
    name, kind, options = find_loss(loss, key)
    arguments: dict[str, Any] = {"num_classes": len(backend.classes)}
    if kind.needs_head is not None:
        head = backend.last_layer
        if not isinstance(head, heads.get(kind.needs_head)):
            raise InputError(
                f"`{key}={name}` needs the head {kind.needs_head}, the back-end has {type(head).__name__}: set "
                f"`model.backend.head={kind.needs_head}`, or use `{key}=cross_entropy`"
            )
        arguments |= {"head": head, "feature_dim": head.in_features}
    parameters = inspect.signature(kind).parameters
    accepted = {key: value for key, value in arguments.items() if key in parameters}
    with losses.guard(name):
        criterion = kind(**options, **accepted)
    make_batch = partial(check_loss, embedding_dim=arguments.get("feature_dim"))
    # A copy of the head, because the check changes weights.
    rebuild = partial(kind, **options, **copy.deepcopy(accepted))
    return losses.check_part(name, criterion, make_batch, rebuild)  # type: ignore[no-any-return]


def with_head(model: Model, loss: str | Options, num_classes: int = 2) -> Model:
    """Return ``model`` with the head that ``loss`` needs in the back-end, and with the head's options.

    ``model`` is unchanged if it names another head, or if ``loss`` needs none.

    >>> with_head({"backend": {"name": "aasist"}}, {"name": "am_softmax", "scale": 30})
    {'backend': {'name': 'aasist', 'head': {'name': 'cosine', 'scale': 30}}}
    """
    _, kind, options = find_loss(loss)
    if kind.needs_head is None:
        return model
    head, stated_options = name_and_options(model.get("backend", {}), "head", kind.needs_head)
    if head != kind.needs_head:
        return model
    head_options = {**kind.head_options(num_classes, options), **stated_options}
    return with_options(model, "backend", head={"name": head, **head_options} if head_options else head)


def check_loss(check: PartCheck, loss: Any, _: int, embedding_dim: int | None) -> TinyBatch:
    """Return random outputs 2×n of the back-end, and targets (2,)."""
    width = loss.num_logits or loss.num_classes
    if loss.takes_embeddings:
        width = embedding_dim or 0
    targets = torch.tensor([0, loss.num_classes - 1])
    return TinyBatch("numerator", [torch.randn(2, width), targets], _sums, sum)  # type: ignore[arg-type]


def _sums(check: PartCheck, loss: Any, outputs: Tensor, targets: Tensor) -> list[Tensor]:
    step = 0 if loss.training else None
    numerator = check.call(loss, "numerator", outputs, targets, step, torch.ones(len(outputs)))
    check.tensor("numerator", numerator)
    has_gradient = numerator.requires_grad or not torch.is_grad_enabled()
    check.that(has_gradient, "numerator returned", numerator, "a number with a gradient")
    denominator = check.call(loss, "weight_of", targets)
    check.tensor("weight_of", denominator)
    check.that(bool(denominator > 0), "weight_of returned", float(denominator), "a weight above 0")
    return [numerator, denominator.float()]
